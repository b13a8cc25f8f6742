//! split: takes a file in, finds out what it is, and sends its pages on.
//!
//! The law: one submission is one run. The same `upload_id` again is dropped; the same fingerprint as the published
//! run ends as `unchanged` without work, but where that file needed a password: then this submission's must open it
//! first. A password is sealed before anything else happens. Whatever an upload brings or names is in the blob store before anything else
//! hears of it. The pages of a long document leave in several steps, so that none is larger than [`STEP_BYTES`].

mod upload;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

pub use self::upload::{Rest, Upload};
use super::{Meter, Output, Parts, Stage};
use crate::files::Files;
use deckle_blob::{
    Address, Blobs, claim_check,
    sources::{Fetched, Sources},
};
use deckle_contract::{
    document::{BlobRef, Document},
    error::{Failure, Reason, Result, code},
    record::{
        Assembled, Enriched, Envelope, Event, Options, PageSplit, Source, Status, TrailEntry, Uploaded, context,
        fingerprint, wire::Headers,
    },
};
use deckle_decode::{Decoders, Opened};
use deckle_seal::{Keyring, Password};
use deckle_store::{DocumentKey, Store, Submission};
use deckle_structure::fields;

/// The stage's name.
pub const NAME: &str = "split";

/// The stage that takes an upload in and makes one record per page.
pub struct Split {
    blobs: Arc<dyn Blobs>,
    store: Arc<dyn Store>,
    decoders: Decoders,
    files: Arc<Files>,
    sources: Arc<Sources>,
    keyring: Arc<Keyring>,
    config_hash: String,
    max_bytes: u64,
    /// What reading showed of uploads that are being processed, for those that fail later: their events do not say it.
    read: Mutex<HashMap<SubmissionKey, Source>>,
}

/// Bytes of page records that one step holds, at most: a step is held in memory whole and committed in one transaction.
const STEP_BYTES: usize = 4 << 20;

/// Tenant, upload and run.
type SubmissionKey = (String, String, i64);

impl Split {
    /// Makes the stage from the parts that it needs.
    pub fn new(parts: &Parts) -> Self {
        Self {
            blobs: Arc::clone(&parts.blobs),
            store: Arc::clone(&parts.store),
            decoders: parts.decoders.clone(),
            files: Arc::clone(&parts.files),
            sources: Arc::clone(&parts.sources),
            keyring: Arc::clone(&parts.keyring),
            config_hash: parts.settings.config_hash.clone(),
            max_bytes: parts.settings.max_bytes,
            read: Mutex::default(),
        }
    }
}

#[async_trait]
impl Stage for Split {
    type Input = Upload;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn process(&self, _: &Headers, Upload { mut upload, rest }: Upload) -> Result<Vec<Output>> {
        if let Some(rest) = rest {
            self.keyring.seal(&upload.envelope, &mut upload.options)?;
            return self.hand_out_rest(&upload, rest).await;
        }
        complete(&mut upload)?;
        // First, so that whatever is made of the upload, its dead letter included, holds no open password.
        self.keyring.seal(&upload.envelope, &mut upload.options)?;
        self.sources.check_context(&upload)?;
        let submission = submission(&upload.envelope);
        let outputs = self.take_in(upload).await?;
        self.read().remove(&submission);
        Ok(outputs)
    }

    fn on_failure(&self, headers: &Headers, input: Option<&Upload>, failure: &Failure) -> Result<Vec<Output>> {
        let mut upload = input.map(|input| input.upload.clone()).unwrap_or_else(|| Uploaded {
            envelope: headers.envelope(),
            source: Source::unknown(),
            options: Options::default(),
            content: None,
        });
        // What is incomplete goes as far as it is complete; of what says too much, its identity and its hash go on.
        let whole = complete(&mut upload);
        if self.sources.check_context(&upload).is_err() {
            upload.envelope = upload.envelope.identity();
            let sha256 = std::mem::take(&mut upload.source.sha256);
            upload.source =
                Source { sha256: if is_sha256(&sha256) { sha256 } else { String::new() }, ..Source::unknown() };
            upload.options = Options::default();
        }
        if let Some(source) = self.read().remove(&submission(&upload.envelope)) {
            upload.source = source;
        }
        let Some(document_id) = upload.document_id().filter(|_| whole.is_ok()) else { return Ok(Vec::new()) };
        upload.envelope.document_id = document_id;
        upload.envelope.fingerprint = fingerprint(&upload, false, &self.config_hash);
        ended(&upload, Status::Failed, vec![failure.reason(NAME, None)])
    }

    fn forget(&self) {
        self.read().clear();
    }
}

