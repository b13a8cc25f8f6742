//! Takes a picture row by row and keeps it in as many pixels as are allowed, however many it has.

use deckle_imaging::{Channels, Pixmap};

/// Where the rows of a picture go. Of a picture that has too many pixels, squares of them become one, their mean: no
/// more than a row of sums is held besides what is kept.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    channels: Channels,
    /// The side of the squares; 1 keeps every pixel.
    side: usize,
    /// Per kept pixel of the current rows of squares, and channel.
    sums: Vec<u32>,
    /// Rows that have come.
    rows: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// For a picture of this size, of which at most `max_pixels` are kept.
    pub(super) fn new(width: u32, height: u32, channels: Channels, max_pixels: u64) -> Self {
        let kept = |side: u32| u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side));
        // The square root, or by rounding at the edges a little more.
        let least = (f64::from(width) * f64::from(height) / max_pixels.max(1) as f64).sqrt() as u32;
        let side = (least.max(1)..u32::MAX).find(|side| kept(*side) <= max_pixels.max(1)).unwrap_or(u32::MAX);
        let sums = if side == 1 { 0 } else { width.div_ceil(side) as usize * channels.count() };
        Self {
            width: width as usize,
            height: height as usize,
            channels,
            side: side as usize,
            sums: vec![0; sums],
            rows: 0,
            pixels: Vec::with_capacity(kept(side) as usize * channels.count()),
        }
    }

    /// What a pixel of the rows holds.
    pub(super) fn channels(&self) -> Channels {
        self.channels
    }

    /// Takes the next row: `width × channels` bytes. Rows below the picture's end are dropped.
    pub(super) fn row(&mut self, row: &[u8]) {
        let bytes = self.width * self.channels.count();
        let Some(row) = row.get(..bytes).filter(|_| self.rows < self.height) else { return };
        self.rows += 1;
        if self.side == 1 {
            self.pixels.extend_from_slice(row);
            return;
        }
        let count = self.channels.count();
        for (square, sums) in row.chunks(self.side * count).zip(self.sums.chunks_exact_mut(count)) {
            for (channel, sum) in sums.iter_mut().enumerate() {
                *sum += square[channel..].iter().step_by(count).map(|value| u32::from(*value)).sum::<u32>();
            }
        }
        if self.rows.is_multiple_of(self.side) || self.rows == self.height {
            self.keep_squares();
        }
    }

    /// Turns a row of squares into pixels.
    fn keep_squares(&mut self) {
        let tall = (self.rows - 1) % self.side + 1;
        let count = self.channels.count();
        for (i, sums) in self.sums.chunks_exact_mut(count).enumerate() {
            let wide = self.side.min(self.width - i * self.side);
            let area = (wide * tall) as u32;
            self.pixels.extend(sums.iter().map(|sum| ((sum + area / 2) / area) as u8));
            sums.fill(0);
        }
    }

    /// The picture; `None` when rows are missing.
    pub(super) fn finish(self) -> Option<Pixmap> {
        let (width, height) = (self.width.div_ceil(self.side) as u32, self.height.div_ceil(self.side) as u32);
        (self.rows == self.height).then_some(Pixmap { width, height, channels: self.channels, pixels: self.pixels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let mut canvas = Canvas::new(3, 2, Channels::Grey, 6);
        canvas.row(&[1, 2, 3]);
        canvas.row(&[4, 5, 6]);
        assert_eq!(canvas.finish().unwrap().pixels, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_does_not_fit_becomes_means_of_squares_also_at_the_edges() {
        let mut canvas = Canvas::new(3, 3, Channels::Rgb, 5);
        for y in 0..3u8 {
            canvas.row(&[10 * y, 0, 1, 10 * y + 2, 0, 1, 100, 50, 3]);
        }
        let picture = canvas.finish().unwrap();
        assert_eq!((picture.width, picture.height), (2, 2));
        assert_eq!(picture.pixels, [6, 0, 1, 100, 50, 3, 21, 0, 1, 100, 50, 3]);
    }

    #[test]
    fn the_bound_holds_for_odd_sizes() {
        for (width, height) in [(20_000, 14_320), (1, 400_000_000), (65_535, 6_000), (7_072, 7_072)] {
            let canvas = Canvas::new(width, height, Channels::Grey, 50_000_000);
            let side = canvas.side as u32;
            assert!(u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side)) <= 50_000_000);
        }
    }

    #[test]
    fn missing_rows_are_told() {
        let mut canvas = Canvas::new(2, 2, Channels::Grey, 100);
        canvas.row(&[1, 2]);
        assert!(canvas.finish().is_none());
    }
}
