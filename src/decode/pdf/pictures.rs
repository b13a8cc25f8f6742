//! The pictures of a page, before it is drawn: whether they are within the limits, and what they ask of the drawing.

use super::{
    View,
    geometry::Matrix,
    library::{Object, ObjectKind, PdfPage},
    objects::{DEEPEST_FORM, MOST_OBJECTS},
};
use crate::Config;
use deckle_contract::{
    document::Bbox,
    error::{Failure, Result, code},
};
use deckle_imaging::Pixmap;

/// A picture of this share of the page or more is worth its colours; smaller ones are ornaments.
const FIGURE: f32 = 0.01;

/// A picture of this share of the page is the page: a scan, which is read and not shown, so grey is enough.
const WHOLE_PAGE: f32 = 0.9;

/// A picture of this share of the page decides its resolution.
const MAIN: f32 = 0.5;

/// The finest resolution that a picture can ask for; what recognisers are given by custom at most, not measured here.
const FINEST_DPI: f32 = 300.0;

/// A picture where it stands.
pub(super) struct Placed {
    /// On the upright page.
    pub bbox: Bbox,
    /// Its own pixels.
    pub width: u32,
    /// Its own pixels.
    pub height: u32,
}

/// All pictures of a page, also those inside forms. Nothing is decoded.
pub(super) fn of(page: &PdfPage<'_>, view: &View) -> Vec<Placed> {
    let mut walk = Walk { page, view, objects: 0, found: Vec::new() };
    walk.through(page.objects().collect(), &Matrix::IDENTITY, 0);
    walk.found
}

struct Walk<'a, 'p> {
    page: &'p PdfPage<'p>,
    view: &'a View,
    objects: usize,
    found: Vec<Placed>,
}

impl<'p> Walk<'_, 'p> {
    fn through(&mut self, objects: Vec<Object<'p>>, outer: &Matrix, depth: u8) {
        for object in objects {
            self.objects += 1;
            if self.objects > MOST_OBJECTS {
                return;
            }
            match self.page.kind(object) {
                ObjectKind::Image => {
                    let bbox = self.page.bounds(object).and_then(|bounds| self.view.bbox(outer.apply(bounds)));
                    // Also one that lies outside: it is decoded when the page is drawn.
                    let bbox = bbox.unwrap_or(Bbox { left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 });
                    let size = self.page.pixel_size(object);
                    self.found.extend(size.map(|(width, height)| Placed { bbox, width, height }));
                }
                ObjectKind::Form if depth < DEEPEST_FORM => {
                    let inner = self.page.matrix(object).then(outer);
                    self.through(self.page.objects_in(object).collect(), &inner, depth + 1);
                }
                _ => {}
            }
        }
    }
}

/// Refuses a page with a picture that has too many pixels: drawing it at any size would decode them all.
///
/// # Errors
/// `limit.pixels`.
pub(super) fn within(pictures: &[Placed], page_no: u32, config: &Config) -> Result<()> {
    let limit = config.max_source_pixels;
    let too_large = |picture: &&Placed| u64::from(picture.width) * u64::from(picture.height) > limit;
    match pictures.iter().find(too_large) {
        None => Ok(()),
        Some(Placed { width, height, .. }) => Err(Failure::rejected(
            code::LIMIT_PIXELS,
            format!(
                "page {page_no} holds a picture of {width} × {height} pixels; {limit} are allowed \
                 (decode.max_source_pixels)"
            ),
        )),
    }
}

/// The resolution for a page: `usual`, or that of the picture which is most of the page, where it is finer.
pub(super) fn dpi(pictures: &[Placed], page_area: f32, usual: f32) -> f32 {
    let main = pictures.iter().filter(|picture| picture.bbox.area() >= MAIN * page_area);
    let own = |picture: &Placed| {
        let square_inches = picture.bbox.area() / (72.0 * 72.0);
        (picture.width as f32 * picture.height as f32 / square_inches).sqrt()
    };
    let finest = main.map(own).fold(0.0, f32::max).min(FINEST_DPI);
    usual.max(finest)
}

/// The pictures that may be worth drawing in colour: figures, and not the page itself.
pub(super) fn figures(pictures: &[Placed], page_area: f32) -> Vec<Bbox> {
    let share = |bbox: &Bbox| bbox.area() / page_area;
    let boxes = pictures.iter().map(|picture| picture.bbox);
    boxes.filter(|bbox| (FIGURE..WHOLE_PAGE).contains(&share(bbox))).collect()
}

/// Whether any of these parts of a page drawn in colour shows some.
pub(super) fn any_colourful(drawn: &Pixmap, boxes: &[Bbox], dpi: f32) -> bool {
    let pixel = |points: f32| (points.max(0.0) * dpi / 72.0) as u32;
    boxes.iter().any(|bbox| {
        let (left, top) = (pixel(bbox.left), pixel(bbox.top));
        drawn.cut(left, top, pixel(bbox.right) - left, pixel(bbox.bottom) - top).is_colourful()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(share: f32, side: u32) -> Placed {
        // Of a page of 720 × 720 points.
        Placed { bbox: Bbox { left: 0.0, top: 0.0, right: 720.0, bottom: 720.0 * share }, width: side, height: side }
    }

    const PAGE: f32 = 720.0 * 720.0;

    #[test]
    fn the_picture_that_is_the_page_decides_its_resolution() {
        assert_eq!(dpi(&[], PAGE, 200.0), 200.0);
        assert_eq!(dpi(&[placed(1.0, 2500)], PAGE, 200.0), 250.0);
        assert_eq!(dpi(&[placed(1.0, 6000)], PAGE, 200.0), 300.0, "no finer than recognition needs");
        assert_eq!(dpi(&[placed(1.0, 1000)], PAGE, 200.0), 200.0, "no coarser than usual");
        assert_eq!(dpi(&[placed(0.3, 2500)], PAGE, 200.0), 200.0, "a figure does not decide");
    }

    #[test]
    fn figures_are_neither_ornaments_nor_the_page() {
        let shares = [0.005, 0.02, 0.5, 0.95];
        let found = figures(&shares.map(|share| placed(share, 10)), PAGE);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_page_with_too_large_a_picture_is_refused_wherever_it_lies() {
        let config = Config { max_source_pixels: 1_000_000, ..Config::default() };
        assert!(within(&[placed(1.0, 1000)], 3, &config).is_ok());
        let failure = within(&[placed(0.0, 1000), placed(0.0, 1001)], 3, &config).unwrap_err();
        assert_eq!(failure.code(), code::LIMIT_PIXELS);
        assert!(failure.to_string().contains("page 3 holds a picture of 1001 × 1001 pixels"), "{failure}");
    }
}
