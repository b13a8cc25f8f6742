//! From samples to pixels: palettes, inks, luminance and differences, alpha.

use tiff::ColorType;

use super::directory::{Directory, photometric, samples_of, unsupported};
use deckle_contract::error::Result;

/// How the samples of a page are to be understood.
pub(super) struct Pixels<'a> {
    colour: ColorType,
    directory: &'a Directory,
}

impl<'a> Pixels<'a> {
    /// # Errors
    /// `unsupported_type` for colours that are not decoded here.
    pub(super) fn new(colour: ColorType, directory: &'a Directory) -> Result<Self> {
        use ColorType::{CMYK, CMYKA, Gray, GrayA, Multiband, RGB, RGBA, YCbCr};
        match colour {
            Gray(_) | GrayA(_) | RGB(_) | RGBA(_) | CMYK(_) | CMYKA(_) | YCbCr(_) | Multiband { .. } => {
                Ok(Self { colour, directory })
            }
            other => Err(unsupported(format_args!("colours as {other:?}"))),
        }
    }

    /// Samples of a pixel.
    pub(super) fn samples(&self) -> usize {
        samples_of(self.colour)
    }

    /// Bits of a sample.
    pub(super) fn bits(&self) -> u8 {
        self.colour.bit_depth()
    }

    /// Whether samples are numbers of a palette.
    pub(super) fn has_palette(&self) -> bool {
        self.directory.photometric == photometric::PALETTE
    }

    /// Grey or red, green and blue, as the directory's channels say.
    pub(super) fn decode(&self, samples: &[u8]) -> Vec<u8> {
        let pixels = samples.chunks_exact(self.samples());
        if self.has_palette() {
            let grey = self.directory.channels().count();
            let colour = |pixel: &[u8]| self.directory.palette.get(usize::from(pixel[0])).copied().unwrap_or([0; 3]);
            return pixels.flat_map(|pixel| colour(pixel).into_iter().take(grey)).collect();
        }
        match self.colour {
            ColorType::RGBA(_) => {
                pixels.flat_map(|p| [p[0], p[1], p[2]].map(|value| self.over_white(value, p[3]))).collect()
            }
            ColorType::CMYK(_) | ColorType::CMYKA(_) => pixels.flat_map(printed).collect(),
            ColorType::YCbCr(_) => pixels.flat_map(from_ycbcr).collect(),
            ColorType::RGB(_) => samples.to_vec(),
            ColorType::GrayA(_) => pixels.map(|p| self.over_white(p[0], p[1])).collect(),
            _ => pixels.map(|p| p[0]).collect(),
        }
    }

    fn over_white(&self, value: u8, alpha: u8) -> u8 {
        let paper = u32::from(255 - alpha);
        let shown = if self.directory.premultiplied {
            u32::from(value) + paper
        } else {
            (u32::from(value) * u32::from(alpha) + 255 * paper + 127) / 255
        };
        shown.min(255) as u8
    }
}

/// The colour of inks on white paper.
fn printed(inks: &[u8]) -> [u8; 3] {
    let light = u32::from(255 - inks[3]);
    [inks[0], inks[1], inks[2]].map(|ink| ((u32::from(255 - ink) * light + 127) / 255) as u8)
}

/// ITU-R BT.601 in its full range, as JPEG has it.
fn from_ycbcr(pixel: &[u8]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(pixel[0]), f32::from(pixel[1]) - 128.0, f32::from(pixel[2]) - 128.0);
    let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
    rgb.map(|value| value.round().clamp(0.0, 255.0) as u8)
}

/// Samples of 1, 2 or 4 bits from rows that each begin on a byte; scaled to 255, or as they are.
pub(super) fn unpacked(bytes: &[u8], bits: u8, in_row: usize, scaled: bool) -> Vec<u8> {
    let bits = usize::from(bits.clamp(1, 8));
    let largest = ((1u32 << bits) - 1) as u8;
    let factor = if scaled { 255 / largest } else { 1 };
    let row_bytes = (in_row * bits).div_ceil(8).max(1);
    let sample = |row: &[u8], i: usize| (row[i * bits / 8] >> (8 - bits - i * bits % 8)) & largest;
    bytes.chunks_exact(row_bytes).flat_map(|row| (0..in_row).map(move |i| sample(row, i) * factor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_samples_are_unpacked_row_by_row() {
        assert_eq!(unpacked(&[0b1010_0000, 0b0100_0000], 1, 3, true), [255, 0, 255, 0, 255, 0]);
        assert_eq!(unpacked(&[0x1F, 0x20], 4, 3, true), [17, 255, 34]);
        assert_eq!(unpacked(&[0x1F, 0x20], 4, 3, false), [1, 15, 2]);
        assert_eq!(unpacked(&[0b0001_1011], 2, 4, true), [0, 85, 170, 255]);
    }

    #[test]
    fn inks_darken_white_paper() {
        assert_eq!(printed(&[0, 0, 0, 0]), [255, 255, 255]);
        assert_eq!(printed(&[0, 255, 255, 0]), [255, 0, 0]);
        assert_eq!(printed(&[0, 0, 0, 255]), [0, 0, 0]);
    }

    #[test]
    fn luminance_and_differences_become_colours() {
        assert_eq!(from_ycbcr(&[255, 128, 128]), [255, 255, 255]);
        assert_eq!(from_ycbcr(&[76, 85, 255]), [254, 0, 0]);
    }
}
