//! Events as bytes and headers: Avro single-object encoding, CloudEvents names.
//!
//! The law: the first byte tells the framing, and a record is read with the schema it was written with. Every schema
//! that was ever released is compiled in, so that old records stay readable; fields they lack take serde's defaults,
//! which `tests/suite/contract.rs` holds equal to Avro's.

use std::{collections::BTreeMap, io::Read as _};

use bytes::Bytes;
use serde::Serialize;
use serde_avro_fast::{
    Schema,
    de::{DeserializerConfig, DeserializerState, read::SliceRead},
    ser::SerializerConfig,
};
use serde_json::Value;

use super::{
    Assembled, DeadLetter, Enriched, Envelope, Event, Lane, PageAnalysed, PageRead, PageSplit, Published,
    PublishedChunk, PublishedVector, Readmitted, Uploaded,
    framing::{Fingerprint, Framing, SINGLE_OBJECT_HEADER},
    learnt, schemas,
};
use crate::error::{Failure, Result, code};

/// Bytes an event's own part may have; what a dead letter carries of another record comes on top. Larger things
/// belong in the blob store, and brokers refuse records above 1 MiB.
pub const MAX_OWN_BYTES: usize = 512 * 1024;

/// Value of the `content-type` header.
pub const CONTENT_TYPE: &str = "application/avro";

fn contract(topic: &str) -> Result<&'static schemas::Contract> {
    schemas::contract(topic).ok_or_else(|| no_schema(topic))
}

fn no_schema(topic: &str) -> Failure {
    undecodable(format!("no schema for the topic {topic:?} in this build"))
}

/// Whether records of a topic that were written with this schema decode in this process.
pub fn is_known(topic: &str, fingerprint: &Fingerprint) -> bool {
    schemas::is_built_in(topic, fingerprint) || learnt::get(topic, fingerprint).is_some()
}

/// Encodes an event with the current schema of its topic, in single-object encoding.
///
/// Fails with [`Failure::Defect`] when the event's own part is larger than [`MAX_OWN_BYTES`], or does not fit its
/// schema (a number out of range).
pub fn encode<T: Event>(event: &T) -> Result<Bytes> {
    let schema = &contract(T::TOPIC)?.current;
    let bytes = serde_avro_fast::to_single_object_vec(event, &mut SerializerConfig::new(schema))
        .map_err(|error| Failure::defect(format!("{} does not fit its schema: {}", T::TOPIC, one_line(&error))))?;
    let own = bytes.len().saturating_sub(event.carried_bytes());
    if own > MAX_OWN_BYTES {
        return Err(Failure::defect(format!(
            "an event of {} has {own} bytes, more than the {MAX_OWN_BYTES} allowed",
            T::TOPIC
        )));
    }
    Ok(Bytes::from(bytes))
}

/// Decodes an event that was written with the current or any released schema of its topic, or with one that was
/// learnt from a schema registry. Fields that the writer has and we have not are passed over.
///
/// Fails with [`Failure::Rejected`], code [`code::RECORD_UNDECODABLE`], and one line that says why.
pub fn decode<T: Event>(bytes: &[u8]) -> Result<T> {
    decode_with(contract(T::TOPIC)?, bytes)
}

fn decode_with<T: Event>(contract: &schemas::Contract, bytes: &[u8]) -> Result<T> {
    let (fingerprint, datum) = unframe(bytes)?;
    if let Some(schema) = contract.built_in(&fingerprint) {
        return decode_datum(schema, datum);
    }
    let schema = learnt::get(T::TOPIC, &fingerprint).ok_or_else(|| {
        undecodable(format!(
            "written with a schema unknown to this build (fingerprint {}, topic {})",
            hex::encode(fingerprint),
            T::TOPIC
        ))
    })?;
    decode_datum(&schema, datum)
}

fn decode_datum<T: Event>(schema: &Schema, datum: &[u8]) -> Result<T> {
    let mut config = DeserializerConfig::new(schema);
    // Every item has a byte at least (`learnt::limits` sees to it), so that no list is longer than its record.
    config.max_seq_size = datum.len();
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let event = T::deserialize(state.deserializer()).map_err(|error| undecodable(one_line(&error)))?;
    // A slice never fails to be read.
    if state.into_reader().read(&mut [0]).unwrap_or(0) > 0 {
        return Err(undecodable("bytes follow the end of the record"));
    }
    Ok(event)
}

/// The writer's fingerprint and the datum behind it.
fn unframe(bytes: &[u8]) -> Result<(Fingerprint, &[u8])> {
    match Framing::of(bytes) {
        Some(Framing::SingleObject(fingerprint)) => Ok((fingerprint, &bytes[SINGLE_OBJECT_HEADER..])),
        Some(Framing::Confluent(id)) => Err(undecodable(format!(
            "framed for a schema registry (schema {id}), and none is configured, or it has no such schema of this topic"
        ))),
        None if bytes.len() < SINGLE_OBJECT_HEADER => Err(undecodable(format!(
            "{} bytes are too short for a record, whose header alone has {SINGLE_OBJECT_HEADER}",
            bytes.len()
        ))),
        None => Err(undecodable(format!(
            "starts with {}, neither Avro single-object (c301) nor Confluent (00)",
            hex::encode(&bytes[..2])
        ))),
    }
}

