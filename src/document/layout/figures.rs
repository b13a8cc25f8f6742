//! Pictures among the text, and the captions that belong to pictures and tables.

use super::super::{Bbox, BlockKind, Page};
use super::{Draft, Measured, Metrics};

/// Below this share of the page an image is an ornament.
const LEAST_SHARE: f32 = 0.004;
/// Above this share an image is the page itself: a scan, or a background.
const WHOLE_SHARE: f32 = 0.7;

/// The pictures to place among the text, each with the indexes of the lines that stand in it.
///
/// Images that lie in one another or overlap for the most part are one picture.
pub fn pictures(page: &Page, lines: &[&Measured<'_>]) -> Vec<(Bbox, Vec<usize>)> {
    let area = (page.width * page.height).max(1.0);
    let whole = Bbox { left: 0.0, top: 0.0, right: page.width, bottom: page.height };
    let mut boxes: Vec<Bbox> = Vec::new();
    let mut images: Vec<Bbox> = page
        .images
        .iter()
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
    for bbox in boxes {
        let inside: Vec<usize> = lines
            .iter()
            .filter(|line| {
                let (x, y) = ((line.bbox.left + line.bbox.right) / 2.0, (line.bbox.top + line.bbox.bottom) / 2.0);
                x > bbox.left && x < bbox.right && y > bbox.top && y < bbox.bottom
            })
            .map(|line| line.index)
            .filter(|index| !pictures.iter().any(|(_, taken)| taken.contains(index)))
            .collect();
        let is_background = inside.len() > 4 && inside.len() * 2 > lines.len();
        if !is_background && bbox.area() < area * WHOLE_SHARE {
            pictures.push((bbox, inside));
        }
    }
    pictures
}

/// Words that a caption begins with, in lower case.
const CAPTION_WORDS: &[&str] = &[
    "figure",
    "fig",
    "table",
    "tab",
    "abbildung",
    "abb",
    "tabelle",
    "bild",
    "tableau",
    "figura",
    "tabla",
    "chart",
    "exhibit",
    "plate",
    "photo",
    "scheme",
    "listing",
    "algorithm",
    "grafik",
    "diagram",
];

/// Marks captions: blocks that name a figure or table with its number.
pub fn captions(drafts: &mut [Draft<'_>], metrics: &Metrics) {
    for at in 0..drafts.len() {
        let draft = &drafts[at];
        if !matches!(draft.kind, BlockKind::Text | BlockKind::SectionHeader) {
            continue;
        }
        let Some(rest) = caption_rest(&draft.text) else { continue };
        let is_named = rest.starts_with(['.', ':', '|', '–', '—', '-']);
        // "Figure 3 shows …" is a sentence of the text.
        let is_sentence = rest.trim_start().starts_with(char::is_lowercase);
        let beside = |other: Option<&Draft<'_>>| {
            other.is_some_and(|other| {
                let (a, b) = (draft.bbox(), other.bbox());
                let gap = (a.top - b.bottom).max(b.top - a.bottom);
                matches!(other.kind, BlockKind::Picture | BlockKind::Table) && gap < metrics.body * 3.0
            })
        };
        let neighbours = beside(at.checked_sub(1).map(|before| &drafts[before])) || beside(drafts.get(at + 1));
        if is_named || (neighbours && !is_sentence) || (rest.is_empty() && draft.chars() < 40) {
            drafts[at].kind = BlockKind::Caption;
            drafts[at].level = None;
        }
    }
}

/// What follows `Figure 3` at the beginning of a text; `None` when it does not begin so.
fn caption_rest(text: &str) -> Option<&str> {
    let (word, rest) = text.split_once([' ', '\u{a0}'])?;
    let name = word.trim_end_matches('.').to_lowercase();
    if !CAPTION_WORDS.contains(&name.as_str()) {
        return None;
    }
    let number = rest.find(|c: char| c.is_whitespace() || ":|–—".contains(c)).unwrap_or(rest.len());
    let number = rest[..number].trim_end_matches(['.', '-']);
    let counts = number.chars().next().is_some_and(|c| c.is_ascii_digit())
        || !number.is_empty() && number.chars().all(|c| "IVXLC".contains(c))
        || number.len() == 1 && number.chars().all(|c| c.is_ascii_uppercase());
    (counts && number.chars().count() <= 8).then(|| &rest[number.len()..])
}
