//! Rules put in order: pieces joined to strokes, strokes grouped into frames that can be a table's.

use deckle_contract::document::Bbox;

/// Strokes nearer to each other than this, in points, are one: a double rule, or a border drawn once for each of two
/// cells.
const SNAP: f32 = 2.5;

/// Pieces of one stroke may stand this far apart: word processors leave out corners, scans have breaks.
const GAP: f32 = 3.5;

/// Level strokes whose ends differ by no more than this, in points, are of one width.
const SAME_END: f32 = 6.0;

/// A rule this far above or below a frame, in points, can still belong to it: two lines of a head.
const NEXT: f32 = 30.0;

/// Joined strokes below this are ticks and letters.
const SHORTEST: f32 = 5.0;

/// More strokes of one direction belong to a drawing; the longest are looked at.
const MOST: usize = 1_500;

/// A straight stroke along one axis: `at` on the other one, `from` and `to` along its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stroke {
    pub at: f32,
    pub from: f32,
    pub to: f32,
}

impl Stroke {
    pub(super) fn length(&self) -> f32 {
        self.to - self.from
    }

    /// How much of a stretch it covers, in points.
    pub(super) fn covers(&self, from: f32, to: f32) -> f32 {
        (self.to.min(to) - self.from.max(from)).max(0.0)
    }
}

/// Those of sorted strokes that stand strictly between two places.
pub(super) fn between(strokes: &[Stroke], from: f32, to: f32) -> &[Stroke] {
    let first = strokes.partition_point(|stroke| stroke.at <= from);
    let end = strokes.partition_point(|stroke| stroke.at < to);
    &strokes[first..end.max(first)]
}

/// Strokes that belong together: those that touch, or level ones of one width that stand above each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    /// Level strokes, top to bottom.
    pub across: Vec<Stroke>,
    /// Upright strokes, left to right.
    pub down: Vec<Stroke>,
}

impl Frame {
    /// The box around its strokes.
    pub(super) fn bbox(&self) -> Bbox {
        let level = self.across.iter().map(|s| Bbox { left: s.from, top: s.at, right: s.to, bottom: s.at });
        let upright = self.down.iter().map(|s| Bbox { left: s.at, top: s.from, right: s.at, bottom: s.to });
        level.chain(upright).reduce(|a, b| a.union(&b)).unwrap_or_default()
    }
}

impl Frame {
    /// Whether nearly all strokes end at others, or where another of their direction ends. The axes and pointers of a
    /// figure end anywhere.
    pub(super) fn is_anchored(&self) -> bool {
        if self.down.is_empty() {
            return true;
        }
        let loose = |own: &[Stroke], others: &[Stroke]| {
            let meets = |at: f32, end: f32| {
                others.iter().any(|o| (o.at - end).abs() <= GAP && o.from - GAP <= at && at <= o.to + GAP)
            };
            let shared = |number: usize, end: f32| {
                let others = own.iter().enumerate().filter(|(other, _)| *other != number);
                others.flat_map(|(_, s)| [s.from, s.to]).any(|other| (other - end).abs() <= GAP)
            };
            let ends = own.iter().enumerate().flat_map(|(number, s)| [(number, s.at, s.from), (number, s.at, s.to)]);
            ends.filter(|(number, at, end)| !meets(*at, *end) && !shared(*number, *end)).count()
        };
        let all = (self.across.len() + self.down.len()) * 2;
        let loose = loose(&self.across, &self.down) + loose(&self.down, &self.across);
        loose * 4 <= all
    }
}

/// The frames of a page, and the stacks of level strokes that touch no upright one.
pub(super) fn frames(rules: &[Bbox]) -> (Vec<Frame>, Vec<Frame>) {
    let (across, down) = strokes(rules);
    let (mut frames, mut alone) = touching(&across, &down);
    frames.iter_mut().for_each(|frame| adopt(frame, &mut alone));
    (frames, stacks(&alone))
}

/// Rules whose pieces are joined, as boxes without thickness: word processors draw a piece for each cell.
pub(crate) fn joined(rules: &[Bbox]) -> Vec<Bbox> {
    let (across, down) = strokes(rules);
    let level = across.into_iter().map(|s| Bbox { left: s.from, top: s.at, right: s.to, bottom: s.at });
    let upright = down.into_iter().map(|s| Bbox { left: s.at, top: s.from, right: s.at, bottom: s.to });
    level.chain(upright).collect()
}

