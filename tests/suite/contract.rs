//! The contract: types, schemas, topics and released bytes agree, and no change breaks an older or a newer reader.
//!
//! `DECKLE_BLESS=1 cargo test --test suite contract::` writes the shared types of `schemas/common` out into every
//! topic's schema, and makes the golden files of this version. A folder of `schemas/released` that holds `.bin` files
//! is never touched. A release: raise the version in `Cargo.toml`, bless, add the version in
//! `RELEASED` of `src/contract/record/schemas.rs` and in each line of `with_every_topic!` in `src/contract/record/mod.rs`.

mod schemas;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use apache_avro::Schema;
use deckle::contract::record::{
    DeadLetter, Event, PageRead, Uploaded, schemas as built_in,
    topics::{self, Key, Timestamps, TopicConfig},
    wire,
};
use serde_json::{Value, json};

use schemas::{blessing, common, compatible, expand, files, folder, read_json, records, render};

use crate::support::{
    Home,
    samples::{Sample, for_each_event},
};

fn current<T: Event>() -> Value {
    serde_json::from_str(built_in::schema_json(T::TOPIC).unwrap()).unwrap()
}

fn avro<T: Event>() -> Schema {
    Schema::parse(&current::<T>()).unwrap()
}

/// Writes JSON with a schema, which need not be a compiled-in one.
fn datum(json: &Value, schema: &Value) -> (Vec<u8>, serde_avro_fast::Schema) {
    let schema: serde_avro_fast::Schema = schema.to_string().parse().unwrap();
    let mut config = serde_avro_fast::ser::SerializerConfig::new(&schema);
    config.allow_slow_sequence_to_bytes();
    (serde_avro_fast::to_datum_vec(json, &mut config).unwrap(), schema)
}

// ── Files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn shared_types_are_the_same_in_every_schema() {
    let common = common();
    let mut rewritten = Vec::new();
    for (topic, path) in files("schemas", "avsc") {
        let text = fs::read_to_string(&path).unwrap();
        let expanded = render(&expand(&read_json(&path), &common, &mut BTreeSet::new()), 0) + "\n";
        if text == expanded {
            assert_eq!(built_in::schema_json(&topic), Some(text.as_str()), "{topic} is not the compiled-in schema");
        } else if blessing() {
            fs::write(&path, expanded).unwrap();
            rewritten.push(topic);
        } else {
            panic!("{topic} differs from schemas/common: change it there, and set DECKLE_BLESS=1");
        }
    }
    assert!(rewritten.is_empty(), "rewritten from schemas/common: {rewritten:?}; run again, to build with them");
}

