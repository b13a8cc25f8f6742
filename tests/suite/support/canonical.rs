//! A document in the form that two runs are compared in: what a reader would notice, nothing else.
//!
//! The law: two runs over the same file give equal values here, whatever machine, batch size or order they ran in,
//! but for `confidences`, which a comparison allows to differ by 0.01. No times, no names of models, no hashes of runs.

use deckle::contract::document::{
    Bbox, Block, Document, Field, Locator,
    metadata::{FormField, Link},
};
use serde_json::{Value, json};

/// Renders text and structure with boxes rounded to 0.1 points, and confidences apart in a list of their own (one
/// entry per block in order, then per field, then the document's; rounded to 4 decimals).
pub fn canonical(document: &Document) -> Value {
    let mut confidences: Vec<Value> = document.blocks.iter().map(|block| confidence(block.confidence)).collect();
    confidences.extend(document.fields.iter().map(|field| confidence(field.confidence)));
    confidences.push(confidence(document.confidence.map(|all| all.mean)));
    json!({
        "filename": document.filename,
        "media_type": document.media_type,
        "sha256": document.sha256,
        "size_bytes": document.size_bytes,
        "title": document.title,
        "pages": document.pages.iter().map(|page| json!({
            "page_no": page.page_no,
            "size": [tenth(page.width), tenth(page.height)],
            "rotation": page.rotation,
            "method": page.method,
            "failed": page.reason.as_ref().map(|reason| reason.code.as_str()),
            "links": page.links.iter().map(link).collect::<Vec<_>>(),
            "form_fields": page.form_fields.iter().map(form_field).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "blocks": document.blocks.iter().map(block).collect::<Vec<_>>(),
        "fields": document.fields.iter().map(field).collect::<Vec<_>>(),
        "facts": document.facts,
        "confidences": confidences,
    })
}

fn block(block: &Block) -> Value {
    json!({
        "kind": block.kind,
        "text": block.text,
        "level": block.level,
        "marker": block.marker,
        "code_language": block.code_language,
        "method": block.method,
        "prov": block.prov.iter().map(place).collect::<Vec<_>>(),
        "table": block.table.as_ref().map(|table| json!({
            "rows": table.rows,
            "columns": table.columns,
            "cells": table.cells.iter().map(|cell| json!({
                "at": [cell.row_index, cell.column_index],
                "span": [cell.row_span, cell.column_span],
                "header": cell.header,
                "text": cell.text,
                "prov": cell.prov.as_ref().map(place),
            })).collect::<Vec<_>>(),
        })),
    })
}

fn link(link: &Link) -> Value {
    json!([link.uri, link.destination.map(|to| to.page_no)])
}

fn form_field(field: &FormField) -> Value {
    json!([field.name, field.value, field.checked])
}

fn field(field: &Field) -> Value {
    json!({
        "name": field.name,
        "value": field.value,
        "method": field.method,
        "prov": field.prov.as_ref().map(place),
    })
}

fn place(place: &Locator) -> Value {
    json!({
        "page_no": place.page_no,
        "bbox": place.bbox.map(|Bbox { left, top, right, bottom }| [left, top, right, bottom].map(tenth)),
        "time": [place.start_ms, place.end_ms],
        "sheet": place.sheet,
        "cells": place.cell_range,
    })
}

fn tenth(value: f32) -> f64 {
    let value = (f64::from(value) * 10.0).round() / 10.0;
    if value.is_finite() { value + 0.0 } else { 0.0 }
}

fn confidence(value: Option<f32>) -> Value {
    json!(value.map(|value| (f64::from(value) * 10_000.0).round() / 10_000.0))
}
