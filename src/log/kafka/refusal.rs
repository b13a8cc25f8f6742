//! What errors of a transaction mean for the next try.
//!
//! The law: only a code that is known to pass is tried again for as long as it lasts. One that nobody listed is tried
//! again within a bound, and is a defect from then on.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Unlisted refusals, one after the other without a commit between them, before they count as lasting: a new producer
/// was made several times meanwhile, which heals whatever was wrong with one.
const TRIES: u32 = 10;
/// The time over which they are spread at least, so that a minute's trouble of a broker stops no stage.
const SPREAD: Duration = Duration::from_secs(60);

/// Codes that a later try of the same records can be without. Those of librdkafka's `rdkafka_txnmgr.c` that it tries
/// again or that only end one transaction, and those of the brokers that Kafka's protocol guide calls retriable.
const PASSING: [Code; 53] = [
    // The way to the brokers. Logins and certificates are renewed there, and every other call waits for them too.
    Code::BrokerTransportFailure,
    Code::BrokerDestroy,
    Code::DestroyBroker,
    Code::Resolve,
    Code::SSL,
    Code::Authentication,
    Code::SaslAuthenticationFailed,
    Code::AllBrokersDown,
    Code::UnknownBroker,
    Code::NodeUpdate,
    Code::RebootstrapRequired,
    Code::NetworkException,
    // Time ran out, or something else is still going on.
    Code::MessageTimedOut,
    Code::OperationTimedOut,
    Code::TimedOutQueue,
    Code::RequestTimedOut,
    Code::QueueFull,
    Code::WaitCache,
    Code::InProgress,
    Code::PreviousInProgress,
    Code::Interrupted,
    Code::Retry,
    Code::ConcurrentTransactions,
    Code::ThrottlingQuotaExceeded,
    // Consequences of another failure; a new producer begins afresh.
    Code::PurgeQueue,
    Code::PurgeInflight,
    Code::Outdated,
    Code::State,
    Code::Conflict,
    Code::OperationNotAttempted,
    Code::OutOfOrderSequenceNumber,
    Code::UnknownProducerId,
    // Brokers that start, stop, or hand over.
    Code::WaitingForCoordinator,
    Code::CoordinatorLoadInProgress,
    Code::CoordinatorNotAvailable,
    Code::NotCoordinator,
    Code::TransactionCoordinatorFenced,
    Code::LeaderNotAvailable,
    Code::NotLeaderForPartition,
    Code::FencedLeaderEpoch,
    Code::UnknownLeaderEpoch,
    Code::BrokerNotAvailable,
    Code::ReplicaNotAvailable,
    Code::ISRInsufficient,
    Code::NotEnoughReplicas,
    Code::NotEnoughReplicasAfterAppend,
    Code::KafkaStorageError,
    // The group has moved on; whoever holds the partitions then commits.
    Code::IllegalGeneration,
    Code::UnknownMemberId,
    Code::MemberIdRequired,
    Code::RebalanceInProgress,
    Code::AssignmentLost,
    Code::PollExceeded,
];

/// What an error says about later tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another producer has our transactional id, or another process our name in the group, or the broker has aborted
    /// a transaction that took too long.
    Fenced,
    /// The topic does not exist.
    UnknownTopic,
    /// A record is above the limit of its topic.
    TooLarge,
    /// The brokers will refuse it for as long as nobody changes a right or a setting.
    Never,
    /// A later try can succeed.
    Passing,
    /// Nobody knows.
    Unlisted,
}

impl Kind {
    /// What kind of error it is.
    pub(super) fn of(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                Code::Fenced
                | Code::ProducerFenced
                | Code::InvalidProducerEpoch
                | Code::FencedInstanceId
                | Code::InvalidProducerIdMapping,
            ) => Self::Fenced,
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::InvalidTopic) => {
                Self::UnknownTopic
            }
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge) => Self::TooLarge,
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::OffsetMetadataTooLarge
                | Code::UnsupportedVersion
                | Code::UnsupportedForMessageFormat
                | Code::InvalidTransactionTimeout,
            ) => Self::Never,
            Some(code) if PASSING.contains(&code) => Self::Passing,
            _ => Self::Unlisted,
        }
    }
}

