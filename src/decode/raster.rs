//! Grey pictures, and their way into PNG and back.

use std::io::Cursor;

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use crate::error::{Failure, Result};

/// A grey picture, 8 bits a pixel, rows without padding.
pub struct Grey {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width × height` bytes, 255 is white.
    pub pixels: Vec<u8>,
}

impl Grey {
    /// Encodes as PNG, for speed rather than size: it goes through a pipe and into a blob once.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let mut png = Vec::with_capacity(self.pixels.len() / 8);
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Up)
            .write_image(&self.pixels, self.width, self.height, ExtendedColorType::L8)
            .map_err(|e| Failure::defect(format!("cannot encode a page's picture: {e}")))?;
        Ok(png)
    }

    /// Decodes what [`Grey::to_png`] made (or any PNG that is not larger than `max_pixels`).
    pub fn from_png(png: &[u8], max_pixels: u64) -> Result<Self> {
        let defect = |e: image::ImageError| Failure::defect(format!("cannot decode a page's picture: {e}"));
        let decoder = image::codecs::png::PngDecoder::new(Cursor::new(png)).map_err(defect)?;
        let (width, height) = image::ImageDecoder::dimensions(&decoder);
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(Failure::defect(format!("a page's picture of {width} × {height} pixels is over the limit")));
        }
        let grey = image::DynamicImage::from_decoder(decoder).map_err(defect)?.into_luma8();
        Ok(Self { width, height, pixels: grey.into_raw() })
    }
}
