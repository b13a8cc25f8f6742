//! What is drawn on a page besides text and pictures: rules (straight horizontal and vertical strokes, the evidence of
//! tables) and the boxes of all other paths.
//!
//! The law: what cannot be seen on white paper does not count. A filled rectangle as thin as a stroke is a rule, for
//! that is how word processors draw borders; a stroked rectangle is four.

use super::{
    View,
    geometry::{Matrix, Rect},
    library::{Object, Outlines, PdfPage},
};
use deckle_contract::document::{Bbox, Drawing};

/// Thicker than this, in points, is a bar rather than a rule.
const THICKEST_RULE: f32 = 3.0;

/// A stroke whose ends differ by less than this across its direction, in points, is horizontal or vertical.
const STRAIGHT: f32 = 0.5;

/// Shorter strokes, in points, are dots and ticks.
const SHORTEST_RULE: f32 = 1.5;

/// A page has at most this many rules, and as many other paths, that are kept; what is beyond belongs to a map or a
/// plan, of which these say enough.
const MOST: usize = 20_000;

/// A path of more segments is a drawing whatever its segments are; of those only the box is kept.
const MOST_SEGMENTS: usize = 50_000;

/// Gathers the drawing of one page.
#[derive(Default)]
pub(super) struct Paths {
    drawing: Drawing,
}

impl Paths {
    /// Takes a path object; `outer` leads from its surroundings to the page.
    pub(super) fn add(&mut self, page: &PdfPage<'_>, view: &View, path: Object<'_>, outer: &Matrix) {
        if self.drawing.paths.len() >= MOST && self.drawing.rules.len() >= MOST {
            return;
        }
        let whole = || view.bbox(outer.apply(page.bounds(path)?));
        let Some(outlines) = page.outlines(path, MOST_SEGMENTS) else {
            self.drawing.paths.extend(whole());
            return;
        };
        if !outlines.filled && outlines.stroked.is_none() {
            return;
        }
        let to_page = page.matrix(path).then(outer);
        match strokes(&outlines, &to_page) {
            Some(strokes) => self.extend(strokes.into_iter().filter_map(|rect| view.bbox(rect))),
            None => self.drawing.paths.extend(whole()),
        }
    }

    fn extend(&mut self, boxes: impl Iterator<Item = Bbox>) {
        for bbox in boxes {
            if is_rule(&bbox) {
                self.drawing.rules.push(bbox);
            } else {
                self.drawing.paths.push(bbox);
            }
        }
    }

    /// What was found, no more of it than is kept.
    pub(super) fn finish(mut self) -> Drawing {
        self.drawing.rules.truncate(MOST);
        self.drawing.paths.truncate(MOST);
        self.drawing
    }
}

fn is_rule(bbox: &Bbox) -> bool {
    let (long, thin) = (bbox.width().max(bbox.height()), bbox.width().min(bbox.height()));
    thin <= THICKEST_RULE && long >= SHORTEST_RULE && long >= thin * 2.0
}

/// A path in the page's coordinates as the boxes of its sides (where stroked) and of its rectangles (where filled);
/// `None` when any part of it is neither.
fn strokes(outlines: &Outlines, to_page: &Matrix) -> Option<Vec<Rect>> {
    if outlines.curved {
        return None;
    }
    let mut found = Vec::new();
    for subpath in &outlines.subpaths {
        let corners: Vec<(f32, f32)> = subpath.iter().map(|corner| to_page.point(*corner)).collect();
        let sides = corners.windows(2).map(|side| (side[0], side[1]));
        let around = Rect {
            left: corners.iter().map(|(x, _)| *x).fold(f32::MAX, f32::min),
            right: corners.iter().map(|(x, _)| *x).fold(f32::MIN, f32::max),
            bottom: corners.iter().map(|(_, y)| *y).fold(f32::MAX, f32::min),
            top: corners.iter().map(|(_, y)| *y).fold(f32::MIN, f32::max),
        };
        let straight =
            sides.clone().all(|((ax, ay), (bx, by))| (ax - bx).abs() < STRAIGHT || (ay - by).abs() < STRAIGHT);
        if !straight {
            return None;
        }
        if let Some(width) = outlines.stroked {
            let half = width * to_page.scale() / 2.0;
            found.extend(sides.filter(|(a, b)| a != b).map(|((ax, ay), (bx, by))| {
                let level = (ay - by).abs() < (ax - bx).abs();
                let (across, along) = if level { (0.0, half) } else { (half, 0.0) };
                Rect {
                    left: ax.min(bx) - across,
                    right: ax.max(bx) + across,
                    bottom: ay.min(by) - along,
                    top: ay.max(by) + along,
                }
            }));
        }
        if outlines.filled {
            // A side may be left out: a fill closes itself.
            match corners.len() {
                4 | 5 => found.push(around),
                0..=2 => {}
                _ => return None,
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(subpaths: &[&[(f32, f32)]], filled: bool, stroked: Option<f32>, matrix: Matrix) -> Option<Vec<Rect>> {
        let subpaths = subpaths.iter().map(|corners| corners.to_vec()).collect();
        strokes(&Outlines { subpaths, curved: false, filled, stroked }, &matrix)
    }

    fn rect(left: f32, bottom: f32, right: f32, top: f32) -> Rect {
        Rect { left, bottom, right, top }
    }

    const SQUARE: [(f32, f32); 5] = [(0.0, 0.0), (50.0, 0.0), (50.0, 20.0), (0.0, 20.0), (0.0, 0.0)];

    #[test]
    fn a_stroked_rectangle_is_four_sides_as_thick_as_the_pen() {
        let sides = drawn(&[&SQUARE], false, Some(1.0), Matrix([2.0, 0.0, 0.0, 2.0, 10.0, 0.0])).unwrap();
        assert_eq!(sides.len(), 4);
        assert_eq!(sides[0], rect(10.0, -1.0, 110.0, 1.0));
        assert_eq!(sides[1], rect(109.0, 0.0, 111.0, 40.0));
    }

    #[test]
    fn a_turned_page_turns_its_strokes() {
        let sides = drawn(&[&[(0.0, 5.0), (30.0, 5.0)]], false, Some(0.0), Matrix([0.0, 1.0, -1.0, 0.0, 0.0, 0.0]));
        assert_eq!(sides.unwrap(), [rect(-5.0, 0.0, -5.0, 30.0)]);
    }

    #[test]
    fn filled_rectangles_are_themselves_and_slanted_lines_are_no_strokes() {
        assert_eq!(drawn(&[&SQUARE], true, None, Matrix::IDENTITY).unwrap(), [rect(0.0, 0.0, 50.0, 20.0)]);
        assert!(drawn(&[&[(0.0, 0.0), (30.0, 9.0)]], false, Some(1.0), Matrix::IDENTITY).is_none());
    }

    #[test]
    fn thin_and_long_is_a_rule() {
        let bbox = |width, height| Bbox { left: 0.0, top: 0.0, right: width, bottom: height };
        assert!(is_rule(&bbox(100.0, 0.5)) && is_rule(&bbox(0.0, 12.0)) && is_rule(&bbox(300.0, 3.0)));
        assert!(!is_rule(&bbox(100.0, 20.0)) && !is_rule(&bbox(0.5, 0.5)) && !is_rule(&bbox(3.0, 4.0)));
    }
}
