//! One page read: its lines, the boxes of its pictures, and the counts that
//! [`text_layer::classify`](super::super::text_layer::classify) needs.

use std::collections::{HashMap, HashSet};

use super::{
    View, accents, annotations,
    geometry::{Matrix, Rect},
    library::{Object, ObjectKind, PdfFile, PdfPage, TextPage},
    lines::{Builder, Glyph},
    paths::Paths,
};
use crate::{
    PageContent,
    text_layer::{Picture, Signals},
};
use deckle_contract::document::{Bbox, Line};

/// Forms may hold forms; deeper ones are an attack or a mistake.
pub(super) const DEEPEST_FORM: u8 = 12;

/// Objects looked at on one page. The largest maps have some 100,000.
pub(super) const MOST_OBJECTS: usize = 500_000;

/// From this weight on a font is bold (CSS: semi-bold).
const BOLD_WEIGHT: i32 = 600;

/// A text object is hidden behind another when less than this share of it stands free.
const FREE_SHARE: f32 = 0.5;

/// Reads a page.
pub(super) fn read(file: &PdfFile, page: &PdfPage<'_>, view: &View) -> PageContent {
    let mut found = Found::default();
    found.walk(page, view, page.objects().collect(), &Matrix::IDENTITY, 0);
    let mut signals = Signals { page_area: view.width * view.height, paths: found.paths, ..Signals::default() };
    let text = page.text();
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    let mut ink = Vec::new();
    if let Some(text) = &text {
        lines = Reader { page, view, text, styles: HashMap::new() }.read(&mut signals, &mut seen, &mut ink);
    }
    signals.count_words(&lines);
    (signals.text_area, signals.silent_area) = found.text_areas(&seen);
    let (form_fields, filled_in) = annotations::fields(page, view);
    lines.extend(filled_in);
    let images: Vec<Bbox> = found.images;
    signals.pictures = images.iter().map(|bbox| Picture { bbox: *bbox, text_share: covered(bbox, &ink) }).collect();
    PageContent {
        width: view.width,
        height: view.height,
        rotation: view.rotation(),
        lines,
        images,
        drawing: found.drawn.finish(),
        signals,
        links: annotations::links(file, page, view),
        form_fields,
        from_user_space: Some(view.upright().0),
    }
}

/// The share of a box that ink covers, at most 1; overlaps count twice, which text hardly has.
fn covered(bbox: &Bbox, ink: &[Bbox]) -> f32 {
    let area = bbox.area();
    if area <= 0.0 {
        return 0.0;
    }
    (ink.iter().map(|glyph| glyph.overlap(bbox)).sum::<f32>() / area).min(1.0)
}

/// What stands on the page besides characters.
#[derive(Default)]
struct Found<'p> {
    paths: u32,
    drawn: Paths,
    images: Vec<Bbox>,
    texts: Vec<(Object<'p>, Bbox)>,
    objects: usize,
}

impl<'p> Found<'p> {
    fn walk(&mut self, page: &'p PdfPage<'_>, view: &View, objects: Vec<Object<'p>>, outer: &Matrix, depth: u8) {
        for object in objects {
            self.objects += 1;
            if self.objects > MOST_OBJECTS {
                return;
            }
            let bbox = || view.bbox(outer.apply(page.bounds(object)?));
            match page.kind(object) {
                ObjectKind::Path => {
                    self.paths = self.paths.saturating_add(1);
                    self.drawn.add(page, view, object, outer);
                }
                ObjectKind::Image => self.images.extend(bbox()),
                ObjectKind::Text => self.texts.extend(bbox().map(|bbox| (object, bbox))),
                ObjectKind::Form if depth < DEEPEST_FORM => {
                    let inner = page.matrix(object).then(outer);
                    self.walk(page, view, page.objects_in(object).collect(), &inner, depth + 1);
                }
                ObjectKind::Form | ObjectKind::Other => {}
            }
        }
    }

    /// The area of all text objects, and of those that gave no character although nothing else stands in their place
    /// (PDFium drops the second of two equal texts, which is how some programs print bold).
    fn text_areas(&self, seen: &HashSet<Object<'_>>) -> (f32, f32) {
        let all: f32 = self.texts.iter().map(|(_, bbox)| bbox.area()).sum();
        let silent: Vec<Bbox> =
            self.texts.iter().filter(|(object, _)| !seen.contains(object)).map(|(_, bbox)| *bbox).collect();
        let silent_area: f32 = silent.iter().map(Bbox::area).sum();
        // Comparing all with all is dear, and seldom needed.
        const WORTH_A_LOOK: f32 = 0.1;
        if silent_area <= all * WORTH_A_LOOK {
            return (all, silent_area);
        }
        let speaking: Vec<Bbox> =
            self.texts.iter().filter(|(object, _)| seen.contains(object)).map(|(_, bbox)| *bbox).collect();
        let free = silent.iter().filter(|bbox| 1.0 - covered(bbox, &speaking) >= FREE_SHARE);
        (all, free.map(Bbox::area).sum())
    }
}

