//! GIF: the first picture of it.

use std::io::Cursor;

use image::{ImageDecoder, codecs::gif::GifDecoder};

use super::{DecodeRequest, Header, Kind, exif::Geometry, whole};
use crate::sniff;
use deckle_contract::error::Result;
use deckle_imaging::Pixmap;

/// Decodes the first frame of a GIF.
pub(super) struct Gif;

const NAME: &str = "GIF";

impl Kind for Gif {
    fn media_type(&self) -> &'static str {
        sniff::GIF
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let decoder = GifDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        let (width, height) = decoder.dimensions();
        Ok(Header::new(width, height, Geometry::default()))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let decoder = GifDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        whole::decode(decoder, NAME, header, asked.config)
    }
}
