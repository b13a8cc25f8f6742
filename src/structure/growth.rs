//! How work grows with its input: at four times of it at most five times the steps, for shapes that invite a loop in a
//! loop. `tests/growth.py` runs them in a build that counts.

#[path = "../../tests/growth/steps.rs"]
mod steps;

use deckle_contract::{
    checkpoint::Checkpoint,
    document::{
        Bbox, Block, BlockKind, Cell, Drawing, Line, Locator, Method, Page, Region, RegionKind, Table,
        metadata::{Destination, OutlineEntry},
    },
};
use steps::assert_even;

use crate::{
    chunking, fields,
    layout::{
        self,
        tests::{bold, line, page},
    },
    outline,
};

const PITCH: f32 = 14.0;

fn top(row: usize) -> f32 {
    100.0 + row as f32 * PITCH
}

/// A page as high as its lines need.
fn high(lines: Vec<Line>) -> Page {
    let (right, bottom) = lines.iter().fold((600.0, 800.0), |(right, bottom): (f32, f32), line| {
        (right.max(line.bbox.right + 60.0), bottom.max(line.bbox.bottom + 100.0))
    });
    Page { width: right, height: bottom, ..page(lines) }
}

fn rows(n: usize, of: impl Fn(usize) -> Vec<Line>) -> Page {
    high((0..n).flat_map(of).collect())
}

fn bbox(left: f32, top: f32, right: f32, bottom: f32) -> Bbox {
    Bbox { left, top, right, bottom }
}

fn drawn(page: Page, rules: Vec<Bbox>) -> Page {
    Page { drawing: Drawing { rules, paths: Vec::new() }, ..page }
}

const PROSE: &str = "the tide came in over the flats and nobody saw the boats go out again";

/// A line of one word that runs up the page.
fn upright(left: f32, top: f32) -> Line {
    let whole = line(left, top, 6.0, "sideways");
    let bbox = bbox(left, top, left + 7.0, top + 60.0);
    Line { bbox, words: Vec::new(), ..whole }
}

#[test]
fn lines_of_a_page() {
    let prose = |n| rows(n, |row| vec![line(50.0, top(row), 10.0, PROSE)]);
    let columns = |n| {
        rows(n / 2, |row| vec![line(50.0, top(row), 10.0, &PROSE[..40]), line(350.0, top(row), 10.0, &PROSE[..40])])
    };
    let overlapping = |n| rows(n, |_| vec![line(50.0, 200.0, 10.0, "again")]);
    let beside = |n| high((0..n).map(|at| line(50.0 + at as f32 * 60.0, 200.0, 10.0, "beside")).collect());
    let one_line = |n: usize| rows(1, |_| vec![line(50.0, 200.0, 10.0, &"word ".repeat(n))]);
    let unbroken = |n: usize| {
        let first = std::iter::once(line(50.0, top(0), 10.0, &"x".repeat(n * 10)));
        high(first.chain((1..n).map(|row| line(50.0, top(row), 10.0, PROSE))).collect())
    };
    let headings = |n| {
        rows(n, |row| vec![bold(line(50.0, top(row) * 3.0, 12.0 + (row % 97) as f32 * 0.2, "A heading of some words"))])
    };
    let fields = |n| rows(n, |row| vec![line(50.0, top(row), 10.0, "Net price:"), line(250.0, top(row), 10.0, "4711")]);
    let bold_first = |n| {
        rows(n, |row| {
            let line = line(50.0 + (row % 50) as f32 * 6.0, top(row), 10.0, "Words that end with a comma,");
            vec![if row < n / 2 || row % 2 == 0 { bold(line) } else { line }]
        })
    };
    let listed = |n| rows(n, |row| vec![line(50.0 + (row % 20) as f32 * 12.0, top(row), 10.0, "– an item of a list")]);
    let narrow = |n: usize| {
        let first = (0..n / 2).map(|at| line(50.0 + at as f32 * 12.0, top(0), 10.0, "x"));
        let rest = (1..n / 4)
            .flat_map(|row| [line(50.0, top(row), 10.0, "x"), line(50.0 + (n / 2) as f32 * 12.0, top(row), 10.0, "y")]);
        high(first.chain(rest).collect())
    };
    let sideways = |n| {
        let mut page = rows(n / 2, |row| vec![line(80.0, top(row), 10.0, PROSE)]);
        page.lines.extend((0..n / 3).map(|at| upright(10.0, 100.0 + at as f32 * 20.0)));
        page
    };
    let spread = |n: usize| {
        let column = |at: usize| (0..3).map(move |row| (at, row));
        high(
            (0..n / 3)
                .flat_map(column)
                .map(|(at, row)| {
                    line(50.0 + at as f32 * 400.0, top(row), 10.0, "the tide came in over the flats and went, and so")
                })
                .collect(),
        )
    };
    assert_even(
        &[
            ("prose", 1_000, &prose),
            ("two columns", 1_000, &columns),
            ("lines upon each other", 1_000, &overlapping),
            ("lines beside each other", 1_000, &beside),
            ("one line of many words", 1_000, &one_line),
            ("a line without a space", 500, &unbroken),
            ("headings of many sizes", 500, &headings),
            ("labels and values", 1_000, &fields),
            ("bold lines", 1_000, &bold_first),
            ("list items", 1_000, &listed),
            ("gutters", 1_000, &narrow),
            ("sideways lines", 1_000, &sideways),
            ("many columns", 900, &spread),
        ],
        layout::analyse,
    );
}

