//! Quotation marks that a page prints in one style are written in one style. Pure.
//!
//! At the height of a few pixels the recogniser cannot tell ' from ’ and takes the straight one where it doubts. A page
//! on which it saw a single opening mark for certain is set in type, and type has no straight ones.

use deckle_contract::document::Line;

/// Curls the straight quotation marks and apostrophes of a page that has curled ones.
pub(super) fn curl(lines: &mut [Line]) {
    if !lines.iter().any(|line| line.text.contains(['‘', '“'])) {
        return;
    }
    for line in lines.iter_mut().filter(|line| line.text.contains(['\'', '"'])) {
        line.words.iter_mut().for_each(|word| word.text = curled(&word.text));
        line.text = line.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    }
}

/// A word with its marks curled: opening at its start and after a bracket or dash, closing elsewhere. Behind a number
/// they are feet and inches, or minutes and seconds, and before one an apostrophe.
fn curled(word: &str) -> String {
    let mut before = None;
    let mut characters = word.chars().peekable();
    let mut text = String::with_capacity(word.len());
    while let Some(character) = characters.next() {
        let opens = before.is_none_or(|before| "([{—–-“‘".contains(before));
        let is_measure = before.is_some_and(char::is_numeric);
        let next_is_number = characters.peek().is_some_and(|next| next.is_numeric());
        text.push(match character {
            '\'' | '"' if is_measure => character,
            '\'' if opens && !next_is_number => '‘',
            '\'' => '’',
            '"' if opens => '“',
            '"' => '”',
            other => other,
        });
        before = Some(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_contract::document::{Bbox, Method, Word};

    fn line(text: &str) -> Line {
        let bbox = Bbox { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };
        let word = |text: &str| Word { text: text.to_owned(), bbox, confidence: Some(0.9) };
        Line {
            text: text.to_owned(),
            bbox,
            polygon: None,
            words: text.split(' ').map(word).collect(),
            confidence: Some(0.9),
            method: Method::Ocr,
            font_size: None,
            bold: false,
        }
    }

    fn curl_all(texts: &[&str]) -> Vec<String> {
        let mut lines: Vec<Line> = texts.iter().map(|text| line(text)).collect();
        curl(&mut lines);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn one_curled_mark_curls_the_page() {
        assert_eq!(
            curl_all(&["without ‘chopping' notes", "It's \"chain\" (\"RC\") of '85", "a 3½\" disk, 6' wide, 5\""]),
            ["without ‘chopping’ notes", "It’s “chain” (“RC”) of ’85", "a 3½\" disk, 6' wide, 5\""]
        );
    }

    #[test]
    fn a_page_of_straight_marks_keeps_them() {
        assert_eq!(curl_all(&["print(\"it's\")", "on est à l’heure"]), ["print(\"it's\")", "on est à l’heure"]);
    }
}
