//! The index of the words of all current runs.
//!
//! The law: one map says which documents there are, and whoever searches reads it together with the state of the
//! words that it speaks of. A document that is read anew gets a new number; rows of a number that the map does not know
//! are found by nobody.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tantivy::{
    IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
    collector::{FilterCollector, TopDocs},
    indexer::IndexWriterOptions,
    query::{BooleanQuery, Occur, PhraseQuery, Query, TermQuery},
    schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
};

use super::{Contents, DOCUMENTS, Headers, Place, VisibleVersion, compute, ring::read_ring};
use crate::{
    DocumentKey, Header, SearchFilter,
    cql::{read, session::Session, spaces::Spaces},
    json::decode,
    keywords::{self, Keywords, Phrase},
    similarity::Scored,
};
use deckle_contract::{
    document::Chunk,
    error::{Failure, Result},
    telemetry,
};

/// Bytes that new rows may take until they are put in order.
const WRITING_BYTES: usize = 32 << 20;

/// Rows that are handed over at once while all are loaded.
const HANDED_OVER: usize = 256;

/// Rows of a page of chunks, of a KiB or two each.
const PAGE: i32 = 500;

/// Documents that are replaced at once; their words are held beside the index meanwhile.
const REPLACED: usize = 256;

/// The words of all current runs.
#[derive(Default)]
pub(in crate::cql) struct TextIndex {
    /// `None` until they are loaded.
    held: RwLock<Option<Arc<Held>>>,
}

impl TextIndex {
    /// The `depth` chunks that the filter admits and that have the words best, best first.
    pub(in crate::cql) async fn search(
        &self,
        keywords: &Keywords,
        filter: &SearchFilter,
        depth: usize,
    ) -> Result<Vec<Scored<Place>>> {
        let Some(held) = self.held() else { return Ok(Vec::new()) };
        let (keywords, filter) = (keywords.clone(), filter.clone());
        compute(move || held.search(&keywords, &filter, depth)).await?.map_err(failure)
    }

