//! Vectors that come to a document after it was published: those of a model that is built from what is stored, and those
//! that a document on its path came without.
//!
//! The law: they are written only while readers see the version that they are of, at that version, and nothing else of
//! the document changes. A newer version that is published at the same moment wins in the store, vector by vector.

use super::{Feed, NAME, Publish};
use crate::Output;
use deckle_contract::{
    error::Result,
    record::{Assembled, Enriched, Envelope, Event, Lane},
};
use deckle_store::{DocumentKey, Header, PublishedVersion, RunKey};

impl Publish {
    /// Adds vectors to `version` of a run, unless readers see another by now.
    pub(super) async fn add_vectors(
        &self,
        mut enriched: Enriched,
        version: i64,
        header: Option<Header>,
    ) -> Result<Vec<Output>> {
        // Consumers receive the version that the vectors belong to, whatever a redrive made of the record's own.
        enriched.envelope.version = version;
        let Envelope { tenant, document_id, run, .. } = enriched.envelope.clone();
        let document = DocumentKey { tenant, document_id };
        let is_seen = |current: &PublishedVersion| (current.run, current.version) == (run, version);
        let Some(current) = header.and_then(|header| header.current).filter(is_seen) else {
            tracing::info!(document_id = document.document_id, run, "vectors of what readers see no more, dropped");
            return Ok(Vec::new());
        };
        let run = RunKey { document, run };
        let mut feed = Feed::new(self.config, &enriched);
        for part in &enriched.vectors {
            self.put_vectors(&run, version, part, current.chunk_count, &mut feed).await?;
        }
        // The same once more, for whoever follows the feed: an index of vectors in another process.
        self.store.set_current(&run.document, &current).await?;
        Ok(feed.into_outputs())
    }

    /// The record that has a document embedded by the models whose vectors it came without: they were built or activated
    /// behind its back, while it was on its path or a dead letter.
    pub(super) async fn lacking(&self, enriched: &Enriched) -> Result<Option<Output>> {
        let (active, mut models) = self.active_models.embedding().await?;
        models.insert(0, active);
        models.retain(|model| enriched.vectors.iter().all(|part| part.model != *model));
        let document = enriched.document.clone().filter(|_| enriched.chunk_count > 0 && !models.is_empty());
        let Some(document) = document else { return Ok(None) };
        let envelope = enriched.envelope.caused(Assembled::TOPIC, "embed");
        let record = Assembled {
            // Nobody waits for them: other models of the document are there.
            envelope: Envelope { lane: Lane::Bulk, ..envelope },
            source: enriched.source.clone(),
            page_count: enriched.page_count,
            failed_pages: enriched.failed_pages,
            document,
            reasons: Vec::new(),
            embed_with: models,
        };
        Output::new(NAME, &record).map(Some)
    }
}
