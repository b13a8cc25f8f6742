//! WebP: lossy and lossless; of an animation the first picture.

use std::io::Cursor;

use image::{ImageDecoder, codecs::webp::WebPDecoder};

use super::{Asked, Header, Kind, exif, whole};
use crate::{decode::sniff, error::Result, pixmap::Pixmap};

/// See the module.
pub struct Webp;

const NAME: &str = "WebP";

impl Kind for Webp {
    fn media_type(&self) -> &'static str {
        sniff::WEBP
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &Asked<'_>, _: u32) -> Result<Header> {
        let bytes = &asked.file.bytes;
        let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        let (width, height) = decoder.dimensions();
        let exif = decoder.exif_metadata().ok().flatten();
        Ok(Header::new(width, height, exif.map(|exif| exif::of_exif(&exif)).unwrap_or_default()))
    }

    fn pixels(&mut self, asked: &Asked<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let decoder = WebPDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        whole::decode(decoder, NAME, header, asked.config)
    }
}
