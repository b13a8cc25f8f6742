//! The page of one document: its pages as pictures with boxes, the differences of the text, its tables.

use serde::Serialize;

use super::{Card, PICTURES, Picture, STYLE, Shown, cards, count, duration, file_of};
use crate::{
    compare::Passage,
    diff::Span,
    found::FoundPage,
    tables::{self, PlacedTable, placed_cells, teds::teds},
    text,
    truth::Unit,
};
use deckle_contract::document::{Bbox, Table};

#[derive(Serialize)]
pub(super) struct Page {
    style: &'static str,
    name: String,
    set: String,
    status: &'static str,
    why: Option<String>,
    facts: Vec<String>,
    cards: Vec<Card>,
    before: Option<Link>,
    after: Option<Link>,
    layers: Vec<Layer>,
    has_text: bool,
    spreads: Vec<Spread>,
    tables: Vec<Pair>,
}

#[derive(Serialize)]
struct Link {
    href: String,
    name: String,
}

#[derive(Serialize)]
struct Layer {
    id: &'static str,
    label: String,
    shown: bool,
}

/// Pictures on the left, text on the right.
#[derive(Serialize)]
struct Spread {
    title: Option<String>,
    pages: Vec<Sheet>,
    spans: Vec<Span>,
}

#[derive(Serialize)]
struct Sheet {
    number: u32,
    picture: String,
    width_px: u32,
    height_px: u32,
    width: f32,
    height: f32,
    layers: Vec<Boxes>,
}

#[derive(Serialize)]
struct Boxes {
    id: &'static str,
    boxes: Vec<Rect>,
}

#[derive(Serialize)]
struct Rect {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
    title: Option<String>,
    number: Option<usize>,
    /// Where the number stands: left of the box, so that it hides no text.
    tab: f32,
}

/// A table of the truth beside the one found.
#[derive(Serialize)]
struct Pair {
    title: String,
    sides: [Side; 2],
}

#[derive(Serialize)]
struct Side {
    title: String,
    rows: Vec<Vec<Cell>>,
}

#[derive(Serialize)]
struct Cell {
    text: String,
    row_span: u32,
    column_span: u32,
    class: String,
}

/// What the template shows of the document at a place of the report, whose documents have these names.
pub(super) fn context(shown: &Shown<'_>, number: usize, names: &[&str]) -> Page {
    let result = shown.result;
    let link = |number: usize| Some(Link { href: file_of(number), name: (*names.get(number)?).to_owned() });
    let spreads = spreads(shown);
    Page {
        style: STYLE,
        name: result.name.clone(),
        set: result.set.clone(),
        status: result.status.as_str(),
        why: result.why.clone(),
        facts: facts(shown),
        cards: cards(&result.figures),
        before: number.checked_sub(1).and_then(link),
        after: link(number + 1),
        layers: layers(shown),
        has_text: spreads.iter().any(|spread| !spread.spans.is_empty()),
        spreads,
        tables: table_pairs(shown),
    }
}

fn facts(shown: &Shown<'_>) -> Vec<String> {
    let result = shown.result;
    let mut facts = Vec::new();
    let truths = result.truths.iter().map(|truth| {
        let name = truth.path.rsplit('/').next().unwrap_or(&truth.path);
        format!("{name} ({})", truth.format.as_str())
    });
    facts.push(format!("truth: {}", truths.collect::<Vec<_>>().join(", ")));
    if result.pages > 0 {
        facts.push(count(result.pages, "page"));
    }
    if !result.models.is_empty() {
        facts.push(format!("read by {}", result.models.join(", ")));
    }
    if !result.languages.is_empty() {
        facts.push(format!("languages {}", result.languages.join(", ")));
    }
    if let Some(words) = result.picture_words_left_out {
        facts.push(format!("{} inside pictures left out, as in the truth", count(words, "word")));
    }
    if let Some(confidence) = result.confidence {
        facts.push(format!("confidence {confidence:.2}"));
    }
    if let Some(cpu) = result.cpu_s_per_page {
        facts.push(format!("{} of processor time per page", duration(cpu)));
    }
    facts
}

