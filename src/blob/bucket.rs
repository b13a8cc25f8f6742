//! A bucket (or container) of an object store.
//!
//! The law: an answer of the service is one of three: the object is not there, it is not ours to read, or the service
//! is away. A bucket that does not exist and credentials that are not accepted are "away": every object needs them.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, path::Path as Key,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Address, Scheme};

/// Options of an object store, by the names that `object_store` gives them, such as `aws_endpoint`. Their values may be
/// secrets, and are not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The names that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Options {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(options: I) -> Self {
        Self(options.into_iter().collect())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl<'de> Deserialize<'de> for Options {
    /// `allow_http = true` is as good as `allow_http = "true"`, and all that a variable can say.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Scalar {
            Text(String),
            Flag(bool),
            Number(i64),
        }
        let options = BTreeMap::<String, Scalar>::deserialize(deserializer)?;
        let text = |value| match value {
            Scalar::Text(text) => text,
            Scalar::Flag(flag) => flag.to_string(),
            Scalar::Number(number) => number.to_string(),
        };
        Ok(options.into_iter().map(|(name, value)| (name, text(value))).collect())
    }
}

/// What an option overrides. The library's default for a whole request, its body included, is 30 s, which a large file
/// on a slow line never meets; a line on which nothing moves is noticed by the third.
const TIMEOUTS: [(&str, &str); 3] = [("connect_timeout", "5s"), ("timeout", "600s"), ("read_timeout", "30s")];

/// Bridges a hiccup, no more: the worker waits for a service that is away without limit, and readiness names it, which
/// the library's default (ten retries within three minutes) would hide.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(15),
    }
}

/// The reason why an object cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectError {
    /// There is no such object.
    Missing,
    /// The service answers, and refuses this object.
    Denied(String),
    /// The service, the bucket or the credentials: no object can be had now.
    Unavailable(String),
}

/// An open bucket or container of an object store.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The library's side.
    pub store: Arc<dyn ObjectStore>,
}

impl Bucket {
    /// Opens the bucket of an address. Credentials come from the environment, as the service's own tools take them, and
    /// from the options, which win; options that this service does not know are another's. Nothing is asked yet.
    ///
    /// # Errors
    /// Half a line that says what is wrong with the options.
    pub fn open(address: &Address, options: &Options) -> Result<Self, String> {
        let url = format!("{}://{}", address.scheme.as_str(), address.bucket);
        macro_rules! build {
            ($builder:ty) => {{
                let mut builder = <$builder>::from_env().with_url(url).with_retry(retries());
                let options = options.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                for (name, value) in TIMEOUTS.into_iter().chain(options) {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Arc::new(builder.build().map_err(|error| one_line(&error))?)
            }};
        }
        let store: Arc<dyn ObjectStore> = match address.scheme {
            Scheme::S3 => build!(AmazonS3Builder),
            Scheme::Azure => build!(MicrosoftAzureBuilder),
            Scheme::Gcs => build!(GoogleCloudStorageBuilder),
            Scheme::File => return Err("a folder is no bucket".to_owned()),
        };
        Ok(Self { store })
    }
}

impl Bucket {
    /// Whether the service answers for the bucket, be it that there is no such object.
    pub async fn answers(&self) -> bool {
        // Asked for with its content, because the answer to a question without one does not say what is missing.
        let answer = self.store.get(&Key::from("deckle-probe")).await.map_err(ObjectError::from);
        !matches!(answer, Err(ObjectError::Unavailable(_)))
    }
}

impl From<object_store::Error> for ObjectError {
    fn from(error: object_store::Error) -> Self {
        /// What S3 and GCS, and Azure, say when the bucket itself is missing: 404 as for an object.
        const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];
        /// What S3 and GCS, and Azure, say when the credentials are good and this object is not theirs; every other
        /// 403 is about the credentials.
        const NOT_OURS: [&str; 3] = ["AccessDenied", "AuthorizationPermissionMismatch", "AuthorizationFailure"];

        let said = one_line(&error);
        let is_said = |codes: &[&str]| codes.iter().any(|code| said.contains(code));
        match error {
            object_store::Error::NotFound { .. } if !is_said(&NO_BUCKET) => Self::Missing,
            object_store::Error::PermissionDenied { .. } if is_said(&NOT_OURS) => Self::Denied(shortened(&said)),
            _ => Self::Unavailable(shortened(&said)),
        }
    }
}

/// An error and what caused it, on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Begin and end of what a service said: the request stands first, the cause last.
fn shortened(text: &str) -> String {
    const HALF: usize = 200;
    let length = text.chars().count();
    if length <= 2 * HALF {
        return text.to_owned();
    }
    let (begin, end): (String, String) =
        (text.chars().take(HALF).collect(), text.chars().skip(length - HALF).collect());
    format!("{begin} … {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_options_are_not_shown() {
        let options: Options = [("aws_secret_access_key".to_owned(), "hush".to_owned())].into_iter().collect();
        assert_eq!(format!("{options:?}"), r#"{"aws_secret_access_key"}"#);
    }

    #[test]
    fn the_timeouts_are_options_of_every_service() {
        for (name, _) in TIMEOUTS {
            assert!([Scheme::S3, Scheme::Azure, Scheme::Gcs].iter().all(|scheme| scheme.knows_option(name)), "{name}");
        }
    }
}
