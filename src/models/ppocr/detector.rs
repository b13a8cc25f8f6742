//! The detector's network: where on a picture is text?

use std::path::Path;

use anyhow::Context as _;
use ort::{session::Session, value::TensorRef};

use super::{boxes::Map, pixels};
use crate::inference::{Model, Size, onnx::Runtime};
use deckle_contract::error::{Failure, Result};
use deckle_imaging::{Channels, Pixmap};

/// Sides must be multiples of this: the network halves them five times.
const STEP: u32 = 32;

/// The size at which the detector reads a picture whose longest side shall be `longest` at most: both sides are
/// multiples of 32, as near to the picture's own shape as can be.
pub(super) fn size(picture: &Pixmap, longest: u32) -> (u32, u32) {
    let scale = (longest as f32 / picture.width.max(picture.height).max(1) as f32).min(1.0);
    let side = |side: u32| ((side as f32 * scale / STEP as f32).round() as u32).max(1) * STEP;
    (side(picture.width), side(picture.height))
}

/// One session of the network that finds lines.
pub(super) struct Detector {
    session: Session,
    /// The input, kept between runs.
    input: Vec<f32>,
}

impl Detector {
    /// Loads the network and runs it once.
    pub(super) fn load(runtime: &Runtime, model: &Path) -> anyhow::Result<Self> {
        let mut detector = Self { session: runtime.session(model)?, input: Vec::new() };
        detector.run(&[Pixmap::white(STEP, STEP, Channels::Grey)]).context("the first run failed")?;
        Ok(detector)
    }
}

impl Model for Detector {
    type Input = Pixmap;
    type Output = Map;

    fn size(picture: &Pixmap) -> Size {
        Size::page(picture.width, picture.height, picture.pixels.len())
    }

    fn run(&mut self, batch: &[Pixmap]) -> Result<Vec<Map>> {
        let failed = |error: ort::Error| Failure::defect(format!("the text detector failed: {error}"));
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let (width, height) = (first.width as usize, first.height as usize);
        self.input.clear();
        self.input.resize(batch.len() * 3 * width * height, 0.0);
        for (picture, planes) in batch.iter().zip(self.input.chunks_exact_mut(3 * width * height)) {
            pixels::fill(picture, planes, width);
        }
        let shape = [batch.len(), 3, height, width];
        let input = TensorRef::from_array_view((shape, &*self.input)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs! { "x" => input }).map_err(failed)?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        if values.len() != batch.len() * width * height {
            return Err(Failure::defect(format!("the text detector gave {} values", values.len())));
        }
        Ok(values.chunks_exact(width * height).map(|map| Map { width, height, values: map.to_vec() }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_multiples_of_32_and_small_pictures_are_not_enlarged() {
        let size = |width, height| size(&Pixmap::white(width, height, Channels::Grey), 960);
        assert_eq!(size(1654, 2339), (672, 960));
        assert_eq!(size(640, 480), (640, 480));
        assert_eq!(size(4000, 10), (960, 32));
        assert_eq!(size(1, 1), (32, 32));
    }
}
