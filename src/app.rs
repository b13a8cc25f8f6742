//! The composition root: builds log, store, blobs, pools and workers from the configuration; starts and stops them.

mod housekeeping;
pub mod telemetry;

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::{sync::watch, task::JoinSet};

use self::housekeeping::Housekeeping;
use crate::{
    blob::{self, Blobs, sources::Sources},
    config::{Config, Provider, StoreProvider},
    contract::{error, record::topics},
    decode::{Check, Decoders, sandbox},
    log::{self, Log, Topic, framed::Framed, kafka},
    models::{
        Catalogue, embedders::Embedders, layout, minilm::Embedder, on_demand::OnDemand, orientation::Orientation,
        ppocr::Readers,
    },
    recognition::upright::Upright,
    runtime::{journal::Journal, readiness, worker::Worker},
    seal::Keyring,
    stages::{self, AnyStage, Parts, Settings, files::Files},
    store::{
        Store,
        active_models::{self, ActiveModels},
        cql::{self, CqlStore},
        sqlite::SqliteStore,
    },
};

/// Source files that pages share are kept up to this many bytes.
const FILES_BYTES: u64 = 256 << 20;

/// The file of keys in the data folder that is made on the embedded log, where no other is named.
const PASSWORD_KEYS: &str = "password.keys";

/// The parts that every command may use.
pub struct App {
    /// The configuration.
    pub config: Config,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The blob store.
    pub blobs: Arc<dyn Blobs>,
    /// Hash of what changes results.
    pub config_hash: String,
    /// The sandbox and what runs in it.
    pub decoders: Decoders,
    embedders: Embedders,
    readers: Readers,
    /// What searches ask.
    active_models: Arc<ActiveModels>,
    sources: Arc<Sources>,
    /// Seals and opens the passwords of files.
    pub keyring: Arc<Keyring>,
}

impl App {
    /// Opens log, store and blobs; starts nothing, and waits for no cluster.
    ///
    /// # Errors
    /// When one of them cannot be opened; the message names its path, or the setting.
    pub fn open(config: Config) -> anyhow::Result<Self> {
        let data = config.data();
        private_folder(&data).with_context(|| format!("the data folder {} cannot be made", data.display()))?;
        let log = open_log(&config)?;
        let store = open_store(&config)?;
        let blobs = blob::open(&config.blobs, &data.join("blobs"))?;
        let sources = Sources::open(&config.sources, config.decode.max_bytes, data).map_err(anyhow::Error::msg)?;
        // Of several machines each would make a key of its own, which the others do not know.
        let own = (config.log.provider == Provider::Sqlite).then(|| config.data().join(PASSWORD_KEYS));
        let keyring = Keyring::new(&config.passwords, own);
        let program = std::env::current_exe().context("this program's own path")?;
        let decoders = Decoders::start(&program, config.sandbox.clone(), config.decode());
        let embedders = Embedders::new(config.models(), config.inference());
        let readers = Readers::new(config.models(), config.inference());
        Ok(Self {
            config_hash: config.result_hash()?,
            active_models: active_models(&store, active_models::SEARCHES),
            log,
            store,
            blobs,
            decoders,
            embedders,
            readers,
            sources: Arc::new(sources),
            keyring: Arc::new(keyring),
            config,
        })
    }

    /// The embedding models, each loaded on first use.
    pub fn embedders(&self) -> &Embedders {
        &self.embedders
    }

    /// What reads text on pictures, loaded on first use.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Which embedding models searches ask.
    pub fn active_models(&self) -> Arc<ActiveModels> {
        Arc::clone(&self.active_models)
    }

    /// The model that a search asks: whoever embeds the question and names the model by it never mixes two.
    ///
    /// # Errors
    /// When the store is away, or the model cannot be loaded.
    pub async fn embedder(&self) -> error::Result<Embedder> {
        self.embedders.get(&self.active_models.active().await?).await
    }

