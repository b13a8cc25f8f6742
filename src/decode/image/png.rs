//! PNG: row by row, in any depth.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodingError, Transformations};

use super::{DecodeRequest, Header, Kind, canvas::Canvas, exif, over_white, whole};
use crate::sniff;
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::{Channels, Pixmap};

/// Decodes PNG.
pub(super) struct Png;

const NAME: &str = "PNG";

impl Kind for Png {
    fn media_type(&self) -> &'static str {
        sniff::PNG
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn header(&mut self, asked: &DecodeRequest<'_>, _: u32) -> Result<Header> {
        let bytes = &asked.file.bytes;
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        let info = decoder.read_header_info().map_err(|error| damaged(&error))?;
        let (width, height) = (info.width, info.height);
        if !exif::png_is_whole(bytes) {
            return Err(whole::incomplete(NAME));
        }
        Ok(Header::new(width, height, exif::of_png(bytes)))
    }

    fn pixels(&mut self, asked: &DecodeRequest<'_>, _: u32, header: &Header) -> Result<Pixmap> {
        let mut decoder = png::Decoder::new(Cursor::new(&asked.file.bytes));
        // Palettes and small depths become 8 bits, 16 bits lose the lower 8, a transparent colour becomes alpha.
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        decoder.set_ignore_text_chunk(true);
        let mut reader = decoder.read_info().map_err(|error| damaged(&error))?;
        let (colour, depth) = reader.output_color_type();
        debug_assert_eq!(depth, BitDepth::Eight);
        let (channels, transparent) = match colour {
            ColorType::Grayscale => (Channels::Grey, false),
            ColorType::GrayscaleAlpha => (Channels::Grey, true),
            ColorType::Rgb | ColorType::Indexed => (Channels::Rgb, false),
            ColorType::Rgba => (Channels::Rgb, true),
        };
        let mut canvas = Canvas::new(header.width, header.height, channels, asked.config.max_pixels);
        let mut put = |row: &[u8]| if transparent { canvas.row(&over_white(row, channels)) } else { canvas.row(row) };
        if reader.info().interlaced {
            let samples = channels.count() + usize::from(transparent);
            whole::fits(header, samples as u64, "interlaced PNG")?;
            let mut bytes = vec![0; header.width as usize * header.height as usize * samples];
            reader.next_frame(&mut bytes).map_err(|error| damaged(&error))?;
            bytes.chunks_exact((header.width as usize * samples).max(1)).for_each(put);
        } else {
            while let Some(row) = reader.next_row().map_err(|error| damaged(&error))? {
                put(row.data());
            }
        }
        canvas.finish().ok_or_else(|| whole::incomplete(NAME))
    }
}

fn damaged(error: &DecodingError) -> Failure {
    match error {
        DecodingError::LimitsExceeded => {
            Failure::rejected(code::LIMIT_PIXELS, "the PNG needs too much memory to decode")
        }
        error => Failure::rejected(code::IMAGE_DAMAGED, format!("the PNG is damaged: {error}")),
    }
}
