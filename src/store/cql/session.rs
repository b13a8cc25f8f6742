//! A session with the cluster: prepared statements, sent to a replica of their partition, a bounded number at once.
//!
//! The law: every statement is idempotent, so the driver may repeat it at another node, and we may while the cluster is
//! away ([`Attempts`]). Whoever writes names the timestamp in the statement (`USING TIMESTAMP ?`); only compare-and-set
//! leaves it to the nodes.

use std::{ops::ControlFlow, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use scylla::{
    client::{
        caching_session::{CachingSession, CachingSessionBuilder},
        execution_profile::ExecutionProfile,
        session::OpenSsl010Config,
        session_builder::SessionBuilder,
    },
    deserialize::row::DeserializeRow,
    policies::load_balancing::DefaultPolicy,
    response::{PagingState, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::{
        Consistency, SerialConsistency, Statement,
        batch::{Batch, BatchType},
    },
    value::{CqlValue, Row},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Config,
    attempts::{Attempts, Request},
    failure::{failure, malformed},
};
use deckle_contract::{
    error::{Failure, Result},
    telemetry,
};

/// Rows of a page of a result, where the caller has no better number: a page of texts stays below 1 MB.
pub(super) const PAGE: i32 = 500;

/// Bytes of rows in a batch. ScyllaDB warns from 128 KiB on and refuses 1 MiB; Cassandra's limits count only batches
/// of several partitions. A row that alone is larger goes alone, as no batch.
const BATCH_BYTES: usize = 100_000;

/// Rows in a batch: beyond that the nodes gain nothing.
const BATCH_ROWS: usize = 128;

/// Batches of one call in flight.
const BATCHES: usize = 8;

/// Statements kept prepared; more than this module and its neighbours have.
const STATEMENTS: usize = 512;

/// An open session with the database and the consistency that it reads and writes with.
pub(super) struct Session {
    driver: CachingSession,
    write: Consistency,
    read: Consistency,
    permits: Semaphore,
    config: Config,
}

impl Session {
    /// Connects; no keyspace is in use yet.
    ///
    /// # Errors
    /// `Unavailable` where no node answers or lets us in, a defect where the settings make no sense.
    pub(super) async fn connect(config: &Config) -> Result<Self> {
        config.check()?;
        let mut policy = DefaultPolicy::builder().token_aware(true);
        if !config.datacenter.is_empty() {
            policy = policy.prefer_datacenter(config.datacenter.clone());
        }
        let profile = ExecutionProfile::builder()
            .load_balancing_policy(policy.build())
            .request_timeout(Some(config.request_timeout()))
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(config.nodes())
            .connection_timeout(config.connect_timeout())
            .default_execution_profile_handle(profile.into_handle())
            .keyspaces_to_fetch([&config.keyspace]);
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            builder = builder.user(user, password.reveal());
        }
        if config.tls {
            builder = builder.tls_context(Some(encryption(config)?));
        }
        let driver = builder.build().await.map_err(|error| match failure(error) {
            Failure::Unavailable { dependency, message } => {
                Failure::Unavailable { dependency, message: format!("none of {} answers: {message}", config.nodes) }
            }
            other => other,
        })?;
        Ok(Self {
            driver: CachingSessionBuilder::new(driver).max_capacity(STATEMENTS).build(),
            write: config.write_consistency.into(),
            read: config.read_consistency.into(),
            permits: Semaphore::new(config.requests_in_flight),
            config: config.clone(),
        })
    }

    /// The driver's own session, for what is asked of the cluster and not of tables.
    pub(super) fn driver(&self) -> &scylla::client::session::Session {
        self.driver.get_session()
    }

    /// Has every later statement speak of the tables of the configured keyspace, which must be there.
    pub(super) async fn use_keyspace(&self) -> Result<()> {
        self.driver().use_keyspace(&self.config.keyspace, false).await.map_err(failure)
    }

    /// Sends one statement that writes, with the consistency of writes.
    pub(super) async fn write(&self, cql: &str, values: impl SerializeRow) -> Result<()> {
        self.execute(Request::Write, cql, self.write, values).await.map(drop)
    }

    /// Writes rows of one partition, as few unlogged batches as their sizes (`bytes`) allow.
    pub(super) async fn write_all<V>(&self, cql: &str, rows: &[V], bytes: impl Fn(&V) -> usize) -> Result<()>
    where
        V: SerializeRow + Send + Sync,
    {
        let batches: Vec<_> =
            portions(rows, bytes).into_iter().map(|(rows, bytes)| self.write_batch(cql, rows, bytes)).collect();
        stream::iter(batches).buffer_unordered(BATCHES).try_collect().await
    }

    async fn write_batch<V: SerializeRow>(&self, cql: &str, rows: &[V], bytes: usize) -> Result<()> {
        if let [row] = rows {
            return self.write(cql, row).await;
        }
        telemetry::store_batch(bytes);
        let _permit = self.permit().await?;
        let mut attempts = self.attempts(Request::Batch);
        loop {
            match self.write_batch_once(cql, rows).await {
                Ok(()) => return Ok(()),
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    async fn write_batch_once<V: SerializeRow>(&self, cql: &str, rows: &[V]) -> Result<()> {
        let statement = self.statement(cql, self.write);
        let prepared = self.driver.add_prepared_statement(&statement).await.map_err(failure)?;
        let statements = vec![prepared.into(); rows.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_consistency(self.write);
        batch.set_is_idempotent(true);
        self.driver.batch(&batch, rows).await.map_err(failure).map(drop)
    }

    /// Writes under a condition; returns whether the condition held. A loss may be to oneself: where an answer was
    /// lost the driver asks again, and so do we.
    pub(super) async fn compare_and_set(&self, cql: &str, values: impl SerializeRow) -> Result<bool> {
        let result = self.execute(Request::CompareAndSet, cql, self.write, values).await?;
        // ScyllaDB always returns all columns of the row, Cassandra those of the condition and only upon a loss.
        let row: Row = result.into_rows_result().map_err(malformed)?.first_row().map_err(malformed)?;
        match row.columns.first() {
            Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
            other => Err(malformed(format!("{other:?} instead of [applied]"))),
        }
    }

    /// Reads at most one row: of a primary key, or under `LIMIT 1`.
    pub(super) async fn read_one<R>(&self, cql: &str, values: impl SerializeRow) -> Result<Option<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        self.one(cql, self.read, values).await
    }

    /// The same, after every compare-and-set that was answered or is on its way.
    pub(super) async fn read_serial<R>(&self, cql: &str, values: impl SerializeRow) -> Result<Option<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        self.one(cql, Consistency::LocalSerial, values).await
    }

    /// Reads the rows nearest to a vector, as one replica of each range knows them: an index of vectors is asked at no
    /// higher consistency, and gives no pages.
    pub(super) async fn read_nearest<R>(&self, cql: &str, values: impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let result = self.execute(Request::Read, cql, Consistency::LocalOne, values).await?;
        let rows = result.into_rows_result().map_err(malformed)?;
        rows.rows().map_err(malformed)?.map(|row| row.map_err(malformed)).collect()
    }

    /// The keyspace of every table.
    pub(super) fn keyspace(&self) -> &str {
        &self.config.keyspace
    }

    /// Reads rows whose number is small by what they are: of one run, say. Any other reader takes [`Session::stream`].
    pub(super) async fn read<R>(&self, cql: &str, values: impl SerializeRow + Send + Sync) -> Result<Vec<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm> + Send,
    {
        self.stream(cql, values, PAGE).try_collect().await
    }

    /// Reads rows in pages of `page` rows, each asked for when the one before is used up.
    pub(super) fn stream<'a, R, V>(
        &'a self,
        cql: &str,
        values: V,
        page: i32,
    ) -> impl Stream<Item = Result<R>> + Send + 'a
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm> + Send + 'a,
        V: SerializeRow + Send + Sync + 'a,
    {
        let statement = self.statement(cql, self.read).with_page_size(page);
        let asked = (statement, Arc::new(values));
        let pages = stream::try_unfold(Some(PagingState::start()), move |at| {
            let (statement, values) = asked.clone();
            async move {
                let Some(at) = at else { return Ok(None) };
                let _permit = self.permit().await?;
                let mut attempts = self.attempts(Request::Read);
                let answer = loop {
                    let page = self.driver.execute_single_page(statement.clone(), &*values, at.clone());
                    match page.await.map_err(failure) {
                        Ok(answer) => break answer,
                        Err(failure) => attempts.failed(failure).await?,
                    }
                };
                let rows = answer.0.into_rows_result().map_err(malformed)?;
                let rows: Vec<Result<R>> = rows.rows().map_err(malformed)?.map(|row| row.map_err(malformed)).collect();
                let next = match answer.1.into_paging_control_flow() {
                    ControlFlow::Continue(state) => Some(state),
                    ControlFlow::Break(()) => None,
                };
                Ok(Some((stream::iter(rows), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn one<R>(&self, cql: &str, consistency: Consistency, values: impl SerializeRow) -> Result<Option<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let rows = self.execute(Request::Read, cql, consistency, values).await?;
        rows.into_rows_result().map_err(malformed)?.maybe_first_row().map_err(malformed)
    }

    async fn execute(
        &self,
        request: Request,
        cql: &str,
        consistency: Consistency,
        values: impl SerializeRow,
    ) -> Result<QueryResult> {
        let _permit = self.permit().await?;
        let mut attempts = self.attempts(request);
        loop {
            let statement = self.statement(cql, consistency);
            match self.driver.execute_unpaged(statement, &values).await.map_err(failure) {
                Ok(result) => return Ok(result),
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    fn attempts(&self, request: Request) -> Attempts {
        Attempts::new(request, self.config.retry())
    }

    /// Asks whether the cluster answers, once.
    pub(super) async fn health(&self) -> Result<()> {
        let statement = self.statement("SELECT key FROM system.local", Consistency::One);
        self.driver.execute_unpaged(statement, ()).await.map_err(failure).map(drop)
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        self.permits.acquire().await.map_err(|e| Failure::defect(format!("scylla: {e}")))
    }

    fn statement(&self, cql: &str, consistency: Consistency) -> Statement {
        let mut statement = Statement::new(cql);
        statement.set_is_idempotent(true);
        statement.set_consistency(consistency);
        statement
    }
}

/// Trusts the authorities of the system and the configured ones. The driver compares each node's certificate with the
/// address that it connects to, which must stand in it (as an IP address among its alternative names).
fn encryption(config: &Config) -> Result<OpenSsl010Config> {
    let refuse = |what: &str, e: openssl::error::ErrorStack| Failure::defect(format!("store.scylla: `{what}`: {e}"));
    let mut connector = SslConnector::builder(SslMethod::tls_client()).map_err(|e| refuse("tls", e))?;
    if let Some(ca) = &config.ca {
        connector.set_ca_file(ca).map_err(|e| refuse("ca", e))?;
    }
    if let (Some(certificate), Some(key)) = (&config.certificate, &config.key) {
        connector.set_certificate_chain_file(certificate).map_err(|e| refuse("certificate", e))?;
        connector.set_private_key_file(key, SslFiletype::PEM).map_err(|e| refuse("key", e))?;
    }
    Ok(OpenSsl010Config::new(connector))
}

/// Cuts rows into portions that a batch may hold, in their order, each with its bytes.
fn portions<V>(rows: &[V], bytes: impl Fn(&V) -> usize) -> Vec<(&[V], usize)> {
    let mut portions = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (index, row) in rows.iter().enumerate() {
        let size = bytes(row);
        if index > start && (held + size > BATCH_BYTES || index - start == BATCH_ROWS) {
            portions.push((&rows[start..index], held));
            (start, held) = (index, 0);
        }
        held += size;
    }
    if start < rows.len() {
        portions.push((&rows[start..], held));
    }
    portions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_stays_below_both_limits_and_loses_nothing() {
        let sizes = [60_000, 40_000, 1, 250_000, 99_999, 1, 1];
        let cut = portions(&sizes, |size| *size);
        let rows: Vec<_> = cut.iter().map(|(rows, _)| rows.to_vec()).collect();
        assert_eq!(rows, [vec![60_000, 40_000], vec![1], vec![250_000], vec![99_999, 1], vec![1]]);
        assert!(cut.iter().all(|(rows, bytes)| rows.iter().sum::<usize>() == *bytes));
        let many = vec![1; 2 * BATCH_ROWS + 1];
        let lengths: Vec<_> = portions(&many, |size| *size).into_iter().map(|(rows, _)| rows.len()).collect();
        assert_eq!(lengths, [BATCH_ROWS, BATCH_ROWS, 1]);
        assert!(portions::<usize>(&[], |size| *size).is_empty());
    }
}
