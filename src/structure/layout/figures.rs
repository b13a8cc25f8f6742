//! Pictures among the text, and the captions that belong to pictures and tables.

use std::collections::HashSet;

use super::{
    Draft, Measured, Metrics,
    images::{LEAST_SHARE, WHOLE_SHARE},
    regions::{Votes, holds_middle},
};
use deckle_contract::document::{Bbox, BlockKind, Page, RegionKind, captions::split_caption};

/// The pictures to place among the text, each with the indexes of the lines that stand in it: the file's images, and
/// the figures that a model sees.
///
/// Those that lie in one another or overlap for the most part are one picture. An image under most of the page's text is
/// its background; what was read out of an image is no text over it.
pub(super) fn pictures(
    page: &Page,
    lines: &[&Measured<'_>],
    metrics: &Metrics,
    votes: &Votes,
) -> Vec<(Bbox, Vec<usize>)> {
    let area = (page.width * page.height).max(1.0);
    let whole = Bbox { left: 0.0, top: 0.0, right: page.width, bottom: page.height };
    let mut boxes: Vec<Bbox> = Vec::new();
    let mut images: Vec<Bbox> = page
        .images
        .iter()
        .chain(&votes.figures)
        .filter(|image| [image.left, image.top, image.right, image.bottom].iter().all(|edge| edge.is_finite()))
        .map(|image| Bbox {
            left: image.left.max(whole.left),
            top: image.top.max(whole.top),
            right: image.right.min(whole.right),
            bottom: image.bottom.min(whole.bottom),
        })
        .filter(|image| image.area() >= area * LEAST_SHARE && image.area() < area * WHOLE_SHARE)
        .collect();
    images.sort_by(|a, b| b.area().total_cmp(&a.area()).then(a.top.total_cmp(&b.top)).then(a.left.total_cmp(&b.left)));
    // A page cut into strips or tiles can have thousands; those are no pictures to anybody.
    images.truncate(64);
    for image in images {
        match boxes.iter_mut().find(|larger| larger.overlap(&image) > image.area() * 0.5) {
            Some(larger) => *larger = larger.union(&image),
            None => boxes.push(image),
        }
    }
    let mut pictures: Vec<(Bbox, Vec<usize>)> = Vec::new();
    let mut taken: HashSet<usize> = HashSet::new();
    let of_page = lines.iter().filter(|line| !metrics.is_of_picture(line)).count();
    for image in boxes {
        let bbox = seen_part(image, lines, metrics, votes);
        let inside: Vec<&&Measured<'_>> =
            lines.iter().filter(|line| holds_middle(&bbox, &line.bbox) && !taken.contains(&line.index)).collect();
        let over = inside.iter().filter(|line| !metrics.is_of_picture(line)).count();
        let is_background = over > 4 && over * 2 > of_page;
        if !is_background && bbox.area() < area * WHOLE_SHARE {
            let inside: Vec<usize> = inside.iter().map(|line| line.index).collect();
            taken.extend(&inside);
            pictures.push((bbox, inside));
        }
    }
    pictures
}

/// The part of an image that a model sees a figure in, where that is most of it: masks and white margins reach beyond.
/// What was read out of the image is a part of it, such as the title of a chart.
fn seen_part(image: Bbox, lines: &[&Measured<'_>], metrics: &Metrics, votes: &Votes) -> Bbox {
    let is_in_it = |figure: &&Bbox| figure.overlap(&image) > figure.area() * 0.9 && figure.area() > image.area() * 0.5;
    let Some(seen) = votes.figures.iter().find(is_in_it) else { return image };
    let read = lines.iter().filter(|line| metrics.is_of_picture(line) && holds_middle(&image, &line.bbox));
    read.fold(*seen, |seen, line| seen.union(&line.bbox))
}

/// Marks captions: blocks that name a figure or table with its number.
pub(super) fn captions(drafts: &mut [Draft<'_>], metrics: &Metrics, votes: &Votes) {
    for at in 0..drafts.len() {
        let draft = &drafts[at];
        if !matches!(draft.kind, BlockKind::Text | BlockKind::SectionHeader) {
            continue;
        }
        let beside = |other: Option<&Draft<'_>>| {
            other.is_some_and(|other| {
                let (a, b) = (draft.bbox(), other.bbox());
                let gap = (a.top - b.bottom).max(b.top - a.bottom);
                matches!(other.kind, BlockKind::Picture | BlockKind::Table) && gap < metrics.body * 3.0
            })
        };
        let neighbours = beside(at.checked_sub(1).map(|before| &drafts[before])) || beside(drafts.get(at + 1));
        let is_caption = match split_caption(&draft.text) {
            Some((_, rest)) => {
                let is_named = rest.starts_with(['.', ':', '|', '–', '—', '-']);
                // "Figure 3 shows …" is a sentence of the text.
                let is_sentence = rest.trim_start().starts_with(char::is_lowercase);
                // A name alone is a caption, unless it is set as a heading.
                let is_name = rest.is_empty() && draft.kind == BlockKind::Text;
                is_named || is_name || neighbours && !is_sentence && !rest.is_empty()
            }
            None => {
                let voted = votes.kind_of(&draft.lines);
                neighbours && matches!(voted, Some(RegionKind::FigureCaption | RegionKind::TableCaption))
            }
        };
        if is_caption {
            drafts[at].kind = BlockKind::Caption;
            drafts[at].level = None;
        }
    }
}
