//! Dead letters: records that failed for good, with their bytes and the reason, committed in the same step as the
//! progress past them. A dead letter breaks the order of its key; the document it belongs to ends all the same.
//!
//! The law: a failing record is in exactly one dead letter, and a dead letter that fails is in none: nothing that goes
//! wrong with the topic itself can feed it. Their way back is [`redrive`].

pub mod redrive;

use deckle_contract::{
    error::{Failure, Result},
    record::{DeadLetter, Event, wire::Headers},
};
use deckle_log::Record;
use deckle_stages::Output;

/// Makes the dead letter of a record; `None` for a record that is one itself. `headers` say whose it is.
///
/// # Errors
/// A defect when it cannot be encoded. Where its size is the cause the bytes are left out, and then all but the identity;
/// they lie at the topic, partition and offset it names for as long as the log keeps them.
pub fn output(
    stage: &str,
    record: &Record,
    headers: &Headers,
    failure: &Failure,
    attempts: u32,
) -> Result<Option<Output>> {
    if &*record.partition.topic == DeadLetter::TOPIC {
        return Ok(None);
    }
    let mut letter = DeadLetter {
        envelope: headers.envelope(),
        stage: stage.to_owned(),
        topic: record.partition.topic.to_string(),
        partition: record.partition.number,
        offset: record.offset,
        appended_at: record.appended_at_us,
        page_no: headers.page_no,
        reason: failure.reason(stage, headers.page_no),
        kind: kind(failure).to_owned(),
        attempts,
        headers: record.headers.clone(),
        value: record.value.to_vec(),
    };
    let place = format!("{stage}/{}/{}", record.partition, record.offset);
    letter.envelope = letter.envelope.caused(DeadLetter::TOPIC, &place);
    let output = Output::new(stage, &letter)
        .or_else(|_| {
            letter.value.clear();
            Output::new(stage, &letter)
        })
        .or_else(|_| {
            letter.headers.clear();
            letter.envelope = letter.envelope.identity();
            Output::new(stage, &letter)
        })?;
    Ok(Some(output))
}

/// The name of one of the four failures.
pub fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Rejected { .. } => "rejected",
        Failure::Transient { .. } => "transient",
        Failure::Unavailable { .. } => "unavailable",
        Failure::Defect { .. } => "defect",
    }
}
