//! The death journal: which records were in flight when this process died, so that no record can kill workers for
//! ever.
//!
//! The law: a record is blamed only when it was alone in flight. After a death everything that was in flight runs
//! alone, one after the other; what is alone at two crashes is a defect.
//!
//! A crash is distinguished from a kill, so that an operator who restarts a worker often does not turn a good document
//! into a dead letter. A handler for SIGSEGV, SIGABRT, SIGBUS, SIGILL and SIGFPE writes a mark before the process dies;
//! and when the kernel has killed for want of memory since the journal was opened (`oom_kill` in `/proc/vmstat`), an
//! unmarked death counts as a crash too. Lines are written without fsync: they survive the process, and after a power
//! cut nothing needs to be blamed.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The number of crashes alone in flight that make a record a defect.
pub const CRASHES: u32 = 2;
/// The file is written anew above this size: some ten thousand records.
const COMPACT_BYTES: usize = 1 << 20;

/// A crash mark: one byte, so that a signal handler can write it.
static MARK: u8 = b'!';

/// Where the signal handler writes; −1 before a journal is open.
static MARK_FD: AtomicI32 = AtomicI32::new(-1);

/// Notes on disk which records are in flight, so that those of a crash are known at the next start. One per process,
/// shared by its workers.
pub struct Journal {
    state: Mutex<State>,
    /// A lock held for reading by every record in flight, and for writing by a suspect, so that it runs alone.
    gate: Arc<RwLock<()>>,
}

struct State {
    file: File,
    written: usize,
    in_flight: BTreeSet<String>,
    /// The number of crashes that each suspect was alone in, by the name of its record.
    suspects: HashMap<String, u32>,
    oom_kills: u64,
}

/// A record in flight; dropping it takes it out of the journal, and lets others in.
pub struct Entry {
    journal: Arc<Journal>,
    name: String,
    ended: bool,
    _gate: Gate,
}

impl Entry {
    /// The record ended: it is no suspect any more. Dropped without this, it only leaves the journal for a while.
    pub fn end(mut self) {
        self.ended = true;
    }
}

enum Gate {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

/// Whether a record may run.
pub enum Verdict {
    /// Run it, and keep the entry until it ends.
    Run(Entry),
    /// Do not run it: it was alone in flight at too many deaths.
    Blamed {
        /// One line for its dead letter.
        message: String,
    },
}

impl Journal {
    /// Opens the journal of a process that was last here, and reads what was in flight when it died.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path) -> std::io::Result<Arc<Self>> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let oom_kills = oom_kills();
        let suspects = read(&bytes, oom_kills);
        if !suspects.is_empty() {
            tracing::warn!(
                records = suspects.len(),
                "the last process died with records in flight; they run one by one"
            );
        }
        MARK_FD.store(file.as_raw_fd(), Ordering::SeqCst);
        mark_crashes();
        let mut state = State { file, written: 0, in_flight: BTreeSet::new(), suspects, oom_kills };
        state.rewrite()?;
        Ok(Arc::new(Self { state: Mutex::new(state), gate: Arc::new(RwLock::new(())) }))
    }

    /// Lets a record in, or blames it. A suspect waits until nothing else is in flight, and runs alone.
    pub async fn enter(self: &Arc<Self>, name: String) -> Verdict {
        let known = self.state().suspects.get(&name).copied();
        if let Some(crashes) = known.filter(|crashes| *crashes >= CRASHES) {
            return Verdict::Blamed { message: format!("alone in flight at {crashes} crashes of the worker") };
        }
        let gate = match known {
            Some(_) => Gate::Alone { _guard: Arc::clone(&self.gate).write_owned().await },
            None => Gate::Shared { _guard: Arc::clone(&self.gate).read_owned().await },
        };
        let mut state = self.state();
        state.in_flight.insert(name.clone());
        state.append(&format!("+{name}\n"));
        drop(state);
        Verdict::Run(Entry { journal: Arc::clone(self), name, ended: false, _gate: gate })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Before the file closes: its number may soon name another file, which a crash must not write into.
        let _ = MARK_FD.compare_exchange(self.file.as_raw_fd(), -1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl State {
    fn append(&mut self, line: &str) {
        self.written += line.len();
        let result = if self.written > COMPACT_BYTES { self.rewrite() } else { self.file.write_all(line.as_bytes()) };
        if let Err(error) = result {
            tracing::warn!(%error, "the death journal cannot be written");
        }
    }

    /// Starts the file anew with what is true now. A death in between forgets blame, which is harmless.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let mut text = format!("o{}\n", self.oom_kills);
        for (name, crashes) in &self.suspects {
            text.push_str(&format!("={name}\t{crashes}\n"));
        }
        for name in &self.in_flight {
            text.push_str(&format!("+{name}\n"));
        }
        self.file.set_len(0)?;
        self.written = text.len();
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let name = &self.name;
        let mut state = self.journal.state();
        state.in_flight.remove(name);
        let cleared = self.ended && state.suspects.remove(name).is_some();
        state.append(&if cleared { format!("-{name}\n={name}\t0\n") } else { format!("-{name}\n") });
    }
}

/// Replays a journal: suspects are what was in flight at its end, with the crashes known before.
///
/// Names hold no tab and no line break: they are topics, partitions and offsets.
fn read(bytes: &[u8], oom_kills_now: u64) -> HashMap<String, u32> {
    let mut crashed = bytes.contains(&MARK);
    let text = String::from_utf8_lossy(bytes).replace(char::from(MARK), "");
    let mut in_flight: BTreeSet<&str> = BTreeSet::new();
    let mut suspects: HashMap<String, u32> = HashMap::new();
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some(("o", kills)) => crashed |= kills.parse().is_ok_and(|kills: u64| oom_kills_now > kills),
            Some(("+", name)) => {
                in_flight.insert(name);
            }
            Some(("-", name)) => {
                in_flight.remove(name);
            }
            Some(("=", known)) => match known.split_once('\t').map(|(name, crashes)| (name, crashes.parse())) {
                Some((name, Ok(0))) if !in_flight.contains(name) && suspects.contains_key(name) => {
                    suspects.remove(name);
                }
                Some((name, Ok(crashes))) => {
                    suspects.insert(name.to_owned(), crashes);
                }
                // Torn by the death itself.
                _ => {}
            },
            _ => {}
        }
    }
    let alone = in_flight.len() == 1;
    for name in in_flight {
        *suspects.entry(name.to_owned()).or_default() += u32::from(alone && crashed);
    }
    suspects
}

