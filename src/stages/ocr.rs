//! ocr: reads one page, from its text layer where that is good, by recognition where it is not.
//!
//! The law: a page is rendered at most once, and what was decided stands in the page itself.

use std::sync::Arc;

use async_trait::async_trait;
use image::GenericImageView;

use super::{Files, Meter, Output, Parts, Stage, claim_check, compute, ruling};
use crate::{
    blob::Blobs,
    decode::{
        Decoders, File, PageContent, Raster,
        text_layer::{self, Decision},
    },
    document::{Bbox, Line, Method, Page},
    error::{Failure, Result},
    record::{Event, OcrMode, PageRead, PageSplit, Source, wire::Headers},
};

/// The stage's name.
pub const NAME: &str = "ocr";

/// See the module.
pub struct Ocr {
    blobs: Arc<dyn Blobs>,
    decoders: Decoders,
    files: Arc<Files>,
    config_hash: String,
    default_languages: Vec<String>,
    concurrency: usize,
}

impl Ocr {
    /// Takes its parts.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            decoders: parts.decoders.clone(),
            files: Arc::clone(&parts.files),
            config_hash: parts.settings.config_hash.clone(),
            default_languages: parts.settings.languages.clone(),
            concurrency: parts.settings.children * 2,
        }
    }
}

#[async_trait]
impl Stage for Ocr {
    type Input = PageSplit;

    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        // Twice the children, so that none waits for a blob.
        self.concurrency
    }

    async fn process(&self, _: &Headers, split: PageSplit) -> Result<Vec<Output>> {
        let mut meter = Meter::start(NAME, &self.config_hash);
        let page = self.read(&mut meter, &split).await?;
        let mut envelope = split.envelope.caused(PageRead::TOPIC, &split.page_no.to_string());
        let blob = claim_check::put_json(&*self.blobs, &envelope, &page).await?;
        envelope.trail.push(meter.finish());
        let read = PageRead {
            envelope,
            source: split.source,
            page_no: split.page_no,
            page_count: split.page_count,
            page: Some(blob),
            reason: None,
        };
        Ok(vec![Output::new(NAME, &read)?])
    }

    fn on_failure(&self, headers: &Headers, input: Option<&PageSplit>, failure: &Failure) -> Result<Vec<Output>> {
        let page_no = input.map_or(super::number(headers.page_no), |input| input.page_no);
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let read = PageRead {
            envelope: cause.caused(PageRead::TOPIC, &page_no.to_string()),
            source: input.map_or_else(Source::unknown, |input| input.source.clone()),
            page_no,
            page_count: input.map_or(super::number(headers.page_count), |input| input.page_count),
            page: None,
            reason: Some(failure.reason(NAME, u32::try_from(page_no).ok())),
        };
        Ok(vec![Output::new(NAME, &read)?])
    }
}

/// One page of one file: what every question to the decoders names.
struct Ask<'a> {
    file: File,
    split: &'a PageSplit,
    page_no: u32,
}

impl Ocr {
    async fn read(&self, meter: &mut Meter, split: &PageSplit) -> Result<Page> {
        let blob = claim_check::source_blob(&split.envelope, &split.source)?;
        let page_no = u32::try_from(split.page_no).map_err(|_| Failure::defect("a page number below zero"))?;
        let ask = Ask { file: self.files.get(&blob).await?, split, page_no };
        let password = split.options.password.as_deref();
        let content = self.decoders.read_page(&ask.file, &split.source.media_type, page_no, password).await?;
        meter.cpu(content.cpu_us).count(1, 0, 0);
        let content = content.value;
        let decision = match split.options.ocr_mode {
            OcrMode::Auto => text_layer::judge(&content.signals),
            OcrMode::Force => Decision::Ocr("forced"),
            OcrMode::Off => Decision::TextLayer,
        };
        match decision {
            Decision::Empty => Ok(self.page(&ask, content, Vec::new(), None, "empty".to_owned())),
            Decision::TextLayer => {
                let lines = content.lines.clone();
                Ok(self.page(&ask, content, lines, Some(Method::TextLayer), "text_layer".to_owned()))
            }
            Decision::Ocr(why) => self.recognise_page(meter, &ask, content, why).await,
            Decision::TextLayerAndImages(boxes) => self.recognise_images(meter, &ask, content, &boxes).await,
        }
    }

    fn page(
        &self,
        ask: &Ask<'_>,
        content: PageContent,
        lines: Vec<Line>,
        method: Option<Method>,
        decision: String,
    ) -> Page {
        Page {
            page_no: ask.page_no,
            width: content.width,
            height: content.height,
            rotation: content.rotation,
            method,
            decision,
            lines,
            images: content.images,
            drawing: content.drawing,
            ..Page::default()
        }
    }

