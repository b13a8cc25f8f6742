//! Recognition with Tesseract, which is slow to load and therefore kept.

use std::{fs, path::Path};

use tesseract_rs::{TessPageSegMode, TesseractAPI, TesseractError};
use unicode_normalization::UnicodeNormalization;

use super::{Config, Recognised};
use crate::{
    document::{Bbox, Line, Method, Word},
    error::{Failure, Result, code},
    pixmap::Pixmap,
};

/// BCP 47 primary subtags (and scripts, where they decide) with Tesseract's names. Tesseract's own three-letter names
/// are taken as they are.
const LANGUAGES: [(&str, &str); 47] = [
    ("af", "afr"),
    ("ar", "ara"),
    ("bg", "bul"),
    ("bn", "ben"),
    ("ca", "cat"),
    ("cs", "ces"),
    ("cy", "cym"),
    ("da", "dan"),
    ("de", "deu"),
    ("el", "ell"),
    ("en", "eng"),
    ("es", "spa"),
    ("et", "est"),
    ("eu", "eus"),
    ("fa", "fas"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("ga", "gle"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hr", "hrv"),
    ("hu", "hun"),
    ("id", "ind"),
    ("is", "isl"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("ko", "kor"),
    ("la", "lat"),
    ("lt", "lit"),
    ("lv", "lav"),
    ("nb", "nor"),
    ("nl", "nld"),
    ("no", "nor"),
    ("pl", "pol"),
    ("pt", "por"),
    ("ro", "ron"),
    ("ru", "rus"),
    ("sk", "slk"),
    ("sl", "slv"),
    ("sr", "srp"),
    ("sv", "swe"),
    ("th", "tha"),
    ("tr", "tur"),
    ("uk", "ukr"),
    ("vi", "vie"),
    ("zh", "chi_sim"),
    ("zh-hant", "chi_tra"),
];

/// A word without any letter or digit is noise (specks, rules, borders) when it is less sure than this.
const NOISE_CONFIDENCE: f32 = 0.3;

/// Tesseract's own default for pictures that state no resolution.
const LEAST_DPI: f32 = 70.0;

/// A loaded engine and its languages.
pub struct Tesseract {
    api: TesseractAPI,
    /// Tesseract's names joined with `+`.
    languages: String,
}

/// The languages that are installed, without orientation data.
pub fn installed(config: &Config) -> Vec<String> {
    let Ok(entries) = fs::read_dir(config.tessdata()) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".traineddata").map(str::to_owned))
        .filter(|name| name != "osd")
        .collect();
    names.sort();
    names
}

/// Version of the library.
pub fn version() -> String {
    TesseractAPI::version()
}

/// Tesseract's names of BCP 47 languages, joined with `+`; English for none.
pub fn engine_languages(languages: &[String], installed: &[String]) -> Result<String> {
    let mut names: Vec<&str> = Vec::new();
    for language in languages {
        let asked = language.to_lowercase();
        let traditional = ["zh-hant", "zh-tw", "zh-hk", "zh-mo"].iter().any(|zh| asked.starts_with(zh));
        let key = if traditional { "zh-hant" } else { asked.split(['-', '_']).next().unwrap_or_default() };
        let own_name = installed.iter().find(|name| name.to_lowercase() == asked).map(String::as_str);
        let name = LANGUAGES.iter().find(|(tag, _)| *tag == key).map(|(_, name)| *name);
        let Some(name) = own_name.or(name) else {
            return Err(Failure::rejected(
                code::OCR_LANGUAGE,
                format!("`{language}` is no language that deckle knows; installed for OCR are {}", list(installed)),
            ));
        };
        if !installed.iter().any(|i| i == name) {
            return Err(Failure::rejected(
                code::OCR_LANGUAGE,
                format!(
                    "OCR for `{language}` is not installed (installed: {}); on Debian and Ubuntu: apt-get install tesseract-ocr-{}",
                    list(installed),
                    name.replace('_', "-")
                ),
            ));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(if names.is_empty() { "eng".to_owned() } else { names.join("+") })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Tesseract {
    /// Loads languages, or keeps the loaded engine when it has the same ones.
    pub fn for_languages<'a>(
        kept: &'a mut Option<Self>,
        languages: &[String],
        config: &Config,
    ) -> Result<&'a mut Self> {
        let installed = installed(config);
        let wanted = engine_languages(languages, &installed)?;
        if kept.as_ref().is_some_and(|engine| engine.languages != wanted) {
            *kept = None;
        }
        match kept {
            Some(engine) => Ok(engine),
            None => Ok(kept.insert(Self::load(&wanted, &installed, &config.tessdata())?)),
        }
    }

    fn load(languages: &str, installed: &[String], tessdata: &Path) -> Result<Self> {
        if languages == "eng" && !installed.iter().any(|name| name == "eng") {
            return Err(Failure::unavailable(
                "tesseract",
                format!(
                    "no English data in {}; on Debian and Ubuntu: apt-get install tesseract-ocr-eng",
                    tessdata.display()
                ),
            ));
        }
        let failed = |e: TesseractError| {
            Failure::unavailable("tesseract", format!("cannot load {languages} from {}: {e}", tessdata.display()))
        };
        let api = TesseractAPI::new();
        api.init(tessdata, languages).map_err(failed)?;
        // Looking for white text on black as well costs time on every page and finds little.
        api.set_variable("tessedit_do_invert", "0").map_err(failed)?;
        api.set_page_seg_mode(TessPageSegMode::PSM_AUTO).map_err(failed)?;
        Ok(Self { api, languages: languages.to_owned() })
    }

    /// Recognises a page of the given resolution.
    pub fn recognise(&mut self, picture: &Pixmap, dpi: f32) -> Result<Recognised> {
        let failed = |e: TesseractError| Failure::defect(format!("tesseract failed: {e}"));
        let (width, height) = (picture.width as i32, picture.height as i32);
        self.api.set_image(&picture.pixels, width, height, 1, width).map_err(failed)?;
        self.api.set_source_resolution(dpi.max(LEAST_DPI).round() as i32).map_err(failed)?;
        self.api.recognize().map_err(failed)?;
        let table = self.api.get_tsv_text(0).map_err(failed)?;
        // Forgets the page, and what it taught about its fonts: a page's text must not depend on the one before it.
        self.api.clear().map_err(failed)?;
        self.api.clear_adaptive_classifier().map_err(failed)?;
        let engine = format!("tesseract {} {}", version(), self.languages);
        Ok(Recognised { lines: lines(&table, dpi), engine })
    }
}

/// Tesseract's table: `level page block paragraph line word left top width height confidence text`, tab-separated.
fn lines(table: &str, dpi: f32) -> Vec<Line> {
    const WORD_LEVEL: &str = "5";
    let mut lines: Vec<Line> = Vec::new();
    let mut current = None;
    for row in table.lines() {
        let columns: Vec<&str> = row.splitn(12, '\t').collect();
        let [WORD_LEVEL, page, block, paragraph, line, _, left, top, width, height, confidence, text] = columns[..]
        else {
            continue;
        };
        let pixels = [left, top, width, height].map(|n| n.parse::<f32>().unwrap_or_default());
        let Some(word) = word(text, pixels, confidence, dpi) else { continue };
        let place = (page.to_owned(), block.to_owned(), paragraph.to_owned(), line.to_owned());
        match lines.last_mut().filter(|_| current.as_ref() == Some(&place)) {
            Some(line) => {
                line.bbox = line.bbox.union(&word.bbox);
                line.words.push(word);
            }
            None => {
                lines.push(Line {
                    text: String::new(),
                    bbox: word.bbox,
                    polygon: None,
                    words: vec![word],
                    confidence: None,
                    method: Method::Ocr,
                    font_size: None,
                    bold: false,
                });
                current = Some(place);
            }
        }
    }
    lines.iter_mut().for_each(finish);
    lines
}

fn word(text: &str, pixels: [f32; 4], confidence: &str, dpi: f32) -> Option<Word> {
    let text: String = text.trim().nfc().collect();
    let confidence = (confidence.parse::<f32>().ok()? / 100.0).clamp(0.0, 1.0);
    let says_something = text.chars().any(char::is_alphanumeric);
    if text.is_empty() || (!says_something && confidence < NOISE_CONFIDENCE) {
        return None;
    }
    let [left, top, width, height] = pixels.map(|n| n * 72.0 / dpi);
    let bbox = Bbox { left, top, right: left + width, bottom: top + height };
    Some(Word { text, bbox, confidence: Some(confidence) })
}

fn finish(line: &mut Line) {
    // A line's height from the top of its ascenders to the bottom of its descenders is about the font's size.
    let mut heights: Vec<f32> = line.words.iter().map(|word| word.bbox.height()).collect();
    heights.sort_by(f32::total_cmp);
    line.font_size = heights.last().copied();
    line.text = line.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let weights = line.words.iter().map(|word| (word.confidence.unwrap_or_default(), word.text.chars().count() as f32));
    let (sum, total) = weights.fold((0.0, 0.0), |(sum, total), (c, n)| (sum + c * n, total + n));
    line.confidence = (total > 0.0).then(|| sum / total);
}
