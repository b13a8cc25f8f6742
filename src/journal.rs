//! The death journal: which records were in flight when this process died, so that no record can kill workers for
//! ever.
//!
//! The law: a record is blamed only when it was alone in flight. After a death everything that was in flight runs
//! alone, one after the other; what is alone at two crashes is a defect.
//!
//! A crash is told from a kill: a handler for SIGSEGV, SIGABRT, SIGBUS, SIGILL and SIGFPE writes a mark before the
//! process dies. Deaths without a mark (SIGKILL, power, the kernel out of memory) say little about the record, so it
//! takes [`KILLS`] of them: an operator who restarts a worker often must not turn a good document into a dead letter.
//! Lines are written without fsync: they survive the process, and after a power cut nothing needs to be blamed.

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

/// Crashes alone in flight that make a record a defect.
pub const CRASHES: u32 = 2;
/// Deaths of unknown cause alone in flight that make a record a defect. With 6, two of seven runs of `tests/kill.rs`
/// blamed a good page: suspects run one by one, so the slowest of them is alone at most kills of a worker.
pub const KILLS: u32 = 20;

/// The file is written anew above this size: some ten thousand records.
const COMPACT_BYTES: usize = 1 << 20;

/// A crash mark: one byte, so that a signal handler can write it.
static MARK: u8 = b'!';

/// Where the signal handler writes; −1 before a journal is open.
static MARK_FD: AtomicI32 = AtomicI32::new(-1);

/// Deaths that a record was alone in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Deaths {
    crashes: u32,
    kills: u32,
}

/// See the module. One per process, shared by its workers.
pub struct Journal {
    state: Mutex<State>,
    /// Held for reading by every record in flight, for writing by a suspect.
    gate: Arc<RwLock<()>>,
}

struct State {
    file: File,
    written: usize,
    in_flight: BTreeSet<String>,
    suspects: HashMap<String, Deaths>,
}

/// A record in flight; dropping it takes it out of the journal.
pub struct Entry {
    journal: Arc<Journal>,
    name: String,
    _gate: Gate,
}

enum Gate {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Alone { _guard: OwnedRwLockWriteGuard<()> },
}

/// Whether a record may run.
pub enum Verdict {
    /// Run it, and keep the entry until it ends.
    Run(Entry),
    /// It was alone in flight at too many deaths.
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
        let suspects = read(&bytes);
        if !suspects.is_empty() {
            tracing::warn!(
                records = suspects.len(),
                "the last process died with records in flight; they run one by one"
            );
        }
        MARK_FD.store(file.as_raw_fd(), Ordering::SeqCst);
        mark_crashes();
        let mut state = State { file, written: 0, in_flight: BTreeSet::new(), suspects };
        state.rewrite()?;
        Ok(Arc::new(Self { state: Mutex::new(state), gate: Arc::new(RwLock::new(())) }))
    }

    /// Lets a record in, or blames it. A suspect waits until nothing else is in flight, and runs alone.
    pub async fn enter(self: &Arc<Self>, name: String) -> Verdict {
        let known = self.state().suspects.get(&name).copied();
        if let Some(deaths) = known.filter(|deaths| deaths.crashes >= CRASHES || deaths.kills >= KILLS) {
            let (crashes, kills) = (deaths.crashes, deaths.kills);
            return Verdict::Blamed {
                message: format!("alone in flight at {crashes} crashes and {kills} other deaths of the worker"),
            };
        }
        let gate = match known {
            Some(_) => Gate::Alone { _guard: Arc::clone(&self.gate).write_owned().await },
            None => Gate::Shared { _guard: Arc::clone(&self.gate).read_owned().await },
        };
        let mut state = self.state();
        state.in_flight.insert(name.clone());
        state.append(&format!("+{name}\n"));
        drop(state);
        Verdict::Run(Entry { journal: Arc::clone(self), name, _gate: gate })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut text = String::new();
        for (name, deaths) in &self.suspects {
            text.push_str(&format!("={name}\t{}\t{}\n", deaths.crashes, deaths.kills));
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
        let cleared = state.suspects.remove(name).is_some();
        state.append(&if cleared { format!("-{name}\n={name}\t0\t0\n") } else { format!("-{name}\n") });
    }
}