#[test]
fn every_schema_has_a_topic_and_a_type() {
    let with_schema: BTreeSet<_> = files("schemas", "avsc").into_keys().collect();
    let with_topic_file: BTreeSet<_> = files("topics", "toml").into_keys().collect();
    let compiled_in: BTreeSet<_> = topics::all().iter().map(|topic| topic.name.clone()).collect();
    let mut with_type = BTreeSet::new();
    macro_rules! types { ($($type:ty),+) => { $(with_type.insert(<$type>::TOPIC.to_owned());)+ } }
    types!(
        Uploaded,
        deckle::contract::record::Readmitted,
        deckle::contract::record::PageSplit,
        PageRead,
        deckle::contract::record::PageAnalysed,
        deckle::contract::record::Assembled
    );
    types!(deckle::contract::record::Enriched, deckle::contract::record::Published, DeadLetter);
    types!(deckle::contract::record::PublishedChunk, deckle::contract::record::PublishedVector);
    assert_eq!(with_schema, with_topic_file);
    assert_eq!(with_schema, compiled_in);
    assert_eq!(with_schema, with_type);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stage_is_a_consumer_of_its_topics_and_of_no_other() {
    let home = Home::new();
    for stage in home.app().stages(&[]) {
        let is_consumer = |topic: &&TopicConfig| topic.consumers.iter().any(|name| name == stage.name());
        let declared: Vec<&str> = topics::all().iter().filter(is_consumer).map(|topic| topic.name.as_str()).collect();
        assert_eq!(declared, stage.topics(), "{}: what is not declared is trimmed before it is read", stage.name());
    }
}

#[test]
fn topics_say_what_the_pipeline_relies_on() {
    for topic in topics::all() {
        assert!(topic.partitions > 0 && topic.min_insync_replicas <= topic.replication, "{topic:?}");
        assert!(topic.max_message_bytes as usize > wire::MAX_OWN_BYTES, "{topic:?}");
        assert!(!topic.is_work() || !topic.consumers.is_empty(), "{}: nobody would ever trim it", topic.name);
        assert_eq!(topic.timestamps, Timestamps::LogAppendTime, "{}", topic.name);
    }
    let largest_record =
        topics::all().iter().filter(|topic| topic.is_work()).map(|topic| topic.max_message_bytes).max();
    assert!(topics::get("dead-letters").map(|topic| topic.max_message_bytes) > largest_record);
}

#[test]
fn a_topic_is_ordered_by_what_its_file_says() {
    fn check<T: Sample>() {
        let event = T::full();
        let mut expected = event.envelope().document_key();
        if topics::get(T::TOPIC).unwrap().key == Key::Page {
            expected = format!("{expected}/{}", event.page_no().unwrap());
        }
        assert_eq!(event.order_key(), expected, "{}", T::TOPIC);
    }
    for_each_event!(check);
}

#[test]
fn every_field_is_documented_and_every_option_has_a_default() {
    for (topic, path) in files("schemas", "avsc") {
        records(&read_json(&path), &mut |record| {
            assert!(record["doc"].is_string() && record["namespace"] == "deckle", "{topic} {}", record["name"]);
            for field in record["fields"].as_array().unwrap() {
                let default = field.get("default");
                let expected = match &field["type"] {
                    Value::Array(branches) => {
                        assert!(branches.len() == 2 && branches[0] == "null", "{topic} {field}");
                        Some(json!(null))
                    }
                    of_type if of_type["type"] == "array" => Some(json!([])),
                    of_type if of_type["type"] == "map" => Some(json!({})),
                    _ => default.cloned(),
                };
                assert_eq!(default, expected.as_ref(), "{topic} {field}");
                assert!(field["doc"].as_str().is_some_and(|doc| doc.ends_with('.')), "{topic} {field}");
                let is_time = field["name"].as_str().unwrap().ends_with("_at");
                assert!(!is_time || field["type"].to_string().contains("timestamp-micros"), "{topic} {field}");
                assert!(!field["type"].to_string().contains("\"enum\""), "open sets are strings: {topic} {field}");
            }
        });
    }
}

// ── Types ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn events_survive_the_wire() {
    fn check<T: Sample>() {
        for event in [T::full(), T::minimal()] {
            assert_eq!(wire::decode::<T>(&wire::encode(&event).unwrap()).unwrap(), event);
        }
    }
    for_each_event!(check);
}

#[test]
fn schemas_and_types_have_the_same_fields() {
    fn same(json: &Value, schema: &Value, known: &mut BTreeMap<String, Value>, at: &str) {
        match (json, schema) {
            (_, Value::String(name)) if known.contains_key(name) => same(json, &known[name].clone(), known, at),
            (_, Value::Array(branches)) => {
                assert!(!json.is_null(), "{at}: the full sample leaves it out");
                same(json, &branches[1], known, at);
            }
            (Value::Object(values), _) if schema["type"] == "record" => {
                known.insert(schema["name"].as_str().unwrap().into(), schema.clone());
                let fields = schema["fields"].as_array().unwrap();
                let names: BTreeSet<_> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
                assert_eq!(values.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "{at}");
                for field in fields {
                    let name = field["name"].as_str().unwrap();
                    same(&values[name], &field["type"], known, &format!("{at}.{name}"));
                }
            }
            (Value::Array(values), _) if schema["type"] == "array" => {
                assert!(!values.is_empty(), "{at}: empty in the full sample");
                values.iter().for_each(|value| same(value, &schema["items"], known, at));
            }
            _ => {}
        }
    }
    fn check<T: Sample>() {
        same(&serde_json::to_value(T::full()).unwrap(), &current::<T>(), &mut BTreeMap::new(), T::TOPIC);
    }
    for_each_event!(check);
}

/// Takes every field with a default out of a schema, and out of JSON written with it.
fn strip_defaults(schema: &mut Value, json: &mut Value) {
    let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut) else { return };
    for field in fields.iter_mut() {
        let name = field["name"].as_str().unwrap().to_owned();
        if field.get("default").is_some() {
            json.as_object_mut().unwrap().remove(&name);
        } else {
            strip_defaults(&mut field["type"], &mut json[&name]);
        }
    }
    fields.retain(|field| field.get("default").is_none());
}

