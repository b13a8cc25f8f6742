//! The stages: each turns one event into others, and knows nothing of offsets, partitions or topics' brokers.
//!
//! The law: a stage is at-least-once inside and once in effect. Whatever it writes is idempotent and a pure function
//! of its input; its outputs become visible together with its progress, or not at all.

pub mod assemble;
pub mod dead_letters;
pub mod files;
pub mod language;
pub mod ocr;
pub mod publish;
pub mod split;
pub mod vision;

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;

use deckle_blob::Blobs;
use deckle_contract::{
    error::{Failure, Result},
    record::{
        Event, Lane, TrailEntry,
        wire::{self, Headers},
    },
};
use deckle_decode::{Decoders, DocumentLimits};
use deckle_models::{embedders::Embedders, layout::Detector, on_demand::OnDemand, ppocr::Readers};
use deckle_seal::Keyring;
use deckle_store::Store;

/// Lists the stages, each by its module and type, in the order of a document's path.
macro_rules! stages {
    ($($module:ident::$stage:ident),* $(,)?) => {
        /// The names of all stages, in the order of a document's path; the one of its failures is the last.
        pub const NAMES: &[&str] = &[$($module::NAME),*];

        /// All stages, in the order of a document's path.
        pub fn all(parts: &Parts) -> Vec<Arc<dyn AnyStage>> {
            vec![$(erase($module::$stage::new(parts))),*]
        }
    };
}

stages! {
    split::Split,
    ocr::Ocr,
    vision::Vision,
    assemble::Assemble,
    language::Language,
    publish::Publish,
    dead_letters::DeadLetters,
}

/// The parts that stages are made of; each stage takes those that it needs.
#[derive(Clone)]
pub struct Parts {
    /// The blob store, where files are and large results go.
    pub blobs: Arc<dyn Blobs>,
    /// The store, where results go.
    pub store: Arc<dyn Store>,
    /// What reads, renders and recognises.
    pub decoders: Decoders,
    /// The embedding models, each loaded on first use.
    pub embedders: Embedders,
    /// The models that read text on pictures, loaded on first use.
    pub readers: Readers,
    /// Turns pages upright, with a model that is loaded on first use.
    pub upright: deckle_recognition::upright::Upright,
    /// The model of page layout, loaded on first use.
    pub detector: OnDemand<Detector>,
    /// The embedding models that are in use, as the store says.
    pub active_models: Arc<deckle_store::active_models::ActiveModels>,
    /// A cache of source files read lately, shared by the stages that read them.
    pub files: Arc<files::Files>,
    /// The roots that uploads may be fetched from.
    pub sources: Arc<deckle_blob::sources::Sources>,
    /// Seals and opens the passwords of files.
    pub keyring: Arc<Keyring>,
    /// Settings that stages need to know.
    pub settings: Settings,
}

/// Settings that stages need to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hash of what changes results; stands in every trail.
    pub config_hash: String,
    /// Files above this size are rejected.
    pub max_bytes: u64,
    /// A rendered page has no more pixels than this.
    pub max_pixels: u64,
    /// How text is recognised.
    pub ocr: deckle_recognition::engine::Config,
    /// What a document may say.
    pub document_limits: DocumentLimits,
    /// How documents are cut into chunks.
    pub language: language::Config,
    /// Optional topics that publish feeds.
    pub publish: publish::Config,
    /// Sandbox children, which bound how many pages can be read at once.
    pub children: usize,
}

/// What a stage takes: an event of one topic, or what several topics bring.
pub trait Input: Send + Sync + Sized + 'static {
    /// The topics that bring it.
    const TOPICS: &'static [&'static str];

    /// Reads it from a record of one of the topics.
    ///
    /// # Errors
    /// Rejected as `record.undecodable`.
    fn decode(topic: &str, headers: &Headers, value: &[u8]) -> Result<Self>;

    /// How it is ordered among others.
    fn order(&self) -> Order;

    /// Its identity and context, as the headers of a record name them.
    fn headers(&self, stage: &str) -> BTreeMap<String, String>;
}

