//! Decoders: bytes of a file in, pages, text and pictures out. They run in the sandbox; [`Decoders`] asks them.

pub mod text_layer;

mod image;
mod pdf;
mod tesseract;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::sandbox::File;
use crate::{
    document::{Bbox, Block, Line},
    error::{Failure, Result, code},
    sandbox::{self, Pool},
};

/// Settings of the decoders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of `libpdfium.so`.
    pub pdfium: Option<PathBuf>,
    /// Files above this size are rejected.
    pub max_bytes: u64,
    /// Documents of more pages are rejected.
    pub max_pages: u32,
    /// Pixels of one picture.
    pub max_pixels: u64,
    /// Resolution at which pages are rendered for OCR.
    pub render_dpi: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { pdfium: None, max_bytes: 512 << 20, max_pages: 10_000, max_pixels: 100_000_000, render_dpi: 200.0 }
    }
}

impl Config {
    /// The same with libraries found below `folder`.
    pub fn within(&self, folder: &Path) -> Self {
        Self { pdfium: Some(self.pdfium.clone().unwrap_or_else(|| folder.to_owned())), ..self.clone() }
    }

    /// What changes results.
    pub fn result_settings(&self) -> impl Serialize + use<> {
        (self.max_pages, self.max_pixels, self.render_dpi)
    }

    /// What children need to know.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([("OMP_THREAD_LIMIT".to_owned(), "1".to_owned())]);
        if let Ok(json) = serde_json::to_string(self) {
            environment.insert("DECKLE_DECODE_SETTINGS".to_owned(), json);
        }
        environment
    }
}

/// A value and the processor time it took.
#[derive(Debug, Clone)]
pub struct Metered<T> {
    /// The value.
    pub value: T,
    /// Processor time.
    pub cpu_us: i64,
}

/// A file that was opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    /// Sniffed.
    pub media_type: String,
    /// `None` for a file without pages.
    pub page_count: Option<u32>,
    /// The title, where one is known.
    pub title: Option<String>,
    /// Blocks of a file without pages.
    pub blocks: Vec<Block>,
}

/// What a page holds by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageContent {
    /// Points.
    pub width: f32,
    /// Points.
    pub height: f32,
    /// Clockwise degrees applied.
    pub rotation: u16,
    /// Lines of the text layer.
    pub lines: Vec<Line>,
    /// Pictures.
    pub images: Vec<Bbox>,
    /// What the rule needs.
    pub signals: text_layer::Signals,
}

