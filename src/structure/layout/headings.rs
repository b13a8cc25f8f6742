//! Kinds of text blocks: title, section headings with their depth, footnotes.

use super::{Draft, Metrics, regions::Votes, text};
use deckle_contract::document::{BlockKind, RegionKind};

/// A heading has at most this many characters.
const LONGEST: usize = 200;
/// A heading has at most this many lines.
const LINES: usize = 5;

/// Gives text blocks their kind by size and weight against the page's body, and headings their depth.
pub(super) fn classify(drafts: &mut [Draft<'_>], metrics: &Metrics, votes: &Votes) {
    for at in 0..drafts.len() {
        if drafts[at].kind == BlockKind::Text || drafts[at].kind == BlockKind::ListItem {
            if is_heading(&drafts[at], drafts.get(at + 1), metrics, votes) {
                let draft = &mut drafts[at];
                if let Some(marker) = draft.marker.take() {
                    draft.text = format!("{marker} {}", draft.text);
                }
                draft.kind = BlockKind::SectionHeader;
                draft.level = None;
            } else if is_footnote(&drafts[at], metrics) {
                let draft = &mut drafts[at];
                if let Some(marker) = draft.marker.take() {
                    draft.text = format!("{marker} {}", draft.text);
                }
                draft.kind = BlockKind::Footnote;
                draft.level = None;
            }
        }
    }
    demote_common(drafts);
    title(drafts, metrics);
    let heading =
        |draft: &Draft<'_>| (draft.kind == BlockKind::SectionHeader).then(|| (draft.size(), parts(&draft.text)));
    let headings = drafts.iter().map(heading).collect();
    for (draft, level) in drafts.iter_mut().zip(levels(headings)) {
        draft.level = level.or(draft.level);
    }
}

/// Distinct depths of headings; readers and their Markdown know no more.
const DEPTHS: usize = 4;

/// Depths of headings from their sizes, 1 for the largest, and from the parts of their numbers. Sizes within a twelfth
/// are one step; of more than [`DEPTHS`] steps the rarest go, and their headings count as the next smaller step that is
/// left. Numbered headings are as deep as their numbers say, however their sizes were measured.
pub(super) fn levels(headings: Vec<Option<(f32, usize)>>) -> Vec<Option<u8>> {
    let mut levels = levels_by_size(headings.iter().map(|heading| heading.map(|(size, _)| size)).collect());
    // How many levels the numbers begin below the top, by most of them.
    let mut offsets: Vec<(i32, usize)> = Vec::new();
    for (level, (_, parts)) in levels.iter().zip(&headings).filter_map(|(level, heading)| (*level).zip(*heading)) {
        let offset = i32::from(level) - parts as i32;
        match offsets.iter_mut().find(|(other, _)| *other == offset) {
            _ if parts == 0 => {}
            Some((_, count)) => *count += 1,
            None => offsets.push((offset, 1)),
        }
    }
    let numbered: usize = offsets.iter().map(|(_, count)| count).sum();
    let most = offsets.into_iter().max_by_key(|(offset, count)| (*count, -offset.abs()));
    if let Some((offset, _)) = most.filter(|_| numbered >= 2) {
        for (level, heading) in levels.iter_mut().zip(&headings) {
            if let Some((_, parts @ 1..)) = heading {
                *level = Some((*parts as i32 + offset).clamp(1, 6) as u8);
            }
        }
    }
    levels
}

/// The parts of the number that a heading begins with: 2 for `3.1 Results`, 0 without a number.
pub(super) fn parts(text: &str) -> usize {
    let Some((number, rest)) = text.split_once(char::is_whitespace) else { return 0 };
    let number = number.strip_suffix('.').unwrap_or(number);
    let is_part = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts = number.split('.').count();
    if parts <= 5 && number.split('.').all(is_part) && rest.chars().any(char::is_alphabetic) { parts } else { 0 }
}

fn levels_by_size(sizes: Vec<Option<f32>>) -> Vec<Option<u8>> {
    let mut sorted: Vec<f32> = sizes.iter().flatten().copied().collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut steps: Vec<(f32, usize)> = Vec::new();
    for size in sorted {
        match steps.last_mut() {
            Some((start, count)) if size >= *start * SAME => *count += 1,
            _ => steps.push((size, 1)),
        }
    }
    while steps.len() > DEPTHS {
        let rarest = (0..steps.len()).min_by_key(|at| steps[*at].1).unwrap_or(0);
        steps.remove(rarest);
    }
    let depth = |size: f32| (steps.partition_point(|(start, _)| size < start * SAME) + 1).min(steps.len().max(1));
    sizes.into_iter().map(|size| size.map(|size| depth(size) as u8)).collect()
}

/// Sizes down to this share of the step's largest are the same step.
const SAME: f32 = 0.92;

/// Where much of a page is larger than its body, as on slides, size alone makes no heading: only the largest stay.
fn demote_common(drafts: &mut [Draft<'_>]) {
    let chars = |kind: Option<BlockKind>| -> usize {
        let counted = drafts.iter().filter(|draft| kind.is_none_or(|kind| draft.kind == kind));
        counted.map(Draft::chars).sum()
    };
    if chars(Some(BlockKind::SectionHeader)) * 100 <= chars(None) * 35 {
        return;
    }
    let is_header = |draft: &&Draft<'_>| draft.kind == BlockKind::SectionHeader;
    let largest = drafts.iter().filter(is_header).map(Draft::size).fold(0.0, f32::max);
    for draft in drafts.iter_mut() {
        if draft.kind == BlockKind::SectionHeader && draft.size() < largest * SAME {
            draft.kind = BlockKind::Text;
        }
    }
}

fn is_heading(draft: &Draft<'_>, next: Option<&Draft<'_>>, metrics: &Metrics, votes: &Votes) -> bool {
    let chars = draft.chars();
    if draft.marker.as_deref().is_some_and(|marker| !text::is_counted(marker)) {
        return false;
    }
    if draft.lines.len() > LINES || chars > LONGEST || !is_wordy(&draft.text) {
        return false;
    }
    let ratio = draft.size() / metrics.body;
    let sentence =
        draft.text.ends_with(['.', ',', ';']) || text::starts_lower(&draft.text) && !starts_number(&draft.text);
    if ratio >= if metrics.exact { 1.15 } else { 1.35 } {
        return !(sentence && ratio < 1.5 && chars > 60);
    }
    if ratio < 0.92 || sentence && chars > 40 {
        return false;
    }
    // What stands apart like a heading, in a weight or size that tells nothing (italics, a scan), the model may name.
    if (draft.apart || ratio > 1.12) && chars <= 120 && votes.kind_of(&draft.lines) == Some(RegionKind::Title) {
        return !sentence && next.is_some_and(|next| next.kind != BlockKind::Picture);
    }
    // A bold line, or one in capitals, with text of its own below it.
    let followed = next.is_some_and(|next| {
        !matches!(next.kind, BlockKind::Picture) && next.leaf == draft.leaf && !text::starts_lower(&next.text)
    });
    let bold = draft.is_bold() && !metrics.mostly_bold && chars <= 120;
    let capitals =
        draft.apart && !draft.text.contains(':') && draft.lines.len() <= 2 && chars <= 80 && is_capitals(&draft.text);
    let labels = draft.text.ends_with(':') && draft.marker.is_some();
    metrics.exact
        && followed
        && !labels
        && !draft.fields
        && (bold || capitals)
        && !(draft.text.ends_with(',') || draft.text.ends_with(';'))
}

/// Whether letters prevail: sums of money and rows of dots are no headings.
fn is_wordy(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let all = text.chars().filter(|c| !c.is_whitespace()).count();
    letters >= 2 && letters * 2 >= all
}

fn is_capitals(text: &str) -> bool {
    let upper = text.chars().filter(|c| c.is_uppercase()).count();
    upper >= 6 && !text.chars().any(char::is_lowercase) && text.split_whitespace().count() >= 2
}

fn starts_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// The title: the largest heading in the upper half of the first page, if it is larger than the other headings' size
/// or stands first.
fn title(drafts: &mut [Draft<'_>], metrics: &Metrics) {
    if metrics.page_no != 1 {
        return;
    }
    let upper = |draft: &Draft<'_>| draft.bbox().top < metrics.height * 0.5;
    let mut best: Option<(usize, f32)> = None;
    for (at, draft) in drafts.iter().enumerate() {
        let size = draft.size();
        if draft.kind == BlockKind::SectionHeader
            && upper(draft)
            && best.is_none_or(|(_, largest)| size > largest * 1.02)
        {
            best = Some((at, size));
        }
    }
    if let Some((at, size)) = best
        && size >= metrics.body * 1.2
    {
        drafts[at].kind = BlockKind::Title;
    }
}

/// Small print at the bottom of the page that begins with a mark.
fn is_footnote(draft: &Draft<'_>, metrics: &Metrics) -> bool {
    let marked = draft.marker.is_some()
        || draft.text.starts_with(|c: char| "*†‡§¶".contains(c) || c.is_ascii_digit() || "¹²³⁴⁵⁶⁷⁸⁹".contains(c));
    marked && draft.size() < metrics.body * 0.9 && draft.bbox().top > metrics.height * 0.6 && draft.chars() > 12
}
