//! Crops along any quadrangle: what a skewed or photographed line looks like when it is laid straight.
//!
//! Coordinates are those of pixel edges: a picture reaches from (0, 0) to (width, height), and the middle of its first
//! pixel is (0.5, 0.5). So a quadrangle on whole numbers with level sides gives exactly [`Pixmap::cut`].
//!
//! `imageproc` warps whole pictures onto pictures, and gives one colour to all that lies outside; a crop at the edge of a
//! page needs the page's own border to go on.

use super::Pixmap;

/// Four corners in pixels, clockwise from the top left of what they frame.
pub type Quad = [[f32; 2]; 4];

/// The projective map that takes the unit square to a quadrangle, after Heckbert, "Fundamentals of Texture Mapping and
/// Image Warping" (1989), chapter 2.2.3.
#[derive(Debug, Clone, Copy)]
struct Projection {
    x: [f32; 3],
    y: [f32; 3],
    /// Factors of u and v in the common divisor, whose constant is 1.
    depth: [f32; 2],
}

impl Projection {
    fn onto([p0, p1, p2, p3]: &Quad) -> Self {
        let sum = |i: usize| p0[i] - p1[i] + p2[i] - p3[i];
        let (sum_x, sum_y) = (sum(0), sum(1));
        let (dx1, dx2) = (p1[0] - p2[0], p3[0] - p2[0]);
        let (dy1, dy2) = (p1[1] - p2[1], p3[1] - p2[1]);
        let divisor = dx1 * dy2 - dx2 * dy1;
        // A parallelogram, or nothing with an area: the map has no depth.
        let level = (sum_x == 0.0 && sum_y == 0.0) || divisor == 0.0;
        let depth = if level {
            [0.0, 0.0]
        } else {
            [(sum_x * dy2 - dx2 * sum_y) / divisor, (dx1 * sum_y - sum_x * dy1) / divisor]
        };
        let row = |i: usize| [p1[i] - p0[i] + depth[0] * p1[i], p3[i] - p0[i] + depth[1] * p3[i], p0[i]];
        Self { x: row(0), y: row(1), depth }
    }

    fn at(&self, u: f32, v: f32) -> (f32, f32) {
        let divisor = self.depth[0] * u + self.depth[1] * v + 1.0;
        let on = |row: &[f32; 3]| (row[0] * u + row[1] * v + row[2]) / divisor;
        (on(&self.x), on(&self.y))
    }
}

impl Pixmap {
    /// What `quad` frames, laid straight into a picture of this size, bilinearly. Outside of the picture its border goes
    /// on. To be scaled down by [`Pixmap::resized`], which averages, and not by a small size here.
    pub fn warped(&self, quad: &Quad, width: u32, height: u32) -> Self {
        if self.width == 0 || self.height == 0 {
            return Self::white(width, height, self.channels);
        }
        let projection = Projection::onto(quad);
        let count = self.channels.count();
        let mut pixels = Vec::with_capacity(width as usize * height as usize * count);
        for row in 0..height {
            let v = (row as f32 + 0.5) / height as f32;
            for column in 0..width {
                let u = (column as f32 + 0.5) / width as f32;
                let (x, y) = projection.at(u, v);
                self.sample(x, y, count, &mut pixels);
            }
        }
        Self { width, height, channels: self.channels, pixels }
    }

    /// Appends the pixel at a point, mixed of the four around it.
    fn sample(&self, x: f32, y: f32, count: usize, pixels: &mut Vec<u8>) {
        let (x, y) = ((x - 0.5).clamp(0.0, (self.width - 1) as f32), (y - 0.5).clamp(0.0, (self.height - 1) as f32));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(self.width as usize - 1), (top + 1).min(self.height as usize - 1));
        // In parts of 256: exact where the point is a pixel's middle, and integers are fast.
        let (across, down) = (((x - left as f32) * 256.0) as u32, ((y - top as f32) * 256.0) as u32);
        let row = self.width as usize;
        let corners = [top * row + left, top * row + right, bottom * row + left, bottom * row + right];
        for channel in 0..count {
            let [a, b, c, d] = corners.map(|at| u32::from(self.pixels[at * count + channel]));
            let upper = a * (256 - across) + b * across;
            let lower = c * (256 - across) + d * across;
            pixels.push(((upper * (256 - down) + lower * down + (1 << 15)) >> 16) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Channels, *};

    fn noise(width: u32, height: u32, channels: Channels) -> Pixmap {
        let bytes = width as usize * height as usize * channels.count();
        let pixels = (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        Pixmap { width, height, channels, pixels }
    }

    fn rectangle(left: u32, top: u32, width: u32, height: u32) -> Quad {
        let [l, t, r, b] = [left, top, left + width, top + height].map(|n| n as f32);
        [[l, t], [r, t], [r, b], [l, b]]
    }

    proptest! {
        #[test]
        fn a_level_rectangle_gives_the_cut(
            left in 0..20_u32, top in 0..20_u32, width in 1..20_u32, height in 1..20_u32, colour: bool,
        ) {
            let picture = noise(40, 40, if colour { Channels::Rgb } else { Channels::Grey });
            let warped = picture.warped(&rectangle(left, top, width, height), width, height);
            let cut = picture.cut(left, top, width, height);
            // A 256th of the difference to a neighbour may be lost in rounding.
            let far = warped.pixels.iter().zip(&cut.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            prop_assert!(far <= Some(1), "{far:?}");
        }

        #[test]
        fn the_corners_of_the_square_go_to_the_corners_of_the_quadrangle(
            jitter in prop::array::uniform8(-9.0..9.0_f32),
        ) {
            let mut quad = [[10.0, 10.0], [60.0, 10.0], [60.0, 40.0], [10.0, 40.0]];
            for (value, shift) in quad.iter_mut().flatten().zip(jitter) {
                *value += shift;
            }
            let projection = Projection::onto(&quad);
            for ((u, v), [x, y]) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)].into_iter().zip(quad) {
                let (to_x, to_y) = projection.at(u, v);
                prop_assert!((to_x - x).abs() < 0.01 && (to_y - y).abs() < 0.01, "{to_x},{to_y} for {x},{y}");
            }
        }
    }

    #[test]
    fn corners_in_another_order_turn_the_crop() {
        let picture = noise(12, 8, Channels::Grey);
        let [a, b, c, d] = rectangle(0, 0, 12, 8);
        assert_eq!(picture.warped(&[d, a, b, c], 8, 12), picture.clone().turned(1));
        assert_eq!(picture.warped(&[b, c, d, a], 8, 12), picture.turned(3));
    }

    #[test]
    fn the_border_goes_on_outside() {
        let picture = Pixmap { width: 2, height: 1, channels: Channels::Grey, pixels: vec![10, 200] };
        let warped = picture.warped(&[[-2.0, -1.0], [4.0, -1.0], [4.0, 2.0], [-2.0, 2.0]], 6, 3);
        assert_eq!(warped.pixels, [10, 10, 10, 200, 200, 200].repeat(3));
    }
}
