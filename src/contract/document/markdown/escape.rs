//! Escaping: a backslash where CommonMark or GFM would take a character for markup, and nowhere else.

/// Where a text is going to stand, which decides what needs a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A paragraph of its own; line breaks are kept.
    Paragraph,
    /// The first paragraph of a list item; line breaks are kept.
    ListItem,
    /// A heading, on one line.
    Heading,
    /// A table's cell, on one line.
    Cell,
    /// Inside other text, on one line.
    Inline,
}

/// Escapes a text so that a CommonMark parser gives it back as it is.
///
/// White space is collapsed to single spaces, at line ends trimmed; other control characters are dropped.
pub fn escape(text: &str, position: Position) -> String {
    // One alone strikes nothing through.
    let many_tildes = text.matches('~').count() > 1;
    match position {
        Position::Paragraph | Position::ListItem => {
            let lines = text.lines().map(collapse).filter(|line| !line.is_empty());
            let mut out = String::with_capacity(text.len() + 8);
            for (number, line) in lines.enumerate() {
                if number > 0 {
                    out.push('\n');
                }
                let escaped = inline(&line, false, many_tildes);
                out.push_str(&line_start(&escaped, position == Position::ListItem && number == 0));
            }
            out
        }
        Position::Heading => {
            let escaped = inline(&collapse(text), false, many_tildes);
            // A closing run of # would be taken for the heading's own.
            match escaped.trim_end_matches('#') {
                rest if rest.len() < escaped.len() && (rest.is_empty() || rest.ends_with(' ')) => {
                    format!("{rest}\\{}", &escaped[rest.len()..])
                }
                _ => escaped,
            }
        }
        Position::Cell => inline(&collapse(text), true, many_tildes),
        Position::Inline => inline(&collapse(text), false, many_tildes),
    }
}

/// One line with single spaces and without control characters.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(char::is_whitespace) {
        let before = out.len();
        if before > 0 {
            out.push(' ');
        }
        out.extend(word.chars().filter(|c| !c.is_control()));
        if out.len() == before + usize::from(before > 0) {
            out.truncate(before);
        }
    }
    out
}

fn inline(text: &str, in_cell: bool, many_tildes: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let after = rest.clone().next().unwrap_or(' ');
        let special = match c {
            '`' => true,
            '\\' => after.is_ascii_punctuation() || rest.as_str().is_empty(),
            '*' => !(before == ' ' && after == ' '),
            '_' => !(before.is_alphanumeric() && after.is_alphanumeric() || before == ' ' && after == ' '),
            '~' => many_tildes,
            '<' => after.is_ascii_alphabetic() || "/!?".contains(after) || is_address(rest.as_str()),
            '&' => is_entity(rest.as_str()),
            ']' => "(:[".contains(after),
            '[' => after == '^',
            '|' => in_cell,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// Whether what follows a `<` may be an e-mail address that a reader would make a link of.
fn is_address(rest: &str) -> bool {
    let end = rest.find(|c: char| c == '<' || c == '>' || c.is_whitespace()).unwrap_or(rest.len());
    rest[end..].starts_with('>') && rest[..end].contains('@')
}

/// Whether what follows an ampersand makes it a character reference.
fn is_entity(rest: &str) -> bool {
    let name = rest.strip_prefix('#').unwrap_or(rest);
    let end = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
    end > 0 && name[end..].starts_with(';')
}

/// Escapes what would open a block at the beginning of a line.
fn line_start(line: &str, task_possible: bool) -> String {
    let first = line.chars().next().unwrap_or(' ');
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let ends_marker = |rest: &str| rest.is_empty() || rest.starts_with(' ');
    let escape_at = match first {
        '#' => {
            let level = line.bytes().take_while(|b| *b == b'#').count();
            (level <= 6 && ends_marker(&line[level..])).then_some(0)
        }
        '>' => Some(0),
        '-' | '+' | '*' if ends_marker(&line[1..]) => Some(0),
        // An underline of a heading, or the rule below a table's header.
        '-' | '=' | '|' | ':' if line.chars().all(|c| "-=|: ".contains(c)) => Some(0),
        '[' if task_possible && ["[ ]", "[x]", "[X]"].iter().any(|task| line.starts_with(task)) => Some(0),
        '0'..='9' if digits <= 9 && line[digits..].starts_with(['.', ')']) && ends_marker(&line[digits + 1..]) => {
            Some(digits)
        }
        _ => None,
    };
    match escape_at {
        Some(at) => format!("{}\\{}", &line[..at], &line[at..]),
        None => line.to_owned(),
    }
}
