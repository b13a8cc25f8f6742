//! What a PDF says of itself as a whole, within bounds.
//!
//! The law: no page is loaded here. A page that harms its reader costs that page and not the document, so what needs a
//! page's geometry (the height that an entry of the outline leads to) waits until the page is read.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::{
    date,
    library::{Bookmark, Embedded, PdfFile, Place, Target},
};
use crate::sniff;
use deckle_contract::document::metadata::{Attachment, Destination, DocumentMetadata, Information, OutlineEntry};

/// Entries of an outline. A book of 3,000 pages has some thousand.
const MOST_ENTRIES: usize = 10_000;

/// Depth of an outline.
const DEEPEST: u8 = 32;

/// Files inside a file.
const MOST_ATTACHMENTS: usize = 1_000;

/// Bytes of attachments that are hashed, of one and of all.
const HASHED_EACH: u64 = 64 << 20;
const HASHED_ALL: u64 = 256 << 20;

/// Characters of a title, a name, a keyword list.
const LONGEST: usize = 4_000;

/// Reads the facts. With `look_into_attachments` each is unpacked to be measured and hashed, which a hostile one can
/// make dear.
pub(super) fn read(file: &PdfFile, look_into_attachments: bool) -> DocumentMetadata {
    let mut facts = DocumentMetadata {
        information: information(file),
        page_labels: page_labels(file),
        ..DocumentMetadata::default()
    };
    outline(file, &mut facts);
    attachments(file, look_into_attachments, &mut facts);
    facts
}

/// One line of NFC without control characters, at most [`LONGEST`]; `None` when nothing is left.
pub(super) fn line(text: &str) -> Option<String> {
    let text = text.replace(|c: char| c.is_control(), " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.nfc().take(LONGEST).collect();
    (!text.is_empty()).then_some(text)
}

fn information(file: &PdfFile) -> Information {
    let entry = |key: &str| line(&file.information(key));
    let date = |key: &str| date::rfc3339(&file.information(key));
    Information {
        title: entry("Title"),
        author: entry("Author"),
        subject: entry("Subject"),
        keywords: entry("Keywords"),
        creator: entry("Creator"),
        producer: entry("Producer"),
        created: date("CreationDate"),
        modified: date("ModDate"),
        language: line(&file.language()),
        format_version: file.format_version().map(|version| format!("{}.{}", version / 10, version % 10)),
        tagged: file.is_tagged(),
    }
}

/// The labels; none when no page has one.
fn page_labels(file: &PdfFile) -> Vec<String> {
    let labels: Vec<String> =
        (0..file.page_count()).map(|index| line(&file.page_label(index)).unwrap_or_default()).collect();
    if labels.iter().all(String::is_empty) { Vec::new() } else { labels }
}

/// Walks the outline depth first. Entries that were met before end their branch: damaged outlines go round in circles.
fn outline(file: &PdfFile, facts: &mut DocumentMetadata) {
    let mut met: HashSet<Bookmark<'_>> = HashSet::new();
    let mut open: Vec<(Bookmark<'_>, u8)> = file.first_bookmark(None).map(|first| (first, 1)).into_iter().collect();
    while let Some((bookmark, level)) = open.pop() {
        if met.len() == MOST_ENTRIES {
            facts.cut_short = true;
            return;
        }
        if !met.insert(bookmark) {
            continue;
        }
        open.extend(file.next_bookmark(bookmark).map(|next| (next, level)));
        let below = file.first_bookmark(Some(bookmark));
        facts.cut_short |= below.is_some() && level == DEEPEST;
        open.extend(below.filter(|_| level < DEEPEST).map(|first| (first, level + 1)));
        if let Some(title) = line(&file.bookmark_title(bookmark)) {
            let place = match file.bookmark_target(bookmark) {
                Some(Target::Place(place)) => destination(file, place),
                _ => None,
            };
            facts.outline.push(OutlineEntry { title, level, destination: place });
        }
    }
}

/// A place in the document, if it has that page.
pub(super) fn destination(file: &PdfFile, place: Place) -> Option<Destination> {
    (place.page_index < file.page_count()).then_some(Destination {
        page_no: place.page_index + 1,
        top: None,
        stated: [place.x, place.y],
    })
}

fn attachments(file: &PdfFile, look_into: bool, facts: &mut DocumentMetadata) {
    let embedded = file.embedded();
    facts.cut_short |= embedded.len() > MOST_ATTACHMENTS || (embedded.len() > 0 && !look_into);
    let mut hashed = 0;
    for embedded in embedded.take(MOST_ATTACHMENTS).flatten() {
        let mut attachment = Attachment {
            name: line(&embedded.name()).unwrap_or_default(),
            media_type: None,
            declared_media_type: line(&embedded.subtype()),
            size_bytes: None,
            sha256: None,
            description: line(&embedded.description()),
            relationship: line(&embedded.relationship()),
        };
        if look_into {
            look_at(&embedded, &mut hashed, &mut attachment);
        }
        facts.attachments.push(attachment);
    }
}

/// Measures an attachment, and hashes it if it is within the limits.
fn look_at(embedded: &Embedded<'_>, hashed: &mut u64, attachment: &mut Attachment) {
    attachment.size_bytes = embedded.len();
    let Some(size) = attachment.size_bytes.filter(|size| *size <= HASHED_EACH && *hashed + size <= HASHED_ALL) else {
        return;
    };
    let Some(bytes) = embedded.bytes(size) else { return };
    *hashed += size;
    attachment.sha256 = Some(hex::encode(Sha256::digest(&bytes)));
    attachment.media_type = sniff::identify(&bytes, &attachment.name).ok().map(|found| found.media_type.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_composed_line_within_bounds() {
        assert_eq!(line(" On\r\nbo\u{301}lts\0 ").as_deref(), Some("On bólts"));
        assert_eq!(line("\u{1}\n"), None);
        assert_eq!(line(&"x".repeat(10_000)).map(|text| text.len()), Some(LONGEST));
    }
}