impl<T: Event> Input for T {
    const TOPICS: &'static [&'static str] = &[T::TOPIC];

    /// Of bytes that could not be read when they were redriven, the headers name the run and the version.
    fn decode(_: &str, headers: &Headers, value: &[u8]) -> Result<Self> {
        let mut event: T = wire::decode(value)?;
        let envelope = event.envelope_mut();
        if envelope.run == 0 {
            envelope.run = if headers.run == 0 { headers.appended_at_us } else { headers.run };
        }
        envelope.version = envelope.version.max(headers.version).max(envelope.run);
        Ok(event)
    }

    fn order(&self) -> Order {
        Order::of(self)
    }

    fn headers(&self, stage: &str) -> BTreeMap<String, String> {
        wire::headers(self, stage, None)
    }
}

/// One stage of the pipeline: it turns records of its topics into records of others.
#[async_trait]
pub trait Stage: Send + Sync + 'static {
    /// What it takes.
    type Input: Input;

    /// Its name, which is also its consumer group's.
    fn name(&self) -> &'static str;

    /// Turns one event into others.
    async fn process(&self, headers: &Headers, input: Self::Input) -> Result<Vec<Output>>;

    /// What goes on when a record failed for good, besides its dead letter. `input` is `None` when it could not be
    /// decoded; then the headers are all there is.
    fn on_failure(&self, headers: &Headers, input: Option<&Self::Input>, failure: &Failure) -> Result<Vec<Output>>;

    /// Records worked on at once, unless `concurrency` in the configuration says otherwise.
    fn concurrency(&self) -> usize {
        4
    }

    /// Throws away what was remembered between records: partitions went to, or came from, someone else.
    fn forget(&self) {}
}

/// An encoded output; its type was its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The topic that it goes to.
    pub topic: &'static str,
    /// The key that it is partitioned by.
    pub key: String,
    /// CloudEvents and trace headers.
    pub headers: BTreeMap<String, String>,
    /// The encoded event.
    pub value: Bytes,
}

impl Output {
    /// Encodes an event of a stage.
    ///
    /// # Errors
    /// A defect when it does not fit its schema or is larger than an event may be.
    pub fn new<T: Event>(producer: &str, event: &T) -> Result<Self> {
        let headers = wire::headers(event, producer, None);
        Ok(Self { topic: T::TOPIC, key: event.order_key(), headers, value: wire::encode(event)? })
    }
}

/// How a record is ordered among others, which the worker needs before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Records of one key run one at a time and in order.
    pub key: String,
    /// Whether a person waits, so that the record goes before others.
    pub interactive: bool,
    /// Whether it is long work, which small records overtake.
    pub large: bool,
}

/// Work on more bytes than this is large. A megabyte of text takes a minute of a core to embed (3,600 tokens of some
/// four bytes a second, MiniLM in f32), where a letter or a form takes a tenth of a second.
const LARGE_BYTES: u64 = 1 << 20;

impl Order {
    /// The order of an event.
    pub fn of(event: &impl Event) -> Self {
        Self {
            key: event.order_key(),
            interactive: event.envelope().lane == Lane::Interactive,
            large: event.work_bytes() > LARGE_BYTES,
        }
    }
}

/// A stage with its input type erased: what the one worker loop drives.
#[async_trait]
pub trait AnyStage: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &'static str;
    /// The topics that it consumes.
    fn topics(&self) -> &'static [&'static str];
    /// How a record of a topic is ordered among others; `None` when it cannot be decoded (then it is ordered with
    /// nothing).
    fn order(&self, topic: &str, value: &[u8]) -> Option<Order>;
    /// Identity and context of a record: those of its event where it can be decoded, else those in its headers.
    fn identity(&self, topic: &str, headers: &Headers, value: &[u8]) -> Headers;
    /// Decodes a record and processes it; see [`Stage::process`].
    async fn process(&self, topic: &str, headers: &Headers, value: &[u8]) -> Result<Vec<Output>>;
    /// See [`Stage::on_failure`]; decodes the record first.
    fn on_failure(&self, topic: &str, headers: &Headers, value: &[u8], failure: &Failure) -> Result<Vec<Output>>;
    /// See [`Stage::concurrency`].
    fn concurrency(&self) -> usize;
    /// See [`Stage::forget`].
    fn forget(&self);
}

