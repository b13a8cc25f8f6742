//! Lines of one column grouped into blocks: paragraphs and list items.
//!
//! A new block begins at a wider gap, another size or weight, an indent, a list marker, or where a line was ended on
//! purpose; what is left is one paragraph.

use super::{
    Draft, Measured, Metrics,
    item::Item,
    tables, text,
    xycut::{self, Leaf},
};
use deckle_contract::document::{Bbox, BlockKind, Drawing};

/// Lines of one height, left to right; usually one.
struct Row<'a> {
    lines: Vec<&'a Measured<'a>>,
    bbox: Bbox,
    size: f32,
    text: String,
    bold: bool,
    /// Whether wide gaps part it into fields: a row of a form, complete in itself.
    fields: bool,
}

impl<'a> Row<'a> {
    fn of(lines: Vec<&'a Measured<'a>>) -> Self {
        let bbox = Bbox::around(lines.iter().map(|line| &line.bbox)).unwrap_or_default();
        let chars: usize = lines.iter().map(|line| line.chars.max(1)).sum();
        let size = lines.iter().map(|line| line.size * line.chars.max(1) as f32).sum::<f32>() / chars.max(1) as f32;
        let text = text::join(lines.iter().map(|line| line.line.text.as_str()));
        let bold = lines.iter().all(|line| line.line.bold);
        let fields = lines.windows(2).any(|pair| pair[1].bbox.left - pair[0].bbox.right > size * 2.5);
        Self { lines, bbox, size, text, bold, fields }
    }
}

impl Row<'_> {
    fn chars(&self) -> usize {
        self.text.chars().count()
    }
}

/// What is usual in one column.
struct Column {
    right: f32,
    width: f32,
    /// Distance from line to line.
    pitch: f32,
}

impl Column {
    /// Whether the first word of `next` would not have fitted below `last`'s line, so that the line was just full.
    fn is_full(&self, last: &Row<'_>, next: &Row<'_>) -> bool {
        let first = next.lines.first().map_or(0.0, |line| {
            let chars = line.line.text.split_whitespace().next().map_or(0, |word| word.chars().count());
            line.bbox.width() * chars as f32 / line.chars.max(1) as f32
        });
        last.bbox.right + first + next.size * 0.25 > self.right - next.size * 0.5
    }
}

impl Column {
    fn of(rows: &[Row<'_>], metrics: &Metrics) -> Self {
        let bbox = Bbox::around(rows.iter().map(|row| &row.bbox)).unwrap_or_default();
        let mut pitches: Vec<f32> = rows
            .windows(2)
            .filter(|pair| (pair[0].size - pair[1].size).abs() < 1.0)
            .map(|pair| pitch(&pair[0], &pair[1]) / pair[1].size)
            .filter(|pitch| (0.8..2.2).contains(pitch))
            .collect();
        pitches.sort_by(f32::total_cmp);
        // The lower third: gaps between paragraphs are among these distances, too.
        let pitch = pitches.get(pitches.len() / 3).copied().unwrap_or(1.25);
        Self { right: bbox.right, width: bbox.width().max(metrics.body), pitch }
    }
}

/// Distance from one line to the next; the less of both ends, as tight boxes miss what a line's letters lack.
fn pitch(above: &Row<'_>, below: &Row<'_>) -> f32 {
    (below.bbox.top - above.bbox.top).min(below.bbox.bottom - above.bbox.bottom)
}

/// Groups the items of one column into blocks, in their order.
pub(super) fn group<'a>(leaf: Leaf<'a>, metrics: &Metrics) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    let mut lines: Vec<&'a Measured<'a>> = Vec::new();
    for item in leaf.items {
        match item {
            Item::Line(line) => lines.push(line),
            Item::Table { bbox, lines: inside, table } => {
                paragraphs(std::mem::take(&mut lines), metrics, &mut drafts);
                let text = tables::plain(&table);
                let boxes = vec![bbox];
                drafts.push(Draft { text, boxes, table: Some(table), ..Draft::of_lines(inside, BlockKind::Table) });
            }
            Item::Picture { bbox, lines: mut inside } => {
                paragraphs(std::mem::take(&mut lines), metrics, &mut drafts);
                inside.sort_by(|a, b| a.bbox.top.total_cmp(&b.bbox.top).then(a.bbox.left.total_cmp(&b.bbox.left)));
                let mut texts = Vec::new();
                paragraphs(inside.clone(), metrics, &mut texts);
                if texts.iter().all(|text| is_label(text, metrics)) {
                    drafts.push(Draft::of_picture(bbox, inside));
                } else {
                    drafts.push(Draft::of_picture(bbox, Vec::new()));
                    drafts.append(&mut in_order(inside, metrics));
                }
            }
        }
    }
    paragraphs(lines, metrics, &mut drafts);
    nest(&mut drafts);
    drafts
}

