//! Optical character recognition with PP-OCR: a network that finds lines of text, and one that reads them.
//!
//! ```text
//! picture ─► detector ─► map ─► boxes ─► crops, 48 pixels high ─► recogniser ─► columns ─► characters ─► words, lines
//! ```
//!
//! The law: lines of all pages and documents meet in one batcher of each network, and nothing but the networks runs on
//! their threads. Everything between them is pure.

mod boxes;
pub mod coverage;
mod ctc;
mod detector;
mod ink;
mod lines;
mod pixels;
mod quotes;
mod recogniser;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use futures::future::try_join_all;

use self::{
    boxes::boxes,
    coverage::{DETECTOR, Letters, Script},
    ctc::Dictionary,
    detector::Detector,
    lines::Place,
    recogniser::Recogniser,
};
use super::{Catalogue, on_demand::OnDemand};
use crate::{
    computing::{compute, micros},
    inference::{
        self, Answer, Model, Pool, Precision, Provider, Report, Stats, Tag,
        onnx::Runtime,
        plan::{Batching, Plan},
    },
};
use deckle_contract::{
    document::Line,
    error::{Failure, Result},
    record::Lane,
};
use deckle_imaging::{Pixmap, Quad};

/// The family's name in the catalogue.
pub const FAMILY: &str = "ppocr";

/// The file of a network.
const WEIGHTS: &str = "model.onnx";

/// The longest side at which the detector reads a page. At 736 it loses small print; 1280 costs a tenth more time and
/// finds nothing more.
const LONGEST: u32 = 960;

/// The networks of this process, each loaded once and only when somebody asks. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    provider: OnDemand<Provider>,
    detector: OnDemand<Arc<Sessions<Detector>>>,
    latin: OnDemand<Arc<Recognition>>,
    east_asian: OnDemand<Arc<Recognition>>,
}

impl Readers {
    /// Loads from `folder` when asked for the first time.
    pub fn new(folder: PathBuf, config: inference::Config) -> Self {
        let recogniser = |script| {
            let (folder, config) = (folder.clone(), config.clone());
            OnDemand::new(move || Recognition::load(&folder, script, &config).map(Arc::new))
        };
        let (latin, east_asian) = (recogniser(Script::Latin), recogniser(Script::EastAsian));
        let of_provider = config.clone();
        Self {
            provider: OnDemand::new(move || Ok(Runtime::load(&of_provider)?.plan().provider)),
            detector: OnDemand::new(move || Sessions::detector(&folder, &config).map(Arc::new)),
            latin,
            east_asian,
        }
    }

    /// Whether a GPU or OpenVINO runs the networks, and not ONNX Runtime's own code.
    ///
    /// # Errors
    /// `Unavailable` when ONNX Runtime cannot be loaded as the settings ask.
    pub async fn is_fast(&self) -> Result<bool> {
        Ok(self.provider.get().await? != Provider::Cpu)
    }

    /// What reads a script; the first call loads it, which takes about a second.
    ///
    /// # Errors
    /// `Unavailable` when weights or library are missing or altered.
    pub async fn get(&self, script: Script) -> Result<Reader> {
        let recogniser = match script {
            Script::Latin => &self.latin,
            Script::EastAsian => &self.east_asian,
        };
        Ok(Reader { detector: self.detector.get().await?, recogniser: recogniser.get().await? })
    }
}

/// Finds and reads the text on pictures. Cheap to clone: clones share the sessions.
#[derive(Clone)]
pub struct Reader {
    detector: Arc<Sessions<Detector>>,
    recogniser: Arc<Recognition>,
}

/// The recogniser of a script.
struct Recognition {
    sessions: Sessions<Recogniser>,
    dictionary: Dictionary,
}

/// The lines that were read on a page, and the processor time that it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Lines with boxes in points.
    pub lines: Vec<Line>,
    /// Processor time of everything, and this page's share of its batches' (not on a GPU).
    pub cpu_us: i64,
    /// This page's share of the accelerator time of its batches.
    pub gpu_us: i64,
}

impl Reader {
    /// Reads an upright picture of so many pixels an inch, batched with whatever else is read at the same time. The
    /// languages (BCP 47) tell which accents to believe.
    ///
    /// # Errors
    /// A defect when a network fails.
    pub async fn read(
        &self,
        picture: Arc<Pixmap>,
        dpi: f32,
        languages: &[String],
        lane: Lane,
        tag: Tag,
    ) -> Result<Reading> {
        let mut cost = Cost::default();
        let quads = self.detect(&picture, lane, &tag, &mut cost).await?;
        let cutting = Arc::clone(&picture);
        let cut = move || -> Result<Vec<Vec<(Place, Pixmap)>>> {
            let ways = quads.into_iter().map(lines::ways);
            ways.map(|ways| ways.into_iter().map(|quad| lines::cut(&cutting, quad)).collect()).collect()
        };
        let cuts = cost.computing(cut).await??;
        let asked = cuts.into_iter().map(|ways| {
            try_join_all(ways.into_iter().map(async |(place, line)| {
                let answer = self.recogniser.sessions.pool.ask(line, lane, Tag::clone(&tag)).await?;
                Ok::<_, Failure>((place, answer))
            }))
        });
        let answers = try_join_all(asked).await?;
        let letters = Letters::of(languages);
        let mut lines = Vec::with_capacity(answers.len());
        for ways in answers {
            let mut best = (0.0, None);
            for (place, answer) in ways {
                self.recogniser.sessions.count(&mut cost, &answer);
                let characters = ctc::characters(&answer.output, &self.recogniser.dictionary, &letters);
                let confidence = lines::confidence(&characters);
                if confidence > best.0 {
                    best = (confidence, Some((place, characters)));
                }
            }
            if let (_, Some((place, characters))) = best {
                lines.extend(lines::line(&characters, &place, (picture.width, picture.height), dpi));
            }
        }
        quotes::curl(&mut lines);
        Ok(Reading { lines, cpu_us: cost.cpu_us, gpu_us: cost.gpu_us })
    }

