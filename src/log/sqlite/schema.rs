//! Connections to the file, its tables, and the thread that owns a connection.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::{Config, TopicConfig};
use crate::Topic;
use deckle_contract::error::{Failure, Result};

/// `PRAGMA user_version` of a file that this code reads and writes.
const VERSION: i64 = 1;

/// A record's row id is its partition's id above this many bits of offset: one tree, one place where a partition grows.
const OFFSET_BITS: u32 = 40;

const TABLES: &str = "
CREATE TABLE topics (
    name TEXT PRIMARY KEY,
    partitions INTEGER NOT NULL
) STRICT;
CREATE TABLE partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL REFERENCES topics (name),
    number INTEGER NOT NULL,
    start_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
) STRICT;
CREATE TABLE records (
    id INTEGER PRIMARY KEY,              -- partition << 40 | offset
    appended_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    headers TEXT NOT NULL,               -- a JSON object of strings
    value BLOB NOT NULL
) STRICT;
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_appended_us INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0);
CREATE TABLE positions (
    group_name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    done TEXT NOT NULL,                  -- Position::encode
    PRIMARY KEY (group_name, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL          -- moves when members must look at the leases again
) STRICT;
CREATE TABLE members (
    group_name TEXT NOT NULL,
    member TEXT NOT NULL,
    incarnation INTEGER NOT NULL,        -- tells a restarted member from the one before
    topics TEXT NOT NULL,                -- a JSON array
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (group_name, member)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (
    group_name TEXT NOT NULL,
    partition INTEGER NOT NULL,
    member TEXT,                         -- null: free
    incarnation INTEGER,
    epoch INTEGER NOT NULL,              -- rises with every new owner
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition)
) STRICT, WITHOUT ROWID;
";

/// Opens the file, and makes its tables when it is new.
#[expect(clippy::disallowed_methods, reason = "opening blocks, once, before anything runs")]
pub(super) fn connect(path: &Path, config: &Config) -> Result<Connection> {
    let opened = || -> rusqlite::Result<Connection> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_millis(config.busy_ms))?;
        connection.set_prepared_statement_cache_capacity(64);
        // The first connections of several processes race for the change to WAL, which the busy timeout does not cover.
        let deadline = Instant::now() + Duration::from_millis(config.busy_ms);
        while let Err(error) = connection.pragma_update(None, "journal_mode", "wal") {
            if !is_busy(&error) || Instant::now() > deadline {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(1));
        }
        // FULL: a commit that was reported survives a power cut.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -8_192)?;
        // 4 MiB is one full step: with the default of 1,000 pages nearly every step would pay for a checkpoint.
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // What was trimmed, file names and passwords of producers among it, must not linger in free pages.
        connection.pragma_update(None, "secure_delete", true)?;
        let transaction = begin_write(&mut connection)?;
        if version(&transaction)? == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        Ok(connection)
    };
    let at = |message: String| format!("{message} ({})", path.display());
    let connection = opened().map_err(|error| Failure::unavailable("log", at(error.to_string())))?;
    match version(&connection).map_err(failure)? {
        VERSION => Ok(connection),
        other => Err(Failure::defect(at(format!("log.schema_version: {other}, and this deckle reads {VERSION}")))),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes topics that are missing. Returns all topics of the file with the ids of their partitions.
pub(super) fn ensure_topics(connection: &mut Connection, topics: &[TopicConfig]) -> Result<BTreeMap<Topic, Vec<i64>>> {
    let mut ensure = || -> rusqlite::Result<BTreeMap<Topic, Vec<i64>>> {
        let transaction = begin_write(connection)?;
        for topic in topics {
            let known: Option<i32> = transaction
                .query_row("SELECT partitions FROM topics WHERE name = ?", [&*topic.name], |row| row.get(0))
                .optional()?;
            match known {
                None => {
                    let count = topic.partitions.max(1);
                    transaction.execute("INSERT INTO topics VALUES (?, ?)", (&*topic.name, count))?;
                    for number in 0..count {
                        let insert = "INSERT INTO partitions (topic, number) VALUES (?, ?)";
                        transaction.execute(insert, (&*topic.name, number))?;
                    }
                }
                // Other partitions would tear keys apart that have records waiting.
                Some(count) if count != topic.partitions => {
                    tracing::warn!(topic = %topic.name, has = count, configured = topic.partitions, "topic keeps its partitions");
                }
                Some(_) => {}
            }
        }
        let mut all: BTreeMap<Topic, Vec<i64>> = BTreeMap::new();
        let mut select = transaction.prepare("SELECT topic, id FROM partitions ORDER BY topic, number")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            all.entry(Arc::from(row.get::<_, String>(0)?)).or_default().push(row.get(1)?);
        }
        drop(rows);
        drop(select);
        transaction.commit()?;
        Ok(all)
    };
    ensure().map_err(failure)
}

/// A transaction that may write from its first statement on, so that it never fails half way for want of the lock.
pub(super) fn begin_write(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// The row id of a record.
pub(super) fn row_id(partition_id: i64, offset: i64) -> i64 {
    (partition_id << OFFSET_BITS) | offset
}

/// The offset in a row id.
pub(super) fn offset_of(row_id: i64) -> i64 {
    row_id & ((1 << OFFSET_BITS) - 1)
}

/// Moves when another connection has written, of whichever process.
pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// µs since 1970.
pub(super) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Whether another writer held the file for too long.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What an error of SQLite means to a worker.
pub(super) fn failure(error: rusqlite::Error) -> Failure {
    use ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(
            Code::DatabaseBusy
            | Code::DatabaseLocked
            | Code::CannotOpen
            | Code::SystemIoFailure
            | Code::DiskFull
            | Code::PermissionDenied
            | Code::ReadOnly
            | Code::OutOfMemory,
        ) => Failure::unavailable("log", error.to_string()),
        _ => Failure::defect(format!("log.sqlite: {error}")),
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A connection on a thread of its own, so that no caller blocks the runtime. Jobs run in order; one whose caller went
/// away runs all the same.
pub(super) struct Session {
    jobs: mpsc::Sender<Job>,
}

impl Session {
    /// Starts the thread; it ends with the session.
    pub(super) fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(format!("log-{name}"))
            .spawn(move || {
                for job in queue {
                    job(&mut connection);
                }
            })
            .map_err(|error| Failure::unavailable("log", format!("cannot start a thread: {error}")))?;
        Ok(Self { jobs })
    }

    /// Runs a job and waits for what it returns.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let stopped = || Failure::defect("log.sqlite: the connection's thread has stopped");
        self.jobs.send(Box::new(move |connection| drop(done.send(job(connection))))).map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())
    }
}
