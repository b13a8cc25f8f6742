use super::*;

#[test]
fn labels_in_a_picture_are_its_own_and_paragraphs_are_not() {
    let picture = Bbox { left: 50.0, top: 150.0, right: 450.0, bottom: 400.0 };
    let with = |inside: Vec<Line>| {
        let mut page = page(column("Above", 50.0, 60.0, 400.0, 5));
        page.lines.extend(column("Below", 50.0, 450.0, 400.0, 10));
        page.lines.extend(inside);
        page.images = vec![picture];
        analyse(&mut page);
        outline(&page.blocks)[1..page.blocks.len() - 1].to_vec()
    };
    let labels = with(vec![line(80.0, 200.0, 8.0, "Nut case"), line(300.0, 300.0, 8.0, "Keyway")]);
    assert_eq!(labels, ["Picture: Nut case Keyway"]);
    let paragraph = with(column("Inside", 60.0, 200.0, 380.0, 4));
    assert_eq!(paragraph.len(), 2);
    assert!(paragraph[0] == "Picture: " && paragraph[1].starts_with("Text: Inside00"), "{paragraph:?}");
}

#[test]
fn what_was_read_out_of_an_image_is_its_label_however_much_of_the_page_it_is() {
    let read = |line: Line| Line { method: Method::Ocr, confidence: Some(0.9), ..line };
    let mut page = page(column("Above", 50.0, 60.0, 400.0, 2));
    let image = Bbox { left: 50.0, top: 120.0, right: 450.0, bottom: 400.0 };
    page.images = vec![image];
    // The model sees no more than the bars.
    let seen = Bbox { top: 170.0, ..image };
    page.regions = vec![Region { kind: RegionKind::Figure, bbox: seen, score: 0.9 }];
    page.lines.push(read(line(150.0, 125.0, 14.0, "Bolts sold in a year")));
    let axis = (1..7).map(|step| read(line(60.0, 150.0 + step as f32 * 30.0, 7.0, &format!("{}00", 7 - step))));
    page.lines.extend(axis);
    page.lines.push(read(sideways(52.0, 220.0, "Number of bolts")));
    page.lines.push(read(line(200.0, 380.0, 7.0, "Year")));
    analyse(&mut page);
    let blocks = outline(&page.blocks);
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    let text = "Picture: Bolts sold in a year 600 500 Number of bolts 400 300 200 100 Year";
    assert_eq!(blocks[1], text);
    assert_eq!(page.blocks[1].prov[0].bbox.map(|bbox| bbox.top), Some(125.0), "the title of the chart is a part of it");

    // The same lines in a text layer stand over the image, which is then a background.
    page.lines.iter_mut().for_each(|line| line.method = Method::TextLayer);
    page.regions.clear();
    analyse(&mut page);
    assert!(page.blocks.iter().all(|block| block.kind != BlockKind::Picture), "{:?}", outline(&page.blocks));
}

#[test]
fn text_read_out_of_an_image_is_read_in_its_own_columns() {
    let mut page = page(column("Above", 50.0, 60.0, 500.0, 2));
    page.images = vec![Bbox { left: 40.0, top: 110.0, right: 560.0, bottom: 500.0 }];
    let inside = [column("Left", 50.0, 130.0, 240.0, 20), column("Right", 310.0, 130.0, 240.0, 20)].concat();
    page.lines.extend(inside.into_iter().map(|line| Line { method: Method::Ocr, ..line }));
    analyse(&mut page);
    let order: Vec<&str> = page.blocks.iter().map(|block| block.text.get(..3).unwrap_or("")).collect();
    assert_eq!(order, ["Abo", "", "Lef", "Rig"], "{:?}", outline(&page.blocks));
    assert_eq!(page.blocks[1].kind, BlockKind::Picture);
}

