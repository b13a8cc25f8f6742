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

use crate::log::Partition;

/// Shared by the poll thread, the reader and the writer of a membership.
#[derive(Default)]
pub(super) struct Held(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// What the group gave to us.
    assigned: BTreeMap<Partition, Assigned>,
    /// What the worker has heard of.
    told: BTreeMap<Partition, u64>,
    revocations: Vec<Revocation>,
}

struct Assigned {
    /// Of two assignments of a partition, the later one has the higher.
    epoch: u64,
    /// Who we were in the group.
    member: Arc<str>,
}

struct Revocation {
    partitions: Vec<Partition>,
    ack: oneshot::Receiver<()>,
    deadline: Instant,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle();
        inner
    }

    /// The group gave us partitions.
    pub(super) fn assign(&self, partitions: impl Iterator<Item = Partition>, epoch: u64, member: &Arc<str>) {
        let mut inner = self.lock();
        inner.assigned.extend(partitions.map(|p| (p, Assigned { epoch, member: Arc::clone(member) })));
    }

    /// The worker hears of it.
    pub(super) fn tell<'a>(&self, partitions: impl Iterator<Item = &'a Partition>, epoch: u64) {
        self.lock().told.extend(partitions.map(|partition| (partition.clone(), epoch)));
    }

    /// The group wants partitions back; they are given up with the acknowledgement or at the deadline.
    pub(super) fn revoke(&self, partitions: Vec<Partition>, ack: oneshot::Receiver<()>, deadline: Instant) {
        self.lock().revocations.push(Revocation { partitions, ack, deadline });
    }

    /// Others may own them already.
    pub(super) fn lose(&self, partitions: &[Partition]) {
        self.lock().assigned.retain(|partition, _| !partitions.contains(partition));
    }

    /// This member is in no group any more.
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
    ) -> std::result::Result<(), Partition> {
        let inner = self.lock();
        for partition in partitions {
            let held = inner.assigned.get(partition).is_some_and(|assigned| {
                inner.told.get(partition) == Some(&assigned.epoch)
                    && member.is_none_or(|member| *assigned.member == *member)
            });
            if !held {
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
