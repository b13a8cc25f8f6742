//! Pictures for tests: pages of bars that look like lines of words, and what must not be taken for such.

use super::{Channels, Pixmap};

/// A page of black words on white, level: lines of bars of different lengths, with a ragged right side.
pub(crate) fn text(width: u32, height: u32) -> Pixmap {
    let mut random = fastrand::Rng::with_seed(7);
    let mut page = Pixmap::white(width, height, Channels::Grey);
    let (margin, line, x_height) = (width / 10, 26, 11);
    let mut top = margin;
    while top + line < height - margin {
        let end = width - margin - random.u32(0..width / 4);
        let mut left = margin;
        while left < end {
            let word = random.u32(18..90).min(end - left);
            // Letters: bars with gaps, some with an ascender.
            for x in (left..left + word).filter(|x| x % 9 < 6) {
                let ascent = if (x / 9) % 3 == 0 { 6 } else { 0 };
                for y in top - ascent..top + x_height {
                    page.pixels[(y * width + x) as usize] = 20;
                }
            }
            left += word + 12;
        }
        top += line;
    }
    page
}

/// Even noise.
pub(crate) fn noise(width: u32, height: u32) -> Pixmap {
    let mut random = fastrand::Rng::with_seed(3);
    let pixels = (0..width * height).map(|_| random.u8(..)).collect();
    Pixmap { width, height, channels: Channels::Grey, pixels }
}

/// Soft dark discs here and there, as in a photograph.
pub(crate) fn blobs(width: u32, height: u32) -> Pixmap {
    let mut random = fastrand::Rng::with_seed(5);
    let mut picture = Pixmap::white(width, height, Channels::Grey);
    for _ in 0..60 {
        let (cx, cy, r) = (random.i32(0..width as i32), random.i32(0..height as i32), random.i32(10..80));
        for y in (cy - r).max(0)..(cy + r).min(height as i32) {
            for x in (cx - r).max(0)..(cx + r).min(width as i32) {
                if (x - cx).pow(2) + (y - cy).pow(2) < r * r {
                    picture.pixels[(y as u32 * width + x as u32) as usize] = 90;
                }
            }
        }
    }
    picture
}

impl Pixmap {
    /// Turned so that its lines slope downwards to the right by so many degrees; of the same size.
    pub fn sloping(&self, degrees: f32) -> Self {
        let turned = self.levelled(-degrees);
        turned.cut((turned.width - self.width) / 2, (turned.height - self.height) / 2, self.width, self.height)
    }
}
