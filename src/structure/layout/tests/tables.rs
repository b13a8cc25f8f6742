use super::*;

#[test]
fn a_two_column_page_is_no_table() {
    let mut lines = column("Left", 50.0, 100.0, 240.0, 40);
    lines.extend(column("Right", 302.0, 100.0, 240.0, 40));
    assert!(analysed(lines).iter().all(|block| block.kind == BlockKind::Text));
}

#[test]
fn aligned_cells_are_a_table_with_boxes() {
    let mut lines = column("Text", 50.0, 60.0, 500.0, 4);
    for (row, cells) in
        [["Item", "Count", "Price"], ["Bolt", "12", "0.10"], ["Nut", "7", "0.20"], ["Washer", "100", "0.05"]]
            .iter()
            .enumerate()
    {
        for (left, text) in [50.0, 250.0, 400.0].iter().zip(cells) {
            lines.push(line(*left, 140.0 + row as f32 * 16.0, 10.0, text));
        }
    }
    let blocks = analysed(lines);
    let block = &blocks[1];
    let table = block.table.as_ref().expect("a table");
    assert_eq!((table.rows, table.columns, table.cells.len()), (4, 3, 12));
    assert!(table.cells[0].header && !table.cells[3].header);
    assert_eq!(table.cells[4].prov.as_ref().and_then(|place| place.bbox).map(|bbox| bbox.left), Some(250.0));
    assert_eq!(block.line_indexes.len(), 12);
}

#[test]
fn a_line_over_several_cells_is_cut_at_its_wide_gaps() {
    let rows = ["alpha          10          1.5", "beta           20          2.5", "gamma          30          3.5"];
    let lines = rows.iter().enumerate().map(|(row, text)| line(50.0, 100.0 + row as f32 * 14.0, 10.0, text)).collect();
    let blocks = analysed(lines);
    assert_eq!(
        blocks[0].table.as_ref().map(|table| (table.rows, table.columns)),
        Some((3, 3)),
        "{:?}",
        outline(&blocks)
    );
}
