//! TIFF: each picture in it is a page; thumbnails and masks are not. One page may be damaged and fail alone.

mod directory;
mod fax;
mod rows;
mod samples;

use std::io::Cursor;

use tiff::{TiffError, decoder::Decoder};

use self::directory::Directory;
use super::{DecodeRequest, Header, Kind, canvas::Canvas, whole};
use crate::{Config, sniff};
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::Pixmap;

/// Decodes TIFF, each picture in it as a page.
pub(super) struct Tiff;

const NAME: &str = "TIFF";

/// Most bytes of one strip or tile, decoded. Scanners write strips of some kilobytes to some megabytes, so a larger one
/// is damage or an attack, and is refused before memory is taken for it.
const MAX_CHUNK_BYTES: usize = 512 << 20;

impl Kind for Tiff {
    fn media_type(&self) -> &'static str {
        sniff::TIFF
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn page_count(&mut self, asked: &DecodeRequest<'_>) -> Result<u32> {
        let Config { max_pages, .. } = asked.config;
        let count = u32::try_from(pages(asked)?.len()).unwrap_or(u32::MAX);
        if count > *max_pages {
            let message = format!("the TIFF has {count} pages; {max_pages} are allowed (decode.max_pages)");
            return Err(Failure::rejected(code::LIMIT_PAGES, message));
        }
        Ok(count)
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<Header> {
        Ok(page(asked, page_no)?.1.header())
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, page_no: u32, header: &Header) -> Result<Pixmap> {
        let (decoder, directory) = page(asked, page_no)?;
        let channels = directory.channels();
        let mut canvas = Canvas::new(header.width, header.height, channels, asked.config.max_pixels);
        if directory.is_fax() {
            fax::read(&asked.file.bytes, &directory, &mut canvas)?;
        } else {
            rows::read(decoder, &asked.file.bytes, &directory, &mut canvas)?;
        }
        canvas.finish().ok_or_else(|| whole::incomplete(NAME))
    }
}

type Open<'a> = Decoder<Cursor<&'a [u8]>>;

fn open<'a>(asked: &'a DecodeRequest<'_>) -> Result<Open<'a>> {
    Ok(Decoder::new(Cursor::new(&asked.file.bytes[..])).map_err(|error| damaged(&error))?.with_limits(limits()))
}

fn limits() -> tiff::decoder::Limits {
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = MAX_CHUNK_BYTES;
    limits.intermediate_buffer_size = MAX_CHUNK_BYTES;
    limits.ifd_value_size = 32 << 20; // a strip a row, in a picture of a million rows
    limits
}

/// The positions of the directories that are pages, in order; `Err` stands for one that cannot be read.
fn pages(asked: &DecodeRequest<'_>) -> Result<Vec<std::result::Result<usize, TiffError>>> {
    let mut decoder = open(asked)?;
    let (mut pages, mut others) = (Vec::new(), Vec::new());
    for index in 0.. {
        let target = if directory::is_page(&mut decoder) { &mut pages } else { &mut others };
        target.push(Ok(index));
        // A directory that cannot be read is a page that fails; the chain goes on behind it.
        let mut next = decoder.more_images().then(|| decoder.next_image());
        while let Some(Err(error)) = next {
            pages.push(Err(error));
            next = decoder.more_images().then(|| decoder.next_image());
        }
        if next.is_none() {
            break;
        }
    }
    // A file of nothing but thumbnails shows its first.
    Ok(if pages.is_empty() { others.into_iter().take(1).collect() } else { pages })
}

/// A decoder that stands on a page, and what its directory says.
fn page<'a>(asked: &'a DecodeRequest<'_>, page_no: u32) -> Result<(Open<'a>, Directory)> {
    let found = pages(asked)?.into_iter().nth((page_no as usize).wrapping_sub(1));
    let found =
        found.ok_or_else(|| Failure::defect(format!("page {page_no} of a TIFF that has fewer was asked for")))?;
    let good = found.map_err(|error| damaged(&error))?;
    let mut decoder = open(asked)?;
    // Counted without those that cannot be read, which have no number here.
    let mut passed = 0;
    while passed < good {
        if decoder.next_image().is_ok() {
            passed += 1;
        } else if !decoder.more_images() {
            return Err(whole::incomplete(NAME));
        }
    }
    let directory = Directory::read(&mut decoder, &asked.file.bytes)?;
    Ok((decoder, directory))
}

/// What an error of the crate means.
fn damaged(error: &TiffError) -> Failure {
    match error {
        TiffError::UnsupportedError(what) => Failure::rejected(
            code::UNSUPPORTED_TYPE,
            format!("the TIFF is of a kind that deckle cannot decode: {what}"),
        ),
        TiffError::LimitsExceeded => {
            Failure::rejected(code::LIMIT_PIXELS, "the TIFF has strips or tiles that need too much memory to decode")
        }
        error => Failure::rejected(code::IMAGE_DAMAGED, format!("the TIFF is damaged: {error}")),
    }
}
