//! Dead letters: records that failed for good, with their bytes and the reason, committed in the same step as the
//! progress past them. A dead letter breaks the order of its key; the document it belongs to ends all the same.

use crate::{
    error::{Failure, Result},
    log::Record,
    record::{DeadLetter, Event, wire::Headers},
    stages::{Output, envelope_from_headers},
};

/// Makes the dead letter of a record.
///
/// # Errors
/// A defect when it cannot be encoded, which its size alone can cause: the bytes are then left out and fetched by
/// topic, partition and offset.
pub fn output(stage: &str, record: &Record, headers: &Headers, failure: &Failure, attempts: u32) -> Result<Output> {
    let page_no = u32::try_from(headers.page_no).ok().filter(|page_no| *page_no > 0);
    let mut letter = DeadLetter {
        envelope: envelope_from_headers(headers),
        stage: stage.to_owned(),
        topic: record.partition.topic.to_string(),
        partition: record.partition.number,
        offset: record.offset,
        appended_at: record.appended_at_us,
        page_no: page_no.map(|_| headers.page_no),
        reason: failure.reason(stage, page_no),
        kind: kind(failure).to_owned(),
        attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        headers: record.headers.clone(),
        value: record.value.to_vec(),
    };
    let place = format!("{stage}/{}/{}", record.partition, record.offset);
    letter.envelope = letter.envelope.caused(DeadLetter::TOPIC, &place);
    Output::new(&letter).or_else(|_| {
        letter.value.clear();
        Output::new(&letter)
    })
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