fn undecodable(message: impl Into<String>) -> Failure {
    Failure::rejected(code::RECORD_UNDECODABLE, message)
}

/// An error on one line of bounded length, fit for a reason.
fn one_line(error: &impl std::fmt::Display) -> String {
    const LONGEST: usize = 300;
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// Decodes a record of any topic for people: times (`*_at`) in RFC 3339, the password as `***`, inline content as its
/// length, and the record inside another decoded too, or only its length where it cannot be (its bytes may hold a
/// secret).
pub fn decode_to_json(topic: &str, bytes: &[u8]) -> Result<Value> {
    match topic {
        Uploaded::TOPIC => json_of::<Uploaded>(bytes),
        PageSplit::TOPIC => json_of::<PageSplit>(bytes),
        PageRead::TOPIC => json_of::<PageRead>(bytes),
        PageAnalysed::TOPIC => json_of::<PageAnalysed>(bytes),
        Assembled::TOPIC => json_of::<Assembled>(bytes),
        Enriched::TOPIC => json_of::<Enriched>(bytes),
        Published::TOPIC => json_of::<Published>(bytes),
        PublishedChunk::TOPIC => json_of::<PublishedChunk>(bytes),
        PublishedVector::TOPIC => json_of::<PublishedVector>(bytes),
        Readmitted::TOPIC => {
            let mut again = decode::<Readmitted>(bytes)?;
            let value = std::mem::take(&mut again.value);
            let mut json = json_from(&again)?;
            json["value"] = json_of::<Uploaded>(&value).unwrap_or_else(|_| length_of(&value));
            Ok(json)
        }
        DeadLetter::TOPIC => {
            let mut letter = decode::<DeadLetter>(bytes)?;
            let value = std::mem::take(&mut letter.value);
            let mut json = json_from(&letter)?;
            // A dead letter inside a dead letter is not opened: nothing consumes that topic.
            let inner =
                if letter.topic == DeadLetter::TOPIC { None } else { decode_to_json(&letter.topic, &value).ok() };
            json["value"] = inner.unwrap_or_else(|| length_of(&value));
            Ok(json)
        }
        other => Err(no_schema(other)),
    }
}

/// What is shown of bytes that are not.
fn length_of(bytes: &[u8]) -> Value {
    serde_json::json!({ "size_bytes": bytes.len() })
}

fn json_of<T: Event>(bytes: &[u8]) -> Result<Value> {
    json_from(&decode::<T>(bytes)?)
}

fn json_from(event: &impl Serialize) -> Result<Value> {
    let mut json = serde_json::to_value(event)
        .map_err(|error| Failure::defect(format!("an event has no JSON form: {}", one_line(&error))))?;
    if let Some(password) = json.pointer_mut("/options/password").filter(|password| !password.is_null()) {
        *password = "***".into();
    }
    // A file is no text, and may be a secret.
    if let Some(content) = json.get_mut("content").filter(|content| content.is_array()) {
        *content = serde_json::json!({ "size_bytes": content.as_array().map_or(0, Vec::len) });
    }
    write_times(&mut json);
    Ok(json)
}

/// Turns every integer named `*_at` into RFC 3339.
fn write_times(json: &mut Value) {
    match json {
        Value::Array(items) => items.iter_mut().for_each(write_times),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_i64().filter(|_| name.ends_with("_at")).and_then(rfc3339) {
                    Some(time) => *value = time.into(),
                    None => write_times(value),
                }
            }
        }
        _ => {}
    }
}

/// RFC 3339, UTC; `None` outside the years −9999 to 9999.
fn rfc3339(time_us: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(time_us).ok().map(|time| time.to_string())
}

/// The headers of an event: CloudEvents 1.0 in binary mode, trace context, and what is needed when its bytes cannot
/// be read ([`Headers::parse`]).
///
/// `producer` is the stage or `cli`. Stages give no `time_us` (µs since 1970, UTC), because their outputs must be pure.
pub fn headers<T: Event>(event: &T, producer: &str, time_us: Option<i64>) -> BTreeMap<String, String> {
    let envelope = event.envelope();
    let mut headers = BTreeMap::new();
    let mut set = |name: &str, value: String| headers.insert(name.to_owned(), value);
    set("ce_specversion", "1.0".to_owned());
    set("ce_id", envelope.event_id.clone());
    set("ce_type", T::TOPIC.to_owned());
    set("ce_source", format!("deckle/{producer}"));
    set("content-type", CONTENT_TYPE.to_owned());
    set("tenant", envelope.tenant.clone());
    set("document", envelope.document_id.clone());
    set("upload", envelope.upload_id.clone());
    set("run", envelope.run.to_string());
    set("version", envelope.version.to_string());
    set("lane", envelope.lane.as_str().to_owned());
    let optional = [
        ("ce_time", time_us.and_then(rfc3339)),
        ("page", event.page_no().map(|page_no| page_no.to_string())),
        ("pages", event.page_count().map(|page_count| page_count.to_string())),
        ("traceparent", envelope.traceparent.clone()),
        ("tracestate", envelope.tracestate.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, value);
        }
    }
    headers
}

