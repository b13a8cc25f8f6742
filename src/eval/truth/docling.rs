//! DoclingDocument JSON: text and blocks in reading order, boxes and tables.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Boxes, Flaw, Frame, MAX_SIDE, Place, Tables, Text, Truth, Unit};
use crate::{boxes::Placed, tables::PlacedTable};
use deckle_contract::document::{Bbox, Cell, Table};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    body: Node,
    #[serde(default)]
    groups: Vec<Node>,
    #[serde(default)]
    texts: Vec<Item>,
    #[serde(default)]
    tables: Vec<Item>,
    #[serde(default)]
    pictures: Vec<Item>,
    #[serde(default)]
    pages: BTreeMap<String, Page>,
}

#[derive(Deserialize, Default)]
struct Node {
    #[serde(default)]
    children: Vec<Pointer>,
}

#[derive(Deserialize)]
struct Pointer {
    #[serde(rename = "$ref")]
    to: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    children: Vec<Pointer>,
    #[serde(default)]
    captions: Vec<Pointer>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    prov: Vec<Provenance>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Provenance {
    page_no: u32,
    bbox: Corners,
}

#[derive(Deserialize)]
struct Corners {
    l: f32,
    t: f32,
    r: f32,
    b: f32,
    #[serde(default)]
    coord_origin: Origin,
}

#[derive(Deserialize, Default, PartialEq)]
enum Origin {
    #[default]
    #[serde(rename = "TOPLEFT")]
    TopLeft,
    #[serde(rename = "BOTTOMLEFT")]
    BottomLeft,
}

#[derive(Deserialize)]
struct Page {
    size: Size,
}

#[derive(Deserialize)]
struct Size {
    height: f32,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    table_cells: Vec<DataCell>,
    num_rows: u32,
    num_cols: u32,
}

#[derive(Deserialize)]
struct DataCell {
    start_row_offset_idx: u32,
    start_col_offset_idx: u32,
    #[serde(default = "one")]
    row_span: u32,
    #[serde(default = "one")]
    col_span: u32,
    #[serde(default)]
    column_header: bool,
    #[serde(default)]
    row_header: bool,
    #[serde(default)]
    text: String,
}

fn one() -> u32 {
    1
}

/// Deepest nesting that is followed; a file whose pointers run in a circle ends there.
const MAX_DEPTH: usize = 64;

/// Reads a document. Page headers and footers count, since they are read too; pictures are boxes without text.
pub(super) fn read(content: &str) -> Result<Truth, Flaw> {
    let file: File = serde_json::from_str(content).map_err(|error| Flaw::of_json(&error))?;
    let mut walk = Walk { file: &file, seen: Vec::new(), items: Vec::new() };
    walk.follow(&file.body.children, 0)?;
    let mut pages: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let (mut places, mut tables) = (Vec::new(), Vec::new());
    for item in &walk.items {
        let mut own = Vec::new();
        for provenance in &item.prov {
            own.push(file.place(provenance)?);
        }
        let page_no = own.first().map(|place| place.page_no);
        let text = match &item.data {
            Some(data) => {
                let table = data.table()?;
                let text = table.cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join(" ");
                let place = own.first().map(|place| Placed { page_no: place.page_no, bbox: place.bbox });
                tables.push(PlacedTable { page_no, place, table: Some(table) });
                text
            }
            None => item.text.clone(),
        };
        pages.entry(page_no.unwrap_or(1)).or_default().push(text);
        places.extend(own);
    }
    // A page without anything on it is an empty page of the text.
    let last =
        file.pages.keys().filter_map(|number| number.parse().ok()).chain(pages.keys().copied()).max().unwrap_or(1);
    if last > MAX_SIDE {
        return Err(Flaw::whole(format!("a page {last}")));
    }
    let pages = (1..=last).map(|page_no| pages.remove(&page_no).unwrap_or_default().join("\n")).collect();
    Ok(Truth {
        text: Some(Text::Flowing(pages)),
        boxes: (!places.is_empty()).then_some(Boxes { of: Unit::Block, places }),
        tables: Some(Tables { tables, has_headers: true }),
        frame: Frame::TopLeft,
    })
}

impl File {
    fn place(&self, provenance: &Provenance) -> Result<Place, Flaw> {
        let (page_no, corners) = (provenance.page_no, &provenance.bbox);
        let (mut top, mut bottom) = (corners.t, corners.b);
        if corners.coord_origin == Origin::BottomLeft {
            let page = self.pages.get(&page_no.to_string());
            let height = page.ok_or_else(|| Flaw::whole(format!("page {page_no} has no size")))?.size.height;
            (top, bottom) = (height - top, height - bottom);
        }
        Ok(Place {
            page_no,
            bbox: Bbox { left: corners.l, top: top.min(bottom), right: corners.r, bottom: top.max(bottom) },
        })
    }
}

impl Data {
    fn table(&self) -> Result<Table, Flaw> {
        if self.num_rows > MAX_SIDE || self.num_cols > MAX_SIDE {
            return Err(Flaw::whole(format!("a table of {} × {}", self.num_rows, self.num_cols)));
        }
        let mut cells: Vec<Cell> = self.table_cells.iter().map(DataCell::cell).collect();
        cells.sort_by_key(|cell| (cell.row_index, cell.column_index));
        Ok(Table { rows: self.num_rows, columns: self.num_cols, cells })
    }
}

impl DataCell {
    fn cell(&self) -> Cell {
        Cell {
            row_index: self.start_row_offset_idx,
            column_index: self.start_col_offset_idx,
            row_span: self.row_span,
            column_span: self.col_span,
            header: self.column_header,
            row_header: self.row_header,
            text: self.text.clone(),
            prov: None,
        }
    }
}

/// The items of the body in reading order, each once.
struct Walk<'a> {
    file: &'a File,
    seen: Vec<&'a str>,
    items: Vec<&'a Item>,
}

