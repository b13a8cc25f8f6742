//! The pool of child processes in which everything native or untrusted runs, and the frames between parent and child.
//!
//! The law: one request at a time per child, and a child that does not answer as agreed is killed. A death costs one
//! retry, then one record; the pool refills.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::PathBuf,
    process::Stdio,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
};

use crate::error::{Failure, Result, code};

/// Limits of the children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Children at most; the number of cores when not set.
    pub children: Option<usize>,
    /// Address space of a child.
    pub memory_mb: u64,
    /// Elapsed time of one request.
    pub wall_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { children: None, memory_mb: 4_096, wall_s: 120 }
    }
}

impl Config {
    /// Children at most.
    pub fn children(&self) -> usize {
        self.children.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// A file's bytes and name; cheap to clone.
#[derive(Debug, Clone)]
pub struct File {
    /// Lower-case hex.
    pub sha256: String,
    /// All of it.
    pub bytes: Bytes,
}

/// What a child answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The reply proper.
    pub reply: Vec<u8>,
    /// Bytes that go with it.
    pub payload: Vec<u8>,
    /// Processor time of the request.
    pub cpu_us: i64,
}

/// Counts since the pool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Children started.
    pub started: u64,
    /// Children that died during a request.
    pub died: u64,
    /// Requests answered.
    pub calls: u64,
}

/// See the module.
pub struct Pool {
    program: PathBuf,
    args: Vec<String>,
    environment: BTreeMap<String, String>,
    config: Config,
    permits: Semaphore,
    idle: Mutex<Vec<Kid>>,
    started: AtomicU64,
    died: AtomicU64,
    calls: AtomicU64,
}

struct Kid {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    file: Option<String>,
}

enum Trouble {
    Died(String),
    Slow,
}

impl Pool {
    /// A pool that starts `program` with `args` when the first request comes.
    pub fn new(program: PathBuf, args: Vec<String>, environment: BTreeMap<String, String>, config: Config) -> Self {
        let permits = Semaphore::new(config.children());
        Self {
            program,
            args,
            environment,
            config,
            permits,
            idle: Mutex::default(),
            started: AtomicU64::new(0),
            died: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// Asks a child. The file's bytes travel only when the child does not have them open.
    pub async fn call(&self, file: Option<&File>, request: &[u8]) -> Result<Answer> {
        let _permit =
            self.permits.acquire().await.map_err(|_| Failure::unavailable("sandbox", "the pool is closed"))?;
        let mut last = String::new();
        for _ in 0..2 {
            let mut kid = self.take(file)?;
            match tokio::time::timeout(Duration::from_secs(self.config.wall_s), kid.ask(file, request)).await {
                Ok(Ok(answer)) => {
                    self.calls.fetch_add(1, Relaxed);
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kid);
                    return Ok(answer);
                }
                Ok(Err(Trouble::Died(why))) => {
                    self.died.fetch_add(1, Relaxed);
                    last = why;
                }
                Ok(Err(Trouble::Slow)) | Err(_) => {
                    let message = format!("took longer than {} s (`sandbox.wall_s`)", self.config.wall_s);
                    return Err(Failure::rejected(code::LIMIT_TIME, message));
                }
            }
        }
        Err(Failure::defect(format!("a decoder died twice: {last}")))
    }

    fn take(&self, file: Option<&File>) -> Result<Kid> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let same = file.and_then(|file| idle.iter().position(|kid| kid.file.as_deref() == Some(&file.sha256)));
        let found = same.or_else(|| idle.len().checked_sub(1));
        if let Some(index) = found {
            return Ok(idle.swap_remove(index));
        }
        drop(idle);
        self.start()
    }

    fn start(&self) -> Result<Kid> {
        self.started.fetch_add(1, Relaxed);
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::unavailable("sandbox", format!("a child cannot be started: {error}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::defect("a child has no pipes"));
        };
        Ok(Kid { child, stdin, stdout, file: None })
    }

    /// Ends all idle children.
    pub async fn close(&self) {
        let kids = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for mut kid in kids {
            // Already dead is as good.
            let _ = kid.child.kill().await;
        }
    }

    /// Counts so far.
    pub fn stats(&self) -> Stats {
        Stats { started: self.started.load(Relaxed), died: self.died.load(Relaxed), calls: self.calls.load(Relaxed) }
    }
}

impl Kid {
    async fn ask(&mut self, file: Option<&File>, request: &[u8]) -> std::result::Result<Answer, Trouble> {
        let new = file.filter(|file| self.file.as_deref() != Some(&file.sha256));
        if let Some(file) = new {
            self.send(b'F', &[file.sha256.as_bytes(), &file.bytes]).await?;
            self.file = Some(file.sha256.clone());
        }
        self.send(if file.is_some() { b'W' } else { b'N' }, &[request]).await?;
        let reply = self.receive().await?;
        let payload = self.receive().await?;
        let cpu = self.receive().await?;
        let cpu_us =
            i64::from_le_bytes(cpu.try_into().map_err(|_| Trouble::Died("a frame of a wrong size".to_owned()))?);
        Ok(Answer { reply, payload, cpu_us })
    }

    async fn send(&mut self, kind: u8, parts: &[&[u8]]) -> std::result::Result<(), Trouble> {
        let broken = |error: std::io::Error| Trouble::Died(error.to_string());
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut head = vec![kind];
        head.extend_from_slice(&(length as u64).to_le_bytes());
        self.stdin.write_all(&head).await.map_err(broken)?;
        for part in parts {
            self.stdin.write_all(part).await.map_err(broken)?;
        }
        self.stdin.flush().await.map_err(broken)
    }

    async fn receive(&mut self) -> std::result::Result<Vec<u8>, Trouble> {
        let mut head = [0; 8];
        if let Err(error) = self.stdout.read_exact(&mut head).await {
            let status = self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(Trouble::Died(format!("{error}; {status}")));
        }
        let length = usize::try_from(u64::from_le_bytes(head)).map_err(|_| Trouble::Slow)?;
        let mut bytes = vec![0; length];
        self.stdout.read_exact(&mut bytes).await.map_err(|error| Trouble::Died(error.to_string()))?;
        Ok(bytes)
    }
}

/// The child's side: answers requests from standard input until it ends.
pub fn serve(mut handler: impl FnMut(Option<&File>, &[u8]) -> (Vec<u8>, Vec<u8>)) {
    let (mut stdin, mut stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut file: Option<File> = None;
    let mut head = [0; 9];
    while stdin.read_exact(&mut head).is_ok() {
        let length = u64::from_le_bytes(head[1..].try_into().expect("nine bytes less one are eight"));
        let mut body = vec![0; length as usize];
        if stdin.read_exact(&mut body).is_err() {
            return;
        }
        if head[0] == b'F' {
            let bytes = Bytes::from(body);
            file = Some(File { sha256: String::from_utf8_lossy(&bytes[..64]).into_owned(), bytes: bytes.slice(64..) });
            continue;
        }
        let before = cpu_us();
        let (reply, payload) = handler(file.as_ref().filter(|_| head[0] == b'W'), &body);
        let cpu = (cpu_us() - before).to_le_bytes();
        for part in [&reply[..], &payload[..], &cpu[..]] {
            if stdout.write_all(&(part.len() as u64).to_le_bytes()).and_then(|()| stdout.write_all(part)).is_err() {
                return;
            }
        }
        if stdout.flush().is_err() {
            return;
        }
    }
}

fn cpu_us() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}
