//! Sentence embeddings: a BERT encoder whose graph ends in the mean over the mask, scaled to length 1
//! (sentence-transformers/all-MiniLM-L6-v2, in f32 and in int8).
//!
//! The law: a vector has length 1 and no NaN, or the item is a defect; a text longer than the model reads is cut at
//! its end, and the answer says how much was cut.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use ort::{session::Session, value::TensorRef};
use tokenizers::Tokenizer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Catalogue, Entry};
use crate::{
    computing::{micros, thread_cpu},
    inference::{self, Model, Pool, Precision, Provider, Report, Size, Stats, Tag, onnx::Runtime},
};
use deckle_contract::{
    error::{Failure, Result},
    record::Lane,
};

/// How far a computed vector's length may be from 1 before it is scaled: bf16 has 8 bits, so 2⁻⁸ per element, far less
/// in the sum of squares. Beyond it the output is not a sentence embedding.
const LENGTH_TOLERANCE: f32 = 0.05;

/// Turns texts into vectors. Cheap to clone: clones share the sessions.
#[derive(Clone)]
pub struct Embedder {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<Encoder>,
    counter: Counter,
    name: String,
    dimension: u32,
    weights_sha256: String,
    provider: String,
    on_gpu: bool,
    threads: u32,
    truncated: AtomicU64,
    /// Places in the queue that the chunks of long documents share.
    places: Arc<Semaphore>,
}

/// Batches of the longest texts for each session that the chunks of all long documents together may queue: one that runs
/// and one that is ready, so that no session idles, and a text of a short document waits for no more than these.
const QUEUED_BATCHES: usize = 2;

/// The vector of one text and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Scaled to length 1.
    pub vector: Vec<f32>,
    /// Tokens that the model read, special ones included.
    pub tokens: u32,
    /// Tokens at the end that it did not read, because the text was too long.
    pub truncated_tokens: u32,
    /// Processor time of tokenising it, and its share of its batch's (not on a GPU). Sessions with several threads are
    /// taken to use them evenly.
    pub cpu_us: i64,
    /// This text's share of the accelerator time of its batch.
    pub gpu_us: i64,
}

/// Counts tokens as a model reads them, without the model. Cheap to clone.
#[derive(Clone)]
pub struct Counter {
    tokenizer: Arc<Tokenizer>,
    max_tokens: usize,
}

