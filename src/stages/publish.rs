//! publish: the only place where a document's path ends.
//!
//! The law: rows first, then the one header cell that readers follow. Every (document, run, version) leaves exactly
//! one event, whatever became of it; one with results may leave them too ([`Config`]). So its end is claimed first: two
//! pages may fail in assemble, and each says that the document ends; or a redrive was cut off and appended its record
//! again. The record that the log took first wins for ever, and the same record again is no second end, for the first
//! time may never have become visible. (All records of a document lie in one partition, where append times are unique.)
//!
//! Vectors that come later, by another model, move no header and end nothing ([`later`]).

mod analytics;
mod later;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

pub use self::analytics::Config;
use self::analytics::Feed;
use super::{Meter, Output, Parts, Stage, count};
use deckle_blob::{Blobs, claim_check};
use deckle_contract::{
    document::{Chunk, Document},
    error::{Failure, Result},
    record::{Enriched, Envelope, Event, Published, Source, Status, VectorPart, wire::Headers},
};
use deckle_store::{
    Completion, DocumentKey, Header, PublishedVersion, RunKey, Store, VectorSpace, active_models::ActiveModels,
};
use deckle_structure::figures::figures;

/// The stage's name.
pub const NAME: &str = "publish";

/// The stage that makes a document's results visible and ends its path.
pub struct Publish {
    blobs: Arc<dyn Blobs>,
    store: Arc<dyn Store>,
    active_models: Arc<ActiveModels>,
    config: Config,
    config_hash: String,
}

impl Publish {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            store: Arc::clone(&parts.store),
            active_models: Arc::clone(&parts.active_models),
            config: parts.settings.publish,
            config_hash: parts.settings.config_hash.clone(),
        }
    }
}

#[async_trait]
impl Stage for Publish {
    type Input = Enriched;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn process(&self, headers: &Headers, enriched: Enriched) -> Result<Vec<Output>> {
        let meter = Meter::start(NAME, &self.config_hash);
        let envelope = &enriched.envelope;
        let key = DocumentKey { tenant: envelope.tenant.clone(), document_id: envelope.document_id.clone() };
        let header = self.store.header(&key).await?;
        if let Some(version) = enriched.vectors_of {
            return self.add_vectors(enriched, version, header).await;
        }
        let run = RunKey { document: key.clone(), run: envelope.run };
        let claim = claim(headers, &enriched);
        if self.store.claim_end(&run, envelope.version, claim).await? != claim {
            tracing::info!(
                document_id = key.document_id,
                run = envelope.run,
                "ended before by another record, dropped"
            );
            return Ok(Vec::new());
        }
        let status = status(&enriched, header.as_ref());
        if status == Status::Erased {
            return end_erased(enriched, meter);
        }
        let mut published = ending(&enriched, status);
        let mut feed = Feed::new(self.config, &enriched);
        let mut lacking = None;
        if matches!(published.status, Status::Published | Status::Partial) {
            let document = self.publish(&key, &enriched, headers.appended_at_us, &mut feed).await?;
            published.block_count = count(document.blocks.len())?;
            published.confidence = document.confidence;
            lacking = self.lacking(&enriched).await?;
        }
        let ended = Completion {
            run: envelope.run,
            version: envelope.version,
            upload_id: envelope.upload_id.clone(),
            fingerprint: envelope.fingerprint.clone(),
            event_id: envelope.event_id.clone(),
            status: published.status,
            source: enriched.source.clone(),
            reasons: enriched.reasons.clone(),
            at: headers.appended_at_us,
        };
        self.store.put_ended(&key, &ended).await?;
        published.envelope.trail.push(meter.finish());
        let mut outputs = feed.into_outputs();
        outputs.extend(lacking);
        outputs.push(Output::new(NAME, &published)?);
        Ok(outputs)
    }

