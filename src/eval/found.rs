//! What deckle found in a document, as it is compared.
//!
//! The law: what is compared is what readers get: the words of the lines in the reading order of their blocks, lines
//! that no block holds at the end. Nothing is looked up in the truth here. Where a truth says nothing of pictures
//! ([`Scope::pictures`]), the words inside the blocks that are pictures are counted and left out: a paragraph that was
//! taken for a picture is then a loss like any other.

use super::{
    boxes::Placed,
    tables::PlacedTable,
    text,
    truth::{Frame, Place, Scope, Unit},
};
use deckle_contract::document::{Bbox, Block, BlockKind, Document, Line, Page};

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Its pages; a file without pages is one. Pages that failed are missing.
    pub pages: Vec<FoundPage>,
    /// How many words inside pictures were left out, where the truth does not have them.
    pub picture_words_left_out: Option<usize>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FoundPage {
    /// Counted from 1; `None` for a file without pages.
    pub page_no: Option<u32>,
    /// Width in points.
    pub width: f32,
    /// Height in points.
    pub height: f32,
    /// Resolution of its picture, where it is one.
    pub dpi: Option<f32>,
    /// Words as printed, in reading order.
    pub words: Vec<FoundWord>,
    /// Text as a reader would write it down.
    pub flowing: String,
    /// Boxes of lines.
    pub lines: Vec<Bbox>,
    /// Boxes of blocks, furniture included.
    pub blocks: Vec<Bbox>,
    /// The tables on the page, with their boxes.
    pub tables: Vec<PlacedTable>,
}

/// One word as printed.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundWord {
    /// The word.
    pub text: String,
    /// Its box; that of its line where the words of a line cannot be told from each other.
    pub bbox: Option<Bbox>,
    /// 0..1; `None` for a text layer.
    pub confidence: Option<f32>,
    /// Whether it is the last of its line.
    pub ends_line: bool,
}

impl Found {
    /// What pages say of that which the truth is about.
    pub fn of_pages<'a>(pages: impl IntoIterator<Item = &'a Page>, scope: &Scope) -> Self {
        let mut found = Self::default();
        for page in pages.into_iter().filter(|page| scope.has_page(page.page_no)) {
            let pictures = if scope.pictures { Vec::new() } else { pictures(page) };
            let (words, left_out) = words_of_page(page, &pictures);
            found.pages.push(FoundPage { words, ..found_page(page, &pictures) });
            if !scope.pictures {
                *found.picture_words_left_out.get_or_insert(0) += left_out;
            }
        }
        found
    }

    /// What a file without pages says.
    pub fn of_blocks(document: &Document) -> Self {
        let mut page = FoundPage { flowing: flowing(&document.blocks), ..FoundPage::default() };
        page.words = words_of_text(&page.flowing, None, None);
        page.tables = tables(None, &document.blocks);
        Self { pages: vec![page], picture_words_left_out: None }
    }

    /// The page of a number.
    pub fn page(&self, page_no: u32) -> Option<&FoundPage> {
        self.pages.iter().find(|page| page.page_no == Some(page_no))
    }

    /// All words, in reading order.
    pub fn words(&self) -> impl Iterator<Item = &FoundWord> {
        self.pages.iter().flat_map(|page| &page.words)
    }

    /// All tables.
    pub fn tables(&self) -> Vec<PlacedTable> {
        self.pages.iter().flat_map(|page| page.tables.clone()).collect()
    }

    /// All boxes of a kind.
    pub fn boxes(&self, of: Unit) -> Vec<Placed> {
        let on_page = |page: &FoundPage| -> Vec<Placed> {
            let Some(page_no) = page.page_no else { return Vec::new() };
            page.boxes(of).into_iter().map(|bbox| Placed { page_no, bbox }).collect()
        };
        self.pages.iter().flat_map(on_page).collect()
    }

    /// A place of the truth in points from the top left; as it is where its page was not found.
    pub fn placed(&self, place: &Place, frame: Frame) -> Placed {
        let Place { page_no, bbox } = *place;
        let bbox = match (frame, self.page(page_no)) {
            (Frame::TopLeft, _) | (_, None) => bbox,
            (Frame::BottomLeft, Some(page)) => {
                Bbox { top: page.height - bbox.bottom, bottom: page.height - bbox.top, ..bbox }
            }
            (Frame::Pixels, Some(page)) => {
                let points = 72.0 / page.dpi.filter(|dpi| *dpi > 0.0).unwrap_or(72.0);
                Bbox {
                    left: bbox.left * points,
                    top: bbox.top * points,
                    right: bbox.right * points,
                    bottom: bbox.bottom * points,
                }
            }
        };
        Placed { page_no, bbox }
    }
}

