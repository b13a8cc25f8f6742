//! Who owns which partition: leases in the file, balanced by every member for itself.
//!
//! Members agree because each decides inside a write transaction, from the same rows. A member that has too many
//! partitions asks its worker to give some up; only when that is done are they free for others to take.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Transaction};
use uuid::Uuid;

use super::fetch::committed;
use crate::{Partition, Position, Topic, sqlite::schema::failure};
use deckle_contract::error::{Failure, Result};

/// One incarnation of one member of one group.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) group: String,
    pub(super) member: String,
    /// Of two that have the same name, the one that joined last is the member.
    pub(super) incarnation: i64,
    pub(super) topics: Vec<Topic>,
}

impl Identity {
    pub(super) fn new(group: &str, member: &str, topics: &[Topic]) -> Self {
        // Random bits only: a name for this process's lease, which never leaves the file.
        let incarnation = (Uuid::now_v7().as_u128() & (i64::MAX as u128)) as i64;
        Self { group: group.to_owned(), member: member.to_owned(), incarnation, topics: topics.to_vec() }
    }
}

/// A partition that this member owns, as the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    pub(super) epoch: i64,
}

/// What a look at the leases showed and changed.
pub(super) struct Tick {
    /// All leases of this member.
    pub(super) owned: Vec<Lease>,
    /// Those of them that are new, with the position to start from and the start of the log.
    pub(super) taken: Vec<(Lease, Position, i64)>,
    /// Ids of partitions that the worker should give up.
    pub(super) surplus: Vec<i64>,
    /// The group's generation after this look.
    pub(super) generation: i64,
    /// When the next sign of life of another member runs out.
    pub(super) next_expiry_us: Option<i64>,
}

/// Makes this incarnation the member of its name.
pub(super) fn register(transaction: &Transaction<'_>, who: &Identity, expires_us: i64) -> Result<()> {
    let topics: Vec<&str> = who.topics.iter().map(|topic| &**topic).collect();
    let topics = serde_json::to_string(&topics).map_err(|error| Failure::defect(error.to_string()))?;
    transaction
        .execute(
            "INSERT INTO members VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
             incarnation = excluded.incarnation, topics = excluded.topics, expires_us = excluded.expires_us",
            (&who.group, &who.member, who.incarnation, topics, expires_us),
        )
        .and_then(|_| bump_generation(transaction, &who.group))
        .map_err(failure)
}

/// Removes the member, and frees what it owns.
pub(super) fn leave(transaction: &Transaction<'_>, who: &Identity) -> rusqlite::Result<()> {
    let name = (&who.group, &who.member, who.incarnation);
    transaction.execute("DELETE FROM members WHERE group_name = ? AND member = ? AND incarnation = ?", name)?;
    transaction
        .execute("UPDATE leases SET member = NULL WHERE group_name = ? AND member = ? AND incarnation = ?", name)?;
    bump_generation(transaction, &who.group)
}

/// Counts the generation up, which makes the other members look at the leases.
fn bump_generation(transaction: &Transaction<'_>, group: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO groups VALUES (?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1";
    transaction.execute(sql, [group]).map(drop)
}

/// Moves when members must look at the leases.
pub(super) fn generation(connection: &rusqlite::Connection, group: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT generation FROM groups WHERE name = ?")?
        .query_row([group], |row| row.get(0))
        .optional()
        .map(|found| found.unwrap_or(0))
}

/// Whether this member owns the lease, asked inside the transaction that depends on it.
pub(super) fn owns(transaction: &Transaction<'_>, who: &Identity, lease: Lease) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT 1 FROM leases
             WHERE group_name = ? AND partition = ? AND member = ? AND incarnation = ? AND epoch = ?",
        )?
        .exists((&who.group, lease.id, &who.member, who.incarnation, lease.epoch))
}

