//! assemble: writes each page's row; when the last page is in, builds the document.
//!
//! The law: the join has no hidden state. The page rows in the store are the state, and every row carries its place
//! in the order of arrival (`seq`), which it keeps when its page comes again. All pages of a document come through one
//! partition in a fixed order, so a crash repeats a suffix of that order, and that suffix holds the page of the highest
//! `seq`. Only that page may find the set full; so exactly one does, whatever was repeated. Where a log was restored from
//! before, all pages come again, in another order, and it is still one.
//!
//! Pages that are redriven together come with one newer version, and the store records beforehand that they are
//! awaited: until the last of them is in, the set is not full, so that the document is built once and with all of them.
//!
//! Of a run that was erased or removed the rows are gone, and with them the state: each of its pages says that it ends,
//! and publish lets one of them through.
//!
//! ```text
//! arrival      3 1 2 4              rows after a crash      3:1 1:2 2:3 4:4    page:seq
//! committed    3 1                  2 comes again           3:1 1:2 2:3 4:4    full, but 4 was later: it comes again
//!                                   4 comes again           3:1 1:2 2:3 4:4    full with the last: emit once
//! ```

mod seen;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};

use self::seen::Seen;
use super::{Meter, Output, Parts, Stage, count};
use deckle_blob::{Blobs, claim_check};
use deckle_contract::{
    document::{Confidence, Document, Page, PageInfo, metadata::DocumentMetadata},
    error::{Failure, Reason, Result, code},
    record::{Assembled, Enriched, Event, PageAnalysed, Source, Status, TrailEntry, wire::Headers},
};
use deckle_decode::DocumentLimits;
use deckle_models::computing::compute;
use deckle_store::{DocumentKey, PageRow, RunKey, Store};
use deckle_structure::{fields, layout, outline};

/// The stage's name.
pub const NAME: &str = "assemble";

/// Reasons kept in an event; a document of 3,000 failed pages must still fit one.
const REASONS: usize = 100;

/// Pages fetched at once: enough to hide the blob store's latency.
const FETCHES: usize = 16;

/// The stage that joins the pages of a document.
pub struct Assemble {
    blobs: Arc<dyn Blobs>,
    store: Arc<dyn Store>,
    config_hash: String,
    limits: DocumentLimits,
    /// Pages seen, per run; a copy of the store's rows while these partitions are ours.
    seen: Mutex<HashMap<RunKey, Seen>>,
}

impl Assemble {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            store: Arc::clone(&parts.store),
            config_hash: parts.settings.config_hash.clone(),
            limits: parts.settings.document_limits,
            seen: Mutex::default(),
        }
    }
}

#[async_trait]
impl Stage for Assemble {
    type Input = PageAnalysed;

    fn name(&self) -> &'static str {
        NAME
    }

    fn concurrency(&self) -> usize {
        8
    }

    async fn process(&self, _: &Headers, analysed: PageAnalysed) -> Result<Vec<Output>> {
        let mut meter = Meter::start(NAME, &self.config_hash);
        let envelope = &analysed.envelope;
        let key = DocumentKey { tenant: envelope.tenant.clone(), document_id: envelope.document_id.clone() };
        let run = RunKey { document: key, run: envelope.run };
        let (page_no, page_count) = numbers(&analysed)?;
        let Some(mut seen) = self.seen(&run, envelope.version).await? else {
            return Built::gone(&analysed).finish(meter);
        };
        let (seq, full) = seen.arrive(page_no, envelope.version, page_count);
        let page = match self.page(&analysed).await {
            Err(failure) if failure.code() == code::SOURCE_MISSING && self.is_gone(&run).await? => {
                return Built::gone(&analysed).finish(meter);
            }
            page => page?,
        };
        let row = PageRow {
            page_no,
            version: envelope.version,
            seq,
            page: analysed.page.clone(),
            method: page.as_ref().and_then(|page| page.method),
            confidence: page.as_ref().and_then(|page| Confidence::of_lines(&page.lines)),
            reason: analysed.reason.clone(),
            trail: envelope.trail.clone(),
        };
        self.store.put_page(&run, &row).await?;
        let outputs = match full {
            Some(version) => self.build(&run, &analysed, version, &mut meter).await?,
            None => None,
        };
        self.remember(run, seen, envelope.version, page_count);
        outputs.map_or(Ok(Vec::new()), |built| built.finish(meter))
    }

    fn on_failure(&self, headers: &Headers, input: Option<&PageAnalysed>, failure: &Failure) -> Result<Vec<Output>> {
        // Without this page the document can never be whole: it ends here, once, with the reason.
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let source = input.map_or_else(Source::unknown, |input| input.source.clone());
        let page_no = input.map(|input| input.page_no).or(headers.page_no);
        let reasons = vec![failure.reason(NAME, page_no)];
        Ok(vec![Output::new(
            NAME,
            &Enriched::without_results(cause.caused(Enriched::TOPIC, ""), source, Status::Failed, reasons),
        )?])
    }

    fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A document, or the end of one of which no page could be read; its event lacks only this stage's cost.
