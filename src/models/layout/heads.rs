//! The network's outputs as regions: pure.
//!
//! Each cell of four grids has a score for each class and, for each side of a box around the cell's centre, a
//! distribution over eight distances in strides (generalised focal loss, Li et al. 2020; PicoDet, Yu et al. 2021).

use deckle_contract::{
    document::{Bbox, Region, RegionKind},
    error::{Failure, Result},
};

/// Pixels between the cells of each grid.
pub(super) const STRIDES: [u32; 4] = [8, 16, 32, 64];
/// The classes in the order of the scores.
const KINDS: [RegionKind; 10] = [
    RegionKind::Text,
    RegionKind::Title,
    RegionKind::Figure,
    RegionKind::FigureCaption,
    RegionKind::Table,
    RegionKind::TableCaption,
    RegionKind::Header,
    RegionKind::Footer,
    RegionKind::Reference,
    RegionKind::Equation,
];
/// Distances that a side is distributed over.
const BINS: usize = 8;
/// Values of a cell's distances.
const DISTANCES: usize = 4 * BINS;
/// Scores from here on are boxes. Below 0.4 nothing counts later; the rest is kept for those who look into a page.
const LEAST_SCORE: f32 = 0.3;
/// Of two boxes of one class that share more of their union than this, the surer stays.
const MOST_SHARED: f32 = 0.5;

/// The outputs for one stride.
#[derive(Debug)]
pub(super) struct Grid {
    stride: u32,
    columns: usize,
    /// One row of classes for each cell, row by row.
    scores: Vec<f32>,
    /// Left, top, right, bottom: eight values each for every cell.
    distances: Vec<f32>,
}

impl Grid {
    /// Takes what the network gave for one stride, for an input of that width in pixels.
    ///
    /// # Errors
    /// A defect when scores and distances are not of the same whole rows of cells.
    pub(super) fn new(stride: u32, width: u32, scores: Vec<f32>, distances: Vec<f32>) -> Result<Self> {
        let columns = width.div_ceil(stride) as usize;
        let cells = scores.len() / KINDS.len();
        if cells * KINDS.len() != scores.len() || cells * DISTANCES != distances.len() || !cells.is_multiple_of(columns)
        {
            let lengths = format!("{} scores and {} distances", scores.len(), distances.len());
            return Err(Failure::defect(format!("the layout model gave {lengths} for stride {stride}")));
        }
        Ok(Self { stride, columns, scores, distances })
    }

    /// The box around a cell's centre, in pixels.
    fn bbox(&self, cell: usize) -> Bbox {
        let stride = self.stride as f32;
        let (x, y) = ((cell % self.columns) as f32 + 0.5, (cell / self.columns) as f32 + 0.5);
        let sides = &self.distances[cell * DISTANCES..][..DISTANCES];
        let side = |number: usize| expectation(&sides[number * BINS..][..BINS]);
        Bbox {
            left: (x - side(0)) * stride,
            top: (y - side(1)) * stride,
            right: (x + side(2)) * stride,
            bottom: (y + side(3)) * stride,
        }
    }
}

/// The expected distance in strides, from the logarithms of its distribution.
fn expectation(bins: &[f32]) -> f32 {
    let largest = bins.iter().copied().fold(f32::MIN, f32::max);
    let weights = || bins.iter().map(|bin| (bin - largest).exp());
    weights().zip(0u8..).map(|(weight, bin)| weight * f32::from(bin)).sum::<f32>() / weights().sum::<f32>()
}

/// The regions of a page, the surest first; `scale` turns pixels into points.
pub(super) fn regions(grids: &[Grid], scale: (f32, f32)) -> Vec<Region> {
    let mut found: Vec<Region> = Vec::new();
    for grid in grids {
        for (cell, scores) in grid.scores.chunks_exact(KINDS.len()).enumerate() {
            for (kind, score) in KINDS.iter().zip(scores).filter(|(_, score)| **score >= LEAST_SCORE) {
                found.push(Region { kind: *kind, bbox: grid.bbox(cell), score: *score });
            }
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Region> = Vec::new();
    for region in found {
        if !kept.iter().any(|other| other.kind == region.kind && shared(&other.bbox, &region.bbox) > MOST_SHARED) {
            kept.push(region);
        }
    }
    for Region { bbox, .. } in &mut kept {
        *bbox = Bbox {
            left: bbox.left * scale.0,
            top: bbox.top * scale.1,
            right: bbox.right * scale.0,
            bottom: bbox.bottom * scale.1,
        };
    }
    kept
}

/// Intersection over union of two boxes, 0..1.
fn shared(a: &Bbox, b: &Bbox) -> f32 {
    let overlap = a.overlap(b);
    overlap / (a.area() + b.area() - overlap).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid of 2 × 2 cells of stride 64, in which one cell after the other has a class, a score and four distances.
    fn grid(cells: &[(usize, RegionKind, f32, [usize; 4])]) -> Grid {
        let (mut scores, mut distances) = (vec![0.0; 4 * KINDS.len()], vec![0.0; 4 * DISTANCES]);
        for (cell, kind, score, sides) in cells {
            scores[cell * KINDS.len() + KINDS.iter().position(|other| other == kind).unwrap()] = *score;
            for (side, bin) in sides.iter().enumerate() {
                // So much surer than the other bins that nothing else is expected.
                distances[cell * DISTANCES + side * BINS + bin] = 80.0;
            }
        }
        Grid::new(64, 128, scores, distances).unwrap()
    }

    #[test]
    fn a_box_lies_around_its_cells_centre_in_points() {
        let found = regions(&[grid(&[(3, RegionKind::Table, 0.9, [1, 0, 0, 2])])], (0.5, 2.0));
        let bbox = Bbox { left: 16.0, top: 192.0, right: 48.0, bottom: 448.0 };
        assert_eq!(found, [Region { kind: RegionKind::Table, bbox, score: 0.9 }]);
    }

    #[test]
    fn a_distance_is_the_expectation_of_its_distribution() {
        assert_eq!(expectation(&[0.0; 8]), 3.5);
        let mut two = [-90.0; 8];
        (two[2], two[6]) = (3.0, 3.0);
        assert!((expectation(&two) - 4.0).abs() < 1e-6);
    }

    #[test]
    fn of_boxes_in_one_place_the_surest_of_each_class_stays() {
        let twice = [(0, RegionKind::Text, 0.5, [0, 0, 2, 2]), (1, RegionKind::Text, 0.8, [1, 0, 1, 2])];
        let other = (2, RegionKind::Figure, 0.4, [0, 1, 2, 1]);
        let weak = (3, RegionKind::Title, 0.29, [1, 1, 1, 1]);
        let found = regions(&[grid(&[twice[0], twice[1], other, weak])], (1.0, 1.0));
        let kept: Vec<_> = found.iter().map(|region| (region.kind, region.score)).collect();
        assert_eq!(kept, [(RegionKind::Text, 0.8), (RegionKind::Figure, 0.4)]);
    }

    #[test]
    fn outputs_of_another_shape_are_a_defect() {
        assert!(Grid::new(64, 128, vec![0.0; 40], vec![0.0; 4 * DISTANCES + 1]).is_err());
        assert!(Grid::new(64, 128, vec![0.0; 30], vec![0.0; 3 * DISTANCES]).is_err());
    }
}
