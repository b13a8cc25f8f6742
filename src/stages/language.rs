//! language: finds the language, cuts the document into chunks along its structure, and embeds them by every model that
//! new documents get; or embeds the chunks of a published document by others.
//!
//! The law: chunks of all documents meet in one batcher of each model; this stage only awaits its own. What was
//! published is embedded from the rows that readers see, never cut anew.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{Meter, Output, Parts, Stage, count};
use deckle_blob::{Blobs, claim_check};
use deckle_contract::{
    document::{BlobRef, Chunk, Document},
    error::{Failure, Result, code},
    record::{Assembled, Enriched, Envelope, Event, Source, Status, VectorPart, wire::Headers},
};
use deckle_models::{
    Tag,
    computing::compute_within,
    embedders::Embedders,
    minilm::{Embedder, Embedding},
};
use deckle_store::{DocumentKey, RunKey, Store, active_models::ActiveModels};
use deckle_structure::chunking;

/// The stage's name.
pub const NAME: &str = "language";

/// Chunks of one document that wait for the model at once. A document of more is long: its chunks share places in the
/// model's queue with those of other long ones ([`Embedder::place`]), so that short documents overtake them.
const EMBEDDINGS: usize = 64;

/// Bytes of one part in the blob store.
const PART_BYTES: usize = 4 << 20;

/// Settings of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most chunks of one document. The longest books have some ten thousand.
    pub max_chunks: usize,
    /// Processor time that cutting one document into chunks may take, in seconds. A book of six million characters takes
    /// some ten.
    pub chunking_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_chunks: 50_000, chunking_s: 120 }
    }
}

/// The stage that tells a document's language, cuts it into chunks and embeds them.
pub struct Language {
    blobs: Arc<dyn Blobs>,
    store: Arc<dyn Store>,
    embedders: Embedders,
    active_models: Arc<ActiveModels>,
    config: Config,
    config_hash: String,
}

impl Language {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            store: Arc::clone(&parts.store),
            embedders: parts.embedders.clone(),
            active_models: Arc::clone(&parts.active_models),
            config: parts.settings.language,
            config_hash: parts.settings.config_hash.clone(),
        }
    }
}

#[async_trait]
impl Stage for Language {
    type Input = Assembled;

    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        // More documents fill batches better.
        8
    }

    async fn process(&self, _: &Headers, assembled: Assembled) -> Result<Vec<Output>> {
        let enriched = if assembled.embed_with.is_empty() {
            Some(self.enrich(assembled).await?)
        } else {
            self.embed_published(assembled).await?
        };
        enriched.iter().map(|enriched| Output::new(NAME, enriched)).collect()
    }

    fn on_failure(&self, headers: &Headers, input: Option<&Assembled>, failure: &Failure) -> Result<Vec<Output>> {
        if input.is_some_and(|input| !input.embed_with.is_empty()) {
            // What is published stays so; the dead letter records what it lacks.
            return Ok(Vec::new());
        }
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let source = input.map_or_else(Source::unknown, |input| input.source.clone());
        let reasons = vec![failure.reason(NAME, None)];
        let mut event = Enriched::without_results(cause.caused(Enriched::TOPIC, ""), source, Status::Failed, reasons);
        event.page_count = input.map_or(headers.page_count.unwrap_or(0), |input| input.page_count);
        Ok(vec![Output::new(NAME, &event)?])
    }
}

