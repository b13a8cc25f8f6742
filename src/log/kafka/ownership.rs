//! What this member may commit.
//!
//! The law: a partition is held from the moment when the worker *hears* of its assignment until it acknowledged the
//! revoke, or was too slow to, or the membership is lost. An assignment that the worker has not heard of yet does not
//! count: a step that it makes may still be of the assignment before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::Partition;

/// The partitions that a membership may commit, shared by its poll thread, its reader and its writer.
#[derive(Default)]
pub(super) struct Ownership(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The partitions that the group assigned to this member.
    assigned: BTreeMap<Partition, Assigned>,
    /// The assignments that the worker has received, by their epochs.
    acknowledged: BTreeMap<Partition, u64>,
    revocations: Vec<Revocation>,
}

struct Assigned {
    /// The number of the assignment: of two of one partition, the later has the higher.
    epoch: u64,
    /// The id of this member in the group at that time.
    member: Arc<str>,
}

struct Revocation {
    partitions: Vec<Partition>,
    ack: oneshot::Receiver<()>,
    deadline: Instant,
}

impl Ownership {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle();
        inner
    }

    /// Records that the group assigned partitions to this member.
    pub(super) fn assign(&self, partitions: impl Iterator<Item = Partition>, epoch: u64, member: &Arc<str>) {
        let mut inner = self.lock();
        inner.assigned.extend(partitions.map(|p| (p, Assigned { epoch, member: Arc::clone(member) })));
    }

    /// Records that the worker has received an assignment.
    pub(super) fn acknowledge<'a>(&self, partitions: impl Iterator<Item = &'a Partition>, epoch: u64) {
        self.lock().acknowledged.extend(partitions.map(|partition| (partition.clone(), epoch)));
    }

    /// The group wants partitions back; they are given up with the acknowledgement or at the deadline.
    pub(super) fn revoke(&self, partitions: Vec<Partition>, ack: oneshot::Receiver<()>, deadline: Instant) {
        self.lock().revocations.push(Revocation { partitions, ack, deadline });
    }

    /// Drops partitions that others may own already.
    pub(super) fn lose(&self, partitions: &[Partition]) {
        self.lock().assigned.retain(|partition, _| !partitions.contains(partition));
    }

    /// Drops all partitions: this member is in no group any more.
    pub(super) fn lose_all(&self) {
        self.lock().assigned.clear();
    }

    /// Whether revoked partitions are given up.
    pub(super) fn is_given_up(&self, partitions: &[Partition]) -> bool {
        let inner = self.lock();
        !partitions.iter().any(|partition| inner.assigned.contains_key(partition))
    }

    /// Partitions that were assigned to us under another member id: the membership was lost meanwhile.
    pub(super) fn of_former_members(&self, member: &str) -> Vec<Partition> {
        let inner = self.lock();
        inner.assigned.iter().filter(|(_, by)| *by.member != *member).map(|(partition, _)| partition.clone()).collect()
    }

    /// Whether all of some partitions are held, under this member id if one is given; names one that is not.
    pub(super) fn check<'a>(
        &self,
        partitions: impl Iterator<Item = &'a Partition>,
        member: Option<&str>,
    ) -> Result<(), Partition> {
        let inner = self.lock();
        for partition in partitions {
            let is_owned = inner.assigned.get(partition).is_some_and(|assigned| {
                inner.acknowledged.get(partition) == Some(&assigned.epoch)
                    && member.is_none_or(|member| *assigned.member == *member)
            });
            if !is_owned {
                return Err(partition.clone());
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Lets go of what was acknowledged, or should have been by now.
    fn settle(&mut self) {
        if self.revocations.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut pending = Vec::new();
        for mut revocation in std::mem::take(&mut self.revocations) {
            let waits = matches!(revocation.ack.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            if waits && now < revocation.deadline {
                pending.push(revocation);
            } else {
                self.assigned.retain(|partition, _| !revocation.partitions.contains(partition));
            }
        }
        self.revocations = pending;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn partition(number: i32) -> Partition {
        Partition { topic: "in".into(), number }
    }

    /// Two partitions, assigned to `a` and acknowledged by the worker.
    fn ownership() -> Ownership {
        let ownership = Ownership::default();
        ownership.assign([partition(0), partition(1)].into_iter(), 1, &"a".into());
        ownership.acknowledge([partition(0), partition(1)].iter(), 1);
        ownership
    }

    fn is_held(ownership: &Ownership, number: i32) -> bool {
        ownership.check([partition(number)].iter(), Some("a")).is_ok()
    }

    #[test]
    fn an_assignment_counts_once_the_worker_heard_of_it() {
        let ownership = Ownership::default();
        ownership.assign([partition(0)].into_iter(), 1, &"a".into());
        assert!(!is_held(&ownership, 0));
        ownership.acknowledge([partition(0)].iter(), 1);
        assert!(is_held(&ownership, 0));
    }

    #[test]
    fn a_partition_that_went_and_came_back_unheard_is_not_held() {
        let ownership = ownership();
        ownership.lose(&[partition(0)]);
        ownership.assign([partition(0)].into_iter(), 2, &"a".into());
        assert!(!is_held(&ownership, 0), "a step may still be of the assignment before");
        assert!(is_held(&ownership, 1));
        ownership.acknowledge([partition(0)].iter(), 2);
        assert!(is_held(&ownership, 0));
    }

    #[test]
    fn a_revoke_ends_with_its_acknowledgement_or_its_deadline() {
        let ownership = ownership();
        let (ack, acknowledged) = oneshot::channel();
        ownership.revoke(vec![partition(0)], acknowledged, Instant::now() + Duration::from_secs(3_600));
        assert!(is_held(&ownership, 0), "what is complete can still be committed");
        assert!(!ownership.is_given_up(&[partition(0)]));
        ack.send(()).unwrap();
        assert!(!is_held(&ownership, 0));
        assert!(ownership.is_given_up(&[partition(0)]));

        let (_ack, acknowledged) = oneshot::channel();
        ownership.revoke(vec![partition(1)], acknowledged, Instant::now());
        assert!(!is_held(&ownership, 1));
    }

    #[test]
    fn a_membership_that_was_won_again_holds_nothing_of_the_one_before() {
        let ownership = ownership();
        assert!(ownership.check([partition(0)].iter(), Some("b")).is_err());
        assert_eq!(ownership.of_former_members("b"), [partition(0), partition(1)]);
        assert!(ownership.of_former_members("a").is_empty());
        ownership.lose_all();
        assert!(!is_held(&ownership, 1));
    }
}