    /// Builds the stages of the given names (all, when none is named), in the order of a document's path.
    pub fn stages(&self, names: &[String]) -> Vec<Arc<dyn AnyStage>> {
        let (models, inference) = (self.config.models(), self.config.inference());
        let (orienting, with) = (models.clone(), inference.clone());
        let parts = Parts {
            blobs: Arc::clone(&self.blobs),
            store: Arc::clone(&self.store),
            decoders: self.decoders.clone(),
            embedders: self.embedders.clone(),
            readers: self.readers.clone(),
            upright: Upright::new(OnDemand::new(move || Orientation::load(&orienting, &with))),
            detector: OnDemand::new(move || layout::Detector::load(&models, &inference)),
            active_models: active_models(&self.store, active_models::STAGES),
            files: Arc::new(Files::new(Arc::clone(&self.blobs), FILES_BYTES)),
            sources: Arc::clone(&self.sources),
            keyring: Arc::clone(&self.keyring),
            settings: Settings {
                config_hash: self.config_hash.clone(),
                max_bytes: self.config.decode.max_bytes,
                max_pixels: self.config.decode.max_pixels,
                ocr: self.config.ocr.clone(),
                document_limits: self.config.decode.document_limits(),
                language: self.config.language,
                publish: self.config.publish,
                children: self.config.children(),
            },
        };
        let mut stages = stages::all(&parts);
        stages.retain(|stage| names.is_empty() || names.iter().any(|name| name == stage.name()));
        stages
    }

    /// Starts a worker for each named stage (all, when none is named) and the housekeeping. Waits for a cluster that is
    /// away, and readiness says so.
    ///
    /// # Errors
    /// When topics or tables are not as they must be, no instance name is free, the journal cannot be opened, or the
    /// group cannot be joined.
    pub async fn start(&self, names: &[String]) -> anyhow::Result<Running> {
        allow_open_files();
        if names.is_empty() || names.iter().any(|name| name == stages::language::NAME) {
            Catalogue::load().embedder().check(&self.config.models())?;
        }
        if names.is_empty() || names.iter().any(|name| name == stages::vision::NAME) {
            layout::entry(&Catalogue::load()).check(&self.config.models())?;
        }
        if self.config.log.provider == Provider::Kafka {
            for warning in readiness::until_there(|| kafka::topics::check(&self.config.log.kafka)).await? {
                tracing::warn!("{warning}");
            }
        }
        if self.config.store.provider == StoreProvider::Scylla {
            readiness::until_there(|| cql::migrations::check(&self.config.store.scylla, cql::migrations::ALL)).await?;
        }
        if names.is_empty()
            || names.iter().any(|name| [stages::split::NAME, stages::ocr::NAME].contains(&name.as_str()))
        {
            // Beside the start, which needs not wait for it.
            tokio::spawn(warn_of_the_sandbox(self.decoders.clone()));
        }
        let instance = Instance::take(&self.config.data().join("instances"))?;
        let member = match self.config.log.provider {
            Provider::Sqlite => instance.name.clone(),
            Provider::Kafka => format!("{}-{}", self.config.log.kafka.instance()?, instance.name),
        };
        let journal = Journal::open(&instance.journal()).context("the death journal cannot be opened")?;
        let (stop, stopped) = watch::channel(false);
        let stages = self.stages(names);
        let topics = |stage: &Arc<dyn AnyStage>| stage.topics().iter().copied().map(Topic::from).collect::<Vec<_>>();
        let consumed =
            stages.iter().flat_map(|stage| topics(stage).into_iter().map(|topic| (stage.name(), topic))).collect();
        let mut joined = Vec::new();
        for stage in stages {
            let name = stage.name();
            let topics = topics(&stage);
            let membership = readiness::until_there(|| self.log.join(name, &member, &topics)).await?;
            let keyring = Arc::clone(&self.keyring);
            let concurrency = self.config.concurrency.get(name).copied().unwrap_or_else(|| stage.concurrency());
            let worker =
                Worker::new(stage, membership, Arc::clone(&journal), keyring, self.config.worker.clone(), concurrency);
            joined.push((name, worker));
        }
        // From here on nothing is waited for: whoever gives up on a start has nothing at work.
        let mut workers = JoinSet::new();
        for (name, worker) in joined {
            let stopped = stopped.clone();
            workers.spawn(async move { worker.run(stopped).await.with_context(|| format!("stage {name}")) });
        }
        let housekeeping = Housekeeping {
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.store),
            blobs: Arc::clone(&self.blobs),
            pool: Arc::clone(self.decoders.pool()),
            consumed,
            keep: Duration::from_secs(self.config.log.keep_s),
            retention: self.config.retention.clone(),
        };
        let housekeeping = tokio::spawn(housekeeping.run());
        Ok(Running { stop, workers, housekeeping, pool: Arc::clone(self.decoders.pool()), _instance: instance })
    }
}

/// Says what the kernel lacks to confine the children, in the log and in `/readyz`.
async fn warn_of_the_sandbox(decoders: Decoders) {
    let lacking = |check: &Check| check.name == "sandbox" && !check.ok;
    for check in decoders.check().await.into_iter().filter(lacking) {
        tracing::warn!(found = check.detail, advice = check.advice, "the sandbox is not whole");
        readiness::warn(format!("the sandbox is not whole: {}", check.detail));
    }
}

