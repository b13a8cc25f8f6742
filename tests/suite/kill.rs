//! Killed at any moment and started again, deckle ends where an undisturbed run ends.

use std::{collections::BTreeSet, path::Path, time::Duration};

use deckle::contract::record::{Published, Uploaded};

use crate::support::{self, Dice, Home, Process, Started};

/// How long a process lives before it is killed, from when it has opened its log: from the first records in flight to
/// a few seconds' work.
const LIFE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_200));

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_it_ends_like_an_undisturbed_run() {
    killed_again_and_again(20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn killed_a_hundred_times_it_ends_like_an_undisturbed_run() {
    killed_again_and_again(100).await;
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Process,
    Group,
    /// A sandbox child first, then the process.
    ChildThenProcess,
}

async fn killed_again_and_again(kills: usize) {
    let mut dice = Dice::new();
    let inbox = tempfile::tempdir().unwrap();
    let (disturbed, undisturbed) = (Home::new(), Home::new());
    let mut children = BTreeSet::new();
    let (mut at_work, mut child_kills) = (0, 0);
    for kill in 0..kills {
        // Fresh documents for each life, so that it always dies at work.
        support::write_texts(inbox.path(), kill * 4, 4);
        let sample = ["mixed.pdf", "letter.png", "handbook.pdf", "photo.jpg"][kill % 4];
        support::write_copy(inbox.path(), sample, kill);

        let mut process = start(&disturbed, inbox.path());
        let log = disturbed.join("data/log.sqlite");
        support::until("the log is open", || (process.has_open(&log) || process.ended().is_some()).then_some(())).await;
        let blow = match kill % 5 {
            0 => Blow::ChildThenProcess,
            _ if dice.below(2) == 0 => Blow::Group,
            _ => Blow::Process,
        };
        let life = dice.delay(LIFE.0, LIFE.1);
        println!("kill {kill}: {blow:?} after {life:?}");
        if matches!(blow, Blow::ChildThenProcess) {
            child_kills += usize::from(kill_a_child(&mut process, &mut dice).await);
        }
        // The moment of death is what the test is about; nothing is waited for here.
        tokio::time::sleep(life).await;
        match process.ended() {
            None => at_work += 1,
            Some(status) => println!("it had ended: {status}, {}", complaints(&disturbed)),
        }
        children.extend(process.descendants());
        match blow {
            Blow::Group => process.signal_group(libc::SIGKILL),
            Blow::Process | Blow::ChildThenProcess => process.signal(libc::SIGKILL),
        }
        process.wait().await;
    }
    println!("{at_work} of {kills} killed at work, {child_kills} children killed alone");
    assert!(at_work * 10 >= kills * 9, "only {at_work} of {kills} died at work: give them more");
    assert!(child_kills > 0, "no sandbox child was killed alone");

    let mut last = start(&disturbed, inbox.path());
    assert!(kill_a_child(&mut last, &mut dice).await, "the last run reads documents");
    children.extend(last.descendants());
    assert_eq!(last.wait().await.code(), Some(1), "the bad files fail, the rest is done: {}", complaints(&disturbed));
    let mut quiet = start(&undisturbed, inbox.path());
    assert_eq!(
        quiet.wait().await.code(),
        Some(1),
        "the bad files fail, the rest is done: {}",
        complaints(&undisturbed)
    );

    support::until("no sandbox child outlives its process", || {
        children.iter().all(|child: &Process| !child.is_alive()).then_some(())
    })
    .await;
    assert_same_store(&disturbed, &undisturbed).await;
    support::assert_same_exports(&disturbed, &undisturbed);
    assert_few_temporary_files(&disturbed, kills);
}

fn start(home: &Home, inbox: &Path) -> Started {
    let out = home.join("out");
    let mut command = home.command(["process"]);
    command.args([&support::samples(), &support::bad()]).arg(inbox).arg("--out").arg(out);
    // What the last one complained of stays beside its data, to be shown when it did not end as it should.
    let complaints = std::fs::File::create(home.join("stderr")).unwrap();
    command.stdout(std::process::Stdio::null()).stderr(complaints);
    Started::new(&mut command)
}

fn complaints(home: &Home) -> String {
    std::fs::read_to_string(home.join("stderr")).unwrap()
}

/// Kills one of the process's sandbox children, and it alone; false when the process ended before it had one.
async fn kill_a_child(process: &mut Started, dice: &mut Dice) -> bool {
    let children = support::until("a sandbox child", || {
        let children: Vec<Process> = process.descendants().into_iter().collect();
        (!children.is_empty() || process.ended().is_some()).then_some(children)
    })
    .await;
    let Some(last) = children.len().checked_sub(1) else { return false };
    let child = children[usize::try_from(dice.below(last as u64 + 1)).unwrap()];
    support::send(child.pid, libc::SIGKILL);
    true
}

async fn assert_same_store(disturbed: &Home, undisturbed: &Home) {
    let (ours, theirs) = (disturbed.app(), undisturbed.app());
    let (all_ours, all_theirs) = (support::all_seen(&ours).await, support::all_seen(&theirs).await);
    assert!(all_ours.keys().eq(all_theirs.keys()), "other documents");
    for (key, seen) in &all_ours {
        seen.assert_like(&all_theirs[key]);
    }
    for app in [&ours, &theirs] {
        support::assert_each_end_is_told_once(app).await;
        let ends: Vec<Published> = support::events(app).await;
        assert_eq!(ends.len(), all_ours.len(), "each document was asked for once, and ended once");
        let uploads: Vec<Uploaded> = support::events(app).await;
        let asked: BTreeSet<_> = uploads.into_iter().map(|upload| upload.envelope.upload_id).collect();
        assert_eq!(asked.len(), all_ours.len(), "the same file again is the same submission");
    }
    assert_eq!(support::letters(&ours).await, support::letters(&theirs).await, "other dead letters");
}

/// What a crash leaves half written may stay for a while, but no more than was being written.
fn assert_few_temporary_files(home: &Home, kills: usize) {
    const AT_ONCE: usize = 32;
    let left = support::files(&home.join("data/blobs/.tmp")).len();
    println!("{left} temporary files left");
    assert!(left <= kills * AT_ONCE, "{left} temporary files after {kills} kills");
    let instances = support::files(&home.join("data/instances"));
    assert_eq!(instances.len(), 2, "one process at a time has one lock and one journal: {:?}", instances.keys());
}
