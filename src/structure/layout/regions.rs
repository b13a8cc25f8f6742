//! What the votes of a layout model count: pure.
//!
//! The law: the model never decides alone. A figure or table on a page with a text layer needs evidence among the
//! page's own objects; kinds of pages that the model misreads are left to the rules; and a vote moves no line, it only
//! says what the lines in it are.

use super::{Measured, images, tables};
use deckle_contract::document::{Bbox, Method, Page, Region, RegionKind};

/// Votes below this say nothing.
const LEAST_SCORE: f32 = 0.4;
/// On a scan a figure or table has no evidence but the model's own confidence.
const LEAST_SCORE_OF_OBJECTS_ON_SCANS: f32 = 0.5;
/// Share of a box that images cover when it is a figure.
const COVERED: f32 = 0.5;
/// Rules over most of a box make it a table or form, whatever the model calls it.
const RULES: usize = 5;
/// With lines of text on more than this share of its box, a figure is a paragraph: labels cover far less.
const MOST_TEXT: f32 = 0.35;
/// The share of a box's side that is most of it.
const SPANNING: f32 = 0.6;
/// Paths in a box that make it a drawing.
const PATHS: usize = 20;
/// Of two boxes of different classes that share more than this of the smaller, the surer stays.
const SAME_PLACE: f32 = 0.7;

/// Whether a layout model is to be asked about a page: `page.method`, `lines`, `images` and `drawing` must be known,
/// its picture need not.
///
/// Slides, receipts and pages of mathematics read better by rules alone, and so does a page with a text layer on which
/// there is nothing to look at.
pub fn asks_model(page: &Page) -> bool {
    let has_shape = page.width.is_finite() && page.height.is_finite() && page.width > 0.0 && page.height > 0.0;
    if !has_shape || page.method.is_none() || is_slide(page) {
        return false;
    }
    match page.method {
        Some(Method::TextLayer) => {
            let has_objects =
                images::has_images(page) || page.drawing.paths.len() >= PATHS || page.drawing.rules.len() >= RULES;
            has_objects && !is_mathematics(page)
        }
        _ => !is_receipt(page),
    }
}

/// Wider than high, as no page of running text is.
fn is_slide(page: &Page) -> bool {
    page.width > page.height * 1.2
}

/// Short lines throughout: a till's roll is some forty characters wide, and its rows are read in two parts.
fn is_receipt(page: &Page) -> bool {
    let mut chars: Vec<usize> = page.lines.iter().map(|line| line.text.chars().count()).collect();
    chars.sort_unstable();
    chars.len() >= 8 && chars[chars.len() * 9 / 10] <= 32
}

/// Whether signs of mathematics are more than a few among the letters.
fn is_mathematics(page: &Page) -> bool {
    let is_sign = |c: char| {
        matches!(c, '\u{2200}'..='\u{22ff}' | '\u{2a00}'..='\u{2aff}' | '\u{27c0}'..='\u{27ef}' | '\u{1d400}'..='\u{1d7ff}')
            || "=≤≥±×·∂".contains(c)
            || ('\u{391}'..='\u{3c9}').contains(&c)
    };
    let is_greek = |text: &str| text.chars().filter(|c| ('\u{391}'..='\u{3c9}').contains(c)).count() > 6;
    let (mut signs, mut all) = (0, 0);
    for line in page.lines.iter().filter(|line| !line.text.split(' ').any(is_greek)) {
        signs += line.text.chars().filter(|c| is_sign(*c)).count();
        all += line.text.chars().filter(|c| !c.is_whitespace()).count();
    }
    signs * 25 > all
}

/// The votes that count on a page.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// Figures that are borne out, the surest first.
    pub figures: Vec<Bbox>,
    regions: Vec<Region>,
}

