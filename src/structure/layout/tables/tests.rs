use super::super::tests::line;
use super::*;
use deckle_contract::document::{Cell, Drawing, Line, Page};

/// A page of 600 × 800 points with rules.
fn page(lines: Vec<Line>, rules: Vec<Bbox>) -> Page {
    let drawing = Drawing { rules, paths: Vec::new() };
    Page { page_no: 1, width: 600.0, height: 800.0, lines, drawing, ..Page::default() }
}

fn level(at: f32, left: f32, right: f32) -> Bbox {
    Bbox { left, top: at, right, bottom: at + 0.5 }
}

fn upright(at: f32, top: f32, bottom: f32) -> Bbox {
    Bbox { left: at, top, right: at + 0.5, bottom }
}

/// The rules of a whole grid.
fn grid(xs: &[f32], ys: &[f32]) -> Vec<Bbox> {
    let across = ys.iter().map(|y| level(*y, xs[0], xs[xs.len() - 1]));
    let down = xs.iter().map(|x| upright(*x, ys[0], ys[ys.len() - 1]));
    across.chain(down).collect()
}

fn tables(lines: Vec<Line>, rules: Vec<Bbox>) -> Vec<Table> {
    let mut page = page(lines, rules);
    super::super::analyse(&mut page);
    let indexes: usize = page.blocks.iter().map(|block| block.line_indexes.len()).sum();
    assert_eq!(indexes, page.lines.len(), "a line is lost or doubled");
    page.blocks.into_iter().filter_map(|block| block.table).collect()
}

/// A row of a table to a line: texts parted by bars, heads with `#` or (of rows) `@`, spans as `{rows×columns}`.
fn rendered(table: &Table) -> Vec<String> {
    let mut rows = vec![Vec::new(); table.rows as usize];
    let mut cells: Vec<&Cell> = table.cells.iter().collect();
    cells.sort_by_key(|cell| (cell.row_index, cell.column_index));
    for cell in cells {
        let mark = if cell.header {
            "#"
        } else if cell.row_header {
            "@"
        } else {
            ""
        };
        let span = match (cell.row_span, cell.column_span) {
            (1, 1) => String::new(),
            (rows, columns) => format!("{{{rows}×{columns}}}"),
        };
        rows[cell.row_index as usize].push(format!("{mark}{}{span}", cell.text));
    }
    rows.into_iter().map(|row| row.join(" | ")).collect()
}

/// Whether cells tile the grid: each place is covered once.
fn tiles(table: &Table) -> bool {
    let mut places = vec![0; (table.rows * table.columns) as usize];
    for cell in &table.cells {
        for row in cell.row_index..cell.row_index + cell.row_span {
            for column in cell.column_index..cell.column_index + cell.column_span {
                match places.get_mut((row * table.columns + column) as usize) {
                    Some(place) if column < table.columns => *place += 1,
                    _ => return false,
                }
            }
        }
    }
    places.iter().all(|covered| *covered == 1)
}

#[test]
fn a_grid_is_a_table_with_its_empty_and_wrapped_cells() {
    let rules = grid(&[50.0, 150.0, 300.0, 400.0], &[100.0, 120.0, 160.0, 180.0]);
    let lines = vec![
        line(55.0, 104.0, 10.0, "Part"),
        line(155.0, 104.0, 10.0, "What to do"),
        line(305.0, 104.0, 10.0, "Grade"),
        line(55.0, 134.0, 10.0, "Deck"),
        line(155.0, 124.0, 10.0, "replace the planks"),
        line(155.0, 140.0, 10.0, "before winter"),
        line(305.0, 134.0, 10.0, "3"),
        line(155.0, 164.0, 10.0, "nothing"),
        line(305.0, 164.0, 10.0, "1"),
    ];
    let found = tables(lines, rules);
    assert_eq!(found.len(), 1);
    assert!(tiles(&found[0]));
    assert_eq!(
        rendered(&found[0]),
        ["#Part | #What to do | #Grade", "Deck | replace the planks before winter | 3", " | nothing | 1"]
    );
    let bbox = found[0].cells[4].prov.as_ref().and_then(|place| place.bbox).expect("a ruled cell's box");
    assert!((bbox.left - 150.0).abs() < 1.0 && (bbox.bottom - 160.0).abs() < 1.0, "{bbox:?}");
}

