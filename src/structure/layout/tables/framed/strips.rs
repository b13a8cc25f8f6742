//! The rows of a frame: ruled strips, divided where lines of figures show several rows, or a head of two.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::super::text;
use super::super::lattice::Lattice;
use super::super::segments::Segment;
use super::super::{grid::is_running_text, values::is_value};
use super::Piece;
use super::columns::Columns;
use deckle_contract::document::Bbox;

/// All rows: each ruled strip is one, or as many as its lines of figures show.
pub(super) struct Rows {
    /// For each strip, the lines of each of its rows.
    pub strips: Vec<Vec<Vec<usize>>>,
    /// Whether a strip is a head whose lower row names the columns that the upper one names together.
    pub heads: Vec<bool>,
    /// The first row of each strip, and the end.
    pub starts: Vec<usize>,
    /// The row of each line of a strip, within the strip.
    of_line: HashMap<(usize, usize), usize>,
}

impl Rows {
    pub(super) fn of(lattice: &Lattice, columns: &Columns, pieces: &[Piece<'_>]) -> Self {
        let mut rows = Self { strips: Vec::new(), heads: Vec::new(), starts: vec![0], of_line: HashMap::new() };
        let mut in_one: Vec<Vec<&Piece<'_>>> = vec![Vec::new(); lattice.rows()];
        for piece in pieces {
            let span = &lattice.cells[piece.cell];
            if span.bottom == span.top + 1 {
                in_one[span.top].push(piece);
            }
        }
        for (strip, own) in in_one.into_iter().enumerate() {
            let mut lines: Vec<usize> = own.iter().map(|piece| piece.baseline).collect();
            lines.sort_unstable();
            lines.dedup();
            let subheads = subheads(lattice, columns, &own, &lines);
            rows.heads.push(subheads.is_some());
            rows.strips.push(match subheads {
                Some(below) => vec![lines[..below].to_vec(), lines[below..].to_vec()],
                None => split(lattice, columns, &own, lines),
            });
            for (row, lines) in rows.strips[strip].iter().enumerate() {
                rows.of_line.extend(lines.iter().map(|line| ((strip, *line), row)));
            }
            rows.starts.push(rows.starts[strip] + rows.strips[strip].len());
        }
        rows
    }

    pub(super) fn count(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The row in which a line stands, of those strips that are divided; or the strip's only one.
    pub(super) fn of_line(&self, strip: usize, baseline: usize) -> Option<usize> {
        let row = self.of_line.get(&(strip, baseline))?;
        Some(self.starts[strip] + row)
    }

    /// The rows above the first strip of several rows, where most rows stand in such strips.
    pub(super) fn below_head(&self) -> Option<u32> {
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
    let mut in_column: Vec<Vec<&Piece<'_>>> = vec![Vec::new(); columns.borders.len()];
    for piece in own {
        let (first, last) = column_of(piece);
        if first == last {
            in_column[first].push(piece);
        }
    }
    let is_of_figures = |column: &&Vec<&Piece<'_>>| {
        let distinct: HashSet<usize> = column.iter().map(|piece| piece.baseline).collect();
        let values = column.iter().filter(|piece| is_value(&piece.segment.text)).count();
        distinct.len() >= 2 && values * 10 >= column.len() * 7
    };
    let figures: Vec<&Vec<&Piece<'_>>> = in_column.iter().filter(is_of_figures).collect();
    let begins: Vec<bool> =
        if figures.len() >= 2 || figures.len() == 1 && (columns.borders.len() <= 3 || lines.len() >= 4) {
            let values = figures.into_iter().flatten().filter(|piece| is_value(&piece.segment.text));
            let with_value: HashSet<usize> = values.map(|piece| piece.baseline).collect();
            lines.iter().map(|line| with_value.contains(line)).collect()
        } else {
            // Without figures: a box around lines that nearly all have most of the cells.
            let mut widths: HashMap<usize, usize> = HashMap::new();
            own.iter().for_each(|piece| *widths.entry(piece.baseline).or_default() += 1);
            let width = |line: usize| widths.get(&line).copied().unwrap_or(0);
            let several = lines.iter().filter(|line| width(**line) >= 2).count();
            let prose = in_column.iter().any(|column| {
                let segments: Vec<&Segment<'_>> = column.iter().map(|piece| &piece.segment).collect();
                is_running_text(&segments)
            });
            let sparse = several * 10 < lines.len() * 7 || own.len() * 10 < lines.len() * columns.borders.len() * 6;
            if lattice.rows() > 3 || prose || sparse || lattice.columns() > 1 {
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
    let mut cells: BTreeMap<usize, Vec<&Piece<'_>>> = BTreeMap::new();
    own.iter().for_each(|piece| cells.entry(piece.cell).or_default().push(piece));
    let begin = cells.iter().filter_map(|(cell, own)| {
        let range = columns.of_span(&lattice.cells[*cell]);
        let on = |line: usize| own.iter().filter(move |piece| piece.baseline == line);
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
    let mut on_line: HashMap<usize, Vec<&Piece<'_>>> = HashMap::new();
    own.iter().for_each(|piece| on_line.entry(piece.baseline).or_default().push(piece));
    let on = |line: usize| on_line.get(&line).into_iter().flatten();
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
