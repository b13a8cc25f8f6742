//! Tables by their aligned columns: precision before recall.
//!
//! Lines are cut into segments at wide spaces, segments into rows. A run of rows whose segments fall into the same
//! columns, with white gaps between the columns over all rows, is a table if it looks like one: short cells, filled
//! for the most part, edges aligned. Columns of running text never are.

use super::super::{Bbox, Cell, Locator, Table};
use super::xycut::Item;
use super::{Measured, Metrics, text};

/// A table has at least this many rows with two cells or more.
const LEAST_ROWS: usize = 3;
/// Cells with more characters are running text.
const PROSE: usize = 60;

/// A piece of a line between wide spaces: what can be a cell.
#[derive(Debug, Clone)]
struct Segment<'a> {
    line: &'a Measured<'a>,
    bbox: Bbox,
    text: String,
    chars: usize,
    bold: bool,
    /// Its words with their horizontal extents; empty where the line has none.
    words: Vec<(f32, f32, &'a str)>,
    /// Lines that are raised marks of this cell.
    marks: Vec<&'a Measured<'a>>,
}

impl<'a> Segment<'a> {
    fn of_words(line: &'a Measured<'a>, words: Vec<(f32, f32, &'a str)>) -> Self {
        let mut text = words.iter().map(|word| word.2).collect::<Vec<_>>().join(" ");
        if ends_leader(&words) {
            let end = text.trim_end_matches(|c: char| is_leader(c.encode_utf8(&mut [0; 4]))).len();
            text.truncate(if end > 0 { end } else { text.len() });
        }
        let left = words.iter().map(|word| word.0).fold(f32::MAX, f32::min);
        let right = words.iter().map(|word| word.1).fold(f32::MIN, f32::max);
        let chars = text.chars().count();
        Self {
            line,
            bbox: Bbox { left, right, ..line.bbox },
            text,
            chars,
            bold: line.line.bold,
            words,
            marks: Vec::new(),
        }
    }

    /// Cuts a segment that runs over several columns where its words do not: figures set so close that no space
    /// between them is wide.
    fn by_columns(&self, columns: &[(f32, f32)]) -> Vec<Self> {
        let mut pieces: Vec<(usize, Vec<(f32, f32, &'a str)>)> = Vec::new();
        for word in &self.words {
            let bbox = Bbox { left: word.0, right: word.1, ..self.bbox };
            let (first, last) = place(&bbox, columns);
            match pieces.last_mut() {
                Some((column, words)) if *column == first => words.push(*word),
                _ if first == last => pieces.push((first, vec![*word])),
                _ => return vec![self.clone()],
            }
        }
        if !self.marks.is_empty() {
            return vec![self.clone()];
        }
        let pieces: Vec<Self> = pieces.into_iter().map(|(_, words)| Self::of_words(self.line, words)).collect();
        let apart = pieces.windows(2).all(|pair| pair[1].bbox.left - pair[0].bbox.right > self.line.size * 0.55);
        let values = pieces.iter().all(|piece| is_value(&piece.text));
        if pieces.len() > 1 && (apart || values) { pieces } else { vec![self.clone()] }
    }
}

/// Segments at one height, left to right.
#[derive(Debug)]
struct Row<'a> {
    segments: Vec<Segment<'a>>,
    top: f32,
    bottom: f32,
    size: f32,
}

impl Row<'_> {
    /// Whether it can be a row of cells: several, apart from each other, none of them running text.
    fn is_tabular(&self) -> bool {
        let apart = self.segments.windows(2).all(|pair| pair[1].bbox.left >= pair[0].bbox.right - 1.0);
        let long = self.segments.iter().filter(|segment| segment.chars > PROSE).count();
        self.segments.len() >= 2 && apart && long == 0
    }
}

/// Replaces the lines of every table in a region by the table; everything else stays as it is.
pub fn lift<'a>(items: Vec<Item<'a>>, metrics: &Metrics) -> Vec<Item<'a>> {
    let mut lines = Vec::new();
    let mut rest = Vec::new();
    for item in items {
        match item {
            Item::Line(line) => lines.push(line),
            other => rest.push(other),
        }
    }
    if lines.len() < LEAST_ROWS {
        rest.extend(lines.into_iter().map(Item::Line));
        return rest;
    }
    let rows = rows(&lines);
    let mut taken = std::collections::HashSet::new();
    for run in runs(&rows) {
        for (table, inside) in build_any(&rows[run], metrics, 0) {
            let bbox = Bbox::around(inside.iter().map(|line| &line.bbox)).unwrap_or_default();
            let own: std::collections::HashSet<usize> = inside.iter().map(|line| line.index).collect();
            // With text beside it, this is a part of a column; the table is found once the columns are cut.
            let beside = lines.iter().any(|line| {
                let middle = (line.bbox.top + line.bbox.bottom) / 2.0;
                middle > bbox.top && middle < bbox.bottom && !own.contains(&line.index)
            });
            if !beside {
                taken.extend(own);
                rest.push(Item::Table { bbox, lines: inside, table });
            }
        }
    }
    rest.extend(lines.into_iter().filter(|line| !taken.contains(&line.index)).map(Item::Line));
    rest
}

