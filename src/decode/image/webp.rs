//! WebP: lossy and lossless; of an animation the first picture.

use std::io::Cursor;

use image::{ImageDecoder, codecs::webp::WebPDecoder};

use super::{DecodeRequest, Header, Kind, exif, whole};
use crate::sniff;
use deckle_contract::error::Result;
use deckle_imaging::Pixmap;

/// Decodes WebP.
pub(super) struct Webp;

const NAME: &str = "WebP";

impl Kind for Webp {
    fn media_type(&self) -> &'static str {
        sniff::WEBP
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let bytes = &asked.file.bytes;
        let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        let (width, height) = decoder.dimensions();
        let exif = decoder.exif_metadata().ok().flatten();
        Ok(Header::new(width, height, exif.map(|exif| exif::of_exif(&exif)).unwrap_or_default()))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let decoder = WebPDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        whole::decode(decoder, NAME, header, asked.config)
    }
}
