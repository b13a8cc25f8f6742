//! Text made fit for a terminal, which obeys some characters instead of showing them.
//!
//! The law: names, tenants, ids and reasons come from whoever sends files; whatever is printed passes here, by way of
//! `print`, `warn`, a table or a bar, so that no command can forget it.

use std::{borrow::Cow, fmt::Display};

use super::table::Rows;

/// What can be printed.
pub(super) trait Shown {
    /// The text as a terminal may have it, without the line break at its end.
    fn shown(&self) -> String;
}

/// One line.
impl<T: Display> Shown for T {
    fn shown(&self) -> String {
        let text = self.to_string();
        match visible(&text) {
            Cow::Owned(fit) => fit,
            Cow::Borrowed(_) => text,
        }
    }
}

/// A table, which made its cells fit when they were added: its line breaks and colours are its own.
impl Shown for Rows {
    fn shown(&self) -> String {
        self.drawn()
    }
}

/// One line with all that a terminal would obey written out, such as `\u{202e}` or `\n`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, |character| character.escape_default().to_string())
}

/// The same of many lines, which stay lines; tabs stay too.
pub(super) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| matches!(character, '\n' | '\t'), |character| character.escape_default().to_string())
}

/// The same of JSON, which says the same afterwards: all its line breaks stand between values.
pub(super) fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, |character| character == '\n', |character| format!("\\u{:04x}", u32::from(character)))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    let is_escaped = |character: char| is_obeyed(character) && !is_kept(character);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut fit = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            fit.push_str(&escape(character));
        } else {
            fit.push(character);
        }
    }
    Cow::Owned(fit)
}

/// Whether a terminal may obey a character instead of showing it: control characters, and what overrides, isolates or
/// marks the direction of writing (Unicode Standard Annex #9, table 4).
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::{Fit, text};

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, fit) in [
            ("a\u{1b}[31m.pdf", "a\\u{1b}[31m.pdf"),
            ("a\u{7}\n\r\tb", "a\\u{7}\\n\\r\\tb"),
            ("gnp\u{202e}fdp.exe", "gnp\\u{202e}fdp.exe"),
            ("\u{200e}\u{200f}\u{202a}\u{2066}\u{2069}", "\\u{200e}\\u{200f}\\u{202a}\\u{2066}\\u{2069}"),
            ("\u{7f}\u{9b}2J", "\\u{7f}\\u{9b}2J"),
        ] {
            assert_eq!(visible(text), fit);
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for text in
            ["", "Müller & Söhne.pdf", "発注書 שלום مرحبا", "e\u{301} \u{feff}\u{a0}\u{200d}👩‍🚀 \\u{202e}", "–…│"]
        {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(visible_lines("a\n\tb\u{1b}c\n"), "a\n\tb\\u{1b}c\n");
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let value = serde_json::json!({ "name\u{202e}": ["a\u{1b}\n\u{9b}\u{7f}", "\u{2066}ü"] });
        let fit = visible_json(&serde_json::to_string_pretty(&value).unwrap()).into_owned();
        assert!(!fit.contains(|character| is_obeyed(character) && character != '\n'), "{fit}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&fit).unwrap(), value);
    }

    #[test]
    fn a_cell_cannot_draw_a_row_of_its_own() {
        let mut rows = Rows::new(&[("document", Fit::Wrap), ("status", Fit::Keep)]);
        rows.add(vec![text("a.pdf\nb.pdf\u{1b}[2K"), text("failed")]);
        let drawn = rows.shown();
        assert!(drawn.contains("a.pdf\\nb.pdf\\u{1b}[2K") && !drawn.contains("\u{1b}[2K"), "{drawn}");
    }
}
