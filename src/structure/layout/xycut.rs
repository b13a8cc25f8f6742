//! Reading order by a recursive XY-cut over boxes.
//!
//! A region is cut into bands by white strips across it; neighbouring bands that share a gutter are one group, and a
//! group with a gutter is cut into columns, each a region of its own. So a heading over two columns, a picture over
//! one of them and a switch from three columns to one all fall out of the same rule. A ruled line ends the gutters that
//! it crosses. Bands without a gutter are read as they stand, top to bottom.

use super::{
    Measured, Metrics,
    gutters::{Coverage, Gutters},
    item::Item,
    middle, tables, text,
};
use deckle_contract::document::{Bbox, Drawing};

/// One column of one region: items in reading order, nothing beside them.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    /// Its items; those of one row stand left to right.
    pub items: Vec<Item<'a>>,
}

/// Deeper regions are read as they stand; real pages need about five levels.
const DEPTH: usize = 12;

/// Orders lines and pictures; tables are found on the way: those in rules first, the others in each region before it
/// is cut.
pub(super) fn order<'a>(
    lines: Vec<&'a Measured<'a>>,
    pictures: &[(Bbox, Vec<usize>)],
    drawing: &Drawing,
    metrics: &Metrics,
) -> Vec<Leaf<'a>> {
    let mut owner = std::collections::HashMap::new();
    for (number, (_, inside)) in pictures.iter().enumerate() {
        owner.extend(inside.iter().map(|index| (*index, number)));
    }
    let mut items: Vec<Item<'a>> =
        pictures.iter().map(|(bbox, _)| Item::Picture { bbox: *bbox, lines: Vec::new() }).collect();
    for line in lines {
        match owner.get(&line.index).map(|number| &mut items[*number]) {
            Some(Item::Picture { lines, .. }) => lines.push(line),
            _ => items.push(Item::Line(line)),
        }
    }
    let mut cutter = Cutter { drawing, metrics, leaves: Vec::new(), open: Vec::new() };
    cutter.region(tables::ruled(items, drawing, metrics), 0);
    cutter.close();
    cutter.leaves
}

struct Cutter<'a, 'm> {
    drawing: &'m Drawing,
    metrics: &'m Metrics,
    leaves: Vec<Leaf<'a>>,
    /// Bands of the leaf that is being read.
    open: Vec<Item<'a>>,
}

impl<'a> Cutter<'a, '_> {
    fn close(&mut self) {
        if !self.open.is_empty() {
            let mut items = std::mem::take(&mut self.open);
            sort_rows(&mut items);
            self.leaves.push(Leaf { items });
        }
    }

    fn region(&mut self, items: Vec<Item<'a>>, depth: usize) {
        if depth >= DEPTH || items.len() < 2 {
            self.open.extend(items);
            return;
        }
        let items = tables::lift(items, self.drawing, self.metrics);
        let bands = bands(items);
        let groups = with_titles(groups(bands, self.metrics));
        for group in groups {
            let group = group.into_iter().flat_map(|band| band.items).collect();
            match columns(group, self.metrics) {
                Ok(columns) => {
                    self.close();
                    for column in columns {
                        self.region(column, depth + 1);
                        self.close();
                    }
                }
                Err(items) => self.open.extend(items),
            }
        }
    }
}

/// Items whose cores overlap vertically, directly or through others; top to bottom.
struct Band<'a> {
    items: Vec<Item<'a>>,
    top: f32,
    bottom: f32,
}

fn bands(mut items: Vec<Item<'_>>) -> Vec<Band<'_>> {
    items.sort_by(|a, b| a.core().0.total_cmp(&b.core().0).then(a.bbox().left.total_cmp(&b.bbox().left)));
    let mut bands: Vec<Band<'_>> = Vec::new();
    for item in items {
        let (top, bottom) = item.core();
        match bands.last_mut() {
            Some(band) if band.bottom > top => {
                band.bottom = band.bottom.max(bottom);
                band.items.push(item);
            }
            _ => bands.push(Band { items: vec![item], top, bottom }),
        }
    }
    bands
}

/// The extents of long rules between two heights, which part what stands above them from what stands below.
fn rules_between(metrics: &Metrics, above: f32, below: f32) -> impl Iterator<Item = (f32, f32)> {
    let at = |height: f32| metrics.rules.partition_point(|rule| middle(rule) < height);
    let (from, to) = (at(above), at(below));
    metrics.rules[from..to.max(from)].iter().map(|rule| (rule.left, rule.right))
}

/// The narrowest white strip that can divide columns. Lines are whole, so no space between words can be meant.
fn least_gutter(metrics: &Metrics) -> f32 {
    (metrics.body * 0.6).max(3.0)
}

/// A run of bands that share a gutter, or one band that has none.
fn groups<'a>(bands: Vec<Band<'a>>, metrics: &Metrics) -> Vec<Vec<Band<'a>>> {
    let least = least_gutter(metrics);
    let near = metrics.body * 2.5;
    let mut groups: Vec<Vec<Band<'a>>> = Vec::new();
    let mut shared = Gutters::new(least);
    let mut open = false;
    for band in bands {
        let own = Coverage::of(&band.items);
        let own_count = own.gutters(least).len();
        if open {
            let last = groups.last().and_then(|group| group.last()).map_or(f32::MIN, |last| last.bottom);
            let before = shared.len();
            shared.add(own.0.iter().copied().chain(rules_between(metrics, last, band.top)));
            // Across a wide gap only the very same columns go on.
            let same = shared.len() == before && shared.len() == own_count;
            if shared.len() > 0 && (same || band.top - last < near) {
                if let Some(group) = groups.last_mut() {
                    group.push(band);
                }
                continue;
            }
            open = false;
        }
        if own_count > 0 {
            // Lines just above that leave most of a gutter belong to one of its columns.
            let mut group = Vec::new();
            let mut top = band.top;
            shared = Gutters::new(least);
            shared.add(own.0.into_iter());
            while let Some(above) = groups.last().filter(|above| above.len() == 1).and_then(|above| above.first()) {
                let own = Coverage::of(&above.items);
                let is_left = shared.add(own.0.into_iter().chain(rules_between(metrics, above.bottom, top)));
                if !is_left || top - above.bottom > near {
                    shared.take_back();
                    break;
                }
                top = above.top;
                group.extend(groups.pop().into_iter().flatten());
            }
            group.reverse();
            group.push(band);
            groups.push(group);
            open = true;
        } else {
            groups.push(vec![band]);
        }
    }
    groups
}