/// Identity and context from the headers of a record, for when nothing else can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Id of the event (`ce_id`).
    pub event_id: String,
    /// Leads every key.
    pub tenant: String,
    /// The document.
    pub document_id: String,
    /// The submission.
    pub upload_id: String,
    /// µs since 1970; 0 when unknown, and on `documents.uploaded`.
    pub run: i64,
    /// µs since 1970; 0 when unknown, and on `documents.uploaded`.
    pub version: i64,
    /// The page, counted from 1.
    pub page_no: Option<u32>,
    /// Pages of the document.
    pub page_count: Option<u32>,
    /// Interactive when unknown.
    pub lane: Lane,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// W3C trace state.
    pub tracestate: Option<String>,
    /// When the log took the record, µs since 1970, UTC.
    pub appended_at_us: i64,
}

impl Headers {
    /// Reads what is there; what is missing or malformed is empty or 0.
    pub fn parse(headers: &BTreeMap<String, String>, appended_at_us: i64) -> Self {
        let text = |name: &str| headers.get(name).cloned();
        let number = |name: &str| headers.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            event_id: text("ce_id").unwrap_or_default(),
            tenant: text("tenant").unwrap_or_default(),
            document_id: text("document").unwrap_or_default(),
            upload_id: text("upload").unwrap_or_default(),
            run: number("run"),
            version: number("version"),
            page_no: headers.get("page").and_then(|text| text.parse().ok()).filter(|page_no| *page_no > 0),
            page_count: headers.get("pages").and_then(|text| text.parse().ok()),
            lane: if headers.get("lane").is_some_and(|lane| lane == Lane::Bulk.as_str()) {
                Lane::Bulk
            } else {
                Lane::Interactive
            },
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
            appended_at_us,
        }
    }

    /// What the headers of a topic's record may be believed. On `documents.uploaded`, where anyone writes, they name no
    /// run and no version.
    pub fn of_record(topic: &str, headers: &BTreeMap<String, String>, appended_at_us: i64) -> Self {
        let parsed = Self::parse(headers, appended_at_us);
        if topic == Uploaded::TOPIC { Self { run: 0, version: 0, ..parsed } } else { parsed }
    }

    /// An envelope with all that the headers know, to report a record that could not be read. An upload, which has
    /// no run yet, gets the one that its append time gives it.
    pub fn envelope(&self) -> Envelope {
        let or = |known: i64, other: i64| if known == 0 { other } else { known };
        let run = or(self.run, self.appended_at_us);
        Envelope {
            upload_id: self.upload_id.clone(),
            run,
            version: or(self.version, run),
            traceparent: self.traceparent.clone(),
            tracestate: self.tracestate.clone(),
            ..Envelope::new(self.event_id.clone(), &self.tenant, &self.document_id, self.lane)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_written_with_a_released_schema_is_read_with_it() {
        let current = schemas::schema_json(Uploaded::TOPIC).unwrap();
        let mut older: Value = serde_json::from_str(current).unwrap();
        let fields = older["fields"].as_array_mut().unwrap();
        fields.retain(|field| field["name"] != "options");
        let mut options = serde_json::from_str::<Value>(current).unwrap()["fields"][2].clone();
        options["type"]["fields"].as_array_mut().unwrap().retain(|field| field["name"] == "languages");
        fields.push(options);
        let older: Schema = older.to_string().parse().unwrap();

        let source =
            serde_json::json!({"uri": "", "filename": "a.pdf", "media_type": "", "size_bytes": 1, "sha256": ""});
        let envelope = Headers { tenant: "acme".into(), run: 7, ..Headers::default() }.envelope();
        let written = serde_json::json!({"envelope": envelope, "source": source, "options": {"languages": ["de"]}});
        let bytes = serde_avro_fast::to_single_object_vec(&written, &mut SerializerConfig::new(&older)).unwrap();

        let released = BTreeMap::from([(*older.rabin_fingerprint(), older)]);
        let contract = schemas::Contract { current: current.parse().unwrap(), released };
        let read: Uploaded = decode_with(&contract, &bytes).unwrap();
        assert_eq!((read.envelope.tenant.as_str(), read.envelope.run), ("acme", 7));
        assert_eq!((read.options.languages, read.options.force), (vec!["de".to_owned()], false));
        assert!(decode::<Uploaded>(&bytes).is_err(), "unknown to this build");
    }
}