#[test]
fn pictures_and_votes() {
    let labels = |n: usize| {
        let lines = (0..n).map(|at| Line {
            method: Method::Ocr,
            ..line(60.0 + (at % 20) as f32 * 20.0, 130.0 + (at / 20) as f32 * PITCH, 8.0, "ab")
        });
        let page = high(lines.collect());
        let images = vec![bbox(50.0, 120.0, 480.0, 130.0 + (n / 20 + 1) as f32 * PITCH)];
        Page { images, height: page.height * 2.0, ..page }
    };
    let many = |n: usize| {
        let mut page = rows(n, |row| vec![line(50.0, top(row), 10.0, "label")]);
        let part = page.height / 70.0;
        page.images =
            (0..64).map(|at| bbox(40.0, 100.0 + at as f32 * part, 140.0, 99.0 + (at + 1) as f32 * part)).collect();
        page
    };
    let voted = |n: usize| {
        let mut page = Page { method: Some(Method::Ocr), ..rows(n, |row| vec![line(50.0, top(row), 10.0, PROSE)]) };
        page.regions = (0..100)
            .map(|at| {
                let kind = [RegionKind::Text, RegionKind::Table, RegionKind::Title][at % 3];
                let from = page.height * at as f32 / 100.0;
                Region { kind, bbox: bbox(40.0, from, 560.0, from + page.height / 100.0), score: 0.9 }
            })
            .collect();
        page
    };
    assert_even(
        &[("labels of a picture", 1_000, &labels), ("many pictures", 1_000, &many), ("votes", 500, &voted)],
        layout::analyse,
    );
}

#[test]
fn tables_of_a_page() {
    let table = |rows_: usize, columns: usize| {
        rows(rows_, |row| (0..columns).map(|at| line(50.0 + at as f32 * 60.0, top(row), 10.0, "47.11")).collect())
    };
    let high_table = |n| table(n / 4, 4);
    let wide = |n| table(4, n / 4);
    let square = |n: usize| table(n.isqrt(), n.isqrt());
    let small = |n: usize| {
        rows(n / 9, |number| {
            let cell = move |at: usize| line(50.0 + (at % 3) as f32 * 80.0, top(number * 8 + at / 3), 10.0, "47.11");
            (0..9).map(cell).collect()
        })
    };
    assert_even(
        &[
            ("a high table", 1_000, &high_table),
            ("a wide table", 1_000, &wide),
            ("a square table", 1_024, &square),
            ("many small tables", 900, &small),
        ],
        layout::analyse,
    );
}