/// Level strokes and upright ones.
fn strokes(rules: &[Bbox]) -> (Vec<Stroke>, Vec<Stroke>) {
    let is_sane =
        |b: &&Bbox| [b.left, b.top, b.right, b.bottom].iter().all(|edge| edge.is_finite() && edge.abs() < 1e6);
    let (level, upright): (Vec<&Bbox>, Vec<&Bbox>) =
        rules.iter().filter(is_sane).partition(|rule| rule.width() >= rule.height());
    let across = join(level.iter().map(|b| Stroke { at: (b.top + b.bottom) / 2.0, from: b.left, to: b.right }));
    let down = join(upright.iter().map(|b| Stroke { at: (b.left + b.right) / 2.0, from: b.top, to: b.bottom }));
    (across, down)
}

/// Adds the level strokes above and below a frame that are as wide as those in it, where its upright ones reach out
/// for them beyond its last.
fn adopt(frame: &mut Frame, alone: &mut Vec<Stroke>) {
    let bbox = frame.bbox();
    let whole: Vec<Stroke> = frame.across.iter().filter(|s| s.length() >= bbox.width() * 0.9).copied().collect();
    let reaches_up = frame.across.iter().all(|s| s.at > bbox.top + GAP);
    let reaches_down = frame.across.iter().all(|s| s.at < bbox.bottom - GAP);
    alone.retain(|stroke| {
        let above = stroke.at < bbox.top && stroke.at > bbox.top - NEXT && reaches_up;
        let below = stroke.at > bbox.bottom && stroke.at < bbox.bottom + NEXT && reaches_down;
        let adopted = (above || below) && whole.iter().any(|own| same_ends(own, stroke));
        if adopted {
            frame.across.push(*stroke);
        }
        !adopted
    });
    frame.across.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.from.total_cmp(&b.from)));
}

fn same_ends(a: &Stroke, b: &Stroke) -> bool {
    (a.from - b.from).abs() <= SAME_END && (a.to - b.to).abs() <= SAME_END
}

/// Joins the pieces of each stroke. Sorted by place, then start.
fn join(pieces: impl Iterator<Item = Stroke>) -> Vec<Stroke> {
    let mut pieces: Vec<Stroke> = pieces.collect();
    pieces.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.from.total_cmp(&b.from)).then(a.to.total_cmp(&b.to)));
    let mut joined: Vec<Stroke> = Vec::new();
    let mut start = 0;
    while start < pieces.len() {
        let anchor = pieces[start].at;
        let end = start + pieces[start..].iter().take_while(|piece| piece.at - anchor <= SNAP).count();
        let same = &mut pieces[start..end];
        same.sort_by(|a, b| a.from.total_cmp(&b.from).then(a.to.total_cmp(&b.to)));
        let total: f32 = same.iter().map(|s| s.length().max(0.1)).sum();
        // The place of most of the ink: a short piece beside a long stroke does not move it.
        let at = same.iter().map(|s| s.at * s.length().max(0.1)).sum::<f32>() / total;
        let mut open: Option<Stroke> = None;
        for piece in same.iter() {
            match &mut open {
                Some(stroke) if piece.from <= stroke.to + GAP => stroke.to = stroke.to.max(piece.to),
                _ => joined.extend(open.replace(Stroke { at, ..*piece })),
            }
        }
        joined.extend(open);
        start = end;
    }
    joined.retain(|stroke| stroke.length() >= SHORTEST);
    if joined.len() > MOST {
        joined.sort_by(|a, b| b.length().total_cmp(&a.length()));
        joined.truncate(MOST);
    }
    joined.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.from.total_cmp(&b.from)));
    joined
}

/// Groups strokes that cross or touch; gives back the level ones that touch nothing.
fn touching(across: &[Stroke], down: &[Stroke]) -> (Vec<Frame>, Vec<Stroke>) {
    let mut sets = Sets::new(across.len() + down.len());
    for (column, upright) in down.iter().enumerate() {
        let first = across.partition_point(|level| level.at < upright.from - GAP);
        for (row, level) in across.iter().enumerate().skip(first).take_while(|(_, level)| level.at <= upright.to + GAP)
        {
            if level.from - GAP <= upright.at && upright.at <= level.to + GAP {
                sets.join(row, across.len() + column);
            }
        }
    }
    let mut frames: Vec<(usize, Frame)> = Vec::new();
    let mut number_of = std::collections::HashMap::new();
    let mut alone = Vec::new();
    let members = across.iter().map(|s| (s, true)).chain(down.iter().map(|s| (s, false)));
    for (member, (stroke, level)) in members.enumerate() {
        let root = sets.root(member);
        if sets.size[root] == 1 {
            alone.extend(level.then_some(*stroke));
            continue;
        }
        let number = *number_of.entry(root).or_insert_with(|| {
            frames.push((root, Frame::default()));
            frames.len() - 1
        });
        let frame = &mut frames[number].1;
        if level { frame.across.push(*stroke) } else { frame.down.push(*stroke) }
    }
    (frames.into_iter().map(|(_, frame)| frame).collect(), alone)
}