impl Language {
    /// Cuts and embeds a document on its path.
    async fn enrich(&self, assembled: Assembled) -> Result<Enriched> {
        let mut meter = Meter::start(NAME, &self.config_hash);
        let document: Document = claim_check::get_json(&*self.blobs, &assembled.document).await?;
        let (active, mut models) = self.active_models.embedding().await?;
        // Those that only a newer deckle knows: publish sends the document back, and a newer worker may take it.
        models.retain(|model| self.embedders.knows(model));
        models.insert(0, active);
        let counter = self.embedders.counter().await?;
        let limit = Duration::from_secs(self.config.chunking_s);
        let ((language, chunks), cpu_us) = compute_within(limit, "language.chunking_s", move |checkpoint| {
            let count = |text: &str| counter.count_tokens(text);
            let chunks = chunking::chunk(&document.blocks, counter.max_tokens(), &count, checkpoint)?;
            Ok((language_of(&document), chunks))
        })
        .await?;
        if chunks.len() > self.config.max_chunks {
            let (count, most) = (chunks.len(), self.config.max_chunks);
            let message = format!("the document has {count} chunks, the limit is {most} (`language.max_chunks`)");
            return Err(Failure::rejected(code::LIMIT_CHUNKS, message));
        }
        meter.cpu(cpu_us).count(assembled.page_count as usize, 0, 0);
        let mut envelope = assembled.envelope.caused(Enriched::TOPIC, "");
        let chunk_parts = self.put_chunks(&envelope, &chunks).await?;
        let vectors = self.embed(&envelope, &models, &chunks, &mut meter).await?;
        envelope.trail.push(meter.finish());
        Ok(Enriched {
            envelope,
            source: assembled.source,
            status: if assembled.reasons.is_empty() { Status::Published } else { Status::Partial },
            page_count: assembled.page_count,
            failed_pages: assembled.failed_pages,
            document: Some(assembled.document),
            chunks: chunk_parts,
            chunk_count: count(chunks.len())?,
            vectors,
            language,
            reasons: assembled.reasons,
            vectors_of: None,
            claim: None,
        })
    }

    /// Embeds what readers see of a document by the models that it lacks vectors of; `None` where it lacks none, or
    /// readers see nothing. That the record may speak of an older run, or have been sent twice, makes no difference.
    async fn embed_published(&self, assembled: Assembled) -> Result<Option<Enriched>> {
        let mut meter = Meter::start(NAME, &self.config_hash);
        let Envelope { tenant, document_id, .. } = assembled.envelope.clone();
        let document = DocumentKey { tenant, document_id };
        let Some(published) = self.store.document(&document).await? else { return Ok(None) };
        let Some(current) = published.header.current else { return Ok(None) };
        let run = RunKey { document, run: current.run };
        let mut lacking = Vec::new();
        for model in assembled.embed_with {
            if !self.embedders.knows(&model) {
                return Err(Failure::rejected(code::MODEL_UNKNOWN, format!("no embedding model is named {model}")));
            }
            if !self.store.has_vectors(&run, current.version, &model, current.chunk_count).await? {
                lacking.push(model);
            }
        }
        if lacking.is_empty() {
            return Ok(None);
        }
        let mut envelope = assembled.envelope.caused(Enriched::TOPIC, "");
        (envelope.run, envelope.version) = (current.run, current.version);
        let vectors = self.embed(&envelope, &lacking, &published.chunks, &mut meter).await?;
        envelope.trail.push(meter.finish());
        Ok(Some(Enriched {
            envelope,
            source: current.source,
            status: current.status,
            page_count: assembled.page_count,
            failed_pages: assembled.failed_pages,
            document: current.document,
            chunks: Vec::new(),
            chunk_count: count(published.chunks.len())?,
            vectors,
            language: current.language,
            reasons: Vec::new(),
            vectors_of: Some(current.version),
            claim: None,
        }))
    }

