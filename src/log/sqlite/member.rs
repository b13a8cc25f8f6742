//! The thread of a membership: it keeps the leases alive, whatever the worker does, and reads when asked.
//!
//! The law: what the worker acknowledged or was too slow to acknowledge is out of `Ownership` before its lease is freed
//! in the file, so this member commits nothing of it while another may already own it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{mpsc as channel, oneshot};

use super::{
    Shared,
    fetch::{Budget, Cursor, check_start, fetch},
    lease::{self, Identity, Lease, Tick},
    schema::{begin_write, data_version, failure, is_busy, now_us},
};
use crate::{Event, Partition};
use deckle_contract::error::{Failure, Result};

/// The shortest pause between two looks, taken right after something happened.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// A request of the worker to the thread of its membership.
pub(crate) enum Command {
    /// The worker waits for records.
    Want,
    /// The worker wants no records of these partitions until they are resumed.
    Pause(Vec<Partition>),
    /// The worker wants records of these partitions again.
    Resume(Vec<Partition>),
    /// Free everything and stop.
    Leave(oneshot::Sender<Result<()>>),
    /// Something was committed in this process.
    Wake,
}

/// The worker's end of the channels to the thread.
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: channel::UnboundedReceiver<Result<Event>>,
}

/// The leases under which this member may commit; shared with its writer.
#[derive(Default)]
pub(super) struct Ownership {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    leases: BTreeMap<Partition, Lease>,
    revocations: Vec<Revocation>,
    /// Leases that the worker gave up, and that are not yet freed in the file.
    released: Vec<(Partition, Lease)>,
}

struct Revocation {
    /// The partitions with their leases: one that came back meanwhile under another lease is not meant.
    leases: Vec<(Partition, Lease)>,
    ack: oneshot::Receiver<()>,
    deadline: Instant,
}

impl Ownership {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases of some partitions; the name of one that is not held.
    pub(super) fn leases<'a>(
        &self,
        partitions: impl Iterator<Item = &'a Partition>,
    ) -> std::result::Result<Vec<Lease>, Partition> {
        let mut inner = self.lock();
        inner.settle();
        partitions.map(|partition| inner.leases.get(partition).copied().ok_or_else(|| partition.clone())).collect()
    }
}

impl Inner {
    /// Lets go of what was acknowledged, or should have been by now.
    fn settle(&mut self) {
        let now = Instant::now();
        let mut pending = Vec::new();
        for mut revocation in std::mem::take(&mut self.revocations) {
            let waits = matches!(revocation.ack.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            if waits && now < revocation.deadline {
                pending.push(revocation);
                continue;
            }
            for (partition, lease) in revocation.leases {
                if self.leases.get(&partition) == Some(&lease) {
                    self.leases.remove(&partition);
                    self.released.push((partition, lease));
                }
            }
        }
        self.revocations = pending;
    }
}

/// Joins the group and starts the thread.
pub(super) async fn join(
    shared: &Arc<Shared>,
    who: Identity,
    partitions: Vec<(Partition, i64)>,
    connection: Connection,
) -> Result<(Handle, Arc<Ownership>)> {
    let (commands, inbox) = mpsc::channel();
    let (events, outbox) = channel::unbounded_channel();
    let ownership = Arc::new(Ownership::default());
    let mut member = Member {
        shared: Arc::clone(shared),
        who,
        partitions,
        connection,
        inbox,
        events,
        ownership: Arc::clone(&ownership),
        owned: BTreeMap::new(),
        wanted: false,
        hungry: false,
        look_at: Instant::now(),
        generation: 0,
        seen: 0,
        pause: SHORTEST_PAUSE,
    };
    let (joined, outcome) = oneshot::channel();
    thread::Builder::new()
        .name(format!("log-{}", member.who.group))
        .spawn(move || {
            let registered = member.register();
            let go_on = registered.is_ok();
            if joined.send(registered).is_ok() && go_on {
                member.run();
            }
        })
        .map_err(|error| Failure::unavailable("log", format!("cannot start a thread: {error}")))?;
    outcome.await.map_err(|_| Failure::defect("log.sqlite: the member's thread has stopped"))??;
    let mut members = shared.members.lock().unwrap_or_else(PoisonError::into_inner);
    members.push(commands.clone());
    drop(members);
    shared.wake();
    Ok((Handle { commands, events: outbox }, ownership))
}

struct Member {
    shared: Arc<Shared>,
    who: Identity,
    /// All partitions of its topics.
    partitions: Vec<(Partition, i64)>,
    connection: Connection,
    inbox: mpsc::Receiver<Command>,
    events: channel::UnboundedSender<Result<Event>>,
    ownership: Arc<Ownership>,
    owned: BTreeMap<Partition, PartitionState>,
    /// Whether the worker waits for records.
    wanted: bool,
    /// Whether there may be records that were not read.
    hungry: bool,
    /// When to look at the leases at the latest.
    look_at: Instant,
    generation: i64,
    /// The data version that the last read saw.
    seen: i64,
    /// The pause before the next look, which grows while nothing happens.
    pause: Duration,
}

/// A partition that is ours.
struct PartitionState {
    lease: Lease,
    cursor: Cursor,
    paused: bool,
    /// Whether the worker was asked to give it up.
    leaving: bool,
}

impl Member {
    fn register(&mut self) -> Result<()> {
        let expires = now_us() + self.shared.config.lease_ms as i64 * 1_000;
        let transaction = begin_write(&mut self.connection).map_err(failure)?;
        lease::register(&transaction, &self.who, expires)?;
        transaction.commit().map_err(failure)
    }

