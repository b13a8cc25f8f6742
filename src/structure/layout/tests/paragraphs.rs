use super::*;

#[test]
fn hyphens_are_mended_only_before_lower_case() {
    assert_eq!(
        text::join(["a hyphen at the line's end is men-", "ded, but SARS-", "CoV and 3-", "dimensional stay"]),
        "a hyphen at the line's end is mended, but SARS- CoV and 3- dimensional stay"
    );
    assert_eq!(text::join(["e\u{301}te\u{301}", "  spaced   out "]), "été spaced out");
}

#[test]
fn markers_of_list_items_are_split_off() {
    for (given, marker, rest) in [
        ("• dot", "•", "dot"),
        ("– dash", "–", "dash"),
        ("* star", "*", "star"),
        ("1. one", "1.", "one"),
        ("(1) one", "(1)", "one"),
        ("a) letter", "a)", "letter"),
        ("iv. roman", "iv.", "roman"),
    ] {
        assert_eq!(text::split_marker(given), Some((marker, rest)));
    }
    for given in ["J. Smith wrote", "2021. A year", "1.5 metres", "-5 degrees", "e.g. this", "•"] {
        assert_eq!(text::split_marker(given), None, "{given}");
    }
}

#[test]
fn a_list_is_items_with_depth() {
    let lines = vec![
        line(50.0, 100.0, 10.0, "Three things are needed to hold two plates together, and no more than these:"),
        line(60.0, 112.0, 10.0, "• a bolt that is long enough for both of the plates and the nut on the other side,"),
        line(70.0, 124.0, 10.0, "with a head"),
        line(80.0, 136.0, 10.0, "– of six sides"),
        line(60.0, 148.0, 10.0, "• a nut"),
    ];
    let blocks = analysed(lines);
    let items: Vec<(Option<u8>, Option<&str>, &str)> =
        blocks[1..].iter().map(|block| (block.level, block.marker.as_deref(), block.text.as_str())).collect();
    assert_eq!(
        items,
        [
            (
                Some(1),
                Some("•"),
                "a bolt that is long enough for both of the plates and the nut on the other side, with a head"
            ),
            (Some(2), Some("–"), "of six sides"),
            (Some(1), Some("•"), "a nut"),
        ]
    );
}

#[test]
fn an_indent_or_a_gap_begins_a_paragraph() {
    let mut lines = column("One", 50.0, 100.0, 300.0, 3);
    lines.push(line(62.0, 136.0, 10.0, "Indented this paragraph begins and goes on for a while,"));
    lines.extend(column("Two", 50.0, 148.0, 300.0, 2));
    lines.extend(column("Three", 50.0, 184.0, 300.0, 2));
    let starts: Vec<String> =
        analysed(lines).iter().map(|block| block.text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(starts, ["One00", "Indented", "Three00"]);
}

#[test]
fn a_wrapped_item_ends_where_an_indented_paragraph_begins() {
    let lines = vec![
        line(62.0, 100.0, 10.0, "• Requiring, for those who wish to"),
        line(50.0, 112.0, 10.0, "allow dispatch with systems that do not"),
        line(50.0, 124.0, 10.0, "work, certain words in the approved list."),
        line(62.0, 136.0, 10.0, "This would also require what follows,"),
        line(50.0, 148.0, 10.0, "and more than that."),
    ];
    let blocks = analysed(lines);
    assert_eq!(blocks.iter().map(|block| block.kind).collect::<Vec<_>>(), [BlockKind::ListItem, BlockKind::Text]);
}

#[test]
fn markers_that_stand_apart_belong_to_their_items() {
    let mut lines = Vec::new();
    for (row, text) in
        ["a photo that is valid", "a bill that shows your name", "a cheque, or a letter"].iter().enumerate()
    {
        let top = 100.0 + row as f32 * 14.0;
        lines.push(line(50.0, top, 10.0, "•"));
        lines.push(line(80.0, top, 10.0, text));
    }
    let blocks = analysed(lines);
    let items: Vec<_> = blocks.iter().map(|block| (block.marker.as_deref(), block.text.as_str())).collect();
    assert_eq!(
        items,
        [
            (Some("•"), "a photo that is valid"),
            (Some("•"), "a bill that shows your name"),
            (Some("•"), "a cheque, or a letter")
        ]
    );
}

#[test]
fn labels_are_read_with_their_values() {
    let rows = [("Name:", "Ada Lovelace"), ("Born:", "London"), ("Field:", "Engines of all kinds")];
    let lines = rows.iter().enumerate().flat_map(|(row, (label, value))| {
        let top = 100.0 + row as f32 * 14.0;
        [line(50.0, top, 10.0, label), line(150.0, top, 10.0, value)]
    });
    let blocks = analysed(lines.collect());
    assert_eq!(
        outline(&blocks),
        ["Text: Name: Ada Lovelace", "Text: Born: London", "Text: Field: Engines of all kinds"]
    );
}

#[test]
fn confidence_is_weighted_by_characters() {
    let read = |text: &str, top: f32, confidence: f32| Line {
        confidence: Some(confidence),
        method: Method::Ocr,
        ..line(50.0, top, 10.0, text)
    };
    let blocks = analysed(vec![read("ninechars", 100.0, 1.0), read("x", 112.0, 0.0)]);
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].confidence, blocks[0].method), (Some(0.9), Method::Ocr));
}