/// Gives a table or picture below columns the lines that are centred above it. Below the middle one of three columns a
/// short line crosses no gutter, and would be read with that column.
fn with_titles(mut groups: Vec<Vec<Band<'_>>>) -> Vec<Vec<Band<'_>>> {
    for below in 1..groups.len() {
        let Some(across) = groups[below].first().and_then(Band::object) else { continue };
        while let Some((last, columns)) = groups[below - 1].split_last()
            && last.is_title_of(&across, columns)
            && let Some(title) = groups[below - 1].pop()
        {
            groups[below].insert(0, title);
        }
    }
    groups
}

impl Band<'_> {
    /// The table or picture that it consists of.
    fn object(&self) -> Option<Bbox> {
        match self.items.as_slice() {
            [item @ (Item::Table { .. } | Item::Picture { .. })] => Some(item.bbox()),
            _ => None,
        }
    }

    /// Whether it is one line in the middle of an object's width that begins where no line of the columns above does.
    fn is_title_of(&self, across: &Bbox, columns: &[Self]) -> bool {
        let [Item::Line(line)] = self.items.as_slice() else { return false };
        let off = (line.bbox.left + line.bbox.right - across.left - across.right) / 2.0;
        let mut lefts = columns.iter().flat_map(|band| &band.items).map(|item| item.bbox().left);
        off.abs() < line.size && !columns.is_empty() && lefts.all(|left| (left - line.bbox.left).abs() > line.size)
    }
}

/// Cuts a group at its gutters, or gives it back when it has none or reads better row by row.
fn columns<'a>(items: Vec<Item<'a>>, metrics: &Metrics) -> Result<Vec<Vec<Item<'a>>>, Vec<Item<'a>>> {
    let mut gutters = Coverage::of(&items).gutters(least_gutter(metrics));
    // Between the markers of a list and its items is no gutter.
    let mut left = f32::MIN;
    let mut by_right: Vec<&Item<'_>> = items.iter().collect();
    by_right.sort_by(|a, b| a.across().1.total_cmp(&b.across().1));
    gutters.retain(|gutter| {
        let (start, end) = (std::mem::replace(&mut left, gutter.1), gutter.0 + 0.01);
        let at = |right: f32| by_right.partition_point(|item| item.across().1 < right);
        let mut own = by_right[at(start)..at(end)].iter().filter(|item| item.across().0 >= start);
        !own.all(|item| matches!(item, Item::Line(line) if text::is_marker(line.line.text.trim())))
    });
    if gutters.is_empty() {
        return Err(items);
    }
    let column_of = |item: &Item<'_>| gutters.partition_point(|(left, _)| *left < item.across().1 - 0.01);
    let mut sizes = vec![0; gutters.len() + 1];
    for item in &items {
        sizes[column_of(item).min(gutters.len())] += 1;
    }
    let mut columns: Vec<Vec<Item<'a>>> = sizes.iter().map(|size| Vec::with_capacity(*size)).collect();
    for item in items {
        let column = column_of(&item).min(gutters.len());
        columns[column].push(item);
    }
    columns.retain(|column| !column.is_empty());
    if columns.len() < 2 || reads_by_rows(&columns, metrics) {
        return Err(columns.into_iter().flatten().collect());
    }
    Ok(columns)
}

/// What a column looks like to somebody who decides whether to read down or across.
struct ColumnFeatures {
    lines: usize,
    /// Whether it holds a picture or table, or lines that are mostly running text.
    prose: bool,
    /// Lines that follow the one above closely.
    dense: bool,
    /// Share of lines that end in a colon.
    labels: f32,
    /// Share of lines with more digits than letters.
    numbers: f32,
}

