//! Schemas of other writers: those that a registry gave for records not written with a schema of this build.
//!
//! The law: a schema is known by its fingerprint, so learning it twice, or from two registries, is learning it once.
//! That is why the table belongs to the process and not to a registry: whoever holds a record's bytes (a stage, a
//! listing, a dead letter on the command line) decodes them by what they say, without being handed a resolver.
//!
//! Released fingerprints alone would not do: a producer's own class has another fingerprint as soon as it lacks an
//! optional field or has one more, which registries allow, and its documents would be refused.
//!
//! A schema comes from outside. It is held to [`limits`] before it is parsed, and the table is bounded: the schema that
//! was used longest ago goes first. A fingerprint can be forged; whoever may register schemas is trusted not to.

mod limits;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use serde_avro_fast::Schema;

use super::{framing::Fingerprint, schemas};

/// Schemas kept, of all topics. A producer has one for each version of its code, so more than this many at once come
/// from a fault or an attack; the one that was used longest ago is dropped.
const MOST: usize = 1_000;

/// Why a schema cannot be used to read records of a topic; one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

#[derive(Default)]
struct Table {
    schemas: HashMap<(String, Fingerprint), Entry>,
    /// Counts uses.
    clock: u64,
}

struct Entry {
    schema: Arc<Schema>,
    used_at: u64,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

/// Takes note of a schema that someone writes a topic with; from now on its records decode.
///
/// # Errors
/// When records written with it are none of this topic's, or the schema is larger or deeper than any of ours could
/// become.
pub fn learn(topic: &str, text: &str) -> Result<Fingerprint, Unreadable> {
    let unreadable = |why: String| Unreadable(why.split_whitespace().collect::<Vec<_>>().join(" "));
    let ours = schemas::schema_json(topic).ok_or_else(|| unreadable(format!("{topic} is no topic of deckle")))?;
    let name = limits::check(text).map_err(unreadable)?;
    let expected = limits::check(ours).map_err(unreadable)?;
    if name != expected {
        return Err(unreadable(format!("describes {name}, and the records of {topic} are {expected}")));
    }
    let schema: Schema = text.parse().map_err(|error| unreadable(format!("is no Avro schema: {error}")))?;
    let fingerprint = *schema.rabin_fingerprint();
    if !schemas::is_built_in(topic, &fingerprint) {
        insert(&mut TABLE.lock().unwrap_or_else(PoisonError::into_inner), topic, fingerprint, schema);
    }
    Ok(fingerprint)
}

fn insert(table: &mut Table, topic: &str, fingerprint: Fingerprint, schema: Schema) {
    table.clock += 1;
    let used_at = table.clock;
    table.schemas.insert((topic.to_owned(), fingerprint), Entry { schema: Arc::new(schema), used_at });
    if table.schemas.len() > MOST {
        let oldest = table.schemas.iter().min_by_key(|(_, entry)| entry.used_at).map(|(key, _)| key.clone());
        oldest.and_then(|key| table.schemas.remove(&key));
    }
}

/// The schema of that fingerprint, if it was learnt.
pub fn get(topic: &str, fingerprint: &Fingerprint) -> Option<Arc<Schema>> {
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    table.clock += 1;
    let now = table.clock;
    let entry = table.schemas.get_mut(&(topic.to_owned(), *fingerprint))?;
    entry.used_at = now;
    Some(Arc::clone(&entry.schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_used_longest_ago_goes_first() {
        let schema = || r#""null""#.parse::<Schema>().unwrap();
        let fingerprint = |number: usize| (number as u64).to_le_bytes();
        let mut table = Table::default();
        for number in 0..MOST + 2 {
            insert(&mut table, "a", fingerprint(number), schema());
            let first = table.schemas.get_mut(&("a".to_owned(), fingerprint(0))).expect("used all the time");
            first.used_at = table.clock;
        }
        assert_eq!(table.schemas.len(), MOST);
        let is_there = |number: usize| table.schemas.contains_key(&("a".to_owned(), fingerprint(number)));
        assert!(is_there(0) && !is_there(1) && !is_there(2) && is_there(3) && is_there(MOST + 1));
    }
}
