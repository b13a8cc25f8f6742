//! Replay: published documents get the vectors of another model, made of the chunks that are stored.
//!
//! ```text
//! published documents ──no vectors of the model?──► documents.assembled (bulk) ──language──► ──publish──► its vectors
//! ```
//!
//! The law: a document is done when the store has a vector of the model for each chunk that readers see, and nothing
//! else is remembered. So a replay that was cut off anywhere goes on when it is begun again, records that come twice do
//! no harm, and one that was lost is sent again. No header moves, and no document is read, cut or published anew.
//!
//! Documents that are published meanwhile get their vectors on their path: language embeds by models that are being
//! built, and publish sends back what came without ([`active_models`] says from when on).

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::rate::Rate;
use deckle_contract::{
    error::{Failure, Result},
    record::{Assembled, Enriched, Envelope, Event, Lane, wire},
};
use deckle_log::{Log, NewRecord, Topic};
use deckle_stages::{language, publish};
use deckle_store::{
    DeadLetterFilter, DocumentKey, Header, ListFilter, Models, PublishedVersion, RunKey, Store, active_models,
};

/// Records on their way at once: enough for every batch of many workers, and few enough that uploads which come
/// meanwhile find a short queue.
const IN_FLIGHT: usize = 1_000;

/// Records appended at once where no rate is asked for.
const BATCH: usize = 32;

/// Headers of a page of a listing.
const PAGE: usize = 500;

/// Documents that the store is asked about at once.
const AT_ONCE: usize = 16;

/// Of those on their way, so many are looked at in a turn, and so long is waited after a turn that found none done.
const TURN: (usize, Duration) = (64, Duration::from_millis(50));

/// While there is more to send, it is looked so often whether any is done.
const GLANCE: Duration = Duration::from_millis(500);

/// When nothing was done for so long, it is asked why.
const PATIENCE: Duration = Duration::from_secs(3);

/// A selection of the published documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only documents of this tenant.
    pub tenant: Option<String>,
    /// Only documents published at this time or later, µs since 1970, UTC.
    pub since: Option<i64>,
    /// These, instead of all; what is not known or not published is passed over.
    pub documents: Option<Vec<DocumentKey>>,
}

/// How far the published documents are embedded by a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Published documents.
    pub documents: u64,
    /// Those of them that lack vectors of the model.
    pub lacking: u64,
}

/// Counts the published documents of a choice, and those that lack vectors of a model.
///
/// # Errors
/// When the store is away.
pub async fn survey(store: &dyn Store, choice: &Choice, model: &str) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut look = Look::new(store, choice, model);
    while let Some(part) = look.part().await? {
        survey.documents += part.len() as u64;
        survey.lacking += part.iter().filter(|(_, lacks)| *lacks).count() as u64;
    }
    Ok(survey)
}

/// A message of a replay about its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This many more documents have their vectors.
    Embedded(usize),
    /// A document is left as it is by this replay, and why; the next one tries it again.
    Left(DocumentKey, String),
    /// Nothing moves: no worker is there, or none has come so far.
    Stalled,
}

/// A replay under way.
pub struct Replay<'a> {
    log: &'a dyn Log,
    store: &'a dyn Store,
    choice: &'a Choice,
    model: &'a str,
    rate: Option<Rate>,
    in_flight: VecDeque<InFlight>,
    left: BTreeSet<DocumentKey>,
    /// The time at which a document was done last.
    moved: Instant,
    /// The time of the last look whether any is done.
    looked: Instant,
    /// Whether both stages were past all when it was asked why nothing is done.
    drained: bool,
    report: &'a mut (dyn FnMut(Step) + Send),
}

/// A document whose record was appended.
struct InFlight {
    key: DocumentKey,
    appended_at: i64,
}

impl<'a> Replay<'a> {
    /// Prepares the replay of a choice for a model, `rate` documents in a second at most.
    pub fn new(
        log: &'a dyn Log,
        store: &'a dyn Store,
        choice: &'a Choice,
        model: &'a str,
        rate: Option<f64>,
        report: &'a mut (dyn FnMut(Step) + Send),
    ) -> Self {
        let rate = rate.map(Rate::per_second);
        let (in_flight, left, now) = (VecDeque::new(), BTreeSet::new(), Instant::now());
        Self { log, store, choice, model, rate, in_flight, left, moved: now, looked: now, drained: false, report }
    }

    /// Works until a look at all of the choice finds none that lacks vectors, but for those it gives up. `models` is
    /// what was decided about the model.
    ///
    /// # Errors
    /// When log or store are away.
    pub async fn run(mut self, models: &Models) -> Result<()> {
        loop {
            // A look counts as the last only if no document can be published behind it without the vectors.
            let unsettled = until_settled(models, self.model);
            let sent = self.pass().await?;
            if sent == 0 && unsettled.is_zero() {
                return Ok(());
            }
            if sent == 0 {
                tokio::time::sleep(unsettled).await;
            }
        }
    }

