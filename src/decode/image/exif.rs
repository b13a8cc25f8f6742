//! What a picture's metadata says about its geometry: orientation and resolution, from EXIF, JFIF, the chunks of PNG and
//! the headers of BMP and TIFF. Anything odd is taken as not said.

use ::exif::{In, Reader, Tag, Value};

/// What the metadata says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Geometry {
    /// EXIF orientation, 1 to 8.
    pub orientation: Option<u16>,
    /// Pixels per inch.
    pub dpi: Option<f32>,
}

/// Resolutions outside of this are mistakes.
const SANE_DPI: std::ops::RangeInclusive<f32> = 30.0..=4800.0;

const INCHES_PER_CENTIMETRE: f32 = 2.54;

/// `ResolutionUnit` of TIFF for pixels per inch, which holds where a file names none.
const PER_INCH: u16 = 2;

/// What stands before EXIF in a JPEG's segment.
const JPEG_MARK: &[u8] = b"Exif\0\0";

/// What a JPEG's segments say: EXIF before JFIF.
pub(super) fn of_jpeg(bytes: &[u8]) -> Geometry {
    let mut exif = Geometry::default();
    let mut jfif = None;
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(content) = length.checked_sub(2).and_then(|n| tail.get(..n)) else { break };
        match marker {
            0xE1 if content.starts_with(JPEG_MARK) && exif == Geometry::default() => exif = of_exif(content),
            0xE0 if content.starts_with(b"JFIF\0") => jfif = of_jfif(content),
            0xDA => break,
            _ => {}
        }
        rest = &tail[content.len()..];
    }
    Geometry { dpi: exif.dpi.or(jfif), ..exif }
}

/// Whether the picture data of a JPEG has its end mark. Decoders fill what is missing with grey.
pub(super) fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(after) = length.checked_sub(2).and_then(|n| tail.get(n..)) else { return false };
        if *marker == 0xDA {
            return after.windows(2).any(|pair| pair == [0xFF, 0xD9]);
        }
        rest = after;
    }
    false
}

/// Whether the chunks of a PNG reach its end.
pub(super) fn png_is_whole(bytes: &[u8]) -> bool {
    chunks(bytes).any(|(name, _)| name == *b"IEND")
}

/// What a PNG's chunks say.
pub(super) fn of_png(bytes: &[u8]) -> Geometry {
    let mut geometry = Geometry::default();
    for (name, content) in chunks(bytes) {
        match (&name, content) {
            (b"pHYs", [a, b, c, d, _, _, _, _, 1]) => {
                let per_metre = u32::from_be_bytes([*a, *b, *c, *d]) as f32;
                geometry.dpi = sane(per_metre / 100.0 * INCHES_PER_CENTIMETRE);
            }
            (b"eXIf", content) => {
                let exif = of_exif(content);
                geometry = Geometry { orientation: exif.orientation, dpi: geometry.dpi.or(exif.dpi) };
            }
            (b"IDAT", _) => break,
            _ => {}
        }
    }
    geometry
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (name, tail) = tail.split_first_chunk::<4>()?;
        let (content, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        // The checksum follows.
        rest = tail.get(4..)?;
        Some((*name, content))
    })
}

fn of_jfif(content: &[u8]) -> Option<f32> {
    let [unit, high, low] = content.get(7..10)? else { return None };
    let density = f32::from(u16::from_be_bytes([*high, *low]));
    match unit {
        1 => sane(density),
        2 => sane(density * INCHES_PER_CENTIMETRE),
        _ => None,
    }
}

