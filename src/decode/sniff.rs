//! What a file is, by its content. The name only tells Markdown from plain text.

use super::text;
use deckle_contract::error::Result;

/// PDF.
pub(crate) const PDF: &str = "application/pdf";
/// PNG.
pub(crate) const PNG: &str = "image/png";
/// JPEG.
pub(crate) const JPEG: &str = "image/jpeg";
/// TIFF.
pub(crate) const TIFF: &str = "image/tiff";
/// WebP.
pub(crate) const WEBP: &str = "image/webp";
/// GIF.
pub(crate) const GIF: &str = "image/gif";
/// BMP.
pub(crate) const BMP: &str = "image/bmp";
/// HEIC.
pub(crate) const HEIC: &str = "image/heic";
/// The media type of Markdown.
pub(crate) const MARKDOWN: &str = "text/markdown";

/// Readers look for `%PDF-` in so many bytes: some files begin with other bytes.
const PDF_HEADER_WITHIN: usize = 1024;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// IANA's name, or the field's.
    pub media_type: &'static str,
    /// What people call it, with its article.
    pub name: &'static str,
}

/// Tells what the bytes are, whether deckle reads such files or not.
///
/// # Errors
/// `text.encoding` for text in no encoding that deckle knows.
pub(crate) fn identify(bytes: &[u8], filename: &str) -> Result<Identity> {
    let identity = |(name, media_type)| Ok(Identity { media_type, name });
    let head = &bytes[..bytes.len().min(PDF_HEADER_WITHIN)];
    if let Some(media_type) = picture(bytes) {
        return identity((describe(media_type), media_type));
    }
    if let Some(found) = other_binary(bytes) {
        return identity(found);
    }
    if contains(head, b"%PDF-") {
        return identity(("a PDF", PDF));
    }
    if !text::looks_like_text(bytes) {
        return identity(("a binary file of unknown type", "application/octet-stream"));
    }
    let decoded = text::decode(bytes)?;
    if let Some(found) = other_text(&decoded, filename) {
        return identity(found);
    }
    let name = filename.to_lowercase();
    let is_markdown = [".md", ".markdown", ".mdown", ".mkd"].iter().any(|end| name.ends_with(end));
    identity(if is_markdown { ("a Markdown text", MARKDOWN) } else { ("a plain text", text::PLAIN) })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The kinds of pictures that are read, by more than their first two letters where texts begin with those too.
fn picture(bytes: &[u8]) -> Option<&'static str> {
    const TIFF_STARTS: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(PNG);
    }
    if bytes.starts_with(b"\xFF\xD8\xFF") {
        return Some(JPEG);
    }
    // Canon's raw pictures are TIFF with letters behind.
    if TIFF_STARTS.iter().any(|start| bytes.starts_with(start)) && bytes.get(8..10) != Some(b"CR") {
        return Some(TIFF);
    }
    // Reserved zeroes, and the length of one of BMP's headers.
    let is_bmp = |header: &[u8; 18]| header[6..10] == [0; 4] && header[15..] == [0; 3] && header[14] >= 12;
    if bytes.starts_with(b"BM") && bytes.first_chunk::<18>().is_some_and(is_bmp) {
        return Some(BMP);
    }
    is_heic(bytes).then_some(HEIC)
}

/// A box `ftyp` with a brand of HEVC pictures (ISO/IEC 23008-12), first or among the compatible ones.
fn is_heic(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let end = (u32::from_be_bytes(*length) as usize).clamp(8, 1024);
    let Some(brands) = rest.strip_prefix(b"ftyp") else { return false };
    let mut brands = brands[..brands.len().min(end - 8)].chunks_exact(4);
    brands.any(|brand| [b"heic", b"heix", b"heim", b"heis"].iter().any(|heic| *heic == brand))
}

/// Other binary formats that deckle knows by name.
fn other_binary(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Some(zip_content(bytes));
    }
    if bytes.starts_with(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1") {
        return Some(("an old Microsoft Office document or Outlook message", "application/x-ole-storage"));
    }
    let kind = infer::get(bytes)?;
    // Two letters are no BMP: what is one was seen before.
    if kind.mime_type() == BMP {
        return None;
    }
    // Its text matchers are loose, and text is judged below; %PDF is looked for further in.
    if matches!(kind.matcher_type(), infer::MatcherType::Text) || kind.mime_type() == PDF {
        return None;
    }
    Some((describe(kind.mime_type()), kind.mime_type()))
}

