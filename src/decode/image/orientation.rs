//! How a picture is stored, and what makes it upright: the orientation of TIFF and EXIF.

use deckle_imaging::Pixmap;

/// What to do with the stored rows: mirror first, then turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Orientation {
    /// Left and right are exchanged.
    pub mirrored: bool,
    /// Quarter turns clockwise.
    pub quarters: u16,
}

impl Orientation {
    /// From the value of tag 274 (TIFF 6.0, EXIF 2.3); anything but 1 to 8 is 1, as it lies.
    pub(super) fn from_exif(value: u16) -> Self {
        let (mirrored, quarters) = match value {
            2 => (true, 0),
            3 => (false, 2),
            4 => (true, 2),
            5 => (true, 3),
            6 => (false, 1),
            7 => (true, 1),
            8 => (false, 3),
            _ => (false, 0),
        };
        Self { mirrored, quarters }
    }

    /// Whether width and height change places.
    pub(super) fn swaps(self) -> bool {
        self.quarters % 2 == 1
    }

    /// Clockwise degrees.
    pub(super) fn degrees(self) -> u16 {
        self.quarters * 90
    }

    /// Makes a picture upright.
    pub(super) fn apply(self, picture: Pixmap) -> Pixmap {
        let picture = if self.mirrored { picture.mirrored() } else { picture };
        picture.turned(self.quarters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deckle_imaging::Channels;

    #[test]
    fn each_of_the_eight_shows_the_same_picture() {
        // How 1 2 / 3 4 is stored for each value, by the table of TIFF 6.0: where row 0 and column 0 are.
        let stored: [(u16, [u8; 4]); 8] = [
            (1, [1, 2, 3, 4]), // top, left
            (2, [2, 1, 4, 3]), // top, right
            (3, [4, 3, 2, 1]), // bottom, right
            (4, [3, 4, 1, 2]), // bottom, left
            (5, [1, 3, 2, 4]), // left, top
            (6, [2, 4, 1, 3]), // right, top
            (7, [4, 2, 3, 1]), // right, bottom
            (8, [3, 1, 4, 2]), // left, bottom
        ];
        for (value, pixels) in stored {
            let picture = Pixmap { width: 2, height: 2, channels: Channels::Grey, pixels: pixels.to_vec() };
            assert_eq!(Orientation::from_exif(value).apply(picture).pixels, [1, 2, 3, 4], "{value}");
        }
        assert_eq!(Orientation::from_exif(9), Orientation::default());
    }
}
