//! One child as the parent sees it: start, one exchange at a time, and how it died.

use std::{
    collections::VecDeque,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    Answer, EXIT_UNCONFINED, File,
    frame::{AnswerHeader, CallHeader, FILE_HELD, FILE_NONE, FILE_SENT, Held, STATUS_OK},
};

/// How much of a child's standard error is remembered, to report how it died.
const TAIL_BYTES: usize = 4096;

/// How much of a child's standard error is logged in its life; more is noise.
const LOGGED_BYTES: usize = 64 * 1024;

/// How long a dead child's last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Size asked for the pipes: files and pictures are megabytes, the default is 64 KiB.
const PIPE_BYTES: libc::c_int = 1 << 20;

/// A living child process. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    pid: Option<u32>,
    input: ChildStdin,
    output: ChildStdout,
    last_words: Arc<Mutex<VecDeque<u8>>>,
    listener: JoinHandle<()>,
    held: Held<()>,
    served: u64,
    answer_bytes: u64,
    /// Resident memory after the last answer, in KiB.
    pub resident_kb: u64,
}

/// How one exchange ended badly.
pub(super) enum Broken {
    /// The pipe broke: the child is dead or dying.
    Died,
    /// The handler panicked; its words.
    Panicked(String),
    /// The child spoke nonsense.
    Protocol(String),
}

/// How a child ended.
pub(super) struct Death {
    /// What the system says.
    pub status: Option<ExitStatus>,
    /// The end of its standard error.
    pub last_words: String,
}

impl Death {
    /// Whether the processor limit ended it.
    pub(super) fn by_cpu_limit(&self) -> bool {
        self.status.and_then(|s| s.signal()) == Some(libc::SIGXCPU)
    }

    /// Whether it ran out of memory. Rust and C++ say so before they abort; PDFium aborts without a word, which
    /// nothing else does (its other checks trap, and the C library explains its aborts).
    pub(super) fn by_memory(&self) -> bool {
        const SAID: [&str; 4] = ["memory allocation of", "bad_alloc", "out of memory", "Cannot allocate memory"];
        let said = SAID.iter().any(|words| self.last_words.contains(words));
        let aborted = self.status.and_then(|s| s.signal()) == Some(libc::SIGABRT);
        said || (aborted && self.last_words.trim().is_empty())
    }

    /// Whether it refused to work, because the kernel lacks what would confine it.
    pub(super) fn for_want_of_confinement(&self) -> bool {
        self.status.and_then(|status| status.code()) == Some(EXIT_UNCONFINED)
    }