impl Split {
    async fn take_in(&self, mut upload: Uploaded) -> Result<Vec<Output>> {
        let mut meter = Meter::start(NAME, &self.config_hash);
        let (tenant, run) = (upload.envelope.tenant.clone(), upload.envelope.run);
        // Before anything is read: the file of a submission that came before may be gone.
        let (upload_id, subject) = (&upload.envelope.upload_id, subject(&upload));
        let first = self.store.claim_upload(&tenant, upload_id, run, &subject).await?;
        if first.run != run {
            if first.subject.is_some_and(|first| first != subject) {
                let message = format!(
                    "the upload id `{upload_id}` was used before, for another file: each file needs an id of its own"
                );
                return Err(Failure::rejected(code::UPLOAD_REUSED, message));
            }
            tracing::info!(document_id = upload.envelope.document_id, upload_id, "submitted before, dropped");
            return Ok(Vec::new());
        }
        // Without a hash neither the document nor what is known of it can be named; with one, bytes that are known
        // already need not be read.
        let mut fetched = None;
        if upload.source.sha256.is_empty() && !is_taken_in(&upload) {
            fetched = Some(self.fetch(&mut upload).await?);
        }
        let named = upload.document_id();
        upload.envelope.document_id = named.ok_or_else(|| Failure::defect("an upload without a name was read"))?;
        let key = document_key(&upload.envelope);
        let header = self.store.header(&key).await?;
        if let Some(header) = &header
            && header.hides(run)
        {
            return ended(&upload, Status::Erased, Vec::new());
        }
        let published = header.and_then(|header| header.current);
        let published = published.filter(|it| it.run != run && it.status == Status::Published && !upload.options.force);
        let is_published = |fingerprint: &str| published.as_ref().is_some_and(|it| it.fingerprint == fingerprint);
        upload.envelope.fingerprint = fingerprint(&upload, false, &self.config_hash);
        if is_published(&upload.envelope.fingerprint) {
            return ended(&upload, Status::Unchanged, Vec::new());
        }
        if !is_taken_in(&upload) {
            let fetched = match fetched {
                Some(fetched) => fetched,
                None => self.fetch(&mut upload).await?,
            };
            let blob = fetched.import(&*self.blobs, &key.tenant, &key.document_id).await?;
            upload.source.uri = claim_check::blob_uri(&blob);
        }
        let (opened, needed_password) = self.open(&mut meter, &mut upload).await?;
        if needed_password {
            upload.envelope.fingerprint = fingerprint(&upload, true, &self.config_hash);
            if is_published(&upload.envelope.fingerprint) {
                return ended(&upload, Status::Unchanged, Vec::new());
            }
        }
        let intake = Submission {
            run,
            source: upload.source.clone(),
            upload_id: upload.envelope.upload_id.clone(),
            fingerprint: upload.envelope.fingerprint.clone(),
            page_count: opened.page_count.unwrap_or(0),
            attributes: upload.envelope.attributes.clone(),
            access: upload.envelope.access.clone(),
        };
        self.store.put_intake(&key, &intake, upload.envelope.version).await?;
        match opened.page_count {
            Some(page_count) => {
                let facts = self.facts(&mut meter, &upload).await?;
                pages(&upload, Rest { first_page_no: 1, page_count, facts }, vec![meter.finish()])
            }
            None => self.document_at_once(upload, opened, meter).await,
        }
    }

    /// Goes on with the pages of a document that was opened before.
    async fn hand_out_rest(&self, upload: &Uploaded, rest: Rest) -> Result<Vec<Output>> {
        let header = self.store.header(&document_key(&upload.envelope)).await?;
        if header.is_some_and(|header| header.hides(upload.envelope.run)) {
            return ended(upload, Status::Erased, Vec::new());
        }
        pages(upload, rest, Vec::new())
    }

    /// Reads what the upload brings or names, and takes note of what it is.
    async fn fetch(&self, upload: &mut Uploaded) -> Result<Fetched> {
        let fetched = self.sources.fetch(upload).await?;
        upload.content = None;
        let source = &mut upload.source;
        source.sha256.clone_from(&fetched.sha256);
        source.size_bytes = i64::try_from(fetched.size_bytes).unwrap_or(i64::MAX);
        if source.filename.is_empty() {
            let address = Address::parse(&source.uri).ok();
            source.filename = address.as_ref().and_then(Address::filename).unwrap_or_default().to_owned();
        }
        self.read().insert(submission(&upload.envelope), upload.source.clone());
        Ok(fetched)
    }

