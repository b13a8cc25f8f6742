//! Dead letters as the store knows them: what failed, and what became of it.
//!
//! The law: what a letter says never changes; its state leaves `open` once, and a version that was claimed for its
//! redrive stays its only one for ever.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use deckle_contract::error::{Failure, Reason, Result};

/// The name of a dead letter, unique in a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadLetterKey {
    /// The tenant, which leads every key; empty when not even the record's headers name it.
    pub tenant: String,
    /// Event id of the letter: a function of the failed record, the stage and the place it lay at.
    pub letter_id: String,
}

/// A dead letter as the store lists it: everything but the headers and bytes of its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// The name of the dead letter.
    pub key: DeadLetterKey,
    /// Append time of the letter, µs since 1970, UTC.
    pub failed_at: i64,
    /// The stage that gave up.
    pub stage: String,
    /// The kind of failure: `rejected`, `transient`, `unavailable` or `defect`.
    pub kind: String,
    /// What was wrong.
    pub reason: Reason,
    /// How often the stage tried the record.
    pub attempts: u32,
    /// The document; empty when unknown.
    pub document_id: String,
    /// The run that the record belongs to.
    pub run: i64,
    /// The version that failed.
    pub version: i64,
    /// The page, counted from 1.
    pub page_no: Option<u32>,
    /// The topic that the failed record lies in.
    pub topic: String,
    /// The partition that the failed record lies in.
    pub partition: i32,
    /// The offset of the failed record in its partition.
    pub offset: i64,
    /// When the log took the record, µs since 1970, UTC.
    pub appended_at: i64,
}

/// The record that failed, as it was. Its bytes may hold a password: show only what `record::wire` decodes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRecord {
    /// The headers of the record.
    pub headers: std::collections::BTreeMap<String, String>,
    /// The encoded event, byte for byte.
    pub value: Bytes,
}

/// What became of a dead letter.
///
/// ```text
/// open ──claim──► redriving ──confirm──► redriven
///   └────drop───► dropped
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DeadLetterState {
    /// Nobody has redriven or dropped it.
    Open,
    /// A redrive has claimed it, and did not say yet that the record is in its topic again.
    Redriving {
        /// The version it has for ever.
        version: i64,
        /// After this the claim was given up by whoever made it, µs since 1970, UTC.
        until: i64,
    },
    /// Its record is in its topic again.
    Redriven {
        /// The version it was given.
        version: i64,
        /// When the redrive was confirmed, µs since 1970, UTC.
        at: i64,
    },
    /// Somebody decided that nothing is to be done.
    Dropped {
        /// When it was dropped, µs since 1970, UTC.
        at: i64,
    },
}

impl DeadLetterState {
    /// The state of three columns: its name, the version it has for ever, and its one time (µs).
    pub(super) fn of_columns(name: &str, version: Option<i64>, at: Option<i64>) -> Result<Self> {
        let name = StateName::ALL.into_iter().find(|known| known.as_str() == name);
        let (version, at) = (version.unwrap_or_default(), at.unwrap_or_default());
        match name.ok_or_else(|| Failure::defect("store: a letter is in no known state"))? {
            StateName::Open => Ok(Self::Open),
            StateName::Redriving => Ok(Self::Redriving { version, until: at }),
            StateName::Redriven => Ok(Self::Redriven { version, at }),
            StateName::Dropped => Ok(Self::Dropped { at }),
        }
    }

    /// The name of the state, without its details.
    pub fn name(self) -> StateName {
        match self {
            Self::Open => StateName::Open,
            Self::Redriving { .. } => StateName::Redriving,
            Self::Redriven { .. } => StateName::Redriven,
            Self::Dropped { .. } => StateName::Dropped,
        }
    }
}

/// A state without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// See [`DeadLetterState::Open`].
    Open,
    /// See [`DeadLetterState::Redriving`].
    Redriving,
    /// See [`DeadLetterState::Redriven`].
    Redriven,
    /// See [`DeadLetterState::Dropped`].
    Dropped,
}

impl StateName {
    /// All of them, in the order of a letter's life.
    pub const ALL: [Self; 4] = [Self::Open, Self::Redriving, Self::Redriven, Self::Dropped];

    /// The name that people and files read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }
}

/// A dead letter and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDeadLetter {
    /// What it says.
    pub letter: DeadLetterRow,
    /// What became of it.
    pub state: DeadLetterState,
}

/// A redrive's claim on a letter, made before anything is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Names the claim, so that it is the same however often it is asked for, and nobody else's.
    pub id: Uuid,
    /// The version to give the redriven record, unless an earlier claim chose one.
    pub version: i64,
    /// The present time, µs since 1970, UTC: an earlier claim that ran out before it is taken over.
    pub now: i64,
    /// When this claim runs out, µs since 1970, UTC.
    pub until: i64,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The claim holds, and this is the version of the letter for ever.
    Ours {
        /// The version of this claim, or the one that a claim taken over had chosen.
        version: i64,
    },
    /// The claim does not hold: somebody else redrives the letter, it is done, or it is not there (`None`).
    Not(Option<DeadLetterState>),
}

/// A selection of dead letters: those that fit every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Only letters of this tenant.
    pub tenant: Option<String>,
    /// Only letters whose id starts with this.
    pub letter_id: Option<String>,
    /// Only letters of documents whose id starts with this.
    pub document_id: Option<String>,
    /// Only letters of records that this stage gave up on.
    pub stage: Option<String>,
    /// Only letters of this kind of failure; see [`DeadLetterRow::kind`].
    pub kind: Option<String>,
    /// Only letters with this reason code.
    pub code: Option<String>,
    /// Only letters that failed at this time or later, µs since 1970, UTC.
    pub since: Option<i64>,
    /// Only letters that failed before this time, µs since 1970, UTC.
    pub until: Option<i64>,
    /// Only letters in one of these states; in any when empty.
    pub states: Vec<StateName>,
    /// Rows at most; 0 = 100.
    pub limit: usize,
    /// The token of the previous listing's end.
    pub after: Option<String>,
}

/// A page of a listing of letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterListing {
    /// Ordered by tenant, then time of failure, then id.
    pub letters: Vec<ListedDeadLetter>,
    /// The token that the next page starts behind, opaque; `None` at the end.
    pub next: Option<String>,
}
