//! What a child may ask of the kernel: the calls that decoders need, by name, and no other.
//!
//! The law: what is not listed is refused. Landlock keeps files and TCP from a child; this keeps what landlock does not
//! know: other sockets, processes, users, modes and owners of files, keys, namespaces.
//!
//! A refused call fails with `EPERM` and ends nothing, for libraries try calls that they can do without.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that are allowed whatever their arguments. Which files can be opened, and how, is landlock's to decide.
const ALLOWED: [c_long; 74] = [
    // memory
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // files that are open or may be opened, and the pipes
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    // time and chance
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_times,
    // threads of its own
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_rseq,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    // signals within it
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // who and where it is
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// The older names of some of them, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLDER: [c_long; 12] = [
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [c_long; 0] = [];

/// What a thread may do with its name, and memory with its; what a test asks.
const PRCTL: [c_int; 4] = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_GET_PDEATHSIG, libc::PR_SET_VMA];

/// Restricts this process, all its threads, for good.
pub(super) fn restrict() -> Result<(), Error> {
    // The flags of `clone3` lie in memory, where no filter sees them. As a call that the kernel does not have, the C
    // library takes `clone` instead. A filter of its own says so, before the other forbids to install any; of the two
    // answers to one call the stricter counts.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(unknown, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)?;
    install(allowed()?, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

type Error = seccompiler::Error;

/// Installs a filter that answers the calls it names in one way, and all others in another.
fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    answer: SeccompAction,
    otherwise: SeccompAction,
) -> Result<(), Error> {
    let filter = SeccompFilter::new(rules, otherwise, answer, TargetArch::try_from(std::env::consts::ARCH)?)?;
    seccompiler::apply_filter_all_threads(&BpfProgram::try_from(filter)?)
}

fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.into_iter().chain(OLDER).map(|call| (call, Vec::new())).collect();
    let when = |argument: u8, operator: SeccompCmpOp, value: u64| {
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?])
    };
    let thread = libc::CLONE_THREAD as u64;
    let this_process = u64::from(std::process::id());
    rules.insert(libc::SYS_clone3, Vec::new()); // never comes here
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Eq, this_process)?]);
    // Its own limits it may read, and set that of the processor, which each request begins anew.
    let limits = [0, this_process].into_iter().flat_map(|process| {
        let of = |argument, value| {
            let condition =
                |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value);
            SeccompRule::new(vec![condition(0, process)?, condition(argument, value)?])
        };
        [of(1, u64::from(libc::RLIMIT_CPU)), of(2, 0)]
    });
    rules.insert(libc::SYS_prlimit64, limits.collect::<Result<_, _>>()?);
    // Whether a descriptor is a terminal.
    rules.insert(libc::SYS_ioctl, vec![when(1, SeccompCmpOp::Eq, libc::TCGETS)?]);
    let options = PRCTL.into_iter().map(|option| when(0, SeccompCmpOp::Eq, option as u64));
    rules.insert(libc::SYS_prctl, options.collect::<Result<_, _>>()?);
    Ok(rules)
}
