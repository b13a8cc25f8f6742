//! Connections to the store's file: one thread that writes, a few that read, none on the async runtime.
//!
//! The law: a write is answered after its transaction is on the disk. Writes that wait together share one transaction,
//! and so one fsync; each stands behind its own savepoint, so that a failing one takes no other with it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, functions::FunctionFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    super::{json::decode, keywords},
    Config,
};
use deckle_contract::{
    error::{Failure, Result},
    telemetry,
};

/// Applied in order, each once; an entry is never altered after a release.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_tables.sql"),
    include_str!("0002_letters.sql"),
    include_str!("0003_reads.sql"),
    include_str!("0004_erasures.sql"),
    include_str!("0005_models.sql"),
    include_str!("0006_search.sql"),
    include_str!("0007_claims.sql"),
];

/// Bytes. Holds five vectors of 384 floats with 5 % waste; SQLite's own 4096 would hold two and waste a quarter.
const PAGE_SIZE: u32 = 8192;

/// Writes that may share a transaction: enough to hide the fsync, few enough that readers of the WAL see them soon.
const GROUP: usize = 64;

/// What SQLite said, as the failure that callers decide on.
pub(super) fn failure(error: rusqlite::Error) -> Failure {
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory,
        ) => Failure::unavailable("store", message),
        _ => Failure::defect(format!("store: {message}")),
    }
}

/// One write: runs inside the shared transaction, is answered after it.
trait Job: Send {
    /// Whether its savepoint shall be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers the caller, given the fate of the transaction.
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Write<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Job for Write<T, F> {
    fn run(&mut self, connection: &Connection) -> bool {
        self.outcome = self.work.take().map(|work| work(connection));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let outcome = self.outcome.unwrap_or_else(|| Err(Failure::defect("store: a write was never run")));
        // A caller that went away needs no answer.
        let _ = self.caller.send(committed.and(outcome));
    }
}

/// The writer and the readers of one file.
pub(super) struct Connections {
    /// To the thread that writes; it ends when this is dropped.
    writer: mpsc::Sender<Box<dyn Job>>,
    /// Connections at rest.
    readers: Arc<Mutex<Vec<Connection>>>,
    /// The permits to read, as many as there may be readers at once.
    permits: Arc<Semaphore>,
    path: PathBuf,
    config: Config,
}

impl Connections {
    /// Opens the file, makes it where it is missing, and brings its tables up to date.
    pub(super) fn open(path: &Path, config: Config) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| Failure::unavailable("store", format!("cannot make {}: {e}", folder.display())))?;
        }
        let mut connection = patiently(config.busy_timeout(), || create(path, &config))?;
        migrate(&mut connection)?;

        let (writer, jobs) = mpsc::channel(GROUP);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_all(&mut connection, jobs))
            .map_err(|e| Failure::unavailable("store", format!("cannot start the writer: {e}")))?;
        Ok(Self {
            writer,
            readers: Arc::default(),
            permits: Arc::new(Semaphore::new(config.readers.max(1))),
            path: path.to_owned(),
            config,
        })
    }

    /// Runs `work` in a write transaction and returns once it is durable.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let stopped = || Failure::unavailable("store", "the writer has stopped");
        let _request = telemetry::store_request("write");
        self.writer.send(Box::new(Write { work: Some(work), outcome: None, caller })).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs `work` in one read transaction: everything it reads is of one moment.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let _request = telemetry::store_request("read");
        let permit = self.permits.clone().acquire_owned().await.map_err(|e| Failure::defect(format!("store: {e}")))?;
        let (readers, path, config) = (self.readers.clone(), self.path.clone(), self.config.clone());
        let reading = tokio::task::spawn_blocking(move || {
            // Held here, so that a cancelled caller does not free a place that is still in use.
            let _permit = permit;
            let resting = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match resting {
                Some(connection) => connection,
                None => connect(&path, &config).map_err(failure)?,
            };
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred).map_err(failure)?;
            let outcome = work(&transaction);
            // Nothing was written; the rollback only ends the snapshot. A connection that cannot is not kept.
            transaction.finish().map_err(failure)?;
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            outcome
        });
        reading.await.map_err(|e| Failure::defect(format!("store: a read ended early: {e}")))?
    }

    /// Writes the write-ahead log back into the file and empties it, so that what was deleted is in neither. Whoever
    /// reads at that moment is waited for as for any lock; where that takes too long, the log goes with the next
    /// checkpoint.
    pub(super) async fn empty_write_ahead_log(&self) -> Result<()> {
        let (path, config) = (self.path.clone(), self.config.clone());
        let emptying = tokio::task::spawn_blocking(move || {
            let connection = connect(&path, &config)?;
            let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if is_busy {
                tracing::warn!("what was erased stays in the write-ahead log until its next checkpoint");
            }
            Ok(())
        });
        emptying.await.map_err(|e| Failure::defect(format!("store: a checkpoint ended early: {e}")))?.map_err(failure)
    }
}