fn segments<'a>(line: &'a Measured<'a>) -> Vec<Segment<'a>> {
    let whole = || Segment {
        line,
        bbox: line.bbox,
        text: line.line.text.trim().to_owned(),
        chars: line.chars,
        bold: line.line.bold,
        words: Vec::new(),
        marks: Vec::new(),
    };
    let words = line.line.words.iter().map(|word| (word.bbox.left, word.bbox.right, word.text.trim()));
    let words: Vec<_> = words.filter(|word| !word.2.is_empty()).collect();
    if words.is_empty() || words.iter().any(|word| !(word.0.is_finite() && word.1.is_finite() && word.0 <= word.1)) {
        return vec![whole()];
    }
    let gap = line.size * 1.4;
    let mut segments: Vec<Vec<(f32, f32, &'a str)>> = Vec::new();
    let mut right = f32::MIN;
    for word in words {
        match segments.last_mut() {
            Some(last) if word.0 - right < gap && !(ends_leader(last) && !is_leader(word.2)) => last.push(word),
            _ => segments.push(vec![word]),
        }
        right = if right > word.0 { right.max(word.1) } else { word.1 };
    }
    segments.into_iter().map(|words| Segment::of_words(line, words)).collect()
}

/// Whether a word is nothing but dots, as those that lead the eye to the next column.
fn is_leader(word: &str) -> bool {
    word.chars().all(|c| matches!(c, '.' | '…' | '·') || c.is_whitespace())
}

/// Whether words end in a run of at least three such dots.
fn ends_leader(words: &[(f32, f32, &str)]) -> bool {
    // Some files set the dots as one word with spaces of another kind between them.
    let dots = |word: &str| {
        let tail = word.chars().rev().take_while(|c| is_leader(c.encode_utf8(&mut [0; 4])));
        tail.map(|c| if c == '…' { 3 } else { usize::from(!c.is_whitespace()) }).sum::<usize>()
    };
    let mut run = 0;
    for word in words.iter().rev() {
        run += dots(word.2);
        if run >= 3 || !is_leader(word.2) {
            break;
        }
    }
    run >= 3
}

fn rows<'a>(lines: &[&'a Measured<'a>]) -> Vec<Row<'a>> {
    let middle = |line: &Measured<'_>| (line.bbox.top + line.bbox.bottom) / 2.0;
    let mut sorted: Vec<&'a Measured<'a>> = lines.to_vec();
    sorted.sort_by(|a, b| middle(a).total_cmp(&middle(b)).then(a.bbox.left.total_cmp(&b.bbox.left)));
    let mut rows: Vec<Row<'a>> = Vec::new();
    let mut anchor = f32::MIN;
    for line in sorted {
        match rows.last_mut() {
            Some(row) if middle(line) - anchor < row.size.min(line.size) * 0.45 => {
                row.segments.extend(segments(line));
                row.top = row.top.min(line.bbox.top);
                row.bottom = row.bottom.max(line.bbox.bottom);
                row.size = row.size.max(line.size);
            }
            _ => {
                anchor = middle(line);
                let (top, bottom) = (line.bbox.top, line.bbox.bottom);
                rows.push(Row { segments: segments(line), top, bottom, size: line.size });
            }
        }
    }
    for row in &mut rows {
        row.segments.sort_by(|a, b| a.bbox.left.total_cmp(&b.bbox.left));
        row.segments.dedup_by(|mark, cell| {
            // A raised mark that stands over its cell's leaders.
            let is_mark = mark.chars <= 3 && mark.bbox.right < cell.bbox.right && mark.line.size < cell.line.size * 0.8;
            if is_mark {
                cell.text = format!("{} {}", cell.text, mark.text);
                cell.marks.push(mark.line);
            }
            is_mark
        });
    }
    rows
}

/// Ranges of rows that begin and end with a tabular row and hold at most one other between two of them.
fn runs(rows: &[Row<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..rows.len()).filter(|at| rows[*at].is_tabular()) {
        let close = |last: usize| {
            let gap = rows[at].top - rows[last].bottom;
            let between = &rows[last + 1..at];
            gap < rows[at].size * if between.is_empty() { 3.2 } else { 5.0 }
                && between.len() <= 1
                && between.iter().all(|row| row.segments.len() == 1 && row.segments[0].chars <= PROSE)
        };
        match runs.last_mut() {
            Some(run) if close(run.end - 1) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs.retain(|run| rows[run.clone()].iter().filter(|row| row.is_tabular()).count() >= LEAST_ROWS);
    runs
}

type Found<'a> = (Table, Vec<&'a Measured<'a>>);

/// The table of a run, or those of its parts when the whole makes none.
fn build_any<'a>(run: &[Row<'a>], metrics: &Metrics, depth: usize) -> Vec<Found<'a>> {
    if run.iter().filter(|row| row.is_tabular()).count() < LEAST_ROWS {
        return Vec::new();
    }
    if let Some(found) = build(run, metrics) {
        return vec![found];
    }
    if depth >= 4 {
        return Vec::new();
    }
    // Two tables one above the other are parted by the widest gap; else a row of another make stands between.
    let gap = |at: &usize| run[*at].top - run[*at - 1].bottom;
    let change = |at: &usize| run[*at].segments.len().abs_diff(run[*at - 1].segments.len()) as f32 * metrics.body * 0.2;
    let Some(cut) = (1..run.len()).max_by(|a, b| (gap(a) + change(a)).total_cmp(&(gap(b) + change(b))).then(b.cmp(a)))
    else {
        return Vec::new();
    };
    let mut found = build_any(&run[..cut], metrics, depth + 1);
    found.extend(build_any(&run[cut..], metrics, depth + 1));
    found
}

