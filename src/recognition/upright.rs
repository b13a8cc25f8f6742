//! Turns the picture of a page upright and lays its lines level, before it is kept and read.
//!
//! The law: what comes out is the page that all boxes refer to. Where nothing had to be done, the picture stays byte for
//! byte what it was.

use std::sync::Arc;

use deckle_contract::{
    document::{Bbox, Drawing, Page},
    error::Result,
    record::Lane,
};
use deckle_decode::PageImage;
use deckle_imaging::Pixmap;
use deckle_models::{
    Tag,
    computing::compute,
    on_demand::OnDemand,
    orientation::{Crops, Orientation, Turned},
};

/// Slopes below this stay, in degrees: levelling blurs a little. Two pages sloping by 0.12 to 0.4° were read within
/// 0.13 points of character errors of the levelled ones; three pages in columns, sloping by 0.5 to 1.05°, lose their
/// reading order (51 % of characters, not 14 %).
const LEAST_SKEW: f32 = 0.3;

/// Stands pages upright. The model is loaded when the first page comes; clones share it.
#[derive(Clone)]
pub struct Upright {
    model: OnDemand<Orientation>,
}

/// A page that stands upright and level.
#[derive(Debug, Clone)]
pub struct Oriented {
    /// The picture as it is kept; its `rotation` is the sum of all turns, its page size that of the upright page.
    pub raster: PageImage,
    /// The same picture, decoded.
    pub picture: Arc<Pixmap>,
    /// Degrees by which its lines sloped downwards to the right, now levelled; 0 when they were left as they were.
    pub skew: f32,
    /// How sure the model is of the turn; 0 to 1.
    pub confidence: f32,
    /// Processor time that all of this took, in microseconds.
    pub cpu_us: i64,
    moves: Moves,
}

/// Where a place of the page before is on the page now.
#[derive(Debug, Clone, Copy)]
struct Moves {
    /// Quarter turns clockwise that were made.
    quarters: u16,
    /// Size of the page before.
    before: (f32, f32),
    /// Size of the page now.
    after: (f32, f32),
    skew: f32,
}

impl Upright {
    /// Takes the model that tells how a page lies.
    pub fn new(model: OnDemand<Orientation>) -> Self {
        Self { model }
    }

    /// Turns and levels a rendering; `picture` is the same one, decoded.
    ///
    /// # Errors
    /// `Unavailable` when the model cannot be loaded.
    pub async fn orient(&self, raster: PageImage, picture: Arc<Pixmap>, lane: Lane, tag: Tag) -> Result<Oriented> {
        let model = self.model.get().await?;
        let page = Arc::clone(&picture);
        let (crops, preparing) = compute(move || Crops::of(&page)).await?;
        let (turned, classifying) = model.of(crops?, lane, tag).await?;
        let (oriented, turning) = compute(move || oriented_page(raster, picture, turned)).await?;
        Ok(Oriented { cpu_us: preparing + classifying + turning, ..oriented? })
    }
}

impl Oriented {
    /// Makes a page refer to this picture: its size, turns and slope, and the boxes that its file gave.
    pub fn apply(&self, page: &mut Page) {
        (page.width, page.height) = (self.raster.page_width, self.raster.page_height);
        page.rotation = self.raster.rotation;
        page.skew = self.skew;
        page.signals.insert("orientation".to_owned(), self.confidence);
        let Drawing { rules, paths } = &mut page.drawing;
        let links = page.links.iter_mut().map(|link| &mut link.bbox);
        let fields = page.form_fields.iter_mut().map(|field| &mut field.bbox);
        for bbox in page.images.iter_mut().chain(rules).chain(paths).chain(links).chain(fields) {
            *bbox = self.moves.bbox(*bbox);
        }
        if self.moves.quarters != 0 || self.skew != 0.0 {
            page.from_user_space = None;
        }
    }
}

impl Moves {
    /// The box around what a box has become, within the page.
    fn bbox(&self, bbox: Bbox) -> Bbox {
        let (width, height) = self.before;
        let (x, y) = ([bbox.left, bbox.right], [bbox.top, bbox.bottom]);
        let (sin, cos) = self.skew.to_radians().sin_cos();
        let (turned_width, turned_height) = if self.quarters % 2 == 1 { (height, width) } else { (width, height) };
        let corners = x.into_iter().flat_map(|x| y.map(|y| (x, y))).map(|(x, y)| {
            let (x, y) = match self.quarters {
                1 => (height - y, x),
                2 => (width - x, height - y),
                3 => (y, width - x),
                _ => (x, y),
            };
            let (dx, dy) = (x - turned_width / 2.0, y - turned_height / 2.0);
            (dx * cos + dy * sin + self.after.0 / 2.0, dy * cos - dx * sin + self.after.1 / 2.0)
        });
        let nowhere = Bbox { left: f32::MAX, top: f32::MAX, right: 0.0, bottom: 0.0 };
        corners.fold(nowhere, |around, (x, y)| Bbox {
            left: around.left.min(x.max(0.0)),
            top: around.top.min(y.max(0.0)),
            right: around.right.max(x.min(self.after.0)),
            bottom: around.bottom.max(y.min(self.after.1)),
        })
    }
}

