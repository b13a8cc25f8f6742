//! Words in boxes of their own: a diagram, however well its boxes are aligned.

use super::segments::Segment;
use deckle_contract::document::Bbox;

/// Boxes of a table's cells touch; those of a diagram stand at least this far apart, in points.
const APART: f32 = 1.5;

/// Whether most segments stand in boxes that hold nothing of another column and touch no other box.
pub(super) fn is_diagram(segments: &[(usize, &Segment<'_>)], paths: &[Bbox]) -> bool {
    let Some(whole) = Bbox::around(segments.iter().map(|(_, segment)| &segment.bbox)) else { return false };
    let near: Vec<&Bbox> =
        paths.iter().filter(|path| path.overlap(&whole) > 0.0 && path.area() < whole.area() * 0.5).collect();
    if near.is_empty() {
        return false;
    }
    let touches = |box_: &Bbox| {
        near.iter().any(|other| {
            let gap = |from: f32, to: f32, a: f32, b: f32| (a - to).max(from - b);
            let across = gap(box_.left, box_.right, other.left, other.right);
            let along = gap(box_.top, box_.bottom, other.top, other.bottom);
            let inside = other.overlap(box_) > 0.5 * box_.area().min(other.area());
            !inside && across < APART && along < APART
        })
    };
    let holds = |box_: &Bbox, segment: &Segment<'_>| {
        let (x, y) = ((segment.bbox.left + segment.bbox.right) / 2.0, (segment.bbox.top + segment.bbox.bottom) / 2.0);
        x > box_.left && x < box_.right && y > box_.top && y < box_.bottom
    };
    let own: Vec<&&Bbox> = near
        .iter()
        .filter(|box_| {
            let mut columns = segments.iter().filter(|(_, segment)| holds(box_, segment)).map(|(column, _)| column);
            columns.next().is_some_and(|first| columns.all(|column| column == first)) && !touches(box_)
        })
        .collect();
    let boxed = segments.iter().filter(|(_, segment)| own.iter().any(|box_| holds(box_, segment))).count();
    boxed * 2 > segments.len()
}
