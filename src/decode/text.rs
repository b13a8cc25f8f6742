//! Plain text and Markdown.

use unicode_normalization::UnicodeNormalization;

use super::Opened;
use crate::{
    document::{Block, BlockKind, Method},
    error::Result,
};

pub fn open(bytes: &[u8], media_type: &str) -> Result<Opened> {
    let text: String = String::from_utf8_lossy(bytes).nfc().collect();
    let blocks = text
        .split("\n\n")
        .filter(|part| !part.trim().is_empty())
        .map(|part| Block {
            kind: BlockKind::Text,
            text: part.split_whitespace().collect::<Vec<_>>().join(" "),
            level: None,
            marker: None,
            code_language: None,
            prov: Vec::new(),
            line_indexes: Vec::new(),
            table: None,
            confidence: None,
            method: Method::TextLayer,
        })
        .collect();
    Ok(Opened { media_type: media_type.to_owned(), page_count: None, title: None, blocks })
}