/// Replays a journal: suspects are what was in flight at its end, with the deaths known before.
///
/// Names hold no tab and no line break: they are topics, partitions and offsets.
fn read(bytes: &[u8]) -> HashMap<String, Deaths> {
    let crashed = bytes.contains(&MARK);
    let text = String::from_utf8_lossy(bytes).replace(char::from(MARK), "");
    let mut in_flight: HashMap<String, ()> = HashMap::new();
    let mut suspects: HashMap<String, Deaths> = HashMap::new();
    for line in text.lines() {
        match line.split_at_checked(1) {
            Some(("+", name)) => {
                in_flight.insert(name.to_owned(), ());
            }
            Some(("-", name)) => {
                in_flight.remove(name);
            }
            Some(("=", known)) => {
                let mut parts = known.split('\t');
                let (Some(name), Some(Ok(crashes)), Some(Ok(kills))) =
                    (parts.next(), parts.next().map(str::parse), parts.next().map(str::parse))
                else {
                    continue;
                };
                if (crashes, kills) == (0, 0) && !in_flight.contains_key(name) {
                    suspects.remove(name);
                } else {
                    suspects.insert(name.to_owned(), Deaths { crashes, kills });
                }
            }
            _ => {}
        }
    }
    let alone = in_flight.len() == 1;
    for name in in_flight.into_keys() {
        let deaths = suspects.entry(name).or_default();
        if alone && crashed {
            deaths.crashes += 1;
        } else if alone {
            deaths.kills += 1;
        }
    }
    suspects
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
        let first = read(b"+pages.split[0]@1\n-pages.split[0]@1\n+pages.split[0]@2\n!");
        assert_eq!(first["pages.split[0]@2"], Deaths { crashes: 1, kills: 0 });
        let second = read(b"=pages.split[0]@2\t1\t0\n+pages.split[0]@2\n!");
        assert_eq!(second["pages.split[0]@2"], Deaths { crashes: 2, kills: 0 });
    }

    #[test]
    fn records_in_company_are_suspects_but_not_blamed() {
        let suspects = read(b"+a[0]@1\n+a[0]@2\n!");
        assert_eq!(suspects.len(), 2);
        assert!(suspects.values().all(|deaths| *deaths == Deaths::default()));
    }

    #[test]
    fn a_suspect_that_ended_well_is_none_any_more() {
        assert!(read(b"=a[0]@1\t1\t0\n+a[0]@1\n-a[0]@1\n=a[0]@1\t0\t0\n").is_empty());
    }

    #[test]
    fn a_suspect_that_was_not_reached_keeps_its_deaths() {
        let suspects = read(b"=a[0]@1\t1\t0\n=a[0]@2\t0\t0\n");
        assert_eq!(suspects["a[0]@1"], Deaths { crashes: 1, kills: 0 });
    }

    #[tokio::test]
    async fn a_blamed_record_does_not_run_and_a_suspect_runs_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        std::fs::write(&path, "=bad\t2\t0\n=odd\t1\t0\n").expect("a journal");
        let journal = Journal::open(&path).expect("it opens");
        assert!(matches!(journal.enter("bad".to_owned()).await, Verdict::Blamed { .. }));
        let Verdict::Run(good) = journal.enter("good".to_owned()).await else { panic!("good runs") };
        let odd = journal.enter("odd".to_owned());
        tokio::pin!(odd);
        assert!(futures::poll!(&mut odd).is_pending(), "a suspect waits for the others");
        drop(good);
        assert!(matches!(odd.await, Verdict::Run(_)));
    }
}