/// Level strokes of one width above each other, as the rules of a table without upright ones; the shorter strokes
/// between two of them belong to it.
fn stacks(alone: &[Stroke]) -> Vec<Frame> {
    let mut taken = vec![false; alone.len()];
    let mut stacks = Vec::new();
    for first in 0..alone.len() {
        if taken[first] {
            continue;
        }
        let mut across = vec![alone[first]];
        for other in first + 1..alone.len() {
            if !taken[other] && same_ends(&alone[first], &alone[other]) {
                taken[other] = true;
                across.push(alone[other]);
            }
        }
        if across.len() >= 2 {
            let (outer, last) = (across[0], across[across.len() - 1].at);
            let inside = |s: &&Stroke| {
                s.at > outer.at && s.at < last && s.from >= outer.from - SAME_END && s.to <= outer.to + SAME_END
            };
            let partial: Vec<Stroke> = alone.iter().filter(inside).filter(|s| !same_ends(s, &outer)).copied().collect();
            across.extend(partial);
            across.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.from.total_cmp(&b.from)));
            stacks.push(Frame { across, down: Vec::new() });
        }
    }
    stacks
}

/// Disjoint sets of numbers.
pub(super) struct Sets {
    parent: Vec<usize>,
    pub size: Vec<usize>,
}

impl Sets {
    pub(super) fn new(count: usize) -> Self {
        Self { parent: (0..count).collect(), size: vec![1; count] }
    }

    pub(super) fn root(&mut self, mut member: usize) -> usize {
        while self.parent[member] != member {
            self.parent[member] = self.parent[self.parent[member]];
            member = self.parent[member];
        }
        member
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            let (large, small) = if self.size[a] >= self.size[b] { (a, b) } else { (b, a) };
            self.parent[small] = large;
            self.size[large] += self.size[small];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(top: f32, left: f32, right: f32) -> Bbox {
        Bbox { left, top, right, bottom: top + 0.5 }
    }

    fn upright(left: f32, top: f32, bottom: f32) -> Bbox {
        Bbox { left, top, right: left + 0.5, bottom }
    }

    #[test]
    fn pieces_of_a_stroke_are_one() {
        let joined = join(
            [(10.0, 0.0, 50.0), (10.4, 51.0, 90.0), (11.0, 200.0, 240.0), (60.0, 0.0, 2.0)]
                .into_iter()
                .map(|(at, from, to)| Stroke { at, from, to }),
        );
        let ends: Vec<(f32, f32)> = joined.iter().map(|s| (s.from, s.to)).collect();
        assert_eq!(ends, [(0.0, 90.0), (200.0, 240.0)]);
    }

    #[test]
    fn what_touches_is_a_frame_and_two_boxes_are_two() {
        let mut rules = Vec::new();
        for left in [10.0, 200.0] {
            rules.extend([level(10.0, left, left + 100.0), level(60.0, left, left + 100.0)]);
            rules.extend([upright(left, 10.0, 60.0), upright(left + 100.0, 10.0, 60.0)]);
        }
        rules.push(level(300.0, 10.0, 400.0));
        let (frames, stacks) = frames(&rules);
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[0].across.len(), frames[0].down.len(), stacks.len()), (2, 2, 0));
    }

    #[test]
    fn level_rules_of_one_width_are_a_stack_with_what_stands_between() {
        let rules =
            [level(10.0, 50.0, 400.0), level(30.0, 100.0, 200.0), level(40.0, 52.0, 399.0), level(90.0, 50.0, 400.0)];
        let (frames, stacks) = frames(&rules);
        assert!(frames.is_empty());
        assert_eq!(stacks.len(), 1);
        assert_eq!(stacks[0].across.iter().map(|s| s.at).collect::<Vec<_>>(), [10.25, 30.25, 40.25, 90.25]);
    }
}
