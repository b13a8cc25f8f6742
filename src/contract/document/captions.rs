//! Captions, and the tables and pictures that they belong to.

use super::{Bbox, Block, BlockKind, FigureKind};

/// For each block that is a caption: the table or picture that it belongs to, by index.
///
/// That is the nearest one on its page, above, below or beside it; one of the kind that the caption names comes first,
/// and of two as near the one before. Blocks without boxes are near only to their neighbours. Each owner takes one
/// caption.
pub fn caption_owners(blocks: &[Block]) -> Vec<Option<usize>> {
    let mut pairs: Vec<(bool, f32, bool, usize, usize)> = Vec::new();
    for caption in (0..blocks.len()).filter(|index| blocks[*index].kind == BlockKind::Caption) {
        let window = caption.saturating_sub(NEAR_BLOCKS)..(caption + NEAR_BLOCKS + 1).min(blocks.len());
        for owner in window.filter(|owner| FigureKind::of(blocks[*owner].kind).is_some()) {
            let is_next = owner.abs_diff(caption) == 1;
            let distance = match (place(&blocks[caption]), place(&blocks[owner])) {
                (Some(one), Some(other)) => match distance(one, other) {
                    Some(points) if points <= NEAR_POINTS || is_next => points,
                    _ => continue,
                },
                _ if is_next => 0.0,
                _ => continue,
            };
            let is_other_kind = names_table(&blocks[caption].text) != (blocks[owner].kind == BlockKind::Table);
            pairs.push((is_other_kind, distance, owner > caption, caption, owner));
        }
    }
    pairs.sort_by(|a, b| (a.0.cmp(&b.0)).then(a.1.total_cmp(&b.1)).then((a.2, a.3, a.4).cmp(&(b.2, b.3, b.4))));
    let mut owner_of = vec![None; blocks.len()];
    let mut taken = vec![false; blocks.len()];
    for (_, _, _, caption, owner) in pairs {
        if owner_of[caption].is_none() && !taken[owner] {
            taken[owner] = true;
            owner_of[caption] = Some(owner);
        }
    }
    owner_of
}

/// A caption's owner is at most so many blocks away in reading order …
const NEAR_BLOCKS: usize = 6;
/// … and at most so far on the page: three lines of text.
const NEAR_POINTS: f32 = 36.0;

/// The page and box of a block.
fn place(block: &Block) -> Option<(u32, Bbox)> {
    let place = block.prov.first()?;
    Some((place.page_no?, place.bbox?))
}

/// The gap between two boxes that stand above or beside one another on a page; `None` where they do not.
fn distance((page, one): (u32, Bbox), (other_page, other): (u32, Bbox)) -> Option<f32> {
    if page != other_page {
        return None;
    }
    let gap_down = (one.top - other.bottom).max(other.top - one.bottom);
    let gap_across = (one.left - other.right).max(other.left - one.right);
    let in_line = |gap: f32, one: f32, other: f32| -gap > one.min(other) * 0.3;
    if in_line(gap_across, one.width(), other.width()) {
        Some(gap_down.max(0.0))
    } else if in_line(gap_down, one.height(), other.height()) {
        Some(gap_across.max(0.0))
    } else {
        None
    }
}

/// A caption's own name and what follows it: `Figure 3` and `: Two bolts`. `None` for a text that does not begin so.
pub fn split_caption(text: &str) -> Option<(&str, &str)> {
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
    let end = text.len() - rest.len() + number.len();
    (counts && number.chars().count() <= 8).then(|| text.split_at(end))
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

fn names_table(caption: &str) -> bool {
    caption.trim_start().to_lowercase().starts_with("tab")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Locator;

    fn block(kind: BlockKind, text: &str) -> Block {
        let json = serde_json::json!({ "kind": kind, "text": text, "method": "text_layer" });
        serde_json::from_value(json).unwrap()
    }

    fn at(kind: BlockKind, text: &str, [left, top, right, bottom]: [f32; 4]) -> Block {
        let prov = vec![Locator::on_page(1, Bbox { left, top, right, bottom })];
        Block { prov, ..block(kind, text) }
    }

    #[test]
    fn a_caption_belongs_to_the_nearest_of_its_kind() {
        // Two pictures in a row with their captions below, read row by row; and a table below its caption.
        let blocks = [
            at(BlockKind::Picture, "", [50.0, 100.0, 250.0, 200.0]),
            at(BlockKind::Picture, "", [300.0, 100.0, 500.0, 200.0]),
            at(BlockKind::Caption, "Figure 1: left", [50.0, 206.0, 250.0, 216.0]),
            at(BlockKind::Caption, "Figure 2: right", [300.0, 206.0, 500.0, 216.0]),
            at(BlockKind::Caption, "Table 1: below", [300.0, 222.0, 500.0, 232.0]),
            at(BlockKind::Text, "between", [50.0, 222.0, 250.0, 260.0]),
            at(BlockKind::Table, "", [300.0, 240.0, 500.0, 300.0]),
            at(BlockKind::Caption, "Figure 3: of nothing", [50.0, 700.0, 250.0, 710.0]),
        ];
        let owners = caption_owners(&blocks);
        assert_eq!(owners[2..], [Some(0), Some(1), Some(6), None, None, None]);
    }

    #[test]
    fn a_caption_beside_its_picture_belongs_to_it() {
        let blocks = [
            at(BlockKind::Caption, "Abb. 2 Der Kai", [320.0, 110.0, 420.0, 140.0]),
            at(BlockKind::Picture, "", [50.0, 100.0, 300.0, 250.0]),
        ];
        assert_eq!(caption_owners(&blocks), [Some(1), None]);
    }

    #[test]
    fn a_captions_name_is_its_word_and_number() {
        for (text, name, rest) in [
            ("Figure 3: Two bolts", "Figure 3", ": Two bolts"),
            ("Table IV. Tides", "Table IV", ". Tides"),
            ("Abb. 2-1 Der Kai", "Abb. 2-1", " Der Kai"),
            ("Fig. A shows", "Fig. A", " shows"),
        ] {
            assert_eq!(split_caption(text), Some((name, rest)));
        }
        for text in ["Figure skating", "Table", "The figure 3", "Bild von gestern"] {
            assert_eq!(split_caption(text), None, "{text}");
        }
    }
}