    /// The words of a question that are not common.
    pub(in crate::cql) fn rare(&self, keywords: &Keywords) -> Result<Keywords> {
        let Some(held) = self.held() else { return Ok(Keywords::default()) };
        let searcher = held.reader.searcher();
        let with_word = |word: &str| searcher.doc_freq(&Term::from_field_text(held.fields.words, word));
        keywords.rare(searcher.num_docs(), with_word).map_err(failure)
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Contents for TextIndex {
    async fn load(&self, session: &Session, _: &Spaces) -> Result<()> {
        let new = Arc::new(Held::new().map_err(failure)?);
        read_ring(session, async |range, shown| {
            let documents: HashMap<_, _> = shown
                .into_iter()
                .map(|(key, shown)| (key.clone(), (new.add_document(key, shown.clone()), shown)))
                .collect();
            let select = "SELECT tenant, document_id, run, chunk_no, chunk FROM chunks \
                          WHERE token(tenant, document_id) > ? AND token(tenant, document_id) <= ?";
            let mut chunks = session.stream::<(String, String, i64, i32, String), _>(select, range, PAGE);
            let mut rows = Vec::new();
            while let Some((tenant, document_id, run, chunk_no, chunk)) = chunks.try_next().await? {
                let document = DocumentKey { tenant, document_id };
                let Some((number, shown)) = documents.get(&document) else { continue };
                if shown.run == run && chunk_no.unsigned_abs() < shown.chunk_count {
                    rows.push(Row::of(*number, &decode(&chunk)?));
                }
                if rows.len() == HANDED_OVER {
                    let (new, rows) = (Arc::clone(&new), std::mem::take(&mut rows));
                    compute(move || new.add_rows(rows)).await?.map_err(failure)?;
                }
            }
            let new = Arc::clone(&new);
            compute(move || new.add_rows(rows)).await?.map_err(failure)
        })
        .await?;
        let all = Arc::clone(&new);
        compute(move || all.replace(Vec::new())).await?.map_err(failure)?;
        tracing::info!(chunks = new.reader.searcher().num_docs(), "words loaded");
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(())
    }

    async fn replace(&self, session: &Session, _: &Spaces, documents: BTreeSet<DocumentKey>) -> Result<Headers> {
        let Some(held) = self.held() else { return Ok(Headers::new()) };
        let mut headers = Headers::new();
        let mut read = stream::iter(documents)
            .map(|document| DocumentText::read(session, document))
            .buffer_unordered(DOCUMENTS)
            .try_chunks(REPLACED);
        while let Some(portion) = read.try_next().await.map_err(|error| error.1)? {
            headers.extend(portion.iter().map(|words| (words.document.clone(), words.header.clone())));
            let held = Arc::clone(&held);
            compute(move || held.replace(portion)).await?.map_err(failure)?;
        }
        Ok(headers)
    }

    fn report_size(&self) {
        let Some(held) = self.held() else { return };
        let searcher = held.reader.searcher();
        let bytes = searcher.space_usage().map_or(0, |usage| usage.total().get_bytes());
        telemetry::search_index("keywords", searcher.num_docs() as usize, bytes as usize);
    }
}

/// What the tables say of one document.
struct DocumentText {
    document: DocumentKey,
    header: Option<Header>,
    /// The chunks of its current run.
    chunks: Vec<Chunk>,
}

impl DocumentText {
    async fn read(session: &Session, document: DocumentKey) -> Result<Self> {
        let header = read::header(session, &document).await?;
        let chunks = match header.as_ref().and_then(|header| header.current.as_ref()) {
            Some(current) => read::chunk_rows(session, &document, current.run, current.chunk_count).await?,
            None => Vec::new(),
        };
        Ok(Self { document, header, chunks })
    }
}

/// A chunk as it is entered.
struct Row {
    /// The number of its document.
    number: u64,
    chunk_no: u32,
    words: String,
}

impl Row {
    fn of(number: u64, chunk: &Chunk) -> Self {
        Self { number, chunk_no: chunk.chunk_no, words: keywords::of_chunk(chunk) }
    }
}

/// An index that is loaded into memory.
struct Held {
    fields: Fields,
    writer: Mutex<IndexWriter>,
    /// Reloaded only while `documents` is locked for writing.
    reader: IndexReader,
    documents: RwLock<Documents>,
}

#[derive(Clone, Copy)]
struct Fields {
    words: Field,
    /// The number of a document.
    document: Field,
    chunk_no: Field,
}

/// The name of [`Fields::document`], which a collector asks for by name.
const DOCUMENT: &str = "document";

/// The documents whose words are held.
#[derive(Default)]
struct Documents {
    by_number: HashMap<u64, (Arc<DocumentKey>, VisibleVersion)>,
    numbers: HashMap<Arc<DocumentKey>, u64>,
    next: u64,
}

impl Documents {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, number: u64, key: DocumentKey, shown: VisibleVersion) {
        let key = Arc::new(key);
        self.numbers.insert(Arc::clone(&key), number);
        self.by_number.insert(number, (key, shown));
    }

    fn remove(&mut self, key: &DocumentKey) {
        if let Some(number) = self.numbers.remove(key) {
            self.by_number.remove(&number);
        }
    }
}

impl Held {
    fn new() -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            // Words are cut and folded before they come here.
            .set_tokenizer("whitespace")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let fields = Fields {
            words: schema.add_text_field("words", TextOptions::default().set_indexing_options(indexing)),
            document: schema.add_u64_field(DOCUMENT, INDEXED | FAST),
            chunk_no: schema.add_u64_field("chunk_no", FAST),
        };
        let index = tantivy::Index::create_in_ram(schema.build());
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITING_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        Ok(Self {
            fields,
            writer: Mutex::new(index.writer_with_options(options)?),
            reader: index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?,
            documents: RwLock::default(),
        })
    }

    fn add_document(&self, key: DocumentKey, shown: VisibleVersion) -> u64 {
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        let number = documents.number();
        documents.insert(number, key, shown);
        number
    }