/// Processes that the kernel has killed for want of memory since it started; 0 where it does not say.
fn oom_kills() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Writes the mark when native code kills this process.
fn mark_crashes() {
    extern "C" fn mark(signal: libc::c_int) {
        let fd = MARK_FD.load(Ordering::SeqCst);
        // SAFETY: write, signal and raise are async-signal-safe; the buffer is one valid byte. The default action is
        // restored first, so that the signal raised again ends the process as it would have.
        unsafe {
            libc::write(fd, (&raw const MARK).cast(), 1);
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    let handler: extern "C" fn(libc::c_int) = mark;
    // SAFETY: a zeroed sigaction is valid; the handler only calls async-signal-safe functions, and runs on the
    // alternate stack that Rust gives each thread, so that a stack overflow is marked too.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_ONSTACK;
        for signal in [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS, libc::SIGILL, libc::SIGFPE] {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_alone_at_two_crashes_is_blamed() {
        let first = read(b"o3\n+pages.split[0]@1\n-pages.split[0]@1\n+pages.split[0]@2\n!", 3);
        assert_eq!(first, HashMap::from([("pages.split[0]@2".to_owned(), 1)]));
        let second = read(b"o3\n=pages.split[0]@2\t1\n+pages.split[0]@2\n!", 3);
        assert_eq!(second["pages.split[0]@2"], CRASHES);
    }

    #[test]
    fn a_kill_blames_nobody_unless_memory_ran_out() {
        assert_eq!(read(b"o3\n+a[0]@1\n", 3)["a[0]@1"], 0);
        assert_eq!(read(b"o3\n+a[0]@1\n", 4)["a[0]@1"], 1);
    }

    #[test]
    fn records_in_company_are_suspects_but_not_blamed() {
        let suspects = read(b"o3\n+a[0]@1\n+a[0]@2\n!", 3);
        assert_eq!(suspects.len(), 2);
        assert!(suspects.values().all(|crashes| *crashes == 0));
    }

    #[test]
    fn a_suspect_that_ended_well_is_none_any_more() {
        assert!(read(b"o3\n=a[0]@1\t1\n+a[0]@1\n-a[0]@1\n=a[0]@1\t0\n", 3).is_empty());
    }

    #[test]
    fn a_suspect_that_was_not_reached_keeps_its_crashes() {
        let suspects = read(b"o3\n=a[0]@1\t1\n=a[0]@2\t0\n", 3);
        assert_eq!(suspects["a[0]@1"], 1);
        assert_eq!(suspects["a[0]@2"], 0);
    }

    #[tokio::test]
    async fn a_blamed_record_does_not_run_and_a_suspect_runs_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, "=bad\t2\n=odd\t1\n").expect("a journal");
        let journal = Journal::open(&path).expect("it opens");
        assert!(matches!(journal.enter("bad".to_owned()).await, Verdict::Blamed { .. }));
        let Verdict::Run(good) = journal.enter("good".to_owned()).await else { panic!("good runs") };
        let odd = journal.enter("odd".to_owned());
        tokio::pin!(odd);
        assert!(futures::poll!(&mut odd).is_pending(), "a suspect waits for the others");
        drop(good);
        let Verdict::Run(parked) = odd.await else { panic!("a suspect may run") };
        drop(parked);
        assert_eq!(journal.state().suspects.get("odd"), Some(&1), "it waited for something, and is a suspect still");
        let Verdict::Run(odd) = journal.enter("odd".to_owned()).await else { panic!("and may run again") };
        odd.end();
        assert_eq!(journal.state().suspects.get("odd"), None);
    }
}
