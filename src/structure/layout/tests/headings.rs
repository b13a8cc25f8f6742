use super::{super::headings::parts, *};

#[test]
fn headings_have_depths_by_their_size() {
    let mut lines = vec![
        line(50.0, 60.0, 24.0, "The Title of It All"),
        line(50.0, 120.0, 16.0, "1 First"),
        line(50.0, 280.0, 13.0, "1.1 Below the first"),
        line(50.0, 440.0, 16.0, "2 Second"),
    ];
    for top in [150.0, 310.0, 470.0] {
        lines.extend(column("Text", 50.0, top, 400.0, 5));
    }
    let blocks = analysed(lines);
    let depths: Vec<(BlockKind, Option<u8>)> =
        blocks.iter().filter(|block| block.kind != BlockKind::Text).map(|block| (block.kind, block.level)).collect();
    use BlockKind::{SectionHeader, Title};
    assert_eq!(depths, [(Title, None), (SectionHeader, Some(1)), (SectionHeader, Some(2)), (SectionHeader, Some(1))]);
}

#[test]
fn numbers_tell_the_depth_of_headings_better_than_sizes_do() {
    // Sizes as a recogniser measures them.
    let mut lines = Vec::new();
    for (row, (size, text)) in
        [(15.0, "1 First"), (13.4, "1.1 Below"), (13.5, "2 Second"), (12.2, "2.1 Below"), (15.0, "3 Third")]
            .iter()
            .enumerate()
    {
        let top = 60.0 + row as f32 * 140.0;
        lines.push(line(50.0, top, *size, text));
        lines.extend(column("Text", 50.0, top + 30.0, 400.0, 5));
    }
    let mut page = Page { page_no: 2, ..page(lines) };
    analyse(&mut page);
    let (_, blocks) = assemble_blocks(vec![&page]);
    let depths: Vec<u8> = blocks.iter().filter_map(|block| block.level).collect();
    assert_eq!(depths, [1, 2, 1, 2, 1]);
    for (text, expected) in [("3.1 Results", 2), ("4. End", 1), ("2021 in short", 0), ("1.5 %", 0), ("Results 3", 0)] {
        assert_eq!(parts(text), expected, "{text}");
    }
}

#[test]
fn a_bold_heading_that_fills_its_line_is_no_part_of_the_paragraph() {
    let mut lines = vec![bold(line(50.0, 100.0, 10.0, "Confidential Business Information (CBI)"))];
    lines.push(line(60.0, 112.0, 10.0, "CBI is what is kept and treated so"));
    lines.extend(
        ["by its owner, and what the law says", "of it is told in the next section."]
            .iter()
            .enumerate()
            .map(|(row, text)| line(50.0, 124.0 + row as f32 * 12.0, 10.0, text)),
    );
    let blocks = analysed(lines);
    assert_eq!(blocks[0].kind, BlockKind::SectionHeader, "{:?}", outline(&blocks));
    assert_eq!(blocks.len(), 2);
}

#[test]
fn depths_are_those_of_the_whole_document() {
    let with = |page_no: u32, size: f32| {
        let mut lines = column("Text", 50.0, 150.0, 400.0, 10);
        lines.push(line(50.0, 110.0, size, "A heading"));
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(2, 20.0), with(3, 14.0), with(4, 20.0)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let depths: Vec<Option<u8>> =
        blocks.iter().filter(|block| block.kind == BlockKind::SectionHeader).map(|block| block.level).collect();
    assert_eq!(depths, [Some(1), Some(2), Some(1)]);
}
