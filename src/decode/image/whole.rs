//! Pictures of kinds that can only be decoded as a whole.

use image::{DynamicImage, ImageDecoder, ImageError, Limits, error::LimitErrorKind};

use super::{Header, canvas::Canvas, over_white};
use crate::Config;
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::{Channels, Pixmap};

/// Most bytes of a decoded picture: with what decoders need besides (a progressive JPEG its coefficients, three times
/// as much), it fits in a child's memory.
const MAX_BYTES: u64 = 512 << 20;

/// Decodes a picture with a decoder of the `image` crate.
pub(super) fn decode(mut decoder: impl ImageDecoder, name: &str, header: &Header, config: &Config) -> Result<Pixmap> {
    fits(header, u64::from(decoder.color_type().bytes_per_pixel()), name)?;
    let mut limits = Limits::default();
    // The picture and a copy of it.
    limits.max_alloc = Some(2 * MAX_BYTES);
    let decoded = decoder.set_limits(limits).and_then(|()| DynamicImage::from_decoder(decoder));
    let image = decoded.map_err(|error| damaged(name, &error))?;
    let colour = image.color();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let channels = if colour.has_color() { Channels::Rgb } else { Channels::Grey };
    let bytes = match (colour.has_color(), colour.has_alpha()) {
        (true, true) => image.into_rgba8().into_raw(),
        (true, false) => image.into_rgb8().into_raw(),
        (false, true) => image.into_luma_alpha8().into_raw(),
        (false, false) => image.into_luma8().into_raw(),
    };
    let mut canvas = Canvas::new(width as u32, height as u32, channels, config.max_pixels);
    let samples = channels.count() + usize::from(colour.has_alpha());
    for row in bytes.chunks_exact((width * samples).max(1)) {
        if colour.has_alpha() { canvas.row(&over_white(row, channels)) } else { canvas.row(row) }
    }
    canvas.finish().ok_or_else(|| incomplete(name))
}

/// Whether a picture that must be decoded as a whole has room, at so many bytes a pixel.
///
/// # Errors
/// `limit.pixels`.
pub(super) fn fits(header: &Header, bytes_per_pixel: u64, name: &str) -> Result<()> {
    let Header { width, height, .. } = header;
    if header.pixels().saturating_mul(bytes_per_pixel) <= MAX_BYTES {
        return Ok(());
    }
    let message = format!(
        "the {name} has {width} × {height} pixels; it must be decoded as a whole, and {} MiB are allowed for that",
        MAX_BYTES >> 20
    );
    Err(Failure::rejected(code::LIMIT_PIXELS, message))
}

/// What a decoder's error means.
pub(super) fn damaged(name: &str, error: &ImageError) -> Failure {
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

/// Rows or bytes are missing at the end.
pub(super) fn incomplete(name: &str) -> Failure {
    Failure::rejected(code::IMAGE_DAMAGED, format!("the {name} is damaged: its end is missing"))
}
