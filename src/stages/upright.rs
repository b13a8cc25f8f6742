//! Turns the picture of a page upright and lays its lines level, before it is kept and read.
//!
//! The law: what comes out is the page that all boxes refer to. Where nothing had to be done, the picture stays byte for
//! byte what it was.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::OnceCell;

use super::compute;
use crate::{
    decode::Raster,
    error::{Failure, Result},
    inference::{self, Tag},
    models::orientation::{Crops, Orientation},
    pixmap::Pixmap,
    record::Lane,
};

/// Slopes below this stay, in degrees: readers of lines do not mind them, and levelling blurs a little.
const LEAST_SKEW: f32 = 0.3;

/// Stands pages upright. The model is loaded when the first page comes; clones share it.
#[derive(Clone)]
pub struct Upright {
    shared: Arc<Shared>,
}

struct Shared {
    models_folder: PathBuf,
    inference: inference::Config,
    model: OnceCell<Orientation>,
}

/// A page that stands upright and level.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The picture as it is kept; its `rotation` is the sum of all turns, its page size that of the upright page.
    pub raster: Raster,
    /// The same picture, decoded.
    pub picture: Arc<Pixmap>,
    /// Degrees by which its lines sloped downwards to the right, now levelled; 0 when they were left as they were.
    pub skew: f32,
    /// How sure the model is of the turn; 0 to 1.
    pub confidence: f32,
    /// Processor time that all of this took, in microseconds.
    pub cpu_us: i64,
}

impl Upright {
    /// Takes the model from `models_folder` when it is first needed.
    pub fn new(models_folder: PathBuf, inference: inference::Config) -> Self {
        Self { shared: Arc::new(Shared { models_folder, inference, model: OnceCell::new() }) }
    }

    /// Name and hash of the model's weights, once it is loaded.
    pub fn model(&self) -> Option<(&str, &str)> {
        self.shared.model.get().map(|model| (model.name(), model.weights_sha256()))
    }

    /// Turns and levels a rendering of at most `max_pixels`.
    ///
    /// # Errors
    /// `Unavailable` when the model cannot be loaded; a defect when the rendering is no PNG.
    pub async fn stand(&self, raster: Raster, max_pixels: u64, lane: Lane, tag: Tag) -> Result<Standing> {
        let model = self.loaded().await?;
        let png = raster.png.clone();
        let (prepared, decoding) = compute(move || {
            let picture = Pixmap::from_png(&png, max_pixels)?;
            let crops = Crops::of(&picture)?;
            Ok::<_, Failure>((picture, crops))
        })
        .await?;
        let (picture, crops) = prepared?;
        let (turned, classifying) = model.of(crops, lane, tag).await?;
        let (standing, turning) = compute(move || stood(raster, picture, turned.quarters)).await?;
        let cpu_us = decoding + classifying + turning;
        Ok(Standing { confidence: turned.confidence, cpu_us, ..standing? })
    }

    async fn loaded(&self) -> Result<&Orientation> {
        let load = || async {
            let shared = Arc::clone(&self.shared);
            let loaded =
                tokio::task::spawn_blocking(move || Orientation::load(&shared.models_folder, &shared.inference)).await;
            let loaded = loaded.map_err(|error| Failure::defect(format!("loading the model did not end: {error}")))?;
            loaded.map_err(|error| Failure::unavailable("model", format!("{error:#}")))
        };
        self.shared.model.get_or_try_init(load).await
    }
}

/// Undoes quarter turns and slope, and encodes again what changed.
fn stood(mut raster: Raster, mut picture: Pixmap, quarters: u16) -> Result<Standing> {
    let undo = (4 - quarters % 4) % 4;
    if undo != 0 {
        picture = picture.turned(undo);
        raster.rotation = (raster.rotation + undo * 90) % 360;
        if undo % 2 == 1 {
            std::mem::swap(&mut raster.page_width, &mut raster.page_height);
        }
    }
    let skew = Some(picture.skew()).filter(|skew| skew.abs() >= LEAST_SKEW).unwrap_or(0.0);
    if skew != 0.0 {
        let level = picture.levelled(skew);
        // The page grows with its picture.
        raster.page_width *= level.width as f32 / picture.width as f32;
        raster.page_height *= level.height as f32 / picture.height as f32;
        picture = level;
    }
    if undo != 0 || skew != 0.0 {
        raster.png = picture.to_png()?.into();
        (raster.width_px, raster.height_px) = (picture.width, picture.height);
    }
    Ok(Standing { raster, picture: Arc::new(picture), skew, confidence: 0.0, cpu_us: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixmap::Channels;

    fn raster(picture: &Pixmap) -> Raster {
        Raster {
            png: picture.to_png().unwrap().into(),
            dpi: 144.0,
            width_px: picture.width,
            height_px: picture.height,
            page_width: picture.width as f32 / 2.0,
            page_height: picture.height as f32 / 2.0,
            rotation: 90,
        }
    }

    /// Lines of text as bars, sloping downwards to the right.
    fn page(slope: f32) -> Pixmap {
        let mut page = Pixmap::white(600, 800, Channels::Grey);
        for y in 0..800usize {
            for x in 60..540usize {
                let row = (y as f32 - x as f32 * slope.to_radians().tan()).rem_euclid(20.0);
                if row < 8.0 && x % 7 < 4 && (60..740).contains(&y) {
                    page.pixels[y * 600 + x] = 0;
                }
            }
        }
        page
    }

    #[test]
    fn what_stands_already_stays_byte_for_byte() {
        let (page, before) = (page(0.0), raster(&page(0.0)));
        let standing = stood(before.clone(), page, 0).unwrap();
        assert_eq!((standing.raster, standing.skew), (before, 0.0));
    }

    #[test]
    fn turns_add_up_and_swap_the_sides() {
        let page = page(0.0);
        // Turned clockwise once; once more is undone by three on.
        let standing = stood(raster(&page.clone().turned(1)), page.clone().turned(1), 1).unwrap();
        assert_eq!(*standing.picture, page);
        assert_eq!(standing.raster.rotation, 0);
        assert_eq!((standing.raster.page_width, standing.raster.page_height), (300.0, 400.0));
        assert_eq!(Pixmap::from_png(&standing.raster.png, u64::MAX).unwrap(), page);
    }

    #[test]
    fn a_sloping_page_is_levelled_and_grows_with_its_picture() {
        let page = page(2.0);
        let standing = stood(raster(&page), page, 0).unwrap();
        assert!((standing.skew - 2.0).abs() <= 0.1, "{}", standing.skew);
        assert!(standing.picture.skew().abs() <= 0.1);
        assert!((standing.raster.page_width * 2.0 - standing.picture.width as f32).abs() < 1.0);
        assert_eq!(standing.raster.width_px, standing.picture.width);
    }
}
