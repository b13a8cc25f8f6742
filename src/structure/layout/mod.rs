//! Blocks in reading order, from the lines of a page, rules, and the votes of a layout model where there are any.
//!
//! The law: every line of the page ends in exactly one block, whatever the rules make of it. Lines are the truth; the
//! rules decide only their order and grouping. Equal pages give equal blocks: every sort is stable and total.
//!
//! The steps: the model's votes are weighed against the page's own objects (`regions`), page furniture is set aside by
//! its place (`furniture`), pictures take the labels in them (`figures`), tables are found by their aligned columns
//! (`tables`), a recursive XY-cut orders what is left (`xycut`), the lines of each column become blocks by spacing,
//! indentation and markers (`lines`), and blocks get their kind by size, weight and neighbours (`headings`).
//! [`assemble_blocks`] then looks at all pages of a document at once.

mod assemble;
mod figures;
mod furniture;
mod gutters;
mod headings;
mod images;
mod item;
mod lines;
mod regions;
mod size;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod xycut;

pub use assemble::assemble_blocks;
pub use regions::asks_model;

use std::collections::HashSet;

use regions::Votes;

use deckle_contract::document::{Bbox, Block, BlockKind, Line, Locator, Method, Page};

/// Whether a page must be rendered although its text is known: a model is to be asked, or pictures are to be cut out.
pub fn wants_picture(page: &Page) -> bool {
    asks_model(page) || images::has_images(page)
}

