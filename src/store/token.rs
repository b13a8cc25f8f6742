//! Where a listing goes on: opaque to its reader, and the same on every side.

use super::{DeadLetterRow, DocumentKey, FeedEntry, Header};
use deckle_contract::error::{Failure, Result, code};

/// The limit of a listing that names none, in rows.
const DEFAULT_LIMIT: usize = 100;

/// The limit of a listing in rows, where 0 asks for the default.
pub(super) fn limit(asked: usize) -> usize {
    if asked == 0 { DEFAULT_LIMIT } else { asked }
}

/// The token that a listing goes on behind, after this document.
pub(super) fn of_document(key: &DocumentKey) -> String {
    hex::encode(names(key))
}

/// The document that the place is behind.
///
/// # Errors
/// A rejection of what no listing gave.
pub(super) fn to_document(token: &str) -> Result<DocumentKey> {
    to_names(&plain(token)?)
}

fn names(key: &DocumentKey) -> String {
    format!("{}\0{}{}", key.tenant.len(), key.tenant, key.document_id)
}

fn to_names(names: &str) -> Result<DocumentKey> {
    let (length, names) = names.split_once('\0').ok_or_else(foreign)?;
    let length: usize = length.parse().map_err(|_| foreign())?;
    let (tenant, document_id) = names.split_at_checked(length).ok_or_else(foreign)?;
    Ok(DocumentKey { tenant: tenant.to_owned(), document_id: document_id.to_owned() })
}

/// The place of a document in a listing by time, which goes from the greatest down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimePlace {
    /// The document's time, [`Header::at`], µs.
    pub(super) at: i64,
    pub(super) key: DocumentKey,
}

/// The token that a listing by time goes on behind, after this document.
pub(super) fn of_time(header: &Header) -> String {
    hex::encode(format!("at {}\0{}", header.at(), names(&header.key)))
}

/// The document and its time that the place is behind.
///
/// # Errors
/// A rejection of what no listing by time gave.
pub(super) fn to_time(token: &str) -> Result<TimePlace> {
    let plain = plain(token)?;
    let (at, names) = plain.strip_prefix("at ").and_then(|rest| rest.split_once('\0')).ok_or_else(foreign)?;
    Ok(TimePlace { at: at.parse().map_err(|_| foreign())?, key: to_names(names)? })
}

/// The cursor behind a numbered entry of a feed.
pub(super) fn of_seq(seq: i64) -> String {
    hex::encode(format!("seq {seq}"))
}

/// The number of the entry that the place is behind.
///
/// # Errors
/// A rejection of what no feed of numbered entries gave.
pub(super) fn to_seq(token: &str) -> Result<i64> {
    plain(token)?.strip_prefix("seq ").and_then(|seq| seq.parse().ok()).ok_or_else(foreign)
}

/// The cursor behind an entry of a feed by time.
pub(super) fn of_entry(entry: &FeedEntry) -> String {
    hex::encode(format!("feed {}\0{}\0{}\0{}", entry.at, entry.run, entry.version, names(&entry.key)))
}

/// The entry that the place is behind; there need be none such.
///
/// # Errors
/// A rejection of what no feed by time gave.
pub(super) fn to_entry(token: &str) -> Result<FeedEntry> {
    let plain = plain(token)?;
    let mut parts = plain.strip_prefix("feed ").ok_or_else(foreign)?.splitn(4, '\0');
    let mut part = || parts.next().ok_or_else(foreign);
    let mut number = || part()?.parse::<i64>().map_err(|_| foreign());
    let (at, run, version) = (number()?, number()?, number()?);
    Ok(FeedEntry { at, key: to_names(part()?)?, run, version })
}

/// The place of a dead letter in the order of listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LetterPlace {
    pub(super) tenant: String,
    pub(super) failed_at: i64,
    pub(super) letter_id: String,
}

/// The token that a listing of dead letters goes on behind, after this one.
pub(super) fn of_letter(letter: &DeadLetterRow) -> String {
    hex::encode(format!("{}\0{}\0{}", letter.failed_at, letter.key.letter_id, letter.key.tenant))
}

/// The letter that the place is behind.
///
/// # Errors
/// A rejection of what no listing gave.
pub(super) fn to_letter(token: &str) -> Result<LetterPlace> {
    let plain = plain(token)?;
    let mut parts = plain.splitn(3, '\0');
    let mut part = || parts.next().map(str::to_owned).ok_or_else(foreign);
    let (failed_at, letter_id, tenant) = (part()?, part()?, part()?);
    Ok(LetterPlace { tenant, failed_at: failed_at.parse().map_err(|_| foreign())?, letter_id })
}

fn plain(token: &str) -> Result<String> {
    hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(foreign)
}

fn foreign() -> Failure {
    Failure::rejected(code::RECORD_UNDECODABLE, "the token is not one that this store gave for such a listing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_names_its_place_and_is_foreign_to_the_other_listings() {
        let key = DocumentKey { tenant: "a\0b".into(), document_id: "1\0ü".into() };
        let header = Header {
            key: key.clone(),
            intake: None,
            current: None,
            ended: None,
            erased_at: Some(-5),
            removed_below: None,
        };
        let entry = FeedEntry { at: 7, key: key.clone(), run: -1, version: i64::MAX };
        let (document, time, seq, feed) = (of_document(&key), of_time(&header), of_seq(9), of_entry(&entry));
        assert_eq!(to_document(&document), Ok(key.clone()));
        assert_eq!(to_time(&time), Ok(TimePlace { at: -5, key }));
        assert_eq!(to_seq(&seq), Ok(9));
        assert_eq!(to_entry(&feed), Ok(entry));
        for token in [&document, &time, &seq, &feed] {
            assert_eq!(to_document(token).is_ok(), token == &document);
            assert_eq!(to_time(token).is_ok(), token == &time);
            assert_eq!(to_seq(token).is_ok(), token == &seq);
            assert_eq!(to_entry(token).is_ok(), token == &feed);
        }
        assert!(to_document("no token").is_err() && to_time("00ff").is_err());
    }
}
