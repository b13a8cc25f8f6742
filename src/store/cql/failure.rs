//! What the driver or a node said, as the failure that callers decide on.
//!
//! The law: what every record needs and is away is `Unavailable`: nodes that do not answer, answer late, or refuse us.
//! What may be the fault of one statement at this moment is `Transient`; what will be refused again is a defect.

use std::fmt::Display;

use scylla::errors::{
    DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError, SchemaAgreementError, UseKeyspaceError,
};

use deckle_contract::error::Failure;

/// The name of this dependency in failures, and so in readiness.
const DEPENDENCY: &str = "scylla";

/// An error of the driver as the failure that callers decide on.
pub(super) fn failure(error: impl Triage) -> Failure {
    // Some of its messages run over several lines.
    let said = error.to_string();
    let message = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match error.fate() {
        Fate::Away => Failure::unavailable(DEPENDENCY, message),
        Fate::Passing => Failure::transient(format!("scylla: {message}")),
        Fate::Lasting => Failure::defect(format!("scylla: {message}")),
    }
}

/// The failure of a row that is not as the schema says, a defect.
pub(super) fn malformed(error: impl Display) -> Failure {
    Failure::defect(format!("scylla: a row cannot be read: {error}"))
}

/// The outcome to expect when the same request is made again later.
pub(super) enum Fate {
    /// Every request fails now, and none once the cluster is back.
    Away,
    /// Only this request failed, and may succeed when it is made again.
    Passing,
    /// The request will fail again.
    Lasting,
}

/// An error of the driver that can be classified.
pub(super) trait Triage: Display {
    fn fate(&self) -> Fate;
}

impl Triage for DbError {
    fn fate(&self) -> Fate {
        match self {
            Self::Unavailable { .. }
            | Self::Overloaded
            | Self::IsBootstrapping
            | Self::ReadTimeout { .. }
            | Self::WriteTimeout { .. }
            | Self::RateLimitReached { .. }
            // Whoever gives us our rights must act, and until then every record waits.
            | Self::AuthenticationError
            | Self::Unauthorized => Fate::Away,
            // A replica threw: a full disk, or a fault that this row alone brings about.
            Self::ReadFailure { .. } | Self::WriteFailure { .. } | Self::ServerError | Self::TruncateError => {
                Fate::Passing
            }
            // A compare-and-set that met others and has no known outcome; `Other` is where the driver puts it.
            Self::Other(CAS_WRITE_UNKNOWN) => Fate::Away,
            _ => Fate::Lasting,
        }
    }
}

/// `CAS_WRITE_UNKNOWN` of version 5 of the native protocol.
const CAS_WRITE_UNKNOWN: i32 = 0x1700;

impl Triage for RequestAttemptError {
    fn fate(&self) -> Fate {
        match self {
            Self::DbError(error, _) => error.fate(),
            Self::BrokenConnectionError(_) | Self::UnableToAllocStreamId => Fate::Away,
            _ => Fate::Lasting,
        }
    }
}

impl Triage for PrepareError {
    fn fate(&self) -> Fate {
        match self {
            Self::ConnectionPoolError(_) => Fate::Away,
            Self::AllAttemptsFailed { first_attempt } => first_attempt.fate(),
            _ => Fate::Lasting,
        }
    }
}

impl Triage for UseKeyspaceError {
    fn fate(&self) -> Fate {
        match self {
            Self::RequestError(error) => error.fate(),
            Self::RequestTimeout(_) => Fate::Away,
            _ => Fate::Lasting,
        }
    }
}

impl Triage for SchemaAgreementError {
    fn fate(&self) -> Fate {
        match self {
            Self::PrepareError(error) => error.fate(),
            Self::RequestError(error) => error.fate(),
            Self::ConnectionPoolError(_) | Self::Timeout(_) | Self::RequiredHostAbsent(_) => Fate::Away,
            _ => Fate::Lasting,
        }
    }
}

impl Triage for ExecutionError {
    fn fate(&self) -> Fate {
        match self {
            Self::PrepareError(error) => error.fate(),
            Self::LastAttemptError(error) => error.fate(),
            Self::UseKeyspaceError(error) => error.fate(),
            Self::SchemaAgreementError(error) => error.fate(),
            Self::EmptyPlan | Self::ConnectionPoolError(_) | Self::RequestTimeout(_) | Self::MetadataError(_) => {
                Fate::Away
            }
            _ => Fate::Lasting,
        }
    }
}

impl Triage for NewSessionError {
    fn fate(&self) -> Fate {
        match self {
            Self::UseKeyspaceError(error) => error.fate(),
            // Names that do not resolve may, once the cluster is up.
            Self::FailedToResolveAnyHostname(_) | Self::MetadataError(_) => Fate::Away,
            _ => Fate::Lasting,
        }
    }
}

#[cfg(test)]
mod tests {
    use scylla::{errors::WriteType, statement::Consistency};

    use super::*;

    #[test]
    fn only_what_every_record_needs_is_waited_for() {
        let consistency = Consistency::LocalQuorum;
        let late = DbError::WriteTimeout { consistency, received: 1, required: 2, write_type: WriteType::Simple };
        let few = DbError::Unavailable { consistency, required: 2, alive: 1 };
        let broke = DbError::WriteFailure {
            consistency,
            received: 0,
            required: 1,
            numfailures: 1,
            write_type: WriteType::Simple,
        };
        let of = |error| failure(ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, "no".into())));
        for away in [late, few, DbError::Overloaded, DbError::IsBootstrapping, DbError::Unauthorized] {
            assert!(matches!(of(away), Failure::Unavailable { dependency, .. } if dependency == "scylla"));
        }
        assert!(matches!(of(broke), Failure::Transient { .. }));
        assert!(matches!(of(DbError::Invalid), Failure::Defect { .. }));
        assert!(matches!(failure(ExecutionError::EmptyPlan), Failure::Unavailable { .. }));
    }
}
