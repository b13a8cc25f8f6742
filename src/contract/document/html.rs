//! Tables as HTML: the form that can say what spans what, and what heads what.
//!
//! The law: every cell stands once, with its text escaped, and no line is blank, so that the result is one HTML block
//! of CommonMark, too.

use super::{Cell, Table};

/// Renders a table as `<table>`, a row to a line.
///
/// Rows at the top of which every cell heads a column are the `<thead>`; a `<th>` tells by `scope` whether it heads a
/// column (`col`), several (`colgroup`) or its row (`row`). Places that no cell covers are left out.
pub fn table(table: &Table) -> String {
    let mut rows: Vec<Vec<&Cell>> = vec![Vec::new(); table.rows as usize];
    for cell in &table.cells {
        // As in Markdown: a cell outside the table's bounds is put into the last row, so that no text is lost.
        let row = (cell.row_index as usize).min(rows.len().saturating_sub(1));
        rows.get_mut(row).into_iter().for_each(|row| row.push(cell));
    }
    rows.iter_mut().for_each(|row| row.sort_by_key(|cell| cell.column_index));
    let head = rows.iter().take_while(|row| row.iter().all(|cell| cell.header) && !row.is_empty()).count();
    let mut html = "<table>\n".to_owned();
    for (name, part) in [("thead", &rows[..head]), ("tbody", &rows[head..])] {
        if part.is_empty() {
            continue;
        }
        html.push_str(&format!("<{name}>\n"));
        for row in part {
            let cells: String = row.iter().map(|cell| element(cell)).collect();
            html.push_str(&format!("<tr>{cells}</tr>\n"));
        }
        html.push_str(&format!("</{name}>\n"));
    }
    html + "</table>"
}

/// Whether pipes could not say it: a cell covers several places.
pub fn has_spans(table: &Table) -> bool {
    table.cells.iter().any(|cell| cell.row_span > 1 || cell.column_span > 1)
}

fn element(cell: &Cell) -> String {
    let mut attributes = String::new();
    for (name, span) in [("rowspan", cell.row_span), ("colspan", cell.column_span)] {
        if span > 1 {
            attributes.push_str(&format!(" {name}=\"{span}\""));
        }
    }
    let scope = match cell {
        Cell { header: true, column_span: 2.., .. } => Some("colgroup"),
        Cell { header: true, .. } => Some("col"),
        Cell { row_header: true, row_span: 2.., .. } => Some("rowgroup"),
        Cell { row_header: true, .. } => Some("row"),
        _ => None,
    };
    let text = escape(&cell.text);
    match scope {
        Some(scope) => format!("<th scope=\"{scope}\"{attributes}>{text}</th>"),
        None => format!("<td{attributes}>{text}</td>"),
    }
}

/// White space collapsed, control characters dropped, what means markup as entities.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (number, word) in text.split_whitespace().enumerate() {
        if number > 0 {
            escaped.push(' ');
        }
        for c in word.chars().filter(|c| !c.is_control()) {
            match c {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                c => escaped.push(c),
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell((row_index, column_index): (u32, u32), (row_span, column_span): (u32, u32), text: &str) -> Cell {
        Cell {
            row_index,
            column_index,
            row_span,
            column_span,
            header: row_index < 2,
            row_header: row_index >= 2 && column_index == 0,
            text: text.to_owned(),
            prov: None,
        }
    }

    #[test]
    fn spans_and_heads_are_said_and_markup_is_text() {
        let cells = vec![
            cell((0, 0), (2, 1), "Kind"),
            cell((0, 1), (1, 2), "Price <each>\n& all"),
            cell((1, 1), (1, 1), "net"),
            cell((1, 2), (1, 1), "gross"),
            cell((2, 0), (1, 1), "Bolt"),
            cell((2, 1), (1, 1), ""),
            cell((2, 2), (1, 1), "0.12"),
        ];
        let table_ = Table { rows: 3, columns: 3, cells };
        assert!(has_spans(&table_));
        assert_eq!(
            table(&table_),
            "<table>\n<thead>\n\
             <tr><th scope=\"col\" rowspan=\"2\">Kind</th><th scope=\"colgroup\" colspan=\"2\">Price &lt;each&gt; &amp; all</th></tr>\n\
             <tr><th scope=\"col\">net</th><th scope=\"col\">gross</th></tr>\n\
             </thead>\n<tbody>\n\
             <tr><th scope=\"row\">Bolt</th><td></td><td>0.12</td></tr>\n\
             </tbody>\n</table>"
        );
    }

    #[test]
    fn a_cell_outside_of_the_table_is_not_lost() {
        let html = table(&Table { rows: 1, columns: 1, cells: vec![cell((7, 7), (1, 1), "stray")] });
        assert!(html.contains("<td>stray</td>"), "{html}");
    }
}
