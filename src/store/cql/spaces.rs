//! Which vectors there are: the registry of spaces, and a table of its own for each.
//!
//! The law: a space (a model with one chunking) has one dimension as long as it is there, and one table, for
//! `vector<float, n>` has it in its type. The row of the registry is written by compare-and-set and decides; the table
//! follows, under the lock of the schema; `table_name` in the row says that it is there. Where a model is dropped its
//! rows go the same way back, and no space is made for it. Whoever meets a table that went asks the registry again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::{
    models,
    schema::{change_schema, with_schema_lock},
    session::Session,
};
use crate::VectorSpace;
use deckle_contract::error::{Failure, Result};

/// What is known of the registry is taken for all there is for so long, by those who must miss no table: a space that
/// another node has just made holds nothing older than itself.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// A space whose table is there, or was some seconds ago.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Space {
    /// What it was made for.
    pub(super) space: VectorSpace,
    /// Its table.
    pub(super) table: String,
}

/// The registry as this process knows it. Rows are never changed, and go only with their model.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    known: Mutex<Known>,
    /// Held by the one task of this process that makes a table: the lock of the schema is for processes, and bears no
    /// crowd.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    read_at: Option<Instant>,
    spaces: Vec<Space>,
}

impl Spaces {
    /// The space to write to, made on first use; `None` for one of a dropped model.
    ///
    /// # Errors
    /// Another dimension than the one it was made with is a defect.
    pub(super) async fn for_writing(&self, session: &Session, wanted: &VectorSpace) -> Result<Option<Space>> {
        let mut known = find(&self.known().spaces, wanted);
        let _only_one = if known.is_none() { Some(self.making.lock().await) } else { None };
        if known.is_none() {
            known = find(&self.read(session).await?, wanted);
        }
        if known.is_none() {
            if models::is_dropped(session, &wanted.model).await? {
                return Ok(None);
            }
            if !with_schema_lock(session, make(session, wanted)).await? {
                return Ok(None);
            }
            known = find(&self.read(session).await?, wanted);
        }
        let space = known.ok_or_else(|| Failure::defect(format!("vectors of {}: no table was made", wanted.model)))?;
        check(&space.space, wanted)?;
        Ok(Some(space))
    }

    /// What became of work on a space's table: nothing, where the space was dropped meanwhile.
    pub(super) async fn unless_dropped<T: Default>(
        &self,
        session: &Session,
        space: &Space,
        outcome: Result<T>,
    ) -> Result<T> {
        match outcome {
            // A table that is not there is refused for ever; one that goes at this moment may give any error.
            Err(failure @ (Failure::Defect { .. } | Failure::Transient { .. })) => {
                if self.read(session).await?.contains(space) { Err(failure) } else { Ok(T::default()) }
            }
            other => other,
        }
    }

    /// Takes all spaces of a model away. The model must be dropped, so that none is made again.
    pub(super) async fn delete_model(&self, session: &Session, model: &str) -> Result<()> {
        with_schema_lock(session, delete(session, model)).await?;
        self.read(session).await.map(drop)
    }

    /// Every space, as of some seconds ago at most.
    pub(super) async fn all(&self, session: &Session) -> Result<Vec<Space>> {
        let known = self.known();
        if known.read_at.is_some_and(|read_at| read_at.elapsed() < KNOWN_FOR) {
            return Ok(known.spaces);
        }
        self.read(session).await
    }

    /// The spaces of a model, as of some seconds ago at most; asks where none is known.
    pub(super) async fn of_model(&self, session: &Session, model: &str) -> Result<Vec<Space>> {
        let known = of_model(&self.all(session).await?, model);
        if known.is_empty() { Ok(of_model(&self.read(session).await?, model)) } else { Ok(known) }
    }

    /// The spaces of a model, as of some seconds ago at most.
    pub(super) async fn of_model_lately(&self, session: &Session, model: &str) -> Result<Vec<Space>> {
        Ok(of_model(&self.all(session).await?, model))
    }