/// Whether another incarnation has taken this member's name.
pub(super) fn is_replaced(transaction: &Transaction<'_>, who: &Identity) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM members WHERE group_name = ? AND member = ? AND incarnation <> ?")?
        .exists((&who.group, &who.member, who.incarnation))
}

/// Gives a sign of life, frees `released` and what the dead own, takes a fair share of what is free. `ours` are the
/// ids of what this member knows to be its own, and whether the worker is giving it up already; `partitions` are those
/// of all its topics.
pub(super) fn tick(
    transaction: &Transaction<'_>,
    who: &Identity,
    partitions: &[(Partition, i64)],
    released: &[Lease],
    ours: &BTreeMap<i64, bool>,
    (now_us, expires_us): (i64, i64),
) -> Result<Tick> {
    if is_replaced(transaction, who).map_err(failure)? {
        return Err(Failure::defect(format!(
            "log.member_replaced: another process has joined {} as {}; every worker needs a name of its own",
            who.group, who.member
        )));
    }
    let rows = signs_of_life(transaction, who, partitions, released, (now_us, expires_us)).map_err(failure)?;
    let mut tick = Tick {
        owned: Vec::new(),
        taken: Vec::new(),
        surplus: Vec::new(),
        generation: 0,
        next_expiry_us: rows.members.iter().filter(|other| other.name != who.member).map(|o| o.expires_us).min(),
    };
    let mut take = Vec::new();
    for topic in &who.topics {
        let ids = partitions.iter().filter(|(partition, _)| partition.topic == *topic).map(|&(_, id)| id);
        let of_topic: Vec<&LeaseRow> = ids.filter_map(|id| rows.leases.get(&id)).collect();
        let subscribers: BTreeSet<&str> =
            rows.members.iter().filter(|m| m.topics.iter().any(|t| **t == **topic)).map(|m| m.name.as_str()).collect();
        let mine: Vec<&&LeaseRow> = of_topic.iter().filter(|lease| lease.owner() == Some(&who.member)).collect();
        // Of the incarnation before, or taken by a transaction whose outcome we did not learn.
        let unknown =
            mine.iter().filter(|lease| lease.incarnation != Some(who.incarnation) || !ours.contains_key(&lease.id));
        take.extend(unknown.map(|lease| lease.id));
        let staying: Vec<i64> = mine.iter().map(|lease| lease.id).filter(|id| ours.get(id) != Some(&true)).collect();
        let quota = quota(&who.member, &subscribers, &of_topic);
        if staying.len() > quota {
            tick.surplus.extend(&staying[quota..]);
        } else {
            let free = of_topic.iter().filter(|lease| lease.owner().is_none());
            take.extend(free.take(quota.saturating_sub(mine.len())).map(|lease| lease.id));
        }
    }
    for id in take {
        take_lease(transaction, who, id, expires_us).map_err(failure)?;
        let position = committed(transaction, &who.group, id)?;
        let (start, _) = super::fetch::bounds(transaction, id).map_err(failure)?;
        tick.taken.push((Lease { id, epoch: rows.leases[&id].epoch + 1 }, position, start));
    }
    let new: BTreeSet<i64> = tick.taken.iter().map(|(lease, ..)| lease.id).collect();
    let kept = rows.leases.values().filter(|lease| lease.owner() == Some(&who.member) && !new.contains(&lease.id));
    tick.owned.extend(kept.map(|lease| Lease { id: lease.id, epoch: lease.epoch }));
    tick.owned.extend(tick.taken.iter().map(|(lease, ..)| *lease));
    tick.generation = generation(transaction, &who.group).map_err(failure)?;
    Ok(tick)
}

