//! The laws of the sandbox: the parent lives on, a child's death costs one retry, limits hold, doors are shut.
//!
//! The children are this test program itself: `child` below, run through a shell that keeps the test harness's own
//! words out of the protocol.

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use deckle::{
    contract::error::{Failure, code},
    decode::{
        self, Decoders,
        sandbox::{self, Config, File, Pool},
    },
};

const CHILD: &str = "DECKLE_TEST_CHILD";
/// What a child says is missing, and `really` where one that is asked to look finds that it is.
const MISSING: &str = "DECKLE_TEST_MISSING";

/// The child's side; does nothing in an ordinary run.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // SAFETY: the shell put the protocol's pipe at 3.
    unsafe { assert_eq!(libc::dup2(3, 1), 1) };
    let mut served = 0;
    sandbox::serve(move |file, request| {
        if let Some(missing) = std::env::var_os(MISSING) {
            return (misses(&missing.to_string_lossy(), request).into_bytes(), Vec::new());
        }
        served += 1;
        let request = String::from_utf8_lossy(request).into_owned();
        (obey(&request, file, served).into_bytes(), vec![7; file.map_or(0, |f| f.bytes.len())])
    })
}

fn obey(request: &str, file: Option<&File>, served: u32) -> String {
    let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
    match verb {
        "echo" => rest.to_owned(),
        "file" => file.map_or("none".to_owned(), |f| String::from_utf8_lossy(&f.bytes).into_owned()),
        "die_unless_fresh" if served == 1 => "alive".to_owned(),
        "die" | "die_unless_fresh" => {
            let signal = rest.parse().unwrap_or(libc::SIGKILL);
            loop {
                // SAFETY: ends this process; the second time, where Rust catches a fault that it does not know once.
                unsafe { libc::raise(signal) };
            }
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "sleep" => {
            // SAFETY: waits for a signal, which never comes.
            unsafe { libc::pause() };
            String::new()
        }
        "hog" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1u8; 64 << 20]);
            }
        }
        "hog_in_c" => {
            // SAFETY: allocates until it cannot, touching nothing, then aborts without a word as PDFium does.
            unsafe {
                while !std::hint::black_box(libc::malloc(64 << 20)).is_null() {}
                libc::abort()
            }
        }
        "panic" => panic!("a broken invariant"),
        "read" => format!("{:?}", std::fs::read(rest).map(|bytes| bytes.len()).map_err(|e| e.kind())),
        "write" => format!("{:?}", std::fs::write(rest, "x").map_err(|e| e.kind())),
        "connect" => format!("{:?}", std::net::TcpStream::connect(rest).map(drop).map_err(|e| e.kind())),
        "environment" => {
            let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
            names.sort();
            names.join(" ")
        }
        "print" => {
            // SAFETY: writes from a live buffer.
            unsafe { libc::write(1, c"noise".as_ptr().cast(), 5) };
            "printed".to_owned()
        }
        "death_signal" => {
            let mut signal = 0;
            // SAFETY: the kernel writes one integer.
            unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
            signal.to_string()
        }
        "escape" => match escape(rest) {
            -1 => std::io::Error::last_os_error().kind().to_string(),
            other => format!("escaped: {other}"),
        },
        "thread" => std::thread::spawn(|| "a thread").join().unwrap().to_owned(),
        "landlock" => sandbox::confinement().map(|c| c.landlock.clone()).unwrap_or_default(),
        other => panic!("unknown verb {other}"),
    }
}

/// The answer of a decoder that cannot work for want of something.
fn misses(missing: &str, request: &[u8]) -> String {
    let (name, is_true) = missing.split_once(' ').map_or((missing, false), |(name, _)| (name, true));
    if String::from_utf8_lossy(request).contains("check") {
        let check = serde_json::json!({ "name": name, "ok": !is_true, "detail": "", "advice": "" });
        return serde_json::json!({ "outcome": "ok", "value": [check] }).to_string();
    }
    serde_json::json!({ "outcome": "unavailable", "dependency": name, "message": "not there" }).to_string()
}

