//! PDF, through PDFium.
//!
//! The law: coordinates leave this module as points of the upright page, with the origin at its top left.

mod accents;
mod annotations;
mod date;
mod geometry;
mod library;
mod lines;
mod metadata;
mod objects;
mod paths;
mod pictures;

use bytes::Bytes;

use self::{
    geometry::{Matrix, Rect},
    library::{Library, PdfFile, PdfPage},
};
use super::{
    Check, Config, Opened, PageContent,
    format::{DecodeRequest, Format},
    request::RenderedPage,
    sniff,
};
use deckle_contract::{
    document::{Bbox, metadata::DocumentMetadata},
    error::{Failure, Result, code},
};
use deckle_imaging::{Channels, Pixmap};

/// PDF allows pages of at most 14,400 points; some writers go beyond, and garbage far beyond.
const LARGEST_SIDE: f32 = 1_000_000.0;

/// A resolution below which a rendering is no use for reading: such a page is over the pixel limit.
const LEAST_DPI: f32 = 20.0;

/// The decoder of a child: PDFium, loaded when the first PDF comes.
#[derive(Default)]
pub(crate) struct Decoder {
    pdf: Option<Pdf>,
}

impl Decoder {
    fn pdf(&mut self, config: &Config) -> Result<&mut Pdf> {
        match &mut self.pdf {
            Some(pdf) => Ok(pdf),
            empty => Ok(empty.insert(Pdf { library: Library::load(config.pdfium.as_deref())?, open: None })),
        }
    }

    fn file(&mut self, asked: &DecodeRequest<'_>) -> Result<&PdfFile> {
        self.pdf(asked.config)?.file(&asked.file.sha256, &asked.file.bytes, asked.password)
    }
}

impl Format for Decoder {
    fn media_types(&self) -> &'static [&'static str] {
        &[sniff::PDF]
    }

    fn names(&self) -> &'static [&'static str] {
        &["PDF"]
    }

    fn open(&mut self, asked: &DecodeRequest<'_>) -> Result<Opened> {
        let config = asked.config;
        let file = self.file(asked)?;
        let page_count = file.page_count();
        if page_count == 0 {
            return Err(Failure::rejected(code::PDF_DAMAGED, "the PDF is damaged: it has no pages"));
        }
        if page_count > config.max_pages {
            return Err(Failure::rejected(
                code::LIMIT_PAGES,
                format!("the PDF has {page_count} pages; {} are allowed (decode.max_pages)", config.max_pages),
            ));
        }
        Ok(Opened { media_type: sniff::PDF.to_owned(), page_count: Some(page_count), title: None, blocks: Vec::new() })
    }

    fn read_page(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<PageContent> {
        let file = self.file(asked)?;
        let page = page(file, page_no)?;
        let view = View::of(&page)?;
        Ok(objects::read(file, &page, &view))
    }

    fn read_facts(&mut self, asked: &DecodeRequest<'_>, look_into_attachments: bool) -> Result<DocumentMetadata> {
        Ok(metadata::read(self.file(asked)?, look_into_attachments))
    }

    fn render_page(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<(RenderedPage, Pixmap)> {
        let config = asked.config;
        let page = page(self.file(asked)?, page_no)?;
        let view = View::of(&page)?;
        let pictures = pictures::of(&page, &view);
        pictures::within(&pictures, page_no, config)?;
        let (page_width, page_height) = (view.width, view.height);
        let area = page_width * page_height;
        let dpi = resolution(page_no, &view, pictures::dpi(&pictures, area, config.render_dpi), config)?;
        let pixels = |points: f32| ((points * dpi / 72.0).round() as i32).max(1);
        let (width, height) = (pixels(page_width), pixels(page_height));
        let figures = pictures::figures(&pictures, area);
        let channels = if figures.is_empty() { Channels::Grey } else { Channels::Rgb };
        let pixels = page.render(width, height, channels).ok_or_else(|| {
            Failure::rejected(
                code::LIMIT_MEMORY,
                format!("no memory to render page {page_no} ({width} × {height} pixels)"),
            )
        })?;
        let (width_px, height_px) = (width as u32, height as u32);
        let mut picture = Pixmap { width: width_px, height: height_px, channels, pixels };
        if !pictures::any_colourful(&picture, &figures, dpi) {
            picture = picture.into_grey();
        }
        let rendered = RenderedPage { dpi, width_px, height_px, page_width, page_height, rotation: view.rotation() };
        Ok((rendered, picture))
    }

    fn check(&mut self, config: &Config) -> Option<Check> {
        let loaded = self.pdf(config).map(|_| ());
        let folder = config.pdfium.as_ref().map_or("the system's libraries".into(), |p| p.display().to_string());
        let advice = match &loaded {
            Ok(()) => String::new(),
            Err(_) => "take libpdfium.so from PyPI's pypdfium2 wheel and set decode.pdfium to its folder".to_owned(),
        };
        Some(Check {
            name: "pdfium".to_owned(),
            ok: loaded.is_ok(),
            detail: loaded.map_or_else(|failure| failure.to_string(), |()| format!("loaded from {folder}")),
            advice,
        })
    }
}

/// PDFium and the document that was used last.
struct Pdf {
    library: Library,
    open: Option<(String, Option<String>, PdfFile)>,
}

impl Pdf {
    #[expect(clippy::expect_used, reason = "the lines above put it there")]
    fn file(&mut self, sha256: &str, bytes: &Bytes, password: Option<&str>) -> Result<&PdfFile> {
        let same = |(name, used, _): &(String, Option<String>, PdfFile)| name == sha256 && used.as_deref() == password;
        if !self.open.as_ref().is_some_and(same) {
            self.open = None;
            let file = self.library.open(bytes.clone(), password)?;
            self.open = Some((sha256.to_owned(), password.map(str::to_owned), file));
        }
        let (_, _, file) = self.open.as_ref().expect("it was just put there");
        Ok(file)
    }
}

fn page(file: &PdfFile, page_no: u32) -> Result<PdfPage<'_>> {
    let count = file.page_count();
    if page_no == 0 || page_no > count {
        return Err(Failure::defect(format!("page {page_no} was asked for; the PDF has {count}")));
    }
    let damaged = || Failure::rejected(code::PDF_DAMAGED, format!("page {page_no} is damaged and cannot be read"));
    file.page(page_no - 1).ok_or_else(damaged)
}

