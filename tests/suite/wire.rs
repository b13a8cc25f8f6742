//! Bytes and headers of events: framing, limits, what people are shown, and that no bytes can do harm.

use std::collections::BTreeMap;

use deckle::contract::{
    error::{Failure, code},
    record::{
        DeadLetter, Envelope, Event, Lane, PageRead, Uploaded, learnt, schemas,
        wire::{self, Headers},
    },
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::samples::{Sample, for_each_event, full_envelope};

fn why_undecodable<T: Event + std::fmt::Debug>(bytes: &[u8]) -> String {
    match wire::decode::<T>(bytes).unwrap_err() {
        Failure::Rejected { code, message } if code == code::RECORD_UNDECODABLE && !message.contains('\n') => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_decoded_says_why() {
    let good = wire::encode(&Uploaded::full()).unwrap().to_vec();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        why_undecodable::<Uploaded>(&bytes)
    };
    assert!(with(&|bytes| bytes.clear()).contains("0 bytes are too short"));
    assert!(with(&|bytes| bytes.truncate(9)).contains("9 bytes are too short"));
    assert!(with(&|bytes| bytes[0] = b'{').contains("starts with 7b01"));
    assert!(with(&|bytes| bytes[5] ^= 1).contains("schema unknown to this build"));
    assert!(with(&|bytes| bytes.push(0)).contains("bytes follow"));
    assert!(!with(&|bytes| bytes.truncate(40)).is_empty());
    assert!(why_undecodable::<Uploaded>(&[0, 0, 0, 1, 2, 6]).contains("registry (schema 258)"));
    assert!(why_undecodable::<PageRead>(&good).contains("topic pages.read"), "another topic's record");
}

#[test]
fn an_event_above_its_size_is_a_defect_but_what_a_dead_letter_carries_does_not_count() {
    let mut large = Uploaded::full();
    large.envelope.attributes.insert("x".into(), "x".repeat(wire::MAX_OWN_BYTES));
    assert!(matches!(wire::encode(&large), Err(Failure::Defect { .. })));

    let mut letter = DeadLetter::full();
    letter.value = vec![7; 1024 * 1024];
    assert_eq!(wire::decode::<DeadLetter>(&wire::encode(&letter).unwrap()).unwrap(), letter);
    letter.reason.message = "x".repeat(wire::MAX_OWN_BYTES);
    assert!(matches!(wire::encode(&letter), Err(Failure::Defect { .. })));
}

#[test]
fn a_number_out_of_the_schemas_range_is_a_defect() {
    let mut event = PageRead::full();
    event.page.as_mut().unwrap().size_bytes = u64::MAX;
    assert!(matches!(wire::encode(&event), Err(Failure::Defect { .. })));
}

#[test]
fn headers_are_cloud_events_and_tell_what_the_record_is() {
    let event = PageRead::full();
    let headers = wire::headers(&event, "ocr", Some(1_795_000_123_456_789));
    insta::assert_json_snapshot!(headers);
    assert!(!wire::headers(&event, "ocr", None).contains_key("ce_time"), "outputs of stages are pure");
    let told = Headers::parse(&headers, 9);
    assert_eq!((told.page_no, told.lane, told.appended_at_us), (Some(3), Lane::Bulk, 9));
    let (sent, envelope) = (full_envelope(), told.envelope());
    assert_eq!(envelope.document_key(), sent.document_key());
    assert_eq!((&envelope.event_id, &envelope.upload_id), (&sent.event_id, &sent.upload_id));
    assert_eq!((envelope.run, envelope.version, envelope.lane), (sent.run, sent.version, sent.lane));
    assert_eq!((envelope.traceparent, envelope.tracestate), (sent.traceparent, sent.tracestate));

    let malformed = BTreeMap::from([("run".into(), "soon".into()), ("page".into(), "0".into())]);
    assert_eq!(Headers::parse(&malformed, 9), Headers { appended_at_us: 9, ..Headers::default() });
}

#[test]
fn json_for_people_hides_the_password_and_the_bytes() {
    let event = Uploaded::full();
    let bytes = wire::encode(&event).unwrap();
    let shown = wire::decode_to_json(Uploaded::TOPIC, &bytes).unwrap();
    assert_eq!(shown["options"]["password"], "***");
    assert_eq!(shown["content"], json!({"size_bytes": event.content.unwrap().len()}));
    assert_eq!(shown["envelope"]["deadline_at"], "2026-11-18T11:09:43.456789Z");
    assert_eq!(shown["envelope"]["attributes"]["due_at"], "soon");

    let letter = DeadLetter { value: bytes.to_vec(), ..DeadLetter::full() };
    let shown = wire::decode_to_json(DeadLetter::TOPIC, &wire::encode(&letter).unwrap()).unwrap();
    assert_eq!(shown["value"]["options"]["password"], "***");
    assert_eq!(shown["value"]["content"], json!({"size_bytes": 3}));
    assert_eq!(shown["value"]["source"]["filename"], "Übersicht.pdf");
    let letter = DeadLetter { value: bytes[1..].to_vec(), ..letter };
    let shown = wire::decode_to_json(DeadLetter::TOPIC, &wire::encode(&letter).unwrap()).unwrap();
    assert_eq!(shown["value"], json!({"size_bytes": bytes.len() - 1}));

    assert_eq!(
        wire::decode_to_json("no.such", &bytes).unwrap_err().to_string(),
        "no schema for the topic \"no.such\" in this build"
    );
    fn check<T: Sample>() {
        wire::decode_to_json(T::TOPIC, &wire::encode(&T::minimal()).unwrap()).unwrap();
    }
    for_each_event!(check);
}

prop_compose! {
    fn envelopes()(
        ids in any::<[String; 5]>(),
        times in any::<(i64, i64, Option<i64>)>(),
        lane in prop_oneof![Just(Lane::Interactive), Just(Lane::Bulk)],
        options in any::<[Option<String>; 6]>(),
        attributes in any::<BTreeMap<String, String>>(),
        access in any::<Vec<String>>(),
        trail in proptest::collection::vec(any::<(String, Option<String>, [i64; 6])>(), 0..4),
    ) -> Envelope {
        let [event_id, tenant, document_id, upload_id, fingerprint] = ids;
        let (run, version, deadline_at) = times;
        let [batch_id, parent_id, root_id, path_in_parent, traceparent, tracestate] = options;
        let trail = trail.into_iter().map(|(stage, model, [wall_us, cpu_us, gpu_us, pages, bytes, tokens])| {
            deckle::contract::record::TrailEntry {
                stage, weights_sha256: model.clone(), model, wall_us, cpu_us, gpu_us, pages, bytes, tokens,
                ..Default::default()
            }
        }).collect();
        Envelope {
            event_id, tenant, document_id, upload_id, run, version, fingerprint, lane, batch_id, parent_id, root_id,
            path_in_parent, traceparent, tracestate, attributes, access, deadline_at, trail,
        }
    }
}

proptest! {
    #[test]
    fn any_envelope_survives_the_wire(envelope in envelopes()) {
        let event = Uploaded { envelope, ..Uploaded::minimal() };
        let bytes = wire::encode(&event).unwrap();
        prop_assert_eq!(wire::decode::<Uploaded>(&bytes).unwrap(), event);
        prop_assert!(wire::decode_to_json(Uploaded::TOPIC, &bytes).is_ok());
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_never_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        length in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = wire::encode(&DeadLetter::full()).unwrap().to_vec();
        for (at, byte) in changes {
            // Behind the fingerprint, or nothing would be decoded.
            let at = 10 + at.index(bytes.len() - 10);
            bytes[at] = byte;
        }
        let _ = wire::decode::<DeadLetter>(&bytes);
        let _ = wire::decode::<DeadLetter>(&bytes[..length.index(bytes.len())]);
        let _ = wire::decode_to_json(DeadLetter::TOPIC, &bytes);
    }

    #[test]
    fn any_schema_of_another_writer_is_refused_or_reads_never_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..TYPES.len()), 1..4),
        datum in any::<Vec<u8>>(),
    ) {
        let mut schema: serde_json::Value =
            serde_json::from_str(schemas::schema_json(DeadLetter::TOPIC).unwrap()).unwrap();
        for (at, of_type) in changes {
            let mut places = Vec::new();
            types(&mut schema, &mut places);
            let at = at.index(places.len());
            *places.swap_remove(at) = serde_json::from_str(TYPES[of_type]).unwrap();
        }
        if let Ok(fingerprint) = learnt::learn(DeadLetter::TOPIC, &schema.to_string()) {
            let bytes = wire::encode(&DeadLetter::full()).unwrap();
            for datum in [&datum, &bytes[10..]] {
                let _ = wire::decode::<DeadLetter>(&[&[0xC3, 1][..], &fingerprint, datum].concat());
            }
        }
    }
}

