//! Plain text: its encoding, and its paragraphs.

use unicode_normalization::UnicodeNormalization;

use super::{
    Opened,
    format::{DecodeRequest, Format},
};
use deckle_contract::{
    document::{Block, BlockKind},
    error::{Failure, Result, code},
};

/// So many bytes tell whether a file is text.
const LOOK_AT: usize = 64 * 1024;

/// Text has fewer control characters than this, as a share of its bytes.
const CONTROL_SHARE: f64 = 0.01;

/// The media type of plain text.
pub(crate) const PLAIN: &str = "text/plain";

/// Decodes plain text.
pub(crate) struct Decoder;

impl Format for Decoder {
    fn media_types(&self) -> &'static [&'static str] {
        &[PLAIN]
    }

    fn names(&self) -> &'static [&'static str] {
        &["plain text"]
    }

    fn open(&mut self, asked: &DecodeRequest<'_>) -> Result<Opened> {
        Ok(open(&decode(&asked.file.bytes)?))
    }
}

/// Whether bytes are text in some encoding: hardly any control characters, and NUL only in UTF-16 with a mark.
pub(crate) fn looks_like_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(LOOK_AT)];
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return true;
    }
    let is_control = |b: &&u8| matches!(b, 0..=8 | 14..=31 | 127) && **b != 0x1B;
    let controls = head.iter().filter(is_control).count();
    !head.contains(&0) && (controls as f64) <= head.len() as f64 * CONTROL_SHARE
}

/// Decodes UTF-8, UTF-16 with a mark, or Windows-1252 (which Latin-1 text almost always is).
///
/// # Errors
/// `text.encoding` for bytes that are none of these.
pub(crate) fn decode(bytes: &[u8]) -> Result<String> {
    let rejected = |message: String| Failure::rejected(code::TEXT_ENCODING, message);
    let little = bytes.strip_prefix(b"\xFF\xFE").map(|rest| (rest, u16::from_le_bytes as fn([u8; 2]) -> u16));
    let big = bytes.strip_prefix(b"\xFE\xFF").map(|rest| (rest, u16::from_be_bytes as fn([u8; 2]) -> u16));
    if let Some((rest, unit)) = little.or(big) {
        let (pairs, odd) = rest.as_chunks::<2>();
        let text = String::from_utf16(&pairs.iter().map(|&pair| unit(pair)).collect::<Vec<_>>());
        return match text {
            Ok(text) if odd.is_empty() => Ok(normal(&text)),
            _ => Err(rejected("the text begins as UTF-16 but is not valid UTF-16".to_owned())),
        };
    }
    let body = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(body) {
        Ok(text) => Ok(normal(text)),
        Err(e) if body.len() != bytes.len() => {
            Err(rejected(format!("the text begins as UTF-8 but is not valid at byte {}", e.valid_up_to() + 3)))
        }
        Err(e) => windows_1252(body).map(|text| normal(&text)).ok_or_else(|| {
            rejected(format!(
                "the text is neither UTF-8 (it breaks at byte {}) nor UTF-16 nor Windows-1252; save it as UTF-8",
                e.valid_up_to()
            ))
        }),
    }
}

/// Windows-1252, unless the bytes are more likely something else: unassigned codes, or more special signs than letters.
fn windows_1252(bytes: &[u8]) -> Option<String> {
    /// 0x80 to 0x9F; NUL where nothing is assigned.
    const HIGH: [char; 32] = [
        '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”',
        '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
    ];
    let text: String = bytes
        .iter()
        .map(|&b| match b {
            0x80..=0x9F => HIGH[usize::from(b - 0x80)],
            b => char::from(b),
        })
        .collect();
    let special = |c: &char| !c.is_ascii();
    let specials = text.chars().filter(special).count();
    let letters = text.chars().filter(special).filter(|c| c.is_alphabetic()).count();
    let all = text.chars().count();
    // Cyrillic, Greek or Asian text in its own encoding is mostly high bytes; Western text is not.
    let is_western = !text.contains('\0') && specials * 3 <= all && (letters * 2 >= specials || specials * 20 <= all);
    is_western.then_some(text)
}

/// NFC, line ends as `\n`, no control characters but tab.
fn normal(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{85}'], "\n").replace('\u{C}', "\n\n");
    text.nfc().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Splits into paragraphs.
pub(crate) fn open(text: &str) -> Opened {
    Opened { media_type: PLAIN.to_owned(), page_count: None, title: None, blocks: paragraphs(text) }
}

/// Paragraphs end at empty lines; the lines of one are joined, unless their breaks carry meaning.
fn paragraphs(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            blocks.extend(paragraph(&std::mem::take(&mut lines)));
        } else {
            lines.push(line);
        }
    }
    blocks
}

fn paragraph(lines: &[&str]) -> Option<Block> {
    if lines.is_empty() {
        return None;
    }
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    // Verse, addresses and lists have short lines; prose is broken near one width, or not at all.
    const PROSE_LINE: usize = 45;
    let full = trimmed[..trimmed.len() - 1].iter().filter(|line| line.chars().count() >= PROSE_LINE).count();
    let is_prose = full * 2 >= trimmed.len() - 1;
    Some(Block::new(BlockKind::Text, trimmed.join(if is_prose { " " } else { "\n" })))
}