/// Ways out that landlock does not know. -1 where the kernel refuses; a process that starts all the same ends itself.
fn escape(way: &str) -> libc::c_long {
    let readable = c"/usr/lib/os-release".as_ptr();
    // SAFETY: each call has valid arguments, and what it starts or opens is ended or left to the end of the process.
    unsafe {
        match way {
            "udp" => libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).into(),
            "tcp" => libc::socket(libc::AF_INET6, libc::SOCK_STREAM, 0).into(),
            "unix" => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).into(),
            "raw" => libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP).into(),
            "netlink" => libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).into(),
            "chmod" => libc::chmod(readable, 0o644).into(),
            "chown" => libc::chown(readable, 0, 0).into(),
            "utimes" => libc::syscall(libc::SYS_utimensat, libc::AT_FDCWD, readable, std::ptr::null::<u8>(), 0),
            "fork" => match libc::fork() {
                0 => libc::_exit(0),
                pid => pid.into(),
            },
            "vfork" => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
            "clone3" => libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0),
            "exec" => libc::execl(c"/bin/true".as_ptr(), c"true".as_ptr(), std::ptr::null::<libc::c_char>()).into(),
            "setsid" => libc::setsid().into(),
            "setpgid" => libc::setpgid(0, 0).into(),
            "user namespace" => libc::unshare(libc::CLONE_NEWUSER).into(),
            "keyctl" => libc::syscall(libc::SYS_keyctl, 0, -3, 0),
            "ptrace" => libc::ptrace(libc::PTRACE_TRACEME),
            "parent" => libc::kill(libc::getppid(), 0).into(),
            "memfd" => libc::memfd_create(c"x".as_ptr(), 0).into(),
            "io_uring" => libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null::<u8>()),
            "setuid" => libc::setuid(0).into(),
            "raise limits of others" => {
                libc::prlimit(libc::getppid(), libc::RLIMIT_CORE, std::ptr::null(), std::ptr::null_mut()).into()
            }
            "more memory" => {
                let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                libc::setrlimit(libc::RLIMIT_AS, &raw const limit).into()
            }
            "die later" => libc::prctl(libc::PR_SET_PDEATHSIG, 0).into(),
            other => panic!("unknown way {other}"),
        }
    }
}

fn pool(config: Config) -> Pool {
    pool_with(&[], config)
}

/// The same, with more variables for its children.
fn pool_with(environment: &[(&str, &str)], config: Config) -> Pool {
    let me = std::env::current_exe().unwrap();
    let script = "exec \"$0\" --exact sandbox::child --nocapture --test-threads=1 3>&1 1>/dev/null";
    let args = vec!["-c".to_owned(), script.to_owned(), me.display().to_string()];
    let environment = [(CHILD, "1")].iter().chain(environment);
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Pool::new(PathBuf::from("/bin/sh"), args, environment, config)
}

fn one() -> Config {
    Config { children: Some(1), ..Config::default() }
}

async fn ask(pool: &Pool, request: &str) -> Result<String, Failure> {
    let answer = tokio::time::timeout(Duration::from_secs(60), pool.call(None, request.as_bytes())).await;
    answer.expect("the pool hangs").map(|answer| String::from_utf8(answer.reply).unwrap())
}

fn file(content: &'static str) -> File {
    use sha2::Digest;
    File { sha256: hex::encode(sha2::Sha256::digest(content)), bytes: content.into() }
}

#[tokio::test]
async fn a_reply_and_its_payload_come_back() {
    let pool = pool(one());
    let answer = pool.call(Some(&file("abc")), b"echo hello").await.unwrap();
    assert_eq!((answer.reply, answer.payload), (b"hello".to_vec(), vec![7; 3]));
    assert!(answer.cpu_us >= 0);
}

#[tokio::test]
async fn a_file_travels_once_and_stays_with_its_child() {
    let pool = pool(Config { children: Some(2), ..Config::default() });
    let (a, b) = (file("content of a"), file("content of b"));
    for _ in 0..3 {
        for file in [&a, &b] {
            let answer = pool.call(Some(file), b"file").await.unwrap();
            assert_eq!(answer.reply, file.bytes);
        }
    }
    // One call at a time never needs a second child.
    assert_eq!((pool.stats().files_sent, pool.stats().starts), (2, 1));
    // A third file drives the oldest out; it is sent again when it is needed.
    pool.call(Some(&file("content of c")), b"file").await.unwrap();
    assert_eq!(pool.call(Some(&a), b"file").await.unwrap().reply, a.bytes);
    assert_eq!(pool.stats().files_sent, 4);
}

#[tokio::test]
async fn a_child_killed_in_a_request_costs_one_retry() {
    let pool = pool(one());
    ask(&pool, "echo warm").await.unwrap();
    assert_eq!(ask(&pool, "die_unless_fresh").await.unwrap(), "alive");
    let stats = pool.stats();
    assert_eq!((stats.deaths, stats.retries, stats.starts), (1, 1, 2));
}

