//! Tables inside rules: the cells that the rules make, divided further where only the text shows columns and rows.
//!
//! Rules part cells for certain; a table of which only some are drawn (a head and groups of five rows, a box around
//! columns of figures) shows the rest by its text. So within each ruled column white gutters part columns, and within
//! each ruled strip lines of figures part rows.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::super::super::{Bbox, Cell, Table};
use super::super::{Measured, Metrics, text};
use super::cells::{Area, in_reading_order, set_headers};
use super::grid::{is_running_text, is_value, place};
use super::lattice::{Lattice, Span};
use super::rules::{Frame, Stroke};
use super::segments::{self, Segment};
use super::{Found, column_edges};

/// A part of a line in a ruled cell.
#[derive(Clone)]
struct Piece<'a> {
    segment: Segment<'a>,
    /// Which of the lattice's cells.
    cell: usize,
    /// Which of the lines of equal height, top to bottom.
    baseline: usize,
}

/// The table in a frame, with the lines inside it; `None` when the frame holds none.
pub fn build<'a>(frame: &Frame, inside: &[&'a Measured<'a>], metrics: &Metrics) -> Option<Found<'a>> {
    if !frame.is_anchored() {
        return None;
    }
    let lattice = Lattice::of(frame, metrics.body * 0.9)?;
    let pieces = pieces(&lattice, frame, inside);
    if is_struck_through(frame, &pieces) || has_margins(&lattice, &pieces, metrics) {
        return None;
    }
    let columns = Columns::of(&lattice, &pieces, metrics);
    let pieces: Vec<Piece<'a>> = pieces.into_iter().flat_map(|piece| columns.cut(&lattice, piece)).collect();
    let rows = Rows::of(&lattice, &columns, &pieces);
    if columns.borders.len() < 2 || rows.count() < 2 {
        return None;
    }
    let mut areas = Vec::new();
    let mut of_cell: Vec<Vec<&Piece<'a>>> = vec![Vec::new(); lattice.cells.len()];
    pieces.iter().for_each(|piece| of_cell[piece.cell].push(piece));
    for (span, own) in lattice.cells.iter().zip(of_cell) {
        divide(&lattice, frame, &columns, &rows, span, own, &mut areas);
    }
    areas.sort_by_key(|area| (area.rows.start, area.columns.start));
    let closed = frame.down.len() >= 3 && columns.borders.len() == lattice.columns();
    if !is_table(&areas, columns.borders.len(), rows.count(), closed) {
        return None;
    }
    let mut cells: Vec<Cell> = areas.iter().map(|area| area.cell(metrics.page_no)).collect();
    let bold: Vec<bool> = areas.iter().map(Area::is_bold).collect();
    set_headers(&mut cells, &bold, rows.count() as u32, rows.below_head());
    let table = Table { rows: rows.count() as u32, columns: columns.borders.len() as u32, cells };
    let mut seen = HashSet::new();
    let lines = pieces.iter().flat_map(|piece| std::iter::once(piece.segment.line).chain(piece.segment.marks.clone()));
    Some((table, lines.filter(|line| seen.insert(line.index)).collect()))
}

fn pieces<'a>(lattice: &Lattice, frame: &Frame, inside: &[&'a Measured<'a>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for (baseline, row) in segments::rows(inside).into_iter().enumerate() {
        for segment in row.segments {
            let y = (segment.bbox.top + segment.bbox.bottom) / 2.0;
            let segment = without_rules(segment, frame);
            for segment in segment.cut(&lattice.walls_at(y)) {
                let cell = lattice.cell_at((segment.bbox.left + segment.bbox.right) / 2.0, y);
                pieces.push(Piece { segment, cell, baseline });
            }
        }
    }
    pieces
}

/// Recognition takes upright rules for bars: those are no words.
fn without_rules<'a>(segment: Segment<'a>, frame: &Frame) -> Segment<'a> {
    const NEAR: f32 = 3.0;
    let is_rule = |text: &str, bbox: &Bbox| {
        matches!(text, "|" | "¦" | "‖")
            && frame.down.iter().any(|rule| rule.at > bbox.left - NEAR && rule.at < bbox.right + NEAR)
    };
    segment.without(&is_rule)
}

