//! Vectors of runs, each space in a table of its own.
//!
//! The law: a vector that no search could use is never written. Late rows of a run that the header hides are written
//! and never read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::try_join, stream};

use super::{
    Search, read,
    search::{Indexes, search},
    session::Session,
    spaces::{self, Space, Spaces},
    values::{delete_timestamp, number},
};
use crate::{DocumentKey, Hit, Query, RunKey, VectorSpace, check_vector};
use deckle_contract::error::{Failure, Result};

/// Bytes of a row beside its vector and names: run, number, timestamp and what frames them.
const ROW_OVERHEAD: usize = 64;

/// Spaces that are asked at once; there are few.
const SPACES: usize = 8;

/// Times that a write is begun whose table goes under it, because its model was dropped and built again.
const TIMES: usize = 3;

/// The vectors of a keyspace, and what this process knows of them.
pub(super) struct Vectors {
    spaces: Arc<Spaces>,
    indexes: Indexes,
}

impl Vectors {
    /// Vectors whose indexes look at the feed when a search comes longer than `refresh` after the last look.
    pub(super) fn new(by: Search, refresh: Duration) -> Self {
        Self { spaces: Arc::default(), indexes: Indexes::new(by, refresh) }
    }

    /// Writes vectors of a run at `version`, all of them or, refused, none.
    ///
    /// # Errors
    /// A defect for a vector that no search could use, or a space that has another dimension.
    pub(super) async fn put(
        &self,
        session: &Session,
        run: &RunKey,
        version: i64,
        space: &VectorSpace,
        rows: &[(u32, Vec<f32>)],
    ) -> Result<()> {
        for (chunk_no, vector) in rows {
            check_vector(space, vector)
                .map_err(|problem| Failure::defect(format!("vector of chunk {chunk_no}: {problem}")))?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let DocumentKey { tenant, document_id } = &run.document;
        let values = rows
            .iter()
            .map(|(chunk_no, vector)| Ok((tenant, document_id, run.run, number(*chunk_no)?, vector, version)))
            .collect::<Result<Vec<_>>>()?;
        let overhead = tenant.len() + document_id.len() + ROW_OVERHEAD;
        for _ in 0..TIMES {
            let Some(space) = self.spaces.for_writing(session, space).await? else { return Ok(()) };
            let insert = format!(
                "INSERT INTO {} (tenant, document_id, run, chunk_no, vector) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
                space.table
            );
            let written = session.write_all(&insert, &values, |(.., vector, _)| size_of_val(&vector[..]) + overhead);
            if self.spaces.unless_dropped(session, &space, written.await.map(|()| true)).await? {
                self.touch(&run.document);
                return Ok(());
            }
        }
        Err(Failure::transient(format!("scylla: the table of {} comes and goes", space.model)))
    }

    /// Whether each chunk of a run below `chunk_count` has a vector by a model, of `version` or newer.
    pub(super) async fn has(
        &self,
        session: &Session,
        run: &RunKey,
        version: i64,
        model: &str,
        chunk_count: u32,
    ) -> Result<bool> {
        let RunKey { document: DocumentKey { tenant, document_id }, run } = run;
        let below = number(chunk_count)?;
        let mut found = BTreeSet::new();
        for space in self.spaces.of_model(session, model).await? {
            let select = format!(
                "SELECT chunk_no, writetime(vector) FROM {} \
                 WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no < ?",
                space.table
            );
            let rows = session.read::<(i32, i64)>(&select, (tenant, document_id, run, below)).await;
            let rows = self.spaces.unless_dropped(session, &space, rows).await?;
            found.extend(rows.into_iter().filter(|(_, written)| *written >= version).map(|(chunk_no, _)| chunk_no));
        }
        Ok(found.len() == chunk_count as usize)
    }

    /// Deletes all vectors of a model that is dropped.
    pub(super) async fn delete_model(&self, session: &Session, model: &str) -> Result<()> {
        self.spaces.delete_model(session, model).await?;
        self.indexes.forget(model);
        Ok(())
    }

    /// The vectors of a run by one model, by chunk number.
    pub(super) async fn of_run(&self, session: &Session, run: &RunKey, model: &str) -> Result<Vec<(u32, Vec<f32>)>> {
        let of_model = spaces::of_model(&self.spaces.read(session).await?, model);
        let rows = stream::iter(of_model)
            .map(|space| async move {
                let rows = of_space(session, &space, run, u32::MAX).await;
                self.spaces.unless_dropped(session, &space, rows).await
            })
            .buffered(SPACES);
        let (gone, rows) = try_join(read::gone(session, &run.document), rows.try_collect::<Vec<_>>()).await?;
        if gone.hides(run.run) {
            return Ok(Vec::new());
        }
        let mut vectors = rows.concat();
        vectors.sort_by_key(|(chunk_no, _)| *chunk_no);
        Ok(vectors)
    }

    /// Deletes the vectors of a run numbered `chunk_count` and above, as of `version`.
    pub(super) async fn trim(&self, session: &Session, run: &RunKey, version: i64, chunk_count: u32) -> Result<()> {
        let from = number(chunk_count)?;
        let DocumentKey { tenant, document_id } = &run.document;
        let known = self.spaces.all(session).await?;
        let trimmed = stream::iter(known).map(|space: Space| async move {
            let delete = format!(
                "DELETE FROM {} USING TIMESTAMP ?
                 WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no >= ?",
                space.table
            );
            let deleted = session.write(&delete, (version, tenant, document_id, run.run, from)).await;
            self.spaces.unless_dropped(session, &space, deleted).await
        });
        trimmed.buffer_unordered(SPACES).try_collect::<()>().await?;
        self.touch(&run.document);
        Ok(())
    }

    /// Deletes the vectors of runs up to and with `last`.
    pub(super) async fn delete_runs(&self, session: &Session, document: &DocumentKey, last: i64) -> Result<()> {
        let at = delete_timestamp();
        let DocumentKey { tenant, document_id } = document;
        let known = self.spaces.read(session).await?;
        let deleted = stream::iter(known).map(|space: Space| async move {
            let table = &space.table;
            let delete =
                format!("DELETE FROM {table} USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?");
            let deleted = session.write(&delete, (at, tenant, document_id, last)).await;
            self.spaces.unless_dropped(session, &space, deleted).await
        });
        deleted.buffer_unordered(SPACES).try_collect::<()>().await?;
        self.touch(document);
        Ok(())
    }

    /// How many vectors there are of runs up to and with `last`.
    pub(super) async fn count_runs(&self, session: &Session, document: &DocumentKey, last: i64) -> Result<u64> {
        let DocumentKey { tenant, document_id } = document;
        let known = self.spaces.read(session).await?;
        let counts = stream::iter(known).map(|space: Space| async move {
            let table = &space.table;
            let select = format!("SELECT count(*) FROM {table} WHERE tenant = ? AND document_id = ? AND run <= ?");
            let count: Result<Option<(i64,)>> = session.read_one(&select, (tenant, document_id, last)).await;
            let count = self.spaces.unless_dropped(session, &space, count).await?;
            Ok(count.map_or(0, |(count,)| count.unsigned_abs()))
        });
        counts.buffer_unordered(SPACES).try_fold(0, |sum, count| async move { Ok(sum + count) }).await
    }

    /// Takes note that something of a document was written, for the next search here to see it, feed or not.
    pub(super) fn touch(&self, document: &DocumentKey) {
        self.indexes.touch(document);
    }

    /// The chunks that answer a question, best first.
    pub(super) async fn search(&self, session: &Arc<Session>, query: &Query) -> Result<Vec<Hit>> {
        search(session, &self.spaces, &self.indexes, query).await
    }
}

/// The vectors of a run in one space, numbered below `chunk_count`, by number.
pub(super) async fn of_space(
    session: &Session,
    space: &Space,
    run: &RunKey,
    chunk_count: u32,
) -> Result<Vec<(u32, Vec<f32>)>> {
    let select = format!(
        "SELECT chunk_no, vector FROM {} WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no < ?",
        space.table
    );
    let DocumentKey { tenant, document_id } = &run.document;
    let below = i32::try_from(chunk_count).unwrap_or(i32::MAX);
    let values = (tenant, document_id, run.run, below);
    let rows = session.stream::<(i32, Vec<f32>), _>(&select, values, page(space.space.dimension));
    rows.map_ok(|(chunk_no, vector)| (chunk_no.unsigned_abs(), vector)).try_collect().await
}

/// Rows of a page of vectors: about a megabyte.
pub(super) fn page(dimension: u32) -> i32 {
    (1 << 18) / i32::try_from(dimension).unwrap_or(i32::MAX).clamp(1 << 8, 1 << 18)
}
