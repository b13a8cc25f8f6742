//! PDF through PDFium.

use pdfium_render::prelude::*;

use super::{Config, Opened, PageContent, RasterFacts, image::png, text_layer::Signals};
use crate::{
    document::{Bbox, Line, Method, Word},
    error::{Failure, Result, code},
};

fn load<'a>(pdfium: &'a Pdfium, bytes: &'a [u8], password: Option<&'a str>) -> Result<PdfDocument<'a>> {
    pdfium.load_pdf_from_byte_slice(bytes, password).map_err(|error| match error {
        PdfiumError::PdfiumLibraryInternalError(PdfiumInternalError::PasswordError) => {
            Failure::rejected(code::PDF_ENCRYPTED, "the PDF is encrypted and needs a password")
        }
        other => Failure::rejected(code::PDF_DAMAGED, format!("the PDF cannot be opened: {other:?}")),
    })
}

pub fn open(pdfium: &Pdfium, bytes: &[u8], password: Option<&str>, config: &Config) -> Result<Opened> {
    let document = load(pdfium, bytes, password)?;
    let pages = u32::try_from(document.pages().len()).unwrap_or(0);
    if pages == 0 {
        return Err(Failure::rejected(code::PDF_DAMAGED, "the PDF has no pages"));
    }
    if pages > config.max_pages {
        return Err(Failure::rejected(code::LIMIT_PAGES, format!("{pages} pages are over the limit")));
    }
    Ok(Opened { media_type: "application/pdf".to_owned(), page_count: Some(pages), title: None, blocks: Vec::new() })
}

fn damaged(error: PdfiumError) -> Failure {
    Failure::rejected(code::PDF_DAMAGED, format!("the page cannot be read: {error:?}"))
}

const FINE: f32 = 20.0;

pub fn read(pdfium: &Pdfium, bytes: &[u8], page_no: u32, password: Option<&str>) -> Result<PageContent> {
    let document = load(pdfium, bytes, password)?;
    let page = document.pages().get(page_no as i32 - 1).map_err(damaged)?;
    let (width, height) = (page.width().value, page.height().value);
    let config = PdfRenderConfig::new().set_fixed_size((width * FINE) as i32, (height * FINE) as i32);
    let place = |rect: PdfRect| {
        let a = page.points_to_pixels(rect.left(), rect.top(), &config).ok()?;
        let b = page.points_to_pixels(rect.right(), rect.bottom(), &config).ok()?;
        Some(Bbox {
            left: a.0.min(b.0) as f32 / FINE,
            top: a.1.min(b.1) as f32 / FINE,
            right: a.0.max(b.0) as f32 / FINE,
            bottom: a.1.max(b.1) as f32 / FINE,
        })
    };
    let text = page.text().map_err(damaged)?;
    let mut lines: Vec<Line> = Vec::new();
    let mut word: Option<Word> = None;
    let mut words: Vec<Word> = Vec::new();
    let mut size = None;
    let mut characters = 0;
    let finish = |words: &mut Vec<Word>, size: &mut Option<f32>, lines: &mut Vec<Line>| {
        let Some(bbox) = Bbox::around(words.iter().map(|word| &word.bbox)) else { return };
        lines.push(Line {
            text: words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            bbox,
            polygon: None,
            words: std::mem::take(words),
            confidence: None,
            method: Method::TextLayer,
            font_size: size.take(),
            bold: false,
        });
    };
    for character in text.chars().iter() {
        let Some(letter) = character.unicode_char() else { continue };
        if letter.is_whitespace() {
            words.extend(word.take());
            if letter == '\n' || letter == '\r' {
                finish(&mut words, &mut size, &mut lines);
            }
            continue;
        }
        characters += 1;
        let Some(bbox) = character.loose_bounds().ok().and_then(place) else { continue };
        size = size.or(Some(character.scaled_font_size().value));
        match &mut word {
            Some(word) => {
                word.text.push(letter);
                word.bbox = word.bbox.union(&bbox);
            }
            none => *none = Some(Word { text: letter.to_string(), bbox, confidence: None }),
        }
    }
    words.extend(word);
    finish(&mut words, &mut size, &mut lines);
    let images: Vec<Bbox> = page
        .objects()
        .iter()
        .filter(|object| object.as_image_object().is_some())
        .filter_map(|object| place(object.bounds().ok()?.to_rect()))
        .collect();
    let cover = images.iter().map(Bbox::area).sum::<f32>() / (width * height).max(1.0);
    Ok(PageContent { width, height, rotation: 0, lines, images, signals: Signals { characters, image_cover: cover } })
}

pub fn render(
    pdfium: &Pdfium,
    bytes: &[u8],
    page_no: u32,
    password: Option<&str>,
    config: &Config,
) -> Result<(RasterFacts, Vec<u8>)> {
    let document = load(pdfium, bytes, password)?;
    let page = document.pages().get(page_no as i32 - 1).map_err(damaged)?;
    let (width, height) = (page.width().value, page.height().value);
    let scale = config.render_dpi / 72.0;
    let settings = PdfRenderConfig::new()
        .set_fixed_size((width * scale) as i32, (height * scale) as i32)
        .set_format(PdfBitmapFormat::Gray)
        .set_reverse_byte_order(false);
    let bitmap = page.render_with_config(&settings).map_err(damaged)?;
    let (width_px, height_px) = (bitmap.width() as u32, bitmap.height() as u32);
    let stride = (width_px as usize).div_ceil(4) * 4;
    let raw = bitmap.as_raw_bytes();
    let grey: Vec<u8> = raw.chunks(stride).flat_map(|row| &row[..width_px as usize]).copied().collect();
    let picture = ::image::GrayImage::from_raw(width_px, height_px, grey)
        .ok_or_else(|| Failure::defect("a bitmap of a wrong size"))?;
    let facts = RasterFacts {
        dpi: config.render_dpi,
        width_px,
        height_px,
        page_width: width,
        page_height: height,
        rotation: 0,
    };
    Ok((facts, png(picture)?))
}
