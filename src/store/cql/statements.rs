//! A file of CQL cut into its statements: a server takes one at a time.
//!
//! The law: two files give the same statements exactly when they differ in comments and white space alone, so that a
//! migration's comments may be mended after it was applied.

/// The statements of a file in order, without comments, each on one line and without its semicolon.
///
/// Knows `--`, `//` and `/* */`, strings in `'` (with `''` inside) and between `$$`, and names in `"`.
pub(super) fn statements(cql: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut rest = cql;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") || rest.starts_with("//") {
            space(&mut statement);
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            space(&mut statement);
            enclosed(rest, "/*", "*/")
        } else if let Some(quote) = ["'", "\"", "$$"].into_iter().find(|quote| rest.starts_with(quote)) {
            // A doubled quote inside ends one string and starts the next, which comes to the same.
            let length = enclosed(rest, quote, quote);
            statement.push_str(&rest[..length]);
            length
        } else {
            match first {
                ';' => statements.push(std::mem::take(&mut statement)),
                white if white.is_whitespace() => space(&mut statement),
                other => statement.push(other),
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    statements.push(statement);
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

/// One space, however much white stands there.
fn space(statement: &mut String) {
    if !statement.ends_with(' ') {
        statement.push(' ');
    }
}

/// Length of what starts with `open` up to and with `close`; all of it where that is missing, for the server to refuse.
fn enclosed(text: &str, open: &str, close: &str) -> usize {
    text[open.len()..].find(close).map_or(text.len(), |found| open.len() + found + close.len())
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn semicolons_in_strings_names_and_comments_end_nothing() {
        let cql = "-- one; comment\nINSERT INTO a (b) VALUES ('it''s; -- here', $$;'$$); // two;\n/* ; */\n\
                   SELECT \"a;b\" FROM c;;";
        assert_eq!(
            statements(cql),
            ["INSERT INTO a (b) VALUES ('it''s; -- here', $$;'$$)".to_owned(), "SELECT \"a;b\" FROM c".to_owned()]
        );
    }

    #[test]
    fn comments_and_white_space_between_words_come_to_one_space() {
        let short = "CREATE TABLE a (b text, PRIMARY KEY (b)) WITH comment = 'two  spaces'";
        let long = "\n CREATE /* x */ TABLE  a -- why\n(b text,\n\tPRIMARY KEY (b))\nWITH comment = 'two  spaces' ;\n";
        assert_eq!(statements(long), statements(short));
        assert_eq!(statements(short), [short]);
    }

    #[test]
    fn a_string_without_an_end_stays_one_statement() {
        assert_eq!(statements("SELECT 'a; b"), ["SELECT 'a; b"]);
        assert_eq!(statements("  -- nothing at all"), Vec::<String>::new());
    }
}
