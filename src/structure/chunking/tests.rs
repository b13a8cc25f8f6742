use std::cell::Cell as Counter;

use proptest::prelude::*;

use super::*;
use deckle_contract::document::{Bbox, Cell, Locator, Table};

fn heading(level: u8, text: &str) -> Block {
    Block { level: Some(level), ..Block::new(BlockKind::SectionHeader, text) }
}

fn text(text: &str) -> Block {
    Block::new(BlockKind::Text, text)
}

fn table(rows: &[&[&str]]) -> Block {
    let cells = rows.iter().enumerate().flat_map(|(row, cells)| {
        cells.iter().enumerate().map(move |(column, text)| Cell {
            row_index: row as u32,
            column_index: column as u32,
            row_span: 1,
            column_span: 1,
            header: row == 0,
            row_header: false,
            text: (*text).to_owned(),
            prov: None,
        })
    });
    let (columns, cells) = (rows[0].len() as u32, cells.collect());
    Block { table: Some(Table { rows: rows.len() as u32, columns, cells }), ..Block::new(BlockKind::Table, "") }
}

/// Counts like a small WordPiece: two special tokens, one for each five characters of a word, one for each sign.
fn count(text: &str) -> usize {
    let words = text.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    let signs = text.chars().filter(char::is_ascii_punctuation).count();
    2 + signs + words.map(|word| word.chars().count().div_ceil(5)).sum::<usize>()
}

/// The chunks, with nothing that ends the work early.
fn chunk(blocks: &[Block], limit: usize, count: &dyn Fn(&str) -> usize) -> Vec<Chunk> {
    super::chunk(blocks, limit, count, Checkpoint::open()).unwrap()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn a_chunk_carries_the_path_of_its_section() {
    let blocks = [
        Block::new(BlockKind::Title, "Bolts"),
        text("All there is to say about bolts, in a few words that fill this paragraph well enough."),
        heading(1, "Kinds"),
        heading(2, "Hexagonal"),
        text("Six sides, as the name says, and a head that a spanner grips from any of them without slipping."),
        heading(1, "Uses"),
        text("Bridges, ships and machines of every kind are held together by bolts, more than by anything else."),
    ];
    let chunks = chunk(&blocks, 60, &count);
    let paths: Vec<String> = chunks.iter().map(|chunk| chunk.headings.join(" > ")).collect();
    assert_eq!(paths, ["Bolts", "Bolts > Kinds > Hexagonal", "Bolts > Uses"]);
    assert_eq!(chunks.iter().map(|chunk| chunk.chunk_no).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(chunks.iter().all(|chunk| chunk.token_count as usize == count(&chunk.embedded_text())));
}

#[test]
fn paragraphs_of_one_section_are_merged_up_to_the_limit() {
    let blocks: Vec<Block> =
        (0..10).map(|number| text(&format!("Paragraph number {number} has these eight words."))).collect();
    let chunks = chunk(&blocks, 64, &count);
    assert!(chunks.len() < 5, "{}", chunks.len());
    assert!(chunks[0].text.contains("\n\n"));
}

#[test]
fn tiny_sections_are_merged_with_their_headings_in_the_text() {
    let blocks = [
        heading(1, "Monday"),
        text("Rain."),
        heading(1, "Tuesday"),
        text("Sun."),
        heading(1, "Wednesday"),
        text("Snow."),
    ];
    let chunks = chunk(&blocks, 256, &count);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].text, "Monday\n\nRain.\n\nTuesday\n\nSun.\n\nWednesday\n\nSnow.");
}

#[test]
fn a_list_stays_together_where_it_fits() {
    let item =
        |text: &str| Block { marker: Some("•".to_owned()), level: Some(1), ..Block::new(BlockKind::ListItem, text) };
    let blocks = [
        text("One paragraph that fills more than a half of the limit of forty tokens, so that not much is left."),
        item("first of the items"),
        item("second of the items"),
        item("third of the items"),
    ];
    let chunks = chunk(&blocks, 40, &count);
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[1].text, "- first of the items\n- second of the items\n- third of the items");
}

#[test]
fn a_split_table_repeats_its_header() {
    let rows: Vec<Vec<String>> = (0..30).map(|row| vec![format!("bolt {row}"), format!("{row}.50")]).collect();
    let mut all: Vec<Vec<&str>> = vec![vec!["Item", "Price"]];
    all.extend(rows.iter().map(|row| row.iter().map(String::as_str).collect::<Vec<_>>()));
    let block = table(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let chunks = chunk(&[block], 64, &count);
    assert!(chunks.len() > 2);
    assert!(chunks.iter().all(|chunk| chunk.text.starts_with("| Item | Price |\n|-|-|\n")), "{chunks:#?}");
    let lines: Vec<&str> =
        chunks.iter().flat_map(|chunk| chunk.text.lines()).filter(|line| line.contains("bolt")).collect();
    assert_eq!(lines.len(), 30);
}

#[test]
fn furniture_and_bare_pictures_are_left_out() {
    let blocks = [
        Block::new(BlockKind::PageHeader, "Secret"),
        Block::new(BlockKind::Picture, ""),
        Block::new(BlockKind::PageFooter, "1"),
    ];
    assert!(chunk(&blocks, 64, &count).is_empty());
}

#[test]
fn a_heading_without_text_below_it_is_not_lost() {
    let chunks = chunk(&[heading(1, "Alone"), heading(1, "Also alone")], 64, &count);
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(), ["Alone\n\nAlso alone"]);
}

