//! Sessions of ONNX Runtime, through `ort`.
//!
//! The law: one library per process, loaded once from a path that the configuration names; a session that cannot have
//! the provider it was planned for is an error, never a silent fall-back.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail};
use ort::{
    environment::Environment,
    ep::{
        self, ArbitrarilyConfigurableExecutionProvider as _, ArenaExtendStrategy, ExecutionProvider as _,
        ExecutionProviderDispatch, cuda::ConvAlgorithmSearch,
    },
    session::Session,
};

use super::{
    Config, Precision, Provider,
    plan::{Hardware, Plan},
};

/// The library that this process has loaded, with its environment. Never unloaded: sessions may end after anything.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// ONNX Runtime, and how its sessions are made.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    plan: Plan,
    gpu_device: u32,
    gpu_memory_mb: usize,
}

impl Runtime {
    /// Loads the library (once per process) and decides how sessions are made.
    ///
    /// # Errors
    ///
    /// When the library is missing or too old, when another one is loaded already, or when the settings ask for a
    /// provider or precision that is not there.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let environment = load_library(&library_path(config))?;
        let plan = Plan::choose(config, Hardware::detect(), &offered()?)?;
        Ok(Self { environment, plan, gpu_device: config.gpu_device, gpu_memory_mb: config.gpu_memory_mb })
    }

    /// How sessions are made.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Loads a model. Takes 0.1 to 0.3 s for small models; the first run of each new shape takes tens of milliseconds.
    pub fn session(&self, model: &Path) -> anyhow::Result<Session> {
        self.open(model)
            .map_err(|error| anyhow!("cannot load {} with {}: {error}", model.display(), self.plan.provider))
    }

    fn open(&self, model: &Path) -> ort::Result<Session> {
        let builder = Session::builder(&self.environment)?
            .with_intra_threads(self.plan.threads)?
            .with_inter_threads(1)?
            // Spinning burnt 3 CPU-seconds a second when idle, for no gain.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // Shapes vary: patterns would be kept for each of them.
            .with_memory_pattern(false)?
            // Denormals make some models three times slower. The first session of a process decides for all.
            .with_flush_to_zero()?;
        let mut builder = match self.plan.provider {
            Provider::OpenVino => {
                // Everything must run there: a node left to the CPU provider would run in f32, slowly and unnoticed.
                builder.with_disable_cpu_fallback()?.with_execution_providers([self.openvino()])?
            }
            Provider::Cuda => builder.with_execution_providers([self.cuda()])?,
            Provider::Cpu | Provider::Auto => builder,
        };
        builder.commit_from_file(model)
    }

    fn openvino(&self) -> ExecutionProviderDispatch {
        let precision = if self.plan.precision == Precision::Bf16 { "bf16" } else { "f32" };
        let threads = self.plan.threads.to_string();
        // Pinning would put the threads of all sessions on the same cores.
        let settings = serde_json::json!({"CPU": {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
        }});
        ep::OpenVINO::default()
            .with_device_type("CPU")
            .with_arbitrary_config("load_config", settings.to_string())
            .build()
            .error_on_failure()
    }

    fn cuda(&self) -> ExecutionProviderDispatch {
        ep::CUDA::default()
            .with_device_id(i32::try_from(self.gpu_device).unwrap_or(0))
            // The default, exhaustive search takes 10 s for 16 new shapes; this one 31 ms.
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
            // Said explicitly, since library builds differ: an f32 plan means f32.
            .with_tf32(self.plan.precision != Precision::F32)
            // Several sessions share the card: none may take it all, nor grow by doubling.
            .with_memory_limit(self.gpu_memory_mb.saturating_mul(1 << 20))
            .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
            .build()
            .error_on_failure()
    }
}

/// deckle's folder for libraries, models and data: `$DECKLE_HOME`, else `.deckle` under the working directory.
pub fn home() -> PathBuf {
    std::env::var_os("DECKLE_HOME").map_or_else(|| PathBuf::from(".deckle"), PathBuf::from)
}

/// Where the library is looked for.
pub fn library_path(config: &Config) -> PathBuf {
    config.library.clone().unwrap_or_else(|| home().join("lib").join("libonnxruntime.so"))
}

fn load_library(path: &Path) -> anyhow::Result<Environment> {
    // A name without a folder would be searched for in the system's own folders.
    let path = path.canonicalize().with_context(|| {
        format!("no ONNX Runtime library at {}: run `make setup`, or name one as inference.library", path.display())
    })?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded_path, environment)) = &*loaded {
        if *loaded_path != path {
            bail!("{} is loaded already: a process cannot also load {}", loaded_path.display(), path.display());
        }
        return Ok(environment.clone());
    }
    let environment = ort::init_from(&path)
        .map_err(|error| anyhow!("{error}"))
        .and_then(|builder| {
            builder.with_name("deckle").with_telemetry(false).build().map_err(|error| anyhow!("{error}"))
        })
        .with_context(|| format!("cannot load ONNX Runtime from {}", path.display()))?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

/// The providers that the library was built with.
fn offered() -> anyhow::Result<Vec<Provider>> {
    let mut offered = vec![Provider::Cpu];
    if ep::OpenVINO::is_available().map_err(|error| anyhow!("{error}"))? {
        offered.push(Provider::OpenVino);
    }
    if ep::CUDA::is_available().map_err(|error| anyhow!("{error}"))? {
        offered.push(Provider::Cuda);
    }
    Ok(offered)
}
