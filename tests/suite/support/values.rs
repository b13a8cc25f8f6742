//! Documents, rows and vectors to write; each a pure function of what names it.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use deckle::{
    contract::{
        document::{Bbox, BlobRef, Chunk, Confidence, Field, Figure, FigureKind, Locator, Method},
        error::{Failure, Reason},
        record::{Source, Status, TrailEntry},
    },
    store::{
        Completion, DocumentKey, Hit, PageRow, PublishedVersion, Query, QueryVector, RunKey, SearchFilter, Store,
        Submission, VectorSpace,
    },
};

/// A document of a tenant that no other test knows.
pub fn new_document() -> DocumentKey {
    DocumentKey { tenant: format!("tenant-{}", uuid::Uuid::now_v7()), document_id: "document".into() }
}

pub fn run_of(key: &DocumentKey, run: i64) -> RunKey {
    RunKey { document: key.clone(), run }
}

pub fn source(name: &str) -> Source {
    Source {
        uri: format!("blob:t/d/{name}"),
        filename: format!("{name}.pdf"),
        media_type: "application/pdf".into(),
        declared_media_type: None,
        size_bytes: 7,
        sha256: sha256(name),
    }
}

/// The hash of a file of this name.
pub fn sha256(name: &str) -> String {
    format!("{:0>64}", hex::encode(name))
}

/// The hash of the file of a run, as [`intake`], [`current`] and [`ended`] have it.
pub fn file_of(run: i64) -> String {
    sha256(&format!("run-{run}"))
}

pub fn trail(tokens: i64) -> Vec<TrailEntry> {
    vec![TrailEntry { stage: "ocr".into(), deckle_version: "0.1.0".into(), tokens, ..TrailEntry::default() }]
}

pub fn intake(run: i64, version: i64) -> Submission {
    Submission {
        run,
        source: source(&format!("run-{run}")),
        upload_id: format!("upload-{version}"),
        fingerprint: format!("{run}-{version}"),
        page_count: 3,
        attributes: BTreeMap::from([("version".into(), version.to_string())]),
        access: vec!["group:a".into()],
    }
}

pub fn current(run: i64, version: i64, page_count: u32, chunk_count: u32) -> PublishedVersion {
    PublishedVersion {
        run,
        version,
        status: Status::Published,
        fingerprint: format!("{run}-{version}"),
        source: source(&format!("run-{run}")),
        page_count,
        failed_pages: 0,
        block_count: 9,
        chunk_count,
        figure_count: chunk_count,
        field_count: chunk_count,
        language: "de".into(),
        title: Some(format!("version {version}")),
        confidence: Some(Confidence { mean: 0.9, p10: 0.7 }),
        document: Some(blob("document")),
        attributes: BTreeMap::from([("version".into(), version.to_string())]),
        access: vec!["group:a".into()],
        reasons: vec![Reason {
            code: "limit.time".into(),
            message: "late".into(),
            stage: "ocr".into(),
            page_no: Some(1),
            retryable: true,
        }],
        published_at: version,
        trail: trail(version),
    }
}

pub fn ended(run: i64, version: i64, status: Status) -> Completion {
    Completion {
        run,
        version,
        upload_id: "u".into(),
        fingerprint: "f".into(),
        event_id: "e".into(),
        status,
        source: source(&format!("run-{run}")),
        reasons: Vec::new(),
        at: version,
    }
}

pub fn blob(name: &str) -> BlobRef {
    BlobRef {
        key: format!("t/d/{name}"),
        sha256: "11".repeat(32),
        size_bytes: 3,
        media_type: "application/json".into(),
    }
}

pub fn page(page_no: u32, version: i64) -> PageRow {
    PageRow {
        page_no,
        version,
        seq: page_no,
        page: Some(blob(&format!("page-{page_no}-{version}"))),
        method: Some(Method::Ocr),
        confidence: Some(Confidence { mean: 0.5, p10: 0.25 }),
        reason: None,
        trail: trail(version),
    }
}

/// A chunk that tells who wrote it.
pub fn chunk(run: i64, version: i64, chunk_no: u32) -> Chunk {
    Chunk {
        chunk_no,
        headings: vec!["Heading".into()],
        text: format!("run {run} version {version} chunk {chunk_no}: Ünïcode, 'quotes' and \0"),
        prov: vec![Locator::on_page(1, Bbox { left: 1.0, top: 2.5, right: 3.25, bottom: 4.125 })],
        token_count: 12,
    }
}