#[test]
fn rules_of_a_page() {
    let filled = |rows_: usize, columns: usize| {
        rows(rows_, |row| (0..columns).map(|at| line(52.0 + at as f32 * 60.0, top(row) + 1.0, 8.0, "47.11")).collect())
    };
    let x = |at: usize| 50.0 + at as f32 * 60.0;
    let y = |at: usize| top(at) - 1.0;
    // Each cell with its own four rules.
    let by_cells = move |rows_: usize, columns: usize| {
        let cell = |row: usize, column: usize| {
            let (left, right, top, bottom) = (x(column), x(column + 1), y(row), y(row + 1));
            [
                bbox(left, top, right, top + 0.5),
                bbox(left, bottom, right, bottom + 0.5),
                bbox(left, top, left + 0.5, bottom),
                bbox(right, top, right + 0.5, bottom),
            ]
        };
        let rules = (0..rows_).flat_map(|row| (0..columns).flat_map(move |column| cell(row, column)));
        drawn(filled(rows_, columns), rules.collect())
    };
    let square = move |n: usize| by_cells(n.isqrt(), n.isqrt());
    let long = move |n: usize| by_cells(n / 4, 4);
    let broad = move |n: usize| by_cells(4, n / 4);
    let stack = move |n: usize| {
        let rules = (0..n).map(|row| bbox(50.0, y(row), 290.0, y(row) + 0.5)).collect();
        drawn(filled(n, 4), rules)
    };
    let stacks = move |n: usize| {
        let rules = (0..n).map(|row| bbox(50.0, y(row), 60.0 + row as f32 * 13.0, y(row) + 0.5)).collect();
        drawn(rows(n, |row| vec![line(50.0, top(row), 10.0, PROSE)]), rules)
    };
    let boxes = move |n: usize| {
        let of = |at: usize| {
            let (top, bottom) = (y(at * 3), y(at * 3 + 2));
            [
                bbox(50.0, top, 300.0, top + 0.5),
                bbox(50.0, bottom, 300.0, bottom + 0.5),
                bbox(50.0, top, 50.5, bottom),
                bbox(300.0, top, 300.5, bottom),
            ]
        };
        drawn(rows(n, |row| vec![line(60.0, top(row * 3), 10.0, "in a box")]), (0..n).flat_map(of).collect())
    };
    let grid = move |places: usize| {
        let n = places.isqrt();
        let across = (0..n).map(|at| bbox(50.0, y(at), x(n), y(at) + 0.5));
        let down = (0..n).map(|at| bbox(x(at), y(0), x(at) + 0.5, y(n)));
        drawn(filled(4, 4), across.chain(down).collect())
    };
    assert_even(
        &[
            ("a square table in rules", 400, &square as &dyn Fn(usize) -> Page),
            ("a long table in rules", 400, &long),
            ("a broad table in rules", 400, &broad),
            ("level rules with rows between", 500, &stack),
            ("rules of many widths", 500, &stacks),
            ("many boxes", 400, &boxes),
            ("rules that all cross", 4_096, &grid),
        ],
        layout::analyse,
    );
}

#[test]
fn pages_of_a_document() {
    let documents = |of: fn(usize, usize) -> Vec<Line>| {
        move |n: usize| {
            let page = |number: usize| {
                let mut page = Page { page_no: number as u32 + 1, ..page(of(number, n)) };
                layout::analyse(&mut page);
                page
            };
            (0..n).map(page).collect::<Vec<_>>()
        }
    };
    let text = documents(|number, _| {
        vec![
            line(50.0, 20.0, 8.0, "A running title"),
            line(50.0, 300.0, 10.0, PROSE),
            line(50.0, 780.0, 8.0, &number.to_string()),
        ]
    });
    let goes_on = documents(|_, _| vec![line(50.0, 300.0, 10.0, PROSE)]);
    let pictures = |n: usize| {
        let page = |number: usize| Page {
            page_no: number as u32 + 1,
            blocks: vec![Block {
                prov: vec![Locator::on_page(number as u32 + 1, bbox(50.0, 300.0, 90.0, 320.0))],
                ..Block::new(if number == 0 { BlockKind::Text } else { BlockKind::Picture }, "and")
            }],
            ..page(Vec::new())
        };
        (0..n).map(page).collect::<Vec<_>>()
    };
    let small = |n: usize| {
        let number = |at: usize| Block {
            prov: vec![Locator::on_page(1, bbox(50.0 + at as f32, 10.0, 58.0 + at as f32, 18.0))],
            ..Block::new(BlockKind::SectionHeader, &format!("{at}"))
        };
        vec![Page { blocks: (0..n).map(number).collect(), ..rows(n, |row| vec![line(50.0, top(row), 10.0, "x")]) }]
    };
    assert_even(
        &[
            ("running titles", 250, &text as &dyn Fn(usize) -> Vec<Page>),
            ("a paragraph over all pages", 250, &goes_on),
            ("pictures on all pages", 250, &pictures),
            ("headings at the top of a page", 500, &small),
        ],
        |pages| layout::assemble_blocks(pages.iter().collect()),
    );
}

#[test]
fn outlines() {
    let same = |n: usize| {
        let header = |at: usize| Block {
            level: Some(1),
            prov: vec![Locator::on_page(1, bbox(0.0, at as f32, 100.0, at as f32 + 10.0))],
            ..Block::new(BlockKind::SectionHeader, "Notes")
        };
        let entry = |at: usize| OutlineEntry {
            title: "Notes".to_owned(),
            level: 1,
            destination: Some(Destination { page_no: 1, top: Some((at * 7919 % n) as f32), stated: [None, None] }),
        };
        ((0..n).map(header).collect::<Vec<_>>(), (0..n).map(entry).collect::<Vec<_>>())
    };
    assert_even(&[("one heading many times", 1_000, &same)], |(blocks, entries)| outline::set_levels(blocks, entries));
}

