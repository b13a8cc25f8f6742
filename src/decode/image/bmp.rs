//! BMP.

use std::io::Cursor;

use image::{ImageDecoder, codecs::bmp::BmpDecoder};

use super::{DecodeRequest, Header, Kind, exif, whole};
use crate::sniff;
use deckle_contract::error::Result;
use deckle_imaging::Pixmap;

/// Decodes BMP.
pub(super) struct Bmp;

const NAME: &str = "BMP";

impl Kind for Bmp {
    fn media_type(&self) -> &'static str {
        sniff::BMP
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let bytes = &asked.file.bytes;
        let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        let (width, height) = decoder.dimensions();
        Ok(Header::new(width, height, exif::of_bmp(bytes)))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let decoder = BmpDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        whole::decode(decoder, NAME, header, asked.config)
    }
}
