//! What a schema from outside may be, before a parser or a decoder sees it.
//!
//! The law: whatever schema passes, decoding takes time and stack that grow with the record's bytes alone. A schema of
//! a few hundred bytes could otherwise ask for years: forty records that each hold the next one twice are 2^40 values,
//! and an array of nulls is a billion items in five bytes.

use std::collections::HashMap;

use serde_json::Value;

/// Bytes of a schema's text. Ours have 12 KiB with all their documentation.
const LONGEST: usize = 256 * 1024;
/// Types within types, with references followed. Ours nest 8 deep; the decoder refuses values deeper than 64.
const DEEPEST: usize = 48;
/// Types in all, each counted as often as one value without lists would hold it. Ours have about 150.
const WIDEST: usize = 4_000;

/// What one type asks of a decoder.
#[derive(Debug, Clone, Copy)]
struct Shape {
    depth: usize,
    width: usize,
    /// Whether its values may have no bytes at all.
    is_empty: bool,
}

impl Shape {
    const LEAF: Self = Self { depth: 1, width: 1, is_empty: false };

    /// The shape of a type whose values hold values of this one.
    fn wrapped(self) -> Self {
        Self { depth: self.depth + 1, width: self.width.saturating_add(1), is_empty: false }
    }
}

/// Named types by full name; `None` while one is being read.
type Named = HashMap<String, Option<Shape>>;

/// Checks a schema's text; gives the name of its record, without the namespace (by which Avro matches records).
///
/// # Errors
/// A line that says which limit it breaks, or that it is no record.
pub(super) fn check(text: &str) -> Result<String, String> {
    if text.len() > LONGEST {
        return Err(format!("has {} bytes, more than the {LONGEST} allowed", text.len()));
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let record = schema["name"].as_str().filter(|_| schema["type"] == "record");
    let name = record.ok_or("is no record")?;
    measure(&schema, None, &mut Named::new())?;
    Ok(name.rsplit('.').next().unwrap_or(name).to_owned())
}

/// Measures a type. Its own recursion is bounded by that of the JSON parser, 128 levels.
fn measure(schema: &Value, namespace: Option<&str>, named: &mut Named) -> Result<Shape, String> {
    let shape = match schema {
        Value::String(name) => of_name(name, namespace, named)?,
        // A union's value always has a byte, which tells the branch.
        Value::Array(branches) => Shape { is_empty: false, ..all_of(branches.iter(), namespace, named)? },
        Value::Object(_) => of_object(schema, namespace, named)?,
        other => return Err(format!("has {other} where a type should be")),
    };
    if shape.depth > DEEPEST {
        return Err(format!("nests more than {DEEPEST} types"));
    }
    if shape.width > WIDEST {
        return Err(format!("has more than {WIDEST} types with all its references written out"));
    }
    Ok(shape)
}

fn of_name(name: &str, namespace: Option<&str>, named: &Named) -> Result<Shape, String> {
    match name {
        "null" => Ok(Shape { is_empty: true, ..Shape::LEAF }),
        "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string" => Ok(Shape::LEAF),
        _ => match named.get(&full_name(name, namespace)) {
            Some(Some(shape)) => Ok(*shape),
            // Inside itself: how often is up to the record's bytes, and bounded by the decoder's depth.
            Some(None) => Ok(Shape::LEAF),
            // The specification wants names defined first; a reference ahead could hide a chain of any depth.
            None => Err(format!("uses {name} before it says what that is")),
        },
    }
}

fn of_object(schema: &Value, namespace: Option<&str>, named: &mut Named) -> Result<Shape, String> {
    let part = |key: &str| schema.get(key).ok_or_else(|| format!("has a type without {key}"));
    let kind = part("type")?.as_str().ok_or("has a type that is no name")?;
    if !matches!(kind, "record" | "enum" | "fixed") {
        return match kind {
            "array" => {
                let items = measure(part("items")?, namespace, named)?;
                if items.is_empty {
                    return Err("has an array of values without bytes".to_owned());
                }
                Ok(items.wrapped())
            }
            "map" => Ok(measure(part("values")?, namespace, named)?.wrapped()),
            name => of_name(name, namespace, named),
        };
    }
    let name = part("name")?.as_str().ok_or("has a name that is no text")?;
    let own_namespace = schema["namespace"].as_str().or(namespace);
    let name = full_name(name, own_namespace);
    named.insert(name.clone(), None);
    let shape = match kind {
        "record" => {
            let fields = part("fields")?.as_array().ok_or("has a record whose fields are no list")?;
            let inner = name.rsplit_once('.').map(|(namespace, _)| namespace);
            all_of(fields.iter().map(|field| &field["type"]), inner, named)?
        }
        "fixed" => Shape { is_empty: schema["size"].as_u64() == Some(0), ..Shape::LEAF },
        _ => Shape::LEAF,
    };
    named.insert(name, Some(shape));
    Ok(shape)
}

/// The shape of a type that holds one of each: the greatest depth, the sum of the widths.
fn all_of<'a>(
    types: impl Iterator<Item = &'a Value>,
    namespace: Option<&str>,
    named: &mut Named,
) -> Result<Shape, String> {
    let mut all = Shape { depth: 0, width: 0, is_empty: true };
    for one in types {
        let one = measure(one, namespace, named)?;
        all.depth = all.depth.max(one.depth);
        all.width = all.width.saturating_add(one.width);
        all.is_empty &= one.is_empty;
    }
    Ok(Shape { is_empty: all.is_empty, ..all.wrapped() })
}

