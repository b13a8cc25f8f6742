//! vision: groups the lines of one page into blocks in reading order, and cuts its pictures out.
//!
//! The law: lines are the truth. Rules and models vote on their grouping; no line is ever lost.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Meter, Output, Parts, Stage};
use deckle_blob::{Blobs, claim_check};
use deckle_contract::{
    document::{Bbox, BlockKind, Page},
    error::{Failure, Result},
    record::{Envelope, Event, PageAnalysed, PageRead, Source, wire::Headers},
};
use deckle_imaging::Pixmap;
use deckle_models::{
    computing::compute,
    layout::{Detector, Prepared},
    on_demand::OnDemand,
};
use deckle_structure::layout;

/// The stage's name.
pub const NAME: &str = "vision";
/// A picture with fewer pixels a side shows nothing.
const LEAST_SIDE_PX: u32 = 8;

/// The stage that groups the lines of one page into blocks in reading order.
pub struct Vision {
    blobs: Arc<dyn Blobs>,
    detector: OnDemand<Detector>,
    config_hash: String,
    max_pixels: u64,
}

impl Vision {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            detector: parts.detector.clone(),
            config_hash: parts.settings.config_hash.clone(),
            max_pixels: parts.settings.max_pixels,
        }
    }

    async fn analyse(&self, meter: &mut Meter, envelope: &Envelope, mut page: Page) -> Result<Page> {
        let mut picture = None;
        if page.image.is_some() && layout::asks_model(&page) {
            picture = self.picture(meter, &page).await?;
        }
        if let Some(picture) = &picture {
            self.ask(meter, envelope, &mut page, Arc::clone(picture)).await?;
        }
        let (mut page, cpu_us) = compute(move || {
            layout::analyse(&mut page);
            page
        })
        .await?;
        meter.cpu(cpu_us);
        if page.blocks.iter().any(|block| block.kind == BlockKind::Picture) {
            if picture.is_none() {
                picture = self.picture(meter, &page).await?;
            }
            if let Some(picture) = picture {
                self.cut(meter, envelope, &mut page, picture).await?;
            }
        }
        Ok(page)
    }

    /// The page's rendering, where it has one.
    async fn picture(&self, meter: &mut Meter, page: &Page) -> Result<Option<Arc<Pixmap>>> {
        let Some(image) = &page.image else { return Ok(None) };
        let png = self.blobs.get(image).await?;
        let max_pixels = self.max_pixels;
        let (picture, cpu_us) = compute(move || Pixmap::from_png(&png, max_pixels)).await?;
        meter.cpu(cpu_us);
        Ok(Some(Arc::new(picture?)))
    }

    /// Asks the model what it sees on the page.
    async fn ask(&self, meter: &mut Meter, envelope: &Envelope, page: &mut Page, picture: Arc<Pixmap>) -> Result<()> {
        let detector = self.detector.get().await?;
        let (prepared, cpu_us) = compute(move || Prepared::of(&picture)).await?;
        meter.cpu(cpu_us);
        let (size, tag) = ((page.width, page.height), envelope.document_id.as_str().into());
        let detected = detector.detect(prepared?, size, envelope.lane, tag).await?;
        meter.cpu(detected.cpu_us).gpu(detected.gpu_us).model(detector.name(), Some(detector.weights_sha256()));
        page.regions = detected.regions;
        Ok(())
    }

    /// Cuts the pictures on the page out and keeps them. Cut again, they are the same blobs.
    async fn cut(&self, meter: &mut Meter, envelope: &Envelope, page: &mut Page, picture: Arc<Pixmap>) -> Result<()> {
        let size = (page.width, page.height);
        for block in page.blocks.iter_mut().filter(|block| block.kind == BlockKind::Picture) {
            let Some(bbox) = block.prov.first().and_then(|place| place.bbox) else { continue };
            let picture = Arc::clone(&picture);
            let (png, cpu_us) = compute(move || cut_out(&picture, size, bbox)).await?;
            meter.cpu(cpu_us);
            if let Some(png) = png? {
                let (tenant, document_id) = (&envelope.tenant, &envelope.document_id);
                block.image = Some(self.blobs.put(tenant, document_id, "image/png", png).await?);
            }
        }
        Ok(())
    }
}