    /// Every space, as of now.
    pub(super) async fn read(&self, session: &Session) -> Result<Vec<Space>> {
        let read_at = Some(Instant::now());
        let spaces = registered(session).await?.into_iter().filter_map(|registered| {
            let Registered { space, table } = registered;
            table.map(|table| Space { space, table })
        });
        let spaces: Vec<_> = spaces.collect();
        let known = Known { read_at, spaces: spaces.clone() };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(spaces)
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Registers a space, unless it is, and makes its table; false where its model is dropped. Each step does no harm the
/// second time.
async fn make(session: &Session, wanted: &VectorSpace) -> Result<bool> {
    if models::is_dropped(session, &wanted.model).await? {
        return Ok(false);
    }
    let VectorSpace { model, chunking, dimension, normalized } = wanted;
    let dimension = i32::try_from(*dimension).map_err(|_| Failure::defect("a vector's dimension is too high"))?;
    // The row is decided by compare-and-set even here, where the lock may have been lost unnoticed for a moment.
    let insert =
        "INSERT INTO spaces (part, model, chunking, dimension, normalized) VALUES (0, ?, ?, ?, ?) IF NOT EXISTS";
    session.compare_and_set(insert, (model, chunking, dimension, normalized)).await?;
    let registered = registered(session).await?;
    let Some(registered) = registered.iter().find(|registered| is_same(&registered.space, wanted)) else {
        return Err(Failure::defect(format!("vectors of {model} with {chunking} could not be registered")));
    };
    check(&registered.space, wanted)?;
    if registered.table.is_some() {
        return Ok(true);
    }
    let table = table(wanted);
    change_schema(
        session,
        &format!(
            "CREATE TABLE IF NOT EXISTS {table} (tenant text, document_id text, run bigint, chunk_no int, \
             vector vector<float, {dimension}>, PRIMARY KEY ((tenant, document_id), run, chunk_no))"
        ),
    )
    .await?;
    let update = "UPDATE spaces SET table_name = ? WHERE part = 0 AND model = ? AND chunking = ? IF EXISTS";
    session.compare_and_set(update, (table, model, chunking)).await?;
    Ok(true)
}

/// Takes the tables and rows of a model away. A row without its table is one that this was cut off at.
async fn delete(session: &Session, model: &str) -> Result<()> {
    for Registered { space, table } in registered(session).await?.iter().filter(|it| it.space.model == model) {
        if table.is_some() {
            let hide = "UPDATE spaces SET table_name = null WHERE part = 0 AND model = ? AND chunking = ? IF EXISTS";
            session.compare_and_set(hide, (model, &space.chunking)).await?;
        }
        change_schema(session, &format!("DROP TABLE IF EXISTS {}", self::table(space))).await?;
        let forget = "DELETE FROM spaces WHERE part = 0 AND model = ? AND chunking = ? IF EXISTS";
        session.compare_and_set(forget, (model, &space.chunking)).await?;
    }
    Ok(())
}

/// A row of the registry.
struct Registered {
    space: VectorSpace,
    /// `None` until the table is there.
    table: Option<String>,
}

async fn registered(session: &Session) -> Result<Vec<Registered>> {
    let select = "SELECT model, chunking, dimension, normalized, table_name FROM spaces WHERE part = 0";
    let rows: Vec<(String, String, i32, bool, Option<String>)> = session.read(select, ()).await?;
    let registered = rows.into_iter().map(|(model, chunking, dimension, normalized, table)| {
        let dimension = u32::try_from(dimension)
            .map_err(|_| Failure::defect(format!("vectors of {model} are registered with dimension {dimension}")))?;
        Ok(Registered { space: VectorSpace { model, chunking, dimension, normalized }, table })
    });
    registered.collect()
}

/// The name of a space's table: of any model and chunking, whatever characters they have.
fn table(space: &VectorSpace) -> String {
    let digest = Sha256::digest(format!("{}\n{}", space.model, space.chunking));
    format!("vectors_{}", hex::encode(&digest[..8]))
}

fn find(known: &[Space], wanted: &VectorSpace) -> Option<Space> {
    known.iter().find(|known| is_same(&known.space, wanted)).cloned()
}

/// Those of a model.
pub(super) fn of_model(known: &[Space], model: &str) -> Vec<Space> {
    known.iter().filter(|known| known.space.model == model).cloned().collect()
}

fn is_same(space: &VectorSpace, wanted: &VectorSpace) -> bool {
    (&space.model, &space.chunking) == (&wanted.model, &wanted.chunking)
}

/// Refuses a space that is registered otherwise.
fn check(registered: &VectorSpace, wanted: &VectorSpace) -> Result<()> {
    let VectorSpace { model, chunking, dimension, normalized } = registered;
    if (*dimension, *normalized) == (wanted.dimension, wanted.normalized) {
        return Ok(());
    }
    Err(Failure::defect(format!(
        "vectors of {model} with {chunking} have dimension {dimension} and normalized {normalized}, not {} and {}",
        wanted.dimension, wanted.normalized
    )))
}
