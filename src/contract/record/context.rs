//! How much an event says beside its file: names, ids, attributes, principals, trace state.
//!
//! The law: all of it travels in every event that is made of an upload, so it is bounded where it comes in. What is
//! made of a record that was never bounded, its end and its dead letter, carries the identity alone
//! ([`Envelope::identity`]), which always fits.

use super::{Envelope, Uploaded};

/// Bytes of an id (tenant, document, upload and such); UUIDs have 36, paths as ids some hundreds.
pub const MAX_ID_BYTES: usize = 1_024;

/// Bytes of everything in an upload that its producer chose, but the content.
pub fn bytes(upload: &Uploaded) -> usize {
    let Uploaded { envelope, source, options, content: _ } = upload;
    let optional = [
        &envelope.batch_id,
        &envelope.parent_id,
        &envelope.root_id,
        &envelope.path_in_parent,
        &envelope.traceparent,
        &envelope.tracestate,
        &source.declared_media_type,
        &options.password,
    ];
    let attributes = envelope.attributes.iter().map(|(name, value)| name.len() + value.len());
    let lists = envelope.access.iter().chain(&options.languages).map(String::len);
    let texts = ids(envelope).into_iter().chain([&source.uri, &source.filename, &source.media_type, &source.sha256]);
    texts.map(String::len).chain(optional.into_iter().flatten().map(String::len)).chain(attributes).chain(lists).sum()
}

/// Whether the ids with which a record is reported are as short as ids are.
pub fn has_short_ids(envelope: &Envelope) -> bool {
    ids(envelope).into_iter().all(|id| id.len() <= MAX_ID_BYTES)
}

/// Whether no id holds a control character. What deckle derives from ids joins them by line feeds, so that no id of a
/// producer can pass for such a name.
pub fn has_plain_ids(envelope: &Envelope) -> bool {
    ids(envelope).into_iter().all(|id| !id.contains(char::is_control))
}

fn ids(envelope: &Envelope) -> [&String; 5] {
    [&envelope.event_id, &envelope.tenant, &envelope.document_id, &envelope.upload_id, &envelope.fingerprint]
}

impl Envelope {
    /// The same event with its identity alone, each id cut to [`MAX_ID_BYTES`].
    pub fn identity(&self) -> Self {
        let cut = |id: &str| id[..id.floor_char_boundary(MAX_ID_BYTES)].to_owned();
        Self {
            upload_id: cut(&self.upload_id),
            run: self.run,
            version: self.version,
            fingerprint: cut(&self.fingerprint),
            ..Self::new(cut(&self.event_id), &cut(&self.tenant), &cut(&self.document_id), self.lane)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::{Lane, Options, Source};

    fn upload() -> Uploaded {
        Uploaded {
            envelope: Envelope::new("e".to_owned(), "acme", "d", Lane::Bulk),
            source: Source::unknown(),
            options: Options::default(),
            content: Some(vec![0; 1_000]),
        }
    }

    #[test]
    fn every_text_that_a_producer_chooses_counts_but_the_content() {
        let plain = bytes(&upload());
        assert!(plain < 100, "{plain}");
        let long = || "x".repeat(1_000);
        type Change = fn(&mut Uploaded, String);
        let changes: [Change; 14] = [
            |upload, text| upload.envelope.upload_id = text,
            |upload, text| upload.envelope.batch_id = Some(text),
            |upload, text| upload.envelope.parent_id = Some(text),
            |upload, text| upload.envelope.root_id = Some(text),
            |upload, text| upload.envelope.path_in_parent = Some(text),
            |upload, text| upload.envelope.traceparent = Some(text),
            |upload, text| upload.envelope.tracestate = Some(text),
            |upload, text| upload.envelope.attributes = BTreeMap::from([(text, String::new())]),
            |upload, text| upload.envelope.access = vec![text],
            |upload, text| upload.envelope.fingerprint = text,
            |upload, text| upload.source.uri = text,
            |upload, text| upload.source.filename = text,
            |upload, text| upload.source.declared_media_type = Some(text),
            |upload, text| upload.options.languages = vec![text],
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut upload = upload();
            change(&mut upload, long());
            assert_eq!(bytes(&upload), plain + 1_000, "change {number}");
        }
    }

    #[test]
    fn an_id_with_a_line_feed_could_be_a_name_that_deckle_made() {
        let mut envelope = upload().envelope;
        envelope.upload_id = "2026/ä b.pdf".to_owned();
        assert!(has_plain_ids(&envelope));
        envelope.upload_id = "erased\nd\n5\n5".to_owned();
        assert!(!has_plain_ids(&envelope));
    }

    #[test]
    fn an_identity_is_short_whatever_it_was_made_of() {
        let mut envelope = upload().envelope;
        envelope.attributes = BTreeMap::from([("a".to_owned(), "b".repeat(1 << 20))]);
        envelope.document_id = "ä".repeat(1 << 20);
        assert!(!has_short_ids(&envelope));
        let identity = envelope.identity();
        assert!(has_short_ids(&identity) && identity.attributes.is_empty());
        assert_eq!((identity.tenant.as_str(), identity.document_id.len()), ("acme", MAX_ID_BYTES));
    }
}
