//! PNG and JPEG: each file is one page.
//!
//! Geometry follows the file: points by the resolution that it states, else one pixel is one point.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageResult, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
    error::LimitErrorKind,
    metadata::Orientation,
};

use super::{
    Config, Opened, PageContent,
    exif::{self, Geometry},
    format::{Asked, Format},
    request::Rendered,
    sniff,
    text_layer::{Picture, Signals},
};
use crate::{
    document::{Bbox, Drawing},
    error::{Failure, Result, code},
    pixmap::{Channels, Pixmap},
};

/// Where a file states no resolution.
const UNSTATED_DPI: f32 = 72.0;

/// See the module.
pub struct Decoder;

impl Format for Decoder {
    fn media_types(&self) -> &'static [&'static str] {
        &[sniff::PNG, sniff::JPEG]
    }

    fn names(&self) -> &'static [&'static str] {
        &["PNG", "JPEG"]
    }

    fn open(&mut self, asked: &Asked<'_>) -> Result<Opened> {
        Header::read(&asked.file.bytes, asked.media_type, asked.config)?;
        Ok(Opened { media_type: asked.media_type.to_owned(), page_count: Some(1), title: None, blocks: Vec::new() })
    }

    /// A page that is all picture.
    fn read_page(&mut self, asked: &Asked<'_>, page_no: u32) -> Result<PageContent> {
        only_page(page_no)?;
        let header = Header::read(&asked.file.bytes, asked.media_type, asked.config)?;
        let (width, height) = header.upright_points();
        let bbox = Bbox { left: 0.0, top: 0.0, right: width, bottom: height };
        let pictures = vec![Picture { bbox, text_share: 0.0 }];
        let signals = Signals { page_area: bbox.area(), pictures, ..Signals::default() };
        let rotation = header.rotation();
        Ok(PageContent {
            width,
            height,
            rotation,
            lines: Vec::new(),
            images: vec![bbox],
            drawing: Drawing::default(),
            signals,
        })
    }

    /// The picture, upright and grey, in its own resolution.
    fn render_page(&mut self, asked: &Asked<'_>, page_no: u32) -> Result<(Rendered, Pixmap)> {
        only_page(page_no)?;
        let (bytes, config) = (&asked.file.bytes, asked.config);
        let header = Header::read(bytes, asked.media_type, config)?;
        let image = match asked.media_type {
            sniff::PNG => PngDecoder::new(Cursor::new(bytes)).and_then(|d| decode(d, config)),
            _ => JpegDecoder::new(Cursor::new(bytes)).and_then(|d| decode(d, config)),
        };
        let mut grey = DynamicImage::ImageLuma8(over_white(image.map_err(|e| damaged(asked.media_type, &e))?));
        grey.apply_orientation(header.orientation);
        let (page_width, page_height) = header.upright_points();
        let rotation = header.rotation();
        let rendered = Rendered {
            dpi: header.dpi,
            width_px: grey.width(),
            height_px: grey.height(),
            page_width,
            page_height,
            rotation,
        };
        let (width, height) = (grey.width(), grey.height());
        Ok((rendered, Pixmap { width, height, channels: Channels::Grey, pixels: grey.into_luma8().into_raw() }))
    }
}

fn only_page(page_no: u32) -> Result<()> {
    if page_no == 1 { Ok(()) } else { Err(Failure::defect(format!("page {page_no} of a picture was asked for"))) }
}

fn decode(mut decoder: impl ImageDecoder, config: &Config) -> ImageResult<DynamicImage> {
    // 16-bit colour with alpha at the most.
    const BYTES_PER_PIXEL: u64 = 8;
    let mut limits = Limits::default();
    limits.max_alloc = Some(config.max_pixels.saturating_mul(BYTES_PER_PIXEL));
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

/// Grey; what is transparent shows the paper.
fn over_white(image: DynamicImage) -> image::GrayImage {
    if !image.color().has_alpha() {
        return image.into_luma8();
    }
    let with_alpha = image.into_luma_alpha8();
    let (width, height) = with_alpha.dimensions();
    let blend = |grey: u8, alpha: u8| (u32::from(grey) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255;
    let pixels = with_alpha.pixels().map(|p| blend(p.0[0], p.0[1]) as u8).collect();
    image::GrayImage::from_raw(width, height, pixels).unwrap_or_default()
}

fn damaged(media_type: &str, error: &ImageError) -> Failure {
    let name = if media_type == sniff::PNG { "PNG" } else { "JPEG" };
    match error {
        ImageError::Limits(e) if e.kind() == LimitErrorKind::InsufficientMemory => {
            Failure::rejected(code::LIMIT_PIXELS, format!("the {name} needs too much memory to decode"))
        }
        ImageError::Unsupported(e) => {
            Failure::rejected(code::UNSUPPORTED_TYPE, format!("the {name} is of a kind that deckle cannot decode: {e}"))
        }
        e => Failure::rejected(code::IMAGE_DAMAGED, format!("the {name} is damaged: {e}")),
    }
}

/// What is known before any pixel is decoded.
struct Header {
    width_px: u32,
    height_px: u32,
    dpi: f32,
    orientation: Orientation,
}

impl Header {
    fn read(bytes: &[u8], media_type: &str, config: &Config) -> Result<Self> {
        let (size, geometry, whole) = match media_type {
            sniff::PNG => {
                let size = PngDecoder::new(Cursor::new(bytes)).map(|d| d.dimensions());
                (size, exif::of_png(bytes), exif::png_is_whole(bytes))
            }
            _ => {
                let size = JpegDecoder::new(Cursor::new(bytes)).map(|d| d.dimensions());
                (size, exif::of_jpeg(bytes), exif::jpeg_is_whole(bytes))
            }
        };
        let (width_px, height_px) = size.map_err(|e| damaged(media_type, &e))?;
        let pixels = u64::from(width_px) * u64::from(height_px);
        if pixels > config.max_pixels {
            return Err(Failure::rejected(
                code::LIMIT_PIXELS,
                format!(
                    "the picture has {width_px} × {height_px} pixels; {} are allowed (decode.max_pixels)",
                    config.max_pixels
                ),
            ));
        }
        if !whole || pixels == 0 {
            return Err(Failure::rejected(code::IMAGE_DAMAGED, "the picture is damaged: its end is missing"));
        }
        let Geometry { orientation, dpi } = geometry;
        Ok(Self {
            width_px,
            height_px,
            dpi: dpi.unwrap_or(UNSTATED_DPI),
            orientation: orientation.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms),
        })
    }

    fn upright_points(&self) -> (f32, f32) {
        let (width, height) = (self.width_px as f32 * 72.0 / self.dpi, self.height_px as f32 * 72.0 / self.dpi);
        let lies_on_its_side = matches!(
            self.orientation,
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        );
        if lies_on_its_side { (height, width) } else { (width, height) }
    }

    fn rotation(&self) -> u16 {
        match self.orientation {
            Orientation::NoTransforms | Orientation::FlipHorizontal => 0,
            Orientation::Rotate90 | Orientation::Rotate90FlipH => 90,
            Orientation::Rotate180 | Orientation::FlipVertical => 180,
            Orientation::Rotate270 | Orientation::Rotate270FlipH => 270,
        }
    }
}
