use super::*;

#[test]
fn a_footer_of_several_rows_is_furniture_with_its_page_number() {
    let mut lines = column("Text", 50.0, 100.0, 400.0, 50);
    lines.push(line(290.0, 740.0, 10.0, "84"));
    lines.push(line(200.0, 756.0, 9.5, "Proceedings of the Society of Bolts, pages 84–91"));
    lines.push(line(120.0, 768.0, 9.5, "Port Isaac, June 1 - 6. Held every second year in the hall of the ropery"));
    let kinds: Vec<BlockKind> = analysed(lines).iter().map(|block| block.kind).collect();
    use BlockKind::{PageFooter, Text};
    assert_eq!(kinds, [Text, PageFooter, PageFooter, PageFooter]);
}

#[test]
fn a_footnote_of_two_lines_above_the_page_number_is_no_footer() {
    let mut lines = column("Text", 50.0, 100.0, 400.0, 40);
    lines.push(line(50.0, 734.0, 8.0, "1 The harbour office keeps the ledgers of all"));
    lines.push(line(50.0, 744.0, 8.0, "berths, and lends them to nobody."));
    lines.push(line(290.0, 775.0, 9.0, "117"));
    let kinds: Vec<BlockKind> = analysed(lines).iter().map(|block| block.kind).collect();
    use BlockKind::{Footnote, PageFooter, Text};
    assert_eq!(kinds, [Text, Footnote, PageFooter]);
}

#[test]
fn a_stamp_up_the_margin_is_furniture_and_what_runs_up_among_the_text_is_not() {
    let with = |left: f32| {
        let mut lines = column("Text", 80.0, 110.0, 400.0, 20);
        lines.push(sideways(left, 600.0, "stamped by the printer of proposals"));
        lines.push(line(300.0, 780.0, 8.0, "12"));
        let blocks = analysed(lines);
        blocks.into_iter().map(|block| (block.kind, block.text.chars().take(2).collect())).collect::<Vec<(_, String)>>()
    };
    use BlockKind::{PageFooter, Text};
    let block = |kind, text: &str| (kind, text.to_owned());
    let stamped = [block(Text, "Te"), block(PageFooter, "12"), block(PageFooter, "st")];
    assert_eq!(with(20.0), stamped, "it is read after what is upright");
    assert_eq!(with(570.0), stamped);
    assert_eq!(with(200.0), [block(Text, "Te"), block(Text, "st"), block(PageFooter, "12")]);

    let rows = (0..9).map(|row| sideways(20.0 + row as f32 * 30.0, 100.0, "a row of a wide table, turned"));
    let blocks = analysed(rows.chain([line(300.0, 400.0, 8.0, "Table 3")]).collect());
    assert!(blocks.iter().all(|block| block.kind != PageFooter), "{:?}", outline(&blocks));
}

#[test]
fn page_numbers_and_small_running_titles_are_furniture() {
    let mut lines = vec![line(50.0, 20.0, 8.0, "Annual Report of the Society"), line(290.0, 770.0, 10.0, "- 12 -")];
    lines.extend(column("Text", 50.0, 100.0, 400.0, 30));
    let blocks = analysed(lines);
    assert_eq!(blocks.first().map(|block| block.kind), Some(BlockKind::PageHeader));
    assert_eq!(blocks.last().map(|block| (block.kind, block.text.as_str())), Some((BlockKind::PageFooter, "- 12 -")));
}

#[test]
fn lines_that_repeat_at_their_place_are_furniture_of_the_document() {
    let pages: Vec<Page> = (1..=3)
        .map(|page_no| {
            let mut lines = column("Text", 50.0, 100.0, 400.0, 10);
            lines.push(line(50.0, 84.0, 10.0, &format!("Society of Bolts, issue {page_no}")));
            let mut page = Page { page_no, ..page(lines) };
            analyse(&mut page);
            page
        })
        .collect();
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let headers = blocks.iter().filter(|block| block.kind == BlockKind::PageHeader);
    assert_eq!(headers.count(), 3, "{:?}", outline(&blocks));
    let (_, two) = assemble_blocks(pages[..2].iter().collect());
    assert!(two.iter().all(|block| block.kind != BlockKind::PageHeader), "twice is no habit");
}

#[test]
fn headings_that_count_over_the_pages_are_content() {
    let with = |page_no: u32| {
        let mut lines = column("Text", 50.0, 110.0, 400.0, 10);
        lines.push(line(50.0, 70.0, 16.0, &format!("Grey Head light, day {page_no}")));
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(1), with(2), with(3)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let headings = blocks.iter().filter(|block| matches!(block.kind, BlockKind::Title | BlockKind::SectionHeader));
    assert_eq!(headings.count(), 3, "{:?}", outline(&blocks));
}

#[test]
fn large_running_titles_and_stamps_up_the_side_are_furniture_of_the_document() {
    let with = |page_no: u32| {
        let mut lines = column("Text", 80.0, 110.0, 400.0, 10);
        lines.push(bold(line(80.0, 36.0, 14.0, &format!("The Quay Register, volume 85, page 477{page_no:02}"))));
        let bbox = Bbox { left: 20.0, top: 500.0, right: 27.0, bottom: 640.0 };
        lines.push(Line { bbox, words: Vec::new(), ..line(20.0, 500.0, 6.0, "stamped by the printer of proposals") });
        let mut page = Page { page_no, ..page(lines) };
        analyse(&mut page);
        page
    };
    let pages = [with(1), with(2), with(3)];
    let (_, blocks) = assemble_blocks(pages.iter().collect());
    let furniture: Vec<BlockKind> = blocks.iter().map(|block| block.kind).filter(|kind| kind.is_furniture()).collect();
    use BlockKind::{PageFooter, PageHeader};
    assert_eq!(furniture, [PageHeader, PageFooter].repeat(3), "{:?}", outline(&blocks));
}
