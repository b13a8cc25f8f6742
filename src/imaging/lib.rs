//! Pictures in memory: grey or colour, 8 bits a channel, rows without padding; their way into PNG and back.
//!
//! The law: only pictures of our own making are decoded here (renderings of a sandbox child); a file's own
//! bytes never are.

mod colour;
#[cfg(test)]
mod drawn;
mod geometry;
pub mod rules;
mod skew;
mod warp;

use std::io::Cursor;

use image::{
    ExtendedColorType, ImageDecoder, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngDecoder, PngEncoder},
};

pub use warp::Quad;

use deckle_contract::error::{Failure, Result};

/// What a pixel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One byte, 255 is white.
    Grey,
    /// Three bytes: red, green, blue.
    Rgb,
}

impl Channels {
    /// Bytes of a pixel.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixmap {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What a pixel holds.
    pub channels: Channels,
    /// `width × height × channels` bytes, row by row from the top.
    pub pixels: Vec<u8>,
}

impl Pixmap {
    /// A white picture.
    pub fn white(width: u32, height: u32, channels: Channels) -> Self {
        let pixels = vec![255; width as usize * height as usize * channels.count()];
        Self { width, height, channels, pixels }
    }

    /// Encodes as PNG, for speed rather than size: it goes through a pipe and into a blob once.
    ///
    /// # Errors
    /// A defect when the pixels are not as many as width, height and channels say.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let color = match self.channels {
            Channels::Grey => ExtendedColorType::L8,
            Channels::Rgb => ExtendedColorType::Rgb8,
        };
        let mut png = Vec::with_capacity(self.pixels.len() / 8);
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Up)
            .write_image(&self.pixels, self.width, self.height, color)
            .map_err(|e| Failure::defect(format!("cannot encode a page's picture: {e}")))?;
        Ok(png)
    }

    /// Decodes what [`Pixmap::to_png`] made (or any PNG that is not larger than `max_pixels`): colour stays colour,
    /// everything else becomes grey.
    ///
    /// # Errors
    /// A defect when it is no PNG, or larger.
    pub fn from_png(png: &[u8], max_pixels: u64) -> Result<Self> {
        let defect = |e: image::ImageError| Failure::defect(format!("cannot decode a page's picture: {e}"));
        let decoder = PngDecoder::new(Cursor::new(png)).map_err(defect)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(Failure::defect(format!("a page's picture of {width} × {height} pixels is over the limit")));
        }
        let decoded = image::DynamicImage::from_decoder(decoder).map_err(defect)?;
        let (channels, pixels) = if decoded.color().has_color() {
            (Channels::Rgb, decoded.into_rgb8().into_raw())
        } else {
            (Channels::Grey, decoded.into_luma8().into_raw())
        };
        Ok(Self { width, height, channels, pixels })
    }

    /// The same picture in grey (luma of BT.601, its weights in 16 bits as Pillow has them; in 8 bits one pixel in
    /// twenty differs by a step).
    pub fn into_grey(self) -> Self {
        match self.channels {
            Channels::Grey => self,
            Channels::Rgb => {
                let luma = |p: &[u8]| {
                    let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
                    ((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8
                };
                let pixels = self.pixels.chunks_exact(3).map(luma).collect();
                Self { channels: Channels::Grey, pixels, ..self }
            }
        }
    }
}
