//! Boxes around lines of text, from the detector's map of probabilities. Pure.
//!
//! The steps are those of DB ("Real-time Scene Text Detection with Differentiable Binarization", Liao et al. 2020) with
//! PP-OCR's numbers: a threshold, connected pixels, their mean probability, the rectangle of least area around them,
//! and growing it again, because the network is trained on shrunken text. A rectangle grows in closed form: a polygon
//! clipper would give the same.
//!
//! `imageproc` has such a rectangle, too, with corners on whole pixels of the map, which are larger than those
//! of the page: it would move every box.

use deckle_imaging::Quad;

/// Pixels that are text with more than this probability belong to a box.
const THRESHOLD: f32 = 0.3;
/// A box is text when the mean probability of its pixels is at least this. Of its own pixels and not of all in its
/// rectangle, which is mostly empty around a line with a tall initial.
const LEAST_SCORE: f32 = 0.5;
/// How far a box grows: its area over its perimeter, times this.
const UNCLIP: f32 = 1.6;
/// Shorter sides are specks; in pixels of the map.
const LEAST_SIDE: f32 = 3.0;

/// The detector's answer: how likely each pixel is text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 0..1, row by row.
    pub values: Vec<f32>,
}

/// A rectangle, turned by any angle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    /// Its middle.
    pub centre: [f32; 2],
    /// Direction of its width, of length 1 and at most 45° from level, to the right.
    pub along: [f32; 2],
    /// Length of the sides along that direction.
    pub width: f32,
    /// Length of the other sides.
    pub height: f32,
}

impl Rectangle {
    /// Its corners, clockwise from the top left.
    pub(super) fn corners(&self) -> Quad {
        let [x, y] = self.along;
        let (w, h) = (self.width / 2.0, self.height / 2.0);
        [(-w, -h), (w, -h), (w, h), (-w, h)]
            .map(|(u, v)| [self.centre[0] + u * x - v * y, self.centre[1] + u * y + v * x])
    }

    /// Grown on all sides by its area over its perimeter, times a factor.
    fn unclipped(&self, factor: f32) -> Self {
        let distance = self.width * self.height * factor / (2.0 * (self.width + self.height));
        Self { width: self.width + 2.0 * distance, height: self.height + 2.0 * distance, ..*self }
    }
}

/// The boxes of a map, in its pixels, from top to bottom.
pub(super) fn boxes(map: &Map) -> Vec<Rectangle> {
    let mut found: Vec<Rectangle> = components(map)
        .iter()
        .filter_map(|component| {
            let around = smallest_rectangle(&hull(&component.ends()))?;
            let is_text = around.width.min(around.height) >= LEAST_SIDE && component.score(map) >= LEAST_SCORE;
            is_text.then(|| around.unclipped(UNCLIP))
        })
        .filter(|grown| grown.width.min(grown.height) >= LEAST_SIDE + 2.0)
        .collect();
    let order = |r: &Rectangle| (r.centre[1] - r.height / 2.0, r.centre[0]);
    found.sort_by(|a, b| order(a).0.total_cmp(&order(b).0).then(order(a).1.total_cmp(&order(b).1)));
    found
}

/// Touching pixels.
struct Component {
    /// Its first row.
    top: usize,
    /// For each row from there on the first and the last pixel.
    rows: Vec<(usize, usize)>,
}

impl Component {
    /// The ends of its rows: corners of its outline, and points on it.
    fn ends(&self) -> Vec<[f32; 2]> {
        let ends = (self.top..).zip(&self.rows).flat_map(|(y, (first, last))| [(*first, y), (*last, y)]);
        ends.map(|(x, y)| [x as f32, y as f32]).collect()
    }

    /// Mean probability from the first to the last pixel of its rows.
    fn score(&self, map: &Map) -> f32 {
        let (mut sum, mut count) = (0.0, 0);
        for (row, (first, last)) in map.values.chunks_exact(map.width.max(1)).skip(self.top).zip(&self.rows) {
            // The last pixel is the dilation's.
            let row = &row[*first..*last];
            sum += row.iter().sum::<f32>();
            count += row.len();
        }
        if count == 0 { 0.0 } else { sum / count as f32 }
    }
}

