//! ocr: reads one page, from its text layer where that is good, by recognition where it is not.
//!
//! The law: a page is rendered at most once, and what was decided stands in the page itself.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Meter, Output, Parts, Stage};
use crate::files::Files;
use deckle_blob::{Blobs, claim_check};
use deckle_contract::{
    document::{Bbox, Line, Method, Page},
    error::{Failure, Result},
    record::{Event, OcrMode, PageRead, PageSplit, Source, wire::Headers},
};
use deckle_decode::{
    Decoders, File, PageImage,
    text_layer::{self, Decision},
};
use deckle_imaging::Pixmap;
use deckle_models::{Tag, computing::compute};
use deckle_recognition::{
    engine::{Engines, Picture as ToRead, Recognised},
    ligatures, ruling_lines,
    upright::Upright,
};
use deckle_seal::{Keyring, Password};
use deckle_structure::layout;

/// The stage's name.
pub const NAME: &str = "ocr";

/// Parts of a page that are read at once: enough to fill a batch with their lines, few enough that a page of a hundred
/// pictures leaves room for others.
const PARTS: usize = 8;

/// The stage that reads the text of one page.
pub struct Ocr {
    blobs: Arc<dyn Blobs>,
    decoders: Decoders,
    engines: Engines,
    upright: Upright,
    files: Arc<Files>,
    keyring: Arc<Keyring>,
    config_hash: String,
    max_pixels: u64,
    concurrency: usize,
}

impl Ocr {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        let settings = &parts.settings;
        Self {
            blobs: Arc::clone(&parts.blobs),
            decoders: parts.decoders.clone(),
            engines: Engines::new(parts.decoders.clone(), parts.readers.clone(), settings.ocr.clone()),
            upright: parts.upright.clone(),
            files: Arc::clone(&parts.files),
            keyring: Arc::clone(&parts.keyring),
            config_hash: settings.config_hash.clone(),
            max_pixels: settings.max_pixels,
            concurrency: settings.children * 2,
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
        let Read { page, refused } = self.read(&mut meter, &split).await?;
        meter.decided(&page.decision, &page.signals);
        let mut envelope = split.envelope.caused(PageRead::TOPIC, &split.page_no.to_string());
        let blob = claim_check::put_json(&*self.blobs, &envelope, &page).await?;
        envelope.trail.push(meter.finish());
        let read = PageRead {
            envelope,
            source: split.source,
            page_no: split.page_no,
            page_count: split.page_count,
            facts: split.facts,
            page: Some(blob),
            reason: refused.map(|failure| failure.reason(NAME, Some(split.page_no))),
        };
        Ok(vec![Output::new(NAME, &read)?])
    }

