//! Redrive: the record of a dead letter goes back to its topic in a newer version, once its cause is mended.
//!
//! The law: a letter is redriven once. Its version is claimed in the store before anything is appended, and the record
//! is a function of letter and version; so whoever takes over from a redrive that was cut off appends the same record,
//! and publish, where every path ends, announces one (document, run, version) once.
//!
//! ```text
//! claim every letter of a run ──► await its pages ──► append the records ──► confirm
//! ```
//!
//! - The run stays the one it was, so that a newer run of the document keeps what it published: a redriven record of an
//!   older run ends as `superseded`.
//! - Pages of one run that are redriven together have one version, and assemble awaits all of them: the document is
//!   built and published once more, whole. A page that fails again comes as failed, and leaves another letter.
//! - Everything else has a version of its own, and so an end of its own. What lies earlier on the path has the higher
//!   version, because its outcome holds more.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use uuid::Uuid;

use crate::rate::Rate;
use deckle_contract::{
    error::{Failure, Result, code},
    record::{
        Assembled, Enriched, Envelope, Event, NAMESPACE, PageAnalysed, PageRead, PageSplit, Readmitted, Uploaded,
        topics::{self, Key},
        wire::{self, Headers},
    },
};
use deckle_log::{Log, NewRecord, Topic};
use deckle_seal::Keyring;
use deckle_store::{
    Claim, Claimed, DeadLetterRow, DeadLetterState, DocumentKey, FailedRecord, Header, ListedDeadLetter, RunKey, Store,
};

/// How long a claim holds besides the time that the rate asks for: far longer than appending takes, and short enough
/// that nobody waits long to go on with a redrive that was cut off.
const CLAIM: Duration = Duration::from_secs(60);
/// Records appended at once where no rate is asked for; each may have 1 MiB.
const BATCH: usize = 32;

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its record is in its topic again.
    Appended {
        /// The version in which it was appended.
        version: i64,
    },
    /// Nothing was done: it is in this state, which is another's doing; `None` when it is gone.
    Left(Option<DeadLetterState>),
    /// Nothing was done, because nothing can be.
    Impossible {
        /// The reason, for people.
        message: String,
    },
}

/// Dead letters of one run, which are redriven together.
pub type Group = Vec<ListedDeadLetter>;

/// Dead letters by document and run, in the order of the first of each.
pub fn groups(rows: Vec<ListedDeadLetter>) -> Vec<Group> {
    let mut places: HashMap<(String, String, i64), usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let letter = &row.letter;
        let whose = (letter.key.tenant.clone(), letter.document_id.clone(), letter.run);
        let place = *places.entry(whose).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(row);
    }
    groups
}

