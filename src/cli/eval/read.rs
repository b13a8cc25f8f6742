//! Reads the documents of an evaluation with the pipeline, and takes from the store what it found.

use std::collections::HashMap;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    app::App,
    cli::{
        Outcome,
        ingest::SUBMISSIONS,
        inputs::Input,
        process::{self, Row},
        render,
        submit::{self, Submission},
    },
    contract::{
        document::{Confidence, Page},
        record::{Event, Lane, OcrMode, Options, PageAnalysed, Published, Status},
    },
    eval::{found::Found, pairs::Pair},
    log::{self, Topic},
    store::{DocumentKey, Header},
};

/// What became of the document of a pair.
pub(super) struct Reading {
    /// Its header.
    pub header: Header,
    /// How this reading ended; what readers see may be of an earlier one, when the same folder was used before.
    pub status: Status,
    /// What was found on the pages that the truth is about; nothing where it failed.
    pub found: Found,
    /// Mean confidence of these pages.
    pub confidence: Option<f32>,
}

/// Reads the documents of all pairs, each once; `None` when interrupted. The readings are in the order of the pairs.
pub(super) async fn all(
    app: &App,
    pairs: &[Pair],
    ocr_mode: OcrMode,
    json: bool,
) -> anyhow::Result<Option<Vec<Reading>>> {
    let keys = keys(app, pairs).await?;
    let mut first_of: HashMap<&DocumentKey, &Pair> = HashMap::new();
    for (pair, key) in pairs.iter().zip(&keys) {
        let first = *first_of.entry(key).or_insert(pair);
        anyhow::ensure!(
            first.languages == pair.languages && first.password == pair.password,
            "{} and {} are the same file, which is read once: give them the same languages and password",
            first.name,
            pair.name
        );
    }
    let tail = app.log.tail(&[Topic::from(PageAnalysed::TOPIC), Topic::from(Published::TOPIC)], log::From::End).await?;
    let mut once: Vec<&Pair> = first_of.into_values().collect();
    once.sort_by_key(|pair| &pair.name);
    let submissions: Vec<Submission> = stream::iter(once)
        .map(|pair| async move {
            let relative = pair.document.file_name().map_or_else(|| pair.document.clone(), Into::into);
            let options = Options {
                languages: pair.languages.clone(),
                ocr_mode,
                password: pair.password.as_ref().map(|password| password.reveal().to_owned()),
                ..Options::default()
            };
            // What an earlier version of the program found says nothing about this one.
            // One that is too long fails as others do, and counts as lost.
            let request =
                submit::Request { anew: true, force: true, lane: Lane::Interactive, options, max_bytes: u64::MAX };
            let submitted = submit::submit(app, Input { path: pair.document.clone(), relative }, &request).await?;
            submitted.map_err(|refusal| anyhow::anyhow!("the file {}: {}", pair.document.display(), refusal.why()))
        })
        .buffered(SUBMISSIONS)
        .try_collect()
        .await?;
    let mut rows: Vec<Row> = submissions.into_iter().map(Row::new).collect();
    if process::until_all_ended(app, tail, &mut rows, None, json).await? == Outcome::Interrupted {
        return Ok(None);
    }
    let mut readings = Vec::new();
    for (pair, key) in pairs.iter().zip(&keys) {
        readings.push(reading(app, pair, key).await?);
    }
    Ok(Some(readings))
}

/// The documents that the pairs' files are.
async fn keys(app: &App, pairs: &[Pair]) -> anyhow::Result<Vec<DocumentKey>> {
    let tenant = &app.config.tenant;
    let mut keys = Vec::new();
    for pair in pairs {
        let (sha256, _) = submit::hashed(&pair.document).await?;
        let document_id = crate::contract::record::document_id(tenant, &sha256);
        keys.push(DocumentKey { tenant: tenant.clone(), document_id });
    }
    Ok(keys)
}

async fn reading(app: &App, pair: &Pair, key: &DocumentKey) -> anyhow::Result<Reading> {
    let header = app.store.header(key).await?.with_context(|| format!("{} is not in the store", pair.name))?;
    let status = header.ended.as_ref().map_or_else(|| header.status(), |ended| ended.status);
    let Some(current) = header.current.as_ref().filter(|_| status != Status::Failed) else {
        return Ok(Reading { header, status, found: Found::default(), confidence: None });
    };
    if current.page_count == 0 {
        let found = Found::of_blocks(&render::document(app, current).await?);
        return Ok(Reading { header, status, found, confidence: None });
    }
    let run = app.store.document(key).await?.with_context(|| format!("{} is not in the store", pair.name))?;
    let mut pages: Vec<Page> = Vec::new();
    for row in &run.pages {
        if let Some(blob) = row.page.as_ref().filter(|_| pair.scope.has_page(row.page_no)) {
            pages.push(serde_json::from_slice(&app.blobs.get(blob).await?)?);
        }
    }
    let confidence = Confidence::of_lines(pages.iter().flat_map(|page| &page.lines)).map(|it| it.mean);
    Ok(Reading { found: Found::of_pages(&pages, &pair.scope), confidence, status, header })
}
