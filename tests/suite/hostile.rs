//! Files that nobody should have to open: damaged copies of the test documents, and shapes that are built to be absurd,
//! from a fixed seed. Every one ends with a status and, where it was not read, with a reason; none is deckle's fault, and
//! none stops the others.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{self, Dice, Home};

/// The seed of the files that `make test` reads, so that each time they are the same.
const SEED: u64 = 12;

/// One file of the set: a damaged copy, or one of the shapes.
fn make(folder: &Path, number: usize, dice: &mut Dice, originals: &[(String, Vec<u8>)]) {
    let (name, bytes) = match shape(number) {
        Some((name, bytes)) => (name.to_owned(), bytes),
        None => {
            let (name, bytes) = &originals[below(dice, originals.len())];
            let mut bytes = bytes.clone();
            for _ in 0..=below(dice, 3) {
                damage(&mut bytes, dice);
            }
            (name.clone(), bytes)
        }
    };
    fs::write(folder.join(format!("{number:03}-{name}")), bytes).unwrap();
}

fn below(dice: &mut Dice, end: usize) -> usize {
    usize::try_from(dice.below(end.max(1) as u64)).unwrap()
}

/// Does one thing to bytes that a broken disk, a broken program or a hostile person does.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = below(dice, bytes.len());
    let end = at + below(dice, (bytes.len() - at).min(4_096));
    match dice.below(7) {
        0 => bytes.truncate(at),
        1 => {
            for _ in 0..=dice.below(64) {
                if let Some(byte) = bytes.get_mut(at + below(dice, 4_096)) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
        2 => bytes[at..end].fill(0),
        3 => bytes[at..end].fill(0xff),
        4 => {
            bytes.drain(at..end);
        }
        5 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            // A number becomes absurd: a length, an offset, a size.
            let digits = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|first| at + first);
            if let Some(first) = digits {
                let count = bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let absurd: &[u8] = [b"-1".as_slice(), b"0", b"99999999999999999999", b"2147483647"][below(dice, 4)];
                bytes.splice(first..first + count, absurd.iter().copied());
            }
        }
    }
}

/// A PDF of these objects, numbered from 1, the first of which is the catalogue.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", number + 1).into_bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    offsets.iter().for_each(|offset| bytes.extend(format!("{offset:010} 00000 n \n").into_bytes()));
    let trailer = format!("trailer <</Root 1 0 R /Size {}>>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    bytes.extend(trailer.into_bytes());
    bytes
}

/// A PDF of one page with this content and these entries.
fn page(entries: &str, content: &str) -> Vec<u8> {
    pdf(&[
        "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
        "<</Type /Pages /Kids [3 0 R] /Count 1>>".to_owned(),
        format!("<</Type /Page /Parent 2 0 R /Contents 4 0 R /Resources <</Font <</F 5 0 R>> /XObject <</X 6 0 R>>>> {entries}>>"),
        format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_owned(),
        // A form that draws itself.
        "<</Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</X 6 0 R>>>> /Length 4>>\nstream\n/X Do\nendstream"
            .to_owned(),
    ])
}

