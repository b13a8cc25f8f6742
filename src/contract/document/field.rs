//! A labelled value of a document, as it is printed: `Invoice number: 4711`.

use serde::{Deserialize, Serialize};

use super::{Locator, Method};

/// A labelled value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Counted from 0 within the run, in the order of pages and lines.
    pub field_no: u32,
    /// The label as it is printed, without its colon.
    pub name: String,
    /// The value as it is printed, of one line.
    pub value: String,
    /// Where the value stands; `None` for a file without pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prov: Option<Locator>,
    /// Character-weighted mean of the value's words, 0..1; `None` for a text layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// How the value was obtained.
    pub method: Method,
}