/// White gaps between columns, from the rows that have all their cells.
fn column_edges(core: &[&Row<'_>], least: f32) -> Vec<(f32, f32)> {
    let mut edges: Vec<(f32, i32)> = Vec::new();
    for segment in core.iter().flat_map(|row| &row.segments) {
        edges.push((segment.bbox.left, 1));
        edges.push((segment.bbox.right, -1));
    }
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
    // One row in twelve may bridge a gap: a heading over two columns, a cell that runs over.
    let tolerated = (core.len() / 12) as i32;
    let mut columns: Vec<(f32, f32)> = Vec::new();
    let mut depth = 0;
    for (x, step) in edges {
        let before = depth;
        depth += step;
        if before <= tolerated && depth > tolerated {
            match columns.last_mut() {
                Some(last) if x - last.1 < least => {}
                _ => columns.push((x, x)),
            }
        }
        if before > tolerated
            && depth <= tolerated
            && let Some(last) = columns.last_mut()
        {
            last.1 = x;
        }
    }
    columns
}

fn build<'a>(run: &[Row<'a>], metrics: &Metrics) -> Option<Found<'a>> {
    let tabular: Vec<&Row<'_>> = run.iter().filter(|row| row.is_tabular()).collect();
    let most = tabular.iter().map(|row| row.segments.len()).max()?;
    let mut histogram = vec![0; most + 1];
    tabular.iter().for_each(|row| histogram[row.segments.len()] += 1);
    let usual = (2..=most).max_by_key(|width| histogram[*width] * width)?;
    let core: Vec<&Row<'_>> = tabular.iter().filter(|row| row.segments.len() >= usual).copied().collect();
    let columns = column_edges(&core, metrics.body * 0.4);
    if columns.len() < 2 || columns.len() * 4 < usual * 3 || core.len() < LEAST_ROWS {
        return None;
    }
    let grid = Grid::fill(run, &columns)?;
    grid.is_table(&tabular, metrics).then(|| grid.finish(run, metrics.page_no))
}

/// Cells of a row: first column, last column, segments.
type CellRow<'a> = Vec<(usize, usize, Vec<Segment<'a>>)>;

/// Segments by the columns they cover.
struct Grid<'a> {
    columns: usize,
    rows: Vec<CellRow<'a>>,
}

