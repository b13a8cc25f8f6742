//! Replay: published documents get the vectors of another model, made of the chunks that are stored.
//!
//! ```text
//! published documents ──no vectors of the model?──► documents.assembled (bulk) ──language──► ──publish──► its vectors
//! ```
//!
//! The law: a document is done when the store has a vector of the model for each chunk that readers see, and nothing else
//! is remembered. So a replay that was cut off anywhere goes on when it is begun again, records that come twice do no
//! harm, and one that was lost is sent again. No header moves, and no document is read, cut or published anew.
//!
//! Documents that are published meanwhile get their vectors on their path: language embeds by models that are being
//! built, and publish sends back what came without ([`crate::stages::roster`] says from when on).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use crate::{
    error::{Failure, Result},
    log::{Log, NewRecord, Topic},
    record::{Assembled, Enriched, Envelope, Event, Lane, wire},
    stages::{language, publish, roster},
    store::{Current, DocumentKey, Header, LetterFilter, ListFilter, Models, RunKey, Store},
};

/// Records on their way at once: enough for every batch of many workers, and few enough that uploads which come
/// meanwhile find a short queue.
const IN_FLIGHT: usize = 1_000;

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

/// Which of the published documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only of this tenant.
    pub tenant: Option<String>,
    /// Only those published then or later, µs.
    pub since: Option<i64>,
    /// These, instead of all; what is not known or not published is passed over.
    pub documents: Option<Vec<DocumentKey>>,
}

/// How far a model is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Published documents.
    pub documents: u64,
    /// Those that lack vectors.
    pub lacking: u64,
}

/// Counts the published documents of a choice, and those that lack vectors of a model.
///
/// # Errors
/// When the store is away.
pub async fn survey(store: &dyn Store, choice: &Choice, model: &str) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut documents = looked_at(store, choice, model);
    while let Some((_, lacks)) = documents.try_next().await? {
        survey.documents += 1;
        survey.lacking += u64::from(lacks);
    }
    Ok(survey)
}

