//! Recognition with Tesseract, which is slow to load and therefore kept.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tesseract_rs::{TessPageSegMode, TesseractAPI, TesseractError};
use unicode_normalization::UnicodeNormalization;

use super::{Config, Recognised};
use deckle_contract::{
    document::{Bbox, Line, Method, Word},
    error::{Failure, Result, code},
};
use deckle_imaging::Pixmap;

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
pub(crate) struct Tesseract {
    api: TesseractAPI,
    /// Tesseract's names joined with `+`.
    languages: String,
}

/// Data for Fraktur in the order they are taken: for German its own, which the set-up installs, before those of all
/// languages (under Debian's name and that of Tesseract's own folder). On a page of 1784 the two err alike (on about 9
/// % of the characters), and the data of German in antiqua on 14 %.
const GERMAN_FRAKTUR: &[&str] = &["frk", "Fraktur", "script/Fraktur"];
const FRAKTUR: &[&str] = &["Fraktur", "script/Fraktur", "frk"];

/// The languages that are installed, without orientation data. What lies in the folder of scripts is named `script/…`.
pub(crate) fn installed(config: &Config) -> Vec<String> {
    let in_folder = |folder: &Path, prefix: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| {
            Some(format!("{prefix}{}", entry.file_name().to_str()?.strip_suffix(".traineddata")?))
        };
        entries.filter_map(name).filter(|name| name != "osd").collect()
    };
    let tessdata = config.tessdata();
    let mut names = in_folder(&tessdata, "");
    names.extend(in_folder(&tessdata.join("script"), "script/"));
    names.sort();
    names
}

/// The languages that are installed, listed anew only when the folders change: whoever recognises pages asks for each.
#[derive(Debug, Default)]
pub(crate) struct Installed(Mutex<Option<(Folders, Arc<[String]>)>>);

/// Whether a folder changed so long ago that another change would have another time: file systems count in ticks of some
/// milliseconds, a few in seconds.
fn is_settled(changed: &Timestamp) -> bool {
    Timestamp::now().duration_since(*changed) > SignedDuration::from_secs(2)
}

/// When the folder of data and that of scripts changed last; `None` for one that is not there.
type Folders = [Option<Timestamp>; 2];

impl Installed {
    /// The languages that are installed now.
    pub(crate) fn now(&self, config: &Config) -> Arc<[String]> {
        let tessdata = config.tessdata();
        let changed = |folder: &Path| {
            let modified = fs::metadata(folder).and_then(|folder| folder.modified()).ok()?;
            Timestamp::try_from(modified).ok()
        };
        let folders = [changed(&tessdata), changed(&tessdata.join("script"))];
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*listed {
            Some((known, names)) if *known == folders && folders.iter().flatten().all(is_settled) => Arc::clone(names),
            _ => Arc::clone(&listed.insert((folders, installed(config).into())).1),
        }
    }
}

/// Version of the library.
pub(crate) fn version() -> String {
    TesseractAPI::version()
}

/// Tesseract's names of BCP 47 languages, joined with `+`; English for none.
pub(crate) fn engine_languages(languages: &[String], installed: &[String]) -> Result<String> {
    let is_installed = |name: &&str| installed.iter().any(|installed| installed == name);
    let mut names: Vec<&str> = Vec::new();
    for language in languages {
        let own_name = installed.iter().find(|name| name.eq_ignore_ascii_case(language)).map(String::as_str);
        let known = data(language);
        let Some(first) = own_name.or(known.first().copied()) else {
            return Err(Failure::rejected(
                code::OCR_LANGUAGE,
                format!("`{language}` is no language that deckle knows; installed for OCR are {}", list(installed)),
            ));
        };
        let Some(name) = own_name.or(known.iter().copied().find(is_installed)) else {
            return Err(Failure::rejected(
                code::OCR_LANGUAGE,
                format!(
                    "OCR for `{language}` is not installed (installed: {}); on Debian and Ubuntu: apt-get install {}",
                    list(installed),
                    package(first)
                ),
            ));
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(if names.is_empty() { "eng".to_owned() } else { names.join("+") })
}

/// Tesseract's data that read a language (BCP 47), in the order they are taken; none for a language that is not known.
fn data(language: &str) -> &'static [&'static str] {
    let asked = language.to_lowercase();
    let mut subtags = asked.split(['-', '_']);
    let primary = subtags.next().unwrap_or_default();
    if subtags.any(|subtag| subtag == "latf") {
        return if primary == "de" { GERMAN_FRAKTUR } else { FRAKTUR };
    }
    let traditional = ["zh-hant", "zh-tw", "zh-hk", "zh-mo"].iter().any(|zh| asked.starts_with(zh));
    let key = if traditional { "zh-hant" } else { primary };
    LANGUAGES.iter().find(|(tag, _)| *tag == key).map_or(&[], |(_, name)| std::slice::from_ref(name))
}

/// Debian's package of some data.
fn package(data: &str) -> String {
    match data {
        "Fraktur" => "tesseract-ocr-script-frak".to_owned(),
        name => format!("tesseract-ocr-{}", name.replace('_', "-")),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Tesseract {
    /// Loads languages, or keeps the loaded engine when it has the same ones.
    pub(crate) fn for_languages<'a>(
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
    pub(crate) fn recognise(&mut self, picture: &Pixmap, dpi: f32) -> Result<Recognised> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(languages: &[&str], installed: &[&str]) -> Result<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        engine_languages(&owned(languages), &owned(installed))
    }

    #[test]
    fn languages_that_are_installed_later_are_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { tessdata: Some(folder.path().to_owned()), ..Config::default() };
        let installed = Installed::default();
        assert_eq!(*installed.now(&config), [""; 0]);
        for name in ["eng", "script/Latin"] {
            let path = folder.path().join(name).with_extension("traineddata");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
            assert_eq!(installed.now(&config).last().map(String::as_str), Some(name));
        }
        // Unchanged for a while: from then on it is not listed again.
        let a_minute_ago = Timestamp::now() - SignedDuration::from_secs(60);
        for folder in [folder.path().to_owned(), folder.path().join("script")] {
            fs::File::open(folder).unwrap().set_modified(a_minute_ago.into()).unwrap();
        }
        let first = installed.now(&config);
        assert!(Arc::ptr_eq(&first, &installed.now(&config)));
    }

    #[test]
    fn fraktur_is_read_by_the_first_data_for_it_that_are_installed() {
        let all = ["Fraktur", "deu", "eng", "frk", "script/Fraktur"];
        assert_eq!(names(&["de-Latf"], &all).unwrap(), "frk");
        assert_eq!(names(&["de-Latf-AT"], &["Fraktur", "deu"]).unwrap(), "Fraktur");
        assert_eq!(names(&["de_latf"], &["deu", "script/Fraktur"]).unwrap(), "script/Fraktur");
        assert_eq!(names(&["da-Latf", "de"], &all).unwrap(), "Fraktur+deu");
        assert_eq!(names(&["de", "de-AT", "en"], &all).unwrap(), "deu+eng");
        // Tesseract's own names, too.
        assert_eq!(names(&["FRK"], &all).unwrap(), "frk");
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let message = |languages: &[&str]| names(languages, &["deu"]).unwrap_err().to_string();
        assert!(message(&["de-Latf"]).contains("apt-get install tesseract-ocr-frk"));
        assert!(message(&["da-Latf"]).contains("apt-get install tesseract-ocr-script-frak"));
        assert!(message(&["zh-TW"]).contains("apt-get install tesseract-ocr-chi-tra"));
        assert!(message(&["tlh"]).contains("no language that deckle knows"));
    }
}