/// Kinds of boxes that are somewhere in the document.
fn layers(shown: &Shown<'_>) -> Vec<Layer> {
    let comparison = shown.comparison;
    let wrong = comparison.is_right.iter().flatten().filter(|is_right| !**is_right).count();
    let of_truth = comparison.boxes.as_ref().filter(|(_, boxes)| !boxes.is_empty());
    let pages = &shown.found.pages;
    let any = |of: Unit| pages.iter().any(|page| !page.boxes(of).is_empty());
    let layer = |id, label: String, is_there: bool, shown| is_there.then_some(Layer { id, label, shown });
    let truth_label = of_truth.map(|(of, boxes)| format!("{} of the truth", count(boxes.len(), of.as_str())));
    [
        layer("errors", format!("{} that the truth does not have", count(wrong, "word")), wrong > 0, true),
        layer("truth", truth_label.unwrap_or_default(), of_truth.is_some(), true),
        layer("tables", "tables found".to_owned(), any(Unit::Table), true),
        layer("blocks", "blocks in reading order".to_owned(), any(Unit::Block), true),
        layer("lines", "lines".to_owned(), any(Unit::Line), false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn spreads(shown: &Shown<'_>) -> Vec<Spread> {
    let sheets = shown.found.pages.iter().enumerate().filter_map(|(index, page)| {
        let number = page.page_no?;
        sheet(shown, index, page, number, shown.pictures.get(&number)?)
    });
    let mut sheets: Vec<Sheet> = sheets.collect();
    let passages = &shown.comparison.passages;
    if let [Passage { page_no: None, spans }] = passages.as_slice() {
        return vec![Spread { title: None, pages: sheets, spans: spans.clone() }];
    }
    let mut spreads = Vec::new();
    for passage in passages {
        let number = passage.page_no;
        let own: Vec<Sheet> = sheets.extract_if(.., |sheet| Some(sheet.number) == number).collect();
        let title = number.map(|number| format!("Page {number}"));
        spreads.push(Spread { title, pages: own, spans: passage.spans.clone() });
    }
    for sheet in sheets {
        spreads.push(Spread { title: Some(format!("Page {}", sheet.number)), pages: vec![sheet], spans: Vec::new() });
    }
    spreads
}

fn sheet(shown: &Shown<'_>, index: usize, page: &FoundPage, number: u32, picture: &Picture) -> Option<Sheet> {
    let plain = |bbox: Bbox| boxed(bbox, None, None);
    let is_right = shown.comparison.is_right.get(index).map_or(&[][..], Vec::as_slice);
    let wrong = page.words.iter().zip(is_right).filter(|(_, is_right)| !**is_right);
    let errors = wrong.filter_map(|(word, _)| {
        let sure = word.confidence.map(|it| format!(" (confidence {it:.2})")).unwrap_or_default();
        Some(boxed(word.bbox?, Some(format!("{}{sure}", word.text)), None))
    });
    let of_truth = shown.comparison.boxes.iter().flat_map(|(_, boxes)| boxes).filter(|it| it.page_no == number);
    let blocks = page.boxes(Unit::Block).into_iter().enumerate();
    let layers = vec![
        Boxes { id: "lines", boxes: page.boxes(Unit::Line).into_iter().map(plain).collect() },
        Boxes { id: "blocks", boxes: blocks.map(|(at, bbox)| boxed(bbox, None, Some(at + 1))).collect() },
        Boxes { id: "tables", boxes: page.boxes(Unit::Table).into_iter().map(plain).collect() },
        Boxes { id: "truth", boxes: of_truth.map(|it| boxed(it.bbox, None, None)).collect() },
        Boxes { id: "errors", boxes: errors.collect() },
    ];
    (page.width > 0.0 && page.height > 0.0).then(|| Sheet {
        number,
        picture: format!("{PICTURES}/{}", picture.name),
        width_px: picture.width_px,
        height_px: picture.height_px,
        width: page.width,
        height: page.height,
        layers,
    })
}

fn boxed(bbox: Bbox, title: Option<String>, number: Option<usize>) -> Rect {
    let round = |value: f32| (value * 10.0).round() / 10.0;
    Rect {
        x: round(bbox.left),
        y: round(bbox.top),
        width: round(bbox.width()),
        height: round(bbox.height()),
        title,
        number,
        tab: round((bbox.left - 14.0).max(0.0)),
    }
}

fn table_pairs(shown: &Shown<'_>) -> Vec<Pair> {
    let (found, truth) = (shown.found.tables(), &shown.comparison.tables);
    if truth.is_empty() {
        return Vec::new();
    }
    let chosen = tables::pairs(&found, truth);
    let place = |table: &PlacedTable| table.page_no.map(|page_no| format!(" on page {page_no}")).unwrap_or_default();
    let mut pairs = Vec::new();
    for (index, table) in truth.iter().enumerate() {
        let one = chosen.iter().find(|(_, of_truth)| *of_truth == index).map(|(found_at, _)| &found[*found_at]);
        let title = match (one.and_then(|one| one.table.as_ref()), &table.table) {
            (Some(one), Some(other)) => {
                let alike = teds(one, other, shown.comparison.has_headers) * 100.0;
                format!("Table {}{}: TEDS {alike:.1} %", index + 1, place(table))
            }
            _ => format!("Table {}{}: missed", index + 1, place(table)),
        };
        pairs.push(pair(title, table.table.as_ref(), one.and_then(|one| one.table.as_ref())));
    }
    for (index, table) in found.iter().enumerate() {
        if chosen.iter().all(|(found_at, _)| *found_at != index) {
            pairs.push(pair(format!("Table{}: made up", place(table)), None, table.table.as_ref()));
        }
    }
    pairs
}

fn pair(title: String, truth: Option<&Table>, found: Option<&Table>) -> Pair {
    let side = |name: &str, table: Option<&Table>, other: Option<&Table>, class: &str| match table {
        Some(table) => {
            Side { title: format!("{name}: {} × {}", table.rows, table.columns), rows: rows(table, other, class) }
        }
        None => Side { title: format!("{name}: none"), rows: Vec::new() },
    };
    Pair { title, sides: [side("Truth", truth, found, "missed"), side("Found", found, truth, "extra")] }
}

/// Rows for HTML; cells that the other table does not have are of the class given. Places that no cell covers are blank.
fn rows(table: &Table, other: Option<&Table>, class: &str) -> Vec<Vec<Cell>> {
    let others = other.map(placed_cells).unwrap_or_default();
    let (rows, columns) = (table.rows as usize, table.columns as usize);
    let mut is_covered = vec![vec![false; columns]; rows];
    let mut shown: Vec<Vec<Cell>> = Vec::new();
    for row in 0..rows {
        let mut cells = Vec::new();
        for column in 0..columns {
            if is_covered[row][column] {
                continue;
            }
            let at = |cell: &&deckle_contract::document::Cell| {
                cell.row_index as usize == row && cell.column_index as usize == column
            };
            let Some(cell) = table.cells.iter().find(at) else {
                cells.push(Cell { text: String::new(), row_span: 1, column_span: 1, class: String::new() });
                continue;
            };
            let (row_span, column_span) = (cell.row_span.max(1), cell.column_span.max(1));
            for covered in is_covered.iter_mut().skip(row).take(row_span as usize) {
                covered.iter_mut().skip(column).take(column_span as usize).for_each(|it| *it = true);
            }
            let text = text::normalised(&cell.text);
            let place = (cell.row_index, cell.column_index, row_span, column_span, text.clone());
            let differs = !text.is_empty() && !others.contains_key(&place);
            let heads = if cell.header || cell.row_header { "heads " } else { "" };
            let class = format!("{heads}{}", if differs { class } else { "" });
            cells.push(Cell { text, row_span, column_span, class });
        }
        shown.push(cells);
    }
    shown
}