impl Votes {
    /// Weighs the votes on a page against its objects.
    pub(super) fn of(page: &Page) -> Self {
        if page.regions.is_empty() || !asks_model(page) {
            return Self::default();
        }
        let whole = Bbox { left: 0.0, top: 0.0, right: page.width, bottom: page.height };
        let rules = tables::joined(&page.drawing.rules);
        let mut cast: Vec<Region> = page
            .regions
            .iter()
            .filter(|region| region.score >= LEAST_SCORE)
            .filter_map(|region| Some(Region { bbox: within(&region.bbox, &whole)?, ..region.clone() }))
            .filter_map(|region| borne_out(region, page, &rules))
            .collect();
        cast.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut regions: Vec<Region> = Vec::new();
        for region in cast {
            let in_same_place = |other: &Region| {
                let smaller = other.bbox.area().min(region.bbox.area()).max(f32::MIN_POSITIVE);
                other.kind != region.kind && other.bbox.overlap(&region.bbox) / smaller > SAME_PLACE
            };
            if is_caption(region.kind) || !regions.iter().any(|other| !is_caption(other.kind) && in_same_place(other)) {
                regions.push(region);
            }
        }
        let figures = regions.iter().filter(|region| region.kind == RegionKind::Figure);
        Self { figures: figures.map(|region| region.bbox).collect(), regions }
    }

    /// What the model takes most of some lines for: the class of the smallest box around the middle of each, where more
    /// than half of the lines agree.
    pub(super) fn kind_of(&self, lines: &[&Measured<'_>]) -> Option<RegionKind> {
        if self.regions.is_empty() || lines.is_empty() {
            return None;
        }
        let mut counts: Vec<(RegionKind, usize)> = Vec::new();
        for kind in lines.iter().filter_map(|line| self.around(&line.bbox)) {
            match counts.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, count)) => *count += 1,
                None => counts.push((kind, 1)),
            }
        }
        counts.into_iter().find(|(_, count)| count * 2 > lines.len()).map(|(kind, _)| kind)
    }

    fn around(&self, bbox: &Bbox) -> Option<RegionKind> {
        let holds = self.regions.iter().filter(|region| holds_middle(&region.bbox, bbox));
        holds.min_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area())).map(|region| region.kind)
    }
}

/// Whether the middle of a box lies in another.
pub(super) fn holds_middle(outer: &Bbox, inner: &Bbox) -> bool {
    let (x, y) = ((inner.left + inner.right) / 2.0, (inner.top + inner.bottom) / 2.0);
    x > outer.left && x < outer.right && y > outer.top && y < outer.bottom
}

fn is_caption(kind: RegionKind) -> bool {
    matches!(kind, RegionKind::FigureCaption | RegionKind::TableCaption)
}

/// The part of a box on the page; `None` when nothing of it is.
fn within(bbox: &Bbox, whole: &Bbox) -> Option<Bbox> {
    let finite = [bbox.left, bbox.top, bbox.right, bbox.bottom].iter().all(|edge| edge.is_finite());
    let part = Bbox {
        left: bbox.left.max(whole.left),
        top: bbox.top.max(whole.top),
        right: bbox.right.min(whole.right),
        bottom: bbox.bottom.min(whole.bottom),
    };
    (finite && part.area() > 0.0).then_some(part)
}

/// A vote as the page's objects bear it out, its rules joined; `None` where they speak against it.
fn borne_out(region: Region, page: &Page, rules: &[Bbox]) -> Option<Region> {
    if !matches!(region.kind, RegionKind::Figure | RegionKind::Table) {
        return Some(region);
    }
    let Region { bbox, .. } = region;
    let of_text: f32 = page.lines.iter().map(|line| line.bbox.overlap(&bbox)).filter(|share| share.is_finite()).sum();
    let is_text = of_text > bbox.area() * MOST_TEXT;
    if page.method != Some(Method::TextLayer) {
        let is_sure = region.score >= LEAST_SCORE_OF_OBJECTS_ON_SCANS;
        return (is_sure && !(is_text && region.kind == RegionKind::Figure)).then_some(region);
    }
    let area = page.width * page.height;
    let images = page.images.iter().filter(|image| image.area() < area * images::WHOLE_SHARE);
    let covered: f32 = images.map(|image| image.overlap(&bbox)).sum();
    let spans = |rule: &&Bbox| {
        let across = rule.right.min(bbox.right) - rule.left.max(bbox.left) > bbox.width() * SPANNING;
        let down = rule.bottom.min(bbox.bottom) - rule.top.max(bbox.top) > bbox.height() * SPANNING;
        holds_middle(&grown(&bbox, 4.0), rule) && (across || down)
    };
    let kind = if covered >= bbox.area() * COVERED {
        RegionKind::Figure
    } else if rules.iter().filter(spans).count() >= RULES {
        RegionKind::Table
    } else if !is_text && page.drawing.paths.iter().filter(|path| holds_middle(&bbox, path)).count() >= PATHS {
        RegionKind::Figure
    } else {
        return None;
    };
    Some(Region { kind, ..region })
}

