//! Cutting, turning, levelling and scaling.

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};

use super::{Channels, Pixmap};
use deckle_contract::error::{Failure, Result};

impl Pixmap {
    /// The part of it from `left`, `top` on; what would lie outside is left out.
    pub fn cut(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        let (left, top) = (left.min(self.width), top.min(self.height));
        let (width, height) = (width.min(self.width - left), height.min(self.height - top));
        let count = self.channels.count();
        let row_bytes = self.width as usize * count;
        let mut pixels = Vec::with_capacity(width as usize * height as usize * count);
        for y in top..top + height {
            let from = y as usize * row_bytes + left as usize * count;
            pixels.extend_from_slice(&self.pixels[from..from + width as usize * count]);
        }
        Self { width, height, channels: self.channels, pixels }
    }

    /// Turned clockwise by quarter turns.
    pub fn turned(self, quarters: u16) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let count = self.channels.count();
        let from = |x: usize, y: usize| &self.pixels[(y * width + x) * count..][..count];
        let mut pixels = Vec::with_capacity(self.pixels.len());
        match quarters % 4 {
            0 => return self,
            1 => (0..width).for_each(|x| (0..height).rev().for_each(|y| pixels.extend_from_slice(from(x, y)))),
            2 => (0..height).rev().for_each(|y| (0..width).rev().for_each(|x| pixels.extend_from_slice(from(x, y)))),
            _ => (0..width).rev().for_each(|x| (0..height).for_each(|y| pixels.extend_from_slice(from(x, y)))),
        }
        let (width, height) = if quarters % 2 == 1 { (self.height, self.width) } else { (self.width, self.height) };
        Self { width, height, channels: self.channels, pixels }
    }

    /// Left and right exchanged.
    pub fn mirrored(mut self) -> Self {
        let count = self.channels.count();
        for row in self.pixels.chunks_exact_mut((self.width as usize * count).max(1)) {
            row.reverse();
            // Within a pixel the channels stand the wrong way round now.
            row.chunks_exact_mut(count).for_each(<[u8]>::reverse);
        }
        self
    }

    /// Turned counter-clockwise by a few degrees, so that lines that sloped downwards to the right by as many lie
    /// level. The picture grows to hold its own corners; what is new is white.
    pub fn levelled(&self, degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (w, h) = (self.width as f32, self.height as f32);
        let (width, height) = (w * cos.abs() + h * sin.abs(), w * sin.abs() + h * cos.abs());
        let mut level = Self::white(width.round() as u32, height.round() as u32, self.channels);
        let (centre_x, centre_y) = ((level.width as f32 - 1.0) / 2.0, (level.height as f32 - 1.0) / 2.0);
        let count = self.channels.count();
        for (y, row) in level.pixels.chunks_exact_mut(level.width as usize * count).enumerate() {
            let dy = y as f32 - centre_y;
            for (x, pixel) in row.chunks_exact_mut(count).enumerate() {
                let dx = x as f32 - centre_x;
                let from_x = dx * cos - dy * sin + (w - 1.0) / 2.0;
                let from_y = dx * sin + dy * cos + (h - 1.0) / 2.0;
                if from_x > -1.0 && from_y > -1.0 && from_x < w && from_y < h {
                    self.between(from_x, from_y, pixel);
                }
            }
        }
        level
    }

    /// The colour at a place between pixels; white outside.
    fn between(&self, x: f32, y: f32, pixel: &mut [u8]) {
        let (left, top) = (x.floor(), y.floor());
        // In parts of 256: the four weights of a place come to 2¹⁶.
        let (right_part, lower_part) = (((x - left) * 256.0) as u32, ((y - top) * 256.0) as u32);
        let (left, top, count) = (left as i64, top as i64, self.channels.count());
        let row = |y: i64, x: i64| -> Option<&[u8]> {
            let inside = x >= 0 && y >= 0 && x < i64::from(self.width) && y < i64::from(self.height);
            inside.then(|| &self.pixels[(y as usize * self.width as usize + x as usize) * count..][..count])
        };
        let corners = [row(top, left), row(top, left + 1), row(top + 1, left), row(top + 1, left + 1)];
        let weights = [
            (256 - right_part) * (256 - lower_part),
            right_part * (256 - lower_part),
            (256 - right_part) * lower_part,
            right_part * lower_part,
        ];
        for (channel, value) in pixel.iter_mut().enumerate() {
            let of = |corner: &Option<&[u8]>| corner.map_or(255, |pixel| u32::from(pixel[channel]));
            let sum: u32 = corners.iter().zip(weights).map(|(corner, weight)| of(corner) * weight).sum();
            *value = ((sum + 32_768) >> 16) as u8;
        }
    }

    /// Scaled bilinearly, over as many pixels as shrinking needs.
    ///
    /// # Errors
    /// A defect when the pixels are fewer than width, height and channels say.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self> {
        let pixels = match self.channels {
            Channels::Grey => self.scaled::<U8>(width, height),
            Channels::Rgb => self.scaled::<U8x3>(width, height),
        };
        let pixels = pixels.map_err(|why| Failure::defect(format!("cannot scale a picture: {why}")))?;
        Ok(Self { width, height, channels: self.channels, pixels })
    }

    /// Scaled with pixels of type `P`. The untyped way would compile kernels for
    /// every type of pixels that the library knows.
    fn scaled<P: PixelTrait>(&self, width: u32, height: u32) -> std::result::Result<Vec<u8>, String> {
        let source =
            TypedImageRef::<P>::from_buffer(self.width, self.height, &self.pixels).map_err(|e| e.to_string())?;
        let mut pixels = vec![0; width as usize * height as usize * P::size()];
        let mut scaled = TypedImage::<P>::from_buffer(width, height, &mut pixels).map_err(|e| e.to_string())?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize_typed(&source, &mut scaled, &options).map_err(|e| e.to_string())?;
        Ok(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> Pixmap {
        Pixmap { width, height, channels: Channels::Grey, pixels: (0..(width * height) as u8).collect() }
    }

    #[test]
    fn a_quarter_turn_is_clockwise_and_four_of_them_are_none() {
        let picture = numbered(3, 2);
        let turned = picture.clone().turned(1);
        assert_eq!((turned.width, turned.height, &turned.pixels[..]), (2, 3, &[3, 0, 4, 1, 5, 2][..]));
        assert_eq!(picture.clone().turned(1).turned(3), picture);
        assert_eq!(picture.clone().turned(2).pixels, [5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn mirroring_keeps_the_colours() {
        let row = Pixmap { width: 2, height: 1, channels: Channels::Rgb, pixels: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(row.mirrored().pixels, [4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn a_cut_stays_inside() {
        let picture = numbered(4, 3);
        assert_eq!(picture.cut(2, 1, 9, 9).pixels, [6, 7, 10, 11]);
        assert!(picture.cut(9, 9, 2, 2).pixels.is_empty());
    }

    #[test]
    fn scaling_keeps_an_even_tone() {
        let even = Pixmap { width: 40, height: 30, channels: Channels::Rgb, pixels: vec![77; 40 * 30 * 3] };
        let scaled = even.resized(13, 7).unwrap();
        assert_eq!(scaled.pixels, vec![77; 13 * 7 * 3]);
    }
}
