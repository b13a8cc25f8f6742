//! FUNSD (Jaume, Ekenel and Thiran 2019): scanned forms; entries of words with boxes in pixels of a single picture.

use serde::Deserialize;

use super::{Boxes, Flaw, Frame, Place, Text, Truth, Unit};
use deckle_contract::document::Bbox;

#[derive(Deserialize)]
struct File {
    form: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    text: String,
    #[serde(rename = "box")]
    corners: [f32; 4],
    #[serde(default)]
    words: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    text: String,
    #[serde(rename = "box")]
    corners: [f32; 4],
}

/// Reads an annotation: an entry is a piece of text, each of its words a box. Words without text, which the data set
/// has, are left out; an entry without words is its own box.
pub(super) fn read(content: &str) -> Result<Truth, Flaw> {
    let file: File = serde_json::from_str(content).map_err(|error| Flaw::of_json(&error))?;
    let place = |[left, top, right, bottom]: [f32; 4]| Place { page_no: 1, bbox: Bbox { left, top, right, bottom } };
    let (mut pieces, mut places) = (Vec::new(), Vec::new());
    for entry in file.form {
        let words: Vec<&Word> = entry.words.iter().filter(|word| !word.text.trim().is_empty()).collect();
        if !words.is_empty() {
            let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            pieces.push((place(entry.corners), text.join(" ")));
            places.extend(words.iter().map(|word| place(word.corners)));
        } else if !entry.text.trim().is_empty() {
            pieces.push((place(entry.corners), entry.text));
            places.push(place(entry.corners));
        }
    }
    Ok(Truth {
        text: Some(Text::Placed(pieces)),
        boxes: Some(Boxes { of: Unit::Word, places }),
        frame: Frame::Pixels,
        ..Truth::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_and_empty_ones_left_out() {
        let truth = read(
            r#"{"form": [
            {"id": 0, "text": "Date: today", "label": "question", "linking": [], "box": [1, 2, 30, 9],
             "words": [{"text": "Date:", "box": [1, 2, 10, 9]}, {"text": "", "box": [11, 2, 12, 9]},
                       {"text": "today", "box": [13, 2, 30, 9]}]},
            {"id": 1, "text": "", "label": "other", "linking": [], "box": [1, 20, 30, 29], "words": []},
            {"id": 2, "text": "by hand", "label": "answer", "linking": [], "box": [1, 40, 30, 49], "words": []}]}"#,
        )
        .unwrap();
        let Some(Text::Placed(pieces)) = truth.text else { panic!("placed") };
        assert_eq!(pieces.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["Date: today", "by hand"]);
        assert_eq!(pieces[0].0.bbox, Bbox { left: 1.0, top: 2.0, right: 30.0, bottom: 9.0 });
        let boxes = truth.boxes.unwrap().places;
        assert_eq!(boxes[1].bbox, Bbox { left: 13.0, top: 2.0, right: 30.0, bottom: 9.0 });
        assert_eq!((truth.frame, boxes.len()), (Frame::Pixels, 3));
    }
}