enum Built {
    Whole(Box<Assembled>),
    Nothing(Box<Enriched>),
}

impl Built {
    /// The end of a run that was erased while it was on its way, or removed for a newer one: nothing to build, and nothing
    /// to publish but that. Publish knows which of the two it was.
    fn gone(last: &PageAnalysed) -> Self {
        let envelope = last.envelope.caused(Enriched::TOPIC, "");
        Self::Nothing(Box::new(Enriched::without_results(envelope, last.source.clone(), Status::Erased, Vec::new())))
    }

    fn finish(self, meter: Meter) -> Result<Vec<Output>> {
        let output = match self {
            Self::Whole(mut event) => {
                event.envelope.trail.push(meter.finish());
                Output::new(NAME, &*event)?
            }
            Self::Nothing(mut event) => {
                event.envelope.trail.push(meter.finish());
                Output::new(NAME, &*event)?
            }
        };
        Ok(vec![output])
    }
}

impl Assemble {
    /// The pages of a run that have arrived; `None` where the run is gone.
    async fn seen(&self, run: &RunKey, version: i64) -> Result<Option<Seen>> {
        // Taken out: a failure before it is put back throws it away, and the next page reads it from the store.
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(run);
        if let Some(seen) = known.filter(|seen| seen.is_all_of(version)) {
            return Ok(Some(seen));
        }
        let awaited = self.store.awaited_pages(run).await?;
        let rows = self.store.pages(run).await?;
        // After the rows: where an erasure or a removal took them, it is seen.
        if self.is_gone(run).await? {
            return Ok(None);
        }
        Ok(Some(Seen::of_rows(&rows, awaited)))
    }

    async fn is_gone(&self, run: &RunKey) -> Result<bool> {
        let header = self.store.header(&run.document).await?;
        Ok(header.is_some_and(|header| header.hides(run.run)))
    }

    /// What the page stages made of a page; `None` for one that failed.
    async fn page(&self, analysed: &PageAnalysed) -> Result<Option<Page>> {
        match &analysed.page {
            Some(blob) => Ok(Some(claim_check::get_json(&*self.blobs, blob).await?)),
            None => Ok(None),
        }
    }

    /// Keeps the set while the document is on its way for the first time. A full one is dropped: a late page reads it
    /// from the store. So does every page while versions are mixed, because more pages may be awaited by then.
    fn remember(&self, run: RunKey, seen: Seen, version: i64, page_count: u32) {
        if !seen.is_full(page_count) && seen.is_all_of(version) {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(run, seen);
        }
    }

    async fn build(&self, run: &RunKey, last: &PageAnalysed, version: i64, meter: &mut Meter) -> Result<Option<Built>> {
        let rows = self.store.pages(run).await?;
        if rows.is_empty() {
            // Gone in the meantime.
            return Ok(Some(Built::gone(last)));
        }
        let pages = self.fetch(&rows).await?;
        let mut envelope = last.envelope.clone();
        envelope.version = version;
        envelope.trail = summed(&rows);
        let mut reasons: Vec<Reason> = rows.iter().filter_map(|row| row.reason.clone()).collect();
        let failed_pages = rows.iter().filter(|row| row.page.is_none()).count();
        reasons.truncate(REASONS);
        if failed_pages == rows.len() {
            let envelope = envelope.caused(Enriched::TOPIC, "");
            let mut event = Enriched::without_results(envelope, last.source.clone(), Status::Failed, reasons);
            event.page_count = last.page_count;
            event.failed_pages = last.page_count;
            return Ok(Some(Built::Nothing(Box::new(event))));
        }
        let facts: DocumentMetadata = match &last.facts {
            Some(blob) => claim_check::get_json(&*self.blobs, blob).await?,
            None => DocumentMetadata::default(),
        };
        let source = last.source.clone();
        let (document, cpu_us) = compute(move || assembled(&source, facts, &rows, &pages)).await?;
        self.limits.check(&document.blocks)?;
        meter.cpu(cpu_us).count(document.pages.len(), 0, 0);
        let envelope = envelope.caused(Assembled::TOPIC, "");
        let document = claim_check::put_json(&*self.blobs, &envelope, &document).await?;
        let failed_pages = count(failed_pages)?;
        let source = last.source.clone();
        let page_count = last.page_count;
        let embed_with = Vec::new();
        Ok(Some(Built::Whole(Box::new(Assembled {
            envelope,
            source,
            page_count,
            failed_pages,
            document,
            reasons,
            embed_with,
        }))))
    }

