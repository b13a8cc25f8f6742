//! The few calls of the Confluent schema registry's API that deckle makes. Apicurio, Karapace and Redpanda speak it too.

use std::{path::Path, time::Duration};

use reqwest::{Certificate, Client, Identity, Method, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::Config;

/// Bytes of an answer that are read. The largest holds one schema.
const LONGEST_ANSWER: usize = 4 << 20;

/// Characters of the registry's own words that are passed on.
const LONGEST_MESSAGE: usize = 500;

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// Not there, too busy or broken: the same call may succeed later.
    #[error("{0}")]
    Away(String),
    /// It understood, and says no.
    #[error("{status}: {message}")]
    Refused {
        /// 400 to 499.
        status: StatusCode,
        /// Its words, on one line.
        message: String,
    },
}

impl ApiError {
    /// Whether what was asked for does not exist.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}

/// A schema as the registry keeps it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered {
    /// Its id; absent in an answer to a question by id.
    pub id: Option<u32>,
    /// Its text.
    pub schema: String,
    /// `AVRO` when absent.
    pub schema_type: Option<String>,
    /// Other schemas that it names.
    #[serde(default)]
    pub references: Vec<Value>,
}

/// Whether a schema fits those a subject has.
#[derive(Debug, Deserialize)]
pub(super) struct Compatibility {
    /// By the subject's level.
    pub is_compatible: bool,
    /// Why not, from registries that say so.
    #[serde(default)]
    pub messages: Vec<String>,
}

/// A registry's address, and how to be let in.
pub(super) struct Api {
    client: Client,
    base: Url,
    user: Option<String>,
    password: Option<String>,
}

impl Api {
    /// Prepares the client; calls nobody.
    ///
    /// # Errors
    /// One line that names the setting.
    pub(super) fn new(url: &str, config: &Config) -> Result<Self, String> {
        let base = Url::parse(url.trim_end_matches('/')).map_err(|error| format!("`registry.url`: {error}"))?;
        let mut client = Client::builder().timeout(Duration::from_millis(config.timeout_ms));
        if let Some(ca) = &config.ca {
            let bundle = Certificate::from_pem_bundle(&read("registry.ca", ca)?)
                .map_err(|error| format!("`registry.ca`: {}", chain(&error)))?;
            client = bundle.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
            let (certificate, key) = (read("registry.certificate", certificate)?, read("registry.key", key)?);
            let identity = Identity::from_pkcs8_pem(&certificate, &key)
                .map_err(|error| format!("`registry.certificate` and `registry.key`: {}", chain(&error)))?;
            client = client.identity(identity);
        }
        let client = client.build().map_err(|error| format!("`registry`: {}", chain(&error)))?;
        Ok(Self { client, base, user: config.user.clone(), password: config.password.clone() })
    }

    /// The compatibility level of a subject itself; `None` where it has none of its own.
    pub(super) async fn level(&self, subject: &str) -> Result<Option<String>, ApiError> {
        found(self.call(Method::GET, &["config", subject], &[], None).await).map(|level| level.map(of_level))
    }

    /// The level of subjects that have none of their own.
    pub(super) async fn global_level(&self) -> Result<String, ApiError> {
        self.call(Method::GET, &["config"], &[], None).await.map(of_level)
    }

    /// Sets the level of a subject, which need not exist yet.
    pub(super) async fn set_level(&self, subject: &str, level: &str) -> Result<(), ApiError> {
        let body = json!({ "compatibility": level });
        self.call::<Value>(Method::PUT, &["config", subject], &[], Some(body)).await.map(drop)
    }

    /// Whether a schema may be registered, by all versions of the subject; `None` when the subject has none.
    pub(super) async fn compatibility(&self, subject: &str, schema: &str) -> Result<Option<Compatibility>, ApiError> {
        let path = ["compatibility", "subjects", subject, "versions"];
        found(self.call(Method::POST, &path, &[("verbose", "true")], Some(json!({ "schema": schema }))).await)
    }

    /// The id of a schema that the subject already has.
    pub(super) async fn lookup(&self, subject: &str, schema: &str) -> Result<Option<u32>, ApiError> {
        let body = json!({ "schema": schema });
        let answer = self.call(Method::POST, &["subjects", subject], &[], Some(body)).await;
        Ok(found::<Registered>(answer)?.and_then(|registered| registered.id))
    }

    /// Registers a schema; gives its id.
    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<u32, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            id: u32,
        }
        let path = ["subjects", subject, "versions"];
        self.call(Method::POST, &path, &[], Some(json!({ "schema": schema }))).await.map(|answer: Answer| answer.id)
    }

    /// The numbers of a subject's versions, rising.
    pub(super) async fn versions(&self, subject: &str) -> Result<Vec<u32>, ApiError> {
        self.call(Method::GET, &["subjects", subject, "versions"], &[], None).await
    }

    /// One version of a subject.
    pub(super) async fn version(&self, subject: &str, version: u32) -> Result<Registered, ApiError> {
        self.call(Method::GET, &["subjects", subject, "versions", &version.to_string()], &[], None).await
    }

    /// The schema of that id; `None` when there is none.
    pub(super) async fn schema(&self, id: u32) -> Result<Option<Registered>, ApiError> {
        found(self.call(Method::GET, &["schemas", "ids", &id.to_string()], &[], None).await)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<T, ApiError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url);
        if let Some(user) = &self.user {
            request = request.basic_auth(user, self.password.as_ref());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let mut response = request.send().await.map_err(|error| ApiError::Away(chain(&error.without_url())))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::Away(chain(&error.without_url())))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_ANSWER {
                return Err(ApiError::Away(format!("answers with more than {LONGEST_ANSWER} bytes")));
            }
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| ApiError::Away(format!("answers with something else than expected: {error}")));
        }
        let message = words(&bytes);
        let is_momentary = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if status.is_client_error() && !is_momentary {
            return Err(ApiError::Refused { status, message });
        }
        Err(ApiError::Away(format!("{status}: {message}")))
    }
}

fn found<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

#[derive(Deserialize)]
struct Level {
    #[serde(rename = "compatibilityLevel")]
    level: String,
}

fn of_level(answer: Level) -> String {
    answer.level
}

fn read(setting: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`{setting}`: {}: {error}", path.display()))
}

/// What a body says: its `message`, or all of it, on one line of bounded length.
fn words(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| json["message"].as_str()).map(str::to_owned);
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_MESSAGE).collect()
}

/// An error and what caused it: the outermost alone says only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