/// The shapes, by number; `None` above them.
fn shape(number: usize) -> Option<(&'static str, Vec<u8>)> {
    const USUAL: &str = "/MediaBox [0 0 595 842]";
    let words = |count: usize| "word ".repeat(count);
    let glyphs = |count: usize| {
        let shown = (0..count).map(|at| format!("1 0 0 1 {} {} Tm (x) Tj\n", at % 190 * 3, at / 190 * 3));
        format!("BT /F 2 Tf\n{}ET", shown.collect::<String>())
    };
    let strokes = |count: usize| {
        (0..count)
            .map(|at| format!("{} 20 m {} 800 l S\n20 {} m 570 {} l S\n", at * 4, at * 4, at * 5, at * 5))
            .collect::<String>()
    };
    let shapes: [(&str, &dyn Fn() -> Vec<u8>); 18] = [
        ("cycle.pdf", &|| {
            pdf(&[
                "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
                "<</Type /Pages /Kids [2 0 R 3 0 R] /Count 2>>".to_owned(),
                "<</Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R>>".to_owned(),
            ])
        }),
        ("many-pages.pdf", &|| {
            pdf(&[
                "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
                "<</Type /Pages /Kids [3 0 R] /Count 2147483647>>".to_owned(),
                "<</Type /Page /Parent 2 0 R /MediaBox [0 0 9 9]>>".to_owned(),
            ])
        }),
        ("no-size.pdf", &|| page("/MediaBox [0 0 0 0]", "BT /F 9 Tf (none) Tj ET")),
        ("huge-page.pdf", &|| page("/MediaBox [0 0 1e9 1e9] /UserUnit 75000", "BT /F 9 Tf 10 10 Td (huge) Tj ET")),
        ("turned.pdf", &|| page(&format!("{USUAL} /Rotate 45"), "BT /F 9 Tf 10 10 Td (askew) Tj ET")),
        ("draws-itself.pdf", &|| page(USUAL, "/X Do BT /F 9 Tf 10 10 Td (form) Tj ET")),
        ("nested-states.pdf", &|| page(USUAL, &format!("{}BT /F 9 Tf (deep) Tj ET", "q ".repeat(100_000)))),
        ("nested-arrays.pdf", &|| page(&format!("{USUAL} /Junk {}{}", "[".repeat(20_000), "]".repeat(20_000)), "")),
        ("glyphs.pdf", &|| page(USUAL, &glyphs(2_000))),
        ("rules.pdf", &|| page(USUAL, &format!("{}BT /F 9 Tf 30 400 Td (ruled) Tj ET", strokes(140)))),
        ("quotes.md", &|| format!("{}deep", ">".repeat(20_000)).into_bytes()),
        ("lists.md", &|| {
            (0..300).map(|depth| format!("{}- item\n", "  ".repeat(depth))).collect::<String>().into_bytes()
        }),
        ("brackets.md", &|| format!("{}x{}", "[".repeat(3_000), "](".repeat(3_000)).into_bytes()),
        ("emphasis.md", &|| "*a _b ".repeat(2_000).into_bytes()),
        ("table.md", &|| {
            let row = format!("|{}\n", " c |".repeat(40));
            format!("{row}|{}\n{}", "-|".repeat(40), row.repeat(60)).into_bytes()
        }),
        ("headings.md", &|| {
            (0..500).map(|at| format!("{} heading {at}\n", "#".repeat(1 + at % 6))).collect::<String>().into_bytes()
        }),
        ("one-line.txt", &|| words(4_000).into_bytes()),
        ("nul.txt", &|| "a\0b\u{202e}c\u{feff}\n".repeat(500).into_bytes()),
    ];
    shapes.get(number).map(|(name, bytes)| (*name, bytes()))
}

/// The documents that copies are made of: small ones, so that most of the time goes into what is wrong with them.
fn originals() -> Vec<(String, Vec<u8>)> {
    const LARGEST: usize = 40_000;
    let folders = [support::samples(), support::bad(), support::data().join("reading")];
    let mut found: Vec<(String, Vec<u8>)> = folders
        .iter()
        .flat_map(|folder| support::files(folder))
        .map(|(path, bytes)| (path.file_name().unwrap().to_string_lossy().into_owned(), bytes))
        .filter(|(name, bytes)| bytes.len() <= LARGEST && !name.ends_with(".json"))
        .collect();
    found.sort();
    found
}

async fn all_end(count: usize, mut dice: Dice) {
    let home = Home::new();
    let folder = home.join("hostile");
    fs::create_dir(&folder).unwrap();
    let originals = originals();
    (0..count).for_each(|number| make(&folder, number, &mut dice, &originals));
    fs::write(folder.join("well.txt"), "A text that is well among all these.").unwrap();

    // The runner's own limit is the deadline.
    let ran = home.command(["process", "--json", "hostile"]).current_dir(home.path()).output().await.unwrap();
    assert!(matches!(ran.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&ran.stderr));
    let told: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let rows = told["documents"].as_array().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        let reasons: Vec<&str> =
            row["reasons"].as_array().unwrap().iter().filter_map(|reason| reason["code"].as_str()).collect();
        let is_told = match row["status"].as_str() {
            Some("published") => true,
            Some("partial" | "failed") => !reasons.is_empty(),
            _ => false,
        };
        if !is_told || reasons.contains(&"defect") {
            wrong.push(format!("{} {} {}", row["path"], row["status"], row["reasons"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let is_well = |row: &&Value| row["path"].as_str().is_some_and(|path| path.ends_with("well.txt"));
    assert_eq!(rows.iter().find(is_well).map(|row| row["status"].clone()), Some("published".into()));
    // Copies that are the same are one document.
    assert!(rows.len() > count / 2, "{} rows of {count} files", rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_damaged_files_all_end_with_a_reason() {
    all_end(40, Dice::of(SEED)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make soak"]
async fn four_hundred_damaged_files_all_end_with_a_reason() {
    all_end(400, Dice::new()).await;
}
