//! What an outline says about the headings of a document: which they are, and how deep.
//!
//! The law: nothing is invented and nothing is lost. Blocks keep their number, order, places and words; only kinds and
//! levels change, and only of blocks that say what an entry says, on the page that it leads to or, where none does, on
//! the next: an entry made just before a page's end leads to that end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use crate::ordered::Ordered;
use deckle_contract::document::{Block, BlockKind, metadata::OutlineEntry};

/// Words that are compared are at least so many letters and digits: `1` stands on many lines.
const SHORTEST: usize = 2;

/// Sets levels by the outline, and makes headings of texts and list items that it names.
///
/// Section headers that the outline does not name (many outlines stop at some depth) keep their place among the others:
/// they go where those of the same size went.
pub fn set_levels(blocks: &mut [Block], outline: &[OutlineEntry]) {
    let matches = find(blocks, outline);
    if matches.is_empty() {
        return;
    }
    // An outline whose only root is the title counts the chapters from 2.
    let roots = outline.iter().filter(|entry| entry.level <= 1).count();
    let is_title_root = |(block, entry): (&usize, &&OutlineEntry)| {
        blocks[*block].kind == BlockKind::Title && entry.level <= 1 && roots == 1
    };
    let shift = u8::from(matches.iter().any(is_title_root));
    let level = |entry: &OutlineEntry| entry.level.saturating_sub(shift).max(1);
    let by_size = levels_by_size(blocks, matches.iter().map(|(block, entry)| (*block, level(entry))));
    for (index, block) in blocks.iter_mut().enumerate() {
        match matches.get(&index) {
            Some(_) if block.kind == BlockKind::Title => {}
            Some(entry) => {
                if let Some(marker) = block.marker.take() {
                    block.text = format!("{marker} {}", block.text);
                }
                block.kind = BlockKind::SectionHeader;
                block.level = Some(level(entry));
            }
            None if block.kind == BlockKind::SectionHeader => {
                block.level = block.level.map(|size| by_level(&by_size, size));
            }
            None => {}
        }
    }
}

/// The entry of each block that says the same on the same page. An entry names one block: the one that stands nearest
/// to where it leads.
fn find<'o>(blocks: &[Block], outline: &'o [OutlineEntry]) -> BTreeMap<usize, &'o OutlineEntry> {
    let mut by_text: HashMap<(u32, String), Free> = HashMap::new();
    for (index, block) in blocks.iter().enumerate() {
        let fits =
            matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader | BlockKind::Text | BlockKind::ListItem);
        let Some(place) = block.prov.first().filter(|_| fits) else { continue };
        if let (Some(page_no), words) = (place.page_no, words(&block.text))
            && words.chars().count() >= SHORTEST
        {
            let top = place.bbox.map_or(0.0, |bbox| bbox.top);
            by_text.entry((page_no, words)).or_default().0[rank(block)].insert((Ordered(top), index));
        }
    }
    let mut matches = BTreeMap::new();
    for entry in outline {
        let (Some(destination), wanted) = (entry.destination, words(&entry.title)) else { continue };
        let mut take_on = |page_no: u32| by_text.get_mut(&(page_no, wanted.clone()))?.take(destination.top);
        let nearest = take_on(destination.page_no).or_else(|| take_on(destination.page_no.saturating_add(1)));
        if let Some(index) = nearest {
            matches.insert(index, entry);
        }
    }
    matches
}

/// Headings go before texts that say the same.
fn rank(block: &Block) -> usize {
    usize::from(!matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader))
}

/// Blocks that say the same on one page and that no entry names yet: headings, then texts, each from the top down.
#[derive(Debug, Default)]
struct Free([BTreeSet<(Ordered, usize)>; 2]);

impl Free {
    /// Takes the block nearest to a height, or the first; of two as near the one that stands first in the document.
    fn take(&mut self, wanted: Option<f32>) -> Option<usize> {
        let set = self.0.iter_mut().find(|set| !set.is_empty())?;
        let found = match wanted {
            None => set.first().copied(),
            Some(wanted) => {
                let above = set.range(..=(Ordered(wanted), usize::MAX)).next_back();
                let below = set.range((Excluded((Ordered(wanted), usize::MAX)), Unbounded)).next();
                // Of those at one height the first.
                let first_at = |(top, _): &(Ordered, usize)| set.range((*top, 0)..).next().copied();
                let near = [above.and_then(first_at), below.copied()].into_iter().flatten();
                near.min_by(|a, b| {
                    let distance = |top: Ordered| (top.0 - wanted).abs();
                    distance(a.0).total_cmp(&distance(b.0)).then(a.1.cmp(&b.1))
                })
            }
        }?;
        set.remove(&found);
        Some(found.1)
    }
}