    /// Sends what lacks vectors, and waits for it. Returns how many were sent.
    async fn pass(&mut self) -> Result<usize> {
        let mut sent = 0;
        let mut look = Look::new(self.store, self.choice, self.model);
        while let Some(part) = look.part().await? {
            let lacking = part.into_iter().filter(|(header, lacks)| *lacks && !self.left.contains(&header.key));
            let lacking: Vec<Header> = lacking.map(|(header, _)| header).collect();
            for batch in lacking.chunks(if self.rate.is_some() { 1 } else { BATCH }) {
                self.send(batch).await?;
                sent += batch.len();
            }
        }
        while !self.in_flight.is_empty() {
            self.wait().await?;
        }
        Ok(sent)
    }

    /// Sends documents on their way, when they may.
    async fn send(&mut self, batch: &[Header]) -> Result<()> {
        while self.in_flight.len() >= IN_FLIGHT {
            self.wait().await?;
        }
        if let Some(rate) = &mut self.rate {
            rate.turn().await;
        }
        if self.looked.elapsed() > GLANCE {
            self.take_done(TURN.0).await?;
        }
        if self.in_flight.is_empty() {
            self.moved = Instant::now();
        }
        let records = batch.iter().map(|header| record(header, self.model)).collect::<Result<Vec<_>>>()?;
        let appended = self.log.append(records).await?;
        let sent = batch.iter().zip(appended);
        self.in_flight.extend(sent.map(|(header, appended_at)| InFlight { key: header.key.clone(), appended_at }));
        Ok(())
    }

    /// Looks at some of those on their way.
    async fn wait(&mut self) -> Result<()> {
        let done = self.take_done(TURN.0).await?;
        if done > 0 {
            (self.moved, self.drained) = (Instant::now(), false);
            return Ok(());
        }
        if self.moved.elapsed() > PATIENCE {
            self.ask_why().await?;
            self.moved = Instant::now();
        }
        tokio::time::sleep(TURN.1).await;
        Ok(())
    }

