//! Reads files: what type they are, their pages, text, pictures, and the recognition of rendered pages.
//!
//! The law: no byte of a file is parsed in the process that calls [`Decoders`]; all of it happens in a child of
//! [`crate::sandbox`]. The rule that judges a text layer ([`text_layer`]) is pure and runs anywhere.
//!
//! | format | file | what it gives |
//! |---|---|---|
//! | PDF | `pdf/` | pages: lines with boxes, pictures' boxes, signals, renderings |
//! | PNG, JPEG, TIFF, WebP, GIF, BMP, HEIC | `image/` | a page, of TIFF one per picture in it: a rendering |
//! | plain text | `text.rs` | blocks |
//! | Markdown | `markdown.rs` | blocks |
//!
//! A format more is a file here and its line in [`formats`]; and one in `sniff.rs`, if that does not know it by name
//! yet.

mod child;
mod format;
#[cfg(all(test, counted))]
mod growth;
#[cfg(test)]
mod hostile;
mod image;
pub mod limits;
mod markdown;
mod pdf;
mod request;
pub mod sandbox;
mod sniff;
mod tesseract;
mod text;
pub mod text_layer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use child::child;

pub use crate::{limits::DocumentLimits, sandbox::File};

use deckle_contract::{
    document::{
        Bbox, Block, Drawing, Line, Page,
        metadata::{DocumentMetadata, FormField, Link},
    },
    error::{Failure, Result, code},
};
use request::{Outcome, Request, Secret};

/// All formats, in the order in which messages name them.
fn formats() -> Vec<Box<dyn format::Format>> {
    vec![
        Box::new(pdf::Decoder::default()),
        Box::new(image::Decoder::default()),
        Box::new(text::Decoder),
        Box::new(markdown::Decoder),
    ]
}

/// The environment variable that carries the [`Config`] to a child.
const CONFIG_VARIABLE: &str = "DECKLE_DECODE_CONFIG";

/// How files are decoded, and their limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder that holds `libpdfium.so`; `None` asks the system's library search.
    pub pdfium: Option<PathBuf>,
    /// Folder that holds `libheif.so.1`; `None`, or a folder without it, asks the system's library search.
    pub heif: Option<PathBuf>,
    /// Folder that holds `eng.traineddata` and its like; `None` is the place where Debian installs them.
    pub tessdata: Option<PathBuf>,
    /// Longest file in bytes.
    pub max_bytes: u64,
    /// Most pages of one file.
    pub max_pages: u32,
    /// Most pixels of a page's picture; larger pages are rendered, and larger pictures kept, at a lower resolution.
    pub max_pixels: u64,
    /// Most pixels of a picture in a file; one that has more is refused before any of it is decoded.
    pub max_source_pixels: u64,
    /// Resolution for rendering pages.
    pub render_dpi: f32,
    /// Most characters of a document, cells of tables included. The longest books have some six million.
    pub max_characters: u64,
    /// Most blocks and table cells of a document.
    pub max_blocks: u64,
    /// Most characters of a page's text layer. A page of a newspaper has some 30,000.
    pub max_page_characters: u64,
    /// Most ruling lines of a page.
    pub max_page_rules: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pdfium: None,
            heif: None,
            tessdata: None,
            max_bytes: 256 << 20,
            max_pages: 5_000,
            max_pixels: 50_000_000,
            max_source_pixels: 400_000_000,
            render_dpi: 200.0,
            max_characters: 20_000_000,
            max_blocks: 1_000_000,
            max_page_characters: 200_000,
            max_page_rules: 20_000,
        }
    }
}

impl Config {
    /// What a document may say.
    pub fn document_limits(&self) -> DocumentLimits {
        DocumentLimits { characters: self.max_characters, blocks: self.max_blocks }
    }

    /// The folder of language files.
    pub fn tessdata(&self) -> PathBuf {
        self.tessdata.clone().unwrap_or_else(|| PathBuf::from("/usr/share/tesseract-ocr/5/tessdata"))
    }
}

/// A value and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered<T> {
    /// The value.
    pub value: T,
    /// Processor time in the child, in microseconds.
    pub cpu_us: i64,
}

/// What is known of a file once it has been opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// What the bytes are, whatever the name says.
    pub media_type: String,
    /// Number of pages; `None` for a file without pages.
    pub page_count: Option<u32>,
    /// The title, for files without pages only.
    pub title: Option<String>,
    /// The whole content, for files without pages only.
    pub blocks: Vec<Block>,
}