/// The blocks of text in a picture, which may be a page of its own: in columns, with tables. Rules that the page draws
/// over it part nothing in it.
fn in_order<'a>(lines: Vec<&'a Measured<'a>>, metrics: &Metrics) -> Vec<Draft<'a>> {
    let (upright, sideways): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| !line.is_sideways());
    let leaves = xycut::order(upright, &[], &Drawing::default(), metrics);
    let mut drafts: Vec<Draft<'a>> = leaves.into_iter().flat_map(|leaf| group(leaf, metrics)).collect();
    drafts.extend(sideways.into_iter().map(|line| Draft::of_lines(vec![line], BlockKind::Text)));
    drafts
}

/// Whether a text in a picture is one of its labels, rather than a heading or paragraph that stands over it. What was
/// read out of the picture may be of any size.
fn is_label(text: &Draft<'_>, metrics: &Metrics) -> bool {
    let is_large = text.size() > metrics.body * 1.2 && !text.lines.iter().all(|line| metrics.is_of_picture(line));
    let is_prose =
        text.lines.len() >= 2 && (text.chars() > 100 || text.chars() > 40 && text::ends_sentence(&text.text));
    !is_large && !is_prose
}

fn rows<'a>(lines: Vec<&'a Measured<'a>>) -> Vec<Row<'a>> {
    let mut rows: Vec<Vec<&'a Measured<'a>>> = Vec::new();
    for line in lines {
        let beside = rows.last().and_then(|row| row.last()).is_some_and(|last| {
            let shared = last.bbox.bottom.min(line.bbox.bottom) - last.bbox.top.max(line.bbox.top);
            // A slide's heading stands in no row with the small print of a drawing.
            let alike = line.chars <= 3 || last.chars <= 3 || line.size.max(last.size) < line.size.min(last.size) * 1.6;
            shared > last.bbox.height().min(line.bbox.height()) * 0.6
                && alike
                && line.bbox.left >= last.bbox.right - line.size * 0.5
        });
        match rows.last_mut() {
            Some(row) if beside => row.push(line),
            _ => rows.push(vec![line]),
        }
    }
    rows.into_iter().map(Row::of).collect()
}

fn paragraphs<'a>(lines: Vec<&'a Measured<'a>>, metrics: &Metrics, drafts: &mut Vec<Draft<'a>>) {
    let mut rows = rows(lines);
    let column = Column::of(&rows, metrics);
    // A justified line can have a wide gap, and goes on in the next line.
    for at in 1..rows.len() {
        let (row, next) = (&rows[at - 1], &rows[at]);
        let is_filled = row.bbox.width() > column.width * 0.85 && pitch(row, next) < column.pitch * row.size * 1.25;
        if is_filled && row.lines.len() == 2 && goes_on(&row.text, &next.text) && !next.fields {
            rows[at - 1].fields = false;
        }
    }
    let mut open: Vec<Row<'a>> = Vec::new();
    let mut bold = true;
    let mut apart = true;
    for row in rows {
        let starts = open.last().is_none_or(|last| starts_block(&open, bold, last, &row, &column, metrics));
        if starts {
            let gap = open.last().is_none_or(|last| pitch(last, &row) > column.pitch * row.size * 1.25);
            finish(std::mem::take(&mut open), apart, drafts);
            apart = gap;
            bold = true;
        }
        bold &= row.bold;
        open.push(row);
    }
    finish(open, apart, drafts);
}

fn finish<'a>(rows: Vec<Row<'a>>, apart: bool, drafts: &mut Vec<Draft<'a>>) {
    let fields = rows.iter().any(|row| row.fields);
    let lines: Vec<&'a Measured<'a>> = rows.into_iter().flat_map(|row| row.lines).collect();
    if lines.is_empty() {
        return;
    }
    let mut draft = Draft { apart, fields, ..Draft::of_lines(lines, BlockKind::Text) };
    if let Some((marker, rest)) = text::split_marker(&draft.text) {
        draft.kind = BlockKind::ListItem;
        draft.marker = Some(marker.to_owned());
        draft.text = rest.to_owned();
    }
    drafts.push(draft);
}

