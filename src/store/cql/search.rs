//! The search: candidates from the in-process index, each checked against the tables before it is a hit.
//!
//! The law: a hit is of the run that its document's header names, and of a chunk that is there; all hits of a document
//! follow one reading of its header. A candidate that is otherwise is dropped, its document read anew, and the search
//! begun again, so that a document which is published anew is missed at no moment.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::{
    index::{Index, Model, Place},
    read,
    session::Session,
    spaces::Spaces,
};
use crate::{
    error::Result,
    store::{
        Current, DocumentKey, Hit, Query, RunKey,
        similarity::{self, Found},
    },
};

/// Candidates that are checked at once.
const AT_ONCE: usize = 16;

/// Candidates beyond the hits that are still wanted; most searches need none.
const SPARE: usize = 8;

/// Times that a search is begun, where documents move on under it. The last one gives what it finds.
const TIMES: usize = 3;

/// The chunks nearest to a vector, best first.
pub(super) async fn search(session: &Session, spaces: &Spaces, index: &Index, query: &Query) -> Result<Vec<Hit>> {
    let Some(asked) = &query.vector else { return Ok(Vec::new()) };
    let unit: Arc<[f32]> = similarity::unit(asked)?.into();
    let Some(model) = index.of_query(session, spaces, asked).await? else { return Ok(Vec::new()) };
    let mut time = 1;
    loop {
        let mut pass =
            Pass { session, model: &model, query, unit: &unit, currents: HashMap::new(), stale: BTreeSet::new() };
        let hits = pass.run().await?;
        if pass.stale.is_empty() || time == TIMES {
            return Ok(hits);
        }
        let known = spaces.of_model(session, &asked.model).await?;
        model.reload(session, &known, pass.stale).await?;
        time += 1;
    }
}

/// One search through the candidates.
struct Pass<'a> {
    session: &'a Session,
    model: &'a Arc<Model>,
    query: &'a Query,
    unit: &'a Arc<[f32]>,
    /// What readers see of each document, read once.
    currents: HashMap<Arc<DocumentKey>, Arc<OnceCell<Option<Current>>>>,
    /// Documents that are otherwise than the index says.
    stale: BTreeSet<DocumentKey>,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<Vec<Hit>> {
        let (k, tenant) = (self.query.k, self.query.filter.tenant.as_deref());
        let mut hits = Vec::new();
        let mut after = None;
        while hits.len() < k {
            let wanted = (k - hits.len()).saturating_add(SPARE);
            let candidates = self.model.nearest(self.unit, tenant, wanted, after).await?;
            after = candidates.last().cloned();
            if after.is_none() {
                break;
            }
            self.check_all(candidates, &mut hits).await?;
        }
        Ok(hits)
    }

    /// Checks candidates in their order until there are enough hits.
    async fn check_all(&mut self, candidates: Vec<Found<Place>>, hits: &mut Vec<Hit>) -> Result<()> {
        let session = self.session;
        let candidates: Vec<_> = candidates
            .into_iter()
            .map(|found| {
                let current = self.currents.entry(found.place.document.clone()).or_default();
                (found, Arc::clone(current))
            })
            .collect();
        let checked = stream::iter(candidates).map(|(found, current)| check(session, found, current)).buffered(AT_ONCE);
        let mut checked = pin!(checked);
        while hits.len() < self.query.k
            && let Some(verdict) = checked.try_next().await?
        {
            match verdict {
                Verdict::Hit(hit) => hits.push(*hit),
                Verdict::Stale(document) => drop(self.stale.insert((*document).clone())),
                Verdict::NoChunk => {}
            }
        }
        Ok(())
    }
}

/// What became of a candidate.
enum Verdict {
    Hit(Box<Hit>),
    /// Its document moved on.
    Stale(Arc<DocumentKey>),
    /// A vector whose chunk was never written, or is trimmed.
    NoChunk,
}

async fn check(session: &Session, found: Found<Place>, current: Arc<OnceCell<Option<Current>>>) -> Result<Verdict> {
    let Place { document, chunk_no, run, .. } = found.place;
    let current = current
        .get_or_try_init(async || Ok(read::header(session, &document).await?.and_then(|header| header.current)))
        .await?;
    let Some(current) = current.as_ref().filter(|current| current.run == run && chunk_no < current.chunk_count) else {
        return Ok(Verdict::Stale(document));
    };
    let key = RunKey { document: (*document).clone(), run };
    let Some(chunk) = read::chunk(session, &key, chunk_no).await? else { return Ok(Verdict::NoChunk) };
    Ok(Verdict::Hit(Box::new(Hit {
        key: key.document,
        run,
        filename: current.source.filename.clone(),
        // Rounding may carry a cosine a little beyond 1.
        score: found.score.clamp(-1.0, 1.0),
        similarity: Some(found.score.clamp(-1.0, 1.0)),
        keyword_score: None,
        chunk,
    })))
}
