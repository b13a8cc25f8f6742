//! Lines cut into what can be cells, and cells put into rows.

use std::ops::Range;

use super::super::Measured;
use super::values::{Places, is_value};
use deckle_contract::document::Bbox;

/// Cells with more characters are running text.
pub(super) const PROSE: usize = 60;

/// Words that keep their own dot before leading ones.
const ABBREVIATIONS: &[&str] = &["etc", "usw", "Inc", "Corp", "Co", "Ltd", "Jr", "Sr"];

/// A word's horizontal extent and text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    left: f32,
    right: f32,
    text: &'a str,
}

/// A piece of a line between wide spaces: what can be a cell.
#[derive(Debug, Clone)]
pub(super) struct Segment<'a> {
    pub line: &'a Measured<'a>,
    pub bbox: Bbox,
    pub text: String,
    pub chars: usize,
    pub bold: bool,
    /// Its words with their horizontal extents; empty where the line has none.
    words: Vec<Span<'a>>,
    /// Lines that are raised marks of this cell.
    pub marks: Vec<&'a Measured<'a>>,
}

impl<'a> Segment<'a> {
    fn of_words(line: &'a Measured<'a>, words: Vec<Span<'a>>) -> Self {
        let mut text = words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ");
        if ends_leader(&words) {
            let end = text.trim_end_matches(|c: char| is_leader(c.encode_utf8(&mut [0; 4]))).len();
            text.truncate(if end > 0 { end } else { text.len() });
            if ABBREVIATIONS.contains(&text.rsplit(' ').next().unwrap_or_default()) {
                text.push('.');
            }
        }
        let left = words.iter().map(|word| word.left).fold(f32::MAX, f32::min);
        let right = words.iter().map(|word| word.right).fold(f32::MIN, f32::max);
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

    /// The boxes of its words; its own where it has none.
    pub(super) fn word_boxes(&self) -> Vec<Bbox> {
        let words = self.words.iter().map(|word| Bbox { left: word.left, right: word.right, ..self.bbox });
        if self.words.is_empty() { vec![self.bbox] } else { words.collect() }
    }

    /// Without the words that `is_none` tells to be none; unless nothing would be left.
    pub(super) fn without(self, is_none: &dyn Fn(&str, &Bbox) -> bool) -> Self {
        let bbox = |word: &Span<'_>| Bbox { left: word.left, right: word.right, ..self.bbox };
        let kept: Vec<Span<'a>> = self.words.iter().filter(|word| !is_none(word.text, &bbox(word))).copied().collect();
        if kept.is_empty() || kept.len() == self.words.len() {
            return self;
        }
        let mut rest = Self::of_words(self.line, kept);
        self.marks.iter().for_each(|mark| rest.add_mark(mark));
        rest
    }

    /// Cuts a segment where borders stand between its words.
    pub(super) fn cut(&self, borders: &[f32]) -> Vec<Self> {
        let column = |word: &Span<'_>| borders.partition_point(|border| *border <= (word.left + word.right) / 2.0);
        let Some(first) = self.words.first().map(column) else { return vec![self.clone()] };
        if self.words.iter().all(|word| column(word) == first) {
            return vec![self.clone()];
        }
        let mut pieces: Vec<(usize, Vec<Span<'a>>)> = Vec::new();
        for word in &self.words {
            match pieces.last_mut() {
                Some((at, words)) if *at == column(word) => words.push(*word),
                _ => pieces.push((column(word), vec![*word])),
            }
        }
        let mut pieces: Vec<Self> = pieces.into_iter().map(|(_, words)| Self::of_words(self.line, words)).collect();
        if let Some(last) = pieces.last_mut() {
            // A raised mark stands at the end; its text, too, is the segment's and not the words'.
            for mark in &self.marks {
                last.add_mark(mark);
            }
        }
        pieces
    }

    fn add_mark(&mut self, mark: &'a Measured<'a>) {
        self.text = format!("{} {}", self.text, mark.line.text.trim());
        self.marks.push(mark);
    }

    /// Cuts a segment that runs over several columns where its words do not: figures set so close that no space
    /// between them is wide.
    pub(super) fn by_columns(&self, places: &Places, columns: &Range<usize>) -> Vec<Self> {
        let mut pieces: Vec<(usize, Vec<Span<'a>>)> = Vec::new();
        for word in &self.words {
            let bbox = Bbox { left: word.left, right: word.right, ..self.bbox };
            let (first, last) = places.place(&bbox, columns);
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
pub(super) struct Row<'a> {
    pub segments: Vec<Segment<'a>>,
    pub top: f32,
    pub bottom: f32,
    pub size: f32,
}

impl Row<'_> {
    /// Whether it can be a row of cells: several, apart from each other, none of them running text.
    pub(super) fn is_tabular(&self) -> bool {
        let apart = self.segments.windows(2).all(|pair| pair[1].bbox.left >= pair[0].bbox.right - 1.0);
        let long = self.segments.iter().filter(|segment| segment.chars > PROSE).count();
        self.segments.len() >= 2 && apart && long == 0
    }
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
    let words = line.line.words.iter().map(|word| Span {
        left: word.bbox.left,
        right: word.bbox.right,
        text: word.text.trim(),
    });
    let words: Vec<_> = words.filter(|word| !word.text.is_empty()).collect();
    if words.is_empty()
        || words.iter().any(|word| !(word.left.is_finite() && word.right.is_finite() && word.left <= word.right))
    {
        return vec![whole()];
    }
    // Figures beside each other are two sooner than words; the groups of one figure stand closer still.
    let gap = |left: &Span<'_>, right: &Span<'_>| {
        line.size * if is_value(left.text) && is_value(right.text) { 0.75 } else { 1.4 }
    };
    let mut segments: Vec<Vec<Span<'a>>> = Vec::new();
    let mut right = f32::MIN;
    for word in words {
        match segments.last_mut() {
            Some(last)
                if last.last().is_some_and(|before| word.left - right < gap(before, &word))
                    && (is_leader(word.text) || !ends_leader(last)) =>
            {
                last.push(word);
            }
            _ => segments.push(vec![word]),
        }
        right = if right > word.left { right.max(word.right) } else { word.right };
    }
    segments.into_iter().map(|words| Segment::of_words(line, words)).collect()
}

/// Whether a word is nothing but dots, as those that lead the eye to the next column.
fn is_leader(word: &str) -> bool {
    word.chars().all(|c| matches!(c, '.' | '…' | '·') || c.is_whitespace())
}

/// Whether words end in a run of at least three such dots, or of two of which one stands apart.
fn ends_leader(words: &[Span<'_>]) -> bool {
    // Some files set the dots as one word with spaces of another kind between them.
    let dots = |word: &str| {
        let tail = word.chars().rev().take_while(|c| is_leader(c.encode_utf8(&mut [0; 4])));
        tail.map(|c| if c == '…' { 3 } else { usize::from(!c.is_whitespace()) }).sum::<usize>()
    };
    let mut run = 0;
    for word in words.iter().rev() {
        run += dots(word.text);
        if run >= 3 || !is_leader(word.text) {
            break;
        }
    }
    let apart = words.len() >= 2 && words.last().is_some_and(|last| is_leader(last.text));
    run >= 3 || run == 2 && apart
}

/// Rows of a region, top to bottom; all segments of a line stand in one row.
pub(super) fn rows<'a>(lines: &[&'a Measured<'a>]) -> Vec<Row<'a>> {
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
                cell.add_mark(mark.line);
            }
            is_mark
        });
    }
    rows
}