/// Components of touching pixels above the threshold, after a 2 × 2 dilation to the right and down. The dilation makes a
/// pixel's index the coordinate of its edge: pixels 3 to 7 become 3 to 8, the edges of what they were.
fn components(map: &Map) -> Vec<Component> {
    let (width, height) = (map.width + 1, map.height + 1);
    let mut open = vec![false; width * height];
    for (y, row) in map.values.chunks_exact(map.width.max(1)).enumerate() {
        for (x, value) in row.iter().enumerate() {
            if *value > THRESHOLD {
                for at in [y * width + x, (y + 1) * width + x] {
                    open[at] = true;
                    open[at + 1] = true;
                }
            }
        }
    }
    let mut components = Vec::new();
    let mut reached = Vec::new();
    for start in 0..open.len() {
        if !open[start] {
            continue;
        }
        open[start] = false;
        reached.push(start);
        // First and last pixel of each row, from the component's first row on: it is met in the order of rows.
        let top = start / width;
        let mut rows: Vec<(usize, usize)> = Vec::new();
        while let Some(at) = reached.pop() {
            let (x, y) = (at % width, at / width);
            if rows.len() <= y - top {
                rows.resize(y - top + 1, (usize::MAX, 0));
            }
            let (first, last) = &mut rows[y - top];
            (*first, *last) = ((*first).min(x), (*last).max(x));
            for y in y.saturating_sub(1)..(y + 2).min(height) {
                for x in x.saturating_sub(1)..(x + 2).min(width) {
                    let near = y * width + x;
                    if open[near] {
                        open[near] = false;
                        reached.push(near);
                    }
                }
            }
        }
        components.push(Component { top, rows });
    }
    components
}

/// Twice the area of the triangle, positive where it turns clockwise on a screen.
fn cross(o: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
}

/// The convex hull (Andrew's monotone chain), each corner once.
fn hull(points: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    sorted.dedup();
    if sorted.len() < 3 {
        return sorted;
    }
    let chain = |points: &mut dyn Iterator<Item = &[f32; 2]>| {
        let mut chain: Vec<[f32; 2]> = Vec::new();
        for point in points {
            while chain.len() >= 2 && cross(chain[chain.len() - 2], chain[chain.len() - 1], *point) <= 0.0 {
                chain.pop();
            }
            chain.push(*point);
        }
        chain.pop();
        chain
    };
    let mut hull = chain(&mut sorted.iter());
    hull.extend(chain(&mut sorted.iter().rev()));
    hull
}

/// The rectangle of least area around a convex polygon: one of its sides lies on one of the polygon's. `None` for fewer
/// than three corners. Components have tens of corners, so each side looks at all of them.
fn smallest_rectangle(hull: &[[f32; 2]]) -> Option<Rectangle> {
    let sides = hull.iter().zip(hull.iter().cycle().skip(1));
    let around = sides.filter(|_| hull.len() >= 3).map(|(a, b)| {
        let length = (b[0] - a[0]).hypot(b[1] - a[1]);
        around(hull, level([(b[0] - a[0]) / length, (b[1] - a[1]) / length]))
    });
    around.min_by(|a, b| (a.width * a.height).total_cmp(&(b.width * b.height)))
}

/// Of a direction and its quarter turns, the one nearest to rightwards.
fn level([x, y]: [f32; 2]) -> [f32; 2] {
    if x.abs() >= y.abs() { [x.abs(), y * x.signum()] } else { [y.abs(), -x * y.signum()] }
}