/// Erases the input type of a stage.
pub fn erase<S: Stage>(stage: S) -> Arc<dyn AnyStage> {
    Arc::new(Erased { stage, input: PhantomData })
}

struct Erased<S: Stage> {
    stage: S,
    input: PhantomData<fn() -> S::Input>,
}

#[async_trait]
impl<S: Stage> AnyStage for Erased<S> {
    fn name(&self) -> &'static str {
        self.stage.name()
    }

    fn topics(&self) -> &'static [&'static str] {
        S::Input::TOPICS
    }

    fn order(&self, topic: &str, value: &[u8]) -> Option<Order> {
        S::Input::decode(topic, &Headers::default(), value).ok().map(|input| input.order())
    }

    fn identity(&self, topic: &str, headers: &Headers, value: &[u8]) -> Headers {
        match S::Input::decode(topic, headers, value) {
            Ok(input) => Headers::parse(&input.headers(self.name()), headers.appended_at_us),
            Err(_) => headers.clone(),
        }
    }

    async fn process(&self, topic: &str, headers: &Headers, value: &[u8]) -> Result<Vec<Output>> {
        self.stage.process(headers, S::Input::decode(topic, headers, value)?).await
    }

    fn on_failure(&self, topic: &str, headers: &Headers, value: &[u8], failure: &Failure) -> Result<Vec<Output>> {
        let input = S::Input::decode(topic, headers, value).ok();
        self.stage.on_failure(headers, input.as_ref(), failure)
    }

    fn concurrency(&self) -> usize {
        self.stage.concurrency()
    }

    fn forget(&self) {
        self.stage.forget();
    }
}

/// How many things there are, as events and rows carry it.
///
/// # Errors
/// A [`Failure::Defect`] above 2^32 - 1: no document has as many of anything.
fn count(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Failure::defect(format!("{length} are more than events can count")))
}

/// Measures what a stage spends on one record, for its trail.
pub struct Meter {
    started: Instant,
    entry: TrailEntry,
}

impl Meter {
    /// Starts the clock of a stage whose result-changing settings hash to `config_hash`.
    pub fn start(stage: &str, config_hash: &str) -> Self {
        let entry = TrailEntry {
            stage: stage.to_owned(),
            deckle_version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: config_hash.to_owned(),
            ..TrailEntry::default()
        };
        Self { started: Instant::now(), entry }
    }

    /// Adds processor time.
    pub fn cpu(&mut self, us: i64) -> &mut Self {
        self.entry.cpu_us += us;
        self
    }

    /// Adds accelerator time.
    pub fn gpu(&mut self, us: i64) -> &mut Self {
        self.entry.gpu_us += us;
        self
    }

    /// Names the model that worked.
    pub fn model(&mut self, name: &str, weights_sha256: Option<&str>) -> &mut Self {
        self.entry.model = Some(name.to_owned());
        self.entry.weights_sha256 = weights_sha256.map(str::to_owned);
        self
    }

    /// Adds pages, bytes and tokens.
    pub fn count(&mut self, pages: usize, bytes: usize, tokens: usize) -> &mut Self {
        self.entry.pages += pages as i64;
        self.entry.bytes += bytes as i64;
        self.entry.tokens += tokens as i64;
        self
    }

    /// Takes note of what was decided about a page's text, and from what.
    pub fn decided(&mut self, decision: &str, signals: &BTreeMap<String, f32>) -> &mut Self {
        *self.entry.decisions.entry(decision.to_owned()).or_default() += 1;
        let finite = signals.iter().filter(|(_, value)| value.is_finite());
        self.entry.signals = finite.map(|(name, value)| (name.clone(), f64::from(*value))).collect();
        self
    }

    /// Stops the clock.
    pub fn finish(mut self) -> TrailEntry {
        self.entry.wall_us = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.entry
    }
}
