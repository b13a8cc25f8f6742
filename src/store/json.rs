//! Rows as JSON, the same on every side: what one keeps in a cell is what the other does.

use serde::{Serialize, de::DeserializeOwned};

use super::{DocumentKey, Header};
use deckle_contract::error::{Failure, Result};

/// Encodes a row as JSON.
pub(super) fn encode(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Failure::defect(format!("store: cannot encode a row: {e}")))
}

/// Encodes several rows, each as JSON of its own.
pub(super) fn encode_rows<T: Serialize>(rows: &[T]) -> Result<Vec<String>> {
    rows.iter().map(encode).collect()
}

/// Decodes a row from its JSON; other text is a defect.
pub(super) fn decode<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| Failure::defect(format!("store: a row cannot be decoded: {e}")))
}

/// The cells of a header, as they are kept.
#[derive(Debug, Default)]
pub(super) struct HeaderCells {
    pub(super) intake: Option<String>,
    pub(super) current: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) erased_at: Option<i64>,
    pub(super) removed_below: Option<i64>,
}

impl HeaderCells {
    /// The header of these cells; `None` for a document never heard of.
    pub(super) fn decode(self, key: DocumentKey) -> Result<Option<Header>> {
        let header = Header {
            key,
            intake: self.intake.as_deref().map(decode).transpose()?,
            current: self.current.as_deref().map(decode).transpose()?,
            ended: self.ended.as_deref().map(decode).transpose()?,
            erased_at: self.erased_at,
            removed_below: self.removed_below,
        };
        let is_known =
            header.intake.is_some() || header.current.is_some() || header.ended.is_some() || header.erased_at.is_some();
        Ok(is_known.then_some(header))
    }
}

/// Decodes the rows of one column of JSON.
pub(crate) fn decoded<T: DeserializeOwned>(rows: Vec<(String,)>) -> Result<Vec<T>> {
    rows.iter().map(|(json,)| decode(json)).collect()
}
