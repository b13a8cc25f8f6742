//! Tesseract.

use tesseract_rs::TesseractAPI;

use super::Recognised;
use crate::{
    document::{Bbox, Line, Method, Word},
    error::{Failure, Result},
};

pub struct Engine {
    api: TesseractAPI,
    pub languages: Vec<String>,
}

impl Engine {
    pub fn new(languages: &[String]) -> Result<Self> {
        let api = TesseractAPI::new();
        let names: Vec<&str> = languages
            .iter()
            .map(|name| match name.as_str() {
                "de" => "deu",
                "fr" => "fra",
                _ => "eng",
            })
            .collect();
        let failed = |error: tesseract_rs::TesseractError| Failure::defect(format!("Tesseract: {error}"));
        api.init("/usr/share/tesseract-ocr/5/tessdata", &names.join("+")).map_err(failed)?;
        api.set_variable("tessedit_do_invert", "0").map_err(failed)?;
        Ok(Self { api, languages: languages.to_vec() })
    }

    pub fn recognise(&self, png: &[u8], dpi: f32) -> Result<Recognised> {
        let failed = |error: tesseract_rs::TesseractError| Failure::defect(format!("Tesseract: {error}"));
        let picture = ::image::load_from_memory(png).map_err(|error| Failure::defect(error.to_string()))?.to_luma8();
        let (width, height) = (picture.width() as i32, picture.height() as i32);
        self.api.set_image(&picture, width, height, 1, width).map_err(failed)?;
        self.api.set_source_resolution(dpi.max(150.0) as i32).map_err(failed)?;
        let tsv = self.api.get_tsv_text(0).map_err(failed)?;
        let scale = 72.0 / dpi;
        let mut lines: Vec<Line> = Vec::new();
        let mut last = String::new();
        for row in tsv.lines() {
            let cells: Vec<&str> = row.split('\t').collect();
            if cells.len() < 12 || cells[0] != "5" || cells[11].trim().is_empty() {
                continue;
            }
            let number = |index: usize| cells[index].parse::<f32>().unwrap_or(0.0);
            let (left, top) = (number(6) * scale, number(7) * scale);
            let bbox = Bbox { left, top, right: left + number(8) * scale, bottom: top + number(9) * scale };
            let word = Word { text: cells[11].to_owned(), bbox, confidence: Some(number(10) / 100.0) };
            let line = cells[1..5].join("/");
            if line == last
                && let Some(line) = lines.last_mut()
            {
                line.text.push(' ');
                line.text.push_str(&word.text);
                line.bbox = line.bbox.union(&word.bbox);
                line.words.push(word);
            } else {
                lines.push(Line {
                    text: word.text.clone(),
                    bbox,
                    polygon: None,
                    confidence: word.confidence,
                    words: vec![word],
                    method: Method::Ocr,
                    font_size: None,
                    bold: false,
                });
            }
            last = line;
        }
        Ok(Recognised { lines, engine: format!("tesseract {}", TesseractAPI::version()) })
    }
}
