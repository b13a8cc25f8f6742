//! A document as DoclingDocument JSON, the field's exchange format.
//!
//! The law: the result validates with docling-core ([`SCHEMA_VERSION`]), and the same document gives the same bytes.
//! Every item stands once in one of the flat lists (`texts`, `tables`, `pictures`, `groups`); the trees hold JSON
//! pointers only. Page headers and footers stand in the body's tree, marked by `content_layer`, as docling itself does.

mod forms;
mod names;
mod tree;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{Bbox, Block, BlockKind, Cell, Document, Locator, PageInfo, Table};
use crate::document::captions::caption_owners;
use tree::{BODY, Tree};

/// The version of docling's schema that is written.
pub const SCHEMA_VERSION: &str = "1.10.0";

/// Renders a document as DoclingDocument JSON.
pub fn to_docling(document: &Document) -> Value {
    let mut tree = Tree::default();
    let captions = caption_owners(&document.blocks);
    let mut owners: Vec<Option<String>> = vec![None; document.blocks.len()];
    let pages_by_number = document.pages.iter().rev().map(|page| (page.page_no, page)).collect();
    let mut writer = Writer { pages: pages_by_number, links: links(document), lists: Vec::new() };
    for (index, block) in document.blocks.iter().enumerate() {
        if captions[index].is_none() {
            owners[index] = Some(writer.block(&mut tree, block));
        } else {
            writer.lists.clear();
        }
    }
    for (index, block) in document.blocks.iter().enumerate() {
        if let Some(owner) = captions[index].and_then(|owner| owners[owner].clone()) {
            let caption = tree.add("texts", &owner, writer.text_item(block));
            tree.push_ref(&owner, "captions", &caption);
        }
    }
    forms::write(&mut tree, document);
    let mut root = Map::new();
    root.insert("schema_name".into(), json!("DoclingDocument"));
    root.insert("version".into(), json!(SCHEMA_VERSION));
    root.insert("name".into(), json!(names::stem(&document.filename)));
    root.insert("origin".into(), origin(document));
    tree.write(&mut root);
    root.insert("pages".into(), pages(document));
    Value::Object(root)
}

fn origin(document: &Document) -> Value {
    // As docling: the hash as a number, cut to its low 64 bits.
    let low = document.sha256.len().checked_sub(16).and_then(|start| document.sha256.get(start..));
    let hash = low.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    json!({
        "mimetype": names::media_type(&document.media_type),
        "binary_hash": hash,
        "filename": document.filename,
    })
}

fn pages(document: &Document) -> Value {
    let pages = document.pages.iter().map(|page| {
        let size = json!({ "width": rounded(page.width), "height": rounded(page.height) });
        (page.page_no.to_string(), json!({ "size": size, "page_no": page.page_no }))
    });
    Value::Object(pages.collect())
}

/// The links of a page that lead to an address, from the top down.
struct Links<'a> {
    sorted: Vec<(Bbox, &'a str)>,
    /// For each the lowest bottom up to it, so that those above a place are passed over.
    bottoms: Vec<f32>,
}

impl<'a> Links<'a> {
    fn of(links: impl Iterator<Item = (Bbox, &'a str)>) -> Self {
        let mut sorted: Vec<(Bbox, &str)> = links.collect();
        sorted.sort_by(|a, b| a.0.top.total_cmp(&b.0.top));
        let lowest = sorted.iter().scan(f32::NEG_INFINITY, |lowest, (bbox, _)| {
            *lowest = lowest.max(bbox.bottom);
            Some(*lowest)
        });
        let bottoms = lowest.collect();
        Self { sorted, bottoms }
    }

    /// Those that lie over a box.
    fn over(&self, bbox: Bbox) -> impl Iterator<Item = &(Bbox, &'a str)> {
        let from = self.bottoms.partition_point(|bottom| *bottom <= bbox.top);
        let below = self.sorted[from..].iter().take_while(move |(link, _)| link.top < bbox.bottom);
        below.filter(move |(link, _)| link.overlap(&bbox) > 0.0)
    }
}

/// The addresses that pages link to, with their boxes. Other schemes than these run something on some machines, and an
/// export goes to programs that know nothing of where it came from.
fn links(document: &Document) -> HashMap<u32, Links<'_>> {
    const SCHEMES: [&str; 4] = ["http://", "https://", "mailto:", "ftp://"];
    let is_address = |uri: &&str| {
        let begins = |scheme: &str| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        SCHEMES.iter().any(|scheme| begins(scheme)) && uri.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let links = document.pages.iter().filter(|page| !page.links.is_empty()).map(|page| {
        let found = page.links.iter().filter_map(|link| Some((link.bbox, link.uri.as_deref().filter(is_address)?)));
        (page.page_no, Links::of(found))
    });
    links.collect()
}

struct Writer<'a> {
    /// Pages by their number.
    pages: HashMap<u32, &'a PageInfo>,
    /// Addresses on each page, with their boxes.
    links: HashMap<u32, Links<'a>>,
    /// The open list groups by nesting, each with its last item.
    lists: Vec<(String, Option<String>)>,
}

