//! JPEG: grey, colour, and the inks of printing (CMYK and YCCK, inverted as Adobe writes them).

use std::io::Cursor;

use image::{ImageDecoder, codecs::jpeg::JpegDecoder};

use super::{DecodeRequest, Header, Kind, exif, whole};
use crate::sniff;
use deckle_contract::error::Result;
use deckle_imaging::Pixmap;

/// Decodes JPEG.
pub(super) struct Jpeg;

const NAME: &str = "JPEG";

impl Kind for Jpeg {
    fn media_type(&self) -> &'static str {
        sniff::JPEG
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let bytes = &asked.file.bytes;
        let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        let (width, height) = decoder.dimensions();
        // Decoders fill what is missing with grey.
        if !exif::jpeg_is_whole(bytes) {
            return Err(whole::incomplete(NAME));
        }
        Ok(Header::new(width, height, exif::of_jpeg(bytes)))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let decoder = JpegDecoder::new(Cursor::new(&asked.file.bytes)).map_err(|error| whole::damaged(NAME, &error))?;
        whole::decode(decoder, NAME, header, asked.config)
    }
}
