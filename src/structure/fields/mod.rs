//! Labelled values as they are printed: `Invoice number: 4711`, or a label and a value that a gap parts.
//!
//! The law: name and value are words that stand on one printed line, in their order, and nothing else; where it is not
//! plain that a line is a label with its value, it is none. A sentence with a colon in it is no field.

mod grammar;
mod prose;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use self::{grammar::Candidate, prose::Blocks, rows::Row};
use deckle_contract::document::{Bbox, Block, Field, Locator, Method, Page};

/// The fields of pages in order, by their lines. One that a later page repeats, as letterheads do, is listed once.
pub fn of_pages<'a>(pages: impl IntoIterator<Item = &'a Page>) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    let mut known: HashSet<(String, String)> = HashSet::new();
    for page in pages {
        let mut own = of_rows(&rows::of_page(page), Some(page.page_no));
        own.retain(|found| !known.contains(&(found.name.clone(), found.value.clone())));
        known.extend(own.iter().map(|found| (found.name.clone(), found.value.clone())));
        fields.append(&mut own);
    }
    numbered(fields)
}

/// The fields of a file without pages, by the lines of its blocks.
pub fn of_blocks(blocks: &[Block]) -> Vec<Field> {
    numbered(of_rows(&rows::of_blocks(blocks), None))
}

fn of_rows(rows: &[Row<'_>], page_no: Option<u32>) -> Vec<Field> {
    let blocks = Blocks::of(rows);
    let blocks = &blocks;
    let is_prose = move |row: usize, segment: usize| blocks.runs_on(row, segment);
    let found = rows
        .iter()
        .enumerate()
        .flat_map(|(number, row)| grammar::find(row).into_iter().filter(move |found| !is_prose(number, found.segment)));
    found.map(|found| field(found, page_no)).collect()
}

fn field(found: Candidate<'_>, page_no: Option<u32>) -> Field {
    let boxes = found.value.iter().filter_map(|word| word.bbox.as_ref());
    let weighted = found.value.iter().filter_map(|word| Some((word.confidence?, word.text.chars().count())));
    let (sum, chars) = weighted.fold((0.0, 0), |(sum, total), (confidence, chars)| {
        (sum + f64::from(confidence) * chars as f64, total + chars)
    });
    Field {
        field_no: 0,
        name: found.name,
        prov: page_no.map(|page_no| Locator {
            page_no: Some(page_no),
            bbox: Bbox::around(boxes),
            ..Locator::default()
        }),
        confidence: (chars > 0).then(|| (sum / chars as f64) as f32),
        method: found.value.first().map_or(Method::TextLayer, |word| word.method),
        value: found.text,
    }
}

fn numbered(mut fields: Vec<Field>) -> Vec<Field> {
    fields.iter_mut().zip(0..).for_each(|(field, field_no)| field.field_no = field_no);
    fields
}