    /// Embeds chunks by each of the models, and puts the vectors into the blob store.
    async fn embed(
        &self,
        envelope: &Envelope,
        models: &[String],
        chunks: &[Chunk],
        meter: &mut Meter,
    ) -> Result<Vec<VectorPart>> {
        let tag = Tag::from(envelope.document_id.as_str());
        let texts: Vec<String> = chunks.iter().map(Chunk::embedded_text).collect();
        let is_long = chunks.len() > EMBEDDINGS;
        let mut parts = Vec::new();
        for model in models {
            let embedder = &self.embedders.get(model).await?;
            let lane = envelope.lane;
            let embeddings: Vec<Embedding> = stream::iter(texts.clone())
                .map(|text| {
                    let (embedder, tag) = (embedder.clone(), Tag::clone(&tag));
                    async move {
                        let _place = if is_long { Some(embedder.place().await?) } else { None };
                        embedder.embed_tagged(&text, lane, tag).await
                    }
                })
                .buffered(EMBEDDINGS)
                .try_collect()
                .await?;
            let mut vectors = Vec::with_capacity(embeddings.len() * embedder.dimension() as usize);
            for embedding in &embeddings {
                meter.cpu(embedding.cpu_us).count(0, 0, embedding.tokens as usize);
                vectors.extend_from_slice(&embedding.vector);
            }
            parts.extend(self.put_vectors(envelope, embedder, &vectors).await?);
        }
        if let Some(first) = models.first() {
            let embedder = self.embedders.get(first).await?;
            meter.model(embedder.name(), Some(embedder.weights_sha256()));
        }
        Ok(parts)
    }

    async fn put_chunks(&self, envelope: &Envelope, chunks: &[Chunk]) -> Result<Vec<BlobRef>> {
        let mut parts = Vec::new();
        let mut rest = chunks;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest
                .iter()
                .take_while(|chunk| {
                    // What JSON adds to the text: boxes, headings and names, estimated from above.
                    bytes += chunk.text.len() * 2 + 512 + 160 * chunk.prov.len();
                    bytes <= PART_BYTES
                })
                .count()
                .max(1);
            let (part, after) = rest.split_at(fits);
            parts.push(claim_check::put_json(&*self.blobs, envelope, &part).await?);
            rest = after;
        }
        Ok(parts)
    }

    async fn put_vectors(&self, envelope: &Envelope, embedder: &Embedder, vectors: &[f32]) -> Result<Vec<VectorPart>> {
        let dimension = embedder.dimension() as usize;
        let rows_per_part = PART_BYTES / (4 * dimension);
        let mut parts = Vec::new();
        for (index, part) in vectors.chunks(rows_per_part * dimension).enumerate() {
            let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
            let blob = self
                .blobs
                .put(&envelope.tenant, &envelope.document_id, "application/octet-stream", bytes.into())
                .await?;
            parts.push(VectorPart {
                model: embedder.name().to_owned(),
                chunking: chunking::NAME.to_owned(),
                dimension: embedder.dimension(),
                normalized: true,
                first_chunk_no: count(index * rows_per_part)?,
                count: count(part.len() / dimension)?,
                blob,
            });
        }
        Ok(parts)
    }
}

/// BCP 47 of the document's text, judged on its first 20,000 bytes; `und` when the detector is not sure.
fn language_of(document: &Document) -> String {
    const SAMPLE: usize = 20_000;
    let mut sample = String::new();
    for block in document.blocks.iter().filter(|block| !block.kind.is_furniture()) {
        sample.push_str(&block.text);
        sample.push('\n');
        if sample.len() > SAMPLE {
            break;
        }
    }
    let certain = whatlang::detect(&sample).filter(whatlang::Info::is_reliable);
    certain.map_or("und", |info| bcp47(info.lang())).to_owned()
}

/// ISO 639-1 where there is one, as BCP 47 wants the shortest code.
fn bcp47(language: whatlang::Lang) -> &'static str {
    // The detector names these by the language meant, and two letters exist for the languages they belong to only.
    let code = match language {
        whatlang::Lang::Cmn => "zho",
        whatlang::Lang::Pes => "fas",
        other => other.code(),
    };
    isolang::Language::from_639_3(code).map_or("und", |language| language.to_639_1().unwrap_or(language.to_639_3()))
}

#[cfg(test)]
mod tests {
    use whatlang::Lang;

    use super::bcp47;

    #[test]
    fn every_language_that_the_detector_knows_has_two_letters() {
        for language in Lang::all() {
            assert_eq!(bcp47(*language).len(), 2, "{language:?}");
        }
        for (language, code) in [(Lang::Deu, "de"), (Lang::Cmn, "zh"), (Lang::Pes, "fa"), (Lang::Nob, "nb")] {
            assert_eq!(bcp47(language), code);
        }
    }
}