/// What is told while it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// So many more documents have their vectors.
    Embedded(usize),
    /// A document was given up for now, and why.
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
    pace: Option<Interval>,
    in_flight: VecDeque<InFlight>,
    left: BTreeMap<DocumentKey, String>,
    embedded: usize,
    /// When one was done last.
    moved: Instant,
    /// When it was looked whether any is done.
    looked: Instant,
    tell: &'a mut (dyn FnMut(Step) + Send),
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
        tell: &'a mut (dyn FnMut(Step) + Send),
    ) -> Self {
        let pace = rate.map(|rate| {
            let period = Duration::from_secs_f64(rate.max(f64::MIN_POSITIVE).recip().min(86_400.0));
            let mut pace = tokio::time::interval(period.max(Duration::from_nanos(1)));
            // A slow append is not made up for by a burst.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        });
        let (in_flight, left, now) = (VecDeque::new(), BTreeMap::new(), Instant::now());
        Self { log, store, choice, model, pace, in_flight, left, embedded: 0, moved: now, looked: now, tell }
    }

    /// Works until a look at all of the choice finds none that lacks vectors, but for those it gives up. `models` is what
    /// was decided about the model.
    ///
    /// # Errors
    /// When log or store are away.
    pub async fn run(mut self, models: &Models) -> Result<usize> {
        loop {
            // A look counts as the last only if no document can be published behind it without the vectors.
            let unsettled = until_settled(models, self.model);
            let sent = self.pass().await?;
            if sent == 0 && unsettled.is_zero() {
                return Ok(self.embedded);
            }
            if sent == 0 {
                tokio::time::sleep(unsettled).await;
            }
        }
    }

    /// Sends what lacks vectors, and waits for it. Returns how many were sent.
    async fn pass(&mut self) -> Result<usize> {
        let mut sent = 0;
        let mut documents = looked_at(self.store, self.choice, self.model);
        while let Some((header, lacks)) = documents.try_next().await? {
            if !lacks || self.left.contains_key(&header.key) {
                continue;
            }
            while self.in_flight.len() >= IN_FLIGHT {
                self.look().await?;
            }
            if let Some(pace) = &mut self.pace {
                pace.tick().await;
            }
            if self.looked.elapsed() > GLANCE {
                self.take_done(TURN.0).await?;
            }
            if self.in_flight.is_empty() {
                self.moved = Instant::now();
            }
            let appended = self.log.append(vec![record(&header, self.model)?]).await?;
            let appended_at = appended.first().copied().unwrap_or_default();
            self.in_flight.push_back(InFlight { key: header.key, appended_at });
            sent += 1;
        }
        while !self.in_flight.is_empty() {
            self.look().await?;
        }
        Ok(sent)
    }

    /// Looks at some of those on their way.
    async fn look(&mut self) -> Result<()> {
        let done = self.take_done(TURN.0).await?;
        if done > 0 {
            self.moved = Instant::now();
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
                let header = store.header(&it.key).await?;
                let Some(current) = header.and_then(|header| header.current) else { return Ok((it, false)) };
                let lacks = lacks(store, &it.key, &current, model).await?;
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
        self.embedded += done;
        if done > 0 {
            (self.tell)(Step::Embedded(done));
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
        if !self.is_drained().await? {
            (self.tell)(Step::Stalled);
            return Ok(());
        }
        self.take_done(self.in_flight.len()).await?;
        for it in std::mem::take(&mut self.in_flight) {
            self.leave(it.key, "its record was worked on and brought no vectors".to_owned());
        }
        Ok(())
    }

    fn leave(&mut self, key: DocumentKey, why: String) {
        (self.tell)(Step::Left(key.clone(), why.clone()));
        self.left.insert(key, why);
    }

    /// What failed since the oldest record on its way, by document: when, and why.
    async fn failed(&self) -> Result<HashMap<DocumentKey, (i64, String)>> {
        let since = self.in_flight.iter().map(|it| it.appended_at).min();
        let tenant = self.choice.tenant.clone();
        let mut filter = LetterFilter { tenant, since, limit: PAGE, ..LetterFilter::default() };
        let mut failed = HashMap::new();
        loop {
            let listing = self.store.letters(&filter).await?;
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
    roster::SETTLED.saturating_sub(Duration::from_micros(age.max(0).unsigned_abs()))
}

/// The published documents of a choice, and whether each lacks vectors of a model.
fn looked_at<'a>(store: &'a dyn Store, choice: &'a Choice, model: &'a str) -> BoxStream<'a, Result<(Header, bool)>> {
    headers(store, choice)
        .try_filter_map(move |header| async move {
            let is_chosen = |current: &Current| {
                choice.since.is_none_or(|since| current.published_at >= since)
                    && choice.tenant.as_ref().is_none_or(|tenant| header.key.tenant == *tenant)
            };
            let current = header.current.clone().filter(is_chosen);
            Ok(current.map(|current| (header, current)))
        })
        .map_ok(move |(header, current)| async move {
            let lacks = lacks(store, &header.key, &current, model).await?;
            Ok((header, lacks))
        })
        .try_buffered(AT_ONCE)
        .boxed()
}

fn headers<'a>(store: &'a dyn Store, choice: &'a Choice) -> BoxStream<'a, Result<Header>> {
    if let Some(documents) = &choice.documents {
        let headers = stream::iter(documents).map(|key| store.header(key)).buffered(AT_ONCE);
        return headers.try_filter_map(|header| async move { Ok(header) }).boxed();
    }
    let filter = ListFilter { tenant: choice.tenant.clone(), limit: PAGE, ..ListFilter::default() };
    let pages = stream::try_unfold(Some(filter), move |filter| async move {
        let Some(filter) = filter else { return Ok(None) };
        let listing = store.list(&filter).await?;
        let next = listing.next.map(|after| ListFilter { after: Some(after), ..filter });
        Ok::<_, Failure>(Some((stream::iter(listing.headers.into_iter().map(Ok)), next)))
    });
    pages.try_flatten().boxed()
}

/// Whether what readers see of a document lacks vectors of a model.
async fn lacks(store: &dyn Store, key: &DocumentKey, current: &Current, model: &str) -> Result<bool> {
    if current.chunk_count == 0 {
        return Ok(false);
    }
    let run = RunKey { document: key.clone(), run: current.run };
    Ok(!store.has_vectors(&run, current.version, model, current.chunk_count).await?)
}

/// The record that has a published document embedded by a model.
fn record(header: &Header, model: &str) -> Result<NewRecord> {
    let DocumentKey { tenant, document_id } = &header.key;
    let nothing = || Failure::defect(format!("{tenant}/{document_id}: readers see a document without content"));
    let current = header.current.as_ref().ok_or_else(nothing)?;
    let document = current.document.clone().ok_or_else(nothing)?;
    let ended = header.ended.as_ref().filter(|ended| ended.run == current.run);
    let intake = header.intake.as_ref().filter(|intake| intake.run == current.run);
    let event = Assembled {
        envelope: Envelope {
            upload_id: ended.map(|ended| ended.upload_id.clone()).unwrap_or_default(),
            run: current.run,
            version: current.version,
            fingerprint: current.fingerprint.clone(),
            attributes: intake.map(|intake| intake.attributes.clone()).unwrap_or_default(),
            access: intake.map(|intake| intake.access.clone()).unwrap_or_default(),
            ..Envelope::new(Uuid::now_v7().to_string(), tenant, document_id, Lane::Bulk)
        },
        source: current.source.clone(),
        page_count: i32::try_from(current.page_count).unwrap_or(i32::MAX),
        failed_pages: i32::try_from(current.failed_pages).unwrap_or(i32::MAX),
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
