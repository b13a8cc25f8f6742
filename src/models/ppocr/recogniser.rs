//! The recogniser's network: which characters stand on the picture of a line?

use std::path::Path;

use anyhow::Context as _;
use ort::{session::Session, value::TensorRef};

use super::{
    ctc::{Column, Dictionary},
    pixels,
};
use crate::inference::{Model, Size, onnx::Runtime};
use deckle_contract::error::{Failure, Result};
use deckle_imaging::{Channels, Pixmap};

/// Height of the pictures that the network reads.
pub(super) const HEIGHT: u32 = 48;
/// Pixels of width that make one column of the answer.
pub(super) const PIXELS_PER_COLUMN: u32 = 8;
/// Wider lines are squeezed to this: 67 times as wide as high is no line of text, and memory is bounded.
pub(super) const WIDEST: u32 = 3200;

/// One session of the network that reads lines.
pub(super) struct Recogniser {
    session: Session,
    classes: usize,
    /// The classes of ASCII's letters, digits and punctuation.
    plain: Vec<u32>,
    /// The input, kept between runs.
    input: Vec<f32>,
}

impl Recogniser {
    /// Loads the network with its dictionary, and runs it once.
    pub(super) fn load(runtime: &Runtime, model: &Path) -> anyhow::Result<(Self, Dictionary)> {
        let session = runtime.session(model)?;
        let lines = session.metadata().ok().and_then(|metadata| metadata.custom("character"));
        let dictionary = Dictionary::new(&lines.context("the recogniser's file holds no dictionary")?);
        let (classes, plain) = (dictionary.classes(), dictionary.plain());
        let mut recogniser = Self { session, classes, plain, input: Vec::new() };
        recogniser.run(&[Pixmap::white(HEIGHT, HEIGHT, Channels::Grey)]).context("the first run failed")?;
        Ok((recogniser, dictionary))
    }
}

impl Model for Recogniser {
    type Input = Pixmap;
    /// The best classes of each column: the others, a thousand floats a column, are not worth carrying to the caller.
    type Output = Vec<Column>;

    fn size(line: &Pixmap) -> Size {
        Size::line(line.width, line.pixels.len())
    }

    fn run(&mut self, batch: &[Pixmap]) -> Result<Vec<Vec<Column>>> {
        let failed = |error: ort::Error| Failure::defect(format!("the text recogniser failed: {error}"));
        let width = batch.iter().map(|line| Self::size(line).length as usize).max().unwrap_or(0);
        let height = HEIGHT as usize;
        self.input.clear();
        self.input.resize(batch.len() * 3 * height * width, 0.0);
        for (line, planes) in batch.iter().zip(self.input.chunks_exact_mut((3 * height * width).max(1))) {
            pixels::fill(line, planes, width);
        }
        let shape = [batch.len(), 3, height, width];
        let input = TensorRef::from_array_view((shape, &*self.input)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs! { "x" => input }).map_err(failed)?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        let columns = width / PIXELS_PER_COLUMN as usize;
        if values.len() != batch.len() * columns * self.classes {
            return Err(Failure::defect(format!("the text recogniser gave {} values", values.len())));
        }
        let lines = batch.iter().zip(values.chunks_exact((columns * self.classes).max(1)));
        // Columns right of the line saw padding alone.
        let own = |line: &Pixmap| line.width.div_ceil(PIXELS_PER_COLUMN) as usize;
        let read = |values| Column {
            best: best(values, 0..self.classes as u32),
            plain: best(values, self.plain.iter().copied()),
        };
        Ok(lines.map(|(line, values)| values.chunks_exact(self.classes).take(own(line)).map(read).collect()).collect())
    }
}

/// Of some classes, the one with the highest probability.
fn best(probabilities: &[f32], classes: impl Iterator<Item = u32>) -> (u32, f32) {
    let likely = classes.map(|class| (class, probabilities[class as usize]));
    likely.fold((0, 0.0), |best, next| if next.1 > best.1 { next } else { best })
}