/// Undoes quarter turns and slope, and encodes again what changed.
fn oriented_page(mut raster: PageImage, mut picture: Arc<Pixmap>, turned: Turned) -> Result<Oriented> {
    let quarters = (4 - turned.quarters % 4) % 4;
    let before = (raster.page_width, raster.page_height);
    if quarters != 0 {
        picture = Arc::new(Arc::unwrap_or_clone(picture).turned(quarters));
        raster.rotation = (raster.rotation + quarters * 90) % 360;
        if quarters % 2 == 1 {
            std::mem::swap(&mut raster.page_width, &mut raster.page_height);
        }
    }
    let skew = Some(picture.skew()).filter(|skew| skew.abs() >= LEAST_SKEW).unwrap_or(0.0);
    if skew != 0.0 {
        let level = picture.levelled(skew);
        // The page grows with its picture.
        raster.page_width *= level.width as f32 / picture.width as f32;
        raster.page_height *= level.height as f32 / picture.height as f32;
        picture = Arc::new(level);
    }
    if quarters != 0 || skew != 0.0 {
        raster.png = picture.to_png()?.into();
        (raster.width_px, raster.height_px) = (picture.width, picture.height);
    }
    let moves = Moves { quarters, before, after: (raster.page_width, raster.page_height), skew };
    Ok(Oriented { raster, picture, skew, confidence: turned.confidence, cpu_us: 0, moves })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_imaging::Channels;

    fn raster(picture: &Pixmap) -> PageImage {
        PageImage {
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

    fn stood_as(picture: &Pixmap, quarters: u16) -> Oriented {
        oriented_page(raster(picture), Arc::new(picture.clone()), Turned { quarters, confidence: 0.9 }).unwrap()
    }

    #[test]
    fn what_stands_already_stays_byte_for_byte() {
        let page = page(0.0);
        let oriented = stood_as(&page, 0);
        assert_eq!((oriented.raster, oriented.skew), (raster(&page), 0.0));
    }

    #[test]
    fn turns_add_up_and_swap_the_sides() {
        let page = page(0.0);
        // Turned clockwise once; once more is undone by three on.
        let oriented = stood_as(&page.clone().turned(1), 1);
        assert_eq!(*oriented.picture, page);
        assert_eq!(oriented.raster.rotation, 0);
        assert_eq!((oriented.raster.page_width, oriented.raster.page_height), (300.0, 400.0));
        assert_eq!(Pixmap::from_png(&oriented.raster.png, u64::MAX).unwrap(), page);
    }

    #[test]
    fn a_sloping_page_is_levelled_and_grows_with_its_picture() {
        let oriented = stood_as(&page(2.0), 0);
        assert!((oriented.skew - 2.0).abs() <= 0.1, "{}", oriented.skew);
        assert!(oriented.picture.skew().abs() <= 0.1);
        assert!((oriented.raster.page_width * 2.0 - oriented.picture.width as f32).abs() < 1.0);
        assert_eq!(oriented.raster.width_px, oriented.picture.width);
    }

    /// A mark on the page is where the page says, however the page lay.
    #[test]
    fn boxes_of_the_file_go_where_their_ink_goes() {
        for (quarters, slope) in [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (0, 3.0), (3, -3.0)] {
            let mut marked = page(slope).turned(quarters);
            // A square of one tone, in the first third of the stored picture both ways.
            let (left, top) = (marked.width as usize / 3, marked.height as usize / 4);
            for y in top..top + 30 {
                marked.pixels[y * marked.width as usize + left..][..30].fill(128);
            }
            let oriented = stood_as(&marked, quarters);
            let [l, t] = [left, top].map(|pixel| pixel as f32 / 2.0);
            let file = Bbox { left: l, top: t, right: l + 15.0, bottom: t + 15.0 };
            let mut page = Page { images: vec![file], ..Page::default() };
            oriented.apply(&mut page);
            let [bbox] = page.images[..] else { panic!("{:?}", page.images) };
            let centre = |a: f32, b: f32| (a + b) as usize; // two pixels a point
            let (x, y) = (centre(bbox.left, bbox.right), centre(bbox.top, bbox.bottom));
            let tone = oriented.picture.pixels[y * oriented.picture.width as usize + x];
            assert_eq!(tone, 128, "{quarters} {slope}: {bbox:?} of {} × {}", page.width, page.height);
            assert_eq!((page.width, page.skew), (oriented.raster.page_width, oriented.skew));
        }
    }
}
