//! The search in process: every vector of every current run, one pass, the best in a bounded heap; words by FTS5, in
//! the same file and the same moment.
//!
//! The law: memory is constant in the number of vectors. Rows are scored where SQLite holds them, never collected.

use std::collections::{HashMap, hash_map::Entry};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::{
    super::{
        DocumentKey, Hit, Query, QueryVector, SearchFilter,
        fusion::{self, Candidate},
        json::decode,
        keywords::{Keywords, Phrase},
        query::Facets,
        similarity::{self, Best, cosine_bytes, dot_bytes},
    },
    connection::failure,
};
use deckle_contract::error::{Failure, Result};

/// Where a chunk lies: its document's integer and its number. Among equals the one stored first is better.
type Place = (i64, u32);

type Scored = similarity::Scored<Place>;

/// The chunks that answer a question, best first.
pub(super) fn search(tx: &Connection, query: &Query) -> Result<Vec<Hit>> {
    let unit = query.vector.as_ref().map(similarity::unit).transpose()?;
    let mut keywords = query.keywords.as_deref().map(Keywords::parse);
    let mut depth = query.k;
    if let (Some(_), Some(all)) = (&unit, &keywords) {
        depth = depth.max(fusion::DEPTH);
        keywords = Some(rare(tx, all)?);
    }
    loop {
        let dense = match (&query.vector, &unit) {
            (Some(asked), Some(unit)) => Some(nearest(tx, asked, unit, &query.filter, depth)?),
            _ => None,
        };
        let lexical = keywords.as_ref().map(|words| with_words(tx, words, &query.filter, depth)).transpose()?;
        let is_all = [&dense, &lexical].into_iter().flatten().all(|found| found.len() < depth);
        let candidates = fusion::candidates(dense, lexical);
        let hits = candidates.into_iter().filter_map(|candidate| hit(tx, candidate).transpose()).take(query.k);
        let hits = hits.collect::<Result<Vec<_>>>()?;
        if hits.len() == query.k || is_all {
            return Ok(hits);
        }
        // Some have a vector and no chunk: those behind them are asked for.
        depth = depth.saturating_mul(4);
    }
}

/// What a search knows of a document.
struct Document {
    id: i64,
    run: i64,
    chunk_count: u32,
    is_admitted: bool,
}

/// Selects documents with a current run, for [`document`] to read. Attributes and access are read where the filter
/// looks at what documents are.
fn select_documents(filter: &SearchFilter, condition: &str) -> String {
    let facets = if filter.looks_at_facets() {
        "language, media_type, published_at, current -> '$.attributes', current -> '$.access'"
    } else {
        "NULL, NULL, NULL, NULL, NULL"
    };
    format!(
        "SELECT id, tenant, current_run, chunk_count, {facets} FROM documents
         WHERE current_run IS NOT NULL AND {condition}"
    )
}

fn document(row: &Row<'_>, filter: &SearchFilter) -> Result<Document> {
    let number = |index| row.get::<_, i64>(index).map_err(failure);
    let text = |index| row.get::<_, String>(index).map_err(failure);
    let is_admitted = if filter.looks_at_facets() {
        let facets = Facets {
            language: text(4)?,
            media_type: text(5)?,
            published_at: number(6)?,
            attributes: cell(row, 7)?,
            access: cell(row, 8)?,
        };
        filter.admits(&text(1)?, &facets)
    } else {
        let tenant = row.get_ref(1).map_err(failure)?.as_str().map_err(|e| failure(e.into()))?;
        filter.tenant.as_ref().is_none_or(|wanted| wanted == tenant)
    };
    Ok(Document { id: number(0)?, run: number(2)?, chunk_count: row.get(3).map_err(failure)?, is_admitted })
}

/// A part of a header's JSON; empty in one that has none.
fn cell<T: DeserializeOwned + Default>(row: &Row<'_>, index: usize) -> Result<T> {
    let json: Option<String> = row.get(index).map_err(failure)?;
    json.as_deref().map_or_else(|| Ok(T::default()), decode)
}

struct Space {
    id: i64,
    dimension: u32,
    normalized: bool,
}

fn spaces(tx: &Connection, model: &str) -> Result<Vec<Space>> {
    let mut statement = tx
        .prepare_cached("SELECT id, dimension, normalized FROM spaces WHERE model = ?1 ORDER BY id")
        .map_err(failure)?;
    let rows = statement
        .query_map([model], |row| Ok(Space { id: row.get(0)?, dimension: row.get(1)?, normalized: row.get(2)? }))
        .map_err(failure)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failure)
}

/// The chunks of admitted documents nearest in meaning, best first.
fn nearest(
    tx: &Connection,
    asked: &QueryVector,
    unit: &[f32],
    filter: &SearchFilter,
    depth: usize,
) -> Result<Vec<Scored>> {
    let spaces = spaces(tx, &asked.model)?;
    for space in &spaces {
        similarity::check_dimension(asked, space.dimension)?;
    }
    let mut best = Best::new(depth);
    let condition = if filter.tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL" };
    let mut documents = tx.prepare_cached(&select_documents(filter, condition)).map_err(failure)?;
    let mut rows = documents.query([&filter.tenant]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let document = document(row, filter)?;
        if document.is_admitted {
            spaces.iter().try_for_each(|space| score(tx, &document, space, unit, &mut best))?;
        }
    }
    Ok(best.into_sorted())
}

