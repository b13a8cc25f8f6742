//! One configuration made of each module's own. Defaults are the embedded pipeline; then a file, then `DECKLE_*`.
//!
//! The law: everything is checked before anything starts, and every complaint names the key.

mod fingerprint;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
pub use fingerprint::RULES;
use serde::{Deserialize, Serialize};

use crate::{
    blob::{self, sources},
    decode::{self, sandbox},
    log::{self, registry},
    models::inference,
    recognition::engine,
    runtime::{sweep, worker},
    seal, stages, store,
};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where libraries, models and data lie unless their own keys say otherwise.
    pub home: PathBuf,
    /// Log, store and blobs where they are files, and journals; the folder `data` in the home unless set.
    pub data: Option<PathBuf>,
    /// The tenant of documents that the command line brings in.
    pub tenant: String,
    /// The log between the stages.
    pub log: Log,
    /// Where results lie.
    pub store: Store,
    /// Where files and large results lie.
    pub blobs: blob::Config,
    /// Where uploads may come from.
    pub sources: sources::Config,
    /// Keys that passwords of files are sealed with.
    pub passwords: seal::Config,
    /// The schema registry of a Kafka log.
    pub registry: registry::Config,
    /// Optional topics for consumers downstream.
    pub publish: stages::publish::Config,
    /// Child processes.
    pub sandbox: sandbox::Config,
    /// Decoders and their limits.
    pub decode: decode::Config,
    /// How text on pictures is recognised.
    pub ocr: engine::Config,
    /// How documents are cut into chunks.
    pub language: stages::language::Config,
    /// ONNX Runtime.
    pub inference: inference::Config,
    /// The worker loop.
    pub worker: worker::Config,
    /// How long what is of no more use is kept.
    pub retention: sweep::Config,
    /// Records that a stage works on at once, by its name; each stage knows a default.
    pub concurrency: BTreeMap<String, usize>,
    /// Metrics and health.
    pub http: Http,
}

/// The log between the stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Which side of it.
    pub provider: Provider,
    /// Settings of the SQLite log.
    pub sqlite: log::sqlite::Config,
    /// Settings of the Kafka log.
    pub kafka: log::kafka::Config,
    /// Completed records of work topics are kept for so long before they are trimmed.
    pub keep_s: u64,
}

/// The sides of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// A file below `home`.
    Sqlite,
    /// A cluster.
    Kafka,
}

/// Where results lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Which side of it.
    pub provider: StoreProvider,
    /// Settings of the SQLite store.
    pub sqlite: store::sqlite::Config,
    /// Settings of the store on ScyllaDB or Cassandra.
    pub scylla: store::cql::Config,
}

/// The sides of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreProvider {
    /// A file below `home`.
    Sqlite,
    /// A cluster of ScyllaDB or Apache Cassandra.
    Scylla,
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
            data: None,
            tenant: "default".to_owned(),
            log: Log::default(),
            store: Store::default(),
            blobs: blob::Config::default(),
            sources: sources::Config::default(),
            passwords: seal::Config::default(),
            registry: registry::Config::default(),
            publish: stages::publish::Config::default(),
            sandbox: sandbox::Config::default(),
            decode: decode::Config::default(),
            ocr: engine::Config::default(),
            language: stages::language::Config::default(),
            inference: inference::Config::default(),
            worker: worker::Config::default(),
            retention: sweep::Config::default(),
            concurrency: BTreeMap::new(),
            http: Http::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            provider: Provider::Sqlite,
            sqlite: log::sqlite::Config::default(),
            kafka: log::kafka::Config::default(),
            keep_s: 3_600,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            provider: StoreProvider::Sqlite,
            sqlite: store::sqlite::Config::default(),
            scylla: store::cql::Config::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".to_owned() }
    }
}