/// Fills `page.blocks` in reading order from its lines, images, drawing and regions.
pub fn analyse(page: &mut Page) {
    let mut all: Vec<Measured<'_>> =
        page.lines.iter().enumerate().map(|(index, line)| Measured::new(index, line)).collect();
    // From here on every sort is stable, so the order of lines in the file decides only between equal boxes.
    all.sort_by(|a, b| {
        let (a, b) = (&a.bbox, &b.bbox);
        let edges = [(a.top, b.top), (a.left, b.left), (a.bottom, b.bottom), (a.right, b.right)];
        edges.into_iter().map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    let metrics = Metrics::of(page, &all);
    let votes = Votes::of(page);
    let marks = furniture::find(&all, &metrics, &votes);
    let body: Vec<&Measured<'_>> = all.iter().filter(|line| marks[line.index].is_none()).collect();
    let pictures = figures::pictures(page, &body, &metrics, &votes);
    let labels: HashSet<usize> = pictures.iter().flat_map(|(_, inside)| inside.iter().copied()).collect();
    let (ordered, sideways): (Vec<_>, Vec<_>) =
        body.into_iter().partition(|line| !line.is_sideways() || labels.contains(&line.index));
    let leaves = xycut::order(ordered, &pictures, &page.drawing, &metrics);

    let furniture_of = |kind: BlockKind| {
        let mut found: Vec<&Measured<'_>> = all.iter().filter(|line| marks[line.index] == Some(kind)).collect();
        found.sort_by(|a, b| a.bbox.top.total_cmp(&b.bbox.top).then(a.bbox.left.total_cmp(&b.bbox.left)));
        furniture::blocks(&found, kind, page.page_no)
    };
    let mut blocks = furniture_of(BlockKind::PageHeader);
    let mut drafts = Vec::new();
    for (number, leaf) in leaves.into_iter().enumerate() {
        for item in lines::group(leaf, &metrics) {
            drafts.push(Draft { leaf: number, ..item });
        }
    }
    for line in sideways {
        drafts.push(Draft::of_lines(vec![line], BlockKind::Text));
    }
    headings::classify(&mut drafts, &metrics, &votes);
    figures::captions(&mut drafts, &metrics, &votes);
    let drafts = lines::join_columns(drafts);
    blocks.extend(drafts.into_iter().map(|draft| draft.block(page.page_no)));
    blocks.extend(furniture_of(BlockKind::PageFooter));
    page.blocks = blocks;
}

/// A line with a box and a size that can be computed with.
#[derive(Debug)]
struct Measured<'a> {
    /// Its place in the page's lines.
    index: usize,
    line: &'a Line,
    /// Finite, left of right, top above bottom.
    bbox: Bbox,
    /// Font size in points, above zero.
    size: f32,
    chars: usize,
}

impl<'a> Measured<'a> {
    fn new(index: usize, line: &'a Line) -> Self {
        let Bbox { left, top, right, bottom } = line.bbox;
        let finite = [left, top, right, bottom].iter().all(|edge| edge.is_finite() && edge.abs() < 1e6);
        let bbox = match finite {
            true => {
                Bbox { left: left.min(right), top: top.min(bottom), right: left.max(right), bottom: top.max(bottom) }
            }
            false => Bbox::default(),
        };
        // A text layer's boxes run from ascender to descender, about 1.15 of the size.
        let estimate = || (bbox.height().min(bbox.width().max(4.0)) * 0.87).max(1.0);
        let is_size = |size: &f32| size.is_finite() && *size > 0.5 && *size < 1000.0;
        let of_letters = || (line.method == Method::Ocr).then(|| size::of_letters(&line.words)).flatten();
        let size = of_letters().or(line.font_size).filter(is_size).unwrap_or_else(estimate);
        Self { index, line, bbox, size, chars: line.text.chars().count() }
    }

    /// Whether it runs up or down the page, as axis labels and the stamps of preprint servers do.
    fn is_sideways(&self) -> bool {
        self.chars > 3 && self.bbox.height() > 2.5 * self.bbox.width() && self.bbox.height() > 2.5 * self.size
    }
}

/// What is usual on this page; everything else is judged against it.
#[derive(Debug)]
struct Metrics {
    page_no: u32,
    width: f32,
    height: f32,
    /// Whether the page has a text layer, so that recognised lines were read out of its pictures.
    has_text_layer: bool,
    /// Font size of most characters.
    body: f32,
    /// Whether most characters are bold, so that weight says nothing.
    mostly_bold: bool,
    /// Whether sizes are exact (a text layer's) or estimated (OCR).
    exact: bool,
    /// Horizontal rules long enough to part what is above them from what is below, by their middles.
    rules: Vec<Bbox>,
}

/// A rule of this share of the page's width parts more than a column's paragraphs.
const LONG_RULE: f32 = 0.3;

impl Metrics {
    fn of(page: &Page, lines: &[Measured<'_>]) -> Self {
        let total: usize = lines.iter().map(|line| line.chars).sum();
        let mut sizes: Vec<(f32, usize)> = lines.iter().map(|line| (line.size, line.chars)).collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut seen = 0;
        let median = sizes.iter().find(|(_, chars)| {
            seen += chars;
            seen * 2 >= total
        });
        let bold: usize = lines.iter().filter(|line| line.line.bold).map(|line| line.chars).sum();
        let read: usize =
            lines.iter().filter(|line| line.line.method != Method::TextLayer).map(|line| line.chars).sum();
        let used = lines.iter().map(|line| line.bbox.bottom).fold(1.0, f32::max);
        let across = lines.iter().map(|line| line.bbox.right).fold(1.0, f32::max);
        let is_long = |rule: &&Bbox| rule.width() > page.width * LONG_RULE && rule.height() < 6.0;
        let mut rules: Vec<Bbox> = page.drawing.rules.iter().filter(is_long).copied().collect();
        rules.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
        Self {
            page_no: page.page_no,
            width: if page.width.is_finite() && page.width > 0.0 { page.width } else { across },
            has_text_layer: page.method == Some(Method::TextLayer),
            height: if page.height.is_finite() && page.height > 0.0 { page.height } else { used },
            body: median.map_or(10.0, |(size, _)| *size),
            mostly_bold: bold * 2 > total,
            exact: read * 2 <= total,
            rules,
        }
    }

    /// Whether a line is a part of a picture: it was recognised, though the page has a text layer.
    fn is_of_picture(&self, line: &Measured<'_>) -> bool {
        self.has_text_layer && line.line.method == Method::Ocr
    }
}

/// The height in which a box has its middle.
fn middle(bbox: &Bbox) -> f32 {
    (bbox.top + bbox.bottom) / 2.0
}

/// A block in the making.
#[derive(Debug)]
struct Draft<'a> {
    kind: BlockKind,
    lines: Vec<&'a Measured<'a>>,
    text: String,
    level: Option<u8>,
    marker: Option<String>,
    table: Option<deckle_contract::document::Table>,
    /// One box for each column that it runs through.
    boxes: Vec<Bbox>,
    /// The column it starts in.
    leaf: usize,
    /// Whether it stands far enough from the block above to be a heading without other signs.
    apart: bool,
    /// Whether it is a row of fields, as in a form.
    fields: bool,
}

impl<'a> Draft<'a> {
    fn of_lines(lines: Vec<&'a Measured<'a>>, kind: BlockKind) -> Self {
        let text = text::join(lines.iter().map(|line| line.line.text.as_str()));
        let boxes = Bbox::around(lines.iter().map(|line| &line.bbox)).into_iter().collect();
        Self {
            kind,
            lines,
            text,
            level: None,
            marker: None,
            table: None,
            boxes,
            leaf: usize::MAX,
            apart: false,
            fields: false,
        }
    }

    /// A picture with the lines that are its labels.
    fn of_picture(bbox: Bbox, labels: Vec<&'a Measured<'a>>) -> Self {
        Self { boxes: vec![bbox], ..Self::of_lines(labels, BlockKind::Picture) }
    }

    /// Character-weighted size of its lines; 0 without lines.
    fn size(&self) -> f32 {
        let chars: usize = self.lines.iter().map(|line| line.chars.max(1)).sum();
        let sum: f32 = self.lines.iter().map(|line| line.size * line.chars.max(1) as f32).sum();
        if chars == 0 { 0.0 } else { sum / chars as f32 }
    }

    fn is_bold(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.line.bold || line.chars == 0)
    }

    fn bbox(&self) -> Bbox {
        Bbox::around(&self.boxes).unwrap_or_default()
    }

    fn block(self, page_no: u32) -> Block {
        finish(self.kind, self.text, &self.lines, &self.boxes, page_no, |block| {
            block.level = self.level;
            block.marker = self.marker;
            block.table = self.table;
        })
    }
}

/// A block with what all blocks owe: provenance, line indexes, confidence and method.
fn finish(
    kind: BlockKind,
    text: String,
    lines: &[&Measured<'_>],
    boxes: &[Bbox],
    page_no: u32,
    rest: impl FnOnce(&mut Block),
) -> Block {
    let weighted = lines.iter().filter_map(|line| Some((line.line.confidence?, line.chars)));
    let (sum, chars) = weighted.fold((0.0, 0), |(sum, total), (confidence, chars)| {
        (sum + f64::from(confidence) * chars as f64, total + chars)
    });
    let method = lines.iter().map(|line| line.line.method).max_by_key(|method| *method != Method::TextLayer);
    let mut block = Block {
        kind,
        text,
        level: None,
        marker: None,
        code_language: None,
        prov: boxes.iter().map(|bbox| Locator::on_page(page_no, *bbox)).collect(),
        line_indexes: lines.iter().map(|line| line.index as u32).collect(),
        table: None,
        confidence: (chars > 0).then(|| (sum / chars as f64) as f32),
        method: method.unwrap_or(Method::TextLayer),
        image: None,
    };
    rest(&mut block);
    block
}

impl Draft<'_> {
    fn chars(&self) -> usize {
        self.text.chars().count()
    }
}