    /// Takes those that are done out of the first `turn`; the others go behind the rest.
    async fn take_done(&mut self, turn: usize) -> Result<usize> {
        self.looked = Instant::now();
        let (store, model) = (self.store, self.model);
        let asked: Vec<_> = self.in_flight.drain(..turn.min(self.in_flight.len())).collect();
        let looked: Vec<(InFlight, bool)> = stream::iter(asked)
            .map(|it| async move {
                let lacks = match store.header(&it.key).await? {
                    Some(header) => lacks(store, &header, model).await?,
                    None => false,
                };
                Ok::<_, Failure>((it, lacks))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut done = 0;
        for (it, lacks) in looked {
            if lacks {
                self.in_flight.push_back(it);
            } else {
                done += 1;
            }
        }
        if done > 0 {
            (self.report)(Step::Embedded(done));
        }
        Ok(done)
    }

    /// Gives up those that became dead letters, and all when nothing is on its way any more.
    async fn ask_why(&mut self) -> Result<()> {
        let failed = self.failed().await?;
        let waiting = std::mem::take(&mut self.in_flight);
        for it in waiting {
            match failed.get(&it.key).filter(|(failed_at, _)| *failed_at >= it.appended_at) {
                Some((_, why)) => self.leave(it.key, why.clone()),
                None => self.in_flight.push_back(it),
            }
        }
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let is_drained = self.is_drained().await?;
        let was_drained = std::mem::replace(&mut self.drained, is_drained);
        if !self.drained {
            (self.report)(Step::Stalled);
            return Ok(());
        }
        // What a step of the first stage sent on may not count yet: so it was empty for some seconds.
        if !was_drained {
            return Ok(());
        }
        self.take_done(self.in_flight.len()).await?;
        for it in std::mem::take(&mut self.in_flight) {
            self.leave(it.key, "its record was worked on and brought no vectors".to_owned());
        }
        Ok(())
    }

    fn leave(&mut self, key: DocumentKey, why: String) {
        self.left.insert(key.clone());
        (self.report)(Step::Left(key, why));
    }

    /// What failed since the oldest record on its way, by document: when, and why.
    async fn failed(&self) -> Result<HashMap<DocumentKey, (i64, String)>> {
        let since = self.in_flight.iter().map(|it| it.appended_at).min();
        let tenant = self.choice.tenant.clone();
        let mut filter = DeadLetterFilter { tenant, since, limit: PAGE, ..DeadLetterFilter::default() };
        let mut failed = HashMap::new();
        loop {
            let listing = self.store.dead_letters(&filter).await?;
            for letter in listing.letters.into_iter().map(|row| row.letter) {
                if [language::NAME, publish::NAME].contains(&letter.stage.as_str()) {
                    let key = DocumentKey { tenant: letter.key.tenant, document_id: letter.document_id };
                    failed.insert(key, (letter.failed_at, letter.reason.message));
                }
            }
            filter.after = listing.next;
            if filter.after.is_none() {
                return Ok(failed);
            }
        }
    }

    /// Whether both stages are past all that was appended. What the first has sent on counts before it is past it.
    async fn is_drained(&self) -> Result<bool> {
        for (stage, topic) in [(language::NAME, Assembled::TOPIC), (publish::NAME, Enriched::TOPIC)] {
            if self.log.lag(stage, &[Topic::from(topic)]).await?.iter().any(|lag| lag.records > 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How long it takes until every stage acts upon what was decided about a model.
pub fn until_settled(models: &Models, model: &str) -> Duration {
    let since = models.get(model).map_or(0, |known| known.since);
    let age = jiff::Timestamp::now().as_microsecond().saturating_sub(since);
    active_models::SETTLED.saturating_sub(Duration::from_micros(age.max(0).unsigned_abs()))
}

/// Goes through the published documents of a choice, a part at a time. Between two parts nothing is asked of the store:
/// a request that nobody polls would keep its place before those that somebody waits for.
struct Look<'a> {
    store: &'a dyn Store,
    choice: &'a Choice,
    model: &'a str,
    next: Option<Place>,
}

/// Where a part begins.
enum Place {
    /// Behind the token of a listing.
    Listed(Option<String>),
    /// At one of the documents that were named.
    Named(usize),
}

impl<'a> Look<'a> {
    fn new(store: &'a dyn Store, choice: &'a Choice, model: &'a str) -> Self {
        let next = if choice.documents.is_some() { Place::Named(0) } else { Place::Listed(None) };
        Self { store, choice, model, next: Some(next) }
    }

    /// The next documents, and whether each lacks vectors of the model; `None` at the end.
    async fn part(&mut self) -> Result<Option<Vec<(Header, bool)>>> {
        let Some(place) = self.next.take() else { return Ok(None) };
        let mut headers = self.headers(place).await?;
        let choice = self.choice;
        headers.retain(|header| {
            let is_late = |current: &PublishedVersion| choice.since.is_none_or(|since| current.published_at >= since);
            header.current.as_ref().is_some_and(is_late)
                && choice.tenant.as_ref().is_none_or(|tenant| header.key.tenant == *tenant)
        });
        let (store, model) = (self.store, self.model);
        let looked = stream::iter(headers).map(|header| async move {
            let lacks = lacks(store, &header, model).await?;
            Ok((header, lacks))
        });
        looked.buffered(AT_ONCE).try_collect().await.map(Some)
    }

    async fn headers(&mut self, place: Place) -> Result<Vec<Header>> {
        match place {
            Place::Listed(after) => {
                let tenant = self.choice.tenant.clone();
                let filter = ListFilter { tenant, limit: PAGE, after, ..ListFilter::default() };
                let listing = self.store.list(&filter).await?;
                self.next = listing.next.map(|token| Place::Listed(Some(token)));
                Ok(listing.headers)
            }
            Place::Named(from) => {
                let named = self.choice.documents.as_deref().unwrap_or_default();
                let until = named.len().min(from + PAGE);
                self.next = (until < named.len()).then_some(Place::Named(until));
                let store = self.store;
                let headers =
                    stream::iter(named[from..until].to_vec()).map(|key| async move { store.header(&key).await });
                let headers: Vec<Option<Header>> = headers.buffered(AT_ONCE).try_collect().await?;
                Ok(headers.into_iter().flatten().collect())
            }
        }
    }
}

/// Whether what readers see of a document lacks vectors of a model.
async fn lacks(store: &dyn Store, header: &Header, model: &str) -> Result<bool> {
    let Some(current) = header.current.as_ref().filter(|current| current.chunk_count > 0) else { return Ok(false) };
    let run = RunKey { document: header.key.clone(), run: current.run };
    Ok(!store.has_vectors(&run, current.version, model, current.chunk_count).await?)
}

/// The record that has a published document embedded by a model.
fn record(header: &Header, model: &str) -> Result<NewRecord> {
    let DocumentKey { tenant, document_id } = &header.key;
    let nothing = || Failure::defect(format!("{tenant}/{document_id}: readers see a document without content"));
    let current = header.current.as_ref().ok_or_else(nothing)?;
    let document = current.document.clone().ok_or_else(nothing)?;
    let ended = header.ended.as_ref().filter(|ended| ended.run == current.run);
    let event = Assembled {
        envelope: Envelope {
            upload_id: ended.map(|ended| ended.upload_id.clone()).unwrap_or_default(),
            run: current.run,
            version: current.version,
            fingerprint: current.fingerprint.clone(),
            attributes: current.attributes.clone(),
            access: current.access.clone(),
            ..Envelope::new(Uuid::now_v7().to_string(), tenant, document_id, Lane::Bulk)
        },
        source: current.source.clone(),
        page_count: current.page_count,
        failed_pages: current.failed_pages,
        document,
        reasons: Vec::new(),
        embed_with: vec![model.to_owned()],
    };
    let now_us = jiff::Timestamp::now().as_microsecond();
    Ok(NewRecord {
        topic: Topic::from(Assembled::TOPIC),
        key: event.order_key(),
        headers: wire::headers(&event, "replay", Some(now_us)),
        value: wire::encode(&event)?,
    })
}
