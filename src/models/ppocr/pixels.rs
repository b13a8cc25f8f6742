//! Pixels as both networks want them.

use deckle_imaging::{Channels, Pixmap};

/// Writes a picture into planes (blue, green, red; PP-OCR was trained on OpenCV's order) of rows of `stride` values,
/// from −1 (black) to 1 (white). What is right of the picture stays as it is: 0, the grey that the networks were padded
/// with.
pub(super) fn fill(picture: &Pixmap, planes: &mut [f32], stride: usize) {
    let width = picture.width as usize;
    let plane = stride * picture.height as usize;
    let value = |byte: u8| f32::from(byte) / 127.5 - 1.0;
    let count = picture.channels.count();
    for (row, pixels) in picture.pixels.chunks_exact((width * count).max(1)).enumerate() {
        for channel in 0..3 {
            let from = if picture.channels == Channels::Rgb { 2 - channel } else { 0 };
            let to = &mut planes[channel * plane + row * stride..][..width];
            for (to, pixel) in to.iter_mut().zip(pixels.chunks_exact(count)) {
                *to = value(pixel[from]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_blue_green_red_and_padded_with_grey() {
        let picture = Pixmap { width: 1, height: 2, channels: Channels::Rgb, pixels: vec![255, 0, 51, 0, 0, 0] };
        let mut planes = [0.0; 12];
        fill(&picture, &mut planes, 2);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        let expected = [-0.6, 0.0, -1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0, -1.0, 0.0];
        assert!(planes.iter().zip(expected).all(|(a, b)| near(*a, b)), "{planes:?}");
    }

    #[test]
    fn grey_is_the_same_on_all_planes() {
        let picture = Pixmap { width: 2, height: 1, channels: Channels::Grey, pixels: vec![255, 0] };
        let mut planes = [0.0; 6];
        fill(&picture, &mut planes, 2);
        assert_eq!(planes, [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
    }
}