/// Workers at work.
pub struct Running {
    stop: watch::Sender<bool>,
    workers: JoinSet<anyhow::Result<()>>,
    housekeeping: tokio::task::JoinHandle<()>,
    pool: Arc<sandbox::Pool>,
    _instance: Instance,
}

impl Running {
    /// Waits for the first worker that stops by itself, which only an error makes it do.
    ///
    /// # Errors
    /// What stopped it.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        match self.workers.join_next().await {
            Some(result) => result.context("a worker panicked")?,
            None => std::future::pending().await,
        }
    }

    /// Drains, commits and leaves.
    ///
    /// # Errors
    /// The first that a worker met on its way out.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Without receivers there is nobody left to stop.
        let _ = self.stop.send(true);
        let mut first = Ok(());
        while let Some(result) = self.workers.join_next().await {
            let result = result.context("a worker panicked").and_then(|result| result);
            if first.is_ok() {
                first = result;
            }
        }
        self.housekeeping.abort();
        self.pool.close().await;
        first
    }
}

/// A name that is stable across restarts and held by one live process: the lowest number whose lock is free.
struct Instance {
    name: String,
    folder: std::path::PathBuf,
    _lock: File,
}

impl Instance {
    /// More workers than this on one folder are a mistake.
    const MAX: u32 = 1_000;

    fn take(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for number in 0..Self::MAX {
            let lock =
                File::options().write(true).create(true).truncate(false).open(folder.join(format!("{number}.lock")))?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { name: format!("worker-{number}"), folder: folder.to_owned(), _lock: lock }),
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        anyhow::bail!("{} processes run on {} already", Self::MAX, folder.display())
    }

    fn journal(&self) -> std::path::PathBuf {
        self.folder.join(format!("{}.journal", self.name))
    }
}

/// Raises the soft limit of open files to the hard one: pipes of children, connections and files of many records at once
/// are more than the usual 1024, which is kept that low for programs that call select(2).
fn allow_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) => tracing::debug!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// What this process knows of the models that embed, `fresh_for` at the oldest.
fn active_models(store: &Arc<dyn Store>, fresh_for: Duration) -> Arc<ActiveModels> {
    Arc::new(ActiveModels::new(Arc::clone(store), fresh_for, Catalogue::load().embedder().name.clone()))
}

/// Makes a folder that only its owner may open: what is below it are other people's documents.
fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    restrict(path, 0o700)
}

/// Makes a file that only its owner may read, and so the files that SQLite puts beside it, which get its mode.
fn private_file(path: &Path) -> io::Result<()> {
    File::options().append(true).create(true).mode(0o600).open(path)?;
    restrict(path, 0o600)
}

/// Takes away what others may do with a file of ours; one of another user is left as that user made it.
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    match std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        set => set,
    }
}

fn open_log(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    match config.log.provider {
        Provider::Sqlite => {
            let path = config.data().join("log.sqlite");
            private_file(&path).with_context(|| format!("the log {}", path.display()))?;
            let log = log::sqlite::SqliteLog::open(&path, &partitions(), config.log.sqlite.clone())
                .with_context(|| format!("the log {} cannot be opened", path.display()))?;
            Ok(Arc::new(log))
        }
        Provider::Kafka => {
            let log = Arc::new(kafka::KafkaLog::open(config.log.kafka.clone())?);
            if config.registry.url.is_none() {
                return Ok(log);
            }
            Ok(Arc::new(Framed::new(log, config.registry.clone(), config.log.kafka.prefix.clone())))
        }
    }
}

fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    match config.store.provider {
        StoreProvider::Sqlite => {
            let path = config.data().join("store.sqlite");
            private_file(&path).with_context(|| format!("the store {}", path.display()))?;
            let store = SqliteStore::open_with(&path, config.store.sqlite.clone())
                .with_context(|| format!("the store {} cannot be opened", path.display()))?;
            Ok(Arc::new(store))
        }
        StoreProvider::Scylla => Ok(Arc::new(CqlStore::open(config.store.scylla.clone())?)),
    }
}

/// The topics as the embedded log needs to know them.
fn partitions() -> Vec<log::sqlite::TopicConfig> {
    topics::all()
        .iter()
        .map(|topic| log::sqlite::TopicConfig {
            name: Topic::from(topic.name.as_str()),
            partitions: i32::try_from(topic.partitions).unwrap_or(i32::MAX),
        })
        .collect()
}
