//! Any bytes end in an answer or a failure with a reason, and never in a panic: what can be read without libraries of
//! other people's making.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat};
use proptest::{prelude::*, sample::Index};

use super::{Config, format::DecodeRequest, formats, sniff};
use crate::sandbox::File;
use deckle_contract::error::Failure;

/// Opens, reads and renders bytes as the child does. PDFium and libheif are not asked.
fn read(bytes: Vec<u8>, filename: &str) -> Result<(), Failure> {
    let media_type = sniff::identify(&bytes, filename)?.media_type;
    let mut formats = formats();
    let found = formats.iter_mut().find(|format| format.media_types().contains(&media_type));
    let Some(format) = found.filter(|_| !matches!(media_type, sniff::PDF | sniff::HEIC)) else { return Ok(()) };
    let config = Config { max_pixels: 10_000, max_source_pixels: 1_000_000, max_pages: 9, ..Config::default() };
    let file = File { sha256: String::new(), bytes: Bytes::from(bytes) };
    let asked = DecodeRequest { file: &file, media_type, password: None, config: &config };
    let opened = format.open(&asked)?;
    for page_no in 1..=opened.page_count.unwrap_or(0) {
        format.read_page(&asked, page_no)?;
        let (_, picture) = format.render_page(&asked, page_no)?;
        assert!(u64::from(picture.width) * u64::from(picture.height) <= config.max_pixels * 2, "{media_type}");
    }
    Ok(())
}

/// A failure is the file's fault, and says what is wrong.
fn is_told(ended: Result<(), Failure>) -> Result<(), TestCaseError> {
    match ended {
        Ok(()) => Ok(()),
        Err(Failure::Rejected { code, message }) => {
            prop_assert!(!code.is_empty() && !message.is_empty());
            Ok(())
        }
        Err(other) => Err(TestCaseError::fail(format!("{other:?}"))),
    }
}

/// A small picture of one of the formats that `image` writes.
fn picture(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let colours = image::RgbImage::from_fn(23, 17, |x, y| image::Rgb([(x * 11) as u8, (y * 15) as u8, 77]));
    DynamicImage::ImageRgb8(colours).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A TIFF of two pages in grey.
fn tiff() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    for grey in [70, 200] {
        encoder.write_image::<tiff::encoder::colortype::Gray8>(19, 13, &[grey; 19 * 13]).unwrap();
    }
    bytes.into_inner()
}

fn pictures() -> Vec<Vec<u8>> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    [Png, Jpeg, WebP, Gif, Bmp].map(picture).into_iter().chain([tiff()]).collect()
}

/// Names that lead to each of the readers of text.
const NAMES: [&str; 3] = ["notes.md", "notes.txt", ""];

/// What files begin with, so that the readers behind it are reached.
const STARTS: [&[u8]; 14] = [
    b"",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xFF\xD8\xFF\xE1\0\x40Exif\0\0II*\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"MM\0+\0\x08\0\0",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8L",
    b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
    b"\0\0\0\x18ftypheic",
    b"PK\x03\x04",
    b"\xFF\xFE",
    b"\xEF\xBB\xBF",
    b"From: a\nTo: b\nSubject:",
];

#[test]
fn whole_pictures_are_read() {
    for bytes in pictures() {
        read(bytes, "").unwrap();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        start in prop::sample::select(&STARTS[..]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
        name in prop::sample::select(&NAMES[..]),
    ) {
        is_told(read([start, &rest].concat(), name))?;
    }

    #[test]
    fn any_text_is_read(
        parts in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(vec![
                "#", "##", " ", "  ", "\n", "\n\n", "-", "- ", "1. ", "> ", "|", "|-|", "*", "_", "**", "~~", "`", "```",
                "[", "](", ")", "![", "[^a]", "[^a]: ", "<", "</", "<!--", "-->", "&", "&#", ";", "\\", "\t", "---\n", "+++\n",
                "[ ] ", "[x] ", "\r", "\0", "\u{feff}", "\u{202e}", "e\u{301}",
            ]).prop_map(str::to_owned),
            1 => "\\PC{0,6}",
        ], 0..60),
        name in prop::sample::select(&NAMES[..]),
    ) {
        is_told(read(parts.concat().into_bytes(), name))?;
    }

    #[test]
    fn damaged_pictures_are_read_or_refused(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        length in prop::option::of(any::<Index>()),
        (from, to) in any::<(Index, Index)>(),
        is_cut in any::<bool>(),
    ) {
        let pictures = pictures();
        let mut bytes = pictures[which.index(pictures.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.drain(from.min(to)..from.max(to));
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len() + 1));
        }
        is_told(read(bytes, ""))?;
    }
}
