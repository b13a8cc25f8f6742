//! Confidence against error: of the words that were given a confidence, how many are right.
//!
//! A word is right when the truth has it, wherever it stands ([`super::words::in_bag`]): reading order is no matter of
//! the recogniser, but a wrong word that happens to stand elsewhere counts as right. Words of text layers have no
//! confidence and are not here.

use serde::{Deserialize, Serialize};

/// Bins of confidence, of equal width.
pub const BINS: usize = 10;

/// Words of one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub words: usize,
    /// How many of them are right.
    pub right: usize,
    /// Sum of their confidences.
    pub confidence: f64,
}

/// Words by their confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// From low confidence to high.
    pub bins: Vec<Bin>,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { bins: vec![Bin::default(); BINS] }
    }
}

impl Calibration {
    /// Counts a word.
    pub fn add(&mut self, confidence: f32, is_right: bool) {
        let confidence = f64::from(confidence).clamp(0.0, 1.0);
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.words += 1;
        bin.right += usize::from(is_right);
        bin.confidence += confidence;
    }

    /// Adds the words of another document.
    pub fn join(&mut self, other: &Self) {
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.words += more.words;
            bin.right += more.right;
            bin.confidence += more.confidence;
        }
    }

    /// How many words it knows.
    pub fn words(&self) -> usize {
        self.bins.iter().map(|bin| bin.words).sum()
    }

    /// Expected calibration error (Guo et al. 2017): the mean distance of confidence and share of right words, weighted
    /// by words; `None` without words.
    pub fn error(&self) -> Option<f64> {
        let words = self.words();
        let off: f64 = self.bins.iter().map(|bin| (bin.confidence - bin.right as f64).abs()).sum();
        (words > 0).then(|| off / words as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_by_hand() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.error(), None);
        // Ten words at 0.95 of which eight are right, ten at 0.05 of which none is.
        for number in 0..10 {
            calibration.add(0.95, number < 8);
            calibration.add(0.05, false);
        }
        assert!((calibration.error().unwrap() - (0.15 + 0.05) / 2.0).abs() < 1e-6);
        calibration.add(1.0, true);
        assert_eq!(calibration.bins[9].words, 11, "1 is in the last bin");
    }
}