#[test]
fn fields_an_older_schema_lacks_take_the_same_default_in_serde_and_avro() {
    fn check<T: Sample>() {
        let (mut older, mut json) = (current::<T>(), serde_json::to_value(T::minimal()).unwrap());
        strip_defaults(&mut older, &mut json);
        let (bytes, schema) = datum(&json, &older);
        let by_serde: T = serde_avro_fast::from_datum_slice(&bytes, &schema).unwrap();
        assert_eq!(by_serde, T::minimal());
        let older = Schema::parse(&older).unwrap();
        let resolved = apache_avro::from_avro_datum(&older, &mut bytes.as_slice(), Some(&avro::<T>())).unwrap();
        assert_eq!(apache_avro::from_value::<T>(&resolved).unwrap(), by_serde, "{}", T::TOPIC);
    }
    for_each_event!(check);
}

#[test]
fn fields_a_newer_schema_adds_are_passed_over() {
    fn check<T: Sample>() {
        let (mut newer, mut json) = (current::<T>(), serde_json::to_value(T::full()).unwrap());
        let added = json!({"name": "added", "type": {"type": "array", "items": "string"}, "default": []});
        newer["fields"].as_array_mut().unwrap().insert(1, added);
        json["added"] = json!(["x", "y"]);
        let (bytes, schema) = datum(&json, &newer);
        assert_eq!(serde_avro_fast::from_datum_slice::<T>(&bytes, &schema).unwrap(), T::full());
    }
    for_each_event!(check);
}

/// The schema with plain longs for times.
fn without_logical_types(schema: &Value) -> Value {
    match schema {
        Value::Object(parts) if parts.contains_key("logicalType") => parts["type"].clone(),
        Value::Object(parts) => parts.iter().map(|(key, part)| (key.clone(), without_logical_types(part))).collect(),
        Value::Array(items) => items.iter().map(without_logical_types).collect(),
        other => other.clone(),
    }
}

#[test]
fn apache_avro_reads_what_we_write_and_we_read_what_it_writes() {
    fn check<T: Sample>() {
        // Its canonical form of a long with a logical type is `{"type":"long"}`; the specification, Java and
        // serde_avro_fast say `"long"`. Its fingerprints are right for schemas without logical types.
        let plain = Schema::parse(&without_logical_types(&current::<T>())).unwrap();
        let fingerprint = plain.fingerprint::<apache_avro::rabin::Rabin>().bytes;
        for event in [T::full(), T::minimal()] {
            let bytes = wire::encode(&event).unwrap();
            assert_eq!((&bytes[..2], &bytes[2..10]), ([0xC3, 1].as_slice(), fingerprint.as_slice()), "{}", T::TOPIC);
            let value = apache_avro::from_avro_datum(&avro::<T>(), &mut &bytes[10..], None).unwrap();
            assert_eq!(apache_avro::from_value::<T>(&value).unwrap(), event);

            let value = apache_avro::to_value(serde_json::to_value(&event).unwrap()).unwrap();
            let mut written = bytes[..10].to_vec();
            written.extend(apache_avro::to_avro_datum(&avro::<T>(), value.resolve(&avro::<T>()).unwrap()).unwrap());
            assert_eq!(wire::decode::<T>(&written).unwrap(), event, "{}", T::TOPIC);
        }
    }
    for_each_event!(check);
}

// ── Releases ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn released_versions() -> Vec<String> {
    let entries = fs::read_dir(folder("schemas/released")).unwrap();
    let mut versions: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    versions.sort_by_key(|version| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>());
    versions
}

