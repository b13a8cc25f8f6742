//! Chunks and vectors as records, for consumers that keep them elsewhere.
//!
//! The law: they leave in the same step as the document's own record, so that a consumer sees all of a run or nothing.

use serde::{Deserialize, Serialize};

use super::NAME;
use crate::Output;
use deckle_contract::{
    document::Chunk,
    error::Result,
    record::{Enriched, Envelope, Event, PublishedChunk, PublishedVector, VectorPart},
};

/// Which of the optional topics are fed. A change holds for documents published from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether `documents.chunks` is fed.
    pub chunks: bool,
    /// Whether `documents.vectors` is fed.
    pub vectors: bool,
}

/// The records for the optional topics that one document gives.
pub(super) struct Feed<'a> {
    config: Config,
    enriched: &'a Enriched,
    outputs: Vec<Output>,
}

impl<'a> Feed<'a> {
    /// Makes a feed without records.
    pub(super) fn new(config: Config, enriched: &'a Enriched) -> Self {
        Self { config, enriched, outputs: Vec::new() }
    }

    /// Adds a part of the document's chunks.
    pub(super) fn chunks(&mut self, part: &[Chunk]) -> Result<()> {
        if !self.config.chunks {
            return Ok(());
        }
        for chunk in part {
            let record = PublishedChunk {
                envelope: self.envelope(PublishedChunk::TOPIC, &chunk.chunk_no.to_string()),
                source: self.enriched.source.clone(),
                chunk_no: chunk.chunk_no,
                chunk_count: self.enriched.chunk_count,
                headings: chunk.headings.clone(),
                text: chunk.text.clone(),
                prov: chunk.prov.clone(),
                token_count: chunk.token_count,
                language: self.enriched.language.clone(),
            };
            self.outputs.push(Output::new(NAME, &record)?);
        }
        Ok(())
    }

    /// Adds a part of the document's vectors; `rows` holds their bytes in the order of the chunks.
    pub(super) fn vectors<'r>(&mut self, part: &VectorPart, rows: impl Iterator<Item = &'r [u8]>) -> Result<()> {
        if !self.config.vectors {
            return Ok(());
        }
        for (chunk_no, row) in (part.first_chunk_no..).zip(rows) {
            let name = format!("{}\n{}\n{chunk_no}", part.model, part.chunking);
            let record = PublishedVector {
                envelope: self.envelope(PublishedVector::TOPIC, &name),
                chunk_no,
                chunk_count: self.enriched.chunk_count,
                model: part.model.clone(),
                chunking: part.chunking.clone(),
                dimension: part.dimension,
                normalized: part.normalized,
                vector: row.to_vec(),
            };
            self.outputs.push(Output::new(NAME, &record)?);
        }
        Ok(())
    }

    /// Who and which run, without the trail: it would be repeated thousands of times.
    fn envelope(&self, topic: &str, discriminator: &str) -> Envelope {
        Envelope { trail: Vec::new(), ..self.enriched.envelope.caused(topic, discriminator) }
    }

    /// The records that were added, in order.
    pub(super) fn into_outputs(self) -> Vec<Output> {
        self.outputs
    }
}
