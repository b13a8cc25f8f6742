//! Which provider, number format, sessions and threads: decided once at start, purely, from settings and hardware.

use std::{fmt, num::NonZeroUsize};

use anyhow::bail;

use super::{Config, Precision, Provider};

/// Above this many cores sessions get several threads instead of becoming more: each holds a copy of the weights.
const MAX_SESSIONS: usize = 8;

/// The parts of this machine that decide how models run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Cores that this process may use.
    pub cores: usize,
    /// Whether the processor multiplies bf16 matrices in tiles (AMX): several times faster than f32.
    pub amx: bool,
    /// Whether the processor knows bf16 vectors (AVX512_BF16) or has AMX, so that bf16 is not emulated.
    pub bf16: bool,
    /// Whether the processor multiplies bytes in vectors (VNNI), so that int8 is not emulated.
    pub vnni: bool,
    /// Whether an NVIDIA GPU is there.
    pub gpu: bool,
}

impl Hardware {
    /// Looks at the machine.
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let amx = has_amx();
        Self { cores, amx, bf16: amx || has_avx512_bf16(), vnni: has_vnni(), gpu: has_gpu() }
    }
}

/// The standard library does not detect AMX on the stable channel; the kernel lists it where it may be used.
fn has_amx() -> bool {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = processors.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "amx_bf16")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512_bf16() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn has_vnni() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_vnni() -> bool {
    false
}

fn has_gpu() -> bool {
    let is_gpu = |name: &str| name.strip_prefix("nvidia").is_some_and(|number| number.parse::<u32>().is_ok());
    let Ok(devices) = std::fs::read_dir("/dev") else { return false };
    devices.flatten().any(|device| device.file_name().to_str().is_some_and(is_gpu))
}

/// How sessions are made. Provider and precision are never `Auto` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What runs the models.
    pub provider: Provider,
    /// Number format of the computation.
    pub precision: Precision,
    /// Whether networks take weights in int8 where they have them.
    pub int8: bool,
    /// Sessions of each model.
    pub sessions: usize,
    /// Threads of each session.
    pub threads: usize,
}

impl Plan {
    /// Decides from the settings, the machine, and the providers that the library was built with.
    ///
    /// # Errors
    ///
    /// When the settings ask for what is not there: nothing falls back in silence.
    pub fn choose(config: &Config, hardware: Hardware, offered: &[Provider]) -> anyhow::Result<Self> {
        let offers = |provider| offered.contains(&provider);
        let provider = match config.provider {
            Provider::Auto if offers(Provider::Cuda) && hardware.gpu => Provider::Cuda,
            Provider::Auto if offers(Provider::OpenVino) => Provider::OpenVino,
            Provider::Auto => Provider::Cpu,
            Provider::Cuda if !hardware.gpu => {
                bail!("inference.provider = \"cuda\", but no NVIDIA GPU is here: use \"auto\"")
            }
            wanted if wanted != Provider::Cpu && !offers(wanted) => bail!(
                "inference.provider = \"{wanted}\", but the ONNX Runtime library was built without it: use \"auto\", or name another inference.library"
            ),
            wanted => wanted,
        };
        let precision = match (config.precision, provider) {
            (Precision::Auto, Provider::OpenVino) if hardware.amx => Precision::Bf16,
            (Precision::Int8, Provider::OpenVino) if !hardware.vnni => {
                bail!(
                    "inference.precision = \"int8\", but this processor has no VNNI and would be slower: use \"auto\""
                )
            }
            (Precision::Int8, provider) if provider != Provider::OpenVino => {
                bail!("inference.precision = \"int8\" needs the provider openvino, not {provider}: use \"auto\"")
            }
            (Precision::Auto | Precision::F32 | Precision::Int8, _) => Precision::F32,
            (Precision::Bf16, Provider::OpenVino) if hardware.bf16 => Precision::Bf16,
            (Precision::Bf16, Provider::OpenVino) => bail!(
                "inference.precision = \"bf16\", but this processor has neither AVX512_BF16 nor AMX and would be five times slower: use \"auto\""
            ),
            (Precision::Bf16, _) => {
                bail!("inference.precision = \"bf16\" needs the provider openvino, not {provider}: use \"auto\"")
            }
            (Precision::F16, _) => {
                bail!(
                    "inference.precision = \"f16\" needs models exported in f16, and there are none yet: use \"auto\""
                )
            }
        };
        let default_threads = if provider == Provider::Cuda { 1 } else { hardware.cores.div_ceil(MAX_SESSIONS) };
        let threads = config.threads_per_session.map_or(default_threads, NonZeroUsize::get);
        let default_sessions = if provider == Provider::Cuda { 1 } else { (hardware.cores / threads).max(1) };
        let sessions = config.sessions.map_or(default_sessions, NonZeroUsize::get);
        let int8 = config.precision == Precision::Int8;
        Ok(Self { provider, precision, int8, sessions, threads })
    }
}

