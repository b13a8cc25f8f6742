//! Dead letters: records that failed for good, with their bytes and the reason, committed in the same step as the
//! progress past them. A dead letter breaks the order of its key; the document it belongs to ends all the same.
//!
//! The law: a failing record is in exactly one dead letter, and a dead letter that fails is in none: nothing that goes
//! wrong with the topic itself can feed it. A password in its record is sealed. Their way back is [`redrive`].

pub mod redrive;

use bytes::Bytes;

use deckle_contract::{
    error::{Failure, Result},
    record::{DeadLetter, Event, wire::Headers},
};
use deckle_log::Record;
use deckle_seal::Keyring;
use deckle_stages::Output;

/// Makes the dead letter of a record; `None` for a record that is one itself. `headers` say whose it is.
///
/// # Errors
/// A defect when it cannot be encoded. Where its size is the cause the bytes are left out, and then all but the identity;
/// they lie at the topic, partition and offset it names for as long as the log keeps them. They are left out, too, where
/// they hold an open password and there is no key to seal it with.
pub fn output(
    keyring: &Keyring,
    stage: &str,
    record: &Record,
    headers: &Headers,
    failure: &Failure,
    attempts: u32,
) -> Result<Option<Output>> {
    if &*record.partition.topic == DeadLetter::TOPIC {
        return Ok(None);
    }
    let value = keyring.seal_record(&record.partition.topic, &record.value).unwrap_or_else(|failure| {
        tracing::error!(stage, offset = record.offset, %failure, "a dead letter is kept without its record's bytes");
        Bytes::new()
    });
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
        value: value.to_vec(),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use deckle_contract::record::{Envelope, Lane, Options, Source, Uploaded, wire};
    use deckle_log::Partition;
    use deckle_seal::Config;

    const PLAIN: &str = "open-sesame";

    /// The dead letter of a producer's upload with a password.
    fn letter(keyring: &Keyring) -> DeadLetter {
        let upload = Uploaded {
            envelope: Envelope::new("e".into(), "acme", "d", Lane::Bulk),
            source: Source::unknown(),
            options: Options { password: Some(PLAIN.into()), ..Options::default() },
            content: None,
        };
        let record = Record {
            partition: Partition { topic: Arc::from(Uploaded::TOPIC), number: 0 },
            offset: 7,
            appended_at_us: 5,
            key: String::new(),
            headers: wire::headers(&upload, "test", None),
            value: wire::encode(&upload).unwrap(),
        };
        let headers = Headers::of_record(Uploaded::TOPIC, &record.headers, 5);
        let letter = output(keyring, "split", &record, &headers, &Failure::defect("blamed"), 0).unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&letter.value).contains(PLAIN));
        wire::decode(&letter.value).unwrap()
    }

    #[test]
    fn a_producers_open_password_is_in_no_dead_letter() {
        let keys = Config { keys: Some("ab".repeat(32).into()), ..Config::default() };
        let keyring = Keyring::new(&keys, None);
        let kept: Uploaded = wire::decode(&letter(&keyring).value).unwrap();
        let opened = keyring.open(&kept.envelope, &kept.options).unwrap().unwrap();
        assert_eq!(opened.reveal(), PLAIN, "a redrive still opens the file");

        let without = letter(&Keyring::new(&Config::default(), None));
        assert_eq!((without.value.len(), without.offset), (0, 7), "it names the place of what is not kept");
    }
}