/// Redrives the letters of one run; calls `report` with what became of each as it happens.
///
/// # Errors
/// When log or store are away, or there is no key to seal a password with that an earlier version kept open. Dead letters
/// claimed by then can be redriven again once their claims ran out.
pub async fn redrive(
    log: &dyn Log,
    store: &dyn Store,
    keyring: &Keyring,
    group: &[ListedDeadLetter],
    mut rate: Option<&mut Rate>,
    report: &mut (dyn FnMut(&DeadLetterRow, Outcome) + Send),
) -> Result<()> {
    let letters: Vec<&DeadLetterRow> = group.iter().map(|row| &row.letter).collect();
    let Some(first) = letters.first() else { return Ok(()) };
    let document = DocumentKey { tenant: first.key.tenant.clone(), document_id: first.document_id.clone() };
    let run = RunKey { document, run: first.run };
    let header = store.header(&run.document).await?;
    if header.as_ref().is_some_and(|header| header.hides(run.run)) {
        for letter in letters {
            let message = "a newer run of its document was published, and what this one had left was removed since; \
                           read the file again instead";
            report(letter, Outcome::Impossible { message: message.to_owned() });
        }
        return Ok(());
    }
    let now = jiff::Timestamp::now().as_microsecond();
    let proposed = versions(&letters, now.max(newest(store, &run, header).await?.saturating_add(1)));
    let needed = rate.as_ref().map_or(Duration::ZERO, |rate| rate.time_for(letters.len()));
    let until = now.saturating_add(i64::try_from((CLAIM + needed).as_micros()).unwrap_or(i64::MAX));

    let claim_id = Uuid::now_v7();
    let mut ours = Vec::new();
    for (letter, version) in letters.into_iter().zip(proposed) {
        let record = match store.failed_record(&letter.key).await? {
            Some(record) if !record.value.is_empty() => {
                let value = keyring.seal_record(&letter.topic, &record.value)?;
                FailedRecord { value, ..record }
            }
            Some(_) => {
                let message = format!(
                    "its bytes were not kept: read {}[{}] at offset {}",
                    letter.topic, letter.partition, letter.offset
                );
                report(letter, Outcome::Impossible { message });
                continue;
            }
            None => {
                report(letter, Outcome::Left(None));
                continue;
            }
        };
        match store.claim_redrive(&letter.key, Claim { id: claim_id, version, now, until }).await? {
            Claimed::Ours { version } => ours.push((letter, version, revised(letter, &record, version)?)),
            Claimed::Not(state) => report(letter, Outcome::Left(state)),
        }
    }
    let mut awaited: BTreeMap<u32, i64> = BTreeMap::new();
    for (letter, version, _) in &ours {
        if let Some(page_no) = page(letter) {
            let highest = awaited.entry(page_no).or_insert(*version);
            *highest = (*highest).max(*version);
        }
    }
    if !awaited.is_empty() {
        store.await_pages(&run, &awaited).await?;
    }
    let batch = if rate.is_some() { 1 } else { BATCH };
    for batch in ours.chunks(batch) {
        if let Some(rate) = &mut rate {
            rate.turn().await;
        }
        log.append(batch.iter().map(|(.., record)| record.clone()).collect()).await?;
        for (letter, version, _) in batch {
            store.confirm_redrive(&letter.key, jiff::Timestamp::now().as_microsecond()).await?;
            report(letter, Outcome::Appended { version: *version });
        }
    }
    Ok(())
}

/// The highest version that anything of a run is known to have, or awaited with.
async fn newest(store: &dyn Store, run: &RunKey, header: Option<Header>) -> Result<i64> {
    let ended = header.and_then(|header| header.ended);
    let ended = ended.filter(|ended| ended.run == run.run).map(|ended| ended.version);
    let rows = store.pages(run).await?.into_iter().map(|row| row.version).max();
    let awaited = store.awaited_pages(run).await?.into_values().max();
    Ok([ended, rows, awaited].into_iter().flatten().max().unwrap_or(0))
}

/// A version for each letter of one run, at least `floor` and above what failed; see the module.
fn versions(letters: &[&DeadLetterRow], floor: i64) -> Vec<i64> {
    let place = |letter: &DeadLetterRow| topics::all().iter().position(|topic| topic.name == letter.topic);
    let is_upload = |letter: &DeadLetterRow| [Uploaded::TOPIC, Readmitted::TOPIC].contains(&letter.topic.as_str());
    let mut order: Vec<usize> = (0..letters.len()).collect();
    order.sort_by_key(|at| (Reverse(place(letters[*at])), letters[*at].version));
    // Of several letters of one page, the one that lies earliest on the path, and failed last, brings its text.
    let best: HashMap<u32, usize> = order.iter().filter_map(|at| Some((page(letters[*at])?, *at))).collect();
    let (pages, others): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|at| page(letters[*at]).is_some_and(|page_no| best[&page_no] == *at));
    let (uploads, others): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|at| is_upload(letters[*at]));

    let mut next = letters.iter().map(|letter| letter.version.saturating_add(1)).max().unwrap_or(floor).max(floor);
    let mut versions = vec![0; letters.len()];
    let mut give = |places: &[usize]| {
        places.iter().for_each(|at| versions[*at] = next);
        next += i64::from(!places.is_empty());
    };
    others.chunks(1).for_each(&mut give);
    give(&pages);
    uploads.chunks(1).for_each(give);
    versions
}

/// The page that a letter's record brings to assemble.
fn page(letter: &DeadLetterRow) -> Option<u32> {
    let brings_a_page = [PageSplit::TOPIC, PageRead::TOPIC, PageAnalysed::TOPIC].contains(&letter.topic.as_str());
    letter.page_no.filter(|_| brings_a_page)
}

