//! Picture files: each is one page, a TIFF or one per picture in it. Every kind has a file here, and a line in
//! [`kinds`].
//!
//! The law: nothing is decoded before its size is known to be within the limits, and no more than
//! `decode.max_pixels` of a picture are kept, grey where it has no colour. Geometry follows the file: points by the
//! resolution that it states, else one pixel is one point.

mod bmp;
mod canvas;
mod exif;
mod gif;
mod heic;
mod jpeg;
mod orientation;
mod png;
mod tiff;
mod webp;
mod whole;

use super::{
    Check, Config, Opened, PageContent,
    format::{DecodeRequest, Format},
    request::RenderedPage,
    text_layer::{Picture, Signals},
};
use deckle_contract::{
    document::Bbox,
    error::{Failure, Result, code},
};
use deckle_imaging::{Channels, Pixmap};
use exif::Geometry;
use orientation::Orientation;

/// Where a file states no resolution.
const UNSTATED_DPI: f32 = 72.0;

/// All kinds, in the order in which messages name them.
fn kinds() -> [Box<dyn Kind>; 7] {
    [
        Box::new(png::Png),
        Box::new(jpeg::Jpeg),
        Box::new(tiff::Tiff),
        Box::new(webp::Webp),
        Box::new(gif::Gif),
        Box::new(bmp::Bmp),
        Box::new(heic::Heic::default()),
    ]
}

/// One kind of picture file. Pages count from 1.
trait Kind {
    /// As `sniff.rs` names it.
    fn media_type(&self) -> &'static str;

    /// What people call it.
    fn name(&self) -> &'static str;

    /// How many pages a file has.
    fn page_count(&mut self, _: &DecodeRequest<'_>) -> Result<u32> {
        Ok(1)
    }

    /// What is known of a page before any pixel is decoded.
    fn header(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<Header>;

    /// The pixels as they are stored, in colour or grey, transparent ones over white; no more than
    /// `decode.max_pixels` of them.
    fn pixels(&mut self, asked: &DecodeRequest<'_>, page_no: u32, header: &Header) -> Result<Pixmap>;

    /// Whether what it needs is in place; `None` when it needs nothing.
    fn check(&mut self, _: &Config) -> Option<Check> {
        None
    }
}

/// What is known of a page before any pixel is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    /// Of the pixels as stored.
    width: u32,
    height: u32,
    /// Pixels per inch.
    dpi: f32,
    orientation: Orientation,
}

impl Header {
    fn new(width: u32, height: u32, Geometry { orientation, dpi }: Geometry) -> Self {
        let orientation = orientation.map(Orientation::from_exif).unwrap_or_default();
        Self { width, height, dpi: dpi.unwrap_or(UNSTATED_DPI), orientation }
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    fn upright_points(&self) -> (f32, f32) {
        let (width, height) = (self.width as f32 * 72.0 / self.dpi, self.height as f32 * 72.0 / self.dpi);
        if self.orientation.swaps() { (height, width) } else { (width, height) }
    }

    /// # Errors
    /// `limit.pixels`, `image.damaged`.
    fn within(self, config: &Config) -> Result<Self> {
        let Self { width, height, .. } = self;
        let limit = config.max_source_pixels;
        if self.pixels() > limit {
            let message =
                format!("the picture has {width} × {height} pixels; {limit} are allowed (decode.max_source_pixels)");
            return Err(Failure::rejected(code::LIMIT_PIXELS, message));
        }
        if self.pixels() == 0 {
            return Err(Failure::rejected(code::IMAGE_DAMAGED, "the picture is damaged: it has no pixels"));
        }
        Ok(self)
    }
}

/// The decoder of a child for all kinds.
pub(crate) struct Decoder {
    kinds: [Box<dyn Kind>; 7],
    media_types: Vec<&'static str>,
    names: Vec<&'static str>,
}

impl Default for Decoder {
    fn default() -> Self {
        let kinds = kinds();
        let media_types = kinds.iter().map(|kind| kind.media_type()).collect();
        let names = kinds.iter().map(|kind| kind.name()).collect();
        Self { kinds, media_types, names }
    }
}

impl Decoder {
    fn kind(&mut self, asked: &DecodeRequest<'_>) -> Result<&mut dyn Kind> {
        let media_type = asked.media_type;
        let kind = self.kinds.iter_mut().find(|kind| kind.media_type() == media_type);
        Ok(&mut **kind.ok_or_else(|| Failure::defect(format!("{media_type} is no kind of picture")))?)
    }
}

impl Format for Decoder {
    fn media_types(&self) -> &[&'static str] {
        &self.media_types
    }

    fn names(&self) -> &[&'static str] {
        &self.names
    }

    fn open(&mut self, asked: &DecodeRequest<'_>) -> Result<Opened> {
        let kind = self.kind(asked)?;
        let page_count = kind.page_count(asked)?;
        if page_count == 1 {
            // The file is refused here; one page of several fails alone when it is read.
            kind.header(asked, 1)?.within(asked.config)?;
        }
        let media_type = asked.media_type.to_owned();
        Ok(Opened { media_type, page_count: Some(page_count), title: None, blocks: Vec::new() })
    }

    /// A page that is all picture.
    fn read_page(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<PageContent> {
        let header = self.kind(asked)?.header(asked, page_no)?.within(asked.config)?;
        let (width, height) = header.upright_points();
        let bbox = Bbox { left: 0.0, top: 0.0, right: width, bottom: height };
        let pictures = vec![Picture { bbox, text_share: 0.0 }];
        let signals = Signals { page_area: bbox.area(), pictures, ..Signals::default() };
        let rotation = header.orientation.degrees();
        Ok(PageContent { width, height, rotation, images: vec![bbox], signals, ..PageContent::default() })
    }

    /// The picture, upright, in its own resolution or, where it has too many pixels, a whole fraction of it.
    fn render_page(&mut self, asked: &DecodeRequest<'_>, page_no: u32) -> Result<(RenderedPage, Pixmap)> {
        let kind = self.kind(asked)?;
        let header = kind.header(asked, page_no)?.within(asked.config)?;
        let stored = kind.pixels(asked, page_no, &header)?;
        let dpi = header.dpi * stored.width as f32 / header.width as f32;
        let stored = if stored.is_colourful() { stored } else { stored.into_grey() };
        let picture = header.orientation.apply(stored);
        let (page_width, page_height) = header.upright_points();
        let (width_px, height_px) = (picture.width, picture.height);
        let rotation = header.orientation.degrees();
        Ok((RenderedPage { dpi, width_px, height_px, page_width, page_height, rotation }, picture))
    }

    fn check(&mut self, config: &Config) -> Option<Check> {
        self.kinds.iter_mut().find_map(|kind| kind.check(config))
    }
}

/// A row whose pixels end in alpha, without it: what is transparent shows the paper.
fn over_white(row: &[u8], channels: Channels) -> Vec<u8> {
    let count = channels.count();
    let blend =
        |value: u8, alpha: u8| (u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255;
    let pixels = row.chunks_exact(count + 1);
    pixels.flat_map(|pixel| pixel[..count].iter().map(|value| blend(*value, pixel[count]) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_transparent_is_paper() {
        assert_eq!(over_white(&[0, 0, 0, 255, 100, 0], Channels::Grey), [255, 0, 255]);
        assert_eq!(over_white(&[0, 255, 100, 128], Channels::Rgb), [127, 255, 177]);
    }
}
