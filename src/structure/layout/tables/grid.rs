//! Segments put into columns, and whether what comes of it is a table.

use std::ops::Range;

use super::super::{Measured, Metrics, text};
use super::cells::{Area, set_headers};
use super::segments::{Row, Segment};
use super::{
    Candidate, LEAST_ROWS,
    values::{Places, is_value},
};
use deckle_contract::document::{Bbox, Cell, Table};

/// Segments in the columns from `first` to `last`.
#[derive(Debug, Clone)]
struct Placed<'a> {
    first: usize,
    last: usize,
    segments: Vec<Segment<'a>>,
}

/// The cells of a row, left to right.
type CellRow<'a> = Vec<Placed<'a>>;

/// Segments by the columns they cover.
pub(super) struct Grid<'a> {
    columns: usize,
    rows: Vec<CellRow<'a>>,
}

impl<'a> Grid<'a> {
    /// Puts each segment into its columns. `None` when too many segments share a place, or one stands outside of all
    /// columns.
    pub(super) fn fill(run: &[Row<'a>], columns: &[(f32, f32)]) -> Option<Self> {
        let (left, right) = (columns.first()?.0, columns.last()?.1);
        let outside = |segment: &Segment<'_>| segment.bbox.right < left || segment.bbox.left > right;
        if run.iter().flat_map(|row| &row.segments).any(outside) {
            return None;
        }
        let places = Places::of(columns);
        let all = places.all();
        let mut crowded = 0;
        let mut rows = Vec::with_capacity(run.len());
        for row in run {
            let mut cells: CellRow<'a> = Vec::new();
            for segment in row.segments.iter().flat_map(|segment| segment.by_columns(&places, &all)) {
                let (first, last) = places.place(&segment.bbox, &all);
                match cells.last_mut() {
                    Some(cell) if cell.last >= first => {
                        crowded += 1;
                        cell.last = cell.last.max(last);
                        cell.segments.push(segment);
                    }
                    _ => cells.push(Placed { first, last, segments: vec![segment] }),
                }
            }
            rows.push(cells);
        }
        (crowded * 5 <= run.len()).then_some(Self { columns: columns.len(), rows })
    }

    fn cells(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.rows.iter().flatten()
    }

    /// The cells of each column that cover no other.
    fn columns(&self) -> Vec<Vec<&Segment<'a>>> {
        let mut columns = vec![Vec::new(); self.columns];
        for cell in self.cells().filter(|cell| cell.first == cell.last) {
            columns[cell.first].push(&cell.segments[0]);
        }
        columns
    }

    /// Whether a column stands at other heights than all others: something else beside the table.
    fn has_stray(&self) -> bool {
        let (mut rows, mut alone) = (vec![0; self.columns], vec![0; self.columns]);
        for row in &self.rows {
            for column in row.iter().flat_map(|cell| cell.first..=cell.last) {
                rows[column] += 1;
                alone[column] += usize::from(row.len() == 1);
            }
        }
        alone.iter().zip(rows).any(|(alone, rows)| alone * 2 > rows)
    }

    /// Whether it looks like a table; see the rules inside.
    pub(super) fn is_table(&self, tabular: &[&Row<'_>], metrics: &Metrics) -> bool {
        let filled = self.cells().count();
        let wanted = tabular.len() * self.columns;
        // The fewer rows there are, the fuller they have to be.
        let least = if tabular.len() <= 3 { 75 } else { 45 };
        let columns = self.columns();
        if filled * 100 < wanted * least || is_prose(&columns) {
            return false;
        }
        // Lines of a paragraph beside the cells: long ones in rows that are mostly empty.
        let is_loose = |row: &&CellRow<'_>| {
            row.len() * 2 <= self.columns
                && row.iter().any(|cell| cell.segments.iter().any(|segment| segment.chars > 24))
        };
        if self.rows.iter().filter(is_loose).count() * 4 > self.rows.len() {
            return false;
        }
        if self.has_stray() {
            return false;
        }
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
        if !self.is_evident(&columns) {
            return false;
        }
        // Three columns of running text are cut into lines that are all about equally long and fill their column.
        let wide = columns.iter().filter(|column| average(column) > 28.0).count();
        let straight = aligned.iter().filter(|aligned| **aligned).count();
        wide <= 1 && straight * 3 >= self.columns * 2
    }

