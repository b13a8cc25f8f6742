//! What a page's directory says, as far as reading its pixels needs it.

use tiff::{
    ColorType,
    decoder::{ChunkType, Decoder, ifd::Value},
    tags::Tag,
};

use super::{Header, damaged};
use crate::image::{
    exif::{Geometry, tiff_dpi},
    whole,
};
use deckle_contract::error::{Failure, Result, code};
use deckle_imaging::Channels;

/// `T4Options`: bit 0 is coding in two dimensions.
const T4_OPTIONS: Tag = Tag::Unknown(292);

/// Values of `PhotometricInterpretation` (TIFF 6.0).
pub(super) mod photometric {
    /// 0 is white.
    pub(crate) const WHITE_IS_ZERO: u16 = 0;
    /// 0 is black.
    pub(crate) const BLACK_IS_ZERO: u16 = 1;
    /// Numbers of a palette.
    pub(crate) const PALETTE: u16 = 3;
}

/// Values of `Compression`.
pub(super) mod compression {
    /// Modified Huffman: fax group 3 in one dimension, rows begin on bytes, without ends of lines.
    pub(crate) const MODIFIED_HUFFMAN: u16 = 2;
    /// Fax group 3.
    pub(crate) const GROUP_3: u16 = 3;
    /// Fax group 4.
    pub(crate) const GROUP_4: u16 = 4;
}

/// A page's directory.
pub(super) struct Directory {
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// One of [`compression`], or another.
    pub compression: u16,
    /// One of [`photometric`], or another.
    pub photometric: u16,
    /// Whether the samples are stored plane by plane.
    pub planar: bool,
    /// Whether colours are multiplied by alpha already.
    pub premultiplied: bool,
    /// Bits of a byte from the lowest on.
    pub reversed_bits: bool,
    /// `T4Options`.
    pub t4_options: u32,
    /// Rows of a strip; the last may have fewer.
    pub rows_per_strip: u32,
    /// Offset and length of each strip or tile.
    pub chunks: Vec<(usize, usize)>,
    /// Red, green and blue of each number of a palette.
    pub palette: Vec<[u8; 3]>,
    samples: u16,
    geometry: Geometry,
}

/// Whether the decoder stands on a page: no smaller version of one, no mask.
pub(super) fn is_page<R: std::io::Read + std::io::Seek>(decoder: &mut Decoder<R>) -> bool {
    const REDUCED: u32 = 1;
    const MASK: u32 = 4;
    const OLD_REDUCED: u32 = 2;
    let kind: u32 = decoder.find_tag_unsigned(Tag::NewSubfileType).ok().flatten().unwrap_or(0);
    let old: u32 = decoder.find_tag_unsigned(Tag::SubfileType).ok().flatten().unwrap_or(0);
    kind & (REDUCED | MASK) == 0 && old != OLD_REDUCED
}