    /// Where lines are, in pixels of the picture.
    async fn detect(&self, picture: &Arc<Pixmap>, lane: Lane, tag: &Tag, cost: &mut Cost) -> Result<Vec<Quad>> {
        if picture.width == 0 || picture.height == 0 {
            return Ok(Vec::new());
        }
        let (width, height) = detector::size(picture, LONGEST);
        let scaling = Arc::clone(picture);
        let scaled = cost.computing(move || scaling.resized(width, height)).await??;
        let answer = self.detector.pool.ask(scaled, lane, Tag::clone(tag)).await?;
        self.detector.count(cost, &answer);
        let map = answer.output;
        let boxes = cost.computing(move || boxes(&map)).await?;
        let (across, down) = (picture.width as f32 / width as f32, picture.height as f32 / height as f32);
        Ok(boxes.iter().map(|found| found.corners().map(|[x, y]| [x * across, y * down])).collect())
    }

    /// Names and hashes of the weights, the detector's first, and what runs them, such as `openvino bf16`.
    pub fn weights(&self) -> [(&str, &str); 2] {
        [&self.detector.weights, &self.recogniser.sessions.weights]
            .map(|(name, sha256)| (name.as_str(), sha256.as_str()))
    }

    /// What runs the networks and how it counts, such as `openvino bf16`.
    pub fn provider(&self) -> &str {
        &self.recogniser.sessions.provider
    }

    /// What the recogniser's sessions have done.
    pub fn stats(&self) -> Stats {
        self.recogniser.sessions.pool.stats()
    }

    /// Calls `observer` for each batch of either network; see [`Pool::observe`].
    pub fn observe(&self, observer: impl Fn(&Report<'_>) + Clone + Send + Sync + 'static) {
        self.detector.pool.observe(observer.clone());
        self.recogniser.sessions.pool.observe(observer);
    }
}

/// The sessions of one network.
struct Sessions<M: Model> {
    pool: Pool<M>,
    /// Name and hash.
    weights: (String, String),
    provider: String,
    on_gpu: bool,
    threads: u32,
}

impl<M: Model> Sessions<M> {
    fn load(
        name: &str,
        folder: &Path,
        config: &inference::Config,
        batching: fn(&Plan) -> Batching,
        load: impl Fn(&Runtime, &Path) -> anyhow::Result<M> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let catalogue = Catalogue::load();
        let entry = catalogue.named(name)?;
        entry.check(folder)?;
        let runtime = Runtime::load(config)?;
        let plan = *runtime.plan();
        let path = folder.join(name).join(WEIGHTS);
        let pool = Pool::new(name, plan.sessions, config.batching(batching(&plan)), move |_| {
            load(&runtime, &path).map_err(|error| Failure::defect(format!("{error:#}")))
        })?;
        tracing::info!(model = name, provider = %plan, sessions = plan.sessions, threads = plan.threads, "ocr ready");
        Ok(Self {
            pool,
            weights: (name.to_owned(), entry.file(WEIGHTS)?.sha256.clone()),
            provider: plan.to_string(),
            on_gpu: plan.provider == Provider::Cuda,
            threads: u32::try_from(plan.threads).unwrap_or(u32::MAX),
        })
    }

    fn count<T>(&self, cost: &mut Cost, answer: &Answer<T>) {
        if self.on_gpu {
            cost.gpu_us += micros(answer.busy);
        } else {
            cost.cpu_us += micros(answer.cpu * self.threads);
        }
    }
}

impl Sessions<Detector> {
    fn detector(folder: &Path, config: &inference::Config) -> anyhow::Result<Self> {
        Self::load(DETECTOR, folder, config, Plan::pages, Detector::load)
    }
}

impl Recognition {
    fn load(folder: &Path, script: Script, config: &inference::Config) -> anyhow::Result<Self> {
        let read = Arc::new(OnceLock::new());
        let found = Arc::clone(&read);
        let load = move |runtime: &Runtime, path: &Path| {
            let (recogniser, dictionary) = Recogniser::load(runtime, path)?;
            found.get_or_init(|| dictionary);
            Ok(recogniser)
        };
        let plan = *Runtime::load(config)?.plan();
        let name = script.recogniser(plan.int8);
        let mut sessions = Sessions::load(name, folder, config, Plan::lines, load)?;
        if name != script.recogniser(false) {
            sessions.provider = format!("{} {}", plan.provider, Precision::Int8);
        }
        let dictionary = read.get().cloned().context("no session was loaded")?;
        Ok(Self { sessions, dictionary })
    }
}

/// The processor and accelerator time that a page takes, µs.
#[derive(Debug, Default)]
struct Cost {
    cpu_us: i64,
    gpu_us: i64,
}

impl Cost {
    /// Runs a closure off the async threads.
    async fn computing<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (value, cpu_us) = compute(work).await?;
        self.cpu_us += cpu_us;
        Ok(value)
    }
}
