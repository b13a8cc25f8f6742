//! Strips and tiles, put together to rows; no more than a row of tiles is held at a time.

use std::io::{Cursor, Read, Seek, SeekFrom};

use tiff::decoder::{Decoder, DecodingResult};

use super::{
    damaged,
    directory::{Directory, photometric, unsupported},
    samples::{self, Pixels},
};
use crate::image::canvas::Canvas;
use deckle_contract::error::Result;

/// Reads the page on which the decoder stands.
pub(super) fn read<R: Read + Seek>(
    mut decoder: Decoder<R>,
    file: &[u8],
    directory: &Directory,
    canvas: &mut Canvas,
) -> Result<()> {
    if directory.photometric != photometric::PALETTE {
        return Rows { decoder, directory, canvas }.read();
    }
    // The crate refuses palettes (as of 0.11.3), and gives their numbers where the directory says grey.
    let pointer = decoder.ifd_pointer();
    let as_grey = pointer.and_then(|pointer| AsGrey::new(file, pointer.0));
    let as_grey = as_grey.ok_or_else(|| super::whole::incomplete(super::NAME))?;
    let mut decoder = Decoder::new(as_grey).map_err(|e| damaged(&e))?.with_limits(super::limits());
    while decoder.ifd_pointer() != pointer {
        // Others of the chain may be beyond reading.
        let next = decoder.next_image();
        if !decoder.more_images() {
            next.map_err(|error| damaged(&error))?;
        }
    }
    Rows { decoder, directory, canvas }.read()
}

/// A file as it would be if one of its directories said `BlackIsZero`.
struct AsGrey<'a> {
    file: Cursor<&'a [u8]>,
    /// Where the tag's value stands.
    value_at: u64,
    value: [u8; 2],
}

impl<'a> AsGrey<'a> {
    /// `None` where the directory at that offset has no `PhotometricInterpretation`.
    fn new(file: &'a [u8], directory: u64) -> Option<Self> {
        const TAG: u16 = 262;
        const BIG_TIFF: u16 = 43;
        let is_big_endian = file.starts_with(b"MM");
        let u16_at = |at: usize| -> Option<u16> {
            let two = *file.get(at..)?.first_chunk::<2>()?;
            Some(if is_big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
        };
        // BigTIFF has wider fields: the number of entries in 8 bytes, entries of 20 of which the value comes after 12.
        let (head, entry, value_at) = if u16_at(2)? == BIG_TIFF { (8, 20, 12) } else { (2, 12, 8) };
        let start = usize::try_from(directory).ok()?.checked_add(head)?;
        let tag_at = (0..4096).map(|i| start + i * entry).find(|at| u16_at(*at) == Some(TAG))?;
        let value = photometric::BLACK_IS_ZERO;
        let value = if is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        Some(Self { file: Cursor::new(file), value_at: (tag_at + value_at) as u64, value })
    }
}

impl Read for AsGrey<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let from = self.file.position();
        let length = self.file.read(bytes)?;
        for (at, value) in (self.value_at..).zip(self.value) {
            let there = at.checked_sub(from).and_then(|there| bytes[..length].get_mut(there as usize));
            if let Some(byte) = there {
                *byte = value;
            }
        }
        Ok(length)
    }
}

impl Seek for AsGrey<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

struct Rows<'a, R: Read + Seek> {
    decoder: Decoder<R>,
    directory: &'a Directory,
    canvas: &'a mut Canvas,
}

impl<R: Read + Seek> Rows<'_, R> {
    fn read(mut self) -> Result<()> {
        let colour = self.decoder.colortype().map_err(|error| damaged(&error))?;
        let pixels = Pixels::new(colour, self.directory)?;
        let (chunk_width, chunk_height) = self.decoder.chunk_dimensions();
        let (width, count) = (self.directory.width as usize, self.canvas.channels().count());
        let across = self.directory.width.div_ceil(chunk_width.max(1));
        let down = self.directory.height.div_ceil(chunk_height.max(1));
        let planes = if self.directory.planar { self.directory.samples() as u32 } else { 1 };
        let mut band = Vec::new();
        for row in 0..down {
            let mut rows = 0;
            for column in 0..across {
                let chunk = row * across + column;
                let (wide, tall) = self.decoder.chunk_data_dimensions(chunk);
                let (wide, tall) = (wide as usize, tall as usize);
                if column == 0 {
                    (rows, band) = (tall, vec![0; width * tall * count]);
                }
                let samples = self.samples(chunk, across * down, planes, &pixels, wide)?;
                let decoded = pixels.decode(&samples);
                let left = column as usize * chunk_width as usize * count;
                for (y, from) in decoded.chunks_exact((wide * count).max(1)).take(tall).enumerate() {
                    let at = y * width * count + left;
                    if let Some(to) = band.get_mut(at..at + wide * count) {
                        to.copy_from_slice(from);
                    }
                }
            }
            band.chunks_exact(width * count).take(rows).for_each(|row| self.canvas.row(row));
        }
        Ok(())
    }

    /// The samples of one strip or tile, 8 bits each, pixel by pixel.
    fn samples(
        &mut self,
        chunk: u32,
        per_plane: u32,
        planes: u32,
        pixels: &Pixels<'_>,
        wide: usize,
    ) -> Result<Vec<u8>> {
        let mut read = |chunk: u32, in_row: usize| -> Result<Vec<u8>> {
            let decoded = self.decoder.read_chunk(chunk).map_err(|error| damaged(&error))?;
            in_bytes(decoded, pixels, in_row)
        };
        if planes == 1 {
            return read(chunk, wide * pixels.samples());
        }
        let planes = (0..pixels.samples() as u32).map(|plane| read(chunk + plane * per_plane, wide));
        let planes = planes.collect::<Result<Vec<_>>>()?;
        let length = planes.iter().map(Vec::len).min().unwrap_or(0);
        Ok((0..length).flat_map(|i| planes.iter().map(move |plane| plane[i])).collect())
    }
}

/// Samples of any depth in 8 bits.
fn in_bytes(decoded: DecodingResult, pixels: &Pixels<'_>, in_row: usize) -> Result<Vec<u8>> {
    match decoded {
        DecodingResult::U8(bytes) if pixels.bits() < 8 => {
            Ok(samples::unpacked(&bytes, pixels.bits(), in_row, !pixels.has_palette()))
        }
        DecodingResult::U8(bytes) => Ok(bytes),
        DecodingResult::U16(values) if !pixels.has_palette() => {
            Ok(values.into_iter().map(|value| (value >> 8) as u8).collect())
        }
        DecodingResult::U32(values) if !pixels.has_palette() => {
            Ok(values.into_iter().map(|value| (value >> 24) as u8).collect())
        }
        DecodingResult::F32(values) => {
            Ok(values.into_iter().map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8).collect())
        }
        _ => Err(unsupported("its numbers")),
    }
}