/// What a field of another writer may be, sensible or not.
const TYPES: [&str; 12] = [
    r#""null""#,
    r#""bytes""#,
    r#""double""#,
    r#"["string", "null"]"#,
    r#"["null", "int", {"type": "array", "items": "deckle.Envelope"}]"#,
    r#"{"type": "map", "values": ["null", "DeadLetter"]}"#,
    r#"{"type": "array", "items": "null"}"#,
    r#"{"type": "enum", "name": "E", "symbols": ["ocr", "split"]}"#,
    r#"{"type": "fixed", "name": "F", "size": 1000000000000}"#,
    r#"{"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 40}"#,
    r#"{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}"#,
    r#""no.such.Name""#,
];

/// The types of all fields of a schema and of the records in it.
fn types<'a>(schema: &'a mut serde_json::Value, found: &mut Vec<&'a mut serde_json::Value>) {
    for field in schema["fields"].as_array_mut().into_iter().flatten() {
        let of_type = &mut field["type"];
        if of_type["fields"].is_array() {
            types(of_type, found);
        } else {
            found.push(of_type);
        }
    }
}

#[test]
fn a_schema_of_another_writer_is_read_by_name_and_kept_apart_by_topic() {
    let mut schema: serde_json::Value = serde_json::from_str(schemas::schema_json(PageRead::TOPIC).unwrap()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    // In another order; `BlobRef` is defined where it is used first, so its two uses stay in theirs.
    fields[..6].reverse();
    fields.push(json!({"name": "shelf", "type": "string", "default": ""}));
    let text = schema.to_string();
    let writer: serde_avro_fast::Schema = text.parse().unwrap();
    let mut record = serde_json::to_value(PageRead::full()).unwrap();
    record["shelf"] = "3b".into();
    let mut config = serde_avro_fast::ser::SerializerConfig::new(&writer);
    let bytes = serde_avro_fast::to_single_object_vec(&record, &mut config).unwrap();
    assert!(why_undecodable::<PageRead>(&bytes).contains("unknown to this build"));
    assert!(learnt::learn(Uploaded::TOPIC, &text).unwrap_err().to_string().contains("PageRead"));
    assert_eq!(learnt::learn(PageRead::TOPIC, &text).unwrap(), *writer.rabin_fingerprint());
    assert_eq!(wire::decode::<PageRead>(&bytes).unwrap(), PageRead::full());
    assert!(wire::decode_to_json(PageRead::TOPIC, &bytes).unwrap().get("shelf").is_none());
    assert!(why_undecodable::<Uploaded>(&bytes).contains("unknown to this build"), "learnt for another topic");
}