fn describe(media_type: &str) -> &'static str {
    match media_type {
        PNG => "a PNG image",
        JPEG => "a JPEG image",
        TIFF => "a TIFF image",
        GIF => "a GIF image",
        WEBP => "a WebP image",
        HEIC => "a HEIC image",
        "image/heif" => "a HEIF image",
        BMP => "a BMP image",
        "image/avif" => "an AVIF image",
        "image/jp2" => "a JPEG 2000 image",
        "application/gzip" => "a gzip archive",
        "application/x-tar" => "a tar archive",
        "application/vnd.rar" => "a RAR archive",
        "application/x-7z-compressed" => "a 7z archive",
        "application/x-bzip2" => "a bzip2 archive",
        "application/x-xz" => "an xz archive",
        "application/zstd" => "a zstd archive",
        "application/rtf" => "an RTF document",
        "application/postscript" => "a PostScript document",
        other => match other.split('/').next() {
            Some("image") => "an image of another format",
            Some("audio") => "a sound recording",
            Some("video") => "a video",
            Some("font") => "a font",
            _ => "a file of another format",
        },
    }
}

/// What is in a ZIP, by the names of its parts: they stand uncompressed in the local headers.
fn zip_content(bytes: &[u8]) -> (&'static str, &'static str) {
    const NAMES_WITHIN: usize = 1 << 20;
    let head = &bytes[..bytes.len().min(NAMES_WITHIN)];
    let tail = &bytes[bytes.len().saturating_sub(NAMES_WITHIN)..];
    let has = |part: &[u8]| contains(head, part) || contains(tail, part);
    if has(b"word/document.xml") {
        return ("a Word document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document");
    }
    if has(b"xl/workbook.xml") {
        return ("an Excel workbook", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
    }
    if has(b"ppt/presentation.xml") {
        return (
            "a PowerPoint presentation",
            "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        );
    }
    for (part, name, media_type) in [
        (&b"application/epub+zip"[..], "an EPUB book", "application/epub+zip"),
        (b"application/vnd.oasis.opendocument.text", "an OpenDocument text", "application/vnd.oasis.opendocument.text"),
        (
            b"application/vnd.oasis.opendocument.spreadsheet",
            "an OpenDocument spreadsheet",
            "application/vnd.oasis.opendocument.spreadsheet",
        ),
        (
            b"application/vnd.oasis.opendocument.presentation",
            "an OpenDocument presentation",
            "application/vnd.oasis.opendocument.presentation",
        ),
    ] {
        if has(part) {
            return (name, media_type);
        }
    }
    ("a ZIP archive", "application/zip")
}

/// Text formats that are more than plain text. The name helps only where content cannot decide.
fn other_text(text: &str, filename: &str) -> Option<(&'static str, &'static str)> {
    let start = text.trim_start_matches('\u{FEFF}').trim_start();
    let lower: String = start.chars().take(1024).collect::<String>().to_lowercase();
    let name = filename.to_lowercase();
    // A Markdown file may begin with a tag.
    let is_html = lower.starts_with("<!doctype html")
        || lower.starts_with("<html")
        || (lower.starts_with("<!--") && lower.contains("<html"))
        || (lower.starts_with("<?xml") && lower.contains("<html"));
    if is_html {
        return Some(("an HTML page", "text/html"));
    }
    if lower.starts_with("<?xml") {
        let is_svg = lower.contains("<svg");
        return Some(if is_svg { ("an SVG image", "image/svg+xml") } else { ("an XML file", "application/xml") });
    }
    if lower.starts_with("<svg") {
        return Some(("an SVG image", "image/svg+xml"));
    }
    if lower.starts_with("{\\rtf") {
        return Some(("an RTF document", "application/rtf"));
    }
    if lower.starts_with("%!ps") {
        return Some(("a PostScript document", "application/postscript"));
    }
    if is_mail(start) {
        return Some(("an e-mail message", "message/rfc822"));
    }
    if start.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(start).is_ok() {
        return Some(("a JSON file", "application/json"));
    }
    if name.ends_with(".csv") || name.ends_with(".tsv") || is_table(start) {
        return Some(("a table of separated values", "text/csv"));
    }
    None
}

/// Header lines first, among them two that only mail has.
fn is_mail(text: &str) -> bool {
    let mut known = 0;
    for line in text.lines().take(100) {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((field, _)) = line.split_once(':') else { return false };
        if field.is_empty() || !field.chars().all(|c| c.is_ascii_graphic()) {
            return false;
        }
        let field = field.to_ascii_lowercase();
        let mail = ["from", "to", "received", "message-id", "mime-version", "return-path", "delivered-to", "subject"];
        known += usize::from(mail.contains(&field.as_str()));
    }
    known >= 3
}

/// Ten lines or more with the same number of one separator, three at least: prose does not do that.
fn is_table(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(50).collect();
    let is_even = |separator: char| {
        let mut counts = lines.iter().map(|line| line.matches(separator).count());
        let first = counts.next().unwrap_or(0);
        first >= 3 && counts.all(|n| n == first)
    };
    lines.len() >= 10 && [',', ';', '\t'].into_iter().any(is_even)
}