/// Letters and digits alone, folded, without the number in front: outlines and headings differ in the rest.
fn words(text: &str) -> String {
    let is_number = |word: &str| {
        let word = word.trim_end_matches([')', '.', ':']);
        !word.is_empty() && word.chars().all(|c| c.is_numeric() || c == '.') && word.chars().any(char::is_numeric)
    };
    let mut parts = text.split_whitespace().peekable();
    let numbered = parts.peek().is_some_and(|first| is_number(first)) && text.split_whitespace().count() > 1;
    let rest = parts.skip(usize::from(numbered));
    rest.flat_map(str::chars).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// By the level that size gave: the level that the outline gives most of them, the least of equals.
fn levels_by_size(blocks: &[Block], matches: impl Iterator<Item = (usize, u8)>) -> BTreeMap<u8, u8> {
    let mut votes: BTreeMap<u8, BTreeMap<u8, usize>> = BTreeMap::new();
    for (index, level) in matches {
        if let (BlockKind::SectionHeader, Some(size)) = (blocks[index].kind, blocks[index].level) {
            *votes.entry(size).or_default().entry(level).or_default() += 1;
        }
    }
    let most =
        |votes: &BTreeMap<u8, usize>| votes.iter().rev().max_by_key(|(_, count)| **count).map(|(level, _)| *level);
    votes.iter().filter_map(|(size, votes)| Some((*size, most(votes)?))).collect()
}

/// The level of a size that the outline does not name: as deep below the next larger one as it was.
fn by_level(by_size: &BTreeMap<u8, u8>, size: u8) -> u8 {
    match by_size.range(..=size).next_back() {
        Some((larger, level)) => level.saturating_add(size - larger),
        None => size,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use deckle_contract::document::{Bbox, Locator, metadata::Destination};

    fn block(kind: BlockKind, level: Option<u8>, page_no: u32, top: f32, text: &str) -> Block {
        let bbox = Bbox { left: 0.0, top, right: 100.0, bottom: top + 10.0 };
        Block { level, prov: vec![Locator::on_page(page_no, bbox)], ..Block::new(kind, text) }
    }

    fn header(level: u8, page_no: u32, text: &str) -> Block {
        block(SectionHeader, Some(level), page_no, 50.0, text)
    }

    fn entry(level: u8, page_no: u32, title: &str) -> OutlineEntry {
        let destination = Destination { page_no, top: Some(50.0), stated: [None, None] };
        OutlineEntry { title: title.to_owned(), level, destination: Some(destination) }
    }

    fn levels(blocks: &[Block]) -> Vec<(BlockKind, Option<u8>)> {
        blocks.iter().map(|block| (block.kind, block.level)).collect()
    }

    fn depths(blocks: &[Block]) -> Vec<Option<u8>> {
        blocks.iter().map(|block| block.level).collect()
    }

    use BlockKind::{ListItem, SectionHeader, Text, Title};

    #[test]
    fn headings_take_the_depth_of_their_entries() {
        let mut blocks = [header(1, 1, "1 Bolts"), header(1, 2, "1.1 Kinds of bolts"), header(2, 2, "Prices")];
        set_levels(&mut blocks, &[entry(1, 1, "Bolts"), entry(2, 2, "Kinds of Bolts"), entry(3, 2, "1.1.1. Prices")]);
        assert_eq!(depths(&blocks), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn a_heading_on_another_page_or_with_other_words_keeps_its_depth() {
        let mut blocks = [header(2, 1, "Bolts"), header(2, 1, "Bolts and nuts")];
        let before = blocks.clone();
        set_levels(&mut blocks, &[entry(1, 7, "Bolts"), entry(1, 1, "Nuts")]);
        assert_eq!(blocks, before);
    }

    #[test]
    fn an_entry_that_leads_to_the_end_of_a_page_names_the_heading_on_the_next() {
        let mut blocks = [header(3, 2, "Index"), header(3, 5, "Index")];
        set_levels(&mut blocks, &[entry(1, 1, "Index")]);
        assert_eq!(depths(&blocks), [Some(1), Some(1)], "the other one is of the same size");
        let mut blocks = [header(3, 1, "Index"), header(2, 2, "Index")];
        set_levels(&mut blocks, &[entry(1, 1, "Index")]);
        assert_eq!(depths(&blocks), [Some(1), Some(2)], "its own page goes first");
    }

    #[test]
    fn unnamed_headings_go_where_those_of_their_size_went() {
        let mut blocks = [header(1, 1, "One"), header(1, 2, "Two"), header(1, 3, "Three"), header(2, 3, "Below")];
        set_levels(&mut blocks, &[entry(2, 1, "One"), entry(2, 2, "Two")]);
        assert_eq!(depths(&blocks), [Some(2), Some(2), Some(2), Some(3)]);
    }

    #[test]
    fn a_root_that_is_the_title_takes_no_depth() {
        let mut blocks = [block(Title, None, 1, 50.0, "On bolts"), header(2, 1, "Kinds")];
        set_levels(&mut blocks, &[entry(1, 1, "On Bolts"), entry(2, 1, "Kinds")]);
        assert_eq!(levels(&blocks), [(Title, None), (SectionHeader, Some(1))]);
    }

    #[test]
    fn texts_and_list_items_that_the_outline_names_are_headings() {
        let mut item = block(ListItem, Some(1), 1, 80.0, "Prices");
        item.marker = Some("2.".to_owned());
        let mut blocks = [block(Text, None, 1, 50.0, "Kinds"), item, block(Text, None, 1, 300.0, "Kinds")];
        set_levels(&mut blocks, &[entry(1, 1, "Kinds"), entry(1, 1, "2. Prices")]);
        assert_eq!(levels(&blocks), [(SectionHeader, Some(1)), (SectionHeader, Some(1)), (Text, None)]);
        assert_eq!(blocks[1].text, "2. Prices");
    }

    #[test]
    fn furniture_that_repeats_a_heading_stays_furniture() {
        let mut blocks = [block(BlockKind::PageHeader, None, 1, 10.0, "Kinds"), header(3, 1, "Kinds")];
        set_levels(&mut blocks, &[entry(1, 1, "Kinds")]);
        assert_eq!(levels(&blocks), [(BlockKind::PageHeader, None), (SectionHeader, Some(1))]);
    }

    fn any_block() -> impl Strategy<Value = Block> {
        let kinds =
            prop::sample::select(vec![Title, SectionHeader, Text, ListItem, BlockKind::Table, BlockKind::PageFooter]);
        (kinds, 1_u8..5, 1_u32..3, 0.0_f32..700.0, "[ab1]( [ab2])?", prop::option::of("[-•1]")).prop_map(
            |(kind, level, page_no, top, text, marker)| {
                let level = matches!(kind, SectionHeader | ListItem).then_some(level);
                let marker = marker.filter(|_| kind == ListItem);
                Block { marker, ..block(kind, level, page_no, top, &text) }
            },
        )
    }

    proptest! {
        #[test]
        fn no_block_is_invented_moved_or_lost(
            mut blocks in prop::collection::vec(any_block(), 0..12),
            entries in prop::collection::vec((1_u8..40, 1_u32..3, "[ab1]( [ab2])?"), 0..12),
        ) {
            let outline = entries.iter().map(|(level, page_no, title)| entry(*level, *page_no, title));
            let outline: Vec<_> = outline.collect();
            let marker = |block: &Block| block.marker.clone().unwrap_or_default();
            let said = |block: &Block| format!("{}{}", marker(block), block.text).replace(' ', "");
            let before = blocks.clone();
            set_levels(&mut blocks, &outline);
            prop_assert_eq!(blocks.len(), before.len());
            for (after, before) in blocks.iter().zip(&before) {
                prop_assert_eq!(said(after), said(before));
                prop_assert_eq!(&after.prov, &before.prov);
                if after.kind != before.kind {
                    prop_assert_eq!(after.kind, SectionHeader);
                    prop_assert!(matches!(before.kind, Text | ListItem));
                }
                prop_assert!(after.kind != SectionHeader || after.level.is_none_or(|level| level >= 1));
            }
            let again = blocks.clone();
            set_levels(&mut blocks, &[]);
            prop_assert_eq!(blocks, again, "no outline changes nothing");
        }
    }
}
