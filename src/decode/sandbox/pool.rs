//! The parent's side: who gets which child, and what a death means for the request.

use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    Answer, Config, File, LIMITS_VARIABLE, Limits,
    process::{Broken, Death, Process},
};
use deckle_contract::error::{Failure, Result, code};

/// A pool of sandboxed children of one program. Children start when they are first needed.
pub struct Pool {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    config: Config,
    children: usize,
    /// One permit per child; fair, so that calls are served in the order in which they came.
    permits: Semaphore,
    /// The children that nobody uses now, longest unused first.
    idle: Mutex<Vec<Process>>,
    closed: AtomicBool,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    calls: AtomicU64,
    starts: AtomicU64,
    deaths: AtomicU64,
    retries: AtomicU64,
    timeouts: AtomicU64,
    recycled: AtomicU64,
    files_sent: AtomicU64,
}

/// What a pool has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Calls that got a child.
    pub calls: u64,
    /// Children started.
    pub starts: u64,
    /// Children that died in a request, the ones killed for time included.
    pub deaths: u64,
    /// Requests that were tried a second time.
    pub retries: u64,
    /// Children killed because a request took too long.
    pub timeouts: u64,
    /// Children replaced for their age or their memory.
    pub recycled: u64,
    /// Times that a file's bytes had to be sent to a child.
    pub files_sent: u64,
}

/// What one attempt came to.
enum Attempt {
    Done(Result<Answer>),
    Died(Death),
}

