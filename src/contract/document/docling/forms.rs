//! Form fields as docling's form items: per page one graph of keys and values.

use serde_json::{Value, json};

use super::{
    super::{
        Bbox, Document, PageInfo,
        metadata::{FormField, FormFieldKind},
    },
    bbox_item,
    tree::{BODY, Tree},
};

/// Adds one form item for each page that has fields with names.
pub(super) fn write(tree: &mut Tree, document: &Document) {
    for page in &document.pages {
        let fields: Vec<&FormField> = page.form_fields.iter().filter(|field| says_something(field)).collect();
        if let Some(bbox) = Bbox::around(fields.iter().map(|field| &field.bbox)) {
            tree.add("form_items", BODY, form(page, bbox, &fields));
        }
    }
}

fn says_something(field: &FormField) -> bool {
    let is_data = !matches!(field.kind, FormFieldKind::PushButton | FormFieldKind::Password);
    is_data && !(field.name.is_empty() && field.label.is_none())
}

fn form(page: &PageInfo, bbox: Bbox, fields: &[&FormField]) -> Value {
    let (mut cells, mut links) = (Vec::new(), Vec::new());
    for (index, field) in fields.iter().enumerate() {
        let (key, value) = (index * 2, index * 2 + 1);
        let text = match field.checked {
            Some(checked) => if checked { "selected" } else { "unselected" }.to_owned(),
            None => field.value.clone().unwrap_or_default(),
        };
        let label = if field.checked.is_some() { "checkbox" } else { "value" };
        let name = field.label.as_ref().unwrap_or(&field.name);
        cells.push(json!({ "label": "key", "cell_id": key, "text": name, "orig": field.name }));
        let place = prov(page, &field.bbox, text.chars().count());
        cells.push(json!({ "label": label, "cell_id": value, "text": text, "orig": text, "prov": place }));
        links.push(json!({ "label": "to_value", "source_cell_id": key, "target_cell_id": value }));
    }
    json!({
        "content_layer": "body",
        "label": "form",
        "prov": [prov(page, &bbox, 0)],
        "captions": [],
        "references": [],
        "footnotes": [],
        "graph": { "cells": cells, "links": links },
    })
}

fn prov(page: &PageInfo, bbox: &Bbox, length: usize) -> Value {
    json!({ "page_no": page.page_no, "bbox": bbox_item(bbox), "charspan": [0, length] })
}
