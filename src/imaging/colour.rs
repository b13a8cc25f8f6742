//! Whether a picture needs its colours.

use super::{Channels, Pixmap};

/// How far the strongest and the weakest channel of a coloured pixel are apart. Yellowed paper and the fringes that
/// scanners and JPEG leave around letters stay under it.
const CHROMA: u8 = 48;

/// The share of coloured pixels from which a picture has colour: one in so many. A stamp or a logo is enough.
const ONE_IN: usize = 500;

impl Pixmap {
    /// Whether a picture stored in colour shows any. Grey pictures never do.
    pub fn is_colourful(&self) -> bool {
        if self.channels == Channels::Grey {
            return false;
        }
        let spread = |p: &[u8]| p[0].max(p[1]).max(p[2]) - p[0].min(p[1]).min(p[2]);
        let coloured = self.pixels.chunks_exact(3).filter(|pixel| spread(pixel) > CHROMA).count();
        coloured * ONE_IN > self.pixels.len() / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yellowed_paper_is_no_colour_and_a_stamp_is() {
        let mut paper =
            Pixmap { width: 100, height: 100, channels: Channels::Rgb, pixels: [235, 225, 200].repeat(10_000) };
        assert!(!paper.is_colourful());
        for pixel in paper.pixels.chunks_exact_mut(3).take(30) {
            pixel.copy_from_slice(&[190, 40, 50]);
        }
        assert!(paper.is_colourful());
        assert!(!paper.into_grey().is_colourful());
    }
}
