//! The SQLite side, and what only it promises.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use deckle::log::{
    Log, Topic,
    sqlite::{Config, SqliteLog, TopicConfig},
};
use tempfile::TempDir;

use crate::log_laws::side::{Bench, Side};

/// One file per test.
pub struct OnSqlite;

/// Short enough for tests, long enough for a busy machine.
pub const CONFIG: Config = Config {
    lease_ms: 3_000,
    heartbeat_ms: 500,
    revoke_ms: 1_000,
    poll_ms: 10,
    busy_ms: 10_000,
    fetch_bytes: 4 << 20,
    fetch_records: 16,
};

#[async_trait]
impl Side for OnSqlite {
    async fn bench(&self, topics: &[(&str, i32)]) -> Box<dyn Bench> {
        let folder = tempfile::tempdir().unwrap();
        Box::new(File { path: folder.path().join("log.db"), _folder: folder, topics: topic_configs(topics) })
    }

    fn dead_after(&self) -> Duration {
        Duration::from_millis(CONFIG.lease_ms - CONFIG.heartbeat_ms)
    }
}

fn topic_configs(topics: &[(&str, i32)]) -> Vec<TopicConfig> {
    topics.iter().map(|(name, partitions)| TopicConfig { name: Topic::from(*name), partitions: *partitions }).collect()
}

struct File {
    path: PathBuf,
    _folder: TempDir,
    topics: Vec<TopicConfig>,
}

#[async_trait]
impl Bench for File {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(SqliteLog::open(&self.path, &self.topics, CONFIG).unwrap())
    }

    fn topic(&self, short: &str) -> Topic {
        Topic::from(short)
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.iter().map(|topic| topic.name.clone()).collect()
    }
}

/// What only this side promises: several processes on one file, and a crash in the middle of a write.
mod promises {
    use std::{
        collections::BTreeMap,
        path::Path,
        process::{Child, Command, Stdio},
        time::Instant,
    };

    use deckle::log::{Event, From, NewRecord, Position, Record, Step, sqlite::SqliteLog};

    use super::*;
    use crate::log_laws::member::{Member, new_record, numbered, read_all, text, within};

    /// Tells the child of a test where to work.
    const FILE: &str = "DECKLE_TEST_LOG_FILE";
    /// Outputs of one step of the child, spread over two partitions.
    const OUTPUTS: usize = 40;

    fn topics() -> Vec<TopicConfig> {
        topic_configs(&[("in", 1), ("out", 2)])
    }

    fn open(path: &Path) -> SqliteLog {
        SqliteLog::open(path, &topics(), CONFIG).unwrap()
    }

    /// This test binary again, as another process that runs one "test" of it.
    fn child(test: &str, path: &Path) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([&format!("log_laws::sqlite::promises::{test}"), "--exact", "--nocapture"])
            .env(FILE, path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Not a law: the other process of the tests below. Alone it has nothing to do.
    #[tokio::test]
    async fn child_copies_until_it_is_killed() {
        let Some(path) = std::env::var_os(FILE) else { return };
        let log = open(Path::new(&path));
        let mut member = Member::join(&log, "g", "child", &["in".into()]).await;
        loop {
            let from = member.seen.len();
            member.until("a record", |member| member.seen.len() > from).await;
            for record in &member.seen[from..].to_vec() {
                member.writer.commit(&copies(record)).await.unwrap();
            }
        }
    }

    /// The step of one record: many outputs that name it.
    fn copies(record: &Record) -> Step {
        let output = |at: usize| NewRecord {
            value: bytes::Bytes::from(text(record)),
            ..new_record(&"out".into(), &format!("{}/{at}", text(record)))
        };
        let positions = [(record.partition.clone(), Position::at(record.offset + 1))].into();
        Step { outputs: (0..OUTPUTS).map(output).collect(), positions }
    }

    #[tokio::test]
    async fn a_step_survives_kill_9_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let log = open(&path);
        let total = 3_000;
        log.append(numbered(&"in".into(), 0..total)).await.unwrap();
        let mut tail = log.tail(&["out".into()], From::Start).await.unwrap();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let seed = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs();
        println!("seed {seed}");
        let mut random = u64::from(seed) | 1;
        for round in 0..8 {
            let mut process = child("child_copies_until_it_is_killed", &path);
            // Killed some steps after its first one is seen, at any point of a step.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let steps = (random >> 33) as usize % 20;
            let mut seen = 0;
            while seen <= steps * OUTPUTS {
                for record in within("the child works", tail.next()).await.unwrap() {
                    *counts.entry(text(&record)).or_default() += 1;
                    seen += 1;
                }
            }
            let spin = Instant::now();
            while spin.elapsed() < Duration::from_micros((random >> 40) % 3_000) {
                std::hint::spin_loop();
            }
            process.kill().unwrap();
            process.wait().unwrap();
            loop {
                let records = tail.ready().await.unwrap();
                if records.is_empty() {
                    break;
                }
                records.iter().for_each(|record| *counts.entry(text(record)).or_default() += 1);
            }
            let torn: Vec<_> = counts.iter().filter(|(_, count)| **count != OUTPUTS).collect();
            assert!(torn.is_empty(), "seed {seed}, round {round}: {torn:?}");
            let lag = log.lag("g", &["in".into()]).await.unwrap()[0].records as usize;
            assert_eq!(total - lag, counts.len(), "seed {seed}, round {round}: position and outputs agree");
        }
        assert!(counts.len() < total, "the child ran out of work: nothing was torn because nothing was written");
    }