impl Writer<'_> {
    /// Adds one block and gives its pointer.
    fn block(&mut self, tree: &mut Tree, block: &Block) -> String {
        if block.kind == BlockKind::ListItem {
            return self.list_item(tree, block);
        }
        if !block.kind.is_furniture() {
            // Furniture between two items does not end their list: it is not in the flow.
            self.lists.clear();
        }
        match (block.kind, &block.table) {
            (BlockKind::Table, Some(table)) => tree.add("tables", BODY, self.table_item(block, table)),
            (BlockKind::Picture, _) => {
                let picture = tree.add("pictures", BODY, self.floating(block, "picture"));
                if !block.text.trim().is_empty() {
                    // Beside the picture, not below it: docling's own exporters skip what is inside pictures.
                    tree.add("texts", BODY, self.text_item(block));
                }
                picture
            }
            _ => tree.add("texts", BODY, self.text_item(block)),
        }
    }

    fn list_item(&mut self, tree: &mut Tree, block: &Block) -> String {
        let level = usize::from(block.level.unwrap_or(1).max(1)).min(self.lists.len() + 1);
        self.lists.truncate(level);
        if self.lists.len() < level {
            let parent = self.lists.last().and_then(|(_, item)| item.clone()).unwrap_or_else(|| BODY.to_owned());
            let group = json!({ "content_layer": "body", "name": "list", "label": "list" });
            let group = tree.add("groups", &parent, group);
            self.lists.push((group, None));
        }
        let item = self.text_item(block);
        let (group, last) = &mut self.lists[level - 1];
        let pointer = tree.add("texts", group, item);
        *last = Some(pointer.clone());
        pointer
    }

    fn text_item(&self, block: &Block) -> Value {
        let text = &block.text;
        let mut item = json!({
            "content_layer": if block.kind.is_furniture() { "furniture" } else { "body" },
            "label": names::label(block.kind),
            "prov": self.prov(&block.prov, text),
            "orig": text,
            "text": text,
        });
        if let Some(uri) = self.hyperlink(block) {
            item["hyperlink"] = json!(uri);
        }
        match block.kind {
            BlockKind::SectionHeader => item["level"] = json!(block.level.unwrap_or(1).clamp(1, 100)),
            BlockKind::ListItem => {
                let marker = block.marker.as_deref().unwrap_or("-");
                item["enumerated"] = json!(marker.chars().any(char::is_alphanumeric));
                item["marker"] = json!(marker);
            }
            BlockKind::Code => {
                item["captions"] = json!([]);
                item["references"] = json!([]);
                item["footnotes"] = json!([]);
                item["code_language"] = json!(names::code_language(block.code_language.as_deref()));
            }
            _ => {}
        }
        item
    }

    /// The address of a block that is one link: links over most of it, all to one place.
    fn hyperlink(&self, block: &Block) -> Option<&str> {
        /// Boxes of links are drawn by hand or end before the last letter.
        const MOST: f32 = 0.6;
        let [place] = &block.prov[..] else { return None };
        let (page_no, bbox) = (place.page_no?, place.bbox?);
        let mut over = self.links.get(&page_no)?.over(bbox).peekable();
        let (_, uri) = over.peek()?;
        let mut covered = 0.0;
        for (link, other) in over {
            if other != uri {
                return None;
            }
            covered += link.overlap(&bbox);
        }
        (covered >= bbox.area() * MOST).then_some(uri)
    }

    fn floating(&self, block: &Block, label: &str) -> Value {
        json!({
            "content_layer": "body",
            "label": label,
            "prov": self.prov(&block.prov, ""),
            "captions": [],
            "references": [],
            "footnotes": [],
        })
    }

    fn table_item(&self, block: &Block, table: &Table) -> Value {
        let mut item = self.floating(block, "table");
        let mut in_row: HashMap<u32, usize> = HashMap::new();
        for cell in table.cells.iter().filter(|cell| !cell.text.is_empty()) {
            *in_row.entry(cell.row_index).or_default() += 1;
        }
        let is_alone = |cell: &Cell| in_row.get(&cell.row_index) == Some(&1);
        let cell = |cell: &Cell| cell_item(cell, is_section(table, cell, is_alone(cell)));
        let cells: Vec<Value> = table.cells.iter().map(cell).collect();
        let mut grid: Vec<Vec<Value>> = (0..table.rows)
            .map(|row| (0..table.columns).map(|column| cell_item(&empty_cell(row, column), false)).collect())
            .collect();
        for (cell, value) in table.cells.iter().zip(&cells) {
            let columns = cell.column_index..cell.column_index.saturating_add(cell.column_span);
            for row in grid.iter_mut().skip(cell.row_index as usize).take(cell.row_span as usize) {
                for place in row.iter_mut().take(columns.end as usize).skip(columns.start as usize) {
                    *place = value.clone();
                }
            }
        }
        item["data"] = json!({
            "table_cells": cells,
            "num_rows": table.rows,
            "num_cols": table.columns,
            "grid": grid,
        });
        item
    }

    /// Places with page and box; docling knows no others. A place without a box means the whole page.
    fn prov(&self, places: &[Locator], text: &str) -> Value {
        let length = text.chars().count();
        let places = places.iter().filter_map(|place| {
            let page_no = place.page_no?;
            let bbox = place.bbox.or_else(|| {
                let page = self.pages.get(&page_no)?;
                Some(Bbox { left: 0.0, top: 0.0, right: page.width, bottom: page.height })
            })?;
            Some(json!({ "page_no": page_no, "bbox": bbox_item(&bbox), "charspan": [0, length] }))
        });
        Value::Array(places.collect())
    }
}

