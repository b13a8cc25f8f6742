//! Vectors of runs, each space in a table of its own.
//!
//! The law: a vector that no search could use is never written, and rows of a run that the header hides are written,
//! if they come late, but never read.

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    session::Session,
    spaces::{Space, Spaces},
};
use crate::{
    error::{Failure, Result},
    store::{DocumentKey, RunKey, VectorSpace, check_vector},
};

/// Bytes of a row beside its vector and names: run, number, timestamp and what frames them.
const ROW_BYTES: usize = 64;

/// Spaces that are asked at once; there are few.
const SPACES: usize = 8;

/// Writes vectors of a run at `version`, all of them or, refused, none.
///
/// # Errors
/// A defect for a vector that no search could use, or a space that has another dimension.
pub(super) async fn put(
    session: &Session,
    spaces: &Spaces,
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
    let Space { table, .. } = spaces.for_writing(session, space).await?;
    let insert = format!(
        "INSERT INTO {table} (tenant, document_id, run, chunk_no, vector) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
    );
    let DocumentKey { tenant, document_id } = &run.document;
    let values = rows
        .iter()
        .map(|(chunk_no, vector)| Ok((tenant, document_id, run.run, number(*chunk_no)?, vector, version)))
        .collect::<Result<Vec<_>>>()?;
    let names = tenant.len() + document_id.len() + ROW_BYTES;
    session.write_all(&insert, &values, |(.., vector, _)| size_of_val(&vector[..]) + names).await
}

/// The vectors of a run by one model, by chunk number; of a run that is not hidden, which the caller knows.
pub(super) async fn of_run(
    session: &Session,
    spaces: &Spaces,
    run: &RunKey,
    model: &str,
) -> Result<Vec<(u32, Vec<f32>)>> {
    let known = spaces.read(session).await?;
    let of_model = known.iter().filter(|known| known.space.model == model);
    let read: Vec<Vec<_>> = stream::iter(of_model)
        .map(|space| of_space(session, space, run, i32::MAX))
        .buffered(SPACES)
        .try_collect()
        .await?;
    let mut vectors = read.concat();
    vectors.sort_by_key(|(chunk_no, _)| *chunk_no);
    Ok(vectors)
}

/// The vectors of a run in one space, numbered below `chunk_count`, by number.
pub(super) async fn of_space(
    session: &Session,
    space: &Space,
    run: &RunKey,
    chunk_count: i32,
) -> Result<Vec<(u32, Vec<f32>)>> {
    let select = format!(
        "SELECT chunk_no, vector FROM {} WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no < ?",
        space.table
    );
    let DocumentKey { tenant, document_id } = &run.document;
    let rows = session.stream::<(i32, Vec<f32>), _>(
        &select,
        (tenant, document_id, run.run, chunk_count),
        page(space.space.dimension),
    );
    rows.map(|row| row.and_then(|(chunk_no, vector)| Ok((counted(chunk_no)?, vector)))).try_collect().await
}

/// Deletes the vectors of a run numbered `chunk_count` and above, as of `version`, in every space.
pub(super) async fn trim(
    session: &Session,
    spaces: &Spaces,
    run: &RunKey,
    version: i64,
    chunk_count: u32,
) -> Result<()> {
    let from = number(chunk_count)?;
    let DocumentKey { tenant, document_id } = &run.document;
    in_each(&spaces.all(session).await?, |table| async move {
        let delete = format!(
            "DELETE FROM {table} USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run = ? AND chunk_no >= ?"
        );
        session.write(&delete, (version, tenant, document_id, run.run, from)).await
    })
    .await
}

/// Deletes the vectors of runs up to and with `last`, as of `at`, in every space.
pub(super) async fn delete_runs(
    session: &Session,
    spaces: &Spaces,
    document: &DocumentKey,
    last: i64,
    at: i64,
) -> Result<()> {
    let DocumentKey { tenant, document_id } = document;
    in_each(&spaces.read(session).await?, |table| async move {
        let delete =
            format!("DELETE FROM {table} USING TIMESTAMP ? WHERE tenant = ? AND document_id = ? AND run <= ?");
        session.write(&delete, (at, tenant, document_id, last)).await
    })
    .await
}

/// How many vectors there are of runs up to and with `last`, in every space.
pub(super) async fn count_runs(session: &Session, spaces: &Spaces, document: &DocumentKey, last: i64) -> Result<u64> {
    let DocumentKey { tenant, document_id } = document;
    let known = spaces.read(session).await?;
    let counts = stream::iter(known.iter()).map(|space| async move {
        let select =
            format!("SELECT count(*) FROM {} WHERE tenant = ? AND document_id = ? AND run <= ?", space.table);
        let count: Option<(i64,)> = session.read_one(&select, (tenant, document_id, last)).await?;
        Ok(count.map_or(0, |(count,)| count.unsigned_abs()))
    });
    counts.buffer_unordered(SPACES).try_fold(0, |sum, count| async move { Ok(sum + count) }).await
}

/// Rows of a page of vectors: about a megabyte.
pub(super) fn page(dimension: u32) -> i32 {
    (1 << 18) / i32::try_from(dimension).unwrap_or(i32::MAX).clamp(1 << 8, 1 << 18)
}

/// A chunk's number as a row has it.
fn number(chunk_no: u32) -> Result<i32> {
    i32::try_from(chunk_no).map_err(|_| Failure::defect(format!("chunk {chunk_no} has too high a number")))
}

/// A row's number as a chunk has it.
pub(super) fn counted(chunk_no: i32) -> Result<u32> {
    u32::try_from(chunk_no).map_err(|_| Failure::defect(format!("scylla: a vector of chunk {chunk_no}")))
}

async fn in_each<F: Future<Output = Result<()>>>(spaces: &[Space], work: impl Fn(String) -> F) -> Result<()> {
    let work = spaces.iter().map(|space| work(space.table.clone()));
    stream::iter(work).buffer_unordered(SPACES).try_collect().await
}
