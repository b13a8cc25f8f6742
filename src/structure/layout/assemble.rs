//! What can be told only from all pages of a document: repeated furniture, depths of headings, paragraphs that run
//! over a page's end.

use std::collections::{BTreeSet, HashMap};

use super::{furniture, headings, lines, text};
use crate::ordered::Ordered;
use deckle_contract::document::{Bbox, Block, BlockKind, Page};

/// A line must repeat at its place on this many pages to be furniture.
const REPEATS: usize = 3;

/// The title and the blocks of a whole document, from its pages in order.
///
/// Nothing is dropped: lines that repeat at the same place on three pages or more (the same text up to digits) are
/// marked as page headers or footers, depths of headings are set anew by font size over all pages, and a paragraph
/// that breaks over a page's end becomes one with two places.
pub fn assemble_blocks(pages: Vec<&Page>) -> (Option<String>, Vec<Block>) {
    let mut pages: Vec<(&Page, Vec<Block>)> = pages.into_iter().map(|page| (page, page.blocks.clone())).collect();
    mark_repeated(&mut pages);
    set_depths(&mut pages);
    let mut blocks: Vec<Block> = Vec::new();
    let mut flow: Option<Flow> = None;
    for (page, own) in pages {
        let mut first = true;
        for mut block in own {
            block.line_indexes.clear();
            let in_flow = !lines::is_beside_the_flow(block.kind);
            if std::mem::take(&mut first) && in_flow && page.page_no > 0 {
                let before = flow.as_mut().map(|flow| (&mut blocks[flow.at], flow));
                if let Some((before, flow)) = before.filter(|(before, _)| continues(before, &block, page.page_no)) {
                    flow.join(before, block);
                    continue;
                }
            } else if !in_flow {
                first = true;
            }
            if in_flow {
                flow = Some(Flow { at: blocks.len(), chars: block.text.chars().count() });
            }
            blocks.push(block);
        }
    }
    let title = blocks.iter().find(|block| block.kind == BlockKind::Title).map(|block| block.text.clone());
    (title, blocks)
}

/// Whether `next`, on this page, goes on with the last block in the flow before.
fn continues(before: &Block, next: &Block, page_no: u32) -> bool {
    let on_page_before = before.prov.last().and_then(|place| place.page_no).is_some_and(|before| before + 1 == page_no);
    let fits = matches!(before.kind, BlockKind::Text | BlockKind::ListItem) && next.kind == BlockKind::Text;
    on_page_before && fits && lines::goes_on(&before.text, &next.text)
}

/// The last block in the flow: its place and its characters, so that joining to it costs what is joined.
struct Flow {
    at: usize,
    chars: usize,
}

impl Flow {
    fn join(&mut self, before: &mut Block, next: Block) {
        let (a, b) = (self.chars as f32, next.text.chars().count() as f32);
        before.confidence = match (before.confidence, next.confidence) {
            (Some(first), Some(second)) => Some((first * a + second * b) / (a + b).max(1.0)),
            (first, second) => first.or(second),
        };
        self.chars = text::append(&mut before.text, self.chars, &next.text);
        before.prov.extend(next.prov);
    }
}

/// A text with every run of digits as one `#`, so that page numbers are alike.
fn shape(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            c if c.is_whitespace() => {}
            c => shape.extend(c.to_lowercase()),
        }
    }
    shape
}

/// Which end of its page a box stands at, if it stands at one. What runs up a side counts as its foot.
fn end_of_page(page: &Page, bbox: &Bbox) -> Option<BlockKind> {
    let at_side = bbox.right < page.width * furniture::SIDE || bbox.left > page.width * (1.0 - furniture::SIDE);
    if at_side && bbox.height() > bbox.width() * 2.5 {
        Some(BlockKind::PageFooter)
    } else if bbox.height() > page.height * 0.1 {
        None
    } else if bbox.bottom < page.height * 0.14 {
        Some(BlockKind::PageHeader)
    } else if bbox.top > page.height * 0.86 {
        Some(BlockKind::PageFooter)
    } else {
        None
    }
}

/// Above this share of the page's height stands nothing but furniture, however large it is set.
const TOP: f32 = 0.08;

