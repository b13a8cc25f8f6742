use super::*;

#[test]
fn two_columns_below_a_wide_heading_are_read_one_after_the_other() {
    let mut lines = column("Right", 310.0, 140.0, 240.0, 20);
    lines.extend(column("Left", 50.0, 140.0, 240.0, 20));
    lines.push(line(50.0, 100.0, 20.0, "A heading over both columns"));
    let blocks = analysed(lines);
    assert_eq!(blocks[0].kind, BlockKind::Title);
    assert!(blocks[1].text.starts_with("Left00"), "{:?}", outline(&blocks));
    assert!(blocks.last().unwrap().text.contains("Right00"));
}

#[test]
fn a_heading_over_two_of_three_columns_stands_above_those_two() {
    let mut lines = vec![bold(line(50.0, 100.0, 14.0, "Over the first and the second"))];
    for (name, left, top) in [("Aaa", 50.0, 130.0), ("Bbb", 222.0, 130.0), ("Ccc", 394.0, 100.0)] {
        lines.extend(column(name, left, top, 162.0, 20));
    }
    let order: Vec<String> = analysed(lines).iter().map(|block| block.text.chars().take(3).collect()).collect();
    assert_eq!(order, ["Ove", "Aaa", "Bbb", "Ccc"]);
}

#[test]
fn full_width_text_between_two_pairs_of_columns_parts_them() {
    let mut lines = Vec::new();
    for (name, left, top) in [("One", 50.0, 100.0), ("Two", 310.0, 100.0), ("Thr", 50.0, 320.0), ("Fou", 310.0, 320.0)]
    {
        lines.extend(column(name, left, top, 240.0, 12));
    }
    lines.extend(column("Wide", 50.0, 270.0, 500.0, 2));
    let order: Vec<String> = analysed(lines).iter().map(|block| block.text.chars().take(3).collect()).collect();
    assert_eq!(order, ["One", "Two", "Wid", "Thr", "Fou"]);
}

#[test]
fn a_wide_gap_in_a_justified_line_parts_no_sentence() {
    let mut lines = column("Above", 50.0, 60.0, 300.0, 4);
    let [mut left, mut right] =
        [bold(line(60.0, 112.0, 10.0, "Entity relations.")), line(270.0, 112.0, 10.0, "While mention edges")];
    left.bbox.right = 160.0;
    right.bbox.right = 350.0;
    lines.extend([left, right]);
    lines.extend([line(50.0, 124.0, 10.0, "stand between what is said in one place, others stand for")]);
    lines.extend([line(50.0, 136.0, 10.0, "what holds anywhere.")]);
    let blocks = analysed(lines);
    assert_eq!(blocks.len(), 2, "{:?}", outline(&blocks));
    assert!(blocks[1].text.starts_with("Entity relations. While mention edges stand between"));
}

#[test]
fn a_rule_across_the_page_ends_its_columns() {
    let mut lines = Vec::new();
    for (name, left, top) in [("One", 50.0, 100.0), ("Two", 310.0, 100.0), ("Thr", 50.0, 250.0), ("Fou", 310.0, 250.0)]
    {
        lines.extend(column(name, left, top, 240.0, 11));
    }
    let order = |page: &mut Page| -> Vec<String> {
        analyse(page);
        page.blocks.iter().map(|block| block.text.chars().take(3).collect()).collect()
    };
    let mut page = page(lines);
    assert_eq!(order(&mut page), ["One", "Thr", "Two", "Fou"]);
    page.drawing.rules = vec![Bbox { left: 50.0, top: 240.0, right: 550.0, bottom: 240.5 }];
    assert_eq!(order(&mut page), ["One", "Two", "Thr", "Fou"]);
}

#[test]
fn a_title_centred_over_what_stands_below_three_columns_is_read_with_it() {
    let order = |rows_in_the_middle: usize, title: Option<Line>| -> Vec<String> {
        let mut lines = Vec::new();
        for (name, left, rows) in [("Aaa", 50.0, 20), ("Bbb", 222.0, rows_in_the_middle), ("Ccc", 394.0, 20)] {
            lines.extend(column(name, left, 100.0, 162.0, rows));
        }
        lines.extend(title);
        let mut page = page(lines);
        page.images = vec![Bbox { left: 50.0, top: 370.0, right: 556.0, bottom: 600.0 }];
        analyse(&mut page);
        page.blocks.iter().map(|block| block.text.chars().take(3).collect()).collect()
    };
    // In the middle of the page, and inside the middle column.
    let title = line(253.0, 352.0, 10.0, "THE COST OF ONE YEAR");
    assert_eq!(order(20, Some(title)), ["Aaa", "Bbb", "Ccc", "THE", ""]);
    assert_eq!(order(21, None), ["Aaa", "Bbb", "Ccc", ""], "the last line of a column is no title");
}

#[test]
fn of_five_thousand_lines_none_is_lost() {
    let mut lines: Vec<Line> = Vec::new();
    for number in 0..5000 {
        let (column, row) = (number % 5, number / 5);
        lines.push(line(20.0 + column as f32 * 115.0, row as f32 * 0.8, 8.0, &format!("word{number} and more")));
    }
    let mut grid = page(lines);
    let mut tall =
        page((0..5000).map(|row| line(50.0, row as f32 * 12.0, 10.0, &format!("line {row} of a long page"))).collect());
    let mut pile = page((0..5000).map(|_| line(50.0, 50.0, 10.0, "all in one place")).collect());
    for page in [&mut grid, &mut tall, &mut pile] {
        analyse(page);
        let lines: usize = page.blocks.iter().map(|block| block.line_indexes.len()).sum();
        assert_eq!(lines, 5000);
    }
}

#[test]
fn a_paragraph_that_breaks_over_a_page_becomes_one_with_two_places() {
    let mut first = page(vec![line(50.0, 100.0, 10.0, "This sentence of some length is not at its end, as it goes")]);
    let mut second = page(vec![line(50.0, 100.0, 10.0, "on here. And this is the next one.")]);
    second.page_no = 2;
    analyse(&mut first);
    analyse(&mut second);
    let (_, blocks) = assemble_blocks(vec![&first, &second]);
    assert_eq!(blocks.len(), 1);
    assert_eq!(
        blocks[0].text,
        "This sentence of some length is not at its end, as it goes on here. And this is the next one."
    );
    assert_eq!(blocks[0].prov.iter().map(|place| place.page_no).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert!(blocks[0].line_indexes.is_empty());
}