impl<'a> Grid<'a> {
    /// `None` when too many segments share a place, or one stands outside of all columns.
    fn fill(run: &[Row<'a>], columns: &[(f32, f32)]) -> Option<Self> {
        let (left, right) = (columns.first()?.0, columns.last()?.1);
        let outside = |segment: &Segment<'_>| segment.bbox.right < left || segment.bbox.left > right;
        if run.iter().flat_map(|row| &row.segments).any(outside) {
            return None;
        }
        let mut crowded = 0;
        let mut rows = Vec::with_capacity(run.len());
        for row in run {
            let mut cells: CellRow<'a> = Vec::new();
            for segment in row.segments.iter().flat_map(|segment| segment.by_columns(columns)) {
                let (first, last) = place(&segment.bbox, columns);
                match cells.last_mut() {
                    Some(cell) if cell.1 >= first => {
                        crowded += 1;
                        cell.1 = cell.1.max(last);
                        cell.2.push(segment);
                    }
                    _ => cells.push((first, last, vec![segment])),
                }
            }
            rows.push(cells);
        }
        (crowded * 5 <= run.len()).then_some(Self { columns: columns.len(), rows })
    }

    fn cells(&self) -> impl Iterator<Item = &(usize, usize, Vec<Segment<'a>>)> {
        self.rows.iter().flatten()
    }

    fn column(&self, column: usize) -> Vec<&Segment<'a>> {
        self.cells().filter(|cell| cell.0 == column && cell.1 == column).map(|cell| &cell.2[0]).collect()
    }

    fn is_table(&self, tabular: &[&Row<'_>], metrics: &Metrics) -> bool {
        let filled = self.cells().count();
        let wanted = tabular.len() * self.columns;
        if filled * 100 < wanted * 45 {
            return false;
        }
        // Lines of a paragraph beside the cells: long ones in rows that are mostly empty.
        let is_loose = |row: &&CellRow<'_>| {
            row.len() * 2 <= self.columns && row.iter().any(|cell| cell.2.iter().any(|segment| segment.chars > 24))
        };
        if self.rows.iter().filter(is_loose).count() * 4 > self.rows.len() {
            return false;
        }
        // A column that stands at other heights than all others is something else beside the table.
        let strays = (0..self.columns).any(|column| {
            let rows = || self.rows.iter().filter(|row| row.iter().any(|cell| cell.0 <= column && column <= cell.1));
            rows().filter(|row| row.len() == 1).count() * 2 > rows().count()
        });
        if strays {
            return false;
        }
        let columns: Vec<Vec<&Segment<'_>>> = (0..self.columns).map(|column| self.column(column)).collect();
        let average = |column: &[&Segment<'_>]| {
            column.iter().map(|segment| segment.chars).sum::<usize>() as f32 / column.len().max(1) as f32
        };
        let aligned: Vec<bool> = columns.iter().map(|column| is_aligned(column, metrics)).collect();
        let numeric = |column: &[&Segment<'_>]| {
            let numbers = column.iter().filter(|segment| is_value(&segment.text)).count();
            numbers * 4 >= column.len() * 3 && !column.is_empty()
        };
        if columns.iter().any(|column| is_running_text(column)) {
            return false;
        }
        if self.columns == 2 {
            // Labels and their values: the values are numbers in one line with each other.
            let markers = columns[0].iter().filter(|segment| text::is_marker(&segment.text)).count();
            return markers * 2 < columns[0].len()
                && columns[0].len() >= LEAST_ROWS
                && columns[1].len() >= LEAST_ROWS
                && numeric(&columns[1])
                && aligned[0]
                && aligned[1]
                && average(&columns[0]) <= 45.0
                && average(&columns[1]) <= 18.0;
        }
        // Three columns of running text are cut into lines that are all about equally long and fill their column.
        let wide = columns.iter().filter(|column| average(column) > 28.0).count();
        let straight = aligned.iter().filter(|aligned| **aligned).count();
        wide <= 1 && straight * 3 >= self.columns * 2
    }

    fn finish(&self, run: &[Row<'a>], page_no: u32) -> Found<'a> {
        let header_rows = self.header_rows();
        let rows = self.unwrapped();
        let mut cells = Vec::new();
        for (row_index, row) in rows.iter().enumerate() {
            for (first, last, segments) in row {
                let bbox = Bbox::around(segments.iter().map(|segment| &segment.bbox)).unwrap_or_default();
                cells.push(Cell {
                    row_index: row_index as u32,
                    column_index: *first as u32,
                    row_span: 1,
                    column_span: (last - first + 1) as u32,
                    header: row_index < header_rows,
                    text: text::join(segments.iter().map(|segment| segment.text.as_str())),
                    prov: Some(Locator::on_page(page_no, bbox)),
                });
            }
        }
        let mut lines: Vec<&'a Measured<'a>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for segment in run.iter().flat_map(|row| &row.segments) {
            let own = std::iter::once(segment.line).chain(segment.marks.iter().copied());
            lines.extend(own.filter(|line| seen.insert(line.index)));
        }
        (Table { rows: rows.len() as u32, columns: self.columns as u32, cells }, lines)
    }

    /// The rows, those with nothing but the beginning of a label joined to the row in which the label goes on.
    fn unwrapped(&self) -> Vec<CellRow<'a>> {
        let mut rows: Vec<CellRow<'a>> = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let begun = rows.last().is_some_and(|above| above.len() == 1 && is_wrapped_label(above, row));
            let mut row = row.clone();
            if begun && let Some(above) = rows.pop() {
                let mut label: Vec<Segment<'a>> = above.into_iter().flat_map(|cell| cell.2).collect();
                label.append(&mut row[0].2);
                row[0].2 = label;
            }
            rows.push(row);
        }
        rows
    }