/// Whether a row begins a block, rather than go on with the open one, all of which may be bold.
fn starts_block(
    open: &[Row<'_>],
    bold: bool,
    last: &Row<'_>,
    row: &Row<'_>,
    column: &Column,
    metrics: &Metrics,
) -> bool {
    let first = &open[0];
    let size = last.size.max(row.size);
    let distance = pitch(last, row);
    // Same size, or near enough for what OCR can tell.
    // A word or two on a scan say little of their size.
    let is_short = last.chars().min(row.chars()) <= 8;
    let tolerance = match metrics.exact {
        true => (size * 0.07).max(0.6),
        false => size * if is_short { 0.4 } else { 0.3 },
    };
    let was_full = column.is_full(last, row);
    let runs_on = was_full && !text::ends_sentence(&last.text) && !last.fields;
    let difference = (last.size - row.size).abs();
    // Small capitals and bold words at the beginning of a paragraph change neither for good.
    let another_size = difference > tolerance && !(runs_on && difference < size * 0.25);
    // A bold heading can fill its line by chance, but then no sentence goes on below it: an indented one begins.
    let is_indented = row.bbox.left - last.bbox.left > size * 0.4 && !text::starts_lower(&row.text);
    let is_heading = is_indented && bold && !row.bold;
    let another_weight = metrics.exact && last.bold != row.bold && (!runs_on || is_heading);
    let usual = if (0.8..2.2).contains(&column.pitch) { column.pitch * size } else { size * 1.25 };
    let far = distance > usual * 1.22 + 0.5 || distance < -size;
    if another_size || another_weight || far || last.fields || row.fields {
        return true;
    }
    let em = size * 0.8;
    let marked = text::split_marker(&row.text).is_some_and(|(marker, _)| begins_item(marker, open, row, was_full));
    if marked {
        return true;
    }
    let in_item = text::split_marker(&first.text).is_some();
    let shift = row.bbox.left - last.bbox.left;
    // Centred lines shift to both sides alike; after a full stop a small shift is rather an indent.
    let middles = row.bbox.left + row.bbox.right - last.bbox.left - last.bbox.right;
    let is_indent = text::ends_sentence(&last.text) && shift.abs() < size * 2.5;
    let centred = middles.abs() < size * 0.3 && shift.abs() > 1.0 && !is_indent;
    if centred {
        return false;
    }
    if in_item {
        // The text of an item hangs at or right of its marker, or begins left of it when only the first line is
        // indented.
        return match open {
            [_] => shift < -em && !was_full,
            _ => {
                let is_new = !was_full || text::ends_sentence(&last.text);
                (row.bbox.left < first.bbox.left - em && shift < -em) || shift > em && is_new
            }
        };
    }
    if counts_on(&first.text, &row.text) {
        return true;
    }
    if shift > em {
        // An indent: a new paragraph, unless the first line hangs out and was full.
        return !(open.len() == 1 && was_full);
    }
    if shift < -em {
        // Back from a first line's indent, or out of a hanging paragraph.
        return !(open.len() == 1 && was_full
            || open.len() == 1 && shift > -size * 6.0 && !text::ends_sentence(&last.text));
    }
    // The line had room for more, so it was ended on purpose.
    let room = column.right - last.bbox.right;
    let named = open.len() == 1 && room > column.width * 0.35 && row.bbox.width() > column.width * 0.8;
    if named && !text::starts_lower(&row.text) && last.text.chars().count() >= 4 {
        return true;
    }
    room > column.width * 0.2 && room > size * 4.0 && text::ends_sentence(&last.text) && !text::starts_lower(&row.text)
}

/// Whether two lines begin with bare numbers that follow each other, as footnotes do.
fn counts_on(first: &str, next: &str) -> bool {
    // A number of that size has five digits.
    let end = |text: &str| text.bytes().take(6).position(|byte| byte == b' ');
    let number = |text: &str| end(text).and_then(|end| text[..end].parse::<u16>().ok());
    number(first).zip(number(next)).is_some_and(|(first, next)| first.checked_add(1) == Some(next))
}

/// Whether a marker at the beginning of a line begins an item, or is a number that happens to stand there.
fn begins_item(marker: &str, open: &[Row<'_>], row: &Row<'_>, was_full: bool) -> bool {
    let Some(number) = text::number_of(marker).filter(|_| text::is_counted(marker)) else {
        // A dash may be one of the sentence's own.
        return !(matches!(marker, "-" | "–" | "—")
            && was_full
            && (row.bbox.left - open[open.len() - 1].bbox.left).abs() < 1.0);
    };
    let before = text::split_marker(&open[0].text).and_then(|(marker, _)| text::number_of(marker));
    let ended = text::ends_sentence(&open[open.len() - 1].text);
    number == 1 || before.is_some_and(|before| number == before + 1) || ended || !was_full
}

/// Gives list items their depth by how far they are indented against their neighbours.
fn nest(drafts: &mut [Draft<'_>]) {
    let mut lefts: Vec<f32> = Vec::new();
    for draft in drafts {
        if draft.kind != BlockKind::ListItem {
            lefts.clear();
            continue;
        }
        let first = draft.lines.first().map_or(0.0, |line| line.bbox.left);
        let (left, em) = (first, draft.size());
        while lefts.last().is_some_and(|last| left < last - em * 0.6) {
            lefts.pop();
        }
        if lefts.last().is_none_or(|last| left > last + em * 0.6) {
            lefts.push(left);
        }
        draft.level = Some(lefts.len().clamp(1, 9) as u8);
    }
}

/// Joins a paragraph that goes on in the next column.
pub(super) fn join_columns(drafts: Vec<Draft<'_>>) -> Vec<Draft<'_>> {
    let mut joined: Vec<Draft<'_>> = Vec::with_capacity(drafts.len());
    let mut last_leaf = None;
    let mut flow: Option<Flow> = None;
    for draft in drafts {
        let first_of_leaf = last_leaf.is_some_and(|last| last != draft.leaf);
        last_leaf = Some(draft.leaf);
        if let Some(flow) = flow.as_mut().filter(|_| first_of_leaf && draft.kind == BlockKind::Text) {
            let before = &mut joined[flow.at];
            let continues = matches!(before.kind, BlockKind::Text | BlockKind::ListItem)
                && goes_on(&before.text, &draft.text)
                && flow.was_full(before)
                && (flow.size() - draft.size()).abs() < 0.6;
            if continues {
                flow.chars = text::append(&mut before.text, flow.chars, &draft.text);
                flow.add_lines(&draft);
                before.lines.extend(draft.lines);
                before.boxes.extend(draft.boxes);
                continue;
            }
        }
        if !is_beside_the_flow(draft.kind) {
            flow = Some(Flow::of(joined.len(), &draft));
        }
        joined.push(draft);
    }
    joined
}

/// What is known of the last block in the flow, so that joining to it costs what is joined.
struct Flow {
    at: usize,
    chars: usize,
    widest: f32,
    /// Sizes of its letters, and how many letters.
    sizes: (f32, usize),
}

impl Flow {
    fn of(at: usize, draft: &Draft<'_>) -> Self {
        let mut flow = Self { at, chars: draft.chars(), widest: 0.0, sizes: (0.0, 0) };
        flow.add_lines(draft);
        flow
    }

    fn add_lines(&mut self, draft: &Draft<'_>) {
        for line in &draft.lines {
            self.widest = self.widest.max(line.bbox.width());
            self.sizes.0 += line.size * line.chars.max(1) as f32;
            self.sizes.1 += line.chars.max(1);
        }
    }

    /// Character-weighted size of its lines; 0 without lines.
    fn size(&self) -> f32 {
        if self.sizes.1 == 0 { 0.0 } else { self.sizes.0 / self.sizes.1 as f32 }
    }

    /// Whether a paragraph's last line reaches as far as its others; an address or a poem is no paragraph.
    fn was_full(&self, draft: &Draft<'_>) -> bool {
        self.chars >= 22 * draft.lines.len()
            && draft.lines.last().is_some_and(|last| last.bbox.width() > self.widest * 0.75)
    }
}

/// Whether a paragraph can run around a block of this kind.
pub(super) fn is_beside_the_flow(kind: BlockKind) -> bool {
    use BlockKind::{Caption, Footnote, PageFooter, PageHeader, Picture, Table};
    matches!(kind, Picture | Caption | Footnote | Table | PageHeader | PageFooter)
}

/// Whether `next` goes on with the sentence in which `before` ends.
pub(super) fn goes_on(before: &str, next: &str) -> bool {
    let lower = next.chars().next().is_some_and(char::is_lowercase);
    !before.is_empty() && !text::ends_sentence(before) && (lower || before.ends_with(','))
}