/// How many of a topic's partitions a member should have. The rest of an uneven division goes to those who have most
/// already, so that nothing moves without need.
fn quota(member: &str, subscribers: &BTreeSet<&str>, leases: &[&LeaseRow]) -> usize {
    let mut counts: BTreeMap<&str, usize> = subscribers.iter().map(|name| (*name, 0)).collect();
    for lease in leases {
        if let Some(count) = lease.owner().and_then(|owner| counts.get_mut(owner.as_str())) {
            *count += 1;
        }
    }
    let mut ranked: Vec<(&str, usize)> = counts.into_iter().collect();
    ranked.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let Some(rank) = ranked.iter().position(|(name, _)| *name == member) else { return 0 };
    leases.len() / ranked.len() + usize::from(rank < leases.len() % ranked.len())
}

struct Rows {
    members: Vec<MemberRow>,
    leases: BTreeMap<i64, LeaseRow>,
}

struct MemberRow {
    name: String,
    topics: Vec<String>,
    expires_us: i64,
}

struct LeaseRow {
    id: i64,
    member: Option<String>,
    incarnation: Option<i64>,
    epoch: i64,
}

impl LeaseRow {
    fn owner(&self) -> Option<&String> {
        self.member.as_ref()
    }
}

/// Everything that needs no decision; returns the rows for those that do.
fn signs_of_life(
    transaction: &Transaction<'_>,
    who: &Identity,
    partitions: &[(Partition, i64)],
    released: &[Lease],
    (now_us, expires_us): (i64, i64),
) -> rusqlite::Result<Rows> {
    let group = &who.group;
    let known = transaction.execute(
        "UPDATE members SET expires_us = ? WHERE group_name = ? AND member = ? AND incarnation = ?",
        (expires_us, group, &who.member, who.incarnation),
    )?;
    transaction.execute(
        "UPDATE leases SET expires_us = ? WHERE group_name = ? AND member = ? AND incarnation = ?",
        (expires_us, group, &who.member, who.incarnation),
    )?;
    let mut moved = 0;
    for lease in released {
        moved += transaction.execute(
            "UPDATE leases SET member = NULL
             WHERE group_name = ? AND partition = ? AND member = ? AND incarnation = ? AND epoch = ?",
            (group, lease.id, &who.member, who.incarnation, lease.epoch),
        )?;
    }
    moved += transaction.execute("DELETE FROM members WHERE group_name = ? AND expires_us <= ?", (group, now_us))?;
    moved += transaction.execute(
        "UPDATE leases SET member = NULL WHERE group_name = ? AND member IS NOT NULL AND expires_us <= ?",
        (group, now_us),
    )?;
    for (_, id) in partitions {
        let mut ensure = transaction.prepare_cached("INSERT OR IGNORE INTO leases VALUES (?, ?, NULL, NULL, 0, 0)")?;
        ensure.execute((group, id))?;
    }
    if known == 0 {
        // Others thought us dead while the process was stopped.
        register(transaction, who, expires_us).map_err(|_| rusqlite::Error::InvalidQuery)?;
    } else if moved > 0 {
        bump_generation(transaction, group)?;
    }
    let mut members =
        transaction.prepare_cached("SELECT member, topics, expires_us FROM members WHERE group_name = ?")?;
    let members = members
        .query_map([group], |row| {
            let topics = serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default();
            Ok(MemberRow { name: row.get(0)?, topics, expires_us: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut leases =
        transaction.prepare_cached("SELECT partition, member, incarnation, epoch FROM leases WHERE group_name = ?")?;
    let leases = leases
        .query_map([group], |row| {
            let id = row.get(0)?;
            Ok((id, LeaseRow { id, member: row.get(1)?, incarnation: row.get(2)?, epoch: row.get(3)? }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Rows { members, leases })
}

fn take_lease(transaction: &Transaction<'_>, who: &Identity, id: i64, expires_us: i64) -> rusqlite::Result<()> {
    transaction
        .execute(
            "UPDATE leases SET member = ?, incarnation = ?, epoch = epoch + 1, expires_us = ?
             WHERE group_name = ? AND partition = ?",
            (&who.member, who.incarnation, expires_us, &who.group, id),
        )
        .map(drop)
}
