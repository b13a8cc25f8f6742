//! What a child may not do: write, read other files than its libraries, open a connection, start a process, outlive its
//! parent.
//!
//! All of it is applied by the child to itself before it sees its first byte of input, so that starting one needs no
//! code between fork and exec. What the kernel does not offer is left out and reported by [`confinement`].

use std::{path::PathBuf, sync::OnceLock};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rlimit::Resource;
use serde::{Deserialize, Serialize};

use super::{Limits, syscalls};

/// Libraries that are loaded late, fonts that PDFium substitutes, and what the C library looks up by itself.
const SYSTEM_READABLE: [&str; 12] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/usr/share/fonts",
    "/usr/share/X11/fonts",
    "/usr/local/share/fonts",
    "/usr/share/zoneinfo",
    "/dev/null",
];

/// Open files of a child: its pipes, and a font or language file at a time.
const OPEN_FILES: u64 = 64;

/// What this child is kept from, for `deckle check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `full`, `partial` or `none`: how much of the wanted file and network rules the kernel enforces.
    pub landlock: String,
    /// Limits that could not be set, with the system's words.
    pub missing: Vec<String>,
}

impl Confinement {
    /// Whether all of it holds.
    pub fn is_full(&self) -> bool {
        self.landlock == "full" && self.missing.is_empty()
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "landlock: {}", self.landlock)?;
        if self.missing.is_empty() { Ok(()) } else { write!(f, "; not set: {}", self.missing.join(", ")) }
    }
}

static CONFINEMENT: OnceLock<Confinement> = OnceLock::new();

/// What this process is kept from; `None` in a process that does not [`serve`](super::serve()).
pub fn confinement() -> Option<&'static Confinement> {
    CONFINEMENT.get()
}

/// Confines this process for good. Never fails: what cannot be had is reported.
pub(super) fn confine(limits: &Limits) -> &'static Confinement {
    let mut missing = Vec::new();
    let mut tried = |what: &str, result: std::io::Result<()>| {
        if let Err(e) = result {
            missing.push(format!("{what}: {e}"));
        }
    };
    tried("no new privileges", prctl(libc::PR_SET_NO_NEW_PRIVS, 1));
    tried("end with the parent", prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong));
    let memory = limits.memory_mb.saturating_mul(1 << 20);
    for (resource, limit) in [
        (Resource::AS, memory),
        (Resource::NOFILE, OPEN_FILES),
        (Resource::CORE, 0),
        (Resource::FSIZE, 0), // holds for files only, not for the pipes
    ] {
        tried(resource.as_name(), resource.set(limit, limit));
    }
    let landlock = match landlock(&limits.readable) {
        Ok(RulesetStatus::FullyEnforced) => "full",
        Ok(RulesetStatus::PartiallyEnforced) => "partial",
        Ok(RulesetStatus::NotEnforced) => "none",
        Err(e) => {
            missing.push(format!("landlock: {e}"));
            "none"
        }
    };
    // The last, because all of the above needs calls that it refuses.
    if let Err(error) = syscalls::restrict() {
        missing.push(format!("seccomp: {error}"));
    }
    CONFINEMENT.get_or_init(|| Confinement { landlock: landlock.to_owned(), missing })
}

/// Gives the request that begins now its own processor seconds, on top of what was used so far.
pub(super) fn allow_cpu(seconds: u64) {
    let used = cpu_us().div_ceil(1_000_000);
    // The hard limit stays where it is, else the next request could not raise the soft one. A failure leaves the
    // wall clock, which the parent holds.
    if let Ok(hard) = Resource::CPU.get_hard() {
        let _ = Resource::CPU.set((used + seconds.max(1)).min(hard), hard);
    }
}

/// Processor time of this process, in microseconds.
pub(super) fn cpu_us() -> u64 {
    // SAFETY: `rusage` is plain integers, for which zeroes are valid, and the kernel writes within it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> std::io::Result<()> {
    // SAFETY: both options used here take one integer and touch no memory of ours.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn landlock(readable: &[PathBuf]) -> Result<RulesetStatus, landlock::RulesetError> {
    // The newest rules that were tried; older kernels get what they know (best effort).
    let abi = ABI::V6;
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let file_only: BitFlags<AccessFs> = AccessFs::ReadFile.into();
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?;
    let system = SYSTEM_READABLE.iter().map(PathBuf::from);
    for path in system.chain(readable.iter().cloned()) {
        // A folder that does not exist needs no rule.
        if let Ok(fd) = PathFd::new(&path) {
            let access = if path.is_dir() { read } else { file_only };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}