pub fn chunks(run: i64, version: i64, numbers: std::ops::Range<u32>) -> Vec<Chunk> {
    numbers.map(|chunk_no| chunk(run, version, chunk_no)).collect()
}

/// Figures that tell who wrote them, half of them tables without a place.
pub fn figures(run: i64, version: i64, count: u32) -> Vec<Figure> {
    let figure = |figure_no: u32| {
        let is_table = figure_no.is_multiple_of(2);
        Figure {
            figure_no,
            kind: if is_table { FigureKind::Table } else { FigureKind::Picture },
            prov: if is_table { Vec::new() } else { vec![Locator::on_page(2, Bbox::default())] },
            caption: (!is_table).then(|| format!("Figure {figure_no} of {run}: \0")),
            text: format!("version {version}"),
            table: None,
            confidence: Some(0.5),
            method: Method::Ocr,
        }
    };
    (0..count).map(figure).collect()
}

/// Fields that tell who wrote them.
pub fn fields(run: i64, version: i64, count: u32) -> Vec<Field> {
    let field = |field_no: u32| Field {
        field_no,
        name: format!("Nummer {field_no}"),
        value: format!("{run}-{version} \0"),
        prov: field_no.is_multiple_of(2).then(|| Locator::on_page(1, Bbox::default())),
        confidence: None,
        method: Method::TextLayer,
    };
    (0..count).map(field).collect()
}

/// The one space of these laws: a side may fix model and dimension in its schema.
pub fn space() -> VectorSpace {
    VectorSpace { model: "laws".into(), chunking: "whole".into(), dimension: 8, normalized: true }
}

/// A vector of length 1 that turns with its angle (degrees) from the first axis to the second.
pub fn vector(degrees: f32) -> Vec<f32> {
    let mut vector = vec![0.0; 8];
    (vector[1], vector[0]) = degrees.to_radians().sin_cos();
    vector
}

pub fn question(key: &DocumentKey, k: usize) -> Query {
    let vector = QueryVector { model: space().model, vector: vector(0.0) };
    Query { vector: Some(vector), keywords: None, filter: SearchFilter::of_tenant(&key.tenant), k }
}

/// Writes pages, chunks, vectors, figures and fields of a run and makes it the current one.
pub async fn publish(store: &dyn Store, key: &DocumentKey, run: i64, version: i64, page_count: u32, chunk_count: u32) {
    let run_key = run_of(key, run);
    for page_no in 1..=page_count {
        store.put_page(&run_key, &page(page_no, version)).await.unwrap();
    }
    store.put_chunks(&run_key, version, &chunks(run, version, 0..chunk_count)).await.unwrap();
    let vectors: Vec<_> = (0..chunk_count).map(|chunk_no| (chunk_no, vector(chunk_no as f32))).collect();
    store.put_vectors(&run_key, version, &space(), &vectors).await.unwrap();
    store.trim_chunks(&run_key, version, chunk_count).await.unwrap();
    store.put_figures(&run_key, version, &figures(run, version, chunk_count)).await.unwrap();
    store.put_fields(&run_key, version, &fields(run, version, chunk_count)).await.unwrap();
    store.set_current(key, &current(run, version, page_count, chunk_count)).await.unwrap();
    store.put_ended(key, &ended(run, version, Status::Published)).await.unwrap();
}

/// Asks for words alone.
pub fn asking_for(key: &DocumentKey, words: &str, k: usize) -> Query {
    Query { vector: None, keywords: Some(words.into()), ..question(key, k) }
}

/// Searches until the hits are as wanted; an index may be late.
pub async fn found(store: &dyn Store, query: &Query, wanted: &[(i64, u32)]) -> Vec<Hit> {
    let hits = eventually(|| async {
        let hits = store.search(query).await.unwrap();
        let got: Vec<_> = hits.iter().map(|hit| (hit.run, hit.chunk.chunk_no)).collect();
        if got == wanted { Ok(hits) } else { Err(got) }
    });
    hits.await.unwrap_or_else(|got| panic!("found {got:?} instead of {wanted:?}"))
}

/// Asks until the answer is good, for at most 30 s; gives the last answer otherwise.
pub async fn eventually<T, E, F: Future<Output = Result<T, E>>>(mut ask: impl FnMut() -> F) -> Result<T, E> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            answer => return answer,
        }
    }
}

pub fn is_defect<T>(result: Result<T, Failure>) -> bool {
    matches!(result, Err(Failure::Defect { .. }))
}