/// Scores the vectors of a document in one space.
fn score(tx: &Connection, document: &Document, space: &Space, unit: &[f32], best: &mut Best<Place>) -> Result<()> {
    let select =
        "SELECT chunk_no, vector FROM vectors WHERE document = ?1 AND run = ?2 AND space = ?3 AND chunk_no < ?4";
    let mut statement = tx.prepare_cached(select).map_err(failure)?;
    let values = params![document.id, document.run, space.id, document.chunk_count];
    let mut rows = statement.query(values).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let bytes = row.get_ref(1).map_err(failure)?.as_blob().map_err(|e| failure(e.into()))?;
        if bytes.len() != size_of_val(unit) {
            return Err(Failure::defect("store: a stored vector has another dimension than its space"));
        }
        let score = if space.normalized { dot_bytes(unit, bytes) } else { cosine_bytes(unit, bytes) };
        if best.admits(score) {
            best.push(Scored { score, place: (document.id, row.get(0).map_err(failure)?) });
        }
    }
    Ok(())
}

/// The chunks of admitted documents that have the words, best first.
fn with_words(tx: &Connection, keywords: &Keywords, filter: &SearchFilter, depth: usize) -> Result<Vec<Scored>> {
    if keywords.is_empty() {
        return Ok(Vec::new());
    }
    // CROSS JOIN fixes the order: words first, by their rank, then the chunk that each names.
    let select = "SELECT c.document, c.run, c.chunk_no, w.rank FROM chunk_words w CROSS JOIN chunks c ON c.id = w.rowid
                  WHERE w.chunk_words MATCH ?1 ORDER BY w.rank";
    let mut statement = tx.prepare_cached(select).map_err(failure)?;
    let mut rows = statement.query([matching(keywords)]).map_err(failure)?;
    let mut documents: HashMap<i64, Option<Document>> = HashMap::new();
    let mut best = Best::new(depth);
    while let Some(row) = rows.next().map_err(failure)? {
        let (id, run, chunk_no): (i64, i64, u32) =
            (row.get(0).map_err(failure)?, row.get(1).map_err(failure)?, row.get(2).map_err(failure)?);
        // FTS5 ranks the better lower.
        let score = -row.get::<_, f64>(3).map_err(failure)? as f32;
        if !best.admits(score) || score < keywords.least_score {
            break;
        }
        let document = match documents.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(find(tx, id, filter)?),
        };
        let is_shown = |it: &Document| it.is_admitted && it.run == run && chunk_no < it.chunk_count;
        if document.as_ref().is_some_and(is_shown) {
            best.push(Scored { score, place: (id, chunk_no) });
        }
    }
    Ok(best.into_sorted())
}

/// The words of a question that are not common, in the chunks of all runs there are.
fn rare(tx: &Connection, keywords: &Keywords) -> Result<Keywords> {
    // The highest number instead of a count, which would read all: the more was removed, the more counts as rare.
    let select = "SELECT coalesce(max(id), 0) FROM chunks";
    let chunks =
        tx.prepare_cached(select).and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)));
    let select = "SELECT doc FROM chunk_vocabulary WHERE term = ?1";
    let mut statement = tx.prepare_cached(select).map_err(failure)?;
    keywords.rare(chunks.map_err(failure)?.unsigned_abs(), |word| {
        let found = statement.query_row([word], |row| row.get::<_, i64>(0)).optional();
        Ok(found.map_err(failure)?.map_or(0, i64::unsigned_abs))
    })
}

/// A document by its integer; `None` where nothing is current.
fn find(tx: &Connection, id: i64, filter: &SearchFilter) -> Result<Option<Document>> {
    let mut statement = tx.prepare_cached(&select_documents(filter, "id = ?1")).map_err(failure)?;
    let found = statement.query_row([id], |row| Ok(document(row, filter))).optional().map_err(failure)?;
    found.transpose()
}

/// A question in the query language of FTS5. Words are letters and digits, so that in quotes they say nothing else.
fn matching(keywords: &Keywords) -> String {
    let join = |phrases: &mut dyn Iterator<Item = &Phrase>, by: &str| {
        phrases.map(|phrase| format!("\"{}\"", phrase.join(" "))).collect::<Vec<_>>().join(by)
    };
    let any = join(&mut keywords.required.iter().chain(&keywords.wanted), " OR ");
    if keywords.required.is_empty() {
        return any;
    }
    // What is only wanted adds to the rank.
    format!("({}) AND ({any})", join(&mut keywords.required.iter(), " AND "))
}

/// Reads what is shown of a hit; `None` for a vector whose chunk was never written.
fn hit(tx: &Connection, candidate: Candidate<Place>) -> Result<Option<Hit>> {
    let mut statement = tx
        .prepare_cached(
            "SELECT d.tenant, d.document_id, d.current_run, d.current ->> '$.source.filename', c.chunk
             FROM documents d JOIN chunks c ON c.document = d.id AND c.run = d.current_run AND c.chunk_no = ?2
             WHERE d.id = ?1",
        )
        .map_err(failure)?;
    let (document, chunk_no) = candidate.place;
    let row = statement
        .query_row(params![document, chunk_no], |row| {
            let key = DocumentKey { tenant: row.get(0)?, document_id: row.get(1)? };
            Ok((key, row.get(2)?, row.get(3)?, row.get::<_, String>(4)?))
        })
        .optional()
        .map_err(failure)?;
    let Some((key, run, filename, chunk)) = row else { return Ok(None) };
    Ok(Some(candidate.into_hit(key, run, filename, decode(&chunk)?)))
}
