//! What split takes: uploads from producers, and uploads that deckle itself puts back.
//!
//! The law: anyone may write an upload, so nothing that orders documents is taken from it. Its run and its version are the
//! time at which the log took it, and what stages add to an envelope is empty. Only `documents.readmitted`, where deckle
//! alone writes, names a run and a version that are believed.

use std::collections::BTreeMap;

use crate::{Input, Order};
use deckle_contract::{
    document::BlobRef,
    error::Result,
    record::{
        Event, Readmitted, Uploaded,
        wire::{self, Headers},
    },
};

/// An upload, and what is left to do of it.
pub struct Upload {
    /// The event, with its run and its version.
    pub upload: Uploaded,
    /// The pages that are left; `None` for one that was not opened.
    pub rest: Option<Rest>,
}

/// The pages of an opened document that no record was made for yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Rest {
    /// The first of them, counted from 1.
    pub first_page_no: u32,
    /// Pages of the document.
    pub page_count: u32,
    /// What the file says of itself.
    pub facts: Option<BlobRef>,
}

impl Input for Upload {
    const TOPICS: &'static [&'static str] = &[Uploaded::TOPIC, Readmitted::TOPIC];

    fn decode(topic: &str, headers: &Headers, value: &[u8]) -> Result<Self> {
        if topic == Readmitted::TOPIC {
            return Self::again(wire::decode(value)?);
        }
        let mut upload: Uploaded = wire::decode(value)?;
        let envelope = &mut upload.envelope;
        (envelope.run, envelope.version) = (headers.appended_at_us, headers.appended_at_us);
        envelope.fingerprint.clear();
        envelope.trail.clear();
        Ok(Self { upload, rest: None })
    }

    fn order(&self) -> Order {
        Order::of(&self.upload)
    }

    fn headers(&self, stage: &str) -> BTreeMap<String, String> {
        wire::headers(&self.upload, stage, None)
    }
}

impl Upload {
    fn again(record: Readmitted) -> Result<Self> {
        let mut upload: Uploaded = wire::decode(&record.value)?;
        let envelope = &mut upload.envelope;
        if envelope.upload_id.is_empty() {
            // Its event's id names it, and stays its name.
            envelope.upload_id.clone_from(&envelope.event_id);
        }
        envelope.event_id = record.envelope.event_id;
        (envelope.run, envelope.version) = (record.envelope.run, record.envelope.version);
        let Readmitted { first_page_no, page_count, facts, .. } = record;
        let rest = (page_count > 0).then_some(Rest { first_page_no, page_count, facts });
        Ok(Self { upload, rest })
    }
}

/// The record that brings an opened upload back to split, for the pages that are left.
///
/// # Errors
/// A defect when the upload cannot be encoded.
pub(super) fn left(upload: &Uploaded, rest: Rest) -> Result<Readmitted> {
    let Rest { first_page_no, page_count, facts } = rest;
    let envelope = upload.envelope.caused(Readmitted::TOPIC, &first_page_no.to_string());
    let value = wire::encode(upload)?.to_vec();
    // What the upload says beside its identity is in its own bytes.
    Ok(Readmitted { envelope: envelope.identity(), value, headers: BTreeMap::new(), first_page_no, page_count, facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::record::{Envelope, Lane, Options, Source, TrailEntry};

    const FAR_AHEAD: i64 = 4_102_444_800_000_000;

    fn upload() -> Uploaded {
        let envelope = Envelope {
            run: FAR_AHEAD,
            version: FAR_AHEAD + 1,
            fingerprint: "theirs".to_owned(),
            trail: vec![TrailEntry::default()],
            ..Envelope::new("e".to_owned(), "acme", "d", Lane::Bulk)
        };
        Uploaded { envelope, source: Source::unknown(), options: Options::default(), content: None }
    }

    #[test]
    fn a_producer_names_neither_run_nor_version() {
        let sent = upload();
        let told = Headers::of_record(Uploaded::TOPIC, &wire::headers(&sent, "test", None), 7);
        assert_eq!((told.run, told.version, told.envelope().run), (0, 0, 7));
        let taken = Upload::decode(Uploaded::TOPIC, &told, &wire::encode(&sent).unwrap()).unwrap().upload.envelope;
        assert_eq!((taken.run, taken.version, taken.fingerprint.as_str(), taken.trail.len()), (7, 7, "", 0));
    }

    #[test]
    fn what_deckle_puts_back_keeps_its_run_and_goes_on_where_it_was() {
        let rest = Rest { first_page_no: 300, page_count: 1_000, facts: None };
        let record = left(&upload(), rest.clone()).unwrap();
        let headers = Headers::of_record(Readmitted::TOPIC, &wire::headers(&record, "split", None), 7);
        let taken = Upload::decode(Readmitted::TOPIC, &headers, &wire::encode(&record).unwrap()).unwrap();
        assert_eq!((taken.upload.envelope.run, taken.upload.envelope.version), (FAR_AHEAD, FAR_AHEAD + 1));
        assert_eq!(taken.rest, Some(rest));
        assert_ne!(taken.upload.envelope.event_id, upload().envelope.event_id, "its outputs have other ids");
        assert_eq!(taken.upload.envelope.upload_id, upload().envelope.event_id, "it is the same submission");
    }
}