/// What a good batch is. Figures: MiniLM, sequences per CPU-second, by tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batching {
    /// Largest number of items.
    pub max_items: usize,
    /// Largest padded cost, in the model's own unit.
    pub budget: u64,
    /// Largest share of padding.
    pub max_padding: f64,
}

impl Plan {
    /// What a good batch of texts is on this provider.
    pub fn batching(&self) -> Batching {
        match (self.provider, self.precision) {
            // A GPU is idle between small batches; padding costs it little. Not measured on a card yet.
            (Provider::Cuda, _) => Batching { max_items: 128, budget: 32_768, max_padding: 0.5 },
            // Tiles want rows: narrow inputs gain a third from batches of 8.
            (_, Precision::Bf16) => Batching { max_items: 32, budget: 2048, max_padding: 0.2 },
            // 128 tokens: 49 alone, 56 in batches of 2 to 4, 52 in 8, 54 in 16: more padding would cost what it gains.
            _ => Batching { max_items: 32, budget: 1024, max_padding: 0.1 },
        }
    }

    /// What a good batch of lines' pictures is: cost in pixel columns. A processor gains from batches of narrow lines
    /// only, and loses with many wide ones; a GPU waits for work.
    pub fn lines(&self) -> Batching {
        match self.provider {
            Provider::Cuda => Batching { max_items: 128, budget: 65_536, max_padding: 0.3 },
            _ => Batching { max_items: 8, budget: 1280, max_padding: 0.15 },
        }
    }

    /// What a good batch of pages' pictures is: cost in blocks of 32 × 32 pixels, some 660 for a page. On a processor a
    /// second page only takes memory.
    pub fn pages(&self) -> Batching {
        match self.provider {
            Provider::Cuda => Batching { max_items: 16, budget: 16 * 900, max_padding: 0.0 },
            _ => Batching { max_items: 1, budget: 900, max_padding: 0.0 },
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.provider, self.precision)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
        })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::F16 => "f16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Provider; 3] = [Provider::Cpu, Provider::OpenVino, Provider::Cuda];
    const XEON: Hardware = Hardware { cores: 64, amx: true, bf16: true, vnni: true, gpu: false };

    fn choose(provider: Provider, precision: Precision, hardware: Hardware, offered: &[Provider]) -> Option<String> {
        let config = Config { provider, precision, ..Config::default() };
        let plan = Plan::choose(&config, hardware, offered).ok()?;
        let int8 = if plan.int8 { " int8" } else { "" };
        Some(format!("{plan}{int8} {}x{}", plan.sessions, plan.threads))
    }

    #[test]
    fn auto_takes_the_fastest_that_is_really_there() {
        let auto = |hardware, offered: &[Provider]| choose(Provider::Auto, Precision::Auto, hardware, offered);
        assert_eq!(auto(Hardware { gpu: true, ..XEON }, &ALL).as_deref(), Some("cuda f32 1x1"));
        assert_eq!(auto(Hardware { gpu: true, ..XEON }, &ALL[..2]).as_deref(), Some("openvino bf16 8x8"));
        assert_eq!(auto(Hardware { cores: 2, ..XEON }, &ALL).as_deref(), Some("openvino bf16 2x1"));
        assert_eq!(auto(Hardware { amx: false, cores: 12, ..XEON }, &ALL).as_deref(), Some("openvino f32 6x2"));
        assert_eq!(auto(XEON, &ALL[..1]).as_deref(), Some("cpu f32 8x8"));
    }

    #[test]
    fn what_is_asked_for_but_not_there_is_an_error() {
        let slow = Hardware { amx: false, bf16: false, vnni: false, ..XEON };
        assert_eq!(choose(Provider::Cuda, Precision::Auto, XEON, &ALL), None);
        assert_eq!(choose(Provider::OpenVino, Precision::Auto, XEON, &ALL[..1]), None);
        assert_eq!(choose(Provider::Auto, Precision::Bf16, slow, &ALL), None);
        assert_eq!(choose(Provider::Cpu, Precision::Bf16, XEON, &ALL), None);
        assert_eq!(choose(Provider::Auto, Precision::Int8, slow, &ALL), None);
        assert_eq!(choose(Provider::Cpu, Precision::Int8, XEON, &ALL), None);
        assert_eq!(choose(Provider::Auto, Precision::F16, XEON, &ALL), None);
    }

    #[test]
    fn a_number_format_that_is_named_is_taken() {
        let named = |precision| choose(Provider::Auto, precision, XEON, &ALL);
        assert_eq!(named(Precision::F32).as_deref(), Some("openvino f32 8x8"));
        assert_eq!(named(Precision::Int8).as_deref(), Some("openvino f32 int8 8x8"));
        assert_eq!(named(Precision::Bf16).as_deref(), Some("openvino bf16 8x8"));
    }
}