    fn on_failure(&self, headers: &Headers, input: Option<&Enriched>, failure: &Failure) -> Result<Vec<Output>> {
        if input.is_some_and(|enriched| enriched.vectors_of.is_some()) {
            // What is published stays so; the dead letter records what it lacks.
            return Ok(Vec::new());
        }
        let again = |envelope: &Envelope, source: Source, claim: i64| {
            // Once more through here, as a failure: the header must record it too, and the end may be claimed already.
            let envelope = envelope.caused(Enriched::TOPIC, "failed");
            let ended = Enriched::without_results(envelope, source, Status::Failed, vec![failure.reason(NAME, None)]);
            Ok(vec![Output::new(NAME, &Enriched { claim: Some(claim), ..ended })?])
        };
        match input {
            None if headers.run > 0 => again(&headers.envelope(), Source::unknown(), headers.appended_at_us),
            Some(enriched) if enriched.status != Status::Failed => {
                again(&enriched.envelope, enriched.source.clone(), claim(headers, enriched))
            }
            // Not even the failure can be recorded, or nobody knows of what it is one: what is left is to say so.
            _ => {
                let enriched = input.cloned().unwrap_or_else(|| {
                    Enriched::without_results(headers.envelope(), Source::unknown(), Status::Failed, Vec::new())
                });
                let mut published = ending(&enriched, Status::Failed);
                published.reasons.insert(0, failure.reason(NAME, None));
                Ok(vec![Output::new(NAME, &published)?])
            }
        }
    }
}

impl Publish {
    /// Writes chunks, vectors, figures and fields, removes what an earlier version had more, then flips the header.
    async fn publish(
        &self,
        key: &DocumentKey,
        enriched: &Enriched,
        published_at: i64,
        feed: &mut Feed<'_>,
    ) -> Result<Document> {
        let envelope = &enriched.envelope;
        let run = RunKey { document: key.clone(), run: envelope.run };
        let blob = enriched.document.as_ref().ok_or_else(|| Failure::defect("a document to publish has no content"))?;
        let document: Document = claim_check::get_json(&*self.blobs, blob).await?;
        for part in &enriched.chunks {
            let chunks: Vec<Chunk> = claim_check::get_json(&*self.blobs, part).await?;
            self.store.put_chunks(&run, envelope.version, &chunks).await?;
            feed.chunks(&chunks)?;
        }
        for part in &enriched.vectors {
            self.put_vectors(&run, envelope.version, part, enriched.chunk_count, feed).await?;
        }
        self.store.trim_chunks(&run, envelope.version, enriched.chunk_count).await?;
        let figures = figures(&document.blocks);
        self.store.put_figures(&run, envelope.version, &figures).await?;
        self.store.put_fields(&run, envelope.version, &document.fields).await?;
        let current = PublishedVersion {
            run: envelope.run,
            version: envelope.version,
            status: enriched.status,
            fingerprint: envelope.fingerprint.clone(),
            source: enriched.source.clone(),
            page_count: enriched.page_count,
            failed_pages: enriched.failed_pages,
            block_count: count(document.blocks.len())?,
            chunk_count: enriched.chunk_count,
            figure_count: count(figures.len())?,
            field_count: count(document.fields.len())?,
            language: enriched.language.clone(),
            title: document.title.clone(),
            confidence: document.confidence,
            document: enriched.document.clone(),
            attributes: envelope.attributes.clone(),
            access: envelope.access.clone(),
            reasons: enriched.reasons.clone(),
            published_at,
            trail: envelope.trail.clone(),
        };
        self.store.set_current(key, &current).await?;
        Ok(document)
    }

    /// Writes a part of the vectors of a run.
    async fn put_vectors(
        &self,
        run: &RunKey,
        version: i64,
        part: &VectorPart,
        chunk_count: u32,
        feed: &mut Feed<'_>,
    ) -> Result<()> {
        let space = VectorSpace {
            model: part.model.clone(),
            chunking: part.chunking.clone(),
            dimension: part.dimension,
            normalized: part.normalized,
        };
        let bytes = self.blobs.get(&part.blob).await?;
        let vectors = vectors_of(part, &bytes, chunk_count)?;
        let rows: Vec<(u32, Vec<f32>)> = (part.first_chunk_no..)
            .zip(vectors.clone())
            .map(|(chunk_no, row)| (chunk_no, bytemuck::pod_collect_to_vec(row)))
            .collect();
        self.store.put_vectors(run, version, &space, &rows).await?;
        feed.vectors(part, vectors)
    }
}