impl FoundPage {
    /// Its boxes of a kind.
    pub fn boxes(&self, of: Unit) -> Vec<Bbox> {
        match of {
            Unit::Word => self.words.iter().filter_map(|word| word.bbox).collect(),
            Unit::Line => self.lines.clone(),
            Unit::Block => self.blocks.clone(),
            Unit::Table => self.tables.iter().filter_map(|table| Some(table.place?.bbox)).collect(),
        }
    }
}

/// The words of a page in reading order, without those inside these pictures; and how many these are.
fn words_of_page(page: &Page, pictures: &[Bbox]) -> (Vec<FoundWord>, usize) {
    let mut order: Vec<usize> = Vec::with_capacity(page.lines.len());
    let mut is_in_block = vec![false; page.lines.len()];
    let mut words = Vec::new();
    for block in &page.blocks {
        let indexes = block.line_indexes.iter().map(|index| *index as usize);
        for index in indexes.filter(|index| *index < page.lines.len()) {
            is_in_block[index] = true;
            order.push(index);
        }
    }
    order.extend((0..page.lines.len()).filter(|index| !is_in_block[*index]));
    let mut left_out = 0;
    for line in order.into_iter().map(|index| &page.lines[index]) {
        let of_line = words_of_line(line);
        if pictures.iter().any(|picture| holds_middle(picture, &line.bbox)) {
            left_out += of_line.len();
        } else {
            words.extend(of_line);
        }
    }
    (words, left_out)
}

/// Where the pictures of a page are.
fn pictures(page: &Page) -> Vec<Bbox> {
    page.blocks.iter().filter(|block| block.kind == BlockKind::Picture).filter_map(around).collect()
}

fn around(block: &Block) -> Option<Bbox> {
    block.prov.iter().find_map(|place| place.bbox)
}

fn holds_middle(outer: &Bbox, inner: &Bbox) -> bool {
    let (x, y) = ((inner.left + inner.right) / 2.0, (inner.top + inner.bottom) / 2.0);
    (outer.left..=outer.right).contains(&x) && (outer.top..=outer.bottom).contains(&y)
}

/// A page but for its words as printed; text without what stands inside these pictures.
fn found_page(page: &Page, pictures: &[Bbox]) -> FoundPage {
    let is_told =
        |block: &&Block| around(block).is_none_or(|bbox| !pictures.iter().any(|picture| holds_middle(picture, &bbox)));
    FoundPage {
        page_no: Some(page.page_no),
        width: page.width,
        height: page.height,
        dpi: page.dpi,
        words: Vec::new(),
        flowing: flowing(page.blocks.iter().filter(is_told)),
        lines: page.lines.iter().map(|line| line.bbox).collect(),
        blocks: page.blocks.iter().filter_map(around).collect(),
        tables: tables(Some(page.page_no), &page.blocks),
    }
}

fn words_of_line(line: &Line) -> Vec<FoundWord> {
    let mut words = words_of_text(&line.text, Some(line.bbox), line.confidence);
    let own: Vec<_> = line.words.iter().filter(|word| !word.text.trim().is_empty()).collect();
    // Scripts without spaces: a line may be one word of text, and many of the recogniser.
    if own.len() == words.len() {
        for (word, own) in words.iter_mut().zip(own) {
            word.bbox = Some(own.bbox);
            word.confidence = own.confidence;
        }
    }
    words
}

fn words_of_text(text: &str, bbox: Option<Bbox>, confidence: Option<f32>) -> Vec<FoundWord> {
    let of_line = |line: &str| {
        let mut words: Vec<FoundWord> =
            text::words(line).into_iter().map(|text| FoundWord { text, bbox, confidence, ends_line: false }).collect();
        if let Some(last) = words.last_mut() {
            last.ends_line = true;
        }
        words
    };
    text.lines().flat_map(of_line).collect()
}

fn flowing<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> String {
    let text = |block: &Block| match &block.table {
        Some(table) => {
            let cells: Vec<&str> = table.cells.iter().map(|cell| cell.text.as_str()).collect();
            cells.join(" ")
        }
        None => block.text.clone(),
    };
    blocks.into_iter().map(text).collect::<Vec<_>>().join("\n")
}

