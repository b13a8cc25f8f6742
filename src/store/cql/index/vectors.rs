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

/// Vectors that are handed over at once while they are loaded.
const HANDED_OVER: usize = 256;

/// The vectors of one model, of all current runs.
#[derive(Debug)]
pub(in crate::cql) struct ModelVectors {
    model: String,
    dimension: u32,
    /// What searches see. Its lock is held only while it is taken or replaced.
    held: RwLock<Rows>,
}

/// An index, whose lock is waited for on blocking threads only: a search holds it while it looks at every row.
#[derive(Debug, Clone)]
struct Rows(Arc<RwLock<FlatVectorIndex>>);

impl Rows {
    fn new(dimension: u32) -> Self {
        Self(Arc::new(RwLock::new(FlatVectorIndex::new(dimension))))
    }

    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&FlatVectorIndex) -> T + Send + 'static) -> Result<T> {
        let Self(rows) = self.clone();
        compute(move || read(&rows.read().unwrap_or_else(PoisonError::into_inner))).await
    }

    async fn change(&self, change: impl FnOnce(&mut FlatVectorIndex) + Send + 'static) -> Result<()> {
        let Self(rows) = self.clone();
        compute(move || change(&mut rows.write().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// Adds vectors, each with its document and chunk number.
    async fn add(&self, vectors: Vec<(DocumentKey, VisibleVersion, u32, Vec<f32>)>) -> Result<()> {
        self.change(move |rows| {
            for (document, shown, chunk_no, vector) in &vectors {
                rows.add(document, shown, *chunk_no, vector);
            }
        })
        .await
    }
}

impl ModelVectors {
    pub(in crate::cql) fn new(model: String, dimension: u32) -> Self {
        Self { model, dimension, held: RwLock::new(Rows::new(dimension)) }
    }

    /// The `depth` nearest to a vector of length 1, best first.
    pub(in crate::cql) async fn nearest(
        &self,
        unit: &Arc<[f32]>,
        filter: &SearchFilter,
        depth: usize,
    ) -> Result<Vec<Scored<Place>>> {
        let (unit, filter) = (Arc::clone(unit), filter.clone());
        self.held().read(move |rows| rows.nearest(&unit, &filter, depth)).await
    }

    fn held(&self) -> Rows {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has an empty index filled, and puts it in the place of what is held once that has succeeded.
    async fn refill(&self, fill: impl AsyncFnOnce(&Rows) -> Result<()>) -> Result<()> {
        let new = Rows::new(self.dimension);
        fill(&new).await?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

#[async_trait]
impl Contents for ModelVectors {
    async fn load(&self, session: &Session, spaces: &Spaces) -> Result<()> {
        let spaces = spaces.of_model(session, &self.model).await?;
        self.refill(async |new| {
            read_ring(session, async |range, shown| {
                for space in &spaces {
                    let select = format!(
                        "SELECT tenant, document_id, run, chunk_no, vector FROM {} \
                         WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?",
                        space.table
                    );
                    let page = vectors::page(space.space.dimension);
                    let mut vectors = session.stream::<(String, String, i64, i32, Vec<f32>), _>(&select, range, page);
                    let mut found = Vec::new();
                    while let Some((tenant, document_id, run, chunk_no, vector)) = vectors.try_next().await? {
                        let document = DocumentKey { tenant, document_id };
                        let chunk_no = chunk_no.unsigned_abs();
                        let of_run = shown.get(&document).filter(|it| it.run == run && chunk_no < it.chunk_count);
                        if let Some(shown) = of_run {
                            found.push((document, shown.clone(), chunk_no, vector));
                        }
                        if found.len() == HANDED_OVER {
                            new.add(std::mem::take(&mut found)).await?;
                        }
                    }
                    new.add(found).await?;
                }
                Ok(())
            })
            .await
        })
        .await?;
        let held = self.held().read(FlatVectorIndex::len).await?;
        tracing::info!(model = self.model, vectors = held, "vectors loaded");
        Ok(())
    }

    async fn replace(&self, session: &Session, spaces: &Spaces, documents: BTreeSet<DocumentKey>) -> Result<Headers> {
        // The registry after the feed: a new space is there before anything of it is published.
        let known = spaces::of_model(&spaces.read(session).await?, &self.model);
        let held = self.held();
        let mut headers = Headers::new();
        let mut read = stream::iter(documents)
            .map(|document| DocumentVectors::read(session, &known, document))
            .buffer_unordered(DOCUMENTS);
        while let Some(DocumentVectors { document, header, vectors }) = read.try_next().await? {
            let shown = header.as_ref().and_then(|header| header.current.as_ref()).map(VisibleVersion::from);
            let key = document.clone();
            // In one go: no search sees a document without its vectors in between.
            let change = held.change(move |rows| {
                rows.remove(&key);
                if let Some(shown) = shown {
                    vectors.iter().for_each(|(chunk_no, vector)| rows.add(&key, &shown, *chunk_no, vector));
                }
            });
            change.await?;
            headers.insert(document, header);
        }
        Ok(headers)
    }

    fn report_size(&self) {
        // Whoever changes rows reports afterwards: no lock is waited for.
        let Rows(rows) = self.held();
        let rows = rows.read().unwrap_or_else(PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, pin::pin};

    use deckle_contract::error::Failure;
    use futures::FutureExt;

    use super::*;
    use crate::query::Facets;

    fn vector(document_id: &str) -> (DocumentKey, VisibleVersion, u32, Vec<f32>) {
        let document = DocumentKey { tenant: "t".to_owned(), document_id: document_id.to_owned() };
        let facets = Facets {
            language: "en".to_owned(),
            media_type: "text/plain".to_owned(),
            published_at: 1,
            attributes: BTreeMap::new(),
            access: Vec::new(),
        };
        let shown = VisibleVersion { run: 1, chunk_count: 1, facets: Arc::new(facets) };
        (document, shown, 0, vec![1.0, 0.0])
    }

    async fn found(vectors: &ModelVectors) -> Vec<String> {
        let filter = SearchFilter { tenant: Some("t".to_owned()), ..SearchFilter::default() };
        let nearest = vectors.nearest(&Arc::from([1.0, 0.0]), &filter, 9).await.unwrap();
        nearest.into_iter().map(|it| it.place.document.document_id.clone()).collect()
    }

    #[tokio::test]
    async fn what_is_held_is_found_until_what_is_loaded_is_whole() {
        let vectors = ModelVectors::new("m".to_owned(), 2);
        vectors.held().add(vec![vector("old")]).await.unwrap();
        let loaded = vectors.refill(async |new| {
            new.add(vec![vector("new")]).await?;
            assert_eq!(found(&vectors).await, ["old"]);
            Err(Failure::unavailable("store", "away"))
        });
        assert!(loaded.await.is_err());
        assert_eq!(found(&vectors).await, ["old"], "a load that failed takes nothing away");
        vectors.refill(async |new| new.add(vec![vector("new")]).await).await.unwrap();
        assert_eq!(found(&vectors).await, ["new"]);
    }

    #[tokio::test]
    async fn a_change_waits_for_a_search_on_another_thread() {
        let rows = Rows::new(2);
        let mut change = pin!(rows.add(vec![vector("new")]));
        {
            let _searching = rows.0.read().unwrap();
            assert!(change.as_mut().now_or_never().is_none(), "this thread goes on meanwhile");
        }
        change.await.unwrap();
        assert_eq!(rows.read(FlatVectorIndex::len).await.unwrap(), 1);
    }
}