impl Counter {
    /// Checks the tokenizer of a model in `<models_folder>/<model>` and loads it. Blocks for a tenth of a second.
    ///
    /// # Errors
    ///
    /// A missing or altered file, on one line with what to do.
    pub fn load(models_folder: &Path, model: &str) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load();
        let entry = catalogue.embedder_named(model)?;
        entry.check_file(models_folder, TOKENIZER)?;
        Self::of(entry, models_folder)
    }

    fn of(entry: &Entry, models_folder: &Path) -> anyhow::Result<Self> {
        let max_tokens = entry.max_tokens.context("deploy/models.toml gives no max_tokens for the embedding model")?;
        let tokenizer = load_tokenizer(&models_folder.join(&entry.name).join(TOKENIZER))?;
        Ok(Self { tokenizer: Arc::new(tokenizer), max_tokens })
    }

    /// Tokens of a text, special ones included, however long it is. Takes 0.1 ms a sentence. For chunking: a text of
    /// up to [`Counter::max_tokens`] is read whole.
    pub fn count_tokens(&self, text: &str) -> usize {
        // Encoding fails for no text with this tokenizer; should it ever, the text counts as too long.
        self.encode(text).map_or(usize::MAX, |ids| ids.len())
    }

    /// Longest text that is read whole, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, true);
        let encoding = encoding.map_err(|error| Failure::defect(format!("the text cannot be tokenised: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// File of the tokenizer of every model here.
const TOKENIZER: &str = "tokenizer.json";

impl Embedder {
    /// Checks the files in `<models_folder>/<model>`, starts the sessions and warms them up. Blocks for about a second.
    ///
    /// # Errors
    ///
    /// An unknown model, a missing or altered file, a missing library, a provider that is not there: one line each, with
    /// what to do.
    pub fn load(models_folder: &Path, model: &str, config: &inference::Config) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load();
        let entry = catalogue.embedder_named(model)?;
        entry.check(models_folder)?;
        let dimension = entry.dimension.context("deploy/models.toml gives no dimension for the embedding model")?;
        let counter = Counter::of(entry, models_folder)?;
        let mut config = config.clone();
        if let Some(provider) = entry.provider {
            // Its weights say how it computes.
            (config.provider, config.precision) = (provider, Precision::Auto);
        }
        let runtime = Runtime::load(&config)?;
        let plan = *runtime.plan();
        let batching = config.batching(plan.batching());
        let warm_up = Shape { dimension: dimension as usize, max_tokens: counter.max_tokens };
        let model_path = models_folder.join(&entry.name).join("model.onnx");
        let batch = usize::try_from(batching.budget)?.div_ceil(counter.max_tokens).min(batching.max_items);
        let sessions = plan.sessions.max(1);
        let pool = Pool::new(&entry.name, plan.sessions, batching, move |_| {
            Encoder::load(&runtime, &model_path, warm_up).map_err(|error| Failure::defect(format!("{error:#}")))
        })?;
        tracing::info!(model, provider = %plan, sessions = plan.sessions, threads = plan.threads, "embedder ready");
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                counter,
                name: entry.name.clone(),
                dimension,
                weights_sha256: entry.file("model.onnx")?.sha256.clone(),
                provider: plan.to_string(),
                on_gpu: plan.provider == Provider::Cuda,
                threads: saturating(plan.threads),
                truncated: AtomicU64::new(0),
                places: Arc::new(Semaphore::new(QUEUED_BATCHES * sessions * batch)),
            }),
        })
    }

    /// Embeds one text, batched with whatever else is asked at the same time.
    pub async fn embed(&self, text: &str) -> Result<Embedding> {
        self.embed_tagged(text, Lane::default(), Tag::from("")).await
    }

    /// [`Embedder::embed`], in a lane, with a tag that observers see.
    pub async fn embed_tagged(&self, text: &str, lane: Lane, tag: Tag) -> Result<Embedding> {
        let started = thread_cpu();
        let mut ids = self.inner.counter.encode(text)?;
        let max_tokens = self.inner.counter.max_tokens;
        let truncated = ids.len().saturating_sub(max_tokens);
        if truncated > 0 {
            // The last token is the separator, which the model expects at the end.
            ids.drain(max_tokens - 1..ids.len() - 1);
            self.inner.truncated.fetch_add(1, Relaxed);
        }
        let tokens = ids.len();
        let tokenising = thread_cpu().saturating_sub(started);

        let answer = self.inner.pool.ask(Tokens(ids), lane, tag).await?;
        let (cpu, gpu) = if self.inner.on_gpu {
            (Duration::ZERO, answer.busy)
        } else {
            (answer.cpu * self.inner.threads, Duration::ZERO)
        };
        Ok(Embedding {
            vector: answer.output,
            tokens: saturating(tokens),
            truncated_tokens: saturating(truncated),
            cpu_us: micros(cpu + tokenising),
            gpu_us: micros(gpu),
        })
    }

    /// Waits for a place in the queue among those that the chunks of long documents share, in the order of asking. It is
    /// given back when it is dropped.
    ///
    /// # Errors
    /// A defect if the places were ever closed.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.inner.places).acquire_owned().await;
        place.map_err(|_| Failure::defect("the places of long documents were closed"))
    }

    /// Counts tokens as it reads them.
    pub fn counter(&self) -> &Counter {
        &self.inner.counter
    }

    /// Name in events and rows.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Length of the vectors.
    pub fn dimension(&self) -> u32 {
        self.inner.dimension
    }

    /// Hash of the weights, as verified at start.
    pub fn weights_sha256(&self) -> &str {
        &self.inner.weights_sha256
    }

    /// What runs the model and how it counts, such as `openvino bf16`.
    pub fn provider(&self) -> &str {
        &self.inner.provider
    }

    /// Texts that were too long and lost their end.
    pub fn truncated_texts(&self) -> u64 {
        self.inner.truncated.load(Relaxed)
    }

    /// What the sessions have done.
    pub fn stats(&self) -> Stats {
        self.inner.pool.stats()
    }

    /// Calls `observer` for each batch; see [`Pool::observe`].
    pub fn observe(&self, observer: impl Fn(&Report<'_>) + Send + Sync + 'static) {
        self.inner.pool.observe(observer);
    }
}