/// Whether rules run through words: the axes and arrows of a figure do, those of a table never.
fn is_struck_through(frame: &Frame, pieces: &[Piece<'_>]) -> bool {
    /// How far inside a word's box, in points; descenders may touch a rule.
    const INSET: f32 = 1.0;
    let is_struck = |bbox: &Bbox| {
        let inset = (bbox.height() * 0.25).max(INSET);
        let upright = |s: &Stroke| {
            s.at > bbox.left + INSET
                && s.at < bbox.right - INSET
                && s.covers(bbox.top, bbox.bottom) > bbox.height() * 0.5
        };
        let level = |s: &Stroke| {
            s.at > bbox.top + inset
                && s.at < bbox.bottom - inset
                && s.covers(bbox.left, bbox.right) > bbox.width() * 0.5
        };
        frame.down.iter().any(upright) || frame.across.iter().any(level)
    };
    let struck = pieces.iter().flat_map(|piece| piece.segment.word_boxes()).filter(is_struck).count();
    struck * 20 > pieces.len()
}

/// Whether columns or low rows without a word part the others, as the margins around the boxes of a diagram or form
/// do. The borders of a table's cells are those of their neighbours.
fn has_margins(lattice: &Lattice, pieces: &[Piece<'_>], metrics: &Metrics) -> bool {
    let covers = |span: &Span, row: Option<usize>, column: Option<usize>| {
        row.is_none_or(|row| span.top <= row && row < span.bottom)
            && column.is_none_or(|column| span.left <= column && column < span.right)
    };
    let is_empty = |row: Option<usize>, column: Option<usize>| {
        !pieces.iter().any(|piece| covers(&lattice.cells[piece.cell], row, column))
    };
    let low = |borders: &[f32], at: usize| borders[at + 1] - borders[at] < metrics.body * 0.7;
    let columns = (0..lattice.columns()).filter(|at| is_empty(None, Some(*at))).count();
    let rows = (0..lattice.rows()).filter(|at| low(&lattice.ys, *at) && is_empty(Some(*at), None)).count();
    columns * 8 > lattice.columns() || rows * 8 > lattice.rows()
}

/// All columns: those between rules, and those that gutters part within them.
struct Columns {
    /// Left and right of each column's place.
    borders: Vec<(f32, f32)>,
    /// Left and right of what its text covers; its borders where only rules part it.
    extents: Vec<(f32, f32)>,
    /// The first column of each ruled one, and the end.
    starts: Vec<usize>,
}

impl Columns {
    fn of(lattice: &Lattice, pieces: &[Piece<'_>], metrics: &Metrics) -> Self {
        let mut columns = Self { borders: Vec::new(), extents: Vec::new(), starts: vec![0] };
        for ruled in 0..lattice.columns() {
            let (left, right) = (lattice.xs[ruled], lattice.xs[ruled + 1]);
            let gutters = gutters(lattice, ruled, pieces, metrics);
            if gutters.len() < 2 {
                columns.borders.push((left, right));
                columns.extents.push((left, right));
            } else {
                let middle = |at: usize| (gutters[at].1 + gutters[at + 1].0) / 2.0;
                for at in 0..gutters.len() {
                    let left = if at == 0 { left } else { middle(at - 1) };
                    let right = if at + 1 == gutters.len() { right } else { middle(at) };
                    columns.borders.push((left, right));
                    columns.extents.push(gutters[at]);
                }
            }
            columns.starts.push(columns.borders.len());
        }
        columns
    }

    fn of_span(&self, span: &Span) -> Range<usize> {
        self.starts[span.left]..self.starts[span.right]
    }

    /// A piece that runs over the columns of its cell, cut where its words do not.
    fn cut<'a>(&self, lattice: &Lattice, piece: Piece<'a>) -> Vec<Piece<'a>> {
        let range = self.of_span(&lattice.cells[piece.cell]);
        if range.len() < 2 {
            return vec![piece];
        }
        let segments = piece.segment.by_columns(&self.extents[range]);
        segments.into_iter().map(|segment| Piece { segment, ..piece }).collect()
    }

    /// The columns of a range shared out among boxes above them: each column goes to the nearest, each box has some.
    fn shared(&self, range: &Range<usize>, boxes: &[Bbox]) -> Vec<(usize, usize)> {
        let middle = |(left, right): (f32, f32)| (left + right) / 2.0;
        let nearest = |column: usize| {
            let x = middle(self.extents[column]);
            let distance = |bbox: &Bbox| (middle((bbox.left, bbox.right)) - x).abs();
            (0..boxes.len()).min_by(|a, b| distance(&boxes[*a]).total_cmp(&distance(&boxes[*b])))
        };
        let owners: Vec<Option<usize>> = range.clone().map(nearest).collect();
        let share = |number: usize| {
            let of = |owner: &Option<usize>| *owner == Some(number);
            let placed = self.place(&boxes[number], range);
            owners
                .iter()
                .position(of)
                .zip(owners.iter().rposition(of))
                .map_or(placed, |(first, last)| (range.start + first, range.start + last))
        };
        (0..boxes.len()).map(share).collect()
    }

    /// The columns that a box covers, of those in a range.
    fn place(&self, bbox: &Bbox, range: &Range<usize>) -> (usize, usize) {
        let (first, last) = place(bbox, &self.extents[range.clone()]);
        (range.start + first, range.start + last)
    }
}

/// The extents of the columns within a ruled one; fewer than two when it is one.
fn gutters(lattice: &Lattice, ruled: usize, pieces: &[Piece<'_>], metrics: &Metrics) -> Vec<(f32, f32)> {
    // Strips of many lines show columns; those of one or two are heads, or rows that rules part already.
    let alone = lattice.columns() == 1;
    let is_own = |piece: &&Piece<'_>| {
        let span = &lattice.cells[piece.cell];
        span.left == ruled && span.right == ruled + 1
    };
    let mut lines_of: HashMap<usize, HashSet<usize>> = HashMap::new();
    for piece in pieces.iter().filter(is_own) {
        lines_of.entry(piece.cell).or_default().insert(piece.baseline);
    }
    let is_open = |piece: &&Piece<'_>| alone || lines_of.get(&piece.cell).is_some_and(|lines| lines.len() >= 3);
    let own: Vec<&Piece<'_>> = pieces.iter().filter(is_own).filter(is_open).collect();
    let mut lines: Vec<usize> = own.iter().map(|piece| piece.baseline).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut widths: HashMap<usize, usize> = HashMap::new();
    own.iter().for_each(|piece| *widths.entry(piece.baseline).or_default() += 1);
    let most = widths.values().copied().max().unwrap_or(0);
    let frequent = |width: usize| widths.values().filter(|own| **own == width).count() * width;
    let Some(usual) = (2..=most).max_by_key(|width| frequent(*width)) else { return Vec::new() };
    let core: HashSet<usize> = lines.iter().filter(|line| widths[line] >= usual).copied().collect();
    let several = widths.values().filter(|width| **width >= 2).count();
    if core.len() < 2 || several * 2 < lines.len() {
        return Vec::new();
    }
    let of_core = own.iter().filter(|piece| core.contains(&piece.baseline));
    let extents = of_core.map(|piece| (piece.segment.bbox.left, piece.segment.bbox.right));
    let columns = column_edges(extents, core.len(), metrics.body * 0.4);
    let prose = (0..columns.len()).any(|column| {
        let segments: Vec<&Segment<'_>> = own
            .iter()
            .filter(|piece| place(&piece.segment.bbox, &columns) == (column, column))
            .map(|piece| &piece.segment)
            .collect();
        is_running_text(&segments)
    });
    if prose { Vec::new() } else { columns }
}

/// All rows: each ruled strip is one, or as many as its lines of figures show.
struct Rows {
    /// For each strip, the lines of each of its rows.
    strips: Vec<Vec<Vec<usize>>>,
    /// Whether a strip is a head whose lower row names the columns that the upper one names together.
    heads: Vec<bool>,
    /// The first row of each strip, and the end.
    starts: Vec<usize>,
}

impl Rows {
    fn of(lattice: &Lattice, columns: &Columns, pieces: &[Piece<'_>]) -> Self {
        let mut rows = Self { strips: Vec::new(), heads: Vec::new(), starts: vec![0] };
        for strip in 0..lattice.rows() {
            let is_own = |piece: &&Piece<'_>| {
                let span = &lattice.cells[piece.cell];
                span.top == strip && span.bottom == strip + 1
            };
            let own: Vec<&Piece<'_>> = pieces.iter().filter(is_own).collect();
            let mut lines: Vec<usize> = own.iter().map(|piece| piece.baseline).collect();
            lines.sort_unstable();
            lines.dedup();
            let subheads = subheads(lattice, columns, &own, &lines);
            rows.heads.push(subheads.is_some());
            rows.strips.push(match subheads {
                Some(below) => vec![lines[..below].to_vec(), lines[below..].to_vec()],
                None => split(lattice, columns, &own, lines),
            });
            rows.starts.push(rows.starts[strip] + rows.strips[strip].len());
        }
        rows
    }

    fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The row in which a line stands, of those strips that are divided; or the strip's only one.
    fn of_line(&self, strip: usize, baseline: usize) -> Option<usize> {
        let row = self.strips[strip].iter().position(|lines| lines.contains(&baseline))?;
        Some(self.starts[strip] + row)
    }

    /// The rows above the first strip of several rows, where most rows stand in such strips.
    fn below_head(&self) -> Option<u32> {
        let is_divided = |strip: &usize| self.strips[*strip].len() > 1 && !self.heads[*strip];
        let divided: usize = (0..self.strips.len()).filter(is_divided).map(|strip| self.strips[strip].len()).sum();
        let first = (0..self.strips.len()).find(is_divided)?;
        (divided * 2 > self.count() && first > 0).then(|| self.starts[first] as u32)
    }
}

/// The rows of one strip, as groups of its lines; one group when nothing parts them.
fn split(lattice: &Lattice, columns: &Columns, own: &[&Piece<'_>], lines: Vec<usize>) -> Vec<Vec<usize>> {
    if lines.len() < 2 {
        return vec![lines];
    }
    let column_of = |piece: &Piece<'_>| columns.place(&piece.segment.bbox, &(0..columns.borders.len()));
    let in_column = |column: usize| own.iter().filter(move |piece| column_of(piece) == (column, column));
    let is_of_figures = |column: &usize| {
        let distinct: HashSet<usize> = in_column(*column).map(|piece| piece.baseline).collect();
        let values = in_column(*column).filter(|piece| is_value(&piece.segment.text)).count();
        distinct.len() >= 2 && values * 10 >= in_column(*column).count() * 7
    };
    let figures: Vec<usize> = (0..columns.borders.len()).filter(is_of_figures).collect();
    let begins: Vec<bool> =
        if figures.len() >= 2 || figures.len() == 1 && (columns.borders.len() <= 3 || lines.len() >= 4) {
            let value_at =
                |line: usize, column: usize| in_column(column).any(|p| p.baseline == line && is_value(&p.segment.text));
            lines.iter().map(|line| figures.iter().any(|column| value_at(*line, *column))).collect()
        } else {
            // Without figures: a box around lines that nearly all have several cells.
            let width = |line: usize| own.iter().filter(|piece| piece.baseline == line).count();
            let several = lines.iter().filter(|line| width(**line) >= 2).count();
            let prose = (0..columns.borders.len()).any(|column| {
                let segments: Vec<&Segment<'_>> = in_column(column).map(|piece| &piece.segment).collect();
                is_running_text(&segments)
            });
            if lattice.rows() > 3 || prose || several * 10 < lines.len() * 7 || lattice.columns() > 1 {
                return vec![lines];
            }
            lines.iter().map(|line| width(*line) >= 2).collect()
        };
    group(&lines, &begins, own, &column_of)
}

/// In a head of several lines: where those begin that name columns one by one, below such as name them together.
fn subheads(lattice: &Lattice, columns: &Columns, own: &[&Piece<'_>], lines: &[usize]) -> Option<usize> {
    /// A head of more lines is none.
    const MOST_LINES: usize = 5;
    if lines.len() < 2 || lines.len() > MOST_LINES || own.iter().any(|piece| is_value(&piece.segment.text)) {
        return None;
    }
    let mut cells: Vec<usize> = own.iter().map(|piece| piece.cell).collect();
    cells.sort_unstable();
    cells.dedup();
    let begin = cells.into_iter().filter_map(|cell| {
        let range = columns.of_span(&lattice.cells[cell]);
        let on = |line: usize| own.iter().filter(move |piece| piece.cell == cell && piece.baseline == line);
        let first = *lines.iter().find(|line| on(**line).next().is_some())?;
        let upper: Vec<Bbox> = on(first).map(|piece| piece.segment.bbox).collect();
        let below = lines.iter().position(|line| *line > first && on(*line).count() > upper.len())?;
        let shares = columns.shared(&range, &upper);
        let is_above_several = |(bbox, (from, to)): (&Bbox, &(usize, usize))| {
            let (left, right) = (columns.extents[*from].0, columns.extents[*to].1);
            (bbox.left + bbox.right - left - right).abs() < (right - left) * 0.16 && to > from
        };
        let is_above_one = |(_, (from, to)): (&Bbox, &(usize, usize))| from == to;
        let mut pairs = upper.iter().zip(&shares);
        let fits =
            pairs.clone().all(|pair| is_above_one(pair) || is_above_several(pair)) && pairs.any(is_above_several);
        fits.then_some(below)
    });
    begin.max()
}

/// Groups lines into rows: each that begins one, with the lines of wrapped cells above and below it.
fn group(
    lines: &[usize],
    begins: &[bool],
    own: &[&Piece<'_>],
    column_of: &dyn Fn(&Piece<'_>) -> (usize, usize),
) -> Vec<Vec<usize>> {
    let on = |line: usize| own.iter().filter(move |piece| piece.baseline == line);
    let label = |line: usize| on(line).find(|piece| column_of(piece).0 == 0).map(|piece| &piece.segment);
    let tight = |above: usize, below: usize| {
        let bottom = on(above).map(|piece| piece.segment.bbox.bottom).fold(f32::MIN, f32::max);
        let top = on(below).map(|piece| piece.segment.bbox.top).fold(f32::MAX, f32::min);
        let size = on(below).map(|piece| piece.segment.line.size).fold(0.0, f32::max);
        top - bottom < size * 0.6
    };
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let mut begun = false;
    for (at, line) in lines.iter().enumerate() {
        if begins[at] {
            let mut row = std::mem::take(&mut waiting);
            row.push(*line);
            rows.push(row);
            begun = true;
            continue;
        }
        let only_label = on(*line).all(|piece| column_of(piece) == (0, 0));
        let next = lines.get(at + 1).filter(|next| begins[at + 1] && tight(*line, **next));
        let goes_on = next.is_some_and(|next| label(*next).is_none_or(|label| text::starts_lower(&label.text)));
        let follows = begun && waiting.is_empty() && at > 0 && tight(lines[at - 1], *line);
        let continues = label(*line).is_none_or(|label| text::starts_lower(&label.text));
        match rows.last_mut() {
            _ if only_label && goes_on => waiting.push(*line),
            Some(row) if follows && (!only_label || continues) => row.push(*line),
            _ => {
                rows.extend((!waiting.is_empty()).then(|| std::mem::take(&mut waiting)));
                rows.push(vec![*line]);
                begun = false;
            }
        }
    }
    rows.extend((!waiting.is_empty()).then_some(waiting));
    rows
}

/// Divides a ruled cell by the rows and columns that the text shows in it.
fn divide<'a>(
    lattice: &Lattice,
    frame: &Frame,
    columns: &Columns,
    rows: &Rows,
    span: &Span,
    own: Vec<&Piece<'a>>,
    areas: &mut Vec<Area<'a>>,
) {
    let range = columns.of_span(span);
    let all_rows = rows.starts[span.top]..rows.starts[span.bottom];
    let ruled = lattice.bbox(span);
    let of = |row: Range<usize>, pieces: Vec<&Piece<'a>>, bbox: Bbox| Area {
        rows: row,
        columns: range.clone(),
        bbox,
        segments: pieces.into_iter().map(|piece| piece.segment.clone()).collect(),
    };
    let strip_rows: Vec<(usize, Vec<&Piece<'a>>)> = if span.bottom - span.top == 1 {
        if all_rows.len() == 1 {
            Vec::new()
        } else {
            by_row(own.iter().copied(), |piece| rows.of_line(span.top, piece.baseline))
        }
    } else {
        // Labels beside ruled rows, without rules of their own: each stands at the height of a row.
        let row_of = |piece: &Piece<'a>| {
            let y = (piece.segment.bbox.top + piece.segment.bbox.bottom) / 2.0;
            let strip = (span.top..span.bottom).find(|strip| y < lattice.ys[strip + 1]).unwrap_or(span.bottom - 1);
            if rows.strips[strip].len() == 1 { Some(rows.starts[strip]) } else { rows.of_line(strip, piece.baseline) }
        };
        let found = by_row(own.iter().copied(), row_of);
        let lines: HashSet<usize> = own.iter().map(|piece| piece.baseline).collect();
        let each = found.len() == lines.len() && found.len() >= 2 && found.len() * 10 >= all_rows.len() * 6;
        if each && found.iter().map(|(_, pieces)| pieces.len()).sum::<usize>() == own.len() {
            found
        } else {
            Vec::new()
        }
    };
    if strip_rows.is_empty() && (own.is_empty() || all_rows.len() == 1 || span.bottom - span.top > 1) {
        // One row, whatever its height; or a cell over several.
        let divided = span.bottom - span.top == 1 && all_rows.len() > 1;
        if divided {
            for row in all_rows {
                spread(lattice, frame, columns, span, false, of(row..row + 1, Vec::new(), Bbox::default()), areas);
            }
        } else {
            spread(lattice, frame, columns, span, true, of(all_rows, own, ruled), areas);
        }
        return;
    }
    if span.bottom - span.top == 1 && rows.heads[span.top] {
        let [upper, lower] = [0, 1].map(|row| {
            let pieces =
                strip_rows.iter().find(|(at, _)| *at == all_rows.start + row).map(|(_, pieces)| pieces.clone());
            pieces.unwrap_or_default()
        });
        head(lattice, frame, columns, span, &of, all_rows.start, upper, lower, areas);
        return;
    }
    let whole = span.bottom - span.top > 1;
    let mut strip_rows = strip_rows.into_iter().peekable();
    for row in all_rows {
        let pieces = strip_rows.next_if(|(at, _)| *at == row).map(|(_, pieces)| pieces).unwrap_or_default();
        let area = of(row..row + 1, pieces, Bbox::default());
        spread(lattice, frame, columns, span, whole, area, areas);
    }
}

/// A cell of a head of two rows: what stands above several columns spans them, what stands alone above one spans both
/// rows.
#[expect(clippy::too_many_arguments)]
fn head<'a>(
    lattice: &Lattice,
    frame: &Frame,
    columns: &Columns,
    span: &Span,
    of: &dyn Fn(Range<usize>, Vec<&Piece<'a>>, Bbox) -> Area<'a>,
    row: usize,
    upper: Vec<&Piece<'a>>,
    lower: Vec<&Piece<'a>>,
    areas: &mut Vec<Area<'a>>,
) {
    let range = columns.of_span(span);
    let below = of(row + 1..row + 2, lower, Bbox::default());
    let has_below = |column: usize| {
        let covers = |segment: &Segment<'_>| {
            let (first, last) = columns.place(&segment.bbox, &range);
            first <= column && column <= last
        };
        below.segments.iter().any(covers)
    };
    if upper.is_empty() {
        let both = Area { rows: row..row + 2, ..below };
        spread(lattice, frame, columns, span, false, both, areas);
        return;
    }
    let shares = columns.shared(&range, &upper.iter().map(|piece| piece.segment.bbox).collect::<Vec<_>>());
    let mut groups: Vec<(usize, usize, Vec<&Piece<'a>>)> = Vec::new();
    let mut placed: Vec<((usize, usize), &Piece<'a>)> = shares.into_iter().zip(upper).collect();
    placed.sort_by_key(|(share, _)| *share);
    for ((first, last), piece) in placed {
        match groups.last_mut() {
            Some(group) if group.1 >= first => {
                group.1 = group.1.max(last);
                group.2.push(piece);
            }
            _ => groups.push((first, last, vec![piece])),
        }
    }
    let empty = |columns: Range<usize>| Area { columns, ..of(row..row + 1, Vec::new(), Bbox::default()) };
    let mut next = range.start;
    let mut deep = Vec::new();
    for (first, last, pieces) in groups {
        areas.extend((next..first).map(|column| empty(column..column + 1)));
        next = last + 1;
        let alone = first == last && !has_below(first);
        deep.extend(alone.then_some(first));
        let rows = row..row + if alone { 2 } else { 1 };
        areas.push(Area { columns: first..last + 1, ..of(rows, pieces, Bbox::default()) }.boxed());
    }
    areas.extend((next..range.end).map(|column| empty(column..column + 1)));
    // What is left below, from one column that is taken to the next.
    deep.push(range.end);
    let mut start = range.start;
    for taken in deep {
        if start < taken {
            let inside = |segment: &&Segment<'a>| (start..taken).contains(&columns.place(&segment.bbox, &range).0);
            let segments = below.segments.iter().filter(inside).cloned().collect();
            let part = Area { columns: start..taken, segments, ..below.clone() };
            spread(lattice, frame, columns, span, false, part, areas);
        }
        start = taken + 1;
    }
}

fn by_row<'p, 'a: 'p>(
    pieces: impl Iterator<Item = &'p Piece<'a>>,
    row_of: impl Fn(&Piece<'a>) -> Option<usize>,
) -> Vec<(usize, Vec<&'p Piece<'a>>)> {
    let mut rows: std::collections::BTreeMap<usize, Vec<&'p Piece<'a>>> = std::collections::BTreeMap::new();
    for piece in pieces {
        if let Some(row) = row_of(piece) {
            rows.entry(row).or_default().push(piece);
        }
    }
    rows.into_iter().collect()
}

/// Spreads an area over the columns that it covers: one cell where nothing in it stands apart.
fn spread<'a>(
    lattice: &Lattice,
    frame: &Frame,
    columns: &Columns,
    span: &Span,
    whole: bool,
    area: Area<'a>,
    areas: &mut Vec<Area<'a>>,
) {
    let range = area.columns.clone();
    let ruled_together = whole && span.right - span.left > 1;
    if range.len() == 1 || area.segments.is_empty() && ruled_together {
        areas.push(area.boxed());
        return;
    }
    let mut groups: Vec<(usize, usize, Vec<Segment<'a>>)> = Vec::new();
    let place = |segment: &Segment<'a>| {
        let (first, last) = columns.place(&segment.bbox, &range);
        (first, last, segment.clone())
    };
    let mut placed: Vec<(usize, usize, Segment<'a>)> = area.segments.iter().map(place).collect();
    placed.sort_by_key(|(first, last, _)| (*first, *last));
    for (first, last, segment) in placed {
        match groups.last_mut() {
            Some(group) if group.1 >= first => {
                group.1 = group.1.max(last);
                group.2.push(segment);
            }
            _ => groups.push((first, last, vec![segment])),
        }
    }
    if let [(first, last, segments)] = &mut groups[..] {
        if ruled_together {
            areas.push(area.boxed());
            return;
        }
        let bbox = Bbox::around(segments.iter().map(|segment| &segment.bbox)).unwrap_or_default();
        if let Some((from, to)) = headed(lattice, frame, columns, span, &range, &bbox) {
            (*first, *last) = ((*first).min(from), (*last).max(to));
        }
    } else {
        for at in 0..groups.len() {
            let bbox = Bbox::around(groups[at].2.iter().map(|segment| &segment.bbox)).unwrap_or_default();
            let Some((from, to)) = ruled_below(lattice, frame, columns, span, &range, &bbox) else { continue };
            let free_from = at.checked_sub(1).map_or(range.start, |before| groups[before].1 + 1);
            let free_to = groups.get(at + 1).map_or(range.end - 1, |next| next.0 - 1);
            groups[at].0 = groups[at].0.min(from.max(free_from));
            groups[at].1 = groups[at].1.max(to.min(free_to));
        }
    }
    let empty = |column: usize| {
        let (left, right) = columns.borders[column];
        Area {
            rows: area.rows.clone(),
            columns: column..column + 1,
            bbox: if area.bbox.area() > 0.0 { Bbox { left, right, ..area.bbox } } else { Bbox::default() },
            segments: Vec::new(),
        }
    };
    let mut next = range.start;
    for (first, last, segments) in groups {
        areas.extend((next..first).map(empty));
        next = last + 1;
        areas.push(Area { rows: area.rows.clone(), columns: first..last + 1, bbox: Bbox::default(), segments }.boxed());
    }
    areas.extend((next..range.end).map(empty));
}

/// The columns below a head that stands alone above several of them: those under the rule below it, or all of its
/// ruled column when it stands in the middle.
fn headed(
    lattice: &Lattice,
    frame: &Frame,
    columns: &Columns,
    span: &Span,
    range: &Range<usize>,
    bbox: &Bbox,
) -> Option<(usize, usize)> {
    let below = ruled_below(lattice, frame, columns, span, range, bbox);
    let (left, right) = (columns.borders[range.start].0, columns.borders[range.end - 1].1);
    let off = (bbox.left + bbox.right - left - right).abs() / 2.0;
    let centred = off < (right - left) * 0.08 && lattice.columns() > 1 && span.bottom < lattice.rows();
    below.or_else(|| centred.then_some((range.start, range.end - 1)))
}

/// The columns over a shorter rule that stands right below a head.
fn ruled_below(
    lattice: &Lattice,
    frame: &Frame,
    columns: &Columns,
    span: &Span,
    range: &Range<usize>,
    bbox: &Bbox,
) -> Option<(usize, usize)> {
    const NEAR: f32 = 3.0;
    let y = lattice.ys[span.bottom];
    let middle = (bbox.left + bbox.right) / 2.0;
    let (left, right) = (columns.borders[range.start].0, columns.borders[range.end - 1].1);
    let rule = frame.across.iter().find(|s| {
        (s.at - y).abs() < NEAR && s.from < middle && middle < s.to && s.covers(left, right) < (right - left) * 0.95
    })?;
    let under = |column: &usize| {
        let (left, right) = columns.extents[*column];
        rule.covers(left, right) > (right - left) * 0.5
    };
    let first = range.clone().find(under)?;
    let last = range.clone().rfind(under)?;
    Some((first, last))
}

/// Whether cells make a table rather than a form, a box around text, or the grid of a chart.
fn is_table(areas: &[Area<'_>], columns: usize, rows: usize, closed: bool) -> bool {
    let filled: Vec<&Area<'_>> = areas.iter().filter(|area| !area.segments.is_empty()).collect();
    let in_row = |row: usize| filled.iter().filter(|area| area.rows.contains(&row)).count();
    let in_column = |column: usize| filled.iter().filter(|area| area.columns.contains(&column)).count();
    let full_rows = (0..rows).filter(|row| in_row(*row) >= 2).count();
    let full_columns = (0..columns).filter(|column| in_column(*column) >= 2).count();
    let places: usize = filled.iter().map(|area| area.rows.len() * area.columns.len()).sum();
    let least_rows = if closed { 1 } else { 2 };
    if filled.len() < 4 || full_rows < least_rows || full_columns < 1 || places * 10 < rows * columns * 3 {
        return false;
    }
    // Cells of all sizes: a form, whose boxes are as wide as what is to be written in them.
    let spanning = filled.iter().filter(|area| area.rows.len() > 1 || area.columns.len() > 1).count();
    if spanning * 2 > filled.len() {
        return false;
    }
    // Most of the words stand in paragraphs: a page laid out in boxes.
    let chars = |area: &Area<'_>| area.segments.iter().map(|segment| segment.chars).sum::<usize>();
    let all: usize = filled.iter().map(|area| chars(area)).sum();
    let prose: usize = filled.iter().map(|area| chars(area)).filter(|chars| *chars > 400).sum();
    prose * 2 <= all || closed && rows >= 3 && full_rows >= 3
}

/// Keeps the order of segments that `segments` gives to cells.
pub fn text_of(segments: &[Segment<'_>]) -> String {
    text::join(in_reading_order(segments).iter().map(|segment| segment.text.as_str()))
}