/// The record of a letter in its new version: a function of the two.
///
/// # Errors
/// When what was decoded cannot be encoded again.
pub fn revised(letter: &DeadLetterRow, record: &FailedRecord, version: i64) -> Result<NewRecord> {
    let revised = match letter.topic.as_str() {
        Uploaded::TOPIC => readmitted(letter, record, version)?,
        Readmitted::TOPIC => revised_event::<Readmitted>(letter, record, version)?,
        PageSplit::TOPIC => revised_event::<PageSplit>(letter, record, version)?,
        PageRead::TOPIC => revised_event::<PageRead>(letter, record, version)?,
        PageAnalysed::TOPIC => revised_event::<PageAnalysed>(letter, record, version)?,
        Assembled::TOPIC => revised_event::<Assembled>(letter, record, version)?,
        Enriched::TOPIC => revised_event::<Enriched>(letter, record, version)?,
        other => {
            return Err(Failure::rejected(code::RECORD_UNDECODABLE, format!("no stage reads the topic {other}")));
        }
    };
    Ok(revised)
}

/// An upload goes back on the topic where only deckle writes: on its own, nobody's run and version are believed.
fn readmitted(letter: &DeadLetterRow, record: &FailedRecord, version: i64) -> Result<NewRecord> {
    let headers = record.headers.clone();
    let known = Headers::parse(&headers, letter.appended_at).envelope();
    let (known, value) = match wire::decode::<Uploaded>(&record.value) {
        // Written with our own schema: that of another writer may be unknown to the worker that reads it.
        Ok(upload) => (upload.envelope.identity(), wire::encode(&upload)?),
        Err(_) => (known.identity(), record.value.clone()),
    };
    let event = Readmitted {
        envelope: Envelope {
            event_id: event_id(letter, version),
            tenant: letter.key.tenant.clone(),
            document_id: letter.document_id.clone(),
            run: letter.run,
            version,
            ..known
        },
        value: value.to_vec(),
        headers,
        first_page_no: 1,
        page_count: 0,
        facts: None,
    };
    Ok(NewRecord {
        topic: Topic::from(Readmitted::TOPIC),
        key: order_key(letter),
        headers: wire::headers(&event, "redrive", Some(version)),
        value: wire::encode(&event)?,
    })
}

fn revised_event<T: Event>(letter: &DeadLetterRow, record: &FailedRecord, version: i64) -> Result<NewRecord> {
    let id = event_id(letter, version);
    let (headers, value) = match wire::decode::<T>(&record.value) {
        Ok(mut event) => {
            let envelope = event.envelope_mut();
            envelope.event_id = id;
            envelope.run = letter.run;
            envelope.version = version;
            (wire::headers(&event, "redrive", Some(version)), wire::encode(&event)?)
        }
        Err(_) => {
            // As it was, for a deckle that can read it: run and version then come from the headers.
            let mut headers = record.headers.clone();
            headers.insert("ce_id".to_owned(), id);
            headers.insert("run".to_owned(), letter.run.to_string());
            headers.insert("version".to_owned(), version.to_string());
            (headers, record.value.clone())
        }
    };
    Ok(NewRecord { topic: Topic::from(T::TOPIC), key: order_key(letter), headers, value })
}

/// What the record was ordered by, as far as the letter knows.
fn order_key(letter: &DeadLetterRow) -> String {
    let document = format!("{}/{}", letter.key.tenant, letter.document_id);
    let by_page = topics::get(&letter.topic).is_some_and(|topic| topic.key == Key::Page);
    match letter.page_no {
        Some(page_no) if by_page => format!("{document}/{page_no}"),
        _ => document,
    }
}