#[test]
fn a_sentence_read_out_of_an_image_is_text() {
    let mut page = page(column("Above", 50.0, 60.0, 500.0, 6));
    page.images = vec![Bbox { left: 40.0, top: 160.0, right: 560.0, bottom: 300.0 }];
    let inside =
        [line(60.0, 180.0, 10.0, "Bolts of the second kind are"), line(60.0, 192.0, 10.0, "never oiled at sea.")];
    page.lines.extend(inside.into_iter().map(|line| Line { method: Method::Ocr, ..line }));
    analyse(&mut page);
    assert_eq!(outline(&page.blocks)[1..], ["Picture: ", "Text: Bolts of the second kind are never oiled at sea."]);
}

#[test]
fn of_an_image_with_wide_margins_only_what_is_seen_is_the_picture() {
    let seen = Bbox { left: 52.0, top: 150.0, right: 288.0, bottom: 350.0 };
    let mut page = page(column("Left", 50.0, 400.0, 240.0, 20));
    page.lines.extend(column("Right", 310.0, 140.0, 240.0, 40));
    // It reaches into the other column.
    page.images = vec![Bbox { right: 330.0, ..seen }];
    page.regions = vec![Region { kind: RegionKind::Figure, bbox: seen, score: 0.9 }];
    analyse(&mut page);
    let picture = page.blocks.iter().find(|block| block.kind == BlockKind::Picture).unwrap();
    assert_eq!(picture.prov[0].bbox, Some(seen));
    assert_eq!(
        page.blocks.iter().map(|block| block.text.split(' ').next().unwrap_or("")).collect::<Vec<_>>(),
        ["", "Left00", "Right00"]
    );
}

#[test]
fn a_models_votes_say_what_lines_are_and_lose_none() {
    let region = |kind, left, top, right, bottom| Region { kind, bbox: Bbox { left, top, right, bottom }, score: 0.9 };
    let scan = |line: Line| Line { method: Method::Ocr, ..line };
    let mut lines = vec![line(50.0, 60.0, 10.0, "Annals of the Society"), line(50.0, 100.0, 10.5, "What Bolts Are")];
    lines.extend(column("Text", 50.0, 130.0, 400.0, 8));
    lines.push(line(80.0, 300.0, 9.0, "label"));
    lines.push(line(50.0, 410.0, 10.0, "Two plates and what holds them"));
    lines.extend(column("More", 50.0, 450.0, 400.0, 8));
    let mut page = Page { method: Some(Method::Ocr), ..page(lines.into_iter().map(scan).collect()) };
    let kinds = |page: &Page| page.blocks.iter().map(|block| block.kind).collect::<Vec<_>>();
    use BlockKind::{Caption, PageHeader, Picture, SectionHeader, Text};
    analyse(&mut page);
    assert!(!kinds(&page).contains(&Picture), "{:?}", outline(&page.blocks));
    page.page_no = 2;
    page.regions = vec![
        region(RegionKind::Header, 40.0, 55.0, 300.0, 80.0),
        region(RegionKind::Title, 40.0, 95.0, 300.0, 120.0),
        region(RegionKind::Figure, 50.0, 240.0, 450.0, 400.0),
        region(RegionKind::FigureCaption, 45.0, 405.0, 450.0, 425.0),
    ];
    analyse(&mut page);
    assert_eq!(kinds(&page), [PageHeader, SectionHeader, Text, Picture, Caption, Text], "{:?}", outline(&page.blocks));
    assert_eq!(page.blocks[3].text, "label");
}

#[test]
fn pictures_stand_in_order_with_their_captions_and_a_scan_is_none() {
    let mut page = page(column("Above", 50.0, 60.0, 400.0, 5));
    page.lines.push(line(50.0, 410.0, 10.0, "Figure 3: Two plates and a bolt"));
    page.lines.extend(column("Below", 50.0, 450.0, 400.0, 5));
    page.images = vec![
        Bbox { left: 0.0, top: 0.0, right: 600.0, bottom: 800.0 },
        Bbox { left: 50.0, top: 150.0, right: 450.0, bottom: 400.0 },
    ];
    analyse(&mut page);
    let kinds: Vec<BlockKind> = page.blocks.iter().map(|block| block.kind).collect();
    assert_eq!(kinds, [BlockKind::Text, BlockKind::Picture, BlockKind::Caption, BlockKind::Text]);
}