#[test]
fn the_lines_of_a_ruled_table_are_read_cell_by_cell() {
    // The cell of two lines begins above the middle of its row, and ends below.
    let cells = [
        (60.0, 106.0, "Rope"),
        (210.0, 100.0, "Price of"),
        (210.0, 112.0, "a fathom"),
        (60.0, 136.0, "Hemp"),
        (210.0, 136.0, "0.12"),
        (60.0, 166.0, "Coir"),
        (210.0, 166.0, "0.09"),
    ];
    let lines = cells.iter().map(|(left, top, text)| line(*left, *top, 10.0, text)).collect();
    let mut page = page(lines, grid(&[50.0, 200.0, 350.0], &[95.0, 127.0, 157.0, 187.0]));
    super::super::analyse(&mut page);
    assert_eq!(page.blocks.len(), 1);
    assert_eq!(page.blocks[0].line_indexes, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn missing_rules_are_spans() {
    let mut rules = vec![level(100.0, 50.0, 350.0), level(120.0, 150.0, 350.0), level(140.0, 50.0, 350.0)];
    rules.extend([level(160.0, 50.0, 350.0), level(180.0, 50.0, 350.0)]);
    rules.extend([50.0, 150.0, 350.0].map(|x| upright(x, 100.0, 180.0)));
    rules.push(upright(250.0, 120.0, 180.0));
    let lines = vec![
        line(60.0, 115.0, 10.0, "Day"),
        line(220.0, 104.0, 10.0, "Height (m)"),
        line(160.0, 124.0, 10.0, "high"),
        line(260.0, 124.0, 10.0, "low"),
        line(60.0, 144.0, 10.0, "Monday"),
        line(160.0, 144.0, 10.0, "5.4"),
        line(260.0, 144.0, 10.0, "0.9"),
        line(60.0, 164.0, 10.0, "Tuesday"),
        line(160.0, 164.0, 10.0, "5.6"),
        line(260.0, 164.0, 10.0, "0.7"),
    ];
    let found = tables(lines, rules);
    assert!(tiles(&found[0]));
    assert_eq!(
        rendered(&found[0]),
        ["#Day{2×1} | #Height (m){1×2}", "#high | #low", "@Monday | 5.4 | 0.9", "@Tuesday | 5.6 | 0.7"]
    );
}

#[test]
fn rows_and_columns_without_rules_are_seen_in_the_figures() {
    let rules = vec![level(100.0, 50.0, 400.0), level(120.0, 50.0, 400.0), level(190.0, 50.0, 400.0)];
    let mut lines = vec![
        line(55.0, 104.0, 10.0, "Offense"),
        line(200.0, 104.0, 10.0, "Total"),
        line(320.0, 104.0, 10.0, "Under 18"),
    ];
    lines.push(line(55.0, 126.0, 10.0, "Murder and nonnegligent"));
    for (top, cells) in [
        (138.0, ["manslaughter", "10.0", "0.9"]),
        (154.0, ["Robbery", "102.1", "25.5"]),
        (170.0, ["Arson", "9.8", "4.3"]),
    ] {
        lines.extend([55.0, 200.0, 320.0].iter().zip(cells).map(|(left, text)| line(*left, top, 10.0, text)));
    }
    let found = tables(lines, rules);
    assert_eq!(
        rendered(&found[0]),
        [
            "#Offense | #Total | #Under 18",
            "@Murder and nonnegligent manslaughter | 10.0 | 0.9",
            "@Robbery | 102.1 | 25.5",
            "@Arson | 9.8 | 4.3"
        ]
    );
}

#[test]
fn a_name_in_the_middle_above_several_columns_spans_them_without_a_rule() {
    let rules = vec![level(100.0, 50.0, 400.0), level(136.0, 50.0, 400.0), level(190.0, 50.0, 400.0)];
    let mut lines =
        vec![line(55.0, 104.0, 10.0, "Approach"), line(192.0, 104.0, 10.0, "CS"), line(322.0, 104.0, 10.0, "Bio")];
    let rows: [(f32, [&str; 5]); 4] = [
        (120.0, ["", "prec", "yield", "prec", "yield"]),
        (140.0, ["Hybrid", "91.5", "1990", "92.1", "3126"]),
        (156.0, ["Neural", "98.4", "7120", "94.4", "9280"]),
        (172.0, ["Naive", "97.4", "8730", "77.5", "1206"]),
    ];
    for (top, cells) in rows {
        let filled = [55.0, 160.0, 210.0, 290.0, 345.0].into_iter().zip(cells).filter(|(_, text)| !text.is_empty());
        lines.extend(filled.map(|(left, text)| line(left, top, 10.0, text)));
    }
    let found = tables(lines, rules);
    assert!(tiles(&found[0]));
    assert_eq!(rendered(&found[0])[..2], ["#Approach{2×1} | #CS{1×2} | #Bio{1×2}", "#prec | #yield | #prec | #yield"]);
}

#[test]
fn a_frame_around_text_and_the_grid_of_a_chart_are_no_tables() {
    let text = |top: f32| line(60.0, top, 10.0, "A frame around a paragraph is there to be seen and counts nothing");
    let framed = grid(&[50.0, 550.0], &[100.0, 160.0]);
    assert!(tables([104.0, 118.0, 132.0].map(text).into(), framed).is_empty());
    let chart = grid(&[100.0, 200.0, 300.0, 400.0], &[100.0, 150.0, 200.0, 250.0]);
    let labels = (0..4).flat_map(|step| {
        let at = step as f32;
        [line(70.0, 96.0 + at * 50.0, 10.0, "20"), line(95.0 + at * 100.0, 256.0, 10.0, "Jan")]
    });
    assert!(tables(labels.collect(), chart).is_empty());
}

#[test]
fn axes_through_words_and_lines_that_end_anywhere_are_a_figure() {
    let mut rules = grid(&[100.0, 400.0], &[100.0, 300.0]);
    rules.extend([level(200.0, 80.0, 430.0), upright(250.0, 70.0, 330.0), level(150.0, 180.0, 320.0)]);
    let lines = [(110.0, 110.0), (300.0, 110.0), (110.0, 250.0), (300.0, 250.0), (230.0, 194.0), (120.0, 194.0)];
    let lines = lines.iter().map(|(left, top)| line(*left, *top, 10.0, "label")).collect();
    assert!(tables(lines, rules).is_empty());
}

#[test]
fn rules_above_and_below_running_text_make_no_table() {
    let mut lines: Vec<Line> = Vec::new();
    for row in 0..12 {
        lines.push(line(50.0, 110.0 + row as f32 * 12.0, 10.0, "the left column goes on from line to line as"));
        lines.push(line(310.0, 110.0 + row as f32 * 12.0, 10.0, "does the right one with which it shares a page"));
    }
    assert!(tables(lines, vec![level(100.0, 50.0, 550.0), level(260.0, 50.0, 550.0)]).is_empty());
}

#[test]
fn a_rule_through_the_middle_of_a_page_loses_no_word() {
    // A line that runs out of its frame on both sides.
    let mut lines =
        vec![line(20.0, 124.0, 10.0, "a line that is much wider than the frame in which it has its middle, far")];
    lines.extend([55.0, 155.0].map(|left| line(left, 104.0, 10.0, "cell")));
    lines.extend([55.0, 155.0].map(|left| line(left, 144.0, 10.0, "cell")));
    tables(lines, grid(&[50.0, 150.0, 250.0], &[100.0, 120.0, 140.0, 160.0]));
}