    #[expect(clippy::disallowed_methods, reason = "the member has a thread of its own")]
    fn run(mut self) {
        loop {
            match self.turn() {
                Ok(()) => {}
                // As with a broker that is away: we go on asking, and a lease that runs out meanwhile is reported lost.
                Err(Some(Failure::Unavailable { message, .. })) => {
                    tracing::warn!(group = self.who.group, member = self.who.member, message, "log unavailable");
                    thread::sleep(self.shared.config.poll());
                }
                Err(Some(failure)) => {
                    // Others may do better; this worker receives the reason why it ends.
                    let _ = self.free_all();
                    let _ = self.events.send(Err(failure));
                    return;
                }
                Err(None) => return,
            }
        }
    }

    /// One look at everything, and a pause when there was nothing to do.
    fn turn(&mut self) -> std::result::Result<(), Option<Failure>> {
        if self.events.is_closed() {
            return Err(None);
        }
        while let Some(command) = self.next_command(Duration::ZERO)? {
            self.obey(command)?;
        }
        let released = self.settle();
        let version = data_version(&self.connection).map_err(failure)?;
        let changed = version != self.seen;
        self.seen = version;
        self.hungry |= changed;
        let regrouped =
            changed && lease::generation(&self.connection, &self.who.group).map_err(failure)? != self.generation;
        if regrouped || !released.is_empty() || Instant::now() >= self.look_at {
            self.look(released)?;
        }
        if self.wanted && self.hungry && self.read()? {
            self.pause = SHORTEST_PAUSE;
            return Ok(());
        }
        if changed {
            self.pause = SHORTEST_PAUSE;
        }
        let until_look = self.look_at.saturating_duration_since(Instant::now());
        let pause = if self.owned.values().any(|state| state.leaving) { SHORTEST_PAUSE } else { self.pause };
        self.pause = (self.pause * 2).min(self.shared.config.poll());
        if let Some(command) = self.next_command(pause.min(until_look))? {
            self.obey(command)?;
        }
        Ok(())
    }