fn grown(bbox: &Bbox, by: f32) -> Bbox {
    Bbox { left: bbox.left - by, top: bbox.top - by, right: bbox.right + by, bottom: bbox.bottom + by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{Drawing, Line};

    fn line(top: f32, text: &str) -> Line {
        let bbox = Bbox { left: 50.0, top, right: 50.0 + text.chars().count() as f32 * 5.0, bottom: top + 10.0 };
        let json = serde_json::json!({ "text": text, "bbox": bbox, "words": [], "method": "text_layer" });
        serde_json::from_value(json).unwrap()
    }

    fn digital(texts: &[&str]) -> Page {
        let lines = texts.iter().enumerate().map(|(row, text)| line(100.0 + row as f32 * 12.0, text)).collect();
        Page { width: 600.0, height: 800.0, method: Some(Method::TextLayer), lines, ..Page::default() }
    }

    fn scanned(texts: &[&str]) -> Page {
        Page { method: Some(Method::Ocr), ..digital(texts) }
    }

    fn image(left: f32, top: f32, right: f32, bottom: f32) -> Bbox {
        Bbox { left, top, right, bottom }
    }

    const BOX: Bbox = Bbox { left: 100.0, top: 300.0, right: 500.0, bottom: 500.0 };

    fn region(kind: RegionKind, bbox: Bbox, score: f32) -> Region {
        Region { kind, bbox, score }
    }

    /// An image in a corner, so that the model is asked.
    fn with_regions(page: Page, regions: Vec<Region>) -> Page {
        Page { images: vec![image(0.0, 0.0, 100.0, 50.0)], regions, ..page }
    }

    #[test]
    fn the_model_is_asked_where_there_is_something_to_look_at() {
        let text = ["A line of a page that has running text and nothing else on it"; 30];
        assert!(!asks_model(&digital(&text)), "text alone");
        assert!(asks_model(&with_regions(digital(&text), Vec::new())), "an image");
        let whole = Page { images: vec![image(0.0, 0.0, 600.0, 800.0)], ..digital(&text) };
        assert!(!asks_model(&whole), "a background");
        let drawing = |rules, paths| Drawing { rules: vec![BOX; rules], paths: vec![BOX; paths] };
        assert!(asks_model(&Page { drawing: drawing(0, 20), ..digital(&text) }), "a drawing");
        assert!(asks_model(&Page { drawing: drawing(5, 0), ..digital(&text) }), "rules");
        assert!(!asks_model(&Page { drawing: drawing(4, 19), ..digital(&text) }), "an ornament");
        assert!(asks_model(&scanned(&text)), "a scan has no other evidence");
        assert!(!asks_model(&Page { method: None, ..scanned(&[]) }), "an empty page");
    }

    #[test]
    fn kinds_of_pages_that_the_model_misreads_are_left_to_the_rules() {
        let text = ["A line of a page that has running text and nothing else on it"; 30];
        let slide = Page { width: 960.0, height: 540.0, ..scanned(&text) };
        assert!(!asks_model(&slide), "a slide");
        assert!(!asks_model(&scanned(&["2 x Tea", "4.20", "Sum EUR", "4.20", "VAT 7 %", "0.27", "cash", "5.00"])));
        let formulas = ["∑ x ∈ A = β · y ≤ ∂ f(x)", "where α and β are as in (3), so that ∀ x ∈ B: x ≥ 0 holds"];
        assert!(!asks_model(&with_regions(digital(&formulas), Vec::new())), "mathematics");
        let greek =
            with_regions(digital(&["Ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ λόγος ἦν πρὸς τὸν θεόν, διαλεγόμενοι"]), Vec::new());
        assert!(asks_model(&greek), "words in Greek are no formulas");
    }

    #[test]
    fn a_figure_on_a_digital_page_needs_evidence() {
        let vote = vec![region(RegionKind::Figure, BOX, 0.9)];
        let page = with_regions(digital(&["text"; 30]), vote.clone());
        assert_eq!(Votes::of(&page).figures, [], "nothing is drawn there");
        let covered = Page { images: vec![image(100.0, 300.0, 400.0, 480.0)], ..page.clone() };
        assert_eq!(Votes::of(&covered).figures, [BOX]);
        let drawn = Drawing { rules: Vec::new(), paths: vec![image(200.0, 350.0, 260.0, 360.0); 20] };
        assert_eq!(Votes::of(&Page { drawing: drawn.clone(), ..page.clone() }).figures, [BOX]);
        let rules = (0..5).map(|row| image(100.0, 300.0 + row as f32 * 50.0, 500.0, 300.5 + row as f32 * 50.0));
        let ruled = Page { drawing: Drawing { rules: rules.collect(), ..drawn.clone() }, ..page.clone() };
        assert_eq!(Votes::of(&ruled).figures, [], "rules make it a table, whatever the model says");
        let piece = |row: u8, column: u8| {
            let (left, top) = (100.0 + f32::from(column) * 100.0, 300.0 + f32::from(row) * 50.0);
            image(left, top, left + 99.0, top + 0.5)
        };
        let pieces = (0..5).flat_map(|row| (0..4).map(move |column| piece(row, column)));
        let by_cells = Page { drawing: Drawing { rules: pieces.collect(), ..drawn }, ..page };
        assert_eq!(Votes::of(&by_cells).figures, [], "so do rules that are drawn cell by cell");
    }

    #[test]
    fn a_figure_on_a_scan_needs_confidence() {
        let sure = |score| {
            with_regions(
                scanned(&["text that is long enough for a line of prose"; 30]),
                vec![region(RegionKind::Figure, BOX, score)],
            )
        };
        assert_eq!(Votes::of(&sure(0.49)).figures, []);
        assert_eq!(Votes::of(&sure(0.5)).figures, [BOX]);
    }

    #[test]
    fn a_figure_full_of_text_is_none() {
        let vote = vec![region(RegionKind::Figure, BOX, 0.9)];
        let paragraph = "so many words that the line runs from the left of the box over to its right side";
        let mut page = with_regions(scanned(&[paragraph; 40]), vote);
        assert_eq!(Votes::of(&page).figures, []);
        page.lines.retain(|line| line.bbox.top < 320.0);
        assert_eq!(Votes::of(&page).figures, [BOX], "a label at its top");
        page.lines.iter_mut().for_each(|line| line.bbox.left = f32::NAN);
        assert_eq!(Votes::of(&page).figures, [BOX], "boxes that are none cover nothing");
    }

    #[test]
    fn of_two_classes_in_one_place_the_surer_counts_but_captions_stay() {
        let inside = image(110.0, 310.0, 490.0, 490.0);
        let caption = image(110.0, 480.0, 490.0, 500.0);
        let page = with_regions(
            scanned(&["text that is long enough for a line of prose"; 30]),
            vec![
                region(RegionKind::Table, inside, 0.6),
                region(RegionKind::Figure, BOX, 0.8),
                region(RegionKind::FigureCaption, caption, 0.5),
            ],
        );
        let votes = Votes::of(&page);
        let kinds: Vec<RegionKind> = votes.regions.iter().map(|region| region.kind).collect();
        assert_eq!(kinds, [RegionKind::Figure, RegionKind::FigureCaption]);
        let line = line(485.0, "Figure 1: what it shows, in some words");
        assert_eq!(votes.kind_of(&[&Measured::new(0, &line)]), Some(RegionKind::FigureCaption));
    }

    #[test]
    fn lines_are_what_most_of_them_are_in() {
        let page = with_regions(
            scanned(&["text that is long enough for a line of prose"; 30]),
            vec![region(RegionKind::Title, image(40.0, 90.0, 400.0, 125.0), 0.7)],
        );
        let lines: Vec<Measured<'_>> =
            page.lines.iter().enumerate().map(|(at, line)| Measured::new(at, line)).collect();
        let votes = Votes::of(&page);
        assert_eq!(votes.kind_of(&[&lines[0], &lines[1], &lines[2]]), Some(RegionKind::Title));
        assert_eq!(votes.kind_of(&[&lines[0], &lines[2], &lines[3]]), None);
    }
}
