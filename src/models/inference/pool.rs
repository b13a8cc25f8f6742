//! N threads, each owning one model, fed by one batcher.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::{Notify, oneshot};

pub use self::stats::Stats;
use super::{
    Model,
    batcher::{self, Batch, Batcher, Full, Next, Ticket},
};
use crate::computing::thread_cpu;
use deckle_contract::{
    error::{Failure, Result},
    record::Lane,
};

mod stats;

/// Names the origin of an item for observers, such as a document's id.
pub type Tag = Arc<str>;

type Factory<M> = dyn Fn(usize) -> Result<M> + Send + Sync;
type Observer = dyn Fn(&Report<'_>) + Send + Sync;

/// Sessions of one model and the queue before them. Dropping it waits for the batches that run.
pub struct Pool<M: Model> {
    shared: Arc<Shared<M>>,
    threads: Vec<JoinHandle<()>>,
}

/// The output of one item and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// The model's output.
    pub output: T,
    /// Time in the queue.
    pub waited: Duration,
    /// This item's share of the time in the model, by its length.
    pub busy: Duration,
    /// This item's share of the processor time of the session's thread. Exact where a session has one thread; native
    /// threads beside it are not seen.
    pub cpu: Duration,
    /// How many items ran with it, itself included.
    pub batch_items: usize,
}

/// One run of a model, reported to the observers before the callers have their answers. A halved batch is several runs.
#[derive(Debug)]
pub struct Report<'a> {
    /// Name of the pool.
    pub model: &'a str,
    /// Which session ran it.
    pub session: usize,
    /// Tag of each item.
    pub tags: &'a [Tag],
    /// Sum of the items' own lengths.
    pub cost: u64,
    /// Longest length times items.
    pub padded_cost: u64,
    /// The longest time an item waited.
    pub waited: Duration,
    /// Time in the model.
    pub busy: Duration,
    /// Whether the run failed.
    pub failed: bool,
}

struct Shared<M: Model> {
    name: String,
    state: Mutex<State<M>>,
    /// Wakes a session: something was pushed, or the pool closes.
    work: Condvar,
    admissions: [AdmissionQueue; 2],
    factory: Box<Factory<M>>,
    observers: RwLock<Vec<Box<Observer>>>,
    stats: stats::Counters,
}

struct State<M: Model> {
    batcher: Batcher<Job<M>>,
    closed: bool,
}

/// Where callers of one lane wait for room, in the order they came.
#[derive(Default)]
struct AdmissionQueue {
    /// Held by the first in line.
    turn: tokio::sync::Mutex<()>,
    /// Notifies the first in line that items have left.
    freed: Notify,
}

struct Job<M: Model> {
    input: M::Input,
    tag: Tag,
    answer: oneshot::Sender<Result<Answer<M::Output>>>,
}