    fn read(&self) -> MutexGuard<'_, HashMap<SubmissionKey, Source>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the file, and says whether that needed a password. One that was not needed goes no further.
    async fn open(&self, meter: &mut Meter, upload: &mut Uploaded) -> Result<(Opened, bool)> {
        let blob = claim_check::source_blob(&upload.envelope, &upload.source)?;
        if blob.size_bytes == 0 {
            return Err(Failure::rejected(code::EMPTY, "the file has no bytes"));
        }
        if blob.size_bytes > self.max_bytes {
            let message =
                format!("the file has {} bytes, the limit is {} (`decode.max_bytes`)", blob.size_bytes, self.max_bytes);
            return Err(Failure::rejected(code::LIMIT_BYTES, message));
        }
        let file = self.files.get(&blob).await?;
        if !claim_check::is_of_document(&upload.envelope, &blob) {
            // A producer named the file of another document, which may go with that.
            let Envelope { tenant, document_id, .. } = &upload.envelope;
            let own = self.blobs.put(tenant, document_id, &blob.media_type, file.bytes.clone()).await?;
            upload.source.uri = claim_check::blob_uri(&own);
        }
        let filename = &upload.source.filename;
        let mut opened = self.decoders.open(&file, filename, None).await;
        let needed_password = matches!(&opened, Err(failure) if failure.code() == code::PDF_ENCRYPTED);
        if !needed_password {
            upload.options.password = None;
        } else if let Some(password) = self.keyring.open(&upload.envelope, &upload.options)? {
            opened = self.decoders.open(&file, filename, Some(password.reveal())).await;
        }
        let opened = opened?;
        meter.cpu(opened.cpu_us).count(0, file.bytes.len(), 0);
        upload.source.media_type.clone_from(&opened.value.media_type);
        Ok((opened.value, needed_password))
    }

    /// What the file says of itself, in the blob store; nothing where it says nothing.
    async fn facts(&self, meter: &mut Meter, upload: &Uploaded) -> Result<Option<BlobRef>> {
        let blob = claim_check::source_blob(&upload.envelope, &upload.source)?;
        let file = self.files.get(&blob).await?;
        let password = self.keyring.open(&upload.envelope, &upload.options)?;
        let password = password.as_ref().map(Password::reveal);
        let facts = self.decoders.read_facts(&file, &upload.source.media_type, password).await?;
        meter.cpu(facts.cpu_us);
        if facts.value.is_empty() {
            return Ok(None);
        }
        Ok(Some(claim_check::put_json(&*self.blobs, &upload.envelope, &facts.value).await?))
    }

    async fn document_at_once(&self, upload: Uploaded, opened: Opened, meter: Meter) -> Result<Vec<Output>> {
        let document = Document {
            filename: upload.source.filename.clone(),
            media_type: upload.source.media_type.clone(),
            sha256: upload.source.sha256.clone(),
            size_bytes: u64::try_from(upload.source.size_bytes).unwrap_or(0),
            title: opened.title,
            fields: fields::of_blocks(&opened.blocks),
            blocks: opened.blocks,
            ..Document::default()
        };
        let mut envelope = upload.envelope.caused(Assembled::TOPIC, "");
        let blob = claim_check::put_json(&*self.blobs, &envelope, &document).await?;
        envelope.trail = vec![meter.finish()];
        let assembled = Assembled {
            embed_with: Vec::new(),
            envelope,
            source: upload.source,
            page_count: 0,
            failed_pages: 0,
            document: blob,
            reasons: Vec::new(),
        };
        Ok(vec![Output::new(NAME, &assembled)?])
    }
}

/// The records of the first pages that are left, and where others follow, the one that brings the upload back for them.
/// The trail, the cost of opening, is the first page's, so that the sum over pages is right.
fn pages(upload: &Uploaded, rest: Rest, mut trail: Vec<TrailEntry>) -> Result<Vec<Output>> {
    let Rest { first_page_no, page_count, facts } = rest;
    let mut outputs = Vec::new();
    let mut bytes = 0;
    for page_no in first_page_no..=page_count {
        if bytes > STEP_BYTES {
            let rest = Rest { first_page_no: page_no, page_count, facts };
            outputs.push(Output::new(NAME, &upload::left(upload, rest)?)?);
            break;
        }
        let mut envelope = upload.envelope.caused(PageSplit::TOPIC, &page_no.to_string());
        envelope.trail = std::mem::take(&mut trail);
        let page = PageSplit {
            envelope,
            source: upload.source.clone(),
            options: upload.options.clone(),
            page_no,
            page_count,
            facts: facts.clone(),
        };
        let output = Output::new(NAME, &page)?;
        bytes += output.value.len();
        outputs.push(output);
    }
    Ok(outputs)
}

