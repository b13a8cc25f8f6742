//! What is measured, and how figures of several documents become one.
//!
//! The law: every figure is a ratio of two counts, and the figure of a set is the ratio of the sums. A long document
//! therefore weighs as much as its length, and what could not be read stays in the denominator.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// A figure as what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Ratio {
    /// What is counted: errors, matches.
    pub part: f64,
    /// Of how many.
    pub whole: f64,
}

impl Ratio {
    /// Counts as a ratio.
    pub fn of(part: usize, whole: usize) -> Self {
        Self { part: part as f64, whole: whole as f64 }
    }

    /// F1 of `matched` pairs among `found` and `truth` things: their share of both (Sørensen–Dice).
    pub fn f1(matched: usize, found: usize, truth: usize) -> Self {
        Self::of(2 * matched, found + truth)
    }

    /// The figure; `None` where there was nothing to measure.
    pub fn value(self) -> Option<f64> {
        (self.whole > 0.0).then(|| self.part / self.whole)
    }
}

impl AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.part += other.part;
        self.whole += other.whole;
    }
}

/// What is measured. The order is that of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Character error rate: Levenshtein distance per character of the truth. It may exceed 1.
    Cer,
    /// Word error rate: the same of words.
    Wer,
    /// F1 of the words as a multiset, whatever their order.
    BagF1,
    /// F1 of the adjacency relations of tables (ICDAR 2013).
    AdjacencyF1,
    /// F1 of cells with the same place, span and text.
    CellF1,
    /// Tree-edit-distance-based similarity of tables, its mean.
    Teds,
    /// F1 of boxes that match at an IoU of 0.5.
    BoxF1,
    /// Share of the boxes found that match.
    BoxPrecision,
    /// Share of the boxes of the truth that are matched.
    BoxRecall,
    /// Mean IoU of the pairs that match.
    Iou,
}

impl Measure {
    /// All, in their order.
    pub const ALL: [Self; 10] = [
        Self::Cer,
        Self::Wer,
        Self::BagF1,
        Self::AdjacencyF1,
        Self::CellF1,
        Self::Teds,
        Self::BoxF1,
        Self::BoxPrecision,
        Self::BoxRecall,
        Self::Iou,
    ];

    /// Its head in a table.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cer => "CER",
            Self::Wer => "WER",
            Self::BagF1 => "bag F1",
            Self::AdjacencyF1 => "adjacency F1",
            Self::CellF1 => "cell F1",
            Self::Teds => "TEDS",
            Self::BoxF1 => "box F1",
            Self::BoxPrecision => "box precision",
            Self::BoxRecall => "box recall",
            Self::Iou => "IoU",
        }
    }

    /// What it says, for the foot of a report.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Cer => "character error rate: Levenshtein distance over characters of the truth; it may exceed 100 %",
            Self::Wer => "word error rate: the same over words",
            Self::BagF1 => "F1 of the words as a multiset: reading order does not matter",
            Self::AdjacencyF1 => "F1 of neighbouring non-blank cells, right and below (ICDAR 2013 table competition)",
            Self::CellF1 => "F1 of non-blank cells with the same row, column, spans and text",
            Self::Teds => "mean similarity of tables as trees (Zhong et al. 2019); one missed or made up counts as 0",
            Self::BoxF1 => "F1 of boxes matched one to one at an IoU of at least 0.5",
            Self::BoxPrecision => "share of the boxes found that match one of the truth",
            Self::BoxRecall => "share of the truth's boxes that are found",
            Self::Iou => "mean intersection over union of the pairs that match",
        }
    }

    /// Whether less is better.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Cer | Self::Wer)
    }
}

/// The figures of one document, a set or all: those that the truth allows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scores(pub BTreeMap<Measure, Ratio>);

impl Scores {
    /// Sets one.
    pub fn set(&mut self, measure: Measure, ratio: Ratio) {
        self.0.insert(measure, ratio);
    }

    /// One of them.
    pub fn get(&self, measure: Measure) -> Option<Ratio> {
        self.0.get(&measure).copied()
    }

    /// The value of one of them.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.get(measure).and_then(Ratio::value)
    }

    /// Adds the counts of another document.
    pub fn add(&mut self, other: &Self) {
        for (measure, ratio) in &other.0 {
            *self.0.entry(*measure).or_default() += *ratio;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_ratio_of_sums_and_not_the_mean_of_ratios() {
        let mut all = Scores::default();
        for (part, whole) in [(1, 10), (0, 90)] {
            let mut one = Scores::default();
            one.set(Measure::Cer, Ratio::of(part, whole));
            all.add(&one);
        }
        assert_eq!(all.value(Measure::Cer), Some(0.01));
        assert_eq!(all.value(Measure::Wer), None);
    }

    #[test]
    fn nothing_to_measure_is_no_figure() {
        assert_eq!(Ratio::f1(0, 0, 0).value(), None);
        assert_eq!(Ratio::f1(0, 3, 0).value(), Some(0.0));
        assert_eq!(Ratio::f1(2, 2, 2).value(), Some(1.0));
    }
}
