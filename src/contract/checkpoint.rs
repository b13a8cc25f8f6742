//! The question that a long computation asks between two of its steps: may it go on?

use crate::error::Result;

/// Answers whether a computation may go on. It is asked between blocks, rows or pages, so that a computation whose
/// result nobody waits for any more, or that has taken longer than it may, ends soon.
#[derive(Clone, Copy)]
pub struct Checkpoint<'a>(&'a dyn Fn() -> Result<()>);

impl<'a> Checkpoint<'a> {
    /// A checkpoint that asks this.
    pub fn new(ask: &'a dyn Fn() -> Result<()>) -> Self {
        Self(ask)
    }

    /// A checkpoint that lets everything pass.
    pub fn open() -> Self {
        Self(&|| Ok(()))
    }

    /// Asks whether the computation may go on.
    ///
    /// # Errors
    /// Why the computation is to end.
    pub fn pass(self) -> Result<()> {
        (self.0)()
    }
}