fn mark_repeated(pages: &mut [(&Page, Vec<Block>)]) {
    let usual: Vec<f32> = pages.iter().map(|(page, _)| usual_size(page)).collect();
    let key = |page: &Page, usual: f32, block: &Block| {
        let bbox = block.prov.first()?.bbox?;
        let end = end_of_page(page, &bbox)?;
        let candidate = block.text.chars().count() <= 160
            && !matches!(block.kind, BlockKind::Picture | BlockKind::Table)
            && block.prov.len() == 1;
        // Large headings that count ("day 1", "day 2") are content; a running title says the same on every page.
        let is_heading = matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader);
        let is_large = || bbox.bottom > page.height * TOP && size(page, block) > usual * 1.25;
        let text = if is_heading && is_large() { block.text.clone() } else { shape(&block.text) };
        candidate.then_some(((end, text), bbox.top))
    };
    let mut places: HashMap<(BlockKind, String), Vec<(f32, u32)>> = HashMap::new();
    for ((page, blocks), usual) in pages.iter().zip(&usual) {
        for (key, top) in blocks.iter().filter_map(|block| key(page, *usual, block)) {
            if top.is_finite() {
                places.entry(key).or_default().push((top, page.page_no));
            }
        }
    }
    let repeated: HashMap<_, _> = places.into_iter().map(|(key, places)| (key, repeated_at(places))).collect();
    for ((page, blocks), usual) in pages.iter_mut().zip(&usual) {
        for block in blocks {
            let Some((key, top)) = key(page, *usual, block) else { continue };
            if repeated.get(&key).is_some_and(|tops| tops.contains(&Ordered(top))) {
                block.kind = key.0;
                block.level = None;
                if let Some(marker) = block.marker.take() {
                    block.text = format!("{marker} {}", block.text);
                }
            }
        }
    }
}

/// The heights of those places that have others of enough pages near them.
fn repeated_at(mut places: Vec<(f32, u32)>) -> BTreeSet<Ordered> {
    /// Lines at one place of their pages stand no further from each other than this, in points.
    const SAME_PLACE: f32 = 6.0;
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut on_page: HashMap<u32, usize> = HashMap::new();
    let (mut from, mut to) = (0, 0);
    let mut repeated = BTreeSet::new();
    for (top, _) in &places {
        while let Some((_, page_no)) = places.get(to).filter(|(other, _)| other - top < SAME_PLACE) {
            *on_page.entry(*page_no).or_default() += 1;
            to += 1;
        }
        while let Some((_, page_no)) = places.get(from).filter(|(other, _)| top - other >= SAME_PLACE) {
            if let Some(count) = on_page.get_mut(page_no) {
                *count -= 1;
                if *count == 0 {
                    on_page.remove(page_no);
                }
            }
            from += 1;
        }
        if on_page.len() >= REPEATS {
            repeated.insert(Ordered(*top));
        }
    }
    repeated
}

/// The size of a block's letters on its page; 0 without lines.
fn size(page: &Page, block: &Block) -> f32 {
    let lines = block.line_indexes.iter().filter_map(|index| page.lines.get(*index as usize));
    let (sum, chars) = lines.fold((0.0, 0), |(sum, total), line| {
        let chars = line.text.chars().count().max(1);
        (sum + super::Measured::new(0, line).size * chars as f32, total + chars)
    });
    sum / chars.max(1) as f32
}

/// The size of most letters of a page.
fn usual_size(page: &Page) -> f32 {
    let lines: Vec<super::Measured<'_>> = page.lines.iter().map(|line| super::Measured::new(0, line)).collect();
    super::Metrics::of(page, &lines).body
}

/// Depths of section headers by their size over the whole document; a page alone knows only its own.
fn set_depths(pages: &mut [(&Page, Vec<Block>)]) {
    let heading = |page: &Page, block: &Block| {
        let size = Some(size(page, block)).filter(|size| block.kind == BlockKind::SectionHeader && *size > 0.0);
        size.map(|size| (size, headings::parts(&block.text)))
    };
    let found = pages.iter().flat_map(|(page, blocks)| blocks.iter().map(|block| heading(page, block))).collect();
    let mut depths = headings::levels(found).into_iter();
    for block in pages.iter_mut().flat_map(|(_, blocks)| blocks) {
        if let Some(depth) = depths.next().flatten() {
            block.level = Some(depth);
        }
    }
}