#[tokio::test]
async fn a_request_that_kills_two_fresh_children_is_at_fault_itself() {
    let pool = pool(one());
    // The first child has served before, so its death proves nothing.
    ask(&pool, "echo warm").await.unwrap();
    let failure = ask(&pool, &format!("die {}", libc::SIGSEGV)).await.unwrap_err();
    assert!(matches!(failure, Failure::Rejected { .. }), "{failure:?}");
    assert_eq!(failure.code(), code::SANDBOX_CRASH);
    assert!(failure.to_string().contains("SIGSEGV"), "{failure}");
    assert_eq!(pool.stats().deaths, 3);
    assert_eq!(ask(&pool, "echo still here").await.unwrap(), "still here");
}

#[tokio::test]
async fn a_child_killed_while_idle_costs_nothing() {
    let pool = pool(one());
    // It dies right after its answer.
    ask(&pool, "echo warm").await.unwrap();
    assert_eq!(ask(&pool, "die_unless_fresh").await.unwrap(), "alive");
    assert_eq!(ask(&pool, "echo on").await.unwrap(), "on");
}

#[tokio::test]
async fn what_takes_too_long_by_the_clock_alone_is_no_fault_of_the_file() {
    let pool = pool(Config { wall_s: 1, ..one() });
    let failure = ask(&pool, "sleep").await.unwrap_err();
    assert!(matches!(failure, Failure::Transient { .. }) && failure.to_string().contains("wall_s"), "{failure:?}");
    assert_eq!(ask(&pool, "echo on").await.unwrap(), "on");
    assert_eq!((pool.stats().timeouts, pool.stats().retries), (1, 0));
}

#[tokio::test]
async fn an_infinite_loop_ends_at_the_processor_limit() {
    let pool = pool(Config { cpu_s: 1, ..one() });
    assert_eq!(ask(&pool, "echo warm").await.unwrap(), "warm");
    let failure = ask(&pool, "spin").await.unwrap_err();
    assert_eq!(failure.code(), code::LIMIT_TIME, "{failure}");
    assert!(failure.to_string().contains("cpu_s"), "{failure}");
}

