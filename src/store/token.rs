//! Where a listing goes on: opaque to its reader, and the same on every side.

use super::{DocumentKey, Letter};
use crate::error::{Failure, Result, code};

/// Rows of a listing that names no limit.
const DEFAULT_LIMIT: usize = 100;

/// Rows of a listing at most.
pub(super) fn limit(asked: usize) -> usize {
    if asked == 0 { DEFAULT_LIMIT } else { asked }
}

/// The place behind a document.
pub(super) fn of_document(key: &DocumentKey) -> String {
    hex::encode(format!("{}\0{}{}", key.tenant.len(), key.tenant, key.document_id))
}

/// The document that the place is behind.
///
/// # Errors
/// A rejection of what no listing gave.
pub(super) fn to_document(token: &str) -> Result<DocumentKey> {
    let plain = plain(token)?;
    let (length, names) = plain.split_once('\0').ok_or_else(foreign)?;
    let length: usize = length.parse().map_err(|_| foreign())?;
    let (tenant, document_id) = names.split_at_checked(length).ok_or_else(foreign)?;
    Ok(DocumentKey { tenant: tenant.to_owned(), document_id: document_id.to_owned() })
}

/// The place of a letter in the order of listings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LetterPlace {
    pub(super) tenant: String,
    pub(super) failed_at: i64,
    pub(super) letter_id: String,
}

/// The place behind a letter.
pub(super) fn of_letter(letter: &Letter) -> String {
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
    Failure::rejected(code::RECORD_UNDECODABLE, "the listing token is not one that this store gave")
}
