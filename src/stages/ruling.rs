//! Ruled lines of a page that is only a picture: what its tables are found by.

use super::compute;
use crate::{
    decode::Raster,
    document::Bbox,
    error::Result,
    pixmap::{Pixmap, rules},
};

/// The ruled lines of a page's picture in points, and the processor time it took.
///
/// # Errors
/// A defect when the picture is not as the decoders make it.
pub async fn of_picture(raster: &Raster) -> Result<(Vec<Bbox>, i64)> {
    let raster = raster.clone();
    let (found, cpu_us) = compute(move || -> Result<Vec<Bbox>> {
        let pixels = u64::from(raster.width_px) * u64::from(raster.height_px);
        let picture = Pixmap::from_png(&raster.png, pixels)?.into_grey();
        Ok(points(&rules::find(&picture, raster.dpi), raster.dpi))
    })
    .await?;
    Ok((found?, cpu_us))
}

fn points(rules: &[rules::Rule], dpi: f32) -> Vec<Bbox> {
    let point = |pixels: u32| pixels as f32 * 72.0 / dpi;
    rules
        .iter()
        .map(|r| Bbox { left: point(r.left), top: point(r.top), right: point(r.right), bottom: point(r.bottom) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_in_points() {
        let rule = rules::Rule { left: 100, top: 50, right: 300, bottom: 52 };
        assert_eq!(points(&[rule], 144.0), [Bbox { left: 50.0, top: 25.0, right: 150.0, bottom: 26.0 }]);
    }
}
