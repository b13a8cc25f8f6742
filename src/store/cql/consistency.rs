//! How many replicas a request to the database waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many replicas must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// One replica must answer.
    One,
    /// One replica of the own datacenter must answer.
    LocalOne,
    /// More than half of all replicas must answer.
    Quorum,
    /// More than half of the own datacenter's replicas must answer.
    LocalQuorum,
    /// More than half of the replicas in each datacenter must answer; for writes only.
    EachQuorum,
    /// Every replica must answer.
    All,
}

impl Consistency {
    /// Whether it counts the replicas of one datacenter.
    pub(super) fn is_local(self) -> bool {
        matches!(self, Self::LocalOne | Self::LocalQuorum | Self::EachQuorum)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one",
            Self::LocalOne => "local_one",
            Self::Quorum => "quorum",
            Self::LocalQuorum => "local_quorum",
            Self::EachQuorum => "each_quorum",
            Self::All => "all",
        })
    }
}

impl From<Consistency> for scylla::statement::Consistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::One => Self::One,
            Consistency::LocalOne => Self::LocalOne,
            Consistency::Quorum => Self::Quorum,
            Consistency::LocalQuorum => Self::LocalQuorum,
            Consistency::EachQuorum => Self::EachQuorum,
            Consistency::All => Self::All,
        }
    }
}