/// The first directory of a TIFF structure, which is what EXIF is; some writers put JPEG's mark in front. Of a damaged
/// one, what is whole counts.
pub(super) fn of_exif(chunk: &[u8]) -> Geometry {
    let tiff = chunk.strip_prefix(JPEG_MARK).unwrap_or(chunk);
    let read = Reader::new().continue_on_error(true).read_raw(tiff.to_vec());
    let Ok(exif) = read.or_else(|error| error.distill_partial_result(|_| ())) else { return Geometry::default() };
    let value = |tag| exif.get_field(tag, In::PRIMARY).map(|field| &field.value);
    let number = |tag| value(tag).and_then(|value| value.get_uint(0)).and_then(|number| u16::try_from(number).ok());
    let resolution = match value(Tag::XResolution) {
        Some(Value::Rational(fractions)) => fractions.first().map(|fraction| fraction.to_f32()),
        _ => None,
    };
    let unit = number(Tag::ResolutionUnit).unwrap_or(PER_INCH);
    Geometry {
        orientation: number(Tag::Orientation).filter(|orientation| (1..=8).contains(orientation)),
        dpi: resolution.and_then(|resolution| tiff_dpi(resolution, unit)),
    }
}

/// A resolution in a unit of TIFF: 2 is per inch, 3 per centimetre, 1 says no more than the shape of a pixel.
pub(super) fn tiff_dpi(resolution: f32, unit: u16) -> Option<f32> {
    match unit {
        PER_INCH => sane(resolution),
        3 => sane(resolution * INCHES_PER_CENTIMETRE),
        _ => None,
    }
}

/// What a BMP's header says, in pixels per metre; the older header of 12 bytes says nothing.
pub(super) fn of_bmp(bytes: &[u8]) -> Geometry {
    const OLD_HEADER: u32 = 12;
    let u32_at = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_le_bytes(*four));
    let per_metre = u32_at(14).filter(|length| *length > OLD_HEADER).and_then(|_| u32_at(38));
    let dpi = per_metre.and_then(|per_metre| sane(per_metre as f32 / 100.0 * INCHES_PER_CENTIMETRE));
    Geometry { orientation: None, dpi }
}

fn sane(dpi: f32) -> Option<f32> {
    // 72.009 is what 2835 pixels per metre come to.
    let rounded = dpi.round();
    let dpi = if (dpi - rounded).abs() < 0.1 { rounded } else { dpi };
    SANE_DPI.contains(&dpi).then_some(dpi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exif_is_read_in_both_byte_orders() {
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        for exif in [&big[..], &little[..]] {
            assert_eq!(of_exif(exif), Geometry { orientation: Some(6), dpi: None });
            // Cut anywhere, it says less and breaks nothing.
            (0..exif.len()).for_each(|n| assert!(of_exif(&exif[..n]).dpi.is_none()));
            let in_jpeg = [JPEG_MARK, exif].concat();
            assert_eq!(of_exif(&in_jpeg), of_exif(exif));
        }
    }

    #[test]
    fn a_resolution_is_read_in_inches_and_centimetres_and_a_bad_entry_hides_no_good_one() {
        // Three entries: the resolution (a fraction at byte 50), its unit, and a tag whose value lies outside.
        let exif = |resolution: [u8; 4], unit: u8| {
            let mut exif = b"II*\0\x08\0\0\0\x03\0".to_vec();
            exif.extend(b"\x1A\x01\x05\0\x01\0\0\0\x32\0\0\0");
            exif.extend([0x28, 1, 3, 0, 1, 0, 0, 0, unit, 0, 0, 0]);
            exif.extend(b"\x31\x01\x02\0\xFF\0\0\0\xF0\xFF\0\0");
            exif.extend([0; 4]);
            exif.extend(resolution);
            exif.extend(1_u32.to_le_bytes());
            exif
        };
        for (resolution, unit, dpi) in [(300, 2, Some(300.0)), (118, 3, Some(299.72)), (300, 1, None), (1, 2, None)] {
            assert_eq!(of_exif(&exif(u32::to_le_bytes(resolution), unit)).dpi, dpi, "{resolution} in unit {unit}");
        }
    }

    #[test]
    fn a_jpeg_without_its_end_is_not_whole() {
        let whole = b"\xFF\xD8\xFF\xDA\0\x02\x12\x34\xFF\xD9";
        assert!(jpeg_is_whole(whole));
        assert!((0..whole.len()).all(|n| !jpeg_is_whole(&whole[..n])));
    }
}
