//! SROIE (ICDAR 2019 competition on scanned receipts): a line of the file is a line of the receipt, its four corners
//! clockwise in pixels of a single picture, then its text, which may hold commas.

use super::{Boxes, Flaw, Frame, Place, Text, Truth, Unit};
use deckle_contract::document::Bbox;

/// Numbers before the text.
const NUMBERS: usize = 8;

/// Whether the first line with anything in it is one of these.
pub(super) fn looks_like(content: &str) -> bool {
    content.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| parsed(line).is_some())
}

/// Reads an annotation.
pub(super) fn read(content: &str) -> Result<Truth, Flaw> {
    let mut pieces = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let piece = parsed(line)
            .ok_or_else(|| Flaw::at(number, "a line of SROIE is eight numbers and a text, with commas between"))?;
        pieces.push(piece);
    }
    let places = pieces.iter().map(|(place, _)| *place).collect();
    Ok(Truth {
        text: Some(Text::Placed(pieces)),
        boxes: Some(Boxes { of: Unit::Line, places }),
        frame: Frame::Pixels,
        ..Truth::default()
    })
}

fn parsed(line: &str) -> Option<(Place, String)> {
    let mut parts = line.splitn(NUMBERS + 1, ',');
    let mut numbers = [0.0_f32; NUMBERS];
    for number in &mut numbers {
        *number = parts.next()?.trim().parse().ok()?;
    }
    let text = parts.next()?.to_owned();
    let (mut bbox, corners) = (None, numbers.chunks_exact(2));
    for corner in corners {
        let point = Bbox { left: corner[0], top: corner[1], right: corner[0], bottom: corner[1] };
        bbox = Some(bbox.map_or(point, |bbox: Bbox| bbox.union(&point)));
    }
    Some((Place { page_no: 1, bbox: bbox? }, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_of_the_text_are_kept() {
        let truth = read("72,25,326,26,326,64,71,64,TAN, WOON, YANN\r\n\n5,6,7,6,7,9,5,9,RM 9.00\n").unwrap();
        let Some(Text::Placed(pieces)) = truth.text else { panic!("placed") };
        assert_eq!(pieces[0].1, "TAN, WOON, YANN");
        assert_eq!(pieces[0].0.bbox, Bbox { left: 71.0, top: 25.0, right: 326.0, bottom: 64.0 });
        assert_eq!(pieces.len(), 2);
    }
}