fn tables(page_no: Option<u32>, blocks: &[Block]) -> Vec<PlacedTable> {
    let table = |block: &Block| {
        let bbox = block.prov.iter().find_map(|place| place.bbox);
        let place = page_no.zip(bbox).map(|(page_no, bbox)| Placed { page_no, bbox });
        Some(PlacedTable { page_no, place, table: Some(block.table.clone()?) })
    };
    blocks.iter().filter_map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{BlockKind, Locator, Method, Word};

    fn line(text: &str, top: f32) -> Line {
        let bbox = Bbox { left: 0.0, top, right: 10.0, bottom: top + 1.0 };
        let words = text.split(' ').map(|text| Word { text: text.to_owned(), bbox, confidence: Some(0.5) }).collect();
        Line {
            text: text.to_owned(),
            bbox,
            polygon: None,
            words,
            confidence: Some(0.9),
            method: Method::Ocr,
            font_size: None,
            bold: false,
        }
    }

    fn block(text: &str, lines: &[u32]) -> Block {
        Block {
            kind: BlockKind::Text,
            text: text.to_owned(),
            level: None,
            marker: None,
            code_language: None,
            prov: vec![Locator::on_page(1, Bbox::default())],
            line_indexes: lines.to_vec(),
            table: None,
            confidence: None,
            method: Method::Ocr,
            image: None,
        }
    }

    #[test]
    fn lines_are_read_in_the_order_of_blocks_and_none_is_lost() {
        let lines = vec![line("lost", 9.0), line("se- cond", 5.0), line("first", 1.0)];
        let blocks = vec![block("first", &[2]), block("second", &[1, 7])];
        let page = Page { page_no: 1, lines, blocks, ..Page::default() };
        let found = Found::of_pages([&page], &Scope::default());
        let words: Vec<_> = found.words().map(|word| (word.text.as_str(), word.ends_line)).collect();
        assert_eq!(words, [("first", true), ("se-", false), ("cond", true), ("lost", true)]);
        assert_eq!(found.pages[0].flowing, "first\nsecond");
        assert_eq!(found.words().next().unwrap().confidence, Some(0.5));
        assert_eq!(Found::of_pages([&page], &Scope { pages: vec![2], ..Scope::default() }).pages.len(), 0);
    }

    #[test]
    fn what_stands_inside_pictures_is_left_out_where_the_truth_does_not_have_it() {
        let around = |top, bottom| vec![Locator::on_page(1, Bbox { left: 0.0, top, right: 10.0, bottom })];
        let text = Block { prov: around(0.0, 2.0), ..block("above", &[0]) };
        let chart = Block { kind: BlockKind::Picture, prov: around(3.0, 8.0), ..block("Year", &[1]) };
        let legend = Block { prov: around(6.0, 7.0), ..block("in all seas", &[2]) };
        let lines = vec![line("above", 1.0), line("Year", 4.0), line("in all seas", 6.0), line("lost", 9.0)];
        let page = Page { page_no: 1, lines, blocks: vec![text, chart, legend], ..Page::default() };
        let scoped = |scope: &Scope| {
            let found = Found::of_pages([&page], scope);
            let words: Vec<String> = found.words().map(|word| word.text.clone()).collect();
            (words.join(" "), found.pages[0].flowing.clone(), found.picture_words_left_out)
        };
        let all = ("above Year in all seas lost".to_owned(), "above\nYear\nin all seas".to_owned(), None);
        assert_eq!(scoped(&Scope::default()), all);
        let without = Scope { pictures: false, ..Scope::default() };
        assert_eq!(scoped(&without), ("above lost".to_owned(), "above".to_owned(), Some(4)));
        assert_eq!(Found::of_pages([&Page::default()], &without).picture_words_left_out, Some(0));
    }

    #[test]
    fn places_of_the_truth_are_brought_into_the_pages_frame() {
        let page = FoundPage { page_no: Some(1), height: 100.0, dpi: Some(144.0), ..FoundPage::default() };
        let found = Found { pages: vec![page], ..Found::default() };
        let bbox = Bbox { left: 10.0, top: 20.0, right: 30.0, bottom: 40.0 };
        let placed = |frame| found.placed(&Place { page_no: 1, bbox }, frame).bbox;
        assert_eq!(placed(Frame::BottomLeft), Bbox { left: 10.0, top: 60.0, right: 30.0, bottom: 80.0 });
        assert_eq!(placed(Frame::Pixels), Bbox { left: 5.0, top: 10.0, right: 15.0, bottom: 20.0 });
        assert_eq!(placed(Frame::TopLeft), bbox);
    }
}