/// What one page says of itself, before any recognition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PageContent {
    /// Width in points of the upright page.
    pub width: f32,
    /// Height in points of the upright page.
    pub height: f32,
    /// Clockwise degrees applied to make it upright.
    pub rotation: u16,
    /// The text layer, in the file's order.
    pub lines: Vec<Line>,
    /// Boxes of the pictures on the page.
    pub images: Vec<Bbox>,
    /// What is drawn on the page besides.
    #[serde(default)]
    pub drawing: Drawing,
    /// What [`text_layer::classify`] needs.
    pub signals: text_layer::Signals,
    /// Links on the page.
    pub links: Vec<Link>,
    /// Form fields on the page; what was filled in stands among the lines as well.
    pub form_fields: Vec<FormField>,
    /// From the file's own coordinates to points of the upright page; see
    /// [`deckle_contract::document::Page::from_user_space`].
    pub from_user_space: Option<[f32; 6]>,
}

impl PageContent {
    /// The page as its file describes it; nothing is decided yet.
    pub fn into_page(self, page_no: u32) -> Page {
        Page {
            page_no,
            width: self.width,
            height: self.height,
            rotation: self.rotation,
            signals: self.signals.named(),
            lines: self.lines,
            images: self.images,
            drawing: self.drawing,
            links: self.links,
            form_fields: self.form_fields,
            from_user_space: self.from_user_space,
            ..Page::default()
        }
    }
}

/// The picture of one upright page.
#[derive(Debug, Clone, PartialEq)]
pub struct PageImage {
    /// PNG of 8 bits a channel: grey, or in colour where the page has pictures in colour.
    pub png: Bytes,
    /// Pixels per inch.
    pub dpi: f32,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Width of the page in points.
    pub page_width: f32,
    /// Height of the page in points.
    pub page_height: f32,
    /// Clockwise degrees applied to make it upright.
    pub rotation: u16,
}

/// What was recognised on a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recognised {
    /// Lines with boxes in points of the upright page.
    pub lines: Vec<Line>,
    /// Engine, version and languages, such as `tesseract 5.3.0 eng`.
    pub engine: String,
}

/// One finding of [`Decoders::check`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty when all is well.
    pub advice: String,
}

/// All decoders, each call in a child process. Cheap to clone.
#[derive(Clone)]
pub struct Decoders {
    pool: Arc<sandbox::Pool>,
    config: Arc<Config>,
    installed: Arc<tesseract::Installed>,
}

impl Decoders {
    /// Uses a pool whose children run [`child()`] with the same configuration; [`Decoders::start`] makes one.
    pub fn new(pool: Arc<sandbox::Pool>, config: Config) -> Self {
        Self { pool, config: Arc::new(config), installed: Arc::default() }
    }

    /// Makes the pool too: children of `program sandbox` that may read what the decoders need and nothing else.
    #[expect(clippy::expect_used, reason = "numbers and paths are always JSON")]
    pub fn start(program: &Path, mut sandbox: sandbox::Config, config: Config) -> Self {
        sandbox.readable.extend(config.pdfium.clone());
        sandbox.readable.extend(config.heif.clone());
        sandbox.readable.push(config.tessdata());
        let text = serde_json::to_string(&config).expect("paths and numbers are always JSON");
        let env = vec![(CONFIG_VARIABLE.to_owned(), text)];
        let pool = sandbox::Pool::new(program.to_owned(), vec!["sandbox".to_owned()], env, sandbox);
        Self::new(Arc::new(pool), config)
    }

    /// The pool of children.
    pub fn pool(&self) -> &Arc<sandbox::Pool> {
        &self.pool
    }

    /// Finds out what the file is and opens it; `filename` only tells Markdown from plain text.
    ///
    /// # Errors
    /// `unsupported_type`, `empty_file`, `pdf.encrypted`, `pdf.damaged`, `image.damaged`, `text.encoding`, `limit.…`.
    pub async fn open(&self, file: &File, filename: &str, password: Option<&str>) -> Result<Metered<Opened>> {
        if file.bytes.is_empty() {
            return Err(Failure::rejected(code::EMPTY, "the file is empty (0 bytes)"));
        }
        let (size, limit) = (file.bytes.len() as u64, self.config.max_bytes);
        if size > limit {
            return Err(Failure::rejected(
                code::LIMIT_BYTES,
                format!("the file has {size} bytes; {limit} are allowed (decode.max_bytes)"),
            ));
        }
        let request = Request::Open { filename: filename.to_owned(), password: password.map(Secret::new) };
        Ok(self.ask(Some(file), &request, &[]).await?.0)
    }

    /// Reads the text layer and the signals of one page, counted from 1.
    ///
    /// # Errors
    /// As [`Decoders::open`]; a defect for a page that the file does not have.
    pub async fn read_page(
        &self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&str>,
    ) -> Result<Metered<PageContent>> {
        let password = password.map(Secret::new);
        let request = Request::ReadPage { media_type: media_type.to_owned(), page_no, password };
        Ok(self.ask(Some(file), &request, &[]).await?.0)
    }

