//! Progress bars: one for everything, one for each document on its way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::IsTerminal,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::warn;
use crate::contract::record::Status;

/// Documents whose bars are shown at once; the rest only count in the total.
const BARS: usize = 12;
/// Where there are no bars: of more documents than this, those that end well are only counted.
const LINES: usize = 40;

/// Bars on a terminal; lines about documents elsewhere.
pub(super) struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    documents: HashMap<String, Document>,
    /// Lines instead of bars.
    plain: bool,
    /// What was last said to be away.
    waiting: String,
}

struct Document {
    name: String,
    pages: HashSet<u32>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars for documents by their id and name. `quiet` leaves out the lines where there are no bars.
    pub(super) fn new(documents: impl IntoIterator<Item = (String, String)>, quiet: bool) -> Self {
        let bars = MultiProgress::new();
        let plain = !std::io::stderr().is_terminal();
        if plain {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let documents: HashMap<String, Document> =
            documents.into_iter().map(|(id, name)| (id, Document { name, pages: HashSet::new(), bar: None })).collect();
        let total = bars.add(ProgressBar::new(documents.len() as u64));
        total.set_style(bar_style("{bar:30.green/dim} {pos}/{len} documents  {elapsed}  {wide_msg}"));
        total.enable_steady_tick(Duration::from_millis(200));
        Self { bars, total, documents, plain: plain && !quiet, waiting: String::new() }
    }

    /// A page of a document was analysed, or failed.
    pub(super) fn page(&mut self, document_id: &str, page_no: u32, page_count: u32) {
        let shown = self.documents.values().filter(|document| document.bar.is_some()).count();
        let Some(document) = self.documents.get_mut(document_id) else { return };
        // A document of one page is done before its bar could be read.
        if document.bar.is_none() && shown < BARS && page_count > 1 {
            let bar = self.bars.insert_before(&self.total, ProgressBar::new(u64::from(page_count)));
            bar.set_style(bar_style("{bar:30.cyan/dim} {pos:>5}/{len:<5} pages  {wide_msg}"));
            bar.set_message(document.name.clone());
            document.bar = Some(bar);
        }
        document.pages.insert(page_no);
        if let Some(bar) = &document.bar {
            bar.set_position(document.pages.len() as u64);
        }
    }

    /// A document's path ended.
    pub(super) fn ended(&mut self, document_id: &str, status: Status) {
        let Some(document) = self.documents.remove(document_id) else { return };
        if let Some(bar) = document.bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.total.inc(1);
        let (done, all) = (self.total.position(), self.total.length().unwrap_or(0));
        if !self.plain {
            return;
        }
        let is_few = all <= LINES as u64;
        if is_few || !matches!(status, Status::Published | Status::Unchanged) {
            warn(format_args!("{:<10} {}", status.as_str(), document.name));
        }
        if !is_few && done * 10 / all > (done - 1) * 10 / all {
            warn(format_args!("{done} of {all} documents"));
        }
    }

    /// Says what records wait for, when that changed.
    pub(super) fn waiting_for(&mut self, waits: &BTreeMap<String, usize>) {
        let names: Vec<_> = waits.keys().map(String::as_str).collect();
        let waiting = names.join(", ");
        if waiting == self.waiting {
            return;
        }
        let message = if waiting.is_empty() { String::new() } else { format!("waiting for: {waiting}") };
        if self.plain && !message.is_empty() {
            warn(&message);
        }
        self.total.set_message(message);
        self.waiting = waiting;
    }

    /// Takes all bars away.
    pub(super) fn finish(&self) {
        // What cannot be taken away, on a terminal that is gone, need not be.
        let _ = self.bars.clear();
        // Bars that are dropped later would draw themselves once more.
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// A bar for work on many things of a kind; nothing elsewhere than on a terminal, and nothing for a handful.
pub(super) fn bar(length: usize, noun: &str, quiet: bool) -> ProgressBar {
    const WORTH_A_BAR: usize = 20;
    let bar = ProgressBar::new(length as u64)
        .with_style(bar_style(&format!("{{bar:30.green/dim}} {{pos}}/{{len}} {noun}  {{elapsed}}")));
    if quiet || length < WORTH_A_BAR {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// The style of a bar, with the characters that it is drawn with.
pub(super) fn bar_style(template: &str) -> ProgressStyle {
    style(template).progress_chars("━━─")
}

/// The style of a template, which must be a constant that a test draws.
#[expect(clippy::expect_used, reason = "templates are constants that tests draw")]
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant that a test draws")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_drawn() {
        assert_eq!(bar(30, "dead letters", false).length(), Some(30));
    }

    #[test]
    fn a_page_that_comes_twice_counts_once() {
        let mut progress = Progress::new([("d".to_owned(), "a.pdf".to_owned())], true);
        progress.page("d", 1, 3);
        progress.page("d", 1, 3);
        assert_eq!(progress.documents["d"].pages.len(), 1);
        progress.ended("d", Status::Published);
        assert_eq!(progress.total.position(), 1);
    }
}