    fn on_failure(&self, headers: &Headers, input: Option<&PageSplit>, failure: &Failure) -> Result<Vec<Output>> {
        let page_no = input.map_or(headers.page_no.unwrap_or(0), |input| input.page_no);
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let read = PageRead {
            envelope: cause.caused(PageRead::TOPIC, &page_no.to_string()),
            source: input.map_or_else(Source::unknown, |input| input.source.clone()),
            page_no,
            page_count: input.map_or(headers.page_count.unwrap_or(0), |input| input.page_count),
            facts: input.and_then(|input| input.facts.clone()),
            page: None,
            reason: Some(failure.reason(NAME, Some(page_no))),
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

/// The picture of a page as it is kept, and decoded.
struct Picture {
    raster: PageImage,
    pixmap: Arc<Pixmap>,
}

impl Picture {
    /// The whole of it, to be read.
    fn whole(&self) -> ToRead {
        let PageImage { png, dpi, .. } = &self.raster;
        ToRead { pixmap: Arc::clone(&self.pixmap), dpi: *dpi, png: Some(png.clone()) }
    }
}

/// A page that was read, perhaps in part.
struct Read {
    page: Page,
    /// Why the page could not be drawn: what only its picture shows is missing, and nothing of its text layer.
    refused: Option<Failure>,
}

impl From<Page> for Read {
    fn from(page: Page) -> Self {
        Self { page, refused: None }
    }
}

impl Ocr {
    async fn read(&self, meter: &mut Meter, split: &PageSplit) -> Result<Read> {
        let blob = claim_check::source_blob(&split.envelope, &split.source)?;
        let page_no = split.page_no;
        let ask = Ask { file: self.files.get(&blob).await?, split, page_no };
        let password = self.keyring.open(&split.envelope, &split.options)?;
        let password = password.as_ref().map(Password::reveal);
        let content = self.decoders.read_page(&ask.file, &split.source.media_type, page_no, password).await?;
        meter.cpu(content.cpu_us).count(1, 0, 0);
        let content = content.value;
        let decision = match split.options.ocr_mode {
            OcrMode::Auto => text_layer::classify(&content.signals),
            OcrMode::Force => Decision::Ocr("forced"),
            OcrMode::Off => Decision::TextLayer,
        };
        let mut page = content.into_page(page_no);
        page.decision = decision.name().to_owned();
        match decision {
            Decision::Empty => Ok(Page { lines: Vec::new(), ..page }.into()),
            Decision::TextLayer => self.take_text_layer(meter, &ask, page).await,
            Decision::Ocr(_) => Ok(self.recognise_page(meter, &ask, page).await?.into()),
            Decision::TextLayerAndImages(boxes) => self.recognise_images(meter, &ask, page, &boxes).await,
        }
    }

    /// Takes the text layer; renders the page only where there is something to look at.
    async fn take_text_layer(&self, meter: &mut Meter, ask: &Ask<'_>, mut page: Page) -> Result<Read> {
        page.method = Some(Method::TextLayer);
        let doubtful = doubtful(ask, &page);
        if layout::wants_picture(&page) || !doubtful.is_empty() {
            match self.render(meter, ask).await {
                Ok(picture) => {
                    self.keep(ask, &picture, &mut page).await?;
                    self.repair_ligatures(meter, ask, &picture, &mut page, doubtful).await?;
                }
                Err(failure) => return beside_text(page, failure),
            }
        }
        Ok(page.into())
    }

    /// Renders the page once, stands it upright, keeps the picture, and recognises it.
    async fn recognise_page(&self, meter: &mut Meter, ask: &Ask<'_>, mut page: Page) -> Result<Page> {
        let raw = self.render(meter, ask).await?;
        let envelope = &ask.split.envelope;
        let tag = Tag::from(envelope.document_id.as_str());
        let oriented = self.upright.orient(raw.raster, raw.pixmap, envelope.lane, tag).await?;
        meter.cpu(oriented.cpu_us);
        oriented.apply(&mut page);
        let picture = Picture { raster: oriented.raster, pixmap: oriented.picture };
        self.keep(ask, &picture, &mut page).await?;
        let found = self.recognise(ask, picture.whole()).await?;
        count(meter, &found);
        page.lines = found.lines;
        page.method = Some(Method::Ocr);
        let (rules, cpu_us) = ruling_lines::of_picture(Arc::clone(&picture.pixmap), picture.raster.dpi).await?;
        meter.cpu(cpu_us);
        // What the file draws itself may lie elsewhere than in the picture that was read.
        page.drawing.rules = rules;
        Ok(page)
    }

    /// Takes the text layer, and reads the pictures on the page as well.
    async fn recognise_images(&self, meter: &mut Meter, ask: &Ask<'_>, mut page: Page, boxes: &[Bbox]) -> Result<Read> {
        page.method = Some(Method::TextLayer);
        let picture = match self.render(meter, ask).await {
            Ok(picture) => picture,
            Err(failure) => return beside_text(page, failure),
        };
        self.keep(ask, &picture, &mut page).await?;
        let doubtful = doubtful(ask, &page);
        self.repair_ligatures(meter, ask, &picture, &mut page, doubtful).await?;
        page.lines.extend(self.recognise_parts(meter, ask, &picture, boxes.iter().copied()).await?);
        Ok(page.into())
    }

    /// Reads the words of the text layer again whose ligatures may have a wrong meaning, in lines with these boxes.
    async fn repair_ligatures(
        &self,
        meter: &mut Meter,
        ask: &Ask<'_>,
        picture: &Picture,
        page: &mut Page,
        doubtful: Vec<Bbox>,
    ) -> Result<()> {
        let read = match self.recognise_parts(meter, ask, picture, doubtful.into_iter().map(with_margin)).await {
            // Nothing reads the document's languages: its words stay as the file has them.
            Err(Failure::Rejected { .. }) => return Ok(()),
            read => read?,
        };
        let mended = ligatures::repair(&mut page.lines, &read);
        if mended > 0 {
            page.signals.insert("mended_ligatures".to_owned(), mended as f32);
        }
        Ok(())
    }

    /// Recognises what stands in boxes (points) of the page, several at once, so that their lines share batches; returns
    /// the lines in the order of the boxes.
    async fn recognise_parts(
        &self,
        meter: &mut Meter,
        ask: &Ask<'_>,
        picture: &Picture,
        boxes: impl Iterator<Item = Bbox>,
    ) -> Result<Vec<Line>> {
        let parts: Vec<_> = boxes.map(|bbox| self.recognise_part(ask, picture, bbox)).collect();
        let mut parts = stream::iter(parts).buffered(PARTS);
        let mut lines = Vec::new();
        while let Some(found) = parts.try_next().await? {
            if let Some(found) = found {
                count(meter, &found);
                lines.extend(found.lines);
            }
        }
        Ok(lines)
    }

    /// Recognises what stands in a box (points) of the page; `None` where it is too small to hold a letter.
    async fn recognise_part(&self, ask: &Ask<'_>, picture: &Picture, bbox: Bbox) -> Result<Option<Recognised>> {
        let (pixmap, dpi) = (Arc::clone(&picture.pixmap), picture.raster.dpi);
        let (cut, to_cut) = compute(move || cut(&pixmap, dpi, bbox)).await?;
        let Some((pixmap, origin)) = cut else { return Ok(None) };
        let mut found = self.recognise(ask, ToRead { pixmap: Arc::new(pixmap), dpi, png: None }).await?;
        found.cpu_us += to_cut;
        found.lines = found.lines.into_iter().map(|line| moved(line, origin)).collect();
        Ok(Some(found))
    }

    async fn render(&self, meter: &mut Meter, ask: &Ask<'_>) -> Result<Picture> {
        let password = self.keyring.open(&ask.split.envelope, &ask.split.options)?;
        let password = password.as_ref().map(Password::reveal);
        let media_type = &ask.split.source.media_type;
        let rendered = self.decoders.render_page(&ask.file, media_type, ask.page_no, password).await?;
        let raster = rendered.value;
        let (png, max_pixels) = (raster.png.clone(), self.max_pixels);
        let (pixmap, cpu_us) = compute(move || Pixmap::from_png(&png, max_pixels)).await?;
        meter.cpu(rendered.cpu_us + cpu_us);
        Ok(Picture { raster, pixmap: Arc::new(pixmap?) })
    }

    /// Puts the picture into the blob store, for the stages that look at it.
    async fn keep(&self, ask: &Ask<'_>, picture: &Picture, page: &mut Page) -> Result<()> {
        let envelope = &ask.split.envelope;
        let png = picture.raster.png.clone();
        page.image = Some(self.blobs.put(&envelope.tenant, &envelope.document_id, "image/png", png).await?);
        page.dpi = Some(picture.raster.dpi);
        Ok(())
    }

    async fn recognise(&self, ask: &Ask<'_>, picture: ToRead) -> Result<Recognised> {
        let envelope = &ask.split.envelope;
        let tag = Tag::from(envelope.document_id.as_str());
        self.engines.recognise(picture, &ask.split.options.languages, envelope.lane, tag).await
    }
}

/// Counts what an engine took.
fn count(meter: &mut Meter, found: &Recognised) {
    meter.cpu(found.cpu_us).gpu(found.gpu_us).model(&found.engine, found.weights_sha256.as_deref());
}

/// Where ligatures of the text layer may have a wrong meaning; nowhere when pages must not be recognised.
fn doubtful(ask: &Ask<'_>, page: &Page) -> Vec<Bbox> {
    if ask.split.options.ocr_mode == OcrMode::Off { Vec::new() } else { ligatures::doubtful(&page.lines) }
}

/// A line's box with as much around it as a recogniser wants to see.
fn with_margin(bbox: Bbox) -> Bbox {
    let margin = bbox.height() / 2.0;
    Bbox { left: bbox.left - margin, top: bbox.top - margin, right: bbox.right + margin, bottom: bbox.bottom + margin }
}

/// A page whose text is known, and which cannot be drawn: where its picture is refused, as too large or damaged, its
/// text stays.
fn beside_text(page: Page, failure: Failure) -> Result<Read> {
    match failure {
        Failure::Rejected { .. } => Ok(Read { page, refused: Some(failure) }),
        failure => Err(failure),
    }
}

/// Cuts a box (points) out of a picture; returns the corner of the cut in points. `None` for less than 8 pixels a side.
fn cut(pixmap: &Pixmap, dpi: f32, bbox: Bbox) -> Option<(Pixmap, (f32, f32))> {
    let scale = dpi / 72.0;
    let pixel = |points: f32, limit: u32| ((points * scale).max(0.0) as u32).min(limit);
    let (left, top) = (pixel(bbox.left, pixmap.width), pixel(bbox.top, pixmap.height));
    let (right, bottom) = (pixel(bbox.right, pixmap.width), pixel(bbox.bottom, pixmap.height));
    let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
    if width < 8 || height < 8 {
        return None;
    }
    Some((pixmap.cut(left, top, width, height), (left as f32 / scale, top as f32 / scale)))
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
