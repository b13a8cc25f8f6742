//! The index of a model's vectors.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Contents, DOCUMENTS, Headers, Place, VisibleVersion, compute, flat_vectors::FlatVectorIndex, ring::read_ring,
};
use crate::{
    DocumentKey, Header, RunKey, SearchFilter,
    cql::{
        read,
        session::Session,
        spaces::{self, Space, Spaces},
        vectors,
    },
    similarity::Scored,
};
use deckle_contract::{error::Result, telemetry};

/// The vectors of one model, of all current runs.
#[derive(Debug)]
pub(in crate::cql) struct ModelVectors {
    model: String,
    rows: Arc<RwLock<FlatVectorIndex>>,
}

impl ModelVectors {
    pub(in crate::cql) fn new(model: String, dimension: u32) -> Self {
        Self { model, rows: Arc::new(RwLock::new(FlatVectorIndex::new(dimension))) }
    }

    /// The `depth` nearest to a vector of length 1, best first.
    pub(in crate::cql) async fn nearest(
        &self,
        unit: &Arc<[f32]>,
        filter: &SearchFilter,
        depth: usize,
    ) -> Result<Vec<Scored<Place>>> {
        let (rows, unit, filter) = (Arc::clone(&self.rows), Arc::clone(unit), filter.clone());
        compute(move || rows.read().unwrap_or_else(PoisonError::into_inner).nearest(&unit, &filter, depth)).await
    }

    fn change<T>(&self, change: impl FnOnce(&mut FlatVectorIndex) -> T) -> T {
        change(&mut self.rows.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Contents for ModelVectors {
    async fn load(&self, session: &Session, spaces: &Spaces) -> Result<()> {
        self.change(|rows| *rows = FlatVectorIndex::new(rows.dimension()));
        let spaces = spaces.of_model(session, &self.model).await?;
        read_ring(session, async |range, shown| {
            for space in &spaces {
                let select = format!(
                    "SELECT tenant, document_id, run, chunk_no, vector FROM {} \
                     WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?",
                    space.table
                );
                let page = vectors::page(space.space.dimension);
                let mut vectors = session.stream::<(String, String, i64, i32, Vec<f32>), _>(&select, range, page);
                while let Some((tenant, document_id, run, chunk_no, vector)) = vectors.try_next().await? {
                    let document = DocumentKey { tenant, document_id };
                    let chunk_no = chunk_no.unsigned_abs();
                    let of_run = shown.get(&document).filter(|it| it.run == run && chunk_no < it.chunk_count);
                    if let Some(shown) = of_run {
                        self.change(|rows| rows.add(&document, shown, chunk_no, &vector));
                    }
                }
            }
            Ok(())
        })
        .await?;
        let held = self.rows.read().unwrap_or_else(PoisonError::into_inner).len();
        tracing::info!(model = self.model, vectors = held, "vectors loaded");
        Ok(())
    }

    async fn replace(&self, session: &Session, spaces: &Spaces, documents: BTreeSet<DocumentKey>) -> Result<Headers> {
        // The registry after the feed: a new space is there before anything of it is published.
        let known = spaces::of_model(&spaces.read(session).await?, &self.model);
        let mut headers = Headers::new();
        let mut read = stream::iter(documents)
            .map(|document| DocumentVectors::read(session, &known, document))
            .buffer_unordered(DOCUMENTS);
        while let Some(DocumentVectors { document, header, vectors }) = read.try_next().await? {
            self.change(|rows| {
                rows.remove(&document);
                if let Some(current) = header.as_ref().and_then(|header| header.current.as_ref()) {
                    let shown = VisibleVersion::from(current);
                    vectors.iter().for_each(|(chunk_no, vector)| rows.add(&document, &shown, *chunk_no, vector));
                }
            });
            headers.insert(document, header);
        }
        Ok(headers)
    }

    fn report_size(&self) {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        telemetry::search_index(&self.model, rows.len(), rows.bytes());
    }
}

/// What the tables say of one document.
struct DocumentVectors {
    document: DocumentKey,
    header: Option<Header>,
    /// The vectors of its current run, in all spaces of the model, by chunk number.
    vectors: Vec<(u32, Vec<f32>)>,
}

impl DocumentVectors {
    async fn read(session: &Session, spaces: &[Space], document: DocumentKey) -> Result<Self> {
        let header = read::header(session, &document).await?;
        let mut found = Vec::new();
        if let Some(current) = header.as_ref().and_then(|header| header.current.as_ref()) {
            let run = RunKey { document: document.clone(), run: current.run };
            for space in spaces {
                found.extend(vectors::of_space(session, space, &run, current.chunk_count).await?);
            }
        }
        Ok(Self { document, header, vectors: found })
    }
}
