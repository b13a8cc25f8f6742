//! Schemas by number: the Confluent framing of topics that have a schema registry.
//!
//! The law: inside deckle a record names its schema by fingerprint, on the broker by the registry's id, and only the
//! edge of the Kafka log translates. A record whose schema cannot be had passes as it is, so that it fails to decode
//! and becomes a dead letter with its bytes; only a registry that is away makes anyone wait.
//!
//! ```text
//! C3 01  8-byte fingerprint  datum      inside: Registry::frame on the way out, Registry::unframe on the way in
//! 00     4-byte id           datum      on a topic
//! ```
//!
//! Subjects are named by topic (`{prefix}{topic}-value`, Confluent's `TopicNameStrategy`), and each must be at
//! `FULL_TRANSITIVE`: old and new deckles read each other's records, and those of years ago. A schema that refers to
//! others by name (the registry's `references`) is refused: ours are whole, and a producer can register its own whole.

mod api;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::api::{Api, ApiError, Registered};
use deckle_contract::{
    error::{Failure, Result},
    record::{
        framing::{Fingerprint, Framing},
        learnt, schemas, topics, wire,
    },
};

/// The dependency's name in a failure, and so in readiness.
pub const DEPENDENCY: &str = "registry";

/// The level that deckle sets where a subject has none, and demands where it has one.
const LEVEL: &str = "FULL_TRANSITIVE";

/// Versions of a subject that are learnt at start, the newest first.
const VERSIONS: usize = 100;

/// Ids kept; when there are more, all are forgotten and asked for again, one call each.
const IDS: usize = 10_000;

/// An id without a usable schema is not asked for again for so long: long enough that a flood of such records does
/// not become a flood of calls, short enough for a registry whose replica lags behind.
const UNUSABLE: Duration = Duration::from_secs(30);

/// The settings of the schema registry: its address, if there is one, and how deckle uses it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the Confluent API, such as `http://localhost:8081`; `None`: records are Avro single-object.
    pub url: Option<String>,
    /// Whether deckle registers its schemas; if not, they must be there.
    pub register: bool,
    /// User of basic authentication.
    pub user: Option<String>,
    /// Password of basic authentication; a secret, never in logs.
    pub password: Option<String>,
    /// Certificates (PEM) of authorities to be trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), for a registry that wants one.
    pub certificate: Option<PathBuf>,
    /// Key of our own certificate (PEM, PKCS#8).
    pub key: Option<PathBuf>,
    /// Time for one call, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            register: true,
            user: None,
            password: None,
            ca: None,
            certificate: None,
            key: None,
            timeout_ms: 10_000,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url)
            .field("register", &self.register)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .field("timeout_ms", &self.timeout_ms)
            .finish()
    }
}