fn around(points: &[[f32; 2]], along: [f32; 2]) -> Rectangle {
    let [x, y] = along;
    let range = |value: &dyn Fn(&[f32; 2]) -> f32| {
        points.iter().map(value).fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = range(&|p| p[0] * x + p[1] * y);
    let (top, bottom) = range(&|p| p[1] * x - p[0] * y);
    let (u, v) = ((left + right) / 2.0, (top + bottom) / 2.0);
    Rectangle { centre: [u * x - v * y, u * y + v * x], along, width: right - left, height: bottom - top }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A map with probability 0.9 in the rectangles.
    fn map(width: usize, height: usize, rectangles: &[Rectangle]) -> Map {
        let inside = |x: f32, y: f32, r: &Rectangle| {
            let (dx, dy) = (x - r.centre[0], y - r.centre[1]);
            let (u, v) = (dx * r.along[0] + dy * r.along[1], dy * r.along[0] - dx * r.along[1]);
            u.abs() <= r.width / 2.0 && v.abs() <= r.height / 2.0
        };
        let value = |i: usize| {
            let (x, y) = ((i % width) as f32 + 0.5, (i / width) as f32 + 0.5);
            if rectangles.iter().any(|r| inside(x, y, r)) { 0.9 } else { 0.01 }
        };
        Map { width, height, values: (0..width * height).map(value).collect() }
    }

    fn level_box(left: f32, top: f32, width: f32, height: f32) -> Rectangle {
        Rectangle { centre: [left + width / 2.0, top + height / 2.0], along: [1.0, 0.0], width, height }
    }

    #[test]
    fn a_level_line_grows_by_its_area_over_its_perimeter() {
        let found = boxes(&map(200, 60, &[level_box(20.0, 20.0, 100.0, 10.0)]));
        let distance = 100.0 * 10.0 * 1.6 / 220.0;
        assert_eq!(found, [level_box(20.0 - distance, 20.0 - distance, 100.0 + 2.0 * distance, 10.0 + 2.0 * distance)]);
    }

    #[test]
    fn specks_and_faint_spots_are_no_lines() {
        assert_eq!(boxes(&map(50, 50, &[level_box(10.0, 10.0, 20.0, 2.0)])), []);
        let mut faint = map(50, 50, &[level_box(10.0, 10.0, 20.0, 8.0)]);
        faint.values.iter_mut().for_each(|value| *value *= 0.5);
        assert_eq!(boxes(&faint), []);
        assert_eq!(boxes(&Map { width: 0, height: 0, values: Vec::new() }), []);
    }

    #[test]
    fn a_line_with_a_tall_initial_is_a_line() {
        let line = [level_box(20.0, 40.0, 300.0, 8.0), level_box(20.0, 24.0, 16.0, 24.0)];
        let found = boxes(&map(360, 80, &line));
        assert_eq!(found.len(), 1);
        assert!(found[0].width > 300.0 && found[0].height > 24.0, "{found:?}");
    }

    #[test]
    fn lines_come_from_top_to_bottom_and_touching_the_border_is_no_harm() {
        let lines =
            [level_box(0.0, 0.0, 60.0, 8.0), level_box(40.0, 40.0, 60.0, 20.0), level_box(0.0, 70.0, 30.0, 8.0)];
        let tops: Vec<f32> = boxes(&map(100, 78, &lines)).iter().map(|b| b.centre[1]).collect();
        assert_eq!(tops, [4.0, 50.0, 74.0]);
    }

    proptest! {
        #[test]
        fn a_turned_line_is_found_with_its_angle(
            degrees in -40.0..40.0_f32, width in 80.0..140.0_f32, height in 10.0..20.0_f32,
        ) {
            let (sin, cos) = degrees.to_radians().sin_cos();
            let line = Rectangle { centre: [100.0, 100.0], along: [cos, sin], width, height };
            let found = boxes(&map(200, 200, &[line]));
            prop_assert_eq!(found.len(), 1);
            let [found] = found[..] else { unreachable!() };
            let expected = line.unclipped(UNCLIP);
            prop_assert!((found.centre[0] - 100.0).abs() < 1.5 && (found.centre[1] - 100.0).abs() < 1.5, "{:?}", found);
            prop_assert!((found.width - expected.width).abs() < 6.0, "{:?} {:?}", found, expected);
            prop_assert!((found.height - expected.height).abs() < 6.0, "{:?} {:?}", found, expected);
            let turned = (found.along[0] * sin - found.along[1] * cos).abs();
            prop_assert!(turned < 0.05, "{:?}", found);
        }

        #[test]
        fn the_rectangle_holds_every_point_and_no_other_direction_is_smaller(
            points in prop::collection::vec(prop::array::uniform2(-50.0..50.0_f32), 3..40), degrees in -45.0..45.0_f32,
        ) {
            let Some(smallest) = smallest_rectangle(&hull(&points)) else { return Ok(()) };
            let [x, y] = smallest.along;
            for point in &points {
                let (dx, dy) = (point[0] - smallest.centre[0], point[1] - smallest.centre[1]);
                prop_assert!((dx * x + dy * y).abs() <= smallest.width / 2.0 + 0.01);
                prop_assert!((dy * x - dx * y).abs() <= smallest.height / 2.0 + 0.01);
            }
            let (sin, cos) = degrees.to_radians().sin_cos();
            let other = around(&points, [cos, sin]);
            prop_assert!(smallest.width * smallest.height <= other.width * other.height * 1.001);
            prop_assert!(x >= y.abs() - 1e-6);
        }
    }
}
