//! From boxes to the pictures of lines, and from recognised columns back to lines of the page. Pure.

use unicode_normalization::UnicodeNormalization;

use super::{
    ctc::{self, Character, Span},
    recogniser::{HEIGHT, PIXELS_PER_COLUMN, WIDEST},
};
use crate::{
    document::{Bbox, Line, Method, Word},
    pixmap::{Pixmap, Quad},
};

/// A box so much higher than wide may hold text that runs up or down (RapidOCR's number).
const TALL: f32 = 1.5;
/// Up to here it may as well be a single upright character, such as a digit in a table.
const SINGLE: f32 = 3.0;
/// Lines that are less sure are noise: PP-OCR's own limit.
const LEAST_CONFIDENCE: f32 = 0.5;
/// A line is skewed when its level box is higher than itself by this factor.
const SKEWED: f32 = 1.25;

/// The ways in which a box may be read, as quadrangles whose first side runs along the top of the text: as it stands, and
/// where it is tall, upwards and downwards. One way is enough for nearly all.
pub fn ways(corners: Quad) -> Vec<Quad> {
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

/// The picture of a line as the recogniser reads it: laid straight and scaled to its height.
pub fn crop(picture: &Pixmap, quad: &Quad) -> crate::error::Result<Pixmap> {
    let (width, height) = sides(quad);
    let scaled = ((HEIGHT as f32 * width / height.max(1.0)).ceil() as u32).clamp(PIXELS_PER_COLUMN, WIDEST);
    if height <= HEIGHT as f32 {
        return Ok(picture.warped(quad, scaled, HEIGHT));
    }
    let straight = picture.warped(quad, (width.round() as u32).max(1), height.round() as u32);
    straight.resized(scaled, HEIGHT)
}

/// Lengths of the first and the second side.
fn sides([a, b, c, _]: &Quad) -> (f32, f32) {
    let length = |from: &[f32; 2], to: &[f32; 2]| (to[0] - from[0]).hypot(to[1] - from[1]);
    (length(a, b), length(b, c))
}

/// How sure a whole line is: the mean over its characters, 0 for none.
pub fn confidence(characters: &[Character]) -> f32 {
    let count = characters.len().max(1) as f32;
    characters.iter().map(|character| character.confidence).sum::<f32>() / count
}

/// The line of the page (in points) that was read in a quadrangle of its picture (in pixels); `None` where nothing was
/// read, or only noise.
pub fn line(characters: &[Character], quad: &Quad, picture: (u32, u32), dpi: f32) -> Option<Line> {
    if confidence(characters) < LEAST_CONFIDENCE {
        return None;
    }
    let (width, height) = sides(quad);
    let columns = (HEIGHT as f32 * width / height.max(1.0)).min(WIDEST as f32) / PIXELS_PER_COLUMN as f32;
    let spans = ctc::words(characters, columns.max(1.0));
    let scale = 72.0 / dpi;
    let points = |[x, y]: [f32; 2]| [x.clamp(0.0, picture.0 as f32) * scale, y.clamp(0.0, picture.1 as f32) * scale];
    let words: Vec<Word> = spans
        .iter()
        .map(|span| Word {
            text: span.text.nfc().collect(),
            bbox: around(part(quad, span, columns.max(1.0)).map(points)),
            confidence: Some(span.confidence),
        })
        .collect();
    let bbox = Bbox::around(words.iter().map(|word| &word.bbox))?;
    let level = around(quad.map(points));
    let is_skewed = level.width().min(level.height()) > SKEWED * width.min(height) * scale;
    let weights = words.iter().map(|word| (word.confidence.unwrap_or_default(), word.text.chars().count() as f32));
    let (sum, total) = weights.fold((0.0, 0.0), |(sum, total), (c, n)| (sum + c * n, total + n));
    Some(Line {
        text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
        bbox,
        polygon: is_skewed.then(|| quad.map(points)),
        words,
        confidence: Some(sum / total),
        method: Method::Ocr,
        font_size: Some(height * scale * FONT_SIZE),
        bold: false,
    })
}

/// Font size over the height of a line's box.
const FONT_SIZE: f32 = 0.8;

/// The part of a line's quadrangle that a word takes.
fn part([a, b, c, d]: &Quad, word: &Span, columns: f32) -> Quad {
    let between = |from: &[f32; 2], to: &[f32; 2], at: f32| {
        let share = at / columns;
        [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]
    };
    [between(a, b, word.start), between(a, b, word.end), between(d, c, word.end), between(d, c, word.start)]
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
