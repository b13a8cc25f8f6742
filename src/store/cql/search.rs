//! The search: candidates from the indexes, each checked against the tables before it is a hit.
//!
//! The law: a hit is of the run that its document's header names, of a chunk that is there, and of a document that the
//! filter admits by that header; all hits of a document follow one reading of it. A candidate that is otherwise is
//! dropped, its document read anew, and the search begun again, so that a document which is published anew is missed at
//! no moment.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream, try_join};
use tokio::sync::OnceCell;

use super::{
    Search,
    ann::{self, Ann},
    index::{Index, ModelVectors, Place, TextIndex},
    read,
    session::Session,
    spaces::Spaces,
};
use crate::{
    DocumentKey, Hit, PublishedVersion, Query, QueryVector, RunKey,
    fusion::{self, Candidate},
    keywords::Keywords,
    query::Facets,
    similarity::{self, Scored},
};
use deckle_contract::error::Result;

/// Candidates that are checked at once.
const AT_ONCE: usize = 16;

/// Candidates beyond the hits that are wanted; most searches need none.
const SPARE: usize = 8;

/// How much further each next look goes, where too few candidates were hits.
const FURTHER: usize = 4;

/// Times that a search is begun, where documents move on under it. The last one gives what it finds.
const TIMES: usize = 3;

/// The indexes of this process, each made when it is first asked.
pub(super) struct Indexes {
    by: Search,
    /// A search that comes longer than this after the last look at the feed looks again.
    refresh: Duration,
    models: Mutex<HashMap<String, Arc<Index<ModelVectors>>>>,
    words: OnceLock<Arc<Index<TextIndex>>>,
    ann: Ann,
}

impl Indexes {
    pub(super) fn new(by: Search, refresh: Duration) -> Self {
        Self { by, refresh, models: Mutex::default(), words: OnceLock::new(), ann: Ann::default() }
    }

    /// Takes note that this process wrote something of a document.
    pub(super) fn touch(&self, document: &DocumentKey) {
        for index in self.models.lock().unwrap_or_else(PoisonError::into_inner).values() {
            index.touch(document);
        }
        if let Some(words) = self.words.get() {
            words.touch(document);
        }
    }

    /// Lets go of the vectors of a model.
    pub(super) fn forget(&self, model: &str) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    /// What finds the nearest to a vector; `None` for a model without vectors.
    ///
    /// # Errors
    /// A defect where the model's vectors have another dimension than the query's, or the database shall search and has
    /// no index.
    async fn dense(&self, session: &Arc<Session>, spaces: &Arc<Spaces>, asked: &QueryVector) -> Result<Option<Dense>> {
        let unit: Arc<[f32]> = similarity::unit(asked)?.into();
        let known = spaces.of_model(session, &asked.model).await?;
        let Some(dimension) = known.first().map(|known| known.space.dimension) else {
            self.forget(&asked.model);
            return Ok(None);
        };
        for known in &known {
            similarity::check_dimension(asked, known.space.dimension)?;
        }
        if self.by == Search::Database {
            // Rows of a new space are the registry's to tell.
            let known = spaces.of_model_lately(session, &asked.model).await?;
            self.ann.check(session, &known).await?;
            return Ok(Some(Dense::Database { unit, tables: known.into_iter().map(|space| space.table).collect() }));
        }
        let index = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Index::new(ModelVectors::new(asked.model.clone(), dimension), self.refresh));
            Arc::clone(models.entry(asked.model.clone()).or_insert_with(new))
        };
        index.refresh(session, spaces).await?;
        Ok(Some(Dense::Memory { unit, index }))
    }

    async fn lexical(&self, session: &Arc<Session>, spaces: &Arc<Spaces>, query: &Query) -> Result<Option<ByWords>> {
        let Some(words) = &query.keywords else { return Ok(None) };
        let new = || Arc::new(Index::new(TextIndex::default(), self.refresh));
        let index = Arc::clone(self.words.get_or_init(new));
        index.refresh(session, spaces).await?;
        let all = Keywords::parse(words);
        let keywords = if query.vector.is_some() { index.contents().rare(&all)? } else { all };
        Ok(Some(ByWords { keywords, index }))
    }
}

/// The search by meaning: where the vectors nearest to one of length 1 are looked up.
enum Dense {
    Memory { unit: Arc<[f32]>, index: Arc<Index<ModelVectors>> },
    Database { unit: Arc<[f32]>, tables: Vec<String> },
}

/// The search by words: the keywords of a question, and the index that they are looked up in.
struct ByWords {
    keywords: Keywords,
    index: Arc<Index<TextIndex>>,
}

/// The first candidates of one kind, best first.
struct Ranking {
    found: Vec<Scored<Place>>,
    /// Whether no look goes further.
    is_all: bool,
}

/// The chunks that answer a question, best first.
pub(super) async fn search(
    session: &Arc<Session>,
    spaces: &Arc<Spaces>,
    indexes: &Indexes,
    query: &Query,
) -> Result<Vec<Hit>> {
    let dense = async {
        match &query.vector {
            // A model that nobody used has a ranking too: an empty one.
            Some(asked) => indexes.dense(session, spaces, asked).await.map(Some),
            None => Ok(None),
        }
    };
    let (dense, lexical) = try_join!(dense, indexes.lexical(session, spaces, query))?;
    if query.k == 0 {
        return Ok(Vec::new());
    }
    let mut time = 1;
    loop {
        let mut pass =
            Pass { session, query, dense: &dense, lexical: &lexical, currents: HashMap::new(), stale: BTreeSet::new() };
        let hits = pass.run().await?;
        if pass.stale.is_empty() || time == TIMES {
            return Ok(hits);
        }
        let stale = pass.stale;
        if let Some(Some(Dense::Memory { index, .. })) = &dense {
            index.reload(session, spaces, stale.clone()).await?;
        }
        if let Some(ByWords { index, .. }) = &lexical {
            index.reload(session, spaces, stale).await?;
        }
        time += 1;
    }
}