/// A box (points, of a page of that size) cut out of the page's picture, as PNG. `None` where it is too small to show
/// anything.
fn cut_out(picture: &Pixmap, (width, height): (f32, f32), bbox: Bbox) -> Result<Option<Bytes>> {
    // Casts of floats saturate, so that nothing lies left of or above the picture.
    let x = |points: f32| (points / width * picture.width as f32).round() as u32;
    let y = |points: f32| (points / height * picture.height as f32).round() as u32;
    let (left, top) = (x(bbox.left), y(bbox.top));
    let (right, bottom) = (x(bbox.right), y(bbox.bottom));
    let cut = picture.cut(left, top, right.saturating_sub(left), bottom.saturating_sub(top));
    if cut.width < LEAST_SIDE_PX || cut.height < LEAST_SIDE_PX {
        return Ok(None);
    }
    Ok(Some(cut.to_png()?.into()))
}

#[async_trait]
impl Stage for Vision {
    type Input = PageRead;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn process(&self, _: &Headers, read: PageRead) -> Result<Vec<Output>> {
        let mut envelope = read.envelope.caused(PageAnalysed::TOPIC, &read.page_no.to_string());
        let page = match &read.page {
            Some(blob) => {
                let mut meter = Meter::start(NAME, &self.config_hash);
                let page: Page = claim_check::get_json(&*self.blobs, blob).await?;
                let page = self.analyse(&mut meter, &envelope, page).await?;
                let blob = claim_check::put_json(&*self.blobs, &envelope, &page).await?;
                meter.count(1, 0, 0);
                envelope.trail.push(meter.finish());
                Some(blob)
            }
            None => None,
        };
        let analysed = PageAnalysed {
            envelope,
            source: read.source,
            page_no: read.page_no,
            page_count: read.page_count,
            page,
            reason: read.reason,
            facts: read.facts,
        };
        Ok(vec![Output::new(NAME, &analysed)?])
    }

    fn on_failure(&self, headers: &Headers, input: Option<&PageRead>, failure: &Failure) -> Result<Vec<Output>> {
        let page_no = input.map_or(headers.page_no.unwrap_or(0), |input| input.page_no);
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let analysed = PageAnalysed {
            envelope: cause.caused(PageAnalysed::TOPIC, &page_no.to_string()),
            source: input.map_or_else(Source::unknown, |input| input.source.clone()),
            page_no,
            page_count: input.map_or(headers.page_count.unwrap_or(0), |input| input.page_count),
            page: None,
            reason: Some(failure.reason(NAME, Some(page_no))),
            facts: input.and_then(|input| input.facts.clone()),
        };
        Ok(vec![Output::new(NAME, &analysed)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_imaging::Channels;

    #[test]
    fn a_box_of_points_is_cut_out_of_pixels() {
        let mut picture = Pixmap::white(200, 100, Channels::Grey);
        picture.pixels[30 * 200 + 40] = 7;
        let bbox = Bbox { left: 20.0, top: 15.0, right: 60.0, bottom: 90.0 };
        let png = cut_out(&picture, (100.0, 50.0), bbox).unwrap().unwrap();
        let cut = Pixmap::from_png(&png, 1_000_000).unwrap();
        assert_eq!((cut.width, cut.height, cut.pixels[0]), (80, 70, 7));
    }

    #[test]
    fn what_lies_beside_the_page_is_no_picture() {
        let picture = Pixmap::white(200, 100, Channels::Grey);
        for bbox in [
            Bbox { left: 300.0, top: 0.0, right: 400.0, bottom: 50.0 },
            Bbox { left: 10.0, top: 10.0, right: 12.0, bottom: 40.0 },
            Bbox { left: 60.0, top: 0.0, right: 20.0, bottom: 50.0 },
        ] {
            assert!(cut_out(&picture, (100.0, 50.0), bbox).unwrap().is_none());
        }
    }
}