    /// `signal 11 (SIGSEGV)` or `exit status 70`.
    pub(super) fn describe(&self) -> String {
        let Some(status) = self.status else { return "an unknown cause".to_owned() };
        match status.signal() {
            Some(signal) => format!("signal {signal} ({})", signal_name(signal)),
            None => format!("exit status {}", status.code().unwrap_or(-1)),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => "unnamed",
    }
}

impl Process {
    /// Starts a child with nothing in its environment but `env`.
    pub(super) async fn start(
        program: &Path,
        args: &[String],
        env: &[(String, String)],
        answer_bytes: u64,
    ) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = spawn(command).await?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(std::io::Error::other("the child has no pipes"));
        };
        widen(&input);
        widen(&output);
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let listener = tokio::spawn(listen(errors, Arc::clone(&last_words), child.id()));
        Ok(Self {
            pid: child.id(),
            child,
            input,
            output,
            last_words,
            listener,
            held: Held::default(),
            served: 0,
            answer_bytes,
            resident_kb: 0,
        })
    }

    /// How many requests it has been given.
    pub(super) fn served(&self) -> u64 {
        self.served
    }

    /// Whether it has the file.
    pub(super) fn holds(&self, file: &File) -> bool {
        self.held.has(&file.sha256)
    }

    /// Whether it still runs, by what the system says now.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// One request and its answer. After an error the child must not be used again.
    pub(super) async fn exchange(&mut self, file: Option<&File>, request: &[u8]) -> Result<Answer, Broken> {
        self.served += 1;
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let id = self.served;
        let (mark, bytes) = match file {
            None => (FILE_NONE, &[][..]),
            Some(file) if self.held.touch(&file.sha256).is_some() => (FILE_HELD, &[][..]),
            Some(file) => {
                self.held.insert(&file.sha256, ());
                (FILE_SENT, &file.bytes[..])
            }
        };
        let mut sha256 = [b'0'; 64];
        if let Some(file) = file {
            let name = file.sha256.as_bytes();
            if name.len() != sha256.len() {
                return Err(Broken::Protocol("a file's sha256 is not 64 hex digits".to_owned()));
            }
            sha256.copy_from_slice(name);
        }
        let header =
            CallHeader { id, file: mark, sha256, file_len: bytes.len() as u64, request_len: request.len() as u64 };
        for part in [&header.encode()[..], bytes, request] {
            self.input.write_all(part).await.map_err(|_| Broken::Died)?;
        }
        self.input.flush().await.map_err(|_| Broken::Died)?;

        let mut header = [0; AnswerHeader::LEN];
        self.output.read_exact(&mut header).await.map_err(|_| Broken::Died)?;
        let header = AnswerHeader::decode(&header).ok_or_else(|| Broken::Protocol("no frame header".to_owned()))?;
        if header.id != id {
            return Err(Broken::Protocol(format!("answer {} to request {id}", header.id)));
        }
        if header.reply_len.saturating_add(header.payload_len) > self.answer_bytes {
            return Err(Broken::Protocol(format!(
                "an answer of {} bytes is longer than answer_mb allows",
                header.reply_len.saturating_add(header.payload_len)
            )));
        }
        let reply = read_vec(&mut self.output, header.reply_len).await?;
        let payload = read_vec(&mut self.output, header.payload_len).await?;
        self.resident_kb = header.resident_kb;
        if header.status != STATUS_OK {
            return Err(Broken::Panicked(String::from_utf8_lossy(&reply).into_owned()));
        }
        Ok(Answer { reply, payload, cpu_us: i64::try_from(header.cpu_us).unwrap_or(i64::MAX) })
    }

    /// Waits for the end of a child whose pipe broke, and returns how it died.
    pub(super) async fn death(mut self) -> Death {
        let status = match tokio::time::timeout(LAST_WORDS, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill();
                self.child.wait().await.ok()
            }
        };
        // The pipe ends with the process; a grandchild that keeps it open must not keep us.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.listener).await;
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let last_words = String::from_utf8_lossy(&words.iter().copied().collect::<Vec<_>>()).into_owned();
        drop(words);
        Death { status, last_words }
    }

    /// Lets it end by itself, and kills it if it does not.
    pub(super) async fn stop(mut self) {
        let _ = self.input.shutdown().await;
        let Self { child, input, .. } = &mut self;
        let _ = input.shutdown().await;
        if tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err() {
            self.kill();
            let _ = self.child.wait().await;
        }
    }

    /// Kills the child with everything that it may have started.
    fn kill(&self) {
        if let Some(pid) = self.pid.and_then(|pid| libc::pid_t::try_from(pid).ok()) {
            // SAFETY: no memory is involved. The child is not yet reaped when this is called, so the group is its own.
            unsafe { libc::kill(-pid, libc::SIGKILL) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_alive() {
            self.kill();
        }
    }
}

async fn read_vec(output: &mut ChildStdout, len: u64) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::with_capacity(len as usize);
    output.take(len).read_to_end(&mut bytes).await.map_err(|_| Broken::Died)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(Broken::Died) }
}

fn widen(pipe: &impl std::os::fd::AsRawFd) {
    // SAFETY: a system call on an open descriptor. A refusal only leaves the pipe as it was.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
}

/// Reads a child's standard error to its end: it would block otherwise. Logs a bounded part of it.
async fn listen(mut errors: impl AsyncRead + Unpin, last_words: Arc<Mutex<VecDeque<u8>>>, pid: Option<u32>) {
    let mut logged = 0;
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = errors.read(&mut buffer).await {
        if logged < LOGGED_BYTES {
            logged += n;
            tracing::debug!(pid, text = %String::from_utf8_lossy(&buffer[..n]).trim_end(), "sandbox child says");
        }
        let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(&buffer[..n]);
        let surplus = words.len().saturating_sub(TAIL_BYTES);
        words.drain(..surplus);
    }
}

type SpawnJob = (Command, tokio::runtime::Handle, oneshot::Sender<std::io::Result<Child>>);

/// Starts a process from one thread that lives as long as this program. "Kill me when my parent dies" is meant by the
/// kernel for the *thread* that started the child, and a runtime's threads may end early.
async fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Option<mpsc::Sender<SpawnJob>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (send, jobs) = mpsc::channel::<SpawnJob>();
        let run = move || {
            for (mut command, runtime, reply) in jobs {
                let _context = runtime.enter();
                let _ = reply.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("sandbox-spawner".to_owned()).spawn(run).ok().map(|_| send)
    });
    let gone = || std::io::Error::other("the thread that starts sandbox children is gone");
    let (reply, answer) = oneshot::channel();
    let job = (command, tokio::runtime::Handle::current(), reply);
    spawner.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}
