//! One fully populated and one minimal value of every event.

use std::collections::BTreeMap;

use deckle::contract::{
    document::{Bbox, BlobRef, Confidence, Locator},
    error::Reason,
    record::{
        Assembled, DeadLetter, Enriched, Envelope, Event, Lane, OcrMode, Options, PageAnalysed, PageRead, PageSplit,
        Published, PublishedChunk, PublishedVector, Readmitted, Source, Status, TrailEntry, Uploaded, VectorPart,
    },
};

/// An event with samples. In `full` every option is `Some` and every list and map has entries; in `minimal` none.
pub trait Sample: Event + Clone + PartialEq + std::fmt::Debug {
    fn full() -> Self;
    fn minimal() -> Self;
}

/// Calls a generic function for every event type.
macro_rules! for_each_event {
    ($check:ident) => {{
        $check::<deckle::contract::record::Uploaded>();
        $check::<deckle::contract::record::Readmitted>();
        $check::<deckle::contract::record::PageSplit>();
        $check::<deckle::contract::record::PageRead>();
        $check::<deckle::contract::record::PageAnalysed>();
        $check::<deckle::contract::record::Assembled>();
        $check::<deckle::contract::record::Enriched>();
        $check::<deckle::contract::record::Published>();
        $check::<deckle::contract::record::PublishedChunk>();
        $check::<deckle::contract::record::PublishedVector>();
        $check::<deckle::contract::record::DeadLetter>();
    }};
}
pub(crate) use for_each_event;

/// A moment with microseconds, so that a loss of precision shows.
const RUN: i64 = 1_795_000_123_456_789;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn full_envelope() -> Envelope {
    Envelope {
        event_id: "01900000-0000-7000-8000-000000000001".into(),
        tenant: "acme".into(),
        document_id: deckle::contract::record::document_id("acme", &"a".repeat(64)),
        upload_id: "01900000-0000-7000-8000-000000000002".into(),
        run: RUN,
        version: RUN + 1,
        fingerprint: "f".repeat(64),
        lane: Lane::Bulk,
        batch_id: Some("night-7".into()),
        parent_id: Some("parent".into()),
        root_id: Some("root".into()),
        path_in_parent: Some("attachments/Übersicht.pdf".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        tracestate: Some("vendor=1".into()),
        attributes: map(&[("case", "4711"), ("due_at", "soon")]),
        access: vec!["group:legal".into(), "user:7".into()],
        deadline_at: Some(RUN + 60_000_000),
        trail: vec![TrailEntry {
            stage: "ocr".into(),
            deckle_version: "0.1.0".into(),
            model: Some("rapidocr".into()),
            weights_sha256: Some("b".repeat(64)),
            config_hash: "c0ffee".into(),
            wall_us: 1_000_001,
            cpu_us: 2,
            gpu_us: 3,
            pages: 4,
            bytes: 5_000_000_000,
            tokens: 6,
            decisions: BTreeMap::from([("text_layer".into(), 3), ("no_text_layer".into(), 1)]),
            signals: BTreeMap::from([("unmapped".into(), 0.25), ("characters".into(), 1e9)]),
        }],
    }
}

pub fn minimal_envelope() -> Envelope {
    deckle::contract::record::wire::Headers::default().envelope()
}

fn source() -> Source {
    Source {
        uri: "blob:acme/doc/sha".into(),
        filename: "Übersicht.pdf".into(),
        media_type: "application/pdf".into(),
        declared_media_type: Some("application/octet-stream".into()),
        size_bytes: 5_000_000_000,
        sha256: "a".repeat(64),
    }
}

fn minimal_source() -> Source {
    Source {
        uri: String::new(),
        filename: String::new(),
        media_type: String::new(),
        declared_media_type: None,
        size_bytes: 0,
        sha256: String::new(),
    }
}

fn options() -> Options {
    Options {
        languages: vec!["de".into(), "zh-Hans".into()],
        ocr_mode: OcrMode::Force,
        password: Some("hunter2".into()),
        force: true,
    }
}

fn blob(name: &str) -> BlobRef {
    BlobRef {
        key: format!("acme/doc/{name}"),
        sha256: "d".repeat(64),
        size_bytes: 5_000_000_000,
        media_type: "application/json".into(),
    }
}

fn reason() -> Reason {
    Reason {
        code: "pdf.encrypted".into(),
        message: "the PDF needs a password".into(),
        stage: "split".into(),
        page_no: Some(3),
        retryable: true,
    }
}

fn minimal_reason() -> Reason {
    Reason { code: String::new(), message: String::new(), stage: String::new(), page_no: None, retryable: false }
}

impl Sample for Uploaded {
    fn full() -> Self {
        let content = Some(vec![0, 0x80, 0xFF]);
        Self { envelope: full_envelope(), source: source(), options: options(), content }
    }
    fn minimal() -> Self {
        let options = Options::default();
        Self { envelope: minimal_envelope(), source: minimal_source(), options, content: None }
    }
}

impl Sample for PageSplit {
    fn full() -> Self {
        let facts = Some(blob("facts"));
        Self { envelope: full_envelope(), source: source(), options: options(), page_no: 3, page_count: 3_000, facts }
    }
    fn minimal() -> Self {
        let options = Options::default();
        Self { envelope: minimal_envelope(), source: minimal_source(), options, page_no: 1, page_count: 1, facts: None }
    }
}

impl Sample for PageRead {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            page_no: 3,
            page_count: 3_000,
            page: Some(blob("page")),
            reason: Some(reason()),
            facts: Some(blob("facts")),
        }
    }
    fn minimal() -> Self {
        let (envelope, source) = (minimal_envelope(), minimal_source());
        Self { envelope, source, page_no: 1, page_count: 1, page: None, reason: None, facts: None }
    }
}