/// A document that ends here goes to publish, which ends every path.
fn ended(upload: &Uploaded, status: Status, reasons: Vec<Reason>) -> Result<Vec<Output>> {
    let envelope = upload.envelope.caused(Enriched::TOPIC, "");
    Ok(vec![Output::new(NAME, &Enriched::without_results(envelope, upload.source.clone(), status, reasons))?])
}

/// Checks that an upload can be told from others; the id of the event stands for a missing one of the submission.
fn complete(upload: &mut Uploaded) -> Result<()> {
    let envelope = &mut upload.envelope;
    if envelope.upload_id.is_empty() {
        envelope.upload_id.clone_from(&envelope.event_id);
    }
    upload.source.sha256.make_ascii_lowercase();
    if envelope.tenant.is_empty() {
        return Err(Failure::rejected(code::RECORD_INCOMPLETE, "the upload names no tenant"));
    }
    if envelope.upload_id.is_empty() {
        return Err(Failure::rejected(code::RECORD_INCOMPLETE, "the upload has neither an upload_id nor an event_id"));
    }
    if !context::has_plain_ids(envelope) {
        return Err(Failure::rejected(code::RECORD_INVALID, "an id of the upload holds control characters"));
    }
    if !context::has_short_ids(envelope) {
        let message = format!("an id of the upload has more than {} bytes", context::MAX_ID_BYTES);
        return Err(Failure::rejected(code::LIMIT_CONTEXT, message));
    }
    Ok(())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What an upload submits, as its producer says it: the start of a hash of document, file and bytes. The same upload once
/// more says the same; it stays with the claim when the document is erased, as the document's id does.
fn subject(upload: &Uploaded) -> String {
    let Uploaded { envelope, source, content, .. } = upload;
    let mut hash = Sha256::new();
    for part in [envelope.document_id.as_bytes(), source.uri.as_bytes(), source.sha256.as_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.update(content.as_deref().unwrap_or_default());
    hex::encode(&hash.finalize()[..8])
}

/// Whether the file is in the blob store, and nothing came beside it.
fn is_taken_in(upload: &Uploaded) -> bool {
    upload.content.is_none() && claim_check::is_blob(&upload.source)
}

fn submission(envelope: &Envelope) -> SubmissionKey {
    (envelope.tenant.clone(), envelope.upload_id.clone(), envelope.run)
}

fn document_key(envelope: &Envelope) -> DocumentKey {
    DocumentKey { tenant: envelope.tenant.clone(), document_id: envelope.document_id.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Input;
    use deckle_contract::record::{Lane, Readmitted, wire};

    #[test]
    fn the_pages_of_a_long_document_leave_in_steps_of_bounded_size_each_once() {
        let envelope = Envelope {
            run: 7,
            version: 9,
            attributes: BTreeMap::from([("note".to_owned(), "x".repeat(15_000))]),
            ..Envelope::new("e".to_owned(), "acme", "d", Lane::Bulk)
        };
        let upload = Uploaded { envelope, source: Source::unknown(), options: Options::default(), content: None };
        let trail = vec![TrailEntry { stage: NAME.to_owned(), ..TrailEntry::default() }];
        let mut outputs = pages(&upload, Rest { first_page_no: 1, page_count: 1_000, facts: None }, trail).unwrap();
        let mut seen: Vec<PageSplit> = Vec::new();
        let mut steps = 1;
        loop {
            let bytes: usize = outputs.iter().map(|output| output.value.len()).sum();
            assert!(bytes < STEP_BYTES + 64 * 1024, "{bytes}");
            let last = outputs.pop_if(|last| last.topic == Readmitted::TOPIC);
            seen.extend(outputs.iter().map(|output| wire::decode::<PageSplit>(&output.value).unwrap()));
            let Some(last) = last else { break };
            let headers = Headers::parse(&last.headers, 99);
            let Upload { upload, rest } = Upload::decode(last.topic, &headers, &last.value).unwrap();
            outputs = pages(&upload, rest.unwrap(), Vec::new()).unwrap();
            steps += 1;
        }
        assert!(steps > 2, "{steps}");
        assert!(seen.iter().map(|page| page.page_no).eq(1..=1_000));
        assert!(seen.iter().all(|page| (page.envelope.run, page.envelope.version) == (7, 9)));
        assert_eq!(seen.iter().map(|page| page.envelope.trail.len()).sum::<usize>(), 1);
        let ids: std::collections::BTreeSet<_> = seen.iter().map(|page| &page.envelope.event_id).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
