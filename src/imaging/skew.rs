//! By how much the lines of text on a page slope.
//!
//! The lower edges of letters stand on their lines: counted row by row along the right slope they pile up, along any
//! other they smear (W. Postl, "Detection of linear oblique structures and skew scan in digitized documents", 1986).

use super::{Channels, Pixmap};

/// Slopes looked for, in degrees to both sides. Beyond it a page is taken as it is.
const RANGE: f32 = 8.0;

/// First all slopes at this distance, then those around the best at the fine one.
const COARSE_STEP: f32 = 0.25;
const FINE_STEP: f32 = 0.05;

/// The longer side of the picture that is looked at: a tenth of a degree moves its ends by two rows.
const LOOKED_AT: u32 = 1200;

/// Ink is darker by this than the mean of its surroundings, which shade and paper are not.
const CONTRAST: u32 = 24;

/// Half the side of those surroundings, in pixels: some lines of text.
const SURROUNDINGS: usize = 24;

/// Fewer edges than this are no line of text.
const FEWEST_EDGES: usize = 200;

/// How much the best slope must stand above the others: its sharpness over the median one. Scanned pages have 5 to 61, a
/// receipt photographed on a grained table 1.8 (and its slope right). Nine scans turned by −2 to 6° in five steps were
/// found within 0.2° but for one of the 45 (0.35°). Maps can pass it, too, with slopes near 0.
const EVIDENCE: f64 = 1.6;

impl Pixmap {
    /// Degrees by which lines of text slope downwards to the right, −8 to 8 in steps of 0.05; 0 where there is little
    /// evidence (photographs, drawings, blank pages). [`Pixmap::levelled`] undoes it.
    pub fn skew(&self) -> f32 {
        let Some(edges) = self.lower_edges() else { return 0.0 };
        if edges.points.len() < FEWEST_EDGES {
            return 0.0;
        }
        let coarse: Vec<(f32, f64)> =
            slopes(-RANGE, RANGE, COARSE_STEP).map(|degrees| (degrees, edges.sharpness(degrees))).collect();
        let Some(&(near, highest)) = coarse.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else { return 0.0 };
        let mut all: Vec<f64> = coarse.iter().map(|(_, sharpness)| *sharpness).collect();
        all.sort_by(f64::total_cmp);
        if highest < all[all.len() / 2] * EVIDENCE {
            return 0.0;
        }
        let fine = slopes(near - COARSE_STEP, near + COARSE_STEP, FINE_STEP);
        let best = fine.map(|degrees| (degrees, edges.sharpness(degrees))).max_by(|a, b| a.1.total_cmp(&b.1));
        // At the very end the true slope may lie outside, where nothing was looked at.
        best.map_or(0.0, |(degrees, _)| degrees).clamp(-RANGE, RANGE)
    }

    /// The dark pixels above light ones, in a small copy of the picture.
    fn lower_edges(&self) -> Option<Edges> {
        let longer = self.width.max(self.height);
        let side = |side: u32| (u64::from(side) * u64::from(LOOKED_AT) / u64::from(longer)).max(1) as u32;
        let small =
            if longer > LOOKED_AT { self.resized(side(self.width), side(self.height)).ok()? } else { self.clone() };
        let small = small.into_grey();
        let (width, height) = (small.width as usize, small.height as usize);
        let ink = ink(&small);
        let mut points = Vec::new();
        for y in 0..height.saturating_sub(1) {
            let (row, below) = (&ink[y * width..(y + 1) * width], &ink[(y + 1) * width..(y + 2) * width]);
            let edges = row.iter().zip(below).enumerate().filter(|(_, (dark, under))| **dark && !**under);
            points.extend(edges.map(|(x, _)| (x as f32, y as f32)));
        }
        Some(Edges { points, width: width as f32, height: height as f32 })
    }
}

fn slopes(from: f32, to: f32, step: f32) -> impl Iterator<Item = f32> {
    let count = ((to - from) / step).round() as u32;
    (0..=count).map(move |i| from + i as f32 * step)
}

