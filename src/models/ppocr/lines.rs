//! From boxes to the pictures of lines, and from recognised columns back to lines of the page. Pure.

use unicode_normalization::UnicodeNormalization;

use super::{
    ctc::{self, Character, Span},
    ink::{self, Profile},
    recogniser::{HEIGHT, PIXELS_PER_COLUMN, WIDEST},
};
use deckle_contract::{
    document::{Bbox, Line, Method, Word},
    error::Result,
};
use deckle_imaging::{Pixmap, Quad};

/// A box so much higher than wide may hold text that runs up or down (RapidOCR's number).
const TALL: f32 = 1.5;
/// Up to here it may as well be a single upright character, such as a digit in a table.
const SINGLE: f32 = 3.0;
/// Lines that are less sure are noise: PP-OCR's own limit.
const LEAST_CONFIDENCE: f32 = 0.5;
/// A line is skewed when its level box is higher than itself by this factor.
const SKEWED: f32 = 1.25;

/// The ways in which a box may be read, as quadrangles whose first side runs along the top of the text: as it stands,
/// and where it is tall, upwards and downwards. One way is enough for nearly all.
pub(super) fn ways(corners: Quad) -> Vec<Quad> {
    let [a, b, c, d] = corners;
    let (width, height) = sides(&corners);
    if height < TALL * width {
        return vec![corners];
    }
    let mut ways = vec![[d, a, b, c], [b, c, d, a]];
    if height < SINGLE * width {
        ways.insert(0, corners);
    }
    ways
}

/// A line cut out of its page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Where it stands on the page's picture, in pixels; the first side runs along the top of the text.
    quad: Quad,
    /// Pixels of the cut for one of the recogniser's columns.
    columns: f32,
    /// Where its ink is, in pixels of the cut.
    ink: Option<Profile>,
}

/// Cuts a line out as the recogniser reads it: laid straight and scaled to its height.
pub(super) fn cut(picture: &Pixmap, quad: Quad) -> Result<(Place, Pixmap)> {
    let (width, height) = sides(&quad);
    let scaled = ((HEIGHT as f32 * width / height.max(1.0)).ceil() as u32).clamp(PIXELS_PER_COLUMN, WIDEST);
    let line = if height <= HEIGHT as f32 {
        picture.warped(&quad, scaled, HEIGHT)
    } else {
        let straight = picture.warped(&quad, (width.round() as u32).max(1), height.round() as u32);
        straight.resized(scaled, HEIGHT)?
    };
    let columns = scaled as f32 / PIXELS_PER_COLUMN as f32;
    Ok((Place { quad, columns, ink: Profile::of(&line) }, line))
}

/// Lengths of the first and the second side.
fn sides([a, b, c, _]: &Quad) -> (f32, f32) {
    let length = |from: &[f32; 2], to: &[f32; 2]| (to[0] - from[0]).hypot(to[1] - from[1]);
    (length(a, b), length(b, c))
}

/// How sure a whole line is: the mean over its characters, 0 for none.
pub(super) fn confidence(characters: &[Character]) -> f32 {
    let count = characters.len().max(1) as f32;
    characters.iter().map(|character| character.confidence).sum::<f32>() / count
}

/// The line of the page (in points) that was read at a place of its picture (in pixels); `None` where nothing was read,
/// or only noise.
pub(super) fn line(characters: &[Character], place: &Place, picture: (u32, u32), dpi: f32) -> Option<Line> {
    if confidence(characters) < LEAST_CONFIDENCE {
        return None;
    }
    let scale = 72.0 / dpi;
    let points = |[x, y]: [f32; 2]| [x.clamp(0.0, picture.0 as f32) * scale, y.clamp(0.0, picture.1 as f32) * scale];
    let mut spans = ctc::words(characters, place.columns);
    if let Some(ink) = &place.ink {
        fit(&mut spans, ink);
    }
    let words: Vec<Word> = spans
        .iter()
        .map(|span| Word {
            text: span.text.nfc().collect(),
            bbox: around(place.part(span.start..span.end).map(points)),
            confidence: Some(span.confidence),
        })
        .collect();
    let bbox = Bbox::around(words.iter().map(|word| &word.bbox))?;
    let quad = place.part(spans.first()?.start..spans.last()?.end);
    let (width, height) = sides(&quad);
    let is_skewed = bbox.width().min(bbox.height()) > SKEWED * width.min(height) * scale;
    let weights = words.iter().map(|word| (word.confidence.unwrap_or_default(), word.text.chars().count() as f32));
    let (sum, total) = weights.fold((0.0, 0.0), |(sum, total), (c, n)| (sum + c * n, total + n));
    Some(Line {
        text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
        bbox,
        polygon: is_skewed.then(|| quad.map(points)),
        words,
        confidence: Some(sum / total),
        method: Method::Ocr,
        // From the top of the ascenders to the bottom of the descenders is about the font's size.
        font_size: Some(height * scale),
        bold: false,
    })
}

/// Moves the ends of words to the gaps between them, which lie between the last character of one and the first of the
/// next, and to the ends of the ink.
fn fit(spans: &mut [Span], ink: &Profile) {
    let pixel = |columns: f32| (columns.max(0.0) * PIXELS_PER_COLUMN as f32) as usize;
    let column = |pixel: usize| pixel as f32 / PIXELS_PER_COLUMN as f32;
    for at in 1..spans.len() {
        let (before, after) = (spans[at - 1].middles.1, spans[at].middles.0);
        if let Some(gap) = ink::widest_gap(&ink.columns, pixel(before)..pixel(after)) {
            (spans[at - 1].end, spans[at].start) = (column(gap.start), column(gap.end));
        }
    }
    // A little outwards, for the guess may have cut the letter; then back to its ink.
    const OUTWARDS: f32 = 1.0;
    if let Some(first) = spans.first_mut() {
        let range = pixel(first.start - OUTWARDS)..pixel(first.middles.0);
        if let Some(inked) = range.clone().find(|at| ink.columns.get(*at) == Some(&true)) {
            first.start = column(inked);
        }
    }
    if let Some(last) = spans.last_mut() {
        let range = pixel(last.middles.1)..pixel(last.end + OUTWARDS);
        if let Some(inked) = range.rev().find(|at| ink.columns.get(*at) == Some(&true)) {
            last.end = column(inked + 1);
        }
    }
}

impl Place {
    /// The part of the line between two columns, as high as its ink.
    fn part(&self, columns: std::ops::Range<f32>) -> Quad {
        let [a, b, c, d] = self.quad;
        let between = |from: [f32; 2], to: [f32; 2], share: f32| {
            [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]
        };
        let (start, end) = (columns.start / self.columns, columns.end / self.columns);
        let rows = self.ink.as_ref().map_or(0..HEIGHT as usize, |ink| ink.rows.clone());
        let (top, bottom) = (rows.start as f32 / HEIGHT as f32, rows.end as f32 / HEIGHT as f32);
        let at = |across: f32, down: f32| between(between(a, b, across), between(d, c, across), down);
        [at(start, top), at(end, top), at(end, bottom), at(start, bottom)]
    }
}

fn around(corners: Quad) -> Bbox {
    let start = Bbox { left: f32::MAX, top: f32::MAX, right: f32::MIN, bottom: f32::MIN };
    corners.iter().fold(start, |bbox, [x, y]| Bbox {
        left: bbox.left.min(*x),
        top: bbox.top.min(*y),
        right: bbox.right.max(*x),
        bottom: bbox.bottom.max(*y),
    })
}