/// Serves writes until the last sender is gone.
fn write_all(connection: &mut Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = jobs.try_recv()
        {
            group.push(next);
        }
        let committed = write_group(connection, &mut group);
        for job in group {
            job.answer(committed.clone());
        }
    }
}

/// One transaction for all of a group; an error means that nothing of it was written.
fn write_group(connection: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    for job in group {
        transaction.execute_batch("SAVEPOINT job").map_err(failure)?;
        let keep = job.run(&transaction);
        if transaction.is_autocommit() {
            // A full disk or an I/O error ends the whole transaction, not only the savepoint.
            return Err(Failure::unavailable("store", "the transaction was rolled back"));
        }
        let end = if keep { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        transaction.execute_batch(end).map_err(failure)?;
    }
    transaction.commit().map_err(failure)
}

/// Opens the file for writing; only here are the settings that the file itself keeps.
fn create(path: &Path, config: &Config) -> rusqlite::Result<Connection> {
    let connection = connect(path, config)?;
    // Without effect once the file has content.
    connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The log's positions move on after a write here, so a power cut must not lose it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Erased text must not linger in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

/// Opens the file as readers and the writer alike need it.
fn connect(path: &Path, config: &Config) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.busy_timeout())?;
    // More than the statements of this module.
    connection.set_prepared_statement_cache_capacity(64);
    // Asked by triggers on `chunks`.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("words_of", 1, flags, |context| {
        let chunk = decode(context.get_raw(0).as_str()?);
        chunk.map(|chunk| keywords::of_chunk(&chunk)).map_err(|e| rusqlite::Error::UserFunctionError(Box::new(e)))
    })?;
    Ok(connection)
}

/// Applies what is missing. Processes that open at once take turns.
fn migrate(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failure)?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT")
        .map_err(failure)?;
    let applied: u32 =
        transaction.query_row("SELECT count(*) FROM migrations", [], |row| row.get(0)).map_err(failure)?;
    if applied as usize > MIGRATIONS.len() {
        return Err(Failure::defect(format!(
            "the store was written by a newer deckle (schema {applied}, this one knows {}): use that version",
            MIGRATIONS.len()
        )));
    }
    for (number, sql) in (1_u32..).zip(MIGRATIONS).skip(applied as usize) {
        transaction.execute_batch(sql).map_err(failure)?;
        transaction.execute("INSERT INTO migrations (number) VALUES (?1)", [number]).map_err(failure)?;
    }
    transaction.commit().map_err(failure)
}

/// Repeats an opening that finds the file busy: the change to WAL at a first start does not wait by itself.
#[expect(clippy::disallowed_methods, reason = "opening blocks, once, before anything runs")]
fn patiently<T>(limit: Duration, mut attempt: impl FnMut() -> rusqlite::Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome.map_err(failure),
        }
    }
}

/// Runs one statement; gives the number of rows that it changed.
pub(super) fn execute(tx: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
    tx.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(failure)
}
