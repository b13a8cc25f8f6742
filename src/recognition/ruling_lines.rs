//! Ruled lines of a page that is only a picture: what its tables are found by.

use std::sync::Arc;

use deckle_contract::{document::Bbox, error::Result};
use deckle_imaging::{Channels, Pixmap, rules};
use deckle_models::computing::compute;

/// The ruled lines of a page's picture in points, and the processor time it took.
///
/// # Errors
/// A defect when the search panics.
pub async fn of_picture(picture: Arc<Pixmap>, dpi: f32) -> Result<(Vec<Bbox>, i64)> {
    compute(move || {
        let found = match picture.channels {
            Channels::Grey => rules::find(&picture, dpi),
            Channels::Rgb => rules::find(&Pixmap::clone(&picture).into_grey(), dpi),
        };
        points(&found, dpi)
    })
    .await
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
