//! One configuration made of each module's own. Defaults are the embedded pipeline; then a file, then `DECKLE_*`.
//!
//! The law: everything is checked before anything starts, and every complaint names the key.

use std::path::{Path, PathBuf};

use anyhow::Context;
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

use crate::{decode, document::chunking, inference, log, models, sandbox, stages, worker};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where libraries, models and data lie unless their own keys say otherwise.
    pub home: PathBuf,
    /// The tenant of documents that the command line brings in.
    pub tenant: String,
    /// The log between the stages.
    pub log: Log,
    /// Child processes.
    pub sandbox: sandbox::Config,
    /// Decoders and their limits.
    pub decode: decode::Config,
    /// Recognition.
    pub ocr: Ocr,
    /// ONNX Runtime.
    pub inference: inference::Config,
    /// The worker loop.
    pub worker: worker::Config,
    /// Records that each stage works on at once.
    pub concurrency: Concurrency,
    /// Metrics and health.
    pub http: Http,
}

/// The log between the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Settings of the SQLite log.
    pub sqlite: log::sqlite::Config,
    /// Completed records of work topics are kept for so long before they are trimmed.
    pub keep_s: u64,
}

/// Recognition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ocr {
    /// BCP 47, for documents that name none.
    pub languages: Vec<String>,
}

/// Records that each stage works on at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// Files being opened.
    pub split: usize,
    /// Pages being read; 0 = twice the sandbox's children, so that none waits for a blob.
    pub ocr: usize,
    /// Pages being grouped.
    pub vision: usize,
    /// Documents being joined.
    pub assemble: usize,
    /// Documents being embedded: more of them fill batches better.
    pub language: usize,
    /// Documents being published.
    pub publish: usize,
}

/// Metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address of `/metrics`, `/healthz` and `/readyz` in `deckle run`; empty = none. Port 0 takes a free one.
    pub listen: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            home: PathBuf::from(".deckle"),
            tenant: "default".to_owned(),
            log: Log::default(),
            sandbox: sandbox::Config::default(),
            decode: decode::Config::default(),
            ocr: Ocr::default(),
            inference: inference::Config::default(),
            worker: worker::Config::default(),
            concurrency: Concurrency::default(),
            http: Http::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { sqlite: log::sqlite::Config::default(), keep_s: 3_600 }
    }
}

impl Default for Ocr {
    fn default() -> Self {
        Self { languages: vec!["en".to_owned()] }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { split: 4, ocr: 0, vision: 4, assemble: 8, language: 8, publish: 4 }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".to_owned() }
    }
}

/// Variables that begin like a setting and are none: `process --password` is read from one.
const NOT_SETTINGS: &[&str] = &["password"];

impl Config {
    /// Reads defaults, then `file` (or `deckle.toml` here, where there is one), then `DECKLE_*` variables
    /// (`DECKLE_WORKER__RETRY_S=5` sets `worker.retry_s`), and checks the result.
    ///
    /// # Errors
    /// One line that names the file or the key.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(file) => figment = figment.merge(Toml::file_exact(file)),
            None => figment = figment.merge(Toml::file("deckle.toml")),
        }
        let config: Self = figment
            .merge(Env::prefixed("DECKLE_").ignore(NOT_SETTINGS).split("__"))
            .extract()
            .map_err(|error| anyhow::anyhow!("configuration: {}", one_line(&error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.tenant.is_empty(), "configuration: `tenant` is empty");
        anyhow::ensure!(
            !self.ocr.languages.is_empty(),
            "configuration: `ocr.languages` is empty; for example [\"en\"]"
        );
        anyhow::ensure!(self.worker.max_in_flight > 0, "configuration: `worker.max_in_flight` must be at least 1");
        anyhow::ensure!(
            self.worker.max_defects <= self.worker.defect_window,
            "configuration: `worker.max_defects` must not exceed `worker.defect_window`"
        );
        anyhow::ensure!(
            self.worker.revoke_s * 1_000 < self.log.sqlite.lease_ms,
            "configuration: `worker.revoke_s` must be shorter than `log.sqlite.lease_ms`"
        );
        for (name, value) in [
            ("split", self.concurrency.split),
            ("vision", self.concurrency.vision),
            ("assemble", self.concurrency.assemble),
            ("language", self.concurrency.language),
            ("publish", self.concurrency.publish),
        ] {
            anyhow::ensure!(value > 0, "configuration: `concurrency.{name}` must be at least 1");
        }
        Ok(())
    }

    /// Native libraries.
    pub fn libraries(&self) -> PathBuf {
        self.home.join("lib")
    }

    /// Weights.
    pub fn models(&self) -> PathBuf {
        self.home.join("models")
    }

    /// Log, store, blobs and journals.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// ONNX Runtime's settings, its library found.
    pub fn inference(&self) -> inference::Config {
        let found = self.libraries().join("libonnxruntime.so");
        let library = self.inference.library.clone().unwrap_or(found);
        inference::Config { library: Some(library), ..self.inference.clone() }
    }

    /// Records that a stage works on at once.
    pub fn concurrency_of(&self, stage: &str) -> usize {
        let children = self.sandbox.children();
        match stage {
            stages::split::NAME => self.concurrency.split,
            stages::ocr::NAME if self.concurrency.ocr == 0 => children * 2,
            stages::ocr::NAME => self.concurrency.ocr,
            stages::vision::NAME => self.concurrency.vision,
            stages::assemble::NAME => self.concurrency.assemble,
            stages::language::NAME => self.concurrency.language,
            _ => self.concurrency.publish,
        }
    }

    /// Hash of the settings, models and rules that change results: another value means another fingerprint.
    ///
    /// # Errors
    /// When the settings cannot be written as JSON.
    pub fn result_hash(&self) -> anyhow::Result<String> {
        use sha2::{Digest, Sha256};
        let catalogue = models::Catalogue::load();
        let weights: Vec<_> = catalogue.models.iter().flat_map(|entry| &entry.files).map(|file| &file.sha256).collect();
        let facts = (self.decode.result_settings(), &self.ocr, chunking::NAME, weights, RULES);
        let json = serde_json::to_vec(&facts).context("settings as JSON")?;
        Ok(hex::encode(Sha256::digest(json))[..16].to_owned())
    }
}

/// An error on one line; figment sets the place that it speaks of on a second one.
fn one_line(error: &figment::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Raised when a rule in the code changes results (layout, text-layer judgement), so that files are read again.
const RULES: u32 = 1;
