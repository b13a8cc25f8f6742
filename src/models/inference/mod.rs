//! Batched inference: callers await one item and know nothing of batches, sessions know nothing of callers.
//!
//! ```text
//! infer(item) ─► Batcher (lanes, buckets, bound on bytes) ─► N threads, each owning one Model ─► answers
//! ```
//!
//! The law: a session thread only runs the model. Preparing inputs and reading outputs is the caller's work, and one
//! bad item fails alone: a failed batch is halved until the item stands by itself.

pub mod batcher;
pub mod bucket;
pub mod onnx;
pub mod plan;
mod pool;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    bucket::Size,
    pool::{Answer, Pool, Report, Stats, Tag},
};
use deckle_contract::error::Result;

/// One loaded model, owned by one thread. `models/` holds one implementation per family.
pub trait Model: 'static {
    /// One prepared item: pixels scaled, text tokenised.
    type Input: Send + 'static;
    /// One answer, still in the model's terms.
    type Output: Send + 'static;

    /// Length, class and bytes of an item; see [`bucket`].
    fn size(input: &Self::Input) -> Size;

    /// Runs a batch: one output per input, in the same order. All inputs are of one class; shorter ones are padded
    /// here. An error or a panic makes the pool halve the batch, so it must not depend on what ran before.
    fn run(&mut self, batch: &[Self::Input]) -> Result<Vec<Self::Output>>;
}

/// Settings of all sessions, the section `[inference]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// ONNX Runtime's library; by default `lib/libonnxruntime.so` under `$DECKLE_HOME` (else under `.deckle`).
    pub library: Option<PathBuf>,
    /// What runs the models.
    pub provider: Provider,
    /// Number format of the computation.
    pub precision: Precision,
    /// Sessions of each model; by default cores / threads on a CPU, one on a GPU.
    pub sessions: Option<NonZeroUsize>,
    /// Threads of one session; by default 1, more above 8 cores (a session holds its own copy of the weights).
    pub threads_per_session: Option<NonZeroUsize>,
    /// Largest number of items in a batch; by default what suits the provider.
    pub max_batch: Option<NonZeroUsize>,
    /// How long an item may wait for company while a session is free.
    pub max_delay_ms: u64,
    /// Bound on the inputs that wait, for each model and lane; callers wait when it is reached.
    pub queue_mb: usize,
    /// Which GPU.
    pub gpu_device: u32,
    /// Bound on the GPU memory of one session.
    pub gpu_memory_mb: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            library: None,
            provider: Provider::Auto,
            precision: Precision::Auto,
            sessions: None,
            threads_per_session: None,
            max_batch: None,
            max_delay_ms: 2,
            queue_mb: 64,
            gpu_device: 0,
            gpu_memory_mb: 4096,
        }
    }
}

impl Config {
    /// How to batch for a model, from what suits the provider.
    pub fn batching(&self, batching: plan::Batching) -> batcher::Config {
        let plan::Batching { max_items, budget, max_padding } = batching;
        batcher::Config {
            max_items: self.max_batch.map_or(max_items, NonZeroUsize::get),
            budget,
            max_padding,
            max_delay: Duration::from_millis(self.max_delay_ms),
            queue_bytes: self.queue_mb.saturating_mul(1 << 20),
        }
    }
}

/// What runs the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// CUDA where the library offers it and a GPU is there, else OpenVINO where the library offers it, else the CPU.
    #[default]
    Auto,
    /// ONNX Runtime's own CPU provider: f32 only.
    Cpu,
    /// Intel's OpenVINO on the CPU: four times as fast in bf16 where the processor has AMX, else about the same.
    OpenVino,
    /// An NVIDIA GPU.
    Cuda,
}

/// Number format of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the processor has AMX and the provider is OpenVINO, else f32.
    #[default]
    Auto,
    /// 32-bit floats; on CUDA without TF32.
    F32,
    /// bfloat16: OpenVINO on a processor with AMX or AVX512_BF16; refused where it would be emulated. With AVX512_BF16
    /// alone an Intel Xeon ran MiniLM at 0.6 times the speed of f32, so `Auto` asks for AMX.
    Bf16,
    /// Networks whose weights are also there in int8 take those (the text recogniser of Latin letters), and f32 the
    /// others: OpenVINO on a processor with VNNI; refused where it would be emulated. A Xeon without AMX took 0.62
    /// times the processor time for 36 scanned and digital pages, with 1.60 % of the characters wrong, not 1.47, and
    /// 5.2 % of the words, not 4.4; so `Auto` does not take it. Embeddings are a model's own, whatever this says.
    Int8,
    /// Half floats: CUDA only, and only for a model that was exported in f16; none is yet.
    F16,
}