impl ColumnFeatures {
    fn of(column: &[Item<'_>]) -> Self {
        let mut lines: Vec<&Measured<'_>> =
            column.iter().filter_map(|item| if let Item::Line(line) = item { Some(*line) } else { None }).collect();
        lines.sort_by(|a, b| a.bbox.top.total_cmp(&b.bbox.top));
        let others = column.len() > lines.len();
        let count = lines.len().max(1) as f32;
        let extent = Bbox::around(lines.iter().map(|line| &line.bbox)).unwrap_or_default();
        let long = lines.iter().filter(|line| line.chars >= 22 && line.bbox.width() > extent.width() * 0.6).count();
        let close = lines
            .windows(2)
            .filter(|pair| pair[1].bbox.top - pair[0].bbox.top < pair[0].size.max(pair[1].size) * 1.7)
            .count();
        let ends_label = |line: &&&Measured<'_>| line.line.text.trim_end().ends_with(':');
        let is_number = |line: &&&Measured<'_>| {
            let digits = line.line.text.chars().filter(char::is_ascii_digit).count();
            digits > 0 && digits >= line.line.text.chars().filter(|c| c.is_alphabetic()).count()
        };
        Self {
            lines: lines.len(),
            prose: others || lines.len() >= 2 && long as f32 >= count * 0.5,
            dense: close as f32 >= (count - 1.0) * 0.6,
            labels: lines.iter().filter(ends_label).count() as f32 / count,
            numbers: lines.iter().filter(is_number).count() as f32 / count,
        }
    }
}

/// Whether columns are rather the parts of rows: labels with their values, or scattered words.
fn reads_by_rows(columns: &[Vec<Item<'_>>], metrics: &Metrics) -> bool {
    let looks: Vec<ColumnFeatures> = columns.iter().map(|column| ColumnFeatures::of(column)).collect();
    if looks.iter().filter(|look| look.prose).count() >= 2 {
        return false;
    }
    if looks.iter().all(|look| look.lines < 2 && !look.prose) {
        return true;
    }
    let aligned = aligned_share(columns, metrics);
    // One line beside others makes no column: a gap in a justified line, a date beside an address.
    if columns.len() == 2 && looks.iter().any(|look| look.lines == 1 && !look.prose) && aligned > 0.9 {
        return true;
    }
    // A row of names above a row of values: too few for a table.
    if looks.iter().all(|look| look.lines <= 2 && !look.prose) {
        return aligned > 0.6;
    }
    if looks.iter().any(|look| look.prose) {
        // Labels beside the paragraphs they name, or a column of its own beside the text.
        let sparse_labels = looks.iter().filter(|look| !look.prose).all(|look| !look.dense || look.labels > 0.5);
        return aligned > 0.8 && sparse_labels;
    }
    let labelled = looks[..looks.len() - 1].iter().any(|look| look.labels > 0.4);
    let numbers = looks[1..].iter().any(|look| look.numbers > 0.6);
    let dense = looks.iter().all(|look| look.dense);
    aligned > 0.6 && (labelled || numbers || !dense)
}

/// The share of lines, in all columns but the longest, that stand at the height of a line in another column.
fn aligned_share(columns: &[Vec<Item<'_>>], metrics: &Metrics) -> f32 {
    let tolerance = metrics.body * 0.35;
    let middle = |item: &Item<'_>| (item.bbox().top + item.bbox().bottom) / 2.0;
    let mut middles: Vec<(f32, usize)> = Vec::new();
    for (number, column) in columns.iter().enumerate() {
        middles.extend(column.iter().map(|item| (middle(item), number)));
    }
    middles.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let longest = (0..columns.len()).max_by_key(|at| (columns[*at].len(), std::cmp::Reverse(*at))).unwrap_or(0);
    let others = || middles.iter().filter(|(_, column)| *column != longest);
    let aligned = others().filter(|(middle, column)| {
        let from = middles.partition_point(|(other, _)| *other < middle - tolerance);
        middles[from..].iter().take_while(|(other, _)| *other <= middle + tolerance).any(|(_, other)| other != column)
    });
    aligned.count() as f32 / others().count().max(1) as f32
}

/// Sorts items of one column top to bottom; those of one row left to right.
fn sort_rows(items: &mut Vec<Item<'_>>) {
    items.sort_by(|a, b| {
        let middle = |item: &Item<'_>| item.bbox().top + item.bbox().bottom;
        middle(a).total_cmp(&middle(b)).then(a.bbox().left.total_cmp(&b.bbox().left))
    });
    let mut start = 0;
    while start < items.len() {
        let bottom = items[start].core().1;
        let end = start
            + items[start..]
                .iter()
                .take_while(|item| (item.bbox().top + item.bbox().bottom) / 2.0 <= bottom)
                .count()
                .max(1);
        items[start..end].sort_by(|a, b| a.bbox().left.total_cmp(&b.bbox().left));
        start = end;
    }
}