    async fn fetch(&self, rows: &[PageRow]) -> Result<BTreeMap<u32, Page>> {
        let fetches: Vec<_> = rows
            .iter()
            .filter_map(|row| {
                let blob = row.page.clone()?;
                let (blobs, page_no) = (Arc::clone(&self.blobs), row.page_no);
                Some(async move { Ok::<_, Failure>((page_no, claim_check::get_json::<Page>(&*blobs, &blob).await?)) })
            })
            .collect();
        stream::iter(fetches).buffer_unordered(FETCHES).try_collect().await
    }
}

fn numbers(analysed: &PageAnalysed) -> Result<(u32, u32)> {
    match (analysed.page_no, analysed.page_count) {
        (page_no, page_count) if (1..=page_count).contains(&page_no) => Ok((page_no, page_count)),
        (page_no, page_count) => Err(Failure::defect(format!("page {page_no} of {page_count} cannot be"))),
    }
}

fn assembled(source: &Source, mut facts: DocumentMetadata, rows: &[PageRow], pages: &BTreeMap<u32, Page>) -> Document {
    let (title, mut blocks) = layout::assemble_blocks(pages.values().collect());
    facts.locate(|page_no| pages.get(&page_no));
    outline::set_levels(&mut blocks, &facts.outline);
    Document {
        filename: source.filename.clone(),
        media_type: source.media_type.clone(),
        sha256: source.sha256.clone(),
        size_bytes: u64::try_from(source.size_bytes).unwrap_or(0),
        title: title.or_else(|| facts.information.telling_title().map(str::to_owned)),
        pages: rows.iter().map(|row| page_info(row, pages)).collect(),
        blocks,
        fields: fields::of_pages(pages.values()),
        confidence: Confidence::of_lines(pages.values().flat_map(|page| &page.lines)),
        facts,
    }
}

fn page_info(row: &PageRow, pages: &BTreeMap<u32, Page>) -> PageInfo {
    let page = pages.get(&row.page_no);
    let mut links = page.map(|page| page.links.clone()).unwrap_or_default();
    for destination in links.iter_mut().filter_map(|link| link.destination.as_mut()) {
        if let Some(page) = pages.get(&destination.page_no) {
            destination.locate(page);
        }
    }
    PageInfo {
        page_no: row.page_no,
        width: page.map_or(0.0, |page| page.width),
        height: page.map_or(0.0, |page| page.height),
        rotation: page.map_or(0, |page| page.rotation),
        method: row.method,
        confidence: row.confidence,
        reason: row.reason.clone(),
        links,
        form_fields: page.map(|page| page.form_fields.clone()).unwrap_or_default(),
    }
}

/// The trails of all pages, summed per stage, in the order of the path.
fn summed(rows: &[PageRow]) -> Vec<TrailEntry> {
    let mut trail: Vec<TrailEntry> = Vec::new();
    for entry in rows.iter().flat_map(|row| &row.trail) {
        match trail.iter_mut().find(|known| known.stage == entry.stage) {
            Some(known) => {
                known.add(entry);
                known.model = known.model.take().or_else(|| entry.model.clone());
            }
            None => trail.push(TrailEntry { signals: BTreeMap::new(), ..entry.clone() }),
        }
    }
    trail.sort_by_key(|entry| super::NAMES.iter().position(|name| *name == entry.stage));
    trail
}
