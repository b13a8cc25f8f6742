//! Schema files: reading them, writing out their shared types, and comparing two versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};
use serde_json::Value;

/// Whether files may be rewritten.
pub fn blessing() -> bool {
    std::env::var_os("DECKLE_BLESS").is_some_and(|value| value == "1")
}

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Files of a folder with an extension, by the name before it.
pub fn files(folder_name: &str, extension: &str) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(folder(folder_name)).unwrap_or_else(|error| panic!("{folder_name}: {error}"));
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

pub fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shared types of `schemas/common`, by name.
pub fn common() -> BTreeMap<String, Value> {
    files("schemas/common", "avsc").into_iter().map(|(name, path)| (name, read_json(&path))).collect()
}

/// A schema whose shared types are those of `common`: written out where first used, named afterwards.
pub fn expand(schema: &Value, common: &BTreeMap<String, Value>, written: &mut BTreeSet<String>) -> Value {
    let name = schema.as_str().or_else(|| schema["name"].as_str());
    if let Some((name, shared)) = name.and_then(|name| common.get_key_value(name)) {
        if !written.insert(name.clone()) {
            return name.as_str().into();
        }
        return expand_parts(shared, common, written);
    }
    expand_parts(schema, common, written)
}

fn expand_parts(schema: &Value, common: &BTreeMap<String, Value>, written: &mut BTreeSet<String>) -> Value {
    let mut schema = schema.clone();
    match &mut schema {
        Value::Array(branches) => branches.iter_mut().for_each(|branch| *branch = expand(branch, common, written)),
        Value::Object(parts) => {
            for (key, part) in parts {
                match (key.as_str(), part) {
                    ("items" | "values", part) => *part = expand(part, common, written),
                    ("fields", Value::Array(fields)) => {
                        fields.iter_mut().for_each(|field| field["type"] = expand(&field["type"], common, written));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    schema
}

/// A schema as text: one field per line.
pub fn render(schema: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match schema {
        Value::Array(branches) => {
            format!("[{}]", branches.iter().map(|branch| render(branch, depth)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(parts) if parts["type"] == "record" => {
            let head = ["type", "name", "namespace", "doc"].map(|key| format!("{pad}  \"{key}\": {},\n", parts[key]));
            let fields: Vec<_> = parts["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| {
                    let default =
                        field.get("default").map(|default| format!(", \"default\": {default}")).unwrap_or_default();
                    let of_type = render(&field["type"], depth + 2);
                    format!(
                        "{pad}    {{\"name\": {}, \"type\": {of_type}{default}, \"doc\": {}}}",
                        field["name"], field["doc"]
                    )
                })
                .collect();
            format!("{{\n{}{pad}  \"fields\": [\n{}\n{pad}  ]\n{pad}}}", head.concat(), fields.join(",\n"))
        }
        Value::Object(parts) => {
            let of_type = format!("\"type\": {}", parts["type"]);
            let others = parts.iter().filter(|(key, _)| *key != "type");
            let others = others.map(|(key, part)| format!("\"{key}\": {}", render(part, depth)));
            format!("{{{}}}", std::iter::once(of_type).chain(others).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Every record of a schema, with its name.
pub fn records(schema: &Value, visit: &mut impl FnMut(&Value)) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|branch| records(branch, visit)),
        Value::Object(parts) => {
            if parts["type"] == "record" {
                visit(schema);
            }
            for key in ["items", "values"] {
                parts.get(key).into_iter().for_each(|part| records(part, visit));
            }
            for field in parts.get("fields").and_then(Value::as_array).into_iter().flatten() {
                records(&field["type"], visit);
            }
        }
        _ => {}
    }
}

/// Whether each of two schemas can read what the other wrote; if not, why.
pub fn compatible(one: &Value, other: &Value) -> Result<(), String> {
    let one = Schema::parse(&without_references(one)).map_err(|error| error.to_string())?;
    let other = Schema::parse(&without_references(other)).map_err(|error| error.to_string())?;
    SchemaCompatibility::mutual_read(&one, &other).map_err(|error| error.to_string())
}

/// Writes each named type out at every use, in a namespace of its own, because the checker holds a type and a
/// reference to the same type for different; it compares names without their namespace.
fn without_references(schema: &Value) -> Value {
    fn walk(schema: &Value, known: &mut BTreeMap<String, Value>, count: &mut usize) -> Value {
        if let Some(definition) = schema.as_str().and_then(|name| known.get(name)).cloned() {
            return walk(&definition, known, count);
        }
        let mut schema = schema.clone();
        match &mut schema {
            Value::Array(branches) => branches.iter_mut().for_each(|branch| *branch = walk(branch, known, count)),
            Value::Object(parts) => {
                if let Some(name) = parts.get("name").and_then(Value::as_str).map(str::to_owned) {
                    known.insert(name, Value::Object(parts.clone()));
                    *count += 1;
                    parts.insert("namespace".into(), format!("deckle.n{count}").into());
                }
                for key in ["items", "values"] {
                    if let Some(part) = parts.get_mut(key) {
                        *part = walk(part, known, count);
                    }
                }
                for field in parts.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                    field["type"] = walk(&field["type"], known, count);
                }
            }
            _ => {}
        }
        schema
    }
    walk(schema, &mut BTreeMap::new(), &mut 0)
}
