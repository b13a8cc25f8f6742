//! Who connects to `deckle run` and says nothing takes neither its descriptors nor its answers; and it has as many
//! descriptors as the system grants.

use std::{process::Stdio, time::Duration};

use rlimit::Resource;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::support::{self, Home, Started};

/// More than three times as many as are accepted at once.
const SILENT: usize = 400;

/// How often descriptors are counted while an answer is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// How many descriptors a process has.
fn descriptors(run: &Started) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.pid())).unwrap().count()
}

/// The soft and the hard limit of a process's open files (proc(5)).
fn open_files(run: &Started) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_take_no_descriptors_and_no_answers() {
    let home = Home::new();
    let (run, address) = support::working(&home, &["--stage", "publish"]).await;
    let before = descriptors(&run);
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let mut stream = support::within("a connection", TcpStream::connect(&address)).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: ").await.unwrap();
        }
        silent.push(stream);
    }
    let mut most = descriptors(&run);
    let mut asked = std::pin::pin!(support::get(&address, "/readyz"));
    let answer = loop {
        tokio::select! {
            answer = &mut asked => break answer,
            () = tokio::time::sleep(LOOK) => most = most.max(descriptors(&run)),
        }
    };
    most = most.max(descriptors(&run));
    assert_eq!(answer, (200, "ready\n".to_owned()));
    assert!(most < before + SILENT / 2, "{most} descriptors, {before} before {SILENT} connections");
    for mut stream in silent {
        // However it ends; that it was cut off in its request may be told as an error.
        let _ = support::within("the end of a silent connection", stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_and_process_may_open_as_many_files_as_the_system_grants() {
    const SOFT: u64 = 256;
    let hard = Resource::NOFILE.get_hard().unwrap().min(1000);
    assert!(hard > SOFT, "on this machine nothing can be raised");
    let restrict = |command: &mut Command| {
        // SAFETY: between fork and exec it makes one system call, and takes neither memory nor locks.
        unsafe { command.pre_exec(move || Resource::NOFILE.set(SOFT, hard)) };
        Started::new(command.stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let home = Home::new();
    support::write_texts(home.path(), 0, 1);
    for arguments in [["run", "--listen", ""].as_slice(), &["process", "observation-0000.txt"]] {
        let run = restrict(&mut home.command(arguments));
        support::until(&format!("{arguments:?} with the limits raised"), || {
            (open_files(&run) == (hard, hard)).then_some(())
        })
        .await;
    }
}