    /// Reads what a file says of itself. A file never fails for its facts: where they, or its attachments, are too much
    /// for a child, they are missing, and [`DocumentMetadata::cut_short`] says so.
    ///
    /// # Errors
    /// Only those that another attempt may mend.
    pub async fn read_facts(
        &self,
        file: &File,
        media_type: &str,
        password: Option<&str>,
    ) -> Result<Metered<DocumentMetadata>> {
        for look_into_attachments in [true, false] {
            let (media_type, password) = (media_type.to_owned(), password.map(Secret::new));
            let request = Request::ReadFacts { media_type, password, look_into_attachments };
            match self.ask(Some(file), &request, &[]).await {
                Ok((facts, _)) => return Ok(facts),
                Err(failure) if failure.is_retryable() => return Err(failure),
                Err(failure) => tracing::warn!(sha256 = file.sha256, look_into_attachments, %failure, "facts not read"),
            }
        }
        Ok(Metered { value: DocumentMetadata { cut_short: true, ..DocumentMetadata::default() }, cpu_us: 0 })
    }

    /// Renders one page, counted from 1, upright; in grey, or in colour where the page has pictures in colour.
    ///
    /// # Errors
    /// As [`Decoders::read_page`].
    pub async fn render_page(
        &self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&str>,
    ) -> Result<Metered<PageImage>> {
        let password = password.map(Secret::new);
        let request = Request::RenderPage { media_type: media_type.to_owned(), page_no, password };
        let (metered, payload) = self.ask::<request::RenderedPage>(Some(file), &request, &[]).await?;
        Ok(Metered { value: metered.value.into_raster(payload.into()), cpu_us: metered.cpu_us })
    }

    /// Recognises a picture (PNG, pixels per inch) with Tesseract. Languages are BCP 47; none means English.
    ///
    /// # Errors
    /// `ocr.language` when a language is not installed.
    pub async fn recognise(&self, png: &[u8], dpi: f32, languages: &[String]) -> Result<Metered<Recognised>> {
        let request = Request::Recognise { dpi, languages: languages.to_vec() };
        Ok(self.ask(None, &request, png).await?.0)
    }

    /// Whether Tesseract's data are installed for all of these languages (BCP 47; none means English).
    pub fn has_languages(&self, languages: &[String]) -> bool {
        let installed = self.installed.now(&self.config);
        let has_english = installed.iter().any(|name| name == "eng");
        tesseract::engine_languages(languages, &installed).is_ok() && (has_english || !languages.is_empty())
    }

    /// Looks whether everything that decoding needs is there.
    pub async fn check(&self) -> Vec<Check> {
        match self.ask(None, &Request::Check, &[]).await {
            Ok((found, _)) => found.value,
            Err(failure) => vec![Check {
                name: "sandbox".to_owned(),
                ok: false,
                detail: failure.to_string(),
                advice: "run `deckle sandbox </dev/null` by hand and see what it says".to_owned(),
            }],
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        file: Option<&File>,
        request: &Request,
        attachment: &[u8],
    ) -> Result<(Metered<T>, Vec<u8>)> {
        let answer = self.pool.call(file, &request.encode(attachment)).await?;
        let outcome: Outcome<T> = serde_json::from_slice(&answer.reply)
            .map_err(|e| Failure::defect(format!("a decoder's reply is not readable: {e}")))?;
        match outcome.into_result() {
            Ok(value) => Ok((Metered { value, cpu_us: answer.cpu_us }, answer.payload)),
            Err(Failure::Unavailable { dependency, message }) => Err(self.confirmed(dependency, message).await),
            Err(failure) => Err(failure),
        }
    }

    /// Whether something is away that a child misses: a stage waits for that without end, and a child that a file has taken
    /// over may say what it likes. A process that has read no file is asked; where it finds all that it needs, the record
    /// alone is tried again, within a bound.
    async fn confirmed(&self, dependency: String, message: String) -> Failure {
        let answer = match self.pool.call_fresh(&Request::Check.encode(&[])).await {
            Ok(answer) => answer,
            Err(failure) => return failure,
        };
        match serde_json::from_slice::<Outcome<Vec<Check>>>(&answer.reply).map(Outcome::into_result) {
            Ok(Ok(found)) if found.iter().any(|check| check.name == dependency && !check.ok) => {
                Failure::Unavailable { dependency, message }
            }
            _ => {
                Failure::transient(format!("a decoder says that {dependency} is missing, another finds it: {message}"))
            }
        }
    }
}