    #[tokio::test]
    async fn another_process_is_heard_within_its_poll() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let (log, mut process) = (open(&path), child("child_copies_until_it_is_killed", &path));
        let mut tail = log.tail(&["out".into()], From::Start).await.unwrap();
        log.append(numbered(&"in".into(), 0..1)).await.unwrap();
        read_all(&mut *tail, OUTPUTS).await;
        let mut took = Vec::new();
        for at in 1..30 {
            let began = Instant::now();
            log.append(numbered(&"in".into(), at..at + 1)).await.unwrap();
            read_all(&mut *tail, OUTPUTS).await;
            took.push(began.elapsed());
        }
        process.kill().unwrap();
        process.wait().unwrap();
        took.sort();
        println!("there and back: median {:?}, slowest {:?}", took[took.len() / 2], took[took.len() - 1]);
        assert!(took[took.len() / 2] < Duration::from_millis(CONFIG.poll_ms * 10), "{took:?}");
    }

    #[tokio::test]
    async fn once_a_part_of_a_step_is_seen_the_rest_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let (writing, reading) = (open(&path), open(&path));
        writing.append(numbered(&"in".into(), 0..50)).await.unwrap();
        let mut member = Member::join(&writing, "g", "a", &["in".into()]).await;
        let records = member.read(50).await;
        let mut tail = reading.tail(&["out".into()], From::Start).await.unwrap();
        let write = async {
            for record in &records {
                member.writer.commit(&copies(record)).await.unwrap();
            }
        };
        let read = async {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            while counts.values().sum::<usize>() < 50 * OUTPUTS {
                let mut some = within("records", tail.next()).await.unwrap();
                // What is there now, up to the last of it; steps may be added meanwhile, but none by half.
                while !some.is_empty() {
                    some.iter().for_each(|record| *counts.entry(text(record)).or_default() += 1);
                    some = tail.ready().await.unwrap();
                }
                assert!(counts.values().all(|count| *count == OUTPUTS), "{counts:?}");
            }
        };
        tokio::join!(write, read);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_by_bytes_and_by_records() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { fetch_bytes: 10_000, fetch_records: 50, ..CONFIG };
        let log = SqliteLog::open(&folder.path().join("log.db"), &topics(), config).unwrap();
        let large = |at: usize| NewRecord { value: vec![0; 3_000].into(), ..new_record(&"in".into(), &at.to_string()) };
        log.append((0..20).map(large).collect()).await.unwrap();
        log.append(numbered(&"in".into(), 20..200)).await.unwrap();
        let (mut reader, _writer) = log.join("g", "a", &["in".into()]).await.unwrap();
        let mut batches = Vec::new();
        while batches.iter().sum::<usize>() < 200 {
            if let Event::Records(records) = within("records", reader.next()).await.unwrap() {
                batches.push(records.len());
            }
        }
        assert_eq!(batches[..5], [4; 5]);
        assert!(batches.iter().all(|count| *count <= 50), "{batches:?}");
    }

    #[tokio::test]
    async fn what_was_trimmed_is_in_no_file_once_it_is_scrubbed() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder.path().join("log.db"));
        let secret = |at: usize| NewRecord {
            value: format!("hush, said the {at}th").repeat(500).into(),
            ..new_record(&"in".into(), "key")
        };
        log.append((0..20).map(secret).collect()).await.unwrap();
        // Records that stay, so that the file keeps its pages.
        log.append(numbered(&"out".into(), 0..100)).await.unwrap();
        let holds = || {
            let files = std::fs::read_dir(folder.path()).unwrap();
            let bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
            bytes.into_iter().any(|bytes| bytes.windows(4).any(|window| window == b"hush"))
        };
        assert!(holds());
        assert_eq!(log.trim(&[("in".into(), Vec::new())], i64::MAX).await.unwrap(), 20);
        log.scrub().await.unwrap();
        assert!(!holds());
    }

    #[tokio::test]
    async fn results_go_when_they_are_old_and_every_group_is_past_them() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(&folder.path().join("log.db"));
        log.append(numbered(&"in".into(), 0..20)).await.unwrap();
        let (topic, groups) = ("in".into(), ["g".to_owned()]);
        assert_eq!(log.expire(&topic, &groups, i64::MAX).await.unwrap(), 0, "nobody has read them");
        let mut member = Member::join(&log, "g", "a", &["in".into()]).await;
        member.until("all records", |member| member.seen.len() == 20).await;
        for record in member.seen.clone() {
            let positions = [(record.partition.clone(), Position::at(record.offset + 1))].into();
            member.writer.commit(&Step { outputs: Vec::new(), positions }).await.unwrap();
        }
        let first = member.seen[0].appended_at_us;
        assert_eq!(log.expire(&topic, &groups, first).await.unwrap(), 0, "none is older");
        assert_eq!(log.expire(&topic, &groups, i64::MAX).await.unwrap(), 20);
    }

    #[tokio::test]
    async fn a_topic_keeps_its_partitions_and_an_unknown_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        drop(open(&path));
        let log = SqliteLog::open(&path, &topic_configs(&[("out", 9), ("new", 1)]), CONFIG).unwrap();
        log.append(numbered(&"out".into(), 0..100)).await.unwrap();
        let mut tail = log.tail(&["out".into()], From::Start).await.unwrap();
        assert!(read_all(&mut *tail, 100).await.iter().all(|record| record.partition.number < 2));
        let unknown = log.append(numbered(&"nowhere".into(), 0..1)).await.unwrap_err();
        assert!(unknown.to_string().starts_with("log.unknown_topic: nowhere"), "{unknown}");
    }
}