    /// Enters rows, which nobody finds before [`Held::replace`].
    fn add_rows(&self, rows: Vec<Row>) -> tantivy::Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.enter(&writer, rows)
    }

    fn enter(&self, writer: &IndexWriter, rows: impl IntoIterator<Item = Row>) -> tantivy::Result<()> {
        for Row { number, chunk_no, words } in rows {
            let mut row = TantivyDocument::new();
            row.add_text(self.fields.words, words);
            row.add_u64(self.fields.document, number);
            row.add_u64(self.fields.chunk_no, u64::from(chunk_no));
            writer.add_document(row)?;
        }
        Ok(())
    }

    /// Puts documents in the place of what is held of them, and shows what was entered.
    fn replace(&self, portion: Vec<DocumentText>) -> tantivy::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for DocumentText { document, header, chunks } in portion {
            let (old, number) = {
                let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
                (documents.numbers.get(&document).copied(), documents.number())
            };
            if let Some(old) = old {
                writer.delete_term(Term::from_field_u64(self.fields.document, old));
            }
            let shown = header.as_ref().and_then(|header| header.current.as_ref()).map(VisibleVersion::from);
            self.enter(&writer, chunks.iter().map(|chunk| Row::of(number, chunk)))?;
            new.push((document, shown.map(|shown| (number, shown))));
        }
        writer.commit()?;
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        self.reader.reload()?;
        for (document, shown) in new {
            documents.remove(&document);
            if let Some((number, shown)) = shown {
                documents.insert(number, document, shown);
            }
        }
        Ok(())
    }

    fn search(&self, keywords: &Keywords, filter: &SearchFilter, depth: usize) -> tantivy::Result<Vec<Scored<Place>>> {
        let documents = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        let searcher = self.reader.searcher();
        // A collector reserves what it is asked for.
        let depth = depth.min(searcher.num_docs() as usize);
        if depth == 0 || keywords.is_empty() {
            return Ok(Vec::new());
        }
        let admitted: HashSet<u64> = documents
            .by_number
            .iter()
            .filter(|(_, (key, shown))| filter.admits(&key.tenant, &shown.facets))
            .map(|(number, _)| *number)
            .collect();
        let admitted = Arc::new(admitted);
        let is_admitted = move |number: u64| admitted.contains(&number);
        let collector =
            FilterCollector::new(DOCUMENT.to_owned(), is_admitted, TopDocs::with_limit(depth).order_by_score());
        let mut found = Vec::with_capacity(depth);
        let matching = searcher.search(&self.query(keywords), &collector)?;
        for (score, address) in matching.into_iter().take_while(|(score, _)| *score >= keywords.least_score) {
            let (number, chunk_no) = numbers(&searcher, address)?;
            let Some((document, shown)) = documents.by_number.get(&number) else { continue };
            found.push(Scored { score, place: Place { document: Arc::clone(document), chunk_no, run: shown.run } });
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// A question in the terms of the index.
    fn query(&self, keywords: &Keywords) -> BooleanQuery {
        let part = |occur, phrase: &Phrase| -> (Occur, Box<dyn Query>) {
            let mut terms: Vec<_> = phrase.iter().map(|word| Term::from_field_text(self.fields.words, word)).collect();
            match (terms.len(), terms.pop()) {
                (1, Some(term)) => (occur, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))),
                (_, last) => {
                    terms.extend(last);
                    (occur, Box::new(PhraseQuery::new(terms)))
                }
            }
        };
        let required = keywords.required.iter().map(|phrase| part(Occur::Must, phrase));
        BooleanQuery::new(required.chain(keywords.wanted.iter().map(|phrase| part(Occur::Should, phrase))).collect())
    }
}

/// The numbers of a row's document and chunk.
fn numbers(searcher: &Searcher, address: tantivy::DocAddress) -> tantivy::Result<(u64, u32)> {
    let columns = searcher.segment_reader(address.segment_ord).fast_fields();
    let number = |name| columns.column_first_or_default::<u64>(name).map(|column| column.get_val(address.doc_id));
    Ok((number(DOCUMENT)?, u32::try_from(number("chunk_no")?).unwrap_or(u32::MAX)))
}