impl Config {
    /// Reads defaults, then `file` (or `deckle.toml` here, where there is one), then `DECKLE_*` variables
    /// (`DECKLE_WORKER__RETRY_S=5` sets `worker.retry_s`), and checks the result.
    ///
    /// # Errors
    /// One line that names the file or the key.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(file) => {
                anyhow::ensure!(file.is_file(), "configuration: there is no file {}", file.display());
                figment = figment.merge(Toml::file_exact(file));
            }
            None => figment = figment.merge(Toml::file("deckle.toml")),
        }
        let config: Self = figment
            .merge(Env::prefixed("DECKLE_").filter(is_setting).split("__"))
            .extract()
            .map_err(|error| anyhow::anyhow!("configuration: {}", complaint(&error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.tenant.is_empty(), "configuration: `tenant` is empty");
        anyhow::ensure!(
            !self.tenant.contains(['/', '\\', '\n']) && !self.tenant.starts_with('.'),
            "configuration: `tenant` leads the keys of blobs and may not hold a slash or start with a dot"
        );
        for (name, is_zero) in [
            ("sandbox.children", self.sandbox.children == Some(0)),
            ("sandbox.memory_mb", self.sandbox.memory_mb == 0),
            ("sandbox.wall_s", self.sandbox.wall_s == 0),
            ("decode.max_pages", self.decode.max_pages == 0),
            ("store.sqlite.readers", self.store.sqlite.readers == 0),
            ("worker.max_in_flight_bytes", self.worker.max_in_flight_bytes == 0),
        ] {
            anyhow::ensure!(!is_zero, "configuration: `{name}` must be at least 1");
        }
        anyhow::ensure!(
            self.decode.render_dpi.is_finite() && self.decode.render_dpi >= 36.0,
            "configuration: `decode.render_dpi` must be at least 36; OCR likes 200 to 300"
        );
        for checked in [self.blobs.check(), self.sources.check(), self.passwords.check(), self.registry.check()] {
            checked.map_err(|why| anyhow::anyhow!("configuration: {why}"))?;
        }
        for checked in [self.log.sqlite.check(), self.log.kafka.check(), self.store.scylla.check()] {
            checked.map_err(|failure| anyhow::anyhow!("configuration: {failure}"))?;
        }
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
            self.sandbox.wall_s > self.sandbox.cpu_s,
            "configuration: `sandbox.wall_s` must exceed `sandbox.cpu_s`, else the load of the machine decides which files fail"
        );
        let (name, session_ms) = match self.log.provider {
            Provider::Sqlite => ("log.sqlite.lease_ms", self.log.sqlite.lease_ms),
            Provider::Kafka => ("log.kafka.session_ms", self.log.kafka.session_ms),
        };
        anyhow::ensure!(
            self.worker.revoke_s * 1_000 < session_ms,
            "configuration: `worker.revoke_s` must be shorter than `{name}`"
        );
        for (name, value) in &self.concurrency {
            let known = stages::NAMES.contains(&name.as_str());
            anyhow::ensure!(known, "configuration: `concurrency.{name}`: stages are {}", stages::NAMES.join(", "));
            anyhow::ensure!(*value > 0, "configuration: `concurrency.{name}` must be at least 1");
        }
        Ok(())
    }

    /// Native libraries.
    pub fn libraries(&self) -> PathBuf {
        self.home.join("lib")
    }

    /// Folder of the models' weights.
    pub fn models(&self) -> PathBuf {
        self.home.join("models")
    }

    /// Log, store and blobs where they are files, and journals.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.home.join("data"))
    }

    /// The decoders' settings, their libraries found.
    pub fn decode(&self) -> decode::Config {
        let pdfium = self.decode.pdfium.clone().unwrap_or_else(|| self.libraries());
        let heif = self.decode.heif.clone().unwrap_or_else(|| self.libraries());
        decode::Config { pdfium: Some(pdfium), heif: Some(heif), ..self.decode.clone() }
    }

    /// ONNX Runtime's settings, its library found.
    pub fn inference(&self) -> inference::Config {
        let found = self.libraries().join("libonnxruntime.so");
        let library = self.inference.library.clone().unwrap_or(found);
        inference::Config { library: Some(library), ..self.inference.clone() }
    }

    /// Sandbox children: one per core, unless set.
    pub fn children(&self) -> usize {
        self.sandbox.children.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Hash of the settings, models and rules that change results: another value means another fingerprint.
    ///
    /// # Errors
    /// When the settings cannot be written as JSON.
    pub fn result_hash(&self) -> anyhow::Result<String> {
        fingerprint::of(self)
    }
}

/// Whether a `DECKLE_` variable is a setting, and not a command's own or one of the tests.
fn is_setting(name: &figment::value::UncasedStr) -> bool {
    let is_command_or_test = ["password", "seed", "bless"].iter().any(|other| name == *other);
    !is_command_or_test && !name.starts_with("test_")
}

/// One line on what is wrong, which key it is, and where that was said.
fn complaint(error: &figment::Error) -> String {
    use figment::{Source, error::Kind};
    let key = error.path.join(".");
    let place = match error.metadata.as_ref().map(|metadata| (&metadata.source, &metadata.name)) {
        Some((Some(Source::File(file)), _)) => format!(" (in {})", file.display()),
        Some((_, name)) if name.contains("environment") => {
            format!(" (in the variable DECKLE_{})", key.replace('.', "__").to_uppercase())
        }
        _ => String::new(),
    };
    match &error.kind {
        Kind::UnknownField(_, known) => format!("there is no setting `{key}`{place}; known here: {}", known.join(", ")),
        Kind::UnknownVariant(value, known) => format!("`{key}` = \"{value}\"{place} is none of {}", known.join(", ")),
        Kind::InvalidType(found, wanted) | Kind::InvalidValue(found, wanted) => {
            let wanted = match wanted.as_str() {
                "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
                "f32" | "f64" => "a number",
                other => other,
            };
            format!("`{key}`{place} must be {wanted}, not {found}")
        }
        // The parser of TOML draws the place on lines of their own.
        other => {
            let text = other.to_string();
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
            lines.collect::<Vec<_>>().join(": ") + &place
        }
    }
}
