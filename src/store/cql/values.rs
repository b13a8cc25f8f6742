//! Values of rows as CQL has them.

use jiff::{SignedDuration, Timestamp};

use deckle_contract::error::{Failure, Result};

/// How far ahead of the clock the range deletes of an erasure lie: they also take late writes of that long, and those
/// of a log whose clock runs ahead of ours. ScyllaDB refuses timestamps from three days ahead on
/// (`restrict_future_timestamp`).
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// The timestamp of deletes of runs that never come back; see [`AHEAD`].
pub(super) fn delete_timestamp() -> i64 {
    (Timestamp::now() + AHEAD).as_microsecond()
}

/// A number of a page, a chunk or the like, as CQL has it.
pub(super) fn number(number: u32) -> Result<i32> {
    i32::try_from(number).map_err(|_| Failure::defect(format!("scylla: {number} is no number of a row")))
}
