//! The links and form fields of a page, on the upright page.
//!
//! What was filled in stands in no text layer, though a reader sees it; so it becomes lines too, once.

use super::{
    View,
    library::{PdfFile, PdfPage, Target, Widget},
    metadata,
};
use deckle_contract::document::{
    Bbox, Line, Method, Word,
    metadata::{FormField, FormFieldKind, FormOption, Link},
};

/// Links and fields kept of one page. Indexes of books have some hundreds.
const MOST_LINKS: usize = 5_000;
const MOST_FIELDS: usize = 5_000;

/// Options of one field: countries, years.
const MOST_OPTIONS: usize = 1_000;

/// A longer address is data, not an address.
const LONGEST_URI: usize = 8_192;

/// The links that stand on the page.
pub(super) fn links(file: &PdfFile, page: &PdfPage<'_>, view: &View) -> Vec<Link> {
    let found = page.links(MOST_LINKS).into_iter().filter_map(|(rect, target)| {
        let bbox = view.bbox(rect)?;
        let (uri, destination) = match target {
            Target::Uri(uri) => (metadata::line(&uri).filter(|_| uri.len() <= LONGEST_URI), None),
            Target::Place(place) => (None, metadata::destination(file, place)),
        };
        (uri.is_some() || destination.is_some()).then_some(Link { bbox, uri, destination })
    });
    found.collect()
}

/// The form fields that stand on the page, and what was filled in as lines: of those fields that are drawn.
pub(super) fn fields(page: &PdfPage<'_>, view: &View) -> (Vec<FormField>, Vec<Line>) {
    let (mut fields, mut lines) = (Vec::new(), Vec::new());
    for widget in page.widgets(MOST_FIELDS, MOST_OPTIONS) {
        let Some(bbox) = view.bbox(widget.rect) else { continue };
        let (drawn, font_size) = (widget.drawn, widget.font_size);
        let field = field(widget, bbox);
        if drawn && matches!(field.kind, FormFieldKind::Text | FormFieldKind::ComboBox | FormFieldKind::ListBox) {
            lines.extend(written(field.value.as_deref().unwrap_or_default(), bbox, font_size));
        }
        fields.push(field);
    }
    (fields, lines)
}

fn field(widget: Widget, bbox: Bbox) -> FormField {
    let kind = widget.kind;
    let option = |(label, selected): (String, bool)| Some(FormOption { label: metadata::line(&label)?, selected });
    FormField {
        name: metadata::line(&widget.name).unwrap_or_default(),
        kind,
        label: metadata::line(&widget.label),
        value: lines_of(&widget.value).reduce(|text, line| text + "\n" + &line),
        checked: matches!(kind, FormFieldKind::CheckBox | FormFieldKind::RadioButton).then_some(widget.checked),
        options: widget.options.into_iter().filter_map(option).collect(),
        required: widget.required,
        read_only: widget.read_only,
        bbox,
    }
}

/// The lines of a value that say something.
fn lines_of(value: &str) -> impl Iterator<Item = String> {
    value.split(['\r', '\n', '\u{2028}', '\u{2029}']).filter_map(metadata::line)
}

/// A value as lines from the top of its box downwards; where it is wrapped inside is not known.
fn written(value: &str, bbox: Bbox, font_size: Option<f32>) -> Vec<Line> {
    /// Height of a line in font sizes.
    const LEADING: f32 = 1.2;
    let texts: Vec<String> = lines_of(value).collect();
    let share = bbox.height() / texts.len().max(1) as f32;
    let height = if texts.len() > 1 { font_size.map_or(share, |size| share.min(size * LEADING)) } else { share };
    let line = |(index, text): (usize, String)| {
        let top = bbox.top + height * index as f32;
        let bbox = Bbox { top, bottom: top + height, ..bbox };
        Line {
            words: vec![Word { text: text.clone(), bbox, confidence: None }],
            text,
            bbox,
            polygon: None,
            confidence: None,
            method: Method::TextLayer,
            font_size,
            bold: false,
        }
    };
    texts.into_iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: Bbox = Bbox { left: 10.0, top: 100.0, right: 110.0, bottom: 160.0 };

    #[test]
    fn lines_of_a_value_stand_below_each_other_in_its_box() {
        let lines = written("12 Mill Lane\r\nGrey Head\r\n", BOX, Some(10.0));
        let found: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.bbox.top, line.bbox.bottom)).collect();
        assert_eq!(found, [("12 Mill Lane", 100.0, 112.0), ("Grey Head", 112.0, 124.0)]);
        let [line] = &written("one line", BOX, Some(10.0))[..] else { panic!("one line") };
        assert_eq!((line.bbox, line.font_size), (BOX, Some(10.0)));
        assert!(written(" \r\n", BOX, None).is_empty());
    }
}