    /// Rows from the top that name the columns: bold above others that are not, or words above values.
    fn header_rows(&self) -> usize {
        let bold = |row: &CellRow<'_>| row.iter().all(|cell| cell.2.iter().all(|segment| segment.bold));
        let values = |row: &CellRow<'_>| row.iter().any(|cell| cell.2.iter().any(|segment| is_value(&segment.text)));
        let leading = self.rows.iter().take_while(|row| bold(row)).count();
        if (1..=3).contains(&leading) && leading < self.rows.len() {
            return leading;
        }
        let words = self.rows.iter().take_while(|row| !values(row)).count();
        let below = self.rows.iter().skip(words).filter(|row| values(row)).count();
        if (1..=3).contains(&words) && below * 2 >= self.rows.len() - words { words } else { 0 }
    }
}

/// Whether the only cell of a row is the beginning of the label with which the next row begins.
fn is_wrapped_label(above: &CellRow<'_>, row: &CellRow<'_>) -> bool {
    let (Some((0, 0, above)), Some((0, 0, label))) = (above.first(), row.first()) else { return false };
    let (above, label) = (&above[0], &label[0]);
    let tight = label.bbox.top - above.bbox.bottom < label.line.size * 0.6;
    tight && text::starts_lower(&label.text) && !is_value(&above.text)
}

/// The columns that a box covers; the nearest when it stands in a gap.
fn place(bbox: &Bbox, columns: &[(f32, f32)]) -> (usize, usize) {
    let covered = |(left, right): (f32, f32)| {
        bbox.right.min(right) - bbox.left.max(left) > (right - left).min(bbox.width()) * 0.2
    };
    let first = columns.iter().position(|column| covered(*column));
    let last = columns.iter().rposition(|column| covered(*column));
    if let (Some(first), Some(last)) = (first, last) {
        return (first, last);
    }
    let middle = (bbox.left + bbox.right) / 2.0;
    let distance = |(left, right): (f32, f32)| (left - middle).max(middle - right).max(0.0);
    let nearest =
        (0..columns.len()).min_by(|a, b| distance(columns[*a]).total_cmp(&distance(columns[*b]))).unwrap_or(0);
    (nearest, nearest)
}

/// Whether most left edges, right edges or middles stand in one line.
fn is_aligned(column: &[&Segment<'_>], metrics: &Metrics) -> bool {
    let tolerance = metrics.body * 0.5;
    let most_agree = |edge: &dyn Fn(&Bbox) -> f32| {
        let mut edges: Vec<f32> = column.iter().map(|segment| edge(&segment.bbox)).collect();
        edges.sort_by(f32::total_cmp);
        let mut from = 0;
        let mut best = 0;
        for to in 0..edges.len() {
            while edges[to] - edges[from] > tolerance {
                from += 1;
            }
            best = best.max(to - from + 1);
        }
        best * 10 >= edges.len() * 6
    };
    most_agree(&|bbox| bbox.left)
        || most_agree(&|bbox| bbox.right)
        || most_agree(&|bbox| (bbox.left + bbox.right) / 2.0)
}

/// Whether a column holds lines of a paragraph: long ones that mostly fill the column.
fn is_running_text(column: &[&Segment<'_>]) -> bool {
    let widest = column.iter().map(|segment| segment.bbox.width()).fold(0.0, f32::max);
    let full = column.iter().filter(|segment| segment.chars > 24 && segment.bbox.width() > widest * 0.85).count();
    column.len() >= 3 && full * 2 > column.len()
}

/// Whether a cell holds a number, sum, date or dash rather than words.
fn is_value(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    (digits > 0 && digits >= letters) || matches!(text.trim(), "-" | "–" | "—" | "(X)" | "(NA)" | "n/a" | "N/A")
}

/// The text of a table's block: a line for each row, cells parted by spaces.
pub fn plain(table: &Table) -> String {
    let mut rows = vec![String::new(); table.rows as usize];
    for cell in &table.cells {
        if let Some(row) = rows.get_mut(cell.row_index as usize) {
            if !row.is_empty() && !cell.text.is_empty() {
                row.push(' ');
            }
            row.push_str(&cell.text);
        }
    }
    rows.join("\n")
}