/// A page as a grey picture.
#[derive(Debug, Clone)]
pub struct Raster {
    /// PNG.
    pub png: Bytes,
    /// Pixels per inch.
    pub dpi: f32,
    /// Pixels.
    pub width_px: u32,
    /// Pixels.
    pub height_px: u32,
    /// Points.
    pub page_width: f32,
    /// Points.
    pub page_height: f32,
    /// Clockwise degrees applied.
    pub rotation: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct RasterFacts {
    dpi: f32,
    width_px: u32,
    height_px: u32,
    page_width: f32,
    page_height: f32,
    rotation: u16,
}

/// Lines of a picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recognised {
    /// Boxes in points.
    pub lines: Vec<Line>,
    /// Who read it.
    pub engine: String,
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it is in place.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub advice: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Open { filename: String, password: Option<String> },
    ReadPage { media_type: String, page_no: u32, password: Option<String> },
    RenderPage { media_type: String, page_no: u32, password: Option<String> },
    Recognise { dpi: f32, languages: Vec<String> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply<T> {
    Done(T),
    Rejected { code: String, message: String },
    Defect(String),
}

/// Asks the decoders in the sandbox.
#[derive(Clone)]
pub struct Decoders {
    pool: Arc<Pool>,
}

impl Decoders {
    /// Over a pool of `deckle sandbox`.
    pub fn new(pool: Arc<Pool>, _: Config) -> Self {
        Self { pool }
    }

    /// Finds out what a file is.
    pub async fn open(&self, file: &File, filename: &str, password: Option<&str>) -> Result<Metered<Opened>> {
        let request = Request::Open { filename: filename.to_owned(), password: password.map(str::to_owned) };
        Ok(self.ask(file, &request).await?.0)
    }

    /// Reads the text layer of a page.
    pub async fn read_page(
        &self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&str>,
    ) -> Result<Metered<PageContent>> {
        let request =
            Request::ReadPage { media_type: media_type.to_owned(), page_no, password: password.map(str::to_owned) };
        Ok(self.ask(file, &request).await?.0)
    }

    /// Renders a page.
    pub async fn render_page(
        &self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&str>,
    ) -> Result<Metered<Raster>> {
        let request =
            Request::RenderPage { media_type: media_type.to_owned(), page_no, password: password.map(str::to_owned) };
        let (facts, payload) = self.ask::<RasterFacts>(file, &request).await?;
        let RasterFacts { dpi, width_px, height_px, page_width, page_height, rotation } = facts.value;
        let raster = Raster { png: payload.into(), dpi, width_px, height_px, page_width, page_height, rotation };
        Ok(Metered { value: raster, cpu_us: facts.cpu_us })
    }

    /// Reads a picture.
    pub async fn recognise(&self, raster: &Raster, languages: &[String]) -> Result<Metered<Recognised>> {
        use sha2::{Digest, Sha256};
        let file = File { sha256: hex::encode(Sha256::digest(&raster.png)), bytes: raster.png.clone() };
        Ok(self.ask(&file, &Request::Recognise { dpi: raster.dpi, languages: languages.to_vec() }).await?.0)
    }

    /// For `deckle check`.
    pub async fn check(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn ask<T: DeserializeOwned>(&self, file: &File, request: &Request) -> Result<(Metered<T>, Vec<u8>)> {
        let request = serde_json::to_vec(request).map_err(|error| Failure::defect(error.to_string()))?;
        let answer = self.pool.call(Some(file), &request).await?;
        let reply =
            serde_json::from_slice(&answer.reply).map_err(|error| Failure::defect(format!("a reply: {error}")))?;
        match reply {
            Reply::Done(value) => Ok((Metered { value, cpu_us: answer.cpu_us }, answer.payload)),
            Reply::Rejected { code, message } => Err(Failure::Rejected { code, message }),
            Reply::Defect(message) => Err(Failure::Defect { message }),
        }
    }
}

/// What `deckle sandbox` runs.
pub fn child() {
    let config: Config = std::env::var("DECKLE_DECODE_SETTINGS")
        .ok()
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default();
    let mut state = State { config, pdfium: None, tesseract: None };
    sandbox::serve(|file, request| {
        let Some(file) = file else { return (b"null".to_vec(), Vec::new()) };
        match serde_json::from_slice::<Request>(request) {
            Ok(Request::Open { filename, password }) => answer(state.open(file, &filename, password.as_deref())),
            Ok(Request::ReadPage { media_type, page_no, password }) => {
                answer(state.read(file, &media_type, page_no, password.as_deref()))
            }
            Ok(Request::RenderPage { media_type, page_no, password }) => {
                match state.render(file, &media_type, page_no, password.as_deref()) {
                    Ok((facts, png)) => (answer(Ok(facts)).0, png),
                    Err(failure) => answer::<()>(Err(failure)),
                }
            }
            Ok(Request::Recognise { dpi, languages }) => answer(state.recognise(file, dpi, &languages)),
            Err(error) => answer::<()>(Err(Failure::defect(error.to_string()))),
        }
    });
}

fn answer<T: Serialize>(result: Result<T>) -> (Vec<u8>, Vec<u8>) {
    let reply = match result {
        Ok(value) => Reply::Done(value),
        Err(Failure::Rejected { code, message }) => Reply::Rejected { code, message },
        Err(failure) => Reply::Defect(failure.to_string()),
    };
    (serde_json::to_vec(&reply).unwrap_or_default(), Vec::new())
}

struct State {
    config: Config,
    pdfium: Option<&'static pdfium_render::prelude::Pdfium>,
    tesseract: Option<tesseract::Engine>,
}

impl State {
    fn open(&mut self, file: &File, filename: &str, password: Option<&str>) -> Result<Opened> {
        let media_type = sniff(&file.bytes, filename)?;
        match media_type {
            "application/pdf" => pdf::open(self.pdfium()?, &file.bytes, password, &self.config),
            "image/png" | "image/jpeg" => image::open(&file.bytes, media_type, &self.config),
            other => text::open(&file.bytes, other),
        }
    }

    fn read(&mut self, file: &File, media_type: &str, page_no: u32, password: Option<&str>) -> Result<PageContent> {
        if media_type == "application/pdf" {
            return pdf::read(self.pdfium()?, &file.bytes, page_no, password);
        }
        image::read(&file.bytes, &self.config)
    }

    fn render(
        &mut self,
        file: &File,
        media_type: &str,
        page_no: u32,
        password: Option<&str>,
    ) -> Result<(RasterFacts, Vec<u8>)> {
        if media_type == "application/pdf" {
            let config = self.config.clone();
            return pdf::render(self.pdfium()?, &file.bytes, page_no, password, &config);
        }
        image::render(&file.bytes, &self.config)
    }

    fn recognise(&mut self, file: &File, dpi: f32, languages: &[String]) -> Result<Recognised> {
        let engine = match self.tesseract.take() {
            Some(engine) if engine.languages == languages => engine,
            _ => tesseract::Engine::new(languages)?,
        };
        self.tesseract.insert(engine).recognise(&file.bytes, dpi)
    }

    fn pdfium(&mut self) -> Result<&'static pdfium_render::prelude::Pdfium> {
        if let Some(pdfium) = self.pdfium {
            return Ok(pdfium);
        }
        let folder = self.config.pdfium.clone().unwrap_or_default();
        let path = pdfium_render::prelude::Pdfium::pdfium_platform_library_name_at_path(&folder);
        let bindings = pdfium_render::prelude::Pdfium::bind_to_library(&path)
            .map_err(|error| Failure::defect(format!("{} does not load: {error:?}", path.display())))?;
        let pdfium = Box::leak(Box::new(pdfium_render::prelude::Pdfium::new(bindings)));
        self.pdfium = Some(pdfium);
        Ok(pdfium)
    }
}

fn sniff(bytes: &[u8], filename: &str) -> Result<&'static str> {
    let start = &bytes[..bytes.len().min(1024)];
    if start.windows(5).any(|window| window == b"%PDF-") {
        return Ok("application/pdf");
    }
    match infer::get(bytes).map(|kind| kind.mime_type()) {
        Some("image/png") => return Ok("image/png"),
        Some("image/jpeg") => return Ok("image/jpeg"),
        Some(other) => {
            let message = format!("this is {other}; deckle reads PDF, PNG, JPEG, plain text and Markdown");
            return Err(Failure::rejected(code::UNSUPPORTED_TYPE, message));
        }
        None => {}
    }
    if std::str::from_utf8(bytes).is_err() || start.contains(&0) {
        return Err(Failure::rejected(code::UNSUPPORTED_TYPE, "this is no type that deckle knows"));
    }
    Ok(if filename.ends_with(".md") { "text/markdown" } else { "text/plain" })
}
