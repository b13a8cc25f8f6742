//! vision: groups the lines of one page into blocks in reading order.
//!
//! The law: lines are the truth. Rules and models vote on their grouping; no line is ever lost.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Meter, Output, Parts, Stage, claim_check, compute};
use crate::{
    blob::Blobs,
    document::{Page, layout},
    error::{Failure, Result},
    record::{Event, PageAnalysed, PageRead, Source, wire::Headers},
};

/// The stage's name.
pub const NAME: &str = "vision";

/// See the module.
pub struct Vision {
    blobs: Arc<dyn Blobs>,
    config_hash: String,
}

impl Vision {
    /// Takes its parts.
    pub fn new(parts: &Parts) -> Self {
        Self { blobs: Arc::clone(&parts.blobs), config_hash: parts.settings.config_hash.clone() }
    }
}

#[async_trait]
impl Stage for Vision {
    type Input = PageRead;

    fn name(&self) -> &'static str {
        NAME
    }

    async fn process(&self, _: &Headers, read: PageRead) -> Result<Vec<Output>> {
        let mut envelope = read.envelope.caused(PageAnalysed::TOPIC, &read.page_no.to_string());
        let page = match &read.page {
            Some(blob) => {
                let mut meter = Meter::start(NAME, &self.config_hash);
                let mut page: Page = claim_check::get_json(&*self.blobs, blob).await?;
                let (page, cpu_us) = compute(move || {
                    layout::analyse(&mut page);
                    page
                })
                .await?;
                let blob = claim_check::put_json(&*self.blobs, &envelope, &page).await?;
                meter.cpu(cpu_us).count(1, 0, 0);
                envelope.trail.push(meter.finish());
                Some(blob)
            }
            None => None,
        };
        let analysed = PageAnalysed {
            envelope,
            source: read.source,
            page_no: read.page_no,
            page_count: read.page_count,
            page,
            reason: read.reason,
            facts: read.facts,
        };
        Ok(vec![Output::new(NAME, &analysed)?])
    }

    fn on_failure(&self, headers: &Headers, input: Option<&PageRead>, failure: &Failure) -> Result<Vec<Output>> {
        let page_no = input.map_or(super::number(headers.page_no), |input| input.page_no);
        let cause = input.map_or_else(|| headers.envelope(), |input| input.envelope.clone());
        let analysed = PageAnalysed {
            envelope: cause.caused(PageAnalysed::TOPIC, &page_no.to_string()),
            source: input.map_or_else(Source::unknown, |input| input.source.clone()),
            page_no,
            page_count: input.map_or(super::number(headers.page_count), |input| input.page_count),
            page: None,
            reason: Some(failure.reason(NAME, u32::try_from(page_no).ok())),
            facts: input.and_then(|input| input.facts.clone()),
        };
        Ok(vec![Output::new(NAME, &analysed)?])
    }
}