impl Directory {
    /// Reads the directory on which the decoder stands.
    ///
    /// # Errors
    /// `image.damaged` when it is not whole, or pixels lie beyond the end of the file.
    pub(super) fn read<R: std::io::Read + std::io::Seek>(decoder: &mut Decoder<R>, file: &[u8]) -> Result<Self> {
        let (width, height) = decoder.dimensions().map_err(|error| damaged(&error))?;
        let tiled = decoder.get_chunk_type() == ChunkType::Tile;
        let (offsets, counts) =
            if tiled { (Tag::TileOffsets, Tag::TileByteCounts) } else { (Tag::StripOffsets, Tag::StripByteCounts) };
        let offsets = decoder.get_tag_u64_vec(offsets).map_err(|error| damaged(&error))?;
        let counts = decoder.get_tag_u64_vec(counts).map_err(|error| damaged(&error))?;
        let inside = |(offset, count): (u64, u64)| {
            let end = offset.checked_add(count).filter(|end| *end <= file.len() as u64)?;
            Some((usize::try_from(offset).ok()?, usize::try_from(end - offset).ok()?))
        };
        let chunks = offsets.into_iter().zip(counts).map(inside).collect::<Option<Vec<_>>>();
        let mut number =
            |tag: Tag, unstated: u32| -> u32 { decoder.find_tag_unsigned(tag).ok().flatten().unwrap_or(unstated) };
        let small = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let mut directory = Self {
            width,
            height,
            compression: small(number(Tag::Compression, 1)),
            photometric: small(number(Tag::PhotometricInterpretation, 0)),
            planar: number(Tag::PlanarConfiguration, 1) == 2,
            premultiplied: false,
            reversed_bits: number(Tag::FillOrder, 1) == 2,
            t4_options: number(T4_OPTIONS, 0),
            rows_per_strip: number(Tag::RowsPerStrip, u32::MAX).min(height),
            chunks: chunks.ok_or_else(|| whole::incomplete(super::NAME))?,
            palette: Vec::new(),
            samples: small(number(Tag::SamplesPerPixel, 1)),
            geometry: Geometry::default(),
        };
        let unit = small(number(Tag::ResolutionUnit, 2));
        let orientation = small(number(Tag::Orientation, 1));
        let resolution = decoder.find_tag(Tag::XResolution).ok().flatten().and_then(number_of);
        directory.geometry = Geometry {
            orientation: Some(orientation),
            dpi: resolution.and_then(|resolution| tiff_dpi(resolution, unit)),
        };
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
        directory.premultiplied = extra.is_some_and(|extra| extra.first() == Some(&1));
        if directory.photometric == photometric::PALETTE {
            directory.palette = palette(&decoder.get_tag_u16_vec(Tag::ColorMap).map_err(|error| damaged(&error))?);
        }
        Ok(directory)
    }

    /// What is known before any pixel is decoded.
    pub(super) fn header(&self) -> Header {
        Header::new(self.width, self.height, self.geometry)
    }

    /// Whether it is coded as faxes are.
    pub(super) fn is_fax(&self) -> bool {
        use compression::{GROUP_3, GROUP_4, MODIFIED_HUFFMAN};
        [MODIFIED_HUFFMAN, GROUP_3, GROUP_4].contains(&self.compression)
    }

    /// What its pixels become.
    pub(super) fn channels(&self) -> Channels {
        let is_grey = |[r, g, b]: &[u8; 3]| r == g && g == b;
        match self.photometric {
            photometric::WHITE_IS_ZERO | photometric::BLACK_IS_ZERO => Channels::Grey,
            photometric::PALETTE if self.palette.iter().all(is_grey) => Channels::Grey,
            _ => Channels::Rgb,
        }
    }

    /// Samples of a pixel, extra ones included.
    pub(super) fn samples(&self) -> usize {
        usize::from(self.samples)
    }
}

/// A resolution: a fraction by the book, a whole number or a float by some writers.
fn number_of(value: Value) -> Option<f32> {
    match value {
        Value::Rational(above, below) => Some(above as f32 / below as f32),
        Value::Float(value) => Some(value),
        Value::Double(value) => Some(value as f32),
        whole => whole.into_u32().ok().map(|value| value as f32),
    }
}

/// `ColorMap` holds all reds, then all greens, then all blues, in 16 bits. Some writers fill the lower 8 only.
fn palette(map: &[u16]) -> Vec<[u8; 3]> {
    let count = map.len() / 3;
    let in_8_bits = map.iter().all(|value| *value < 256);
    let byte = |value: u16| if in_8_bits { value as u8 } else { (value >> 8) as u8 };
    (0..count).map(|i| [map[i], map[count + i], map[2 * count + i]].map(byte)).collect()
}

/// The refusal of what is sound and not read here.
pub(super) fn unsupported(what: impl std::fmt::Display) -> Failure {
    Failure::rejected(code::UNSUPPORTED_TYPE, format!("the TIFF is of a kind that deckle cannot decode: {what}"))
}

/// Samples of a pixel, as a colour type gives them.
pub(super) fn samples_of(colour: ColorType) -> usize {
    usize::from(colour.num_samples())
}