#[test]
fn fields_of_pages() {
    let segments = |n: usize| {
        let on = |row: usize| (0..n / 2).map(move |at| line(50.0 + at as f32 * 120.0, top(row), 10.0, "Price: 4711"));
        let mut page = high((0..2).flat_map(on).collect());
        layout::analyse(&mut page);
        vec![page]
    };
    let labels = |n: usize| {
        let mut page = rows(1, |_| vec![line(50.0, 200.0, 10.0, &"Price: 4711 ".repeat(n))]);
        layout::analyse(&mut page);
        vec![page]
    };
    let prose = |n: usize| vec![rows(1, |_| vec![line(50.0, 200.0, 10.0, &"Price is: ".repeat(n))])];
    let pages = |n: usize| {
        let page = |number: usize| Page {
            page_no: number as u32 + 1,
            ..page(vec![line(50.0, 200.0, 10.0, &format!("Number: {number}"))])
        };
        (0..n).map(page).collect()
    };
    let high_page = |n: usize| {
        let mut page = rows(n, |row| vec![line(50.0, top(row), 10.0, "Number: 4711")]);
        page.blocks = vec![Block {
            line_indexes: (0..n as u32).collect(),
            prov: page.lines.iter().map(|line| Locator::on_page(1, line.bbox)).collect(),
            ..Block::new(BlockKind::Text, "")
        }];
        vec![page]
    };
    assert_even(
        &[
            ("fields beside each other", 500, &segments as &dyn Fn(usize) -> Vec<Page>),
            ("fields on one line", 500, &labels),
            ("colons on one line", 500, &prose),
            ("a field on each page", 500, &pages),
            ("fields of one block", 500, &high_page),
        ],
        |pages| fields::of_pages(pages.iter()),
    );
    let lines = |n: usize| vec![Block::new(BlockKind::Text, &"Name: Maria   Price: 4711\n".repeat(n))];
    let line = |n: usize| vec![Block::new(BlockKind::Text, &"Name: 12 ".repeat(n))];
    assert_even(
        &[("lines of a text", 500, &lines as &dyn Fn(usize) -> Vec<Block>), ("a long line", 500, &line)],
        |blocks| fields::of_blocks(blocks),
    );
}

#[test]
fn chunks() {
    const LIMIT: usize = 256;
    let paragraph = |n: usize| vec![Block::new(BlockKind::Text, &"Some words of a text. ".repeat(n))];
    let word = |n: usize| vec![Block::new(BlockKind::Text, &"x".repeat(n * 8))];
    let paragraphs = |n: usize| vec![Block::new(BlockKind::Text, "Some words of a text."); n];
    let silent = |n: usize| vec![Block::new(BlockKind::Text, "…"); n];
    let headings = |n: usize| {
        (0..n)
            .map(|at| Block {
                level: Some(1 + (at % 9) as u8),
                ..Block::new(BlockKind::SectionHeader, &format!("Part {at}"))
            })
            .collect()
    };
    let heading =
        |n: usize| vec![Block::new(BlockKind::SectionHeader, &"long ".repeat(n)), Block::new(BlockKind::Text, "x")];
    let list = |n: usize| vec![Block { level: Some(1), ..Block::new(BlockKind::ListItem, "an item") }; n];
    let table = |rows: usize, columns: usize| {
        let cell = |at: usize| Cell {
            row_index: (at / columns) as u32,
            column_index: (at % columns) as u32,
            row_span: 1,
            column_span: 1,
            header: false,
            row_header: false,
            text: "cell".to_owned(),
            prov: None,
        };
        let cells = (0..rows * columns).map(cell).collect();
        let table = Table { rows: rows as u32, columns: columns as u32, cells };
        vec![Block { table: Some(table), ..Block::new(BlockKind::Table, "") }]
    };
    let high = |n: usize| table(n / 4, 4);
    let wide = |n: usize| table(4, n / 4);
    let count =
        |text: &str| 2 + text.split(|c: char| !c.is_alphanumeric()).map(|word| word.len().div_ceil(6)).sum::<usize>();
    assert_even(
        &[
            ("one paragraph", 2_000, &paragraph as &dyn Fn(usize) -> Vec<Block>),
            ("one word", 8_000, &word),
            ("paragraphs", 1_000, &paragraphs),
            ("paragraphs without a token", 1_000, &silent),
            ("headings", 1_000, &headings),
            ("a long heading", 1_000, &heading),
            ("a list", 1_000, &list),
            ("a high table", 1_000, &high),
            // Beyond the window in which texts are cut.
            ("a wide table", 12_000, &wide),
        ],
        |blocks| chunking::chunk(blocks, LIMIT, &count, Checkpoint::open()).unwrap(),
    );
}
