//! How work grows with its input: at four times of it at most five times the steps, for shapes that invite a loop in a
//! loop. `tests/growth.py` runs them in a build that counts; what the parser of Markdown does in itself is not counted.

#[path = "../../tests/growth/steps.rs"]
mod steps;

use steps::assert_even;

use crate::{markdown, sniff, text};

const SHAPES: [(&str, usize, &dyn Fn(usize) -> String); 16] = [
    ("one paragraph", 2_000, &|n| "some words of it ".repeat(n)),
    ("emphasis", 2_000, &|n| "*a _b ".repeat(n)),
    ("brackets", 2_000, &|n| format!("{}x{}", "[".repeat(n), "](".repeat(n))),
    ("grave accents", 2_000, &|n| (0..n).map(|at| "`".repeat(at % 30) + " ").collect()),
    ("quotes", 500, &|n| format!("{}deep", ">".repeat(n))),
    ("lists in lists", 50, &|n| format!("{}item", "- ".repeat(n))),
    ("headings", 1_000, &|n| (0..n).map(|at| format!("## heading {at}\n")).collect()),
    ("titles", 1_000, &|n| "# title\n".repeat(n)),
    ("a high table", 500, &|n| format!("|a|b|\n|-|-|\n{}", "|c|d|\n".repeat(n))),
    ("a wide table", 500, &|n| format!("|{}\n|{}\n|{}\n", "a|".repeat(n), "-|".repeat(n), "b|".repeat(n))),
    ("footnotes", 500, &|n| (0..n).map(|at| format!("a[^{at}]\n\n[^{at}]: note\n\n")).collect()),
    ("references", 500, &|n| (0..n).map(|at| format!("[a{at}]\n\n[a{at}]: b\n\n")).collect()),
    ("pictures", 1_000, &|n| "![alternative](a.png) ".repeat(n)),
    ("tags", 1_000, &|n| "<a b='c'>".repeat(n)),
    ("short lines", 1_000, &|n| "a line\r\n".repeat(n)),
    ("one word", 1_000, &|n| "x".repeat(n)),
];

#[test]
fn markdown_is_read() {
    assert_even(&SHAPES, |text| markdown::open(text));
}

#[test]
fn text_is_read() {
    assert_even(&SHAPES, |shape| text::open(&text::decode(shape.as_bytes()).unwrap()));
}

#[test]
fn files_are_identified() {
    let shape = |start: &'static [u8], part: &'static [u8]| move |n: usize| [start, &part.repeat(n)].concat();
    let (zip, mail, table) =
        (shape(b"PK\x03\x04", b"word/"), shape(b"From: a\n", b"To: b\n"), shape(b"", b"a;b;c;d\n"));
    let (json, high) = (shape(b"[", b"[],"), shape(b"", b"\xe4 \x93"));
    let shapes: [(&str, usize, &dyn Fn(usize) -> Vec<u8>); 5] = [
        ("parts", 500, &zip),
        ("mail", 500, &mail),
        ("rows", 500, &table),
        ("lists", 500, &json),
        ("signs", 500, &high),
    ];
    assert_even(&shapes, |bytes| sniff::identify(bytes, "file"));
}