/// A name with its namespace, unless it has one of its own or there is none.
fn full_name(name: &str, namespace: Option<&str>) -> String {
    match namespace.filter(|namespace| !namespace.is_empty() && !name.contains('.')) {
        Some(namespace) => format!("{namespace}.{name}"),
        None => name.trim_start_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, &str)]) -> String {
        let fields: Vec<_> =
            fields.iter().map(|(name, of_type)| format!(r#"{{"name":"{name}","type":{of_type}}}"#)).collect();
        format!(r#"{{"type":"record","name":"deckle.Uploaded","fields":[{}]}}"#, fields.join(","))
    }

    #[test]
    fn our_own_schemas_are_far_below_the_limits() {
        for topic in crate::record::topics::all() {
            let text = crate::record::schemas::schema_json(&topic.name).unwrap();
            check(text).unwrap();
            assert!(text.len() * 10 < LONGEST, "{}", topic.name);
            let shape = measure(&serde_json::from_str(text).unwrap(), None, &mut Named::new()).unwrap();
            assert!(shape.depth * 3 < DEEPEST && shape.width * 10 < WIDEST, "{}: {shape:?}", topic.name);
        }
    }

    #[test]
    fn a_record_inside_itself_may_be() {
        let tree = record(&[
            ("children", r#"{"type":"array","items":"deckle.Uploaded"}"#),
            ("next", r#"["null","Uploaded"]"#),
        ]);
        assert_eq!(check(&tree).unwrap(), "Uploaded");
    }

    #[test]
    fn a_schema_that_asks_for_more_than_its_records_have_is_refused() {
        // Each of forty records holds the one before it twice.
        let mut doubling = vec![("a0".to_owned(), r#"{"type":"record","name":"A0","fields":[]}"#.to_owned())];
        for number in 1..40 {
            let before = number - 1;
            let twice = format!(r#"{{"name":"x","type":"A{before}"}},{{"name":"y","type":"A{before}"}}"#);
            doubling
                .push((format!("a{number}"), format!(r#"{{"type":"record","name":"A{number}","fields":[{twice}]}}"#)));
        }
        let doubling: Vec<_> = doubling.iter().map(|(name, of_type)| (name.as_str(), of_type.as_str())).collect();
        // Each of a hundred holds the one before it, none of them inside another in the text.
        let chain: Vec<_> = (1..100)
            .map(|number| {
                let before = number - 1;
                format!(
                    r#"{{"type":"record","name":"B{number}","fields":[{{"name":"x","type":["null","B{before}"]}}]}}"#
                )
            })
            .collect();
        let mut chain: Vec<_> = chain.iter().map(|of_type| ("b", of_type.as_str())).collect();
        chain.insert(0, ("b", r#"{"type":"record","name":"B0","fields":[]}"#));
        let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(60), "}".repeat(60));
        let empty = r#"{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}}"#;
        for (text, why) in [
            (record(&doubling), "types with all its references"),
            (record(&chain), "nests more than"),
            (record(&[("x", &deep)]), "nests more than"),
            (record(&[("x", r#"{"type":"array","items":"null"}"#)]), "without bytes"),
            (record(&[("x", empty)]), "without bytes"),
            (record(&[("x", r#""Later""#)]), "before it says"),
            (record(&[("x", "7")]), "where a type should be"),
            (record(&[("x", r#"{"type":"array"}"#)]), "without items"),
            (r#"{"type":"record","name":"Uploaded"}"#.to_owned(), "without fields"),
            (r#""string""#.to_owned(), "is no record"),
            ("{".to_owned(), "is no JSON"),
            (" ".repeat(LONGEST + 1), "more than the"),
        ] {
            let message = check(&text).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }
}