/// One search through the candidates.
struct Pass<'a> {
    session: &'a Arc<Session>,
    query: &'a Query,
    dense: &'a Option<Option<Dense>>,
    lexical: &'a Option<ByWords>,
    /// What readers see of each document, read once.
    currents: HashMap<Arc<DocumentKey>, Arc<OnceCell<Option<PublishedVersion>>>>,
    /// Documents that are otherwise than an index says.
    stale: BTreeSet<DocumentKey>,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<Vec<Hit>> {
        let mut depth = self.query.k + SPARE;
        if self.dense.is_some() && self.lexical.is_some() {
            depth = depth.max(fusion::DEPTH);
        }
        loop {
            let (dense, lexical) = try_join!(self.rank_by_meaning(depth), self.rank_by_words(depth))?;
            let is_all = [&dense, &lexical].into_iter().flatten().all(|ranking| ranking.is_all);
            let found = |ranking: Option<Ranking>| ranking.map(|ranking| ranking.found);
            let hits = self.check_all(fusion::candidates(found(dense), found(lexical))).await?;
            if hits.len() == self.query.k || is_all {
                return Ok(hits);
            }
            depth = depth.saturating_mul(FURTHER);
        }
    }

    async fn rank_by_meaning(&self, depth: usize) -> Result<Option<Ranking>> {
        Ok(match self.dense {
            None => None,
            Some(None) => Some(Ranking { found: Vec::new(), is_all: true }),
            Some(Some(Dense::Memory { unit, index })) => {
                let found = index.contents().nearest(unit, &self.query.filter, depth).await?;
                Some(Ranking { is_all: found.len() < depth, found })
            }
            Some(Some(Dense::Database { unit, tables })) => {
                // Rows of older runs and of documents that the filter leaves out are among the nearest, too.
                let depth = depth.saturating_mul(FURTHER).min(ann::LIMIT);
                let found = ann::nearest(self.session, tables, unit, depth).await?;
                Some(Ranking { is_all: found.len() < depth || depth == ann::LIMIT, found })
            }
        })
    }

    async fn rank_by_words(&self, depth: usize) -> Result<Option<Ranking>> {
        let Some(ByWords { keywords, index }) = self.lexical else { return Ok(None) };
        let found = index.contents().search(keywords, &self.query.filter, depth).await?;
        Ok(Some(Ranking { is_all: found.len() < depth, found }))
    }

    /// Checks candidates in their order until there are enough hits.
    async fn check_all(&mut self, candidates: Vec<Candidate<Place>>) -> Result<Vec<Hit>> {
        let (session, query) = (self.session, self.query);
        let candidates: Vec<_> = candidates
            .into_iter()
            .map(|candidate| {
                let current = self.currents.entry(candidate.place.document.clone()).or_default();
                (candidate, Arc::clone(current))
            })
            .collect();
        let checked = stream::iter(candidates)
            .map(|(candidate, current)| check(session, query, candidate, current))
            .buffered(AT_ONCE);
        let mut checked = pin!(checked);
        let mut hits = Vec::new();
        while hits.len() < query.k
            && let Some(verdict) = checked.try_next().await?
        {
            match verdict {
                Verdict::Hit(hit) => hits.push(*hit),
                Verdict::Otherwise { document, lexical } => {
                    // The database's index knows runs that are no longer current, and no filter.
                    if lexical || matches!(self.dense, Some(Some(Dense::Memory { .. }))) {
                        self.stale.insert((*document).clone());
                    }
                }
                Verdict::NoChunk => {}
            }
        }
        Ok(hits)
    }
}

/// What became of a candidate.
enum Verdict {
    Hit(Box<Hit>),
    /// Its document moved on, or the filter leaves it out.
    Otherwise {
        document: Arc<DocumentKey>,
        lexical: bool,
    },
    /// A vector whose chunk was never written, or is trimmed.
    NoChunk,
}

async fn check(
    session: &Session,
    query: &Query,
    candidate: Candidate<Place>,
    current: Arc<OnceCell<Option<PublishedVersion>>>,
) -> Result<Verdict> {
    let Place { document, chunk_no, run } = candidate.place.clone();
    let current = current
        .get_or_try_init(async || Ok(read::header(session, &document).await?.and_then(|header| header.current)))
        .await?;
    let is_shown = |it: &&PublishedVersion| {
        it.run == run && chunk_no < it.chunk_count && query.filter.admits(&document.tenant, &Facets::from(*it))
    };
    let Some(current) = current.as_ref().filter(is_shown) else {
        return Ok(Verdict::Otherwise { lexical: candidate.keyword_score.is_some(), document });
    };
    let key = RunKey { document: (*document).clone(), run };
    let Some(chunk) = read::chunk(session, &key, chunk_no).await? else { return Ok(Verdict::NoChunk) };
    Ok(Verdict::Hit(Box::new(candidate.into_hit(key.document, run, current.source.filename.clone(), chunk))))
}