/// What all characters of one text object share.
#[derive(Clone, Copy)]
struct Style {
    font_size: f32,
    bold: bool,
    invisible: bool,
    direction: u8,
}

struct Reader<'a, 'p> {
    page: &'p PdfPage<'p>,
    view: &'a View,
    text: &'p TextPage<'p>,
    styles: HashMap<Object<'p>, Style>,
}

impl<'p> Reader<'_, 'p> {
    /// Reads all characters into lines, counts them, and records which text objects they came from and where ink is.
    fn read(&mut self, signals: &mut Signals, seen: &mut HashSet<Object<'p>>, ink: &mut Vec<Bbox>) -> Vec<Line> {
        let mut glyphs = Vec::new();
        let mut high_surrogate = None;
        for index in 0..self.text.len() {
            let code = self.text.unicode(index);
            let generated = self.text.is_generated(index);
            let meaning = match (high_surrogate.take(), code) {
                (_, 0xD800..=0xDBFF) => {
                    high_surrogate = Some(code);
                    continue;
                }
                (Some(high), 0xDC00..=0xDFFF) => char::from_u32(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00)),
                (_, code) => char::from_u32(code),
            };
            if generated {
                // Made-up characters are spaces and line ends; they have no place of their own.
                glyphs.push(Glyph { meaning, bbox: None, cell: None, font_size: 0.0, bold: false, direction: 0 });
                continue;
            }
            let object = self.text.object(index);
            let style = self.style(object, index);
            seen.extend(object);
            let is_space = meaning.is_some_and(char::is_whitespace);
            let bbox = if is_space { None } else { self.bbox(index, style) };
            let meaning = meaning.filter(|&c| c != '\0');
            let Style { font_size, bold, direction, .. } = style;
            let cell = bbox.and_then(|_| self.view.bbox(self.text.cell(index)?));
            glyphs.push(Glyph { meaning, bbox, cell, font_size, bold, direction });
            // What stands off the page is no text of it: nobody sees it.
            if is_space || bbox.is_some() {
                ink.extend(bbox);
                signals.characters += 1;
                signals.invisible += u32::from(style.invisible);
                let suspicious = is_suspicious(meaning) && !self.text.is_hyphen(index);
                signals.unmapped += u32::from(suspicious || self.text.is_unmapped(index));
            }
        }
        accents::join(&mut glyphs);
        let mut builder = Builder::default();
        glyphs.into_iter().for_each(|glyph| builder.push(glyph));
        builder.finish()
    }

    fn style(&mut self, object: Option<Object<'p>>, index: i32) -> Style {
        if let Some(style) = object.and_then(|object| self.styles.get(&object)) {
            return *style;
        }
        let (size, Matrix([a, b, c, d, ..])) = self.text.font_size(index);
        let degrees = self.view.direction(a, b);
        let mut style = Style {
            // The length of the transformed vertical unit.
            font_size: size * c.hypot(d),
            bold: false,
            invisible: false,
            direction: ((degrees / 90.0).round() as u8) % 4,
        };
        if let Some(object) = object {
            let (name, weight) = self.page.font(object);
            style.bold = weight >= BOLD_WEIGHT || is_bold_name(&name);
            style.invisible = self.page.is_invisible(object);
            self.styles.insert(object, style);
        }
        style
    }

    /// The box of the ink; by the font's measures where a font has no outlines to measure.
    fn bbox(&self, index: i32, style: Style) -> Option<Bbox> {
        let has_area = |r: &Rect| r.right > r.left && r.top > r.bottom;
        let ink = self.text.ink(index).filter(has_area);
        let rect = ink.or_else(|| self.text.cell(index).filter(has_area));
        let rect = rect.or_else(|| {
            // A type 3 font without a usable box: as tall as the font, and narrow.
            let origin = self.text.ink(index)?;
            let right = origin.right.max(origin.left + style.font_size * 0.1);
            Some(Rect { right, top: origin.bottom + style.font_size, ..origin })
        });
        self.view.bbox(rect?)
    }
}

fn is_bold_name(name: &str) -> bool {
    let name = name.to_lowercase();
    ["bold", "black", "heavy", "-bd", "semibd"].iter().any(|word| name.contains(word))
}

/// NUL, control and private-use characters, the replacement mark: they say nothing.
fn is_suspicious(meaning: Option<char>) -> bool {
    match meaning {
        None | Some('\0' | '\u{FFFD}' | '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{10FFFF}') => true,
        Some('\t' | '\n' | '\r') => false,
        Some(c) => c.is_control(),
    }
}
