//! Buckets: which items may share a batch, and what their padding costs.
//!
//! The law: ONNX Runtime sees few shapes. A new shape costs tens of milliseconds once (`notes/ocr.md`), so lengths are
//! rounded up to a step before anything is batched, and a batch is padded to its longest item.

/// Text lengths are padded to multiples of this many tokens: 16 shapes up to 256 tokens, on average 8 tokens of waste.
pub const TOKENS: u32 = 16;

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
}