struct Edges {
    points: Vec<(f32, f32)>,
    width: f32,
    height: f32,
}

impl Edges {
    /// How unevenly the edges spread over rows of this slope: the squared differences of neighbouring rows.
    fn sharpness(&self, degrees: f32) -> f64 {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let margin = self.width * sin.abs();
        let mut rows = vec![0u32; (self.height + 2.0 * margin) as usize + 2];
        for (x, y) in &self.points {
            rows[(y * cos - x * sin + margin).max(0.0) as usize] += 1;
        }
        rows.windows(2).map(|pair| (f64::from(pair[0]) - f64::from(pair[1])).powi(2)).sum()
    }
}

/// Which pixels of a grey picture are ink: darker than the mean of a square around them.
fn ink(picture: &Pixmap) -> Vec<bool> {
    debug_assert_eq!(picture.channels, Channels::Grey);
    let (width, height) = (picture.width as usize, picture.height as usize);
    // Sums over all that is left of and above a corner, with a row and a column of zeroes in front.
    let mut sums = vec![0u32; (width + 1) * (height + 1)];
    for y in 0..height {
        let mut row = 0;
        for x in 0..width {
            row += u32::from(picture.pixels[y * width + x]);
            sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row;
        }
    }
    let mut ink = Vec::with_capacity(width * height);
    for y in 0..height {
        let (top, bottom) = (y.saturating_sub(SURROUNDINGS), (y + SURROUNDINGS + 1).min(height));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(SURROUNDINGS), (x + SURROUNDINGS + 1).min(width));
            let at = |y: usize, x: usize| sums[y * (width + 1) + x];
            let sum = at(bottom, right) + at(top, left) - at(top, right) - at(bottom, left);
            let mean = sum / ((bottom - top) * (right - left)) as u32;
            ink.push(u32::from(picture.pixels[y * width + x]) + CONTRAST < mean);
        }
    }
    ink
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawn;

    #[test]
    fn the_slope_of_lines_is_found_to_a_tenth_of_a_degree() {
        for degrees in [-7.5, -3.2, -0.5, 0.0, 0.3, 1.1, 5.0] {
            let found = drawn::text(1240, 1754).sloping(degrees).skew();
            assert!((found - degrees).abs() <= 0.1, "{found} instead of {degrees}");
        }
    }

    #[test]
    fn shade_over_the_page_changes_nothing() {
        let mut page = drawn::text(900, 1200).sloping(2.0);
        for (i, pixel) in page.pixels.iter_mut().enumerate() {
            let x = i % 900;
            *pixel = (u32::from(*pixel) * (1100 - x as u32) / 1100) as u8;
        }
        assert!((page.skew() - 2.0).abs() <= 0.1);
    }

    #[test]
    fn what_is_not_text_is_left_alone() {
        assert_eq!(Pixmap::white(800, 600, Channels::Grey).skew(), 0.0);
        assert_eq!(Pixmap::white(1, 1, Channels::Rgb).skew(), 0.0);
        assert_eq!(drawn::noise(800, 600).skew(), 0.0);
        assert_eq!(drawn::blobs(800, 600).skew(), 0.0);
    }

    #[test]
    fn levelling_undoes_the_slope_and_loses_nothing() {
        let page = drawn::text(900, 1200).sloping(4.0);
        let level = page.levelled(page.skew());
        assert!(level.skew().abs() <= 0.1, "{}", level.skew());
        assert!(level.width > page.width && level.height > page.height);
        let dark = |picture: &Pixmap| picture.pixels.iter().map(|p| 255 - u64::from(*p)).sum::<u64>() as f64;
        assert!((dark(&level) / dark(&page) - 1.0).abs() < 0.01, "ink was lost");
        assert_eq!([level.pixels[0], *level.pixels.last().unwrap()], [255, 255]);
    }
}
