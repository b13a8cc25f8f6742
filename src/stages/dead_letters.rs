//! letters: writes each dead letter into the store, where people list, redrive and drop them.
//!
//! The law: the topic is the truth, the table is what was made of it. A letter that cannot be written is reported in
//! the logs and stays in the topic; a dead letter of a dead letter would fail again for ever.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Output, Parts, Stage};
use deckle_contract::{
    error::{Failure, Result},
    record::{DeadLetter, wire::Headers},
};
use deckle_store::{DeadLetterKey, DeadLetterRow, FailedRecord, Store};

/// The stage's name.
pub const NAME: &str = "dead_letters";

/// The stage that writes dead letters to the store, where operators find them.
pub struct DeadLetters {
    store: Arc<dyn Store>,
}

impl DeadLetters {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self { store: Arc::clone(&parts.store) }
    }
}

#[async_trait]
impl Stage for DeadLetters {
    type Input = DeadLetter;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn process(&self, headers: &Headers, event: DeadLetter) -> Result<Vec<Output>> {
        let (letter, record) = row(event, headers.appended_at_us);
        self.store.put_dead_letter(&letter, &record).await?;
        Ok(Vec::new())
    }

    fn on_failure(&self, _: &Headers, _: Option<&DeadLetter>, _: &Failure) -> Result<Vec<Output>> {
        Ok(Vec::new())
    }
}

/// The row of a letter that the log took at `failed_at`. It holds the record's bytes: the topics forget them (a work
/// topic once every stage is past, `dead-letters` after its retention), and a log has no reading by offset.
fn row(event: DeadLetter, failed_at: i64) -> (DeadLetterRow, FailedRecord) {
    let envelope = event.envelope;
    let letter = DeadLetterRow {
        key: DeadLetterKey { tenant: envelope.tenant, letter_id: envelope.event_id },
        failed_at,
        stage: event.stage,
        kind: event.kind,
        reason: event.reason,
        attempts: event.attempts,
        document_id: envelope.document_id,
        run: envelope.run,
        version: envelope.version,
        page_no: event.page_no,
        topic: event.topic,
        partition: event.partition,
        offset: event.offset,
        appended_at: event.appended_at,
    };
    (letter, FailedRecord { headers: event.headers, value: event.value.into() })
}