#[test]
fn released_bytes_stay_readable() {
    fn bless<T: Sample>() {
        let at = folder("schemas/released").join(env!("CARGO_PKG_VERSION"));
        let event = T::full();
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join(format!("{}.avsc", T::TOPIC)), built_in::schema_json(T::TOPIC).unwrap()).unwrap();
        fs::write(at.join(format!("{}.bin", T::TOPIC)), wire::encode(&event).unwrap()).unwrap();
        let json = serde_json::to_string_pretty(&event).unwrap() + "\n";
        fs::write(at.join(format!("{}.json", T::TOPIC)), json).unwrap();
    }
    fn check<T: Sample>() {
        for version in built_in::releases(T::TOPIC) {
            let at = folder("schemas/released").join(version);
            let bytes = fs::read(at.join(format!("{}.bin", T::TOPIC))).unwrap();
            let expected: T = serde_json::from_value(read_json(&at.join(format!("{}.json", T::TOPIC)))).unwrap();
            assert_eq!(wire::decode::<T>(&bytes).unwrap(), expected, "{} of {version}", T::TOPIC);
        }
    }
    let this = format!("schemas/released/{}", env!("CARGO_PKG_VERSION"));
    let made = folder(&this).exists() && !files(&this, "bin").is_empty();
    if !made && blessing() {
        for_each_event!(bless);
    } else {
        assert!(made, "{this} has no golden files: set DECKLE_BLESS=1");
    }
    assert_eq!(
        released_versions(),
        built_in::RELEASED,
        "RELEASED in src/contract/record/schemas.rs and schemas/released differ"
    );
    for version in released_versions() {
        let released = files(&format!("schemas/released/{version}"), "avsc").into_keys();
        let has = |topic: &String| built_in::releases(topic).contains(&version.as_str());
        let listed: BTreeSet<_> = topics::all().iter().map(|topic| topic.name.clone()).filter(has).collect();
        assert_eq!(
            released.collect::<BTreeSet<_>>(),
            listed,
            "topics of {version}, and those listed as released in it"
        );
    }
    for_each_event!(check);
}

#[test]
fn every_released_schema_reads_and_is_read_by_every_other() {
    fn check<T: Sample>() {
        let mut versions = vec![("now".to_owned(), current::<T>())];
        for version in built_in::releases(T::TOPIC) {
            let path = folder("schemas/released").join(version).join(format!("{}.avsc", T::TOPIC));
            versions.push((version.to_owned(), read_json(&path)));
        }
        for (one, one_schema) in &versions {
            for (other, other_schema) in &versions {
                compatible(one_schema, other_schema)
                    .unwrap_or_else(|error| panic!("{}: {one} and {other} do not read each other: {error}", T::TOPIC));
            }
        }
    }
    for_each_event!(check);
}

#[test]
fn a_breaking_change_is_noticed() {
    let schema = current::<PageRead>();
    let changed = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut schema = schema.clone();
        change(schema["fields"].as_array_mut().unwrap());
        compatible(&current::<PageRead>(), &schema)
    };
    let place = |fields: &[Value], name: &str| fields.iter().position(|field| field["name"] == name).unwrap();

    // What may change: optional fields come and go, documentation, a shared type's first use.
    let blob = schema["fields"].as_array().unwrap()[place(schema["fields"].as_array().unwrap(), "page")].clone();
    let mut earlier = blob.clone();
    earlier["name"] = "image".into();
    changed(&|fields| {
        let page = place(fields, "page");
        fields[page]["type"][1] = "BlobRef".into();
        fields.insert(0, earlier.clone());
    })
    .unwrap();
    changed(&|fields| drop(fields.pop())).unwrap();
    changed(&|fields| fields[0]["doc"] = "other words".into()).unwrap();

    // What may not.
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Vec<Value>));
    let breaks: [Change; 7] = [
        ("a field without default goes", &|fields| drop(fields.remove(place(fields, "page_no")))),
        ("a field without default comes", &|fields| fields.push(json!({"name": "added", "type": "string"}))),
        ("a type widens, which old readers refuse", &|fields| {
            let page_no = place(fields, "page_no");
            fields[page_no]["type"] = "long".into();
        }),
        ("a type changes", &|fields| {
            let page_no = place(fields, "page_no");
            fields[page_no]["type"] = "string".into();
        }),
        ("a field is renamed", &|fields| {
            let page_no = place(fields, "page_no");
            fields[page_no]["name"] = "page_number".into();
        }),
        ("a nested type is renamed", &|fields| {
            let page = place(fields, "page");
            fields[page]["type"][1]["name"] = "Blob".into();
        }),
        ("an option becomes mandatory", &|fields| {
            let page = place(fields, "page");
            fields[page]["type"] = fields[page]["type"][1].clone();
        }),
    ];
    for (what, change) in breaks {
        assert!(changed(change).is_err(), "{what}: not noticed");
    }
}