/// The id of a redriven event: another than the letter's record had, and the same however often it is made.
fn event_id(letter: &DeadLetterRow, version: i64) -> String {
    let name = format!("{}\n{}\n{version}", letter.key.tenant, letter.key.letter_id);
    Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::{
        error::Reason,
        record::{Envelope, Lane, Options, Source},
    };
    use deckle_store::DeadLetterKey;

    fn letter(topic: &str, page_no: Option<u32>, version: i64) -> DeadLetterRow {
        DeadLetterRow {
            key: DeadLetterKey { tenant: "acme".into(), letter_id: format!("{topic}-{page_no:?}-{version}") },
            failed_at: 0,
            stage: String::new(),
            kind: String::new(),
            reason: Reason {
                code: String::new(),
                message: String::new(),
                stage: String::new(),
                page_no,
                retryable: false,
            },
            attempts: 1,
            document_id: "d".into(),
            run: 5,
            version,
            page_no,
            topic: topic.into(),
            partition: 0,
            offset: 0,
            appended_at: 5,
        }
    }

    fn versions_of(letters: &[DeadLetterRow], floor: i64) -> Vec<i64> {
        versions(&letters.iter().collect::<Vec<_>>(), floor)
    }

    #[test]
    fn pages_of_one_run_share_a_version_above_every_known_one() {
        let letters = [letter(PageSplit::TOPIC, Some(1), 5), letter(PageRead::TOPIC, Some(2), 8)];
        assert_eq!(versions_of(&letters, 7), [9, 9]);
        assert_eq!(versions_of(&letters, 100), [100, 100]);
    }

    #[test]
    fn what_lies_earlier_on_the_path_has_the_higher_version() {
        let letters = [
            letter(Uploaded::TOPIC, None, 5),
            letter(PageSplit::TOPIC, Some(1), 5),
            letter(Assembled::TOPIC, None, 5),
            letter(Enriched::TOPIC, None, 5),
        ];
        assert_eq!(versions_of(&letters, 10), [13, 12, 11, 10]);
    }

    #[test]
    fn of_two_letters_of_one_page_the_earlier_on_the_path_wins() {
        let letters = [
            letter(PageRead::TOPIC, Some(1), 5),
            letter(PageSplit::TOPIC, Some(1), 5),
            letter(PageSplit::TOPIC, Some(2), 5),
        ];
        assert_eq!(versions_of(&letters, 10), [10, 11, 11]);
    }

    #[test]
    fn a_redriven_record_is_a_function_of_letter_and_version_and_keeps_its_run() {
        let upload = Uploaded {
            envelope: Envelope::new("event".into(), "acme", "d", Lane::Bulk),
            source: Source::unknown(),
            options: Options { password: Some("secret".into()), ..Options::default() },
            content: None,
        };
        let record =
            FailedRecord { headers: wire::headers(&upload, "cli", None), value: wire::encode(&upload).unwrap() };
        let letter = letter(Uploaded::TOPIC, None, 5);
        let redriven = revised(&letter, &record, 9).unwrap();
        assert_eq!(revised(&letter, &record, 9).unwrap(), redriven);
        assert_ne!(revised(&letter, &record, 10).unwrap().headers["ce_id"], redriven.headers["ce_id"]);
        assert_eq!((redriven.headers["run"].as_str(), redriven.headers["version"].as_str()), ("5", "9"));
        assert_eq!((&*redriven.topic, redriven.key.as_str()), (Readmitted::TOPIC, "acme/d"));
        let event: Readmitted = wire::decode(&redriven.value).unwrap();
        assert_eq!((event.envelope.run, event.envelope.version, event.first_page_no), (5, 9, 1));
        assert_eq!(wire::decode::<Uploaded>(&event.value).unwrap(), upload, "as it was");

        // A redrive that fails again is redriven the same way.
        let mut again = letter.clone();
        again.topic = Readmitted::TOPIC.to_owned();
        let record = FailedRecord { headers: redriven.headers, value: redriven.value };
        let event: Readmitted = wire::decode(&revised(&again, &record, 10).unwrap().value).unwrap();
        assert_eq!((event.envelope.run, event.envelope.version), (5, 10));
    }

    #[test]
    fn bytes_that_cannot_be_read_go_back_as_they_were_with_run_and_version_in_the_headers() {
        let headers = BTreeMap::from([("run".to_owned(), "0".to_owned()), ("x".to_owned(), "theirs".to_owned())]);
        let record = FailedRecord { headers, value: bytes::Bytes::from_static(b"from the future") };
        let redriven = revised(&letter(PageSplit::TOPIC, Some(3), 5), &record, 9).unwrap();
        assert_eq!((&redriven.value, redriven.key.as_str()), (&record.value, "acme/d/3"));
        assert_eq!(["run", "version", "x"].map(|name| redriven.headers[name].as_str()), ["5", "9", "theirs"]);
    }

    #[test]
    fn letters_are_grouped_by_run_in_order() {
        let mut other = letter(PageSplit::TOPIC, Some(1), 5);
        other.run = 6;
        let rows = [letter(PageSplit::TOPIC, Some(1), 5), other.clone(), letter(PageSplit::TOPIC, Some(2), 5)];
        let rows = rows.map(|letter| ListedDeadLetter { letter, state: DeadLetterState::Open });
        let groups = groups(rows.to_vec());
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(groups[1][0].letter, other);
    }
}
