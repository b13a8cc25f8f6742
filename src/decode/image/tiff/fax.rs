//! Pages coded as faxes are (ITU-T T.4 and T.6): runs of white and black, row by row.

use fax::{
    Color,
    decoder::{DecodeStatus, Group3Decoder, Group4Decoder, pels},
};

use super::{
    directory::{Directory, compression, photometric},
    whole,
};
use crate::{
    decode::image::canvas::Canvas,
    error::{Failure, Result, code},
};

/// Codes of group 3 in two dimensions refer to the row above; no scanner or fax program of today writes them into TIFF.
const TWO_DIMENSIONS: u32 = 1;

/// Reads all strips.
pub fn read(file: &[u8], directory: &Directory, canvas: &mut Canvas) -> Result<()> {
    let unsupported = |what: &str| {
        Err(Failure::rejected(
            code::UNSUPPORTED_TYPE,
            format!("the TIFF is of a kind that deckle cannot decode: {what}"),
        ))
    };
    let Ok(width) = u16::try_from(directory.width) else { return unsupported("a fax wider than 65,535 pixels") };
    match directory.compression {
        compression::GROUP_3 if directory.t4_options & TWO_DIMENSIONS != 0 => {
            return unsupported("fax group 3 in two dimensions");
        }
        compression::MODIFIED_HUFFMAN => return unsupported("modified Huffman (CCITT RLE)"),
        _ => {}
    }
    let mut left = directory.height;
    for (offset, length) in &directory.chunks {
        let rows = left.min(directory.rows_per_strip);
        left -= rows;
        let strip = Strip { directory, width, rows, canvas, row: Vec::new() };
        let coded = file[*offset..*offset + *length].iter().map(|byte| {
            Ok::<u8, std::convert::Infallible>(if directory.reversed_bits { byte.reverse_bits() } else { *byte })
        });
        if directory.compression == compression::GROUP_4 { strip.group_4(coded) } else { strip.group_3(coded) }?;
    }
    Ok(())
}

/// One strip on its way to the canvas.
struct Strip<'a> {
    directory: &'a Directory,
    width: u16,
    rows: u32,
    canvas: &'a mut Canvas,
    row: Vec<u8>,
}

impl Strip<'_> {
    fn group_4(mut self, coded: impl Iterator<Item = std::result::Result<u8, std::convert::Infallible>>) -> Result<()> {
        let damaged = || whole::incomplete("fax");
        let mut decoder = Group4Decoder::new(coded, self.width).map_err(|_| damaged())?;
        for _ in 0..self.rows {
            match decoder.advance().map_err(|_| damaged())? {
                DecodeStatus::Incomplete => self.put(decoder.transition()),
                DecodeStatus::End => return Err(damaged()),
            }
        }
        Ok(())
    }

    fn group_3(mut self, coded: impl Iterator<Item = std::result::Result<u8, std::convert::Infallible>>) -> Result<()> {
        let damaged = || whole::incomplete("fax");
        let mut decoder = Group3Decoder::new(coded).map_err(|_| damaged())?;
        for row in 1..=self.rows {
            // The last row has no end of line behind it where the writer leaves out the end of the page.
            let status = decoder.advance();
            self.put(decoder.transitions());
            match status {
                Ok(DecodeStatus::Incomplete) => {}
                Ok(DecodeStatus::End) | Err(_) if row == self.rows => {}
                Ok(DecodeStatus::End) | Err(_) => return Err(damaged()),
            }
        }
        Ok(())
    }

    /// White runs are zeroes, whichever colour a zero is.
    fn put(&mut self, transitions: &[u16]) {
        let (white, black) = if self.directory.photometric == photometric::BLACK_IS_ZERO { (0, 255) } else { (255, 0) };
        self.row.clear();
        self.row.extend(pels(transitions, self.width).map(|colour| match colour {
            Color::White => white,
            Color::Black => black,
        }));
        self.canvas.row(&self.row);
    }
}