impl<'a> Walk<'a> {
    fn follow(&mut self, pointers: &'a [Pointer], depth: usize) -> Result<(), Flaw> {
        if depth > MAX_DEPTH {
            return Err(Flaw::whole("its tree is too deep"));
        }
        for pointer in pointers {
            let to = pointer.to.as_str();
            if self.seen.contains(&to) {
                continue;
            }
            self.seen.push(to);
            let unknown = || Flaw::whole(format!("{to} points nowhere"));
            let (list, index) = to.strip_prefix("#/").and_then(|to| to.split_once('/')).ok_or_else(unknown)?;
            let index: usize = index.parse().map_err(|_| unknown())?;
            let items = match list {
                "groups" => {
                    let group = self.file.groups.get(index).ok_or_else(unknown)?;
                    self.follow(&group.children, depth + 1)?;
                    continue;
                }
                "texts" => &self.file.texts,
                "tables" => &self.file.tables,
                "pictures" => &self.file.pictures,
                // Key-value and form items repeat what stands in texts.
                _ => continue,
            };
            let item = items.get(index).ok_or_else(unknown)?;
            self.items.push(item);
            self.follow(&item.captions, depth + 1)?;
            self.follow(&item.children, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> serde_json::Value {
        json!({
            "schema_name": "DoclingDocument",
            "body": { "children": [{ "$ref": "#/texts/1" }, { "$ref": "#/groups/0" }, { "$ref": "#/tables/0" }] },
            "groups": [{ "children": [{ "$ref": "#/texts/0" }] }],
            "texts": [
                { "text": "an item", "prov": [] },
                { "text": "Title", "prov": [{ "page_no": 2,
                    "bbox": { "l": 10, "t": 90, "r": 50, "b": 80, "coord_origin": "BOTTOMLEFT" } }] },
                { "text": "Table 1" }
            ],
            "tables": [{ "captions": [{ "$ref": "#/texts/2" }], "data": { "num_rows": 1, "num_cols": 2, "table_cells": [
                { "start_row_offset_idx": 0, "start_col_offset_idx": 1, "text": "b" },
                { "start_row_offset_idx": 0, "start_col_offset_idx": 0, "text": "a", "column_header": true }
            ] }, "prov": [{ "page_no": 2, "bbox": { "l": 1, "t": 2, "r": 3, "b": 4 } }] }],
            "pages": { "2": { "size": { "width": 100, "height": 100 } } }
        })
    }

    #[test]
    fn the_tree_is_read_in_its_order() {
        let truth = read(&sample().to_string()).unwrap();
        let Some(Text::Flowing(pages)) = truth.text else { panic!("flowing") };
        assert_eq!(pages, ["an item\nTable 1", "Title\na b"]);
        let boxes = truth.boxes.unwrap().places;
        assert_eq!(boxes[0].bbox, Bbox { left: 10.0, top: 10.0, right: 50.0, bottom: 20.0 });
        let table = truth.tables.unwrap().tables[0].table.clone().unwrap();
        assert!(table.cells[0].header && table.cells[0].text == "a");
    }

    #[test]
    fn a_pointer_into_nothing_and_a_circle_are_seen() {
        let mut broken = sample();
        broken["body"]["children"][0]["$ref"] = json!("#/texts/9");
        assert!(read(&broken.to_string()).unwrap_err().message.contains("#/texts/9"));
        let mut circle = sample();
        circle["texts"][1]["children"] = json!([{ "$ref": "#/texts/1" }]);
        assert!(read(&circle.to_string()).is_ok());
    }
}
