//! Buckets: which items may share a batch, and what their padding costs.
//!
//! The law: ONNX Runtime sees few shapes. A new shape costs tens of milliseconds once (`notes/ocr.md`), so lengths are
//! rounded up to a step before anything is batched, and a batch is padded to its longest item.

/// Text lengths are padded to multiples of this many tokens: 16 shapes up to 256 tokens, on average 8 tokens of waste.
pub const TOKENS: u32 = 16;

/// Pictures of lines are padded to multiples of this many pixel columns, or an eighth of their width where that is more:
/// at most 11 % of waste in long lines, and some twenty widths altogether.
pub const COLUMNS: u32 = 32;

/// What the batcher knows of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Items of different classes never share a batch: the model cannot pad one to the other's shape. Text and line
    /// images have one class; page images have one per shape.
    pub class: u32,
    /// Padded length in the model's own unit (tokens, pixel columns, pixels). A batch costs its longest length times
    /// its items.
    pub length: u32,
    /// What the item holds in memory while it queues.
    pub bytes: usize,
}

impl Size {
    /// A text of so many tokens, padded to the next bucket.
    pub fn text(tokens: usize) -> Self {
        let length = round_up(u32::try_from(tokens).unwrap_or(u32::MAX), TOKENS);
        Self { class: 0, length, bytes: tokens * size_of::<u32>() }
    }

    /// A line's picture of so many columns, padded to the next bucket.
    pub fn line(columns: u32, bytes: usize) -> Self {
        let step = COLUMNS.max((columns / 8).next_power_of_two() / 2);
        Self { class: 0, length: round_up(columns, round_up(step, COLUMNS)), bytes }
    }

    /// A page's picture, which shares batches with others of just its size; its cost is in blocks of 32 × 32 pixels.
    pub fn page(width: u32, height: u32, bytes: usize) -> Self {
        let (across, down) = (width.div_ceil(32), height.div_ceil(32));
        Self { class: across << 16 | down, length: across.saturating_mul(down), bytes }
    }
}

/// The next multiple of `step`, at least one step.
pub fn round_up(length: u32, step: u32) -> u32 {
    length.max(1).checked_next_multiple_of(step.max(1)).unwrap_or(u32::MAX)
}

/// Cost of a batch of `items`, padded to `longest`.
pub fn padded_cost(longest: u32, items: usize) -> u64 {
    u64::from(longest) * items as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_up_to_the_next_bucket() {
        assert_eq!([0, 1, 16, 17, 256].map(|tokens| round_up(tokens, TOKENS)), [16, 16, 16, 32, 256]);
        assert_eq!(round_up(u32::MAX, TOKENS), u32::MAX);
    }

    #[test]
    fn lines_of_any_width_have_few_buckets_and_little_padding() {
        let lengths: std::collections::BTreeSet<u32> = (1..4000).map(|columns| Size::line(columns, 0).length).collect();
        assert!(lengths.len() <= 50, "{lengths:?}");
        for columns in 1..4000 {
            let length = Size::line(columns, 0).length;
            assert!(length >= columns && length < columns + 32.max(columns / 7), "{columns} in {length}");
        }
    }

    #[test]
    fn pages_of_different_shapes_never_share_a_batch() {
        assert_ne!(Size::page(960, 704, 0).class, Size::page(704, 960, 0).class);
        assert_eq!(Size::page(960, 704, 0).length, 30 * 22);
    }
}