fn failure(error: TantivyError) -> Failure {
    Failure::defect(format!("store: the index of words: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A document's run with a chunk for each text; none is current where there is no run.
    fn words(document: &str, run: Option<i64>, texts: &[&str]) -> DocumentText {
        let source = json!({"uri": "", "filename": "", "media_type": "", "size_bytes": 0, "sha256": ""});
        let current = run.map(|run| {
            json!({
                "run": run, "version": run, "status": "published", "fingerprint": "", "source": source,
                "page_count": 0, "failed_pages": 0, "block_count": 0, "chunk_count": texts.len(), "language": "und",
                "reasons": [], "published_at": 0, "trail": [], "access": [format!("user:{document}")],
            })
        });
        let key = json!({"tenant": "t", "document_id": document});
        let chunk = |(text, chunk_no): (&&str, u32)| -> Chunk {
            let chunk = json!({"chunk_no": chunk_no, "headings": [], "text": text, "prov": [], "token_count": 0});
            serde_json::from_value(chunk).unwrap()
        };
        DocumentText {
            document: serde_json::from_value(key.clone()).unwrap(),
            header: serde_json::from_value(json!({"key": key, "current": current})).unwrap(),
            chunks: texts.iter().zip(0..).map(chunk).collect(),
        }
    }

    /// Document, run and chunk of what is found, in no order.
    fn found(held: &Held, typed: &str, filter: &SearchFilter) -> Vec<(String, i64, u32)> {
        let found = held.search(&Keywords::parse(typed), filter, 99).unwrap();
        let mut places: Vec<_> = found
            .into_iter()
            .map(|Scored { place, .. }| (place.document.document_id.clone(), place.run, place.chunk_no))
            .collect();
        places.sort();
        places
    }

    fn place(document: &str, run: i64, chunk_no: u32) -> (String, i64, u32) {
        (document.into(), run, chunk_no)
    }

    #[test]
    fn a_document_read_anew_takes_the_place_of_what_was_held() {
        let (held, all) = (Held::new().unwrap(), SearchFilter::default());
        held.replace(vec![words("a", Some(1), &["one", "two"]), words("b", Some(1), &["one"])]).unwrap();
        assert_eq!(found(&held, "one", &all), [place("a", 1, 0), place("b", 1, 0)]);
        for run in 2..30 {
            held.replace(vec![words("a", Some(run), &["three", "one", "four"])]).unwrap();
            assert_eq!(found(&held, "one", &all), [place("a", run, 1), place("b", 1, 0)]);
            assert_eq!(found(&held, "two", &all), []);
            assert_eq!(held.reader.searcher().num_docs(), 4, "rows of older runs are held");
        }
        held.replace(vec![words("a", None, &[]), words("c", None, &[])]).unwrap();
        assert_eq!(found(&held, "one three", &all), [place("b", 1, 0)]);
        let documents = held.documents.read().unwrap();
        assert_eq!((documents.by_number.len(), documents.numbers.len()), (1, 1));
    }

    #[test]
    fn what_is_entered_is_found_once_it_is_shown() {
        let (held, all) = (Held::new().unwrap(), SearchFilter::default());
        let DocumentText { document, header, chunks } = words("a", Some(1), &["one"]);
        let number = held.add_document(document, VisibleVersion::from(&header.unwrap().current.unwrap()));
        held.add_rows(chunks.iter().map(|chunk| Row::of(number, chunk)).collect()).unwrap();
        assert_eq!(found(&held, "one", &all), []);
        held.replace(Vec::new()).unwrap();
        assert_eq!(found(&held, "one", &all), [place("a", 1, 0)]);
    }

    #[test]
    fn a_filter_takes_no_place_from_what_it_admits() {
        let held = Held::new().unwrap();
        held.replace(vec![words("a", Some(1), &["one"; 20]), words("b", Some(1), &["one and many others"])]).unwrap();
        let filter = SearchFilter { access: Some(vec!["user:b".into()]), ..SearchFilter::default() };
        let first = held.search(&Keywords::parse("one"), &filter, 1).unwrap();
        assert_eq!(first.iter().map(|found| found.place.document.document_id.as_str()).collect::<Vec<_>>(), ["b"]);
    }
}