    /// Renders the page once, keeps the picture, and recognises it.
    async fn recognise_page(&self, meter: &mut Meter, ask: &Ask<'_>, content: PageContent, why: &str) -> Result<Page> {
        let raster = self.render(meter, ask).await?;
        let envelope = &ask.split.envelope;
        let image = self.blobs.put(&envelope.tenant, &envelope.document_id, "image/png", raster.png.clone()).await?;
        let lines = self.recognise(meter, ask, &raster).await?;
        let (rules, cpu_us) = ruling::of_picture(&raster).await?;
        meter.cpu(cpu_us);
        let mut page = self.page(ask, content, lines, Some(Method::Ocr), format!("ocr: {why}"));
        // What the file draws itself may lie elsewhere than in the picture that was read.
        page.drawing.rules = rules;
        page.width = raster.page_width;
        page.height = raster.page_height;
        page.rotation = raster.rotation;
        page.dpi = Some(raster.dpi);
        page.image = Some(image);
        Ok(page)
    }

    /// Takes the text layer, and reads the pictures on the page as well.
    async fn recognise_images(
        &self,
        meter: &mut Meter,
        ask: &Ask<'_>,
        content: PageContent,
        boxes: &[Bbox],
    ) -> Result<Page> {
        let raster = self.render(meter, ask).await?;
        let mut lines = content.lines.clone();
        for bbox in boxes {
            let (picture, bbox) = (raster.clone(), *bbox);
            let (cut, cpu_us) = compute(move || crop(&picture, bbox)).await?;
            meter.cpu(cpu_us);
            let Some((cut, origin)) = cut? else { continue };
            let found = self.recognise(meter, ask, &cut).await?;
            lines.extend(found.into_iter().map(|line| moved(line, origin)));
        }
        let mut page = self.page(ask, content, lines, Some(Method::TextLayer), "text_layer, images by ocr".to_owned());
        page.dpi = Some(raster.dpi);
        Ok(page)
    }

    async fn render(&self, meter: &mut Meter, ask: &Ask<'_>) -> Result<Raster> {
        let password = ask.split.options.password.as_deref();
        let media_type = &ask.split.source.media_type;
        let raster = self.decoders.render_page(&ask.file, media_type, ask.page_no, password).await?;
        meter.cpu(raster.cpu_us);
        Ok(raster.value)
    }

    async fn recognise(&self, meter: &mut Meter, ask: &Ask<'_>, raster: &Raster) -> Result<Vec<Line>> {
        let asked = &ask.split.options.languages;
        let languages = if asked.is_empty() { &self.default_languages } else { asked };
        let recognised = self.decoders.recognise(raster, languages).await?;
        meter.cpu(recognised.cpu_us).model(&recognised.value.engine, None);
        Ok(recognised.value.lines)
    }
}

/// Cuts a box (points) out of a raster; tells the corner of the cut in points. `None` for less than 8 pixels a side.
fn crop(raster: &Raster, bbox: Bbox) -> Result<Option<(Raster, (f32, f32))>> {
    let broken = |error: image::ImageError| Failure::defect(format!("a rendered page is no image: {error}"));
    let picture = image::load_from_memory_with_format(&raster.png, image::ImageFormat::Png).map_err(broken)?;
    let scale = raster.dpi / 72.0;
    let pixel = |points: f32, limit: u32| ((points * scale).max(0.0) as u32).min(limit);
    let (left, top) = (pixel(bbox.left, picture.width()), pixel(bbox.top, picture.height()));
    let (width, height) = (pixel(bbox.right, picture.width()) - left, pixel(bbox.bottom, picture.height()) - top);
    if width < 8 || height < 8 {
        return Ok(None);
    }
    let cut = picture.view(left, top, width, height).to_image();
    let mut png = std::io::Cursor::new(Vec::new());
    image::DynamicImage::from(cut).to_luma8().write_to(&mut png, image::ImageFormat::Png).map_err(broken)?;
    let cut = Raster {
        png: png.into_inner().into(),
        width_px: width,
        height_px: height,
        page_width: width as f32 / scale,
        page_height: height as f32 / scale,
        ..raster.clone()
    };
    Ok(Some((cut, (left as f32 / scale, top as f32 / scale))))
}

/// A line found in a cut, in the page's coordinates.
fn moved(mut line: Line, (x, y): (f32, f32)) -> Line {
    let shift =
        |bbox: Bbox| Bbox { left: bbox.left + x, top: bbox.top + y, right: bbox.right + x, bottom: bbox.bottom + y };
    line.bbox = shift(line.bbox);
    line.polygon = line.polygon.map(|corners| corners.map(|[px, py]| [px + x, py + y]));
    for word in &mut line.words {
        word.bbox = shift(word.bbox);
    }
    line
}