impl Sample for PageAnalysed {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            page_no: 3,
            page_count: 3_000,
            page: Some(blob("page")),
            reason: Some(reason()),
            facts: Some(blob("facts")),
        }
    }
    fn minimal() -> Self {
        let (envelope, source) = (minimal_envelope(), minimal_source());
        Self { envelope, source, page_no: 1, page_count: 1, page: None, reason: None, facts: None }
    }
}

impl Sample for Assembled {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            page_count: 3_000,
            failed_pages: 1,
            document: blob("document"),
            reasons: vec![reason()],
            embed_with: vec!["all-MiniLM-L6-v2".into()],
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            source: minimal_source(),
            page_count: 0,
            failed_pages: 0,
            document: blob("document"),
            reasons: vec![],
            embed_with: vec![],
        }
    }
}

impl Sample for Enriched {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            status: Status::Partial,
            page_count: 3_000,
            failed_pages: 1,
            document: Some(blob("document")),
            chunks: vec![blob("chunks-0"), blob("chunks-1")],
            chunk_count: 12_000,
            vectors: vec![VectorPart {
                model: "all-MiniLM-L6-v2".into(),
                chunking: "structure/256".into(),
                dimension: 384,
                normalized: true,
                first_chunk_no: 0,
                count: 2_730,
                blob: blob("vectors-0"),
            }],
            language: "de".into(),
            reasons: vec![reason()],
            vectors_of: Some(RUN + 2),
            claim: Some(RUN + 3),
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            source: minimal_source(),
            status: Status::Failed,
            page_count: 0,
            failed_pages: 0,
            document: None,
            chunks: vec![],
            chunk_count: 0,
            vectors: vec![],
            language: "und".into(),
            reasons: vec![],
            vectors_of: None,
            claim: None,
        }
    }
}

impl Sample for Published {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            status: Status::Published,
            page_count: 3_000,
            failed_pages: 1,
            block_count: 40_000,
            chunk_count: 12_000,
            language: "de".into(),
            // Exact in binary, so that JSON holds the same number.
            confidence: Some(Confidence { mean: 0.875, p10: 0.5 }),
            document: Some(blob("document")),
            reasons: vec![reason()],
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            source: minimal_source(),
            status: Status::Erased,
            page_count: 0,
            failed_pages: 0,
            block_count: 0,
            chunk_count: 0,
            language: "und".into(),
            confidence: None,
            document: None,
            reasons: vec![],
        }
    }
}

impl Sample for PublishedChunk {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            source: source(),
            chunk_no: 7,
            chunk_count: 12_000,
            headings: vec!["Übersicht".into(), "Teil 1".into()],
            text: "Der Text".into(),
            prov: vec![Locator {
                page_no: Some(3),
                bbox: Some(Bbox { left: 72.0, top: 36.5, right: 540.25, bottom: 48.0 }),
                start_ms: Some(1),
                end_ms: Some(5_000_000_000),
                sheet: Some("Blatt 1".into()),
                cell_range: Some("A1:C3".into()),
            }],
            token_count: 250,
            language: "de".into(),
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            source: minimal_source(),
            chunk_no: 0,
            chunk_count: 1,
            headings: vec![],
            text: String::new(),
            prov: vec![],
            token_count: 2,
            language: "und".into(),
        }
    }
}

impl Sample for PublishedVector {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            chunk_no: 7,
            chunk_count: 12_000,
            model: "all-MiniLM-L6-v2".into(),
            chunking: "structure/256".into(),
            dimension: 2,
            normalized: true,
            vector: [0.6_f32, 0.8].iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            chunk_no: 0,
            chunk_count: 1,
            model: String::new(),
            chunking: String::new(),
            dimension: 0,
            normalized: false,
            vector: vec![],
        }
    }
}

impl Sample for Readmitted {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            value: vec![0xC3, 0x01, 0x00, 0xFF],
            headers: map(&[("ce_id", "1"), ("tenant", "acme")]),
            first_page_no: 257,
            page_count: 3_000,
            facts: Some(blob("facts.json")),
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            value: vec![],
            headers: BTreeMap::new(),
            first_page_no: 1,
            page_count: 0,
            facts: None,
        }
    }
}

impl Sample for DeadLetter {
    fn full() -> Self {
        Self {
            envelope: full_envelope(),
            stage: "split".into(),
            topic: "documents.uploaded".into(),
            partition: 5,
            offset: 5_000_000_000,
            appended_at: RUN,
            page_no: Some(3),
            reason: reason(),
            kind: "rejected".into(),
            attempts: 3,
            headers: map(&[("ce_id", "1"), ("tenant", "acme")]),
            value: vec![0xC3, 0x01, 0x00, 0xFF],
        }
    }
    fn minimal() -> Self {
        Self {
            envelope: minimal_envelope(),
            stage: String::new(),
            topic: String::new(),
            partition: 0,
            offset: 0,
            appended_at: 0,
            page_no: None,
            reason: minimal_reason(),
            kind: String::new(),
            attempts: 1,
            headers: BTreeMap::new(),
            value: vec![],
        }
    }
}