/// The resolution that was asked for, or what `decode.max_pixels` leaves of it.
///
/// # Errors
/// `limit.pixels` when that is too little to read.
fn resolution(page_no: u32, view: &View, asked: f32, config: &Config) -> Result<f32> {
    let View { width, height, .. } = view;
    let square_inches = f64::from(*width) * f64::from(*height) / (72.0 * 72.0);
    let allowed = (config.max_pixels as f64 / square_inches).sqrt() as f32;
    let dpi = asked.min(allowed * 0.999);
    if dpi >= LEAST_DPI {
        return Ok(dpi);
    }
    Err(Failure::rejected(
        code::LIMIT_PIXELS,
        format!(
            "page {page_no} measures {width:.0} × {height:.0} points; within {} pixels (decode.max_pixels) it would \
             be unreadable",
            config.max_pixels
        ),
    ))
}

/// From the page's own coordinates to points of the upright page.
struct View {
    visible: Rect,
    quarter_turns: u16,
    width: f32,
    height: f32,
}

impl View {
    fn of(page: &PdfPage<'_>) -> Result<Self> {
        let (width, height) = page.size();
        let sane = |side: f32| side.is_finite() && side > 0.0 && side <= LARGEST_SIDE;
        let visible = page.visible().filter(|_| sane(width) && sane(height));
        let visible = visible.ok_or_else(|| Failure::rejected(code::PDF_DAMAGED, "a page has no size"))?;
        Ok(Self { visible, quarter_turns: page.quarter_turns(), width, height })
    }

    /// Clockwise degrees.
    fn rotation(&self) -> u16 {
        self.quarter_turns * 90
    }

    /// From the page's own coordinates to points of the upright page.
    fn upright(&self) -> Matrix {
        let v = self.visible;
        let turned = match self.quarter_turns {
            0 => Matrix([1.0, 0.0, 0.0, -1.0, -v.left, v.top]),
            1 => Matrix([0.0, 1.0, 1.0, 0.0, -v.bottom, -v.left]),
            2 => Matrix([-1.0, 0.0, 0.0, 1.0, v.right, -v.bottom]),
            _ => Matrix([0.0, -1.0, -1.0, 0.0, v.top, v.right]),
        };
        // PDFium scales pages that state a user unit.
        let (across, up) = (v.right - v.left, v.top - v.bottom);
        let (width, height) = if self.quarter_turns % 2 == 1 { (up, across) } else { (across, up) };
        turned.then(&Matrix([self.width / width, 0.0, 0.0, self.height / height, 0.0, 0.0]))
    }

    /// A box on the upright page, cut at its edges; `None` where nothing of it is on the page.
    fn bbox(&self, rect: Rect) -> Option<Bbox> {
        let rect = self.upright().apply(rect);
        // Here y grows downwards.
        let bbox = Bbox { left: rect.left, top: rect.bottom, right: rect.right, bottom: rect.top };
        let finite = [bbox.left, bbox.top, bbox.right, bbox.bottom].iter().all(|n| n.is_finite());
        let touches = bbox.left < self.width && bbox.right > 0.0 && bbox.top < self.height && bbox.bottom > 0.0;
        (finite && touches).then_some(Bbox {
            left: bbox.left.max(0.0),
            top: bbox.top.max(0.0),
            right: bbox.right.min(self.width),
            bottom: bbox.bottom.min(self.height),
        })
    }

    /// The direction of a vector of the page's own coordinates on the upright page, in degrees clockwise from
    /// rightwards.
    fn direction(&self, x: f32, y: f32) -> f32 {
        ((-y).atan2(x).to_degrees() + f32::from(self.rotation())).rem_euclid(360.0)
    }
}