/// Unlisted refusals since the latest commit.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    since: Option<(Instant, u32)>,
    latest: String,
}

impl Unlisted {
    /// Takes note of one.
    pub(super) fn add(&mut self, now: Instant, why: String) {
        let (first, count) = self.since.unwrap_or((now, 0));
        self.since = Some((first, count + 1));
        self.latest = why;
    }

    /// Why no further try is worth it, once the bound is reached. Who asks for it and tries again all the same has the
    /// whole bound anew.
    pub(super) fn take_lasting(&mut self, now: Instant) -> Option<String> {
        let (first, count) = self.since?;
        if count < TRIES || now.duration_since(first) < SPREAD {
            return None;
        }
        let Self { latest, .. } = std::mem::take(self);
        Some(format!("log.refused: {count} tries without a commit, the last one ended with: {latest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: Code) -> Kind {
        Kind::of(&KafkaError::MessageProduction(code))
    }

    #[test]
    fn what_passes_is_tried_again_for_as_long_as_it_lasts() {
        for code in PASSING {
            assert_eq!(kind(code), Kind::Passing, "{code:?}");
        }
    }

    #[test]
    fn what_has_a_meaning_of_its_own_is_not_taken_for_passing() {
        for (code, meant) in [
            (Code::Fenced, Kind::Fenced),
            (Code::ProducerFenced, Kind::Fenced),
            (Code::InvalidProducerEpoch, Kind::Fenced),
            (Code::FencedInstanceId, Kind::Fenced),
            (Code::InvalidProducerIdMapping, Kind::Fenced),
            (Code::UnknownTopicOrPartition, Kind::UnknownTopic),
            (Code::InvalidTopic, Kind::UnknownTopic),
            (Code::MessageSizeTooLarge, Kind::TooLarge),
            (Code::MessageBatchTooLarge, Kind::TooLarge),
            (Code::TopicAuthorizationFailed, Kind::Never),
            (Code::TransactionalIdAuthorizationFailed, Kind::Never),
            (Code::UnsupportedVersion, Kind::Never),
            (Code::InvalidTransactionTimeout, Kind::Never),
        ] {
            assert_eq!(kind(code), meant, "{code:?}");
        }
    }

    #[test]
    fn what_nobody_listed_is_unlisted() {
        for code in [
            Code::Unknown,
            Code::Fail,
            Code::Fatal,
            Code::InvalidRecord,
            Code::InvalidTimestamp,
            Code::InvalidTransactionalState,
            Code::PolicyViolation,
            Code::InvalidRequiredAcks,
            Code::SecurityDisabled,
            Code::UnsupportedCompressionType,
            Code::InvalidGroupId,
            Code::NotImplemented,
        ] {
            assert_eq!(kind(code), Kind::Unlisted, "{code:?}");
        }
    }

    #[test]
    fn unlisted_refusals_last_once_they_are_many_and_spread_over_time() {
        let start = Instant::now();
        let mut many_at_once = Unlisted::default();
        (0..TRIES * 2).for_each(|_| many_at_once.add(start, "odd".to_owned()));
        assert_eq!(many_at_once.take_lasting(start), None, "they may be over in a moment");

        let mut few = Unlisted::default();
        (1..TRIES).for_each(|_| few.add(start, "odd".to_owned()));
        assert_eq!(few.take_lasting(start + SPREAD * 2), None, "a slow broker made them few");

        few.add(start + SPREAD, "the odd end".to_owned());
        let why = few.take_lasting(start + SPREAD).expect("both bounds are reached");
        assert!(why.starts_with("log.refused: ") && why.ends_with("the odd end"), "{why}");
        assert_eq!(few.take_lasting(start + SPREAD), None, "the next try has the whole bound again");
    }
}