fn load_tokenizer(path: &Path) -> anyhow::Result<Tokenizer> {
    let tokenizer = Tokenizer::from_file(path).map_err(|error| anyhow!("cannot load {}: {error}", path.display()));
    let mut tokenizer = tokenizer?;
    // The file says: pad to 128 and cut at 128. Batches are padded here, and cutting is counted.
    tokenizer.with_padding(None).with_truncation(None).map_err(|error| anyhow!("{error}"))?;
    Ok(tokenizer)
}

/// Token ids of one text, at most `max_tokens`.
#[derive(Debug)]
pub struct Tokens(Vec<u32>);

#[derive(Debug, Clone, Copy)]
struct Shape {
    dimension: usize,
    max_tokens: usize,
}

/// One session of the network that embeds texts.
struct Encoder {
    session: Session,
    dimension: usize,
    /// The three inputs, kept between runs.
    ids: Vec<i64>,
    mask: Vec<i64>,
    types: Vec<i64>,
}

impl Encoder {
    fn load(runtime: &Runtime, model: &Path, shape: Shape) -> anyhow::Result<Self> {
        let session = runtime.session(model)?;
        let mut encoder =
            Self { session, dimension: shape.dimension, ids: Vec::new(), mask: Vec::new(), types: Vec::new() };
        // The longest text: memory for it is taken now, and a graph that does not fit fails now. 102 is the separator.
        encoder.run(&[Tokens(vec![102; shape.max_tokens])]).context("the first run failed")?;
        Ok(encoder)
    }
}

impl Model for Encoder {
    type Input = Tokens;
    type Output = Vec<f32>;

    fn size(input: &Tokens) -> Size {
        Size::text(input.0.len())
    }

    fn run(&mut self, batch: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        let width = batch.iter().map(|text| Self::size(text).length as usize).max().unwrap_or(0);
        let cells = batch.len() * width;
        for buffer in [&mut self.ids, &mut self.mask, &mut self.types] {
            buffer.clear();
            buffer.resize(cells, 0);
        }
        for (row, text) in batch.iter().enumerate() {
            for (column, id) in text.0.iter().enumerate() {
                self.ids[row * width + column] = i64::from(*id);
                self.mask[row * width + column] = 1;
            }
        }
        let failed = |error: ort::Error| Failure::defect(format!("the embedding model failed: {error}"));
        let shape = [batch.len(), width];
        let outputs = self
            .session
            .run(ort::inputs! {
                "input_ids" => TensorRef::from_array_view((shape, &*self.ids)).map_err(failed)?,
                "attention_mask" => TensorRef::from_array_view((shape, &*self.mask)).map_err(failed)?,
                "token_type_ids" => TensorRef::from_array_view((shape, &*self.types)).map_err(failed)?,
            })
            .map_err(failed)?;
        let embedding = outputs
            .get("sentence_embedding")
            .ok_or_else(|| Failure::defect("the embedding model has no output sentence_embedding"))?;
        let (_, values) = embedding.try_extract_tensor::<f32>().map_err(failed)?;
        if values.len() != batch.len() * self.dimension {
            return Err(Failure::defect(format!("the embedding model gave {} values", values.len())));
        }
        values.chunks_exact(self.dimension).map(normalized).collect()
    }
}

/// Scales to length 1, which bf16 misses by a little.
fn normalized(vector: &[f32]) -> Result<Vec<f32>> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length.is_nan() || (length - 1.0).abs() > LENGTH_TOLERANCE {
        return Err(Failure::defect(format!("the embedding model gave a vector of length {length}")));
    }
    Ok(vector.iter().map(|value| value / length).collect())
}

fn saturating(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