    /// Whether anything tells cells from lines of text that happen to stand side by side: a column of figures, a whole
    /// row of bold names above, or cells that are mostly short and mostly there.
    fn is_evident(&self, columns: &[Vec<&Segment<'_>>]) -> bool {
        /// Half of the columns hold cells no wider than this on average, in font sizes.
        const SHORT: f32 = 8.0;
        let of_figures = |column: &Vec<&Segment<'_>>| {
            let values = column.iter().filter(|segment| is_value(&segment.text)).count();
            column.len() >= LEAST_ROWS && values * 10 >= column.len() * 6
        };
        let is_bold = |row: &CellRow<'_>| row.iter().all(|cell| cell.segments.iter().all(|segment| segment.bold));
        let named = self.rows.first().is_some_and(|row| row.len() == self.columns && is_bold(row))
            && self.rows.get(1).is_some_and(|row| !is_bold(row));
        let short = columns.iter().filter(|column| {
            let widths: f32 = column.iter().map(|segment| segment.bbox.width() / segment.line.size).sum();
            widths <= SHORT * column.len() as f32
        });
        let full = self.cells().count() * 10 >= self.rows.len() * self.columns * 7;
        columns.iter().any(of_figures) || named || full && short.count() * 2 >= self.columns
    }

    /// Its segments with the first column of each.
    pub(super) fn segments(&self) -> Vec<(usize, &Segment<'a>)> {
        self.cells().flat_map(|cell| cell.segments.iter().map(|segment| (cell.first, segment))).collect()
    }

    /// The table and its lines.
    pub(super) fn finish(&self, run: &[Row<'a>], page_no: u32) -> Candidate<'a> {
        let rows = self.unwrapped();
        let mut areas: Vec<Area<'a>> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let area = |columns: Range<usize>, segments: Vec<Segment<'a>>| {
                Area { rows: number..number + 1, columns, bbox: Bbox::default(), segments }.boxed()
            };
            let mut next = 0;
            for Placed { first, last, segments } in row {
                areas.extend((next..*first).map(|column| area(column..column + 1, Vec::new())));
                areas.push(area(*first..last + 1, segments.clone()));
                next = last + 1;
            }
            areas.extend((next..self.columns).map(|column| area(column..column + 1, Vec::new())));
        }
        let mut cells: Vec<Cell> = areas.iter().map(|area| area.cell(page_no)).collect();
        let bold: Vec<bool> = areas.iter().map(Area::is_bold).collect();
        set_headers(&mut cells, &bold, rows.len() as u32, None);
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
                let mut label: Vec<Segment<'a>> = above.into_iter().flat_map(|cell| cell.segments).collect();
                label.append(&mut row[0].segments);
                row[0].segments = label;
            }
            rows.push(row);
        }
        rows
    }
}

/// Whether two columns or more go on from line to line, as sentences do. Cells rarely begin in lower case.
fn is_prose(columns: &[Vec<&Segment<'_>>]) -> bool {
    let flows = |segments: &&Vec<&Segment<'_>>| {
        let long: Vec<_> = segments.iter().filter(|segment| segment.chars >= 10 && !is_value(&segment.text)).collect();
        let lower = long.iter().filter(|segment| text::starts_lower(&segment.text)).count();
        long.len() >= 4 && long.len() * 2 > segments.len() && lower * 10 > long.len() * 3
    };
    columns.iter().filter(flows).count() >= 2
}

/// Whether the only cell of a row is the beginning of the label with which the next row begins.
fn is_wrapped_label(above: &CellRow<'_>, row: &CellRow<'_>) -> bool {
    let is_label = |cell: &&Placed<'_>| (cell.first, cell.last) == (0, 0);
    let (Some(above), Some(label)) = (above.first().filter(is_label), row.first().filter(is_label)) else {
        return false;
    };
    let (above, label) = (&above.segments[0], &label.segments[0]);
    let tight = label.bbox.top - above.bbox.bottom < label.line.size * 0.6;
    tight && text::starts_lower(&label.text) && !is_value(&above.text)
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
pub(super) fn is_running_text(column: &[&Segment<'_>]) -> bool {
    let widest = column.iter().map(|segment| segment.bbox.width()).fold(0.0, f32::max);
    // Scripts without spaces say more in fewer characters, so what counts is width.
    let long = |segment: &Segment<'_>| segment.chars > 24 || segment.bbox.width() > segment.line.size * 12.0;
    let full = column.iter().filter(|segment| long(segment) && segment.bbox.width() > widest * 0.85).count();
    column.len() >= 3 && full * 2 > column.len()
}
