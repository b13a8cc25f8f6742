//! Progress bars: one for everything, one for each document on its way.

use std::{
    collections::{HashMap, HashSet},
    io::IsTerminal,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Documents whose bars are shown at once; the rest only count in the total.
const BARS: usize = 12;

/// Bars on a terminal; one line per finished document elsewhere.
pub struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    documents: HashMap<String, Document>,
    plain: bool,
}

struct Document {
    name: String,
    pages: HashSet<i32>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Bars for documents by their id and name.
    pub fn new(documents: impl IntoIterator<Item = (String, String)>, quiet: bool) -> Self {
        let bars = MultiProgress::new();
        let plain = !std::io::stderr().is_terminal();
        if quiet || plain {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        let documents: HashMap<String, Document> =
            documents.into_iter().map(|(id, name)| (id, Document { name, pages: HashSet::new(), bar: None })).collect();
        let total = bars.add(ProgressBar::new(documents.len() as u64));
        total.set_style(style("{bar:30.green/dim} {pos}/{len} documents  {elapsed_precise}  {msg}"));
        total.enable_steady_tick(Duration::from_millis(200));
        Self { bars, total, documents, plain: plain && !quiet }
    }

    /// A page of a document was analysed, or failed.
    pub fn page(&mut self, document_id: &str, page_no: i32, page_count: i32) {
        let shown = self.documents.values().filter(|document| document.bar.is_some()).count();
        let Some(document) = self.documents.get_mut(document_id) else { return };
        if document.bar.is_none() && shown < BARS {
            let bar = self.bars.insert_before(&self.total, ProgressBar::new(u64::try_from(page_count).unwrap_or(0)));
            bar.set_style(style("{bar:30.cyan/dim} {pos}/{len} pages  {msg}"));
            bar.set_message(document.name.clone());
            document.bar = Some(bar);
        }
        document.pages.insert(page_no);
        if let Some(bar) = &document.bar {
            bar.set_position(document.pages.len() as u64);
        }
    }

    /// A document's path ended.
    pub fn ended(&mut self, document_id: &str, status: &str) {
        let Some(document) = self.documents.remove(document_id) else { return };
        if let Some(bar) = document.bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.total.inc(1);
        if self.plain {
            eprintln!("{status:<10} {}", document.name);
        }
    }

    /// Says what is going on besides.
    pub fn say(&self, message: &'static str) {
        self.total.set_message(message);
    }

    /// Takes all bars away.
    pub fn finish(&self) {
        self.total.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant that a test draws").progress_chars("━━─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_comes_twice_counts_once() {
        let mut progress = Progress::new([("d".to_owned(), "a.pdf".to_owned())], true);
        progress.page("d", 1, 3);
        progress.page("d", 1, 3);
        assert_eq!(progress.documents["d"].pages.len(), 1);
        progress.ended("d", "published");
        assert_eq!(progress.total.position(), 1);
    }
}
