//! Which of a file's images count as pictures, by their share of the page.

use deckle_contract::document::Page;

/// Below this share of the page an image is an ornament.
pub(super) const LEAST_SHARE: f32 = 0.004;
/// Above this share an image is the page itself: a scan, or a background.
pub(super) const WHOLE_SHARE: f32 = 0.7;

/// Whether the file has images on the page that are neither ornaments nor the page itself.
pub(super) fn has_images(page: &Page) -> bool {
    let area = page.width * page.height;
    page.images.iter().any(|image| image.area() >= area * LEAST_SHARE && image.area() < area * WHOLE_SHARE)
}