fn empty_cell(row_index: u32, column_index: u32) -> Cell {
    Cell {
        row_index,
        column_index,
        row_span: 1,
        column_span: 1,
        header: false,
        row_header: false,
        text: String::new(),
        prov: None,
    }
}

/// Whether a cell names the rows below it: alone in its row, but below the heads and beside columns that it leaves
/// empty.
fn is_section(table: &Table, cell: &Cell, is_alone: bool) -> bool {
    !cell.header && cell.column_index == 0 && !cell.text.is_empty() && table.columns > 1 && is_alone
}

fn cell_item(cell: &Cell, section: bool) -> Value {
    let mut item = Map::new();
    if let Some(bbox) = cell.prov.as_ref().and_then(|place| place.bbox) {
        item.insert("bbox".into(), bbox_item(&bbox));
    }
    let (row_end, column_end) =
        (cell.row_index.saturating_add(cell.row_span), cell.column_index.saturating_add(cell.column_span));
    let rest = json!({
        "row_span": cell.row_span,
        "col_span": cell.column_span,
        "start_row_offset_idx": cell.row_index,
        "end_row_offset_idx": row_end,
        "start_col_offset_idx": cell.column_index,
        "end_col_offset_idx": column_end,
        "text": cell.text,
        "column_header": cell.header,
        "row_header": cell.row_header,
        "row_section": section,
        "fillable": false,
    });
    if let Value::Object(rest) = rest {
        item.extend(rest);
    }
    Value::Object(item)
}

fn bbox_item(bbox: &Bbox) -> Value {
    json!({
        "l": rounded(bbox.left),
        "t": rounded(bbox.top),
        "r": rounded(bbox.right),
        "b": rounded(bbox.bottom),
        "coord_origin": "TOPLEFT",
    })
}

/// Rounds to 3 decimals; what is not finite becomes 0, which JSON can say.
pub fn rounded(value: f32) -> f64 {
    let value = (f64::from(value) * 1000.0).round() / 1000.0;
    if value.is_finite() { value + 0.0 } else { 0.0 }
}