impl Config {
    /// Checks what can be checked without a registry.
    ///
    /// # Errors
    /// One line that names the setting.
    pub fn check(&self) -> std::result::Result<(), String> {
        if let Some(url) = &self.url {
            let url = reqwest::Url::parse(url).map_err(|error| format!("`registry.url`: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("`registry.url` must begin with http:// or https://".to_owned());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err(
                    "`registry.url` is shown in messages: use `registry.user` and `registry.password`".to_owned()
                );
            }
        }
        if self.password.is_some() && self.user.is_none() {
            return Err("`registry.password` needs `registry.user`".to_owned());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("`registry.certificate` and `registry.key` need each other".to_owned());
        }
        if self.timeout_ms == 0 {
            return Err("`registry.timeout_ms` must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// Why there is no registry to work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It does not answer; the same call may succeed later. Always [`Failure::Unavailable`].
    #[error("{0}")]
    Away(Failure),
    /// It, or the configuration, must be changed first; one line.
    #[error("{0}")]
    Refused(String),
}

/// A schema registry that knows deckle's schemas. Cheap to share behind an `Arc`.
pub struct Registry {
    api: Api,
    url: String,
    /// The id of the schema that we write each topic with.
    own: HashMap<String, (Fingerprint, u32)>,
    known: RwLock<Known>,
    /// Held while an id is asked for, so that many records of a new schema make one call.
    asking: tokio::sync::Mutex<()>,
}

/// The schemas that were learnt, by topic.
#[derive(Default)]
struct Known {
    by_id: HashMap<(String, u32), Schema>,
    by_fingerprint: HashMap<(String, Fingerprint), u32>,
}

#[derive(Debug, Clone, Copy)]
enum Schema {
    Of(Fingerprint),
    Unusable { since: Instant },
}

impl Registry {
    /// Makes sure that the registry has the current schema of every topic, at [`LEVEL`], and learns the other versions.
    /// `None` when no registry is configured. `prefix` is that of the topics' names.
    ///
    /// It can be repeated: a schema that is there is found, not registered again.
    ///
    /// # Errors
    /// [`ConnectError::Away`] to be retried, or [`ConnectError::Refused`] when a schema is incompatible or missing, a
    /// subject's level is weaker, or deckle is not let in.
    pub async fn connect(config: &Config, prefix: &str) -> std::result::Result<Option<Self>, ConnectError> {
        let Some(url) = &config.url else { return Ok(None) };
        let api = Api::new(url, config).map_err(ConnectError::Refused)?;
        let mut registry = Self {
            api,
            url: url.clone(),
            own: HashMap::new(),
            known: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
        };
        for topic in topics::all() {
            let subject = format!("{prefix}{}-value", topic.name);
            registry.settle(&topic.name, &subject, config.register).await?;
            registry.learn_versions(&topic.name, &subject).await?;
        }
        tracing::info!(url, subjects = registry.own.len(), "schemas are registered");
        Ok(Some(registry))
    }

    async fn settle(&mut self, topic: &str, subject: &str, register: bool) -> std::result::Result<(), ConnectError> {
        let schema = schemas::schema_json(topic).zip(schemas::fingerprint(topic));
        let (text, fingerprint) = schema.ok_or_else(|| ConnectError::Refused(format!("{topic} has no schema")))?;
        let level = match self.ask(subject, self.api.level(subject).await)? {
            Some(level) => level,
            None if register => {
                self.ask(subject, self.api.set_level(subject, LEVEL).await)?;
                LEVEL.to_owned()
            }
            None => self.ask(subject, self.api.global_level().await)?,
        };
        if level != LEVEL {
            return Err(self.refuse(
                subject,
                format!(
                    "has compatibility {level}, and deckle needs {LEVEL}: set it there, or use another topic prefix"
                ),
            ));
        }
        let id = match self.ask(subject, self.api.lookup(subject, text).await)? {
            Some(id) => id,
            None => self.register(subject, text, register).await?,
        };
        self.own.insert(topic.to_owned(), (fingerprint, id));
        Ok(())
    }

    async fn register(&self, subject: &str, text: &str, register: bool) -> std::result::Result<u32, ConnectError> {
        let compatibility = self.ask(subject, self.api.compatibility(subject, text).await)?;
        let reasons = match compatibility {
            Some(found) if !found.is_compatible => Some(found.messages.join("; ")),
            _ => None,
        };
        let incompatible = |reasons: &str| {
            self.refuse(
                subject,
                format!("has schemas that this deckle's is not compatible with: {}", one_line(reasons)),
            )
        };
        if let Some(reasons) = reasons.filter(|reasons| !reasons.is_empty() || !register) {
            return Err(incompatible(&reasons));
        }
        if !register {
            return Err(self.refuse(
                subject,
                "does not have this deckle's schema: register it, or set `registry.register`".to_owned(),
            ));
        }
        // Some registries (Apicurio) give reasons only when they turn a schema away, which they do at this level.
        match self.api.register(subject, text).await {
            Err(ApiError::Refused { status, message }) if status == reqwest::StatusCode::CONFLICT => {
                Err(incompatible(&message))
            }
            other => self.ask(subject, other),
        }
    }

    /// Learns what else the subject holds, so that records (and dead letters) of other writers are read by a process
    /// that never met their ids.
    async fn learn_versions(&self, topic: &str, subject: &str) -> std::result::Result<(), ConnectError> {
        let versions = self.ask(subject, self.api.versions(subject).await)?;
        for version in versions.into_iter().rev().take(VERSIONS) {
            let registered = self.ask(subject, self.api.version(subject, version).await)?;
            if let Some(id) = registered.id {
                self.learn(topic, id, Some(registered));
            }
        }
        Ok(())
    }

    fn refuse(&self, subject: &str, why: String) -> ConnectError {
        ConnectError::Refused(format!("the schema registry {}: the subject {subject} {why}", self.url))
    }

    fn ask<T>(&self, subject: &str, answer: std::result::Result<T, ApiError>) -> std::result::Result<T, ConnectError> {
        answer.map_err(|error| match error {
            ApiError::Away(message) => ConnectError::Away(self.away(&message)),
            ApiError::Refused { .. } => self.refuse(subject, format!("cannot be settled: {error}")),
        })
    }

    fn away(&self, message: &str) -> Failure {
        Failure::unavailable(DEPENDENCY, format!("{}: {message}", self.url))
    }

    /// On the way out (`topic` is deckle's name, without the prefix): a single-object record becomes one with the
    /// registry's id. Others, and records of a schema that the registry is not known to have, stay as they are: readers
    /// tell them by the first byte.
    ///
    /// # Errors
    /// A defect for a topic that is not deckle's.
    pub fn frame(&self, topic: &str, bytes: Bytes) -> Result<Bytes> {
        let (own, own_id) = self.own.get(topic).ok_or_else(|| Failure::defect(format!("{topic} has no subject")))?;
        let Some(framing @ Framing::SingleObject(fingerprint)) = Framing::of(&bytes) else { return Ok(bytes) };
        let id = if *own == fingerprint {
            Some(*own_id)
        } else {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.by_fingerprint.get(&(topic.to_owned(), fingerprint)).copied()
        };
        Ok(id.map_or(bytes.clone(), |id| framing.exchange(&bytes, Framing::Confluent(id))))
    }

    /// On the way in (`topic` as for [`Registry::frame`]): a record with the registry's id becomes a single-object one,
    /// its schema learnt. All others stay as they are, also those whose schema does not exist or is of no use: they
    /// will not decode.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] while the registry does not answer; the same call is to be made again.
    pub async fn unframe(&self, topic: &str, bytes: Bytes) -> Result<Bytes> {
        let Some(framing @ Framing::Confluent(id)) = Framing::of(&bytes) else { return Ok(bytes) };
        let fingerprint = match self.remembered(topic, id) {
            Some(schema) => schema,
            None => self.fetch(topic, id).await?,
        };
        Ok(fingerprint.map_or(bytes.clone(), |it| framing.exchange(&bytes, Framing::SingleObject(it))))
    }

    /// What is known of an id: its schema's fingerprint, or that it has none; `None` when it must be asked for.
    fn remembered(&self, topic: &str, id: u32) -> Option<Option<Fingerprint>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.by_id.get(&(topic.to_owned(), id))? {
            Schema::Of(fingerprint) => wire::is_known(topic, fingerprint).then_some(Some(*fingerprint)),
            Schema::Unusable { since } => (since.elapsed() < UNUSABLE).then_some(None),
        }
    }

    async fn fetch(&self, topic: &str, id: u32) -> Result<Option<Fingerprint>> {
        let _asking = self.asking.lock().await;
        if let Some(schema) = self.remembered(topic, id) {
            return Ok(schema);
        }
        let registered = match self.api.schema(id).await {
            Ok(registered) => registered,
            // Not let in: someone must see to it, and no record is to blame.
            Err(error) => return Err(self.away(&error.to_string())),
        };
        Ok(self.learn(topic, id, registered))
    }

    fn learn(&self, topic: &str, id: u32, registered: Option<Registered>) -> Option<Fingerprint> {
        let usable = match registered {
            None => Err("there is no such schema".to_owned()),
            Some(it) if !it.references.is_empty() => Err("refers to other schemas, and must be whole".to_owned()),
            Some(it) if it.schema_type.as_ref().is_some_and(|of_type| of_type != "AVRO") => {
                Err("is not Avro".to_owned())
            }
            Some(it) => learnt::learn(topic, &it.schema).map_err(|error| error.to_string()),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.by_id.len() >= IDS {
            *known = Known::default();
        }
        let key = (topic.to_owned(), id);
        match usable {
            Ok(fingerprint) => {
                known.by_id.insert(key, Schema::Of(fingerprint));
                known.by_fingerprint.insert((topic.to_owned(), fingerprint), id);
                Some(fingerprint)
            }
            Err(why) => {
                tracing::warn!(topic, schema = id, why, "records of this schema cannot be read");
                known.by_id.insert(key, Schema::Unusable { since: Instant::now() });
                None
            }
        }
    }
}

/// Words of the registry on one line of bounded length.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 1_000;
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}