    /// A command, if one comes in time. An error when the worker's end is gone.
    fn next_command(&self, timeout: Duration) -> std::result::Result<Option<Command>, Option<Failure>> {
        match self.inbox.recv_timeout(timeout) {
            Ok(command) => Ok(Some(command)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(None),
        }
    }

    fn obey(&mut self, command: Command) -> std::result::Result<(), Option<Failure>> {
        match command {
            Command::Want => self.wanted = true,
            Command::Wake => self.pause = SHORTEST_PAUSE,
            Command::Pause(partitions) => self.set_paused(&partitions, true),
            Command::Resume(partitions) => self.set_paused(&partitions, false),
            Command::Leave(done) => {
                let _ = done.send(self.free_all());
                return Err(None);
            }
        }
        Ok(())
    }

    fn set_paused(&mut self, partitions: &[Partition], paused: bool) {
        for partition in partitions {
            if let Some(state) = self.owned.get_mut(partition) {
                state.paused = paused;
                self.hungry |= !paused;
            }
        }
    }

    /// What the worker has let go of since.
    fn settle(&mut self) -> Vec<Lease> {
        let mut ownership = self.ownership.lock();
        ownership.settle();
        let released = std::mem::take(&mut ownership.released);
        drop(ownership);
        for (partition, _) in &released {
            self.owned.remove(partition);
        }
        released.into_iter().map(|(_, lease)| lease).collect()
    }

    /// Gives a sign of life and compares what we think is ours with the file.
    fn look(&mut self, released: Vec<Lease>) -> std::result::Result<(), Option<Failure>> {
        let config = &self.shared.config;
        let heartbeat = Duration::from_millis(config.heartbeat_ms);
        let tick = match self.tick(&released) {
            Ok(tick) => tick,
            Err(Failure::Unavailable { message, .. }) => {
                // Busy or a full disk: the lease outlives some failed signs. What was released stays to be freed.
                tracing::warn!(group = self.who.group, member = self.who.member, message, "heartbeat failed");
                let mut ownership = self.ownership.lock();
                let partition = |id| self.partitions.iter().find(|(_, known)| *known == id).map(|(p, _)| p.clone());
                ownership.released.extend(released.into_iter().filter_map(|lease| Some((partition(lease.id)?, lease))));
                self.look_at = Instant::now() + heartbeat / 8;
                return Ok(());
            }
            Err(other) => return Err(Some(other)),
        };
        let until_expiry = tick.next_expiry_us.map(|at| Duration::from_micros((at - now_us()).max(0) as u64 + 1_000));
        self.look_at = Instant::now() + until_expiry.map_or(heartbeat, |until| until.min(heartbeat));
        self.generation = tick.generation;
        self.drop_lost(&tick)?;
        self.give_up(tick.surplus)?;
        self.begin(tick.taken)
    }

    fn tick(&mut self, released: &[Lease]) -> Result<Tick> {
        let ours = self.owned.values().map(|state| (state.lease.id, state.leaving)).collect();
        let transaction = begin_write(&mut self.connection).map_err(failure)?;
        let now = now_us();
        let times = (now, now + self.shared.config.lease_ms as i64 * 1_000);
        let tick = lease::tick(&transaction, &self.who, &self.partitions, released, &ours, times)?;
        transaction.commit().map_err(failure)?;
        Ok(tick)
    }

    /// Leases that ran out and that others may have taken.
    fn drop_lost(&mut self, tick: &Tick) -> std::result::Result<(), Option<Failure>> {
        let kept = |lease: Lease| tick.owned.contains(&lease);
        let lost: Vec<Partition> =
            self.owned.iter().filter(|(_, state)| !kept(state.lease)).map(|(partition, _)| partition.clone()).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let mut ownership = self.ownership.lock();
        let mut to_report = Vec::new();
        for partition in lost {
            ownership.leases.remove(&partition);
            if self.owned.remove(&partition).is_some_and(|state| !state.leaving) {
                to_report.push(partition);
            }
        }
        drop(ownership);
        if to_report.is_empty() {
            return Ok(());
        }
        let (ack, _) = oneshot::channel();
        self.report(Event::Revoked { partitions: to_report, lost: true, ack })
    }

    /// Asks the worker to give up what others should have.
    fn give_up(&mut self, surplus: Vec<i64>) -> std::result::Result<(), Option<Failure>> {
        let mut leases = Vec::new();
        for (partition, state) in &mut self.owned {
            if surplus.contains(&state.lease.id) {
                state.leaving = true;
                leases.push((partition.clone(), state.lease));
            }
        }
        if leases.is_empty() {
            return Ok(());
        }
        let partitions = leases.iter().map(|(partition, _)| partition.clone()).collect();
        let (ack, acknowledged) = oneshot::channel();
        let deadline = Instant::now() + Duration::from_millis(self.shared.config.revoke_ms);
        self.ownership.lock().revocations.push(Revocation { leases, ack: acknowledged, deadline });
        self.report(Event::Revoked { partitions, lost: false, ack })
    }

    fn begin(&mut self, taken: Vec<(Lease, crate::Position, i64)>) -> std::result::Result<(), Option<Failure>> {
        let mut assigned = Vec::new();
        for (lease, position, start) in taken {
            let Some((partition, _)) = self.partitions.iter().find(|(_, id)| *id == lease.id) else { continue };
            check_start(partition, position.next, start)?;
            let cursor = Cursor::of_group(partition.clone(), lease.id, position.clone());
            self.owned.insert(partition.clone(), PartitionState { lease, cursor, paused: false, leaving: false });
            self.ownership.lock().leases.insert(partition.clone(), lease);
            assigned.push((partition.clone(), position));
        }
        if assigned.is_empty() {
            return Ok(());
        }
        self.hungry = true;
        self.report(Event::Assigned(assigned))
    }

    /// Reads once; whether there was something.
    fn read(&mut self) -> std::result::Result<bool, Option<Failure>> {
        let budget = Budget { bytes: self.shared.config.fetch_bytes, records: self.shared.config.fetch_records };
        let flowing = self.owned.iter().filter(|(_, state)| !state.paused && !state.leaving);
        // Copies: a read that fails half way has moved nothing.
        let mut cursors: Vec<Cursor> = flowing.map(|(_, state)| state.cursor.clone()).collect();
        let records = fetch(&mut self.connection, &mut cursors, budget)?;
        for cursor in cursors {
            if let Some(state) = self.owned.get_mut(&cursor.partition) {
                state.cursor = cursor;
            }
        }
        if records.is_empty() {
            self.hungry = false;
            return Ok(false);
        }
        self.wanted = false;
        self.report(Event::Records(records))?;
        Ok(true)
    }

    fn report(&self, event: Event) -> std::result::Result<(), Option<Failure>> {
        self.events.send(Ok(event)).map_err(|_| None)
    }

    fn free_all(&mut self) -> Result<()> {
        *self.ownership.lock() = Inner::default();
        let mut free = || -> rusqlite::Result<()> {
            let transaction = begin_write(&mut self.connection)?;
            lease::leave(&transaction, &self.who)?;
            transaction.commit()
        };
        let freed = match free() {
            Err(error) if is_busy(&error) => free(),
            other => other,
        };
        self.shared.wake();
        freed.map_err(failure)
    }
}