impl<M: Model> Pool<M> {
    /// Starts `sessions` threads and builds each one's model on it with `factory` (called with the session's number,
    /// and again when a model has panicked). Returns when all are ready.
    pub fn new(
        name: &str,
        sessions: usize,
        config: batcher::Config,
        factory: impl Fn(usize) -> Result<M> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            state: Mutex::new(State { batcher: Batcher::new(config), closed: false }),
            work: Condvar::new(),
            admissions: Default::default(),
            factory: Box::new(factory),
            observers: RwLock::new(Vec::new()),
            stats: stats::Counters::default(),
        });
        let mut pool = Self { shared: Arc::clone(&shared), threads: Vec::new() };
        let (ready, started) = std::sync::mpsc::channel();
        for session in 0..sessions.max(1) {
            let (shared, ready) = (Arc::clone(&shared), ready.clone());
            let thread = std::thread::Builder::new().name(format!("{name}-{session}")).spawn(move || {
                let model = shared.build(session);
                let _ = ready.send(model.as_ref().map(|_| ()).map_err(Clone::clone));
                drop(ready);
                if let Ok(model) = model {
                    Worker { shared: &shared, session, model: Some(model) }.serve();
                }
            });
            pool.threads.push(thread.with_context(|| format!("cannot start a thread for model {name}"))?);
        }
        drop(ready);
        for outcome in started {
            outcome.with_context(|| format!("model {name} does not start"))?;
        }
        Ok(pool)
    }

    /// Runs one item in some batch. Dropping the future takes the item out of the queue.
    pub async fn infer(&self, input: M::Input) -> Result<M::Output> {
        Ok(self.ask(input, Lane::default(), Tag::from("")).await?.output)
    }

    /// [`Pool::infer`], with a tag that observers see.
    pub async fn infer_tagged(&self, input: M::Input, tag: impl Into<Tag>) -> Result<M::Output> {
        Ok(self.ask(input, Lane::default(), tag.into()).await?.output)
    }

    /// Runs one item in some batch; returns its output with what it took.
    pub async fn ask(&self, input: M::Input, lane: Lane, tag: Tag) -> Result<Answer<M::Output>> {
        let size = M::size(&input);
        let (sender, receiver) = oneshot::channel();
        let queued = self.enter(lane, size, Job { input, tag, answer: sender }).await?;
        let answer = receiver.await;
        drop(queued);
        answer.unwrap_or_else(|_| Err(Failure::defect(format!("the sessions of model {} ended", self.shared.name))))
    }

    /// Calls `observer` for each run of the model, on the session's thread: it must be quick.
    pub fn observe(&self, observer: impl Fn(&Report<'_>) + Send + Sync + 'static) {
        self.shared.observers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(observer));
    }

    /// The sums of all that was done until now.
    pub fn stats(&self) -> Stats {
        let queued = self.shared.lock().batcher.len();
        self.shared.stats.snapshot(queued)
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.threads.len()
    }

    /// Waits for room in the lane, first come first served, and queues the job.
    async fn enter(&self, lane: Lane, size: super::Size, mut job: Job<M>) -> Result<Leave<'_, M>> {
        let admission = self.shared.admission(lane);
        let _turn = admission.turn.lock().await;
        loop {
            let pushed = {
                let mut state = self.shared.lock();
                state.batcher.push(Instant::now(), lane, size, job)
            };
            match pushed {
                Ok(ticket) => {
                    self.shared.work.notify_one();
                    return Ok(Leave { shared: &self.shared, ticket, lane });
                }
                Err(Full(back)) => job = back,
            }
            admission.freed.notified().await;
        }
    }
}

impl<M: Model> Drop for Pool<M> {
    /// Nobody waits for an answer any more, since callers borrow the pool; the sessions finish what they run. They are
    /// joined because native libraries must not run while the process takes itself down.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Takes a job out of the queue when its caller goes away.
struct Leave<'a, M: Model> {
    shared: &'a Shared<M>,
    ticket: Ticket,
    lane: Lane,
}

impl<M: Model> Drop for Leave<'_, M> {
    fn drop(&mut self) {
        let cancelled = self.shared.lock().batcher.cancel(self.ticket);
        if cancelled.is_some() {
            self.shared.admission(self.lane).freed.notify_one();
        }
    }
}

impl<M: Model> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admission(&self, lane: Lane) -> &AdmissionQueue {
        match lane {
            Lane::Interactive => &self.admissions[0],
            Lane::Bulk => &self.admissions[1],
        }
    }

    fn build(&self, session: usize) -> Result<M> {
        catch_unwind(AssertUnwindSafe(|| (self.factory)(session)))
            .unwrap_or_else(|panic| Err(Failure::defect(format!("loading the model panicked: {}", message(&*panic)))))
    }

    /// Waits for the next batch; `None` when the pool has closed and nothing is left.
    fn next_batch(&self) -> Option<Batch<Job<M>>> {
        let mut state = self.lock();
        let batch = loop {
            if state.closed {
                break state.batcher.flush(Instant::now())?;
            }
            state = match state.batcher.next(Instant::now()) {
                Next::Send(batch) => break batch,
                Next::Wait(time) => self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
                Next::Idle => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        };
        let more = !state.batcher.is_empty();
        drop(state);
        // Another free session looks after the rest; callers at the doors may come in.
        if more {
            self.work.notify_one();
        }
        for admission in &self.admissions {
            admission.freed.notify_one();
        }
        Some(batch)
    }
}

/// One session's thread.
struct Worker<'a, M: Model> {
    shared: &'a Shared<M>,
    session: usize,
    /// `None` after a panic, until the factory has built another.
    model: Option<M>,
}

/// A job on its way through the model.
struct Running<M: Model> {
    length: u32,
    waited: Duration,
    tag: Tag,
    answer: oneshot::Sender<Result<Answer<M::Output>>>,
}

/// The time that one run of the model took.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    busy: Duration,
    cpu: Duration,
}