#[test]
fn a_word_of_100_kilobytes_is_cut_in_reasonable_time() {
    let counts = Counter::new(0);
    let counted = |text: &str| {
        counts.set(counts.get() + 1);
        count(text)
    };
    let word = "x".repeat(100_000);
    let chunks = chunk(&[heading(1, &word), text(&word)], 64, &counted);
    assert!(chunks.iter().all(|chunk| chunk.token_count <= 64));
    let text: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(text.len(), 200_000);
    assert!(counts.get() < 20_000, "{} counts", counts.get());
}

#[test]
fn counting_is_sparing() {
    let counts = Counter::new(0);
    let counted = |text: &str| {
        counts.set(counts.get() + 1);
        count(text)
    };
    let blocks: Vec<Block> =
        (0..1000).map(|number| text(&format!("Paragraph number {number} has these eight words."))).collect();
    let chunks = chunk(&blocks, 256, &counted);
    assert!(counts.get() < 1000 + 4 * chunks.len(), "{} counts for {} chunks", counts.get(), chunks.len());
}

#[test]
fn a_split_block_keeps_its_place_in_every_piece() {
    let place = Locator::on_page(3, Bbox { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 });
    let long = Block { prov: vec![place.clone()], ..text(&"These are words of a long paragraph. ".repeat(40)) };
    let chunks = chunk(&[long], 64, &count);
    assert!(chunks.len() > 3);
    assert!(chunks.iter().all(|chunk| chunk.prov == [place.clone()]));
    assert!(chunks[0].text.ends_with('.'), "cut between sentences: {}", chunks[0].text);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "([a-zäé中]{1,9}[ .,!?]{1,2}){0,30}",
        2 => "[^\0]{0,40}",
        1 => "[a-z]{200,900}",
        1 => "([A-Z][a-z]{2,8} ){60,160}",
        1 => "[.,;!]{50,300}",
    ]
}

fn any_block() -> impl Strategy<Value = Block> {
    (0..10usize, any_text(), 1..5u8).prop_map(|(kind, words, level)| match kind {
        0 => Block::new(BlockKind::Title, &words),
        1 | 2 => heading(level, &words),
        3 => Block { marker: Some("2.".to_owned()), level: Some(level), ..Block::new(BlockKind::ListItem, &words) },
        4 => Block::new(BlockKind::Code, &words),
        5 => Block::new(BlockKind::PageHeader, &words),
        6 => table(&[&[words.as_str(), "b"], &["c", words.as_str()], &["", "f"]]),
        _ => text(&words),
    })
}

#[test]
fn a_checkpoint_ends_the_work_within_a_long_text_a_long_list_and_a_long_table() {
    let words = "A sentence of some words. ".repeat(20_000);
    let rows: Vec<&[&str]> = vec![&["a cell", "another cell"]; 5_000];
    let item = Block::new(BlockKind::ListItem, "an item");
    for blocks in [vec![text(&words)], vec![table(&rows)], vec![item; 5_000]] {
        let whole = Counter::new(0);
        let asked = || {
            whole.set(whole.get() + 1);
            Ok(())
        };
        super::chunk(&blocks, 64, &count, Checkpoint::new(&asked)).unwrap();
        assert!(whole.get() > 30, "asked {} times", whole.get());
        let rest = Counter::new(10);
        let ends = || match rest.get() {
            0 => Err(deckle_contract::error::Failure::rejected("limit.time", "enough")),
            left => {
                rest.set(left - 1);
                Ok(())
            }
        };
        assert!(super::chunk(&blocks, 64, &count, Checkpoint::new(&ends)).is_err());
    }
}

proptest! {
    #[test]
    fn no_chunk_is_longer_than_the_limit(blocks in prop::collection::vec(any_block(), 0..12), limit in prop::sample::select(vec![24usize, 64, 256])) {
        for chunk in chunk(&blocks, limit, &count) {
            prop_assert!(count(&chunk.embedded_text()) <= limit, "{:?}", chunk);
            prop_assert!(!chunk.text.trim().is_empty());
        }
    }

    #[test]
    fn the_same_blocks_give_the_same_chunks(blocks in prop::collection::vec(any_block(), 0..12)) {
        prop_assert_eq!(chunk(&blocks, 64, &count), chunk(&blocks, 64, &count));
    }

    #[test]
    fn no_text_is_lost_and_none_doubled(texts in prop::collection::vec((0..4usize, any_text()), 0..14), limit in prop::sample::select(vec![24usize, 64, 256])) {
        let kinds = [BlockKind::Text, BlockKind::Code, BlockKind::Footnote, BlockKind::PageFooter];
        let blocks: Vec<Block> = texts.iter().map(|(kind, words)| Block::new(kinds[*kind], words)).collect();
        let wanted: String = blocks.iter().filter(|block| !block.kind.is_furniture()).map(|block| letters(&block.text)).collect();
        let kept: String = chunk(&blocks, limit, &count).iter().map(|chunk| letters(&chunk.text)).collect();
        prop_assert_eq!(kept, wanted);
    }

    #[test]
    fn headings_are_told_in_order_with_their_text(texts in prop::collection::vec((0..5u8, any_text()), 0..14), limit in prop::sample::select(vec![24usize, 64, 256])) {
        let blocks: Vec<Block> = texts
            .iter()
            .map(|(level, words)| if *level > 2 { text(words) } else { heading(1 + level, words) })
            .collect();
        // Paths repeat, so what is wanted stands in order in what the chunks keep, with repeats between.
        let kept: String =
            chunk(&blocks, limit, &count).iter().map(|chunk| letters(&(chunk.headings.concat() + &chunk.text))).collect();
        let mut rest = kept.chars();
        for wanted in blocks.iter().flat_map(|block| letters(&block.text).chars().collect::<Vec<_>>()) {
            prop_assert!(rest.any(|c| c == wanted), "{blocks:?}");
        }
    }
}
