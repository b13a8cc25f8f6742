//! Plain text as it is printed, a form feed between pages.

use super::{Text, Truth};
use crate::text;

/// Reads any text.
pub(super) fn read(content: &str) -> Truth {
    let pages = text::pages(content).into_iter().map(str::to_owned).collect();
    Truth { text: Some(Text::Printed(pages)), ..Truth::default() }
}