/// The vectors of a part, each as its bytes.
///
/// # Errors
/// A defect when the part is not what it says: vectors of no length, more or fewer bytes than `count` of them have, or
/// vectors of chunks that the document has not.
fn vectors_of<'b>(part: &VectorPart, bytes: &'b [u8], chunk_count: u32) -> Result<std::slice::ChunksExact<'b, u8>> {
    let row = 4 * u64::from(part.dimension);
    let expected = row * u64::from(part.count);
    let end = u64::from(part.first_chunk_no) + u64::from(part.count);
    if row == 0 || bytes.len() as u64 != expected || end > u64::from(chunk_count) {
        return Err(Failure::defect(format!(
            "vectors of {} are torn: {} of dimension {} for the chunks from {} to {end} of {chunk_count}, in {} bytes",
            part.model,
            part.count,
            part.dimension,
            part.first_chunk_no,
            bytes.len()
        )));
    }
    Ok(bytes.chunks_exact(row as usize))
}

/// Ends a run that was erased while it was on its way, and publishes nothing of what it was.
fn end_erased(enriched: Enriched, meter: Meter) -> Result<Vec<Output>> {
    let envelope = Envelope { attributes: BTreeMap::new(), access: Vec::new(), ..enriched.envelope };
    let nothing = Enriched::without_results(envelope, Source::unknown(), Status::Erased, Vec::new());
    let mut published = ending(&nothing, Status::Erased);
    published.envelope.trail.push(meter.finish());
    Ok(vec![Output::new(NAME, &published)?])
}

/// By which append time a record claims the end of its version, µs: its own, or that of the one whose place it takes.
fn claim(headers: &Headers, enriched: &Enriched) -> i64 {
    enriched.claim.unwrap_or(headers.appended_at_us)
}

/// The status that a document ends with, given its header in the store.
fn status(enriched: &Enriched, header: Option<&Header>) -> Status {
    let envelope = &enriched.envelope;
    let Some(header) = header else { return enriched.status };
    if header.erases(envelope.run) {
        return Status::Erased;
    }
    let newer = header.current.as_ref().is_some_and(|it| (it.run, it.version) > (envelope.run, envelope.version));
    if newer || header.hides(envelope.run) { Status::Superseded } else { enriched.status }
}

fn ending(enriched: &Enriched, status: Status) -> Published {
    Published {
        envelope: enriched.envelope.caused(Published::TOPIC, ""),
        source: enriched.source.clone(),
        status,
        page_count: enriched.page_count,
        failed_pages: enriched.failed_pages,
        block_count: 0,
        chunk_count: enriched.chunk_count,
        language: enriched.language.clone(),
        confidence: None,
        document: enriched.document.clone(),
        reasons: enriched.reasons.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::BlobRef;

    #[test]
    fn torn_vectors_are_a_defect_with_a_name() {
        let part = VectorPart {
            model: "minilm".to_owned(),
            chunking: "c".to_owned(),
            dimension: 2,
            normalized: true,
            first_chunk_no: 3,
            count: 2,
            blob: BlobRef { key: String::new(), sha256: String::new(), size_bytes: 16, media_type: String::new() },
        };
        let vectors = |part: &VectorPart, length: usize, chunk_count| {
            vectors_of(part, &vec![0; length], chunk_count).map(Iterator::count)
        };
        assert_eq!(vectors(&part, 16, 5), Ok(2));
        let none = VectorPart { dimension: 0, ..part.clone() };
        for (part, length, chunk_count) in
            [(&part, 15, 5), (&part, 24, 5), (&part, 0, 5), (&part, 16, 4), (&none, 0, 5)]
        {
            let failure = vectors(part, length, chunk_count).unwrap_err();
            assert!(matches!(&failure, Failure::Defect { message } if message.contains("torn")), "{failure:?}");
        }
    }
}
