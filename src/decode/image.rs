//! PNG and JPEG.

use super::{Config, Opened, PageContent, RasterFacts, text_layer::Signals};
use crate::error::{Failure, Result, code};

pub fn open(bytes: &[u8], media_type: &str, config: &Config) -> Result<Opened> {
    decode(bytes, config)?;
    Ok(Opened { media_type: media_type.to_owned(), page_count: Some(1), title: None, blocks: Vec::new() })
}

fn decode(bytes: &[u8], config: &Config) -> Result<::image::DynamicImage> {
    let damaged =
        |error: ::image::ImageError| Failure::rejected(code::IMAGE_DAMAGED, format!("the image is damaged: {error}"));
    let reader = || ::image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    let broken = |error: std::io::Error| Failure::rejected(code::IMAGE_DAMAGED, error.to_string());
    let (width, height) = reader().map_err(broken)?.into_dimensions().map_err(damaged)?;
    if u64::from(width) * u64::from(height) > config.max_pixels {
        return Err(Failure::rejected(code::LIMIT_PIXELS, format!("{width} × {height} pixels are over the limit")));
    }
    reader().map_err(broken)?.decode().map_err(damaged)
}

pub fn read(bytes: &[u8], config: &Config) -> Result<PageContent> {
    let picture = decode(bytes, config)?;
    Ok(PageContent {
        width: picture.width() as f32,
        height: picture.height() as f32,
        rotation: 0,
        lines: Vec::new(),
        images: Vec::new(),
        signals: Signals { characters: 0, image_cover: 1.0 },
    })
}

pub fn render(bytes: &[u8], config: &Config) -> Result<(RasterFacts, Vec<u8>)> {
    let picture = decode(bytes, config)?.to_luma8();
    let (width_px, height_px) = picture.dimensions();
    let facts = RasterFacts {
        dpi: 72.0,
        width_px,
        height_px,
        page_width: width_px as f32,
        page_height: height_px as f32,
        rotation: 0,
    };
    Ok((facts, png(picture)?))
}

pub fn png(picture: ::image::GrayImage) -> Result<Vec<u8>> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, ::image::ImageFormat::Png).map_err(|error| Failure::defect(error.to_string()))?;
    Ok(png.into_inner())
}
