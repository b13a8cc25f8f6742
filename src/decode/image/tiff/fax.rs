//! Pages coded as faxes are (ITU-T T.4 and T.6): runs of white and black, row by row, by themselves or by where they
//! differ from the row above.
//!
//! Calls fail in the middle, so a row of group 3 that cannot be read is shown as the one above, and reading goes on at
//! the next end of a line. The other codings have no such marks: there a row that cannot be read ends the page.

use std::convert::Infallible;

use fax::{
    BitReader, ByteReader,
    maps::{Mode, black, mode, white},
};

use super::{
    directory::{Directory, compression, photometric, unsupported},
    whole,
};
use crate::image::canvas::Canvas;
use deckle_contract::error::Result;

/// `T4Options`: rows may refer to the one above, and a bit behind each end of a line tells.
const TWO_DIMENSIONS: u32 = 1;

/// A page of which more than one row in so many cannot be read is damaged.
const ONE_BAD_IN: u32 = 10;

/// Reads all strips.
pub(super) fn read(file: &[u8], directory: &Directory, canvas: &mut Canvas) -> Result<()> {
    let Ok(width) = u16::try_from(directory.width) else { return Err(unsupported("a fax wider than 65,535 pixels")) };
    let mut left = directory.height;
    let mut bad = 0;
    for (offset, length) in &directory.chunks {
        let rows = left.min(directory.rows_per_strip);
        left -= rows;
        let coded = file[*offset..*offset + *length].iter();
        let coded = coded.map(|byte| if directory.reversed_bits { byte.reverse_bits() } else { *byte });
        // The reader of codes looks further than the last code reaches.
        let Ok(bits) = ByteReader::new(coded.chain([0; 4]).map(Ok::<u8, Infallible>));
        let mut strip = Strip { bits, width, above: Vec::new(), row: Vec::new() };
        for _ in 0..rows {
            let read = match directory.compression {
                compression::GROUP_4 => strip.by_difference(),
                compression::GROUP_3 => strip.behind_end_of_line(directory.t4_options & TWO_DIMENSIONS != 0),
                _ => strip.on_a_byte(),
            };
            match read {
                Some(()) => std::mem::swap(&mut strip.above, &mut strip.row),
                None if directory.compression == compression::GROUP_3 => bad += 1,
                None => return Err(whole::incomplete("fax")),
            }
            canvas.row(&pixels(&strip.above, usize::from(width), directory.photometric));
        }
    }
    if bad * ONE_BAD_IN > directory.height { Err(whole::incomplete("fax")) } else { Ok(()) }
}

/// Runs as pixels. White runs are zeroes, whichever colour a zero is.
fn pixels(changes: &[u16], width: usize, photometric: u16) -> Vec<u8> {
    let (white, black) = if photometric == photometric::BLACK_IS_ZERO { (0, 255) } else { (255, 0) };
    let mut row = vec![white; width];
    for run in changes.chunks(2) {
        let end = run.get(1).map_or(width, |end| usize::from(*end));
        row[usize::from(run[0])..end].fill(black);
    }
    row
}

/// The codes of one strip.
struct Strip<R> {
    bits: ByteReader<R>,
    width: u16,
    /// Where the colour changes in the row above: to black, to white, and so on; never falling, at most the width.
    above: Vec<u16>,
    /// The same of the row that is being read.
    row: Vec<u16>,
}

impl<R: Iterator<Item = std::result::Result<u8, Infallible>>> Strip<R> {
    /// A row of runs.
    fn by_runs(&mut self) -> Option<()> {
        self.row.clear();
        let (mut at, mut is_black) = (0, false);
        while at < self.width {
            at = self.change(at, is_black)?;
            is_black = !is_black;
        }
        Some(())
    }

    /// The same, from the next whole byte on.
    fn on_a_byte(&mut self) -> Option<()> {
        self.skip(self.bits.bits_to_byte_boundary());
        self.by_runs()
    }

    /// The row behind the next end of a line. What stands before that belongs to a row that could not be read.
    fn behind_end_of_line(&mut self, two_dimensions: bool) -> Option<()> {
        const ZEROES: u8 = 11;
        // A first row may come without.
        let is_first = self.above.is_empty() && self.row.is_empty();
        if !is_first || self.bits.peek(ZEROES) == Some(0) {
            while self.bits.peek(ZEROES)? != 0 {
                self.skip(1);
            }
            while self.bits.peek(1)? == 0 {
                self.skip(1);
            }
            self.skip(1);
        }
        if two_dimensions {
            let by_itself = self.bits.peek(1)? == 1;
            self.skip(1);
            if !by_itself {
                return self.by_difference();
            }
        }
        self.by_runs()
    }

    /// Reads a row that is coded by where it differs from the one above (T.4, 4.2.1.3; T.6, 2.2).
    fn by_difference(&mut self) -> Option<()> {
        self.row.clear();
        let (mut at, mut is_black) = (None, false);
        while at.is_none_or(|at| at < self.width) {
            let (b1, b2) = self.changes_above(at, is_black);
            match mode::decode(&mut self.bits)? {
                Mode::Pass => at = Some(b2),
                Mode::Vertical(by) => {
                    let a1 = b1.checked_add_signed(i16::from(by)).filter(|a1| *a1 <= self.width)?;
                    (at.unwrap_or(0) <= a1).then(|| self.row.push(a1))?;
                    (at, is_black) = (Some(a1), !is_black);
                }
                Mode::Horizontal => {
                    let a1 = self.change(at.unwrap_or(0), is_black)?;
                    at = Some(self.change(a1, !is_black)?);
                }
                Mode::Extension | Mode::EOF => return None,
            }
        }
        Some(())
    }

    /// Reads a run from `at` on, and notes where it ends.
    fn change(&mut self, at: u16, is_black: bool) -> Option<u16> {
        /// Longer runs are written in several codes, of which the last is shorter than this.
        const LAST: u16 = 64;
        let mut end = at;
        loop {
            let run = if is_black { black::decode(&mut self.bits) } else { white::decode(&mut self.bits) }?;
            end = end.checked_add(run).filter(|end| *end <= self.width)?;
            if run < LAST {
                self.row.push(end);
                return Some(end);
            }
        }
    }

    /// The first change above to the right of `at` away from the present colour, and the one behind it; `None` stands
    /// before the first pixel.
    fn changes_above(&self, at: Option<u16>, is_black: bool) -> (u16, u16) {
        let first = at.map_or(0, |at| self.above.partition_point(|change| *change <= at));
        // Changes to black have even numbers.
        let first = first + usize::from(first % 2 != usize::from(is_black));
        let change = |i: usize| self.above.get(i).copied().unwrap_or(self.width);
        (change(first), change(first + 1))
    }

    fn skip(&mut self, bits: u8) {
        let Ok(()) = self.bits.consume(bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_pixels_of_either_sense() {
        assert_eq!(pixels(&[1, 3], 4, photometric::WHITE_IS_ZERO), [255, 0, 0, 255]);
        assert_eq!(pixels(&[1, 3], 4, photometric::BLACK_IS_ZERO), [0, 255, 255, 0]);
        assert_eq!(pixels(&[2], 4, photometric::WHITE_IS_ZERO), [255, 255, 0, 0]);
        assert_eq!(pixels(&[0, 0, 3, 4], 4, photometric::WHITE_IS_ZERO), [255, 255, 255, 0]);
    }
}