impl Pool {
    /// Makes a pool; starts nothing. Children run `program args…` with nothing in their environment but `env` and what
    /// the pool needs itself; they must call [`serve`](super::serve()).
    #[expect(clippy::expect_used, reason = "numbers and paths are always JSON")]
    pub fn new(program: PathBuf, args: Vec<String>, mut env: Vec<(String, String)>, config: Config) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let children = config.children.unwrap_or_else(cores).max(1);
        let limits = Limits {
            memory_mb: config.memory_mb,
            cpu_s: config.cpu_s,
            require: config.require,
            readable: config.readable.clone(),
        };
        let limits = serde_json::to_string(&limits).expect("numbers and paths are always JSON");
        env.push((LIMITS_VARIABLE.to_owned(), limits));
        // Read by the OpenMP runtime when it is loaded: one thread is nine times as fast as its own choice.
        env.push(("OMP_THREAD_LIMIT".to_owned(), "1".to_owned()));
        // Each arena reserves 64 MiB of the address space that is limited.
        env.push(("MALLOC_ARENA_MAX".to_owned(), "1".to_owned()));
        Self {
            program,
            args,
            env,
            children,
            permits: Semaphore::new(children),
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
            counters: Counters::default(),
            config,
        }
    }

    /// How many children run at most, which is also how many calls run at once.
    pub fn children(&self) -> usize {
        self.children
    }

    /// Asks a child. Waits for a free one, fairly; prefers one that has the file already.
    ///
    /// # Errors
    /// `limit.time` and `limit.memory` for requests over the limits; [`Failure::Transient`] for one that took too long by
    /// the clock alone; `sandbox.crash` when the request killed two children
    /// that had served no other; a defect when its handler panicked; [`Failure::Unavailable`] when no child can be
    /// started or the pool is closed.
    pub async fn call(&self, file: Option<&File>, request: &[u8]) -> Result<Answer> {
        let closed = || Failure::unavailable("sandbox", "the pool is closed");
        let _permit = self.permits.acquire().await.map_err(|_| closed())?;
        if self.closed.load(Relaxed) {
            return Err(closed());
        }
        self.counters.calls.fetch_add(1, Relaxed);
        let mut idle = self.take_idle(file);
        let mut killed_fresh = 0;
        loop {
            let child = match idle.take() {
                Some(child) => child,
                None => self.start().await?,
            };
            let was_fresh = child.served() == 0;
            let death = match self.attempt(child, file, request).await {
                Attempt::Done(result) => return result,
                Attempt::Died(death) => death,
            };
            if death.for_want_of_confinement() {
                return Err(Failure::unavailable("sandbox", death.last_words.trim()));
            }
            // What a request does to a fresh child is its own doing; another may have died of what it served before.
            killed_fresh += usize::from(was_fresh);
            if was_fresh && death.by_memory() {
                return Err(self.out_of_memory());
            }
            if killed_fresh == 2 {
                return Err(Failure::rejected(
                    code::SANDBOX_CRASH,
                    format!("decoding it crashed two processes of their own, the last by {}", death.describe()),
                ));
            }
            self.counters.retries.fetch_add(1, Relaxed);
            tracing::warn!(cause = %death.describe(), "sandbox child died, trying the request once more");
        }
    }

    /// Asks a child that has served nobody yet.
    ///
    /// # Errors
    /// As [`Pool::call`]; [`Failure::Transient`] where the child dies.
    pub async fn call_fresh(&self, request: &[u8]) -> Result<Answer> {
        let closed = || Failure::unavailable("sandbox", "the pool is closed");
        let _permit = self.permits.acquire().await.map_err(|_| closed())?;
        self.counters.calls.fetch_add(1, Relaxed);
        match self.attempt(self.start().await?, None, request).await {
            Attempt::Done(result) => result,
            Attempt::Died(death) => Err(Failure::transient(format!("a sandbox child died: {}", death.describe()))),
        }
    }

    /// Waits for the calls that run, refuses later ones, and ends all children.
    pub async fn close(&self) {
        self.closed.store(true, Relaxed);
        let all = u32::try_from(self.children).unwrap_or(u32::MAX);
        let running_ones_are_done = self.permits.acquire_many(all).await;
        let children = std::mem::take(&mut *self.idle());
        futures::future::join_all(children.into_iter().map(Process::stop)).await;
        drop(running_ones_are_done);
        self.permits.close();
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        let c = &self.counters;
        Stats {
            calls: c.calls.load(Relaxed),
            starts: c.starts.load(Relaxed),
            deaths: c.deaths.load(Relaxed),
            retries: c.retries.load(Relaxed),
            timeouts: c.timeouts.load(Relaxed),
            recycled: c.recycled.load(Relaxed),
            files_sent: c.files_sent.load(Relaxed),
        }
    }

    async fn attempt(&self, mut child: Process, file: Option<&File>, request: &[u8]) -> Attempt {
        if file.is_some_and(|file| !child.holds(file)) {
            self.counters.files_sent.fetch_add(1, Relaxed);
        }
        // If this future is dropped here, `child` is dropped with it, and that kills the process.
        let exchange = child.exchange(file, request);
        let outcome = tokio::time::timeout(Duration::from_secs(self.config.wall_s.max(1)), exchange).await;
        match outcome {
            Ok(Ok(answer)) => {
                self.give_back(child);
                Attempt::Done(Ok(answer))
            }
            Ok(Err(Broken::Panicked(words))) => {
                Attempt::Done(Err(Failure::defect(format!("a decoder panicked: {words}"))))
            }
            Ok(Err(Broken::Protocol(words))) => {
                Attempt::Done(Err(Failure::defect(format!("a sandbox child broke the protocol: {words}"))))
            }
            Ok(Err(Broken::Died)) => {
                self.counters.deaths.fetch_add(1, Relaxed);
                let death = child.death().await;
                if !death.by_cpu_limit() {
                    return Attempt::Died(death);
                }
                let seconds = self.config.cpu_s;
                Attempt::Done(Err(Failure::rejected(
                    code::LIMIT_TIME,
                    format!("took more than {seconds} s of processor time (sandbox.cpu_s)"),
                )))
            }
            Err(_) => {
                self.counters.timeouts.fetch_add(1, Relaxed);
                self.counters.deaths.fetch_add(1, Relaxed);
                // How long it took depends on what else the machine did, so it is no end of the file's; what it used of
                // the processor is.
                let (wall, cpu) = (self.config.wall_s, self.config.cpu_s);
                Attempt::Done(Err(Failure::transient(format!(
                    "took longer than {wall} s (sandbox.wall_s) with less than {cpu} s of processor time (sandbox.cpu_s)"
                ))))
            }
        }
    }

    async fn start(&self) -> Result<Process> {
        self.counters.starts.fetch_add(1, Relaxed);
        let answer_bytes = self.config.answer_mb.saturating_mul(1 << 20);
        Process::start(&self.program, &self.args, &self.env, answer_bytes).await.map_err(|e| {
            Failure::unavailable("sandbox", format!("cannot start {} as a child: {e}", self.program.display()))
        })
    }

    /// A living idle child: one that has the file, else the one unused for longest.
    fn take_idle(&self, file: Option<&File>) -> Option<Process> {
        let mut idle = self.idle();
        idle.retain_mut(Process::is_alive);
        let has_it = |child: &Process| file.is_some_and(|file| child.holds(file));
        let at = idle.iter().position(has_it).unwrap_or(0);
        (at < idle.len()).then(|| idle.remove(at))
    }

    fn give_back(&self, child: Process) {
        let too_old = child.served() >= u64::from(self.config.requests_per_child);
        let too_big = child.resident_kb > self.config.recycle_mb.saturating_mul(1024);
        if too_old || too_big {
            self.counters.recycled.fetch_add(1, Relaxed);
        } else {
            self.idle().push(child);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        // A panic elsewhere cannot leave the list half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn out_of_memory(&self) -> Failure {
        let limit = self.config.memory_mb;
        Failure::rejected(code::LIMIT_MEMORY, format!("needs more memory than {limit} MiB (sandbox.memory_mb)"))
    }
}