#[tokio::test]
async fn a_memory_hog_ends_as_a_memory_limit() {
    let pool = pool(Config { memory_mb: 512, ..one() });
    for verb in ["hog", "hog_in_c"] {
        let failure = ask(&pool, verb).await.unwrap_err();
        assert_eq!(failure.code(), code::LIMIT_MEMORY, "{verb}: {failure}");
    }
    assert_eq!(ask(&pool, "echo on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_panic_is_a_defect_with_its_words() {
    let pool = pool(one());
    let failure = ask(&pool, "panic").await.unwrap_err();
    assert_eq!(failure.code(), code::DEFECT);
    assert!(failure.to_string().contains("a broken invariant"), "{failure}");
}

#[tokio::test]
async fn a_dropped_call_kills_its_child_and_the_next_one_is_in_step() {
    let pool = pool(one());
    ask(&pool, "echo warm").await.unwrap();
    let abandoned = tokio::time::timeout(Duration::from_millis(200), pool.call(None, b"sleep"));
    assert!(abandoned.await.is_err());
    assert_eq!(ask(&pool, "echo in step").await.unwrap(), "in step");
    assert_eq!(pool.stats().starts, 2);
}

#[tokio::test]
async fn waiting_calls_share_the_children() {
    let pool = Arc::new(pool(Config { children: Some(2), ..Config::default() }));
    let calls = (0..20).map(|i| {
        let pool = Arc::clone(&pool);
        async move { ask(&pool, &format!("echo {i}")).await.unwrap() == i.to_string() }
    });
    assert!(futures::future::join_all(calls).await.into_iter().all(|same| same));
    assert_eq!(pool.stats().starts, 2);
}

#[tokio::test]
async fn an_old_child_is_replaced() {
    let pool = pool(Config { requests_per_child: 2, ..one() });
    for _ in 0..5 {
        ask(&pool, "echo x").await.unwrap();
    }
    assert_eq!((pool.stats().starts, pool.stats().recycled), (3, 2));
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let pool = pool(Config { answer_mb: 0, ..one() });
    let failure = ask(&pool, "echo too much").await.unwrap_err();
    assert!(failure.to_string().contains("answer_mb"), "{failure}");
}

#[tokio::test]
async fn what_a_library_prints_does_not_disturb_the_protocol() {
    let pool = pool(one());
    assert_eq!(ask(&pool, "print").await.unwrap(), "printed");
    assert_eq!(ask(&pool, "echo on").await.unwrap(), "on");
}

#[tokio::test]
async fn landlock_shuts_files_and_the_network() {
    let open = tempfile::tempdir().unwrap();
    let (readable, secret) = (open.path().join("readable"), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(&readable, "abc").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = pool(Config { readable: vec![open.path().to_owned()], ..one() });
    if ask(&pool, "landlock").await.unwrap() != "full" {
        panic!("this kernel has no landlock; the sandbox cannot be tested here");
    }
    assert_eq!(ask(&pool, &format!("read {}", readable.display())).await.unwrap(), "Ok(3)");
    for request in [
        "read /etc/passwd".to_owned(),
        format!("read {}", secret.path().display()),
        format!("write {}", readable.display()),
        format!("write {}", open.path().join("new").display()),
        format!("connect {}", listener.local_addr().unwrap()),
    ] {
        assert_eq!(ask(&pool, &request).await.unwrap(), "Err(PermissionDenied)", "{request}");
    }
    // The same would succeed outside.
    assert!(
        std::fs::read("/etc/passwd").is_ok() && std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok()
    );
}

#[tokio::test]
async fn a_child_starts_nothing_speaks_to_nobody_and_changes_nothing() {
    let pool = pool(one());
    for way in [
        "udp",
        "tcp",
        "unix",
        "raw",
        "netlink",
        "chmod",
        "chown",
        "utimes",
        "fork",
        "vfork",
        "exec",
        "setsid",
        "setpgid",
        "user namespace",
        "keyctl",
        "ptrace",
        "parent",
        "memfd",
        "io_uring",
        "setuid",
        "raise limits of others",
        "more memory",
        "die later",
    ] {
        assert_eq!(ask(&pool, &format!("escape {way}")).await.unwrap(), "permission denied", "{way}");
    }
    assert_eq!(ask(&pool, "escape clone3").await.unwrap(), "unsupported");
    assert_eq!(ask(&pool, "thread").await.unwrap(), "a thread", "threads of its own it may have");
    assert_eq!((pool.stats().starts, pool.stats().deaths), (1, 0), "one child, and it lives");
}

#[tokio::test]
async fn a_child_has_a_bare_environment_and_dies_with_its_parent() {
    let pool = pool(one());
    let names = ask(&pool, "environment").await.unwrap();
    // PWD, OLDPWD, SHLVL and _ are the shell's, which only this test has in between.
    let own: Vec<&str> = names.split(' ').filter(|n| !["PWD", "OLDPWD", "SHLVL", "_"].contains(n)).collect();
    assert_eq!(own, ["DECKLE_SANDBOX_LIMITS", CHILD, "MALLOC_ARENA_MAX", "OMP_THREAD_LIMIT"]);
    assert_eq!(ask(&pool, "death_signal").await.unwrap(), libc::SIGKILL.to_string());
}

#[tokio::test]
async fn a_closed_pool_finishes_what_runs_and_refuses_the_rest() {
    let pool = pool(one());
    ask(&pool, "echo warm").await.unwrap();
    let (running, ()) = tokio::join!(ask(&pool, "echo last"), async {
        tokio::task::yield_now().await;
        pool.close().await;
    });
    assert_eq!(running.unwrap(), "last");
    assert_eq!(ask(&pool, "echo late").await.unwrap_err().code(), code::UNAVAILABLE);
}

#[tokio::test]
async fn a_missing_program_is_unavailable() {
    let pool = Pool::new("/nowhere/deckle".into(), Vec::new(), Vec::new(), one());
    assert_eq!(pool.call(None, b"x").await.unwrap_err().code(), code::UNAVAILABLE);
}

/// What a decoder hears whose child says that something is missing.
async fn told_that_is_missing(missing: &str) -> Failure {
    let pool = pool_with(&[(MISSING, missing)], one());
    let decoders = Decoders::new(Arc::new(pool), decode::Config::default());
    decoders.read_page(&file("text"), "application/pdf", 1, None).await.unwrap_err()
}

#[tokio::test]
async fn what_a_child_says_is_missing_is_believed_where_another_misses_it_too() {
    let missing = told_that_is_missing("pdfium really").await;
    assert_eq!(missing, Failure::unavailable("pdfium", "not there"));
    // A stage would wait for it without end.
    for claimed in ["pdfium", "store"] {
        let told = told_that_is_missing(claimed).await;
        assert!(matches!(&told, Failure::Transient { message } if message.contains("not there")), "{told:?}");
    }
}
