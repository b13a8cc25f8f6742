//! The child's side: confine once, then answer one request after the other until the parent closes the pipe.

use std::{
    fs::File as OsFile,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::{FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    process::exit,
};

use bytes::Bytes;

use super::{
    EXIT_UNCONFINED, File, LIMITS_VARIABLE, Limits, confine,
    frame::{AnswerHeader, CallHeader, FILE_HELD, FILE_NONE, FILE_SENT, Held, STATUS_OK, STATUS_PANIC},
};

/// The parent spoke something else than the protocol.
const EXIT_PROTOCOL: i32 = 70;

/// Serves requests on standard input and output until the parent closes them, then ends the process.
///
/// The handler gets the file of the request, if it has one, and the request; it returns a reply and a payload.
/// Confines the process first: nothing that the handler needs later may lie outside [`super::Config::readable`].
/// Whatever native code prints to standard output goes to standard error instead.
#[expect(clippy::disallowed_methods, reason = "a child has nothing to drain, and must not return to its caller's main")]
#[expect(clippy::print_stderr, reason = "a child has no log but the parent's standard error")]
pub fn serve(mut handler: impl FnMut(Option<&File>, &[u8]) -> (Vec<u8>, Vec<u8>)) -> ! {
    let mut exit_code = EXIT_PROTOCOL;
    let served = take_pipes().and_then(|(input, output)| {
        let limits = std::env::var(LIMITS_VARIABLE).map_err(io::Error::other)?;
        let limits: Limits = serde_json::from_str(&limits)?;
        let resident = OsFile::open("/proc/self/statm").ok();
        let confinement = confine::confine(&limits);
        if limits.require && !confinement.is_full() {
            exit_code = EXIT_UNCONFINED;
            return Err(io::Error::other(format!("{confinement} (`sandbox.require`)")));
        }
        answer_all(input, output, &limits, resident, &mut handler)
    });
    match served {
        Ok(()) => exit(0),
        Err(e) => {
            eprintln!("sandbox child ends: {e}");
            exit(exit_code)
        }
    }
}

fn answer_all(
    mut input: OsFile,
    mut output: OsFile,
    limits: &Limits,
    mut resident: Option<OsFile>,
    handler: &mut impl FnMut(Option<&File>, &[u8]) -> (Vec<u8>, Vec<u8>),
) -> io::Result<()> {
    let mut held: Held<File> = Held::default();
    let mut header = [0; CallHeader::LEN];
    loop {
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
        let cpu_before = confine::cpu_us();
        confine::allow_cpu(limits.cpu_s);
        let call = CallHeader::decode(&header).ok_or_else(|| io::Error::other("no frame header"))?;
        let sha256 = std::str::from_utf8(&call.sha256).map_err(io::Error::other)?;
        let file = match call.file {
            FILE_NONE => None,
            FILE_HELD => Some(held.touch(sha256).cloned().ok_or_else(|| io::Error::other("a file that is not held"))?),
            FILE_SENT => {
                let bytes = Bytes::from(read_vec(&mut input, call.file_len)?);
                let file = File { sha256: sha256.to_owned(), bytes };
                held.insert(sha256, file.clone());
                Some(file)
            }
            other => return Err(io::Error::other(format!("file mark {other}"))),
        };
        let request = read_vec(&mut input, call.request_len)?;
        let answered = catch_unwind(AssertUnwindSafe(|| handler(file.as_ref(), &request)));
        let (status, reply, payload) = match answered {
            Ok((reply, payload)) => (STATUS_OK, reply, payload),
            Err(panic) => (STATUS_PANIC, panic_message(panic.as_ref()).into_bytes(), Vec::new()),
        };
        let answer = AnswerHeader {
            id: call.id,
            status,
            cpu_us: confine::cpu_us() - cpu_before,
            resident_kb: resident.as_mut().map_or(0, resident_kb),
            reply_len: reply.len() as u64,
            payload_len: payload.len() as u64,
        };
        output.write_all(&answer.encode())?;
        output.write_all(&reply)?;
        output.write_all(&payload)?;
    }
}

fn read_vec(input: &mut OsFile, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len as usize);
    input.take(len).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Takes the pipes for the protocol and puts `/dev/null` and standard error in their places: native libraries print.
fn take_pipes() -> io::Result<(OsFile, OsFile)> {
    let null = OsFile::open("/dev/null")?;
    // SAFETY: plain system calls on descriptors that are open; the duplicates are ours alone.
    unsafe {
        let input = owned(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3))?;
        let output = owned(libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3))?;
        check(libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), 0))?;
        check(libc::dup2(2, 1))?;
        Ok((input.into(), output.into()))
    }
}

/// # Safety
/// `fd` must be an open descriptor that nobody else owns, or negative.
unsafe fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Resident memory now. The file was opened before the child lost the right to open it.
fn resident_kb(statm: &mut OsFile) -> u64 {
    let mut text = String::new();
    if statm.seek(SeekFrom::Start(0)).and_then(|_| statm.read_to_string(&mut text)).is_err() {
        return 0;
    }
    const PAGE_KB: u64 = 4;
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE_KB)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