impl<M: Model> Worker<'_, M> {
    fn serve(mut self) {
        while let Some(batch) = self.shared.next_batch() {
            // What escapes here is an observer's panic; its batch's callers get a defect, the session lives on.
            let _ = catch_unwind(AssertUnwindSafe(|| self.settle(batch)));
        }
    }

    /// Runs a batch until each of its items has an answer.
    fn settle(&mut self, batch: Batch<Job<M>>) {
        let (mut running, mut inputs) = (Vec::new(), Vec::new());
        for item in batch.items {
            let Job { input, tag, answer } = item.value;
            if answer.is_closed() {
                continue; // its caller has gone
            }
            inputs.push(input);
            running.push(Running { length: item.size.length, waited: item.waited, tag, answer });
        }
        self.settle_part(running, &inputs);
    }

    fn settle_part(&mut self, mut running: Vec<Running<M>>, inputs: &[M::Input]) {
        if running.is_empty() {
            return;
        }
        let (outcome, spent) = self.run(inputs);
        self.report(&running, spent.busy, outcome.is_err());
        match outcome {
            Ok(outputs) => answer_all(running, outputs, spent),
            Err(failure) if running.len() == 1 || matches!(failure, Failure::Unavailable { .. }) => {
                for item in running {
                    let _ = item.answer.send(Err(failure.clone()));
                }
            }
            Err(_) => {
                let half = running.len() / 2;
                let rest = running.split_off(half);
                self.settle_part(running, &inputs[..half]);
                self.settle_part(rest, &inputs[half..]);
            }
        }
    }

    /// One run of the model. A panic is a defect, and the model is thrown away: its state is unknown.
    fn run(&mut self, inputs: &[M::Input]) -> (Result<Vec<M::Output>>, Spent) {
        let mut model = match self.model.take().map_or_else(|| self.rebuild(), Ok) {
            Ok(model) => model,
            Err(failure) => return (Err(failure), Spent::default()),
        };
        let (started, cpu_started) = (Instant::now(), thread_cpu());
        let outcome = catch_unwind(AssertUnwindSafe(|| model.run(inputs)));
        let spent = Spent { busy: started.elapsed(), cpu: thread_cpu().saturating_sub(cpu_started) };
        let name = &self.shared.name;
        let outcome = match outcome {
            Ok(outcome) => {
                self.model = Some(model);
                outcome
            }
            Err(panic) => {
                // Its destructor runs on the broken state and may panic too.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(model)));
                Err(Failure::defect(format!("model {name} panicked: {}", message(&*panic))))
            }
        };
        let outcome = outcome.and_then(|outputs| match outputs.len() == inputs.len() {
            true => Ok(outputs),
            false => {
                Err(Failure::defect(format!("model {name} gave {} outputs for {} inputs", outputs.len(), inputs.len())))
            }
        });
        (outcome, spent)
    }

    fn rebuild(&self) -> Result<M> {
        tracing::warn!(model = self.shared.name, session = self.session, "rebuilding the model after a panic");
        self.shared.stats.rebuilt();
        self.shared
            .build(self.session)
            .map_err(|failure| Failure::unavailable("model", format!("{} does not load: {failure}", self.shared.name)))
    }

    fn report(&self, running: &[Running<M>], busy: Duration, failed: bool) {
        let longest = running.iter().map(|item| item.length).max().unwrap_or(0);
        let tags: Vec<Tag> = running.iter().map(|item| Arc::clone(&item.tag)).collect();
        let report = Report {
            model: &self.shared.name,
            session: self.session,
            tags: &tags,
            cost: running.iter().map(|item| u64::from(item.length)).sum(),
            padded_cost: super::bucket::padded_cost(longest, running.len()),
            waited: running.iter().map(|item| item.waited).max().unwrap_or(Duration::ZERO),
            busy,
            failed,
        };
        self.shared.stats.ran(&report, running.iter().map(|item| item.waited).sum());
        for observer in self.shared.observers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            observer(&report);
        }
    }
}

fn answer_all<M: Model>(running: Vec<Running<M>>, outputs: Vec<M::Output>, spent: Spent) {
    let batch_items = running.len();
    let total: f64 = running.iter().map(|item| f64::from(item.length)).sum();
    for (item, output) in running.into_iter().zip(outputs) {
        let share = f64::from(item.length) / total.max(1.0);
        let (busy, cpu) = (spent.busy.mul_f64(share), spent.cpu.mul_f64(share));
        // A caller that has gone needs no answer.
        let _ = item.answer.send(Ok(Answer { output, waited: item.waited, busy, cpu, batch_items }));
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
