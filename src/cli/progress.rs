//! Progress bars: one for everything, one for each document on its way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::IsTerminal,
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{visible::visible, warn};
use crate::{contract::record::Status, runtime::readiness::Unavailable};

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
    /// What was last said to be away, and the line below the bars that says so.
    waiting: BTreeSet<String>,
    waits: Option<ProgressBar>,
}

struct Document {
    name: String,
    pages: HashSet<u32>,
    bar: Option<ProgressBar>,
}

impl Document {
    fn named(name: &str) -> Self {
        Self { name: visible(name).into_owned(), pages: HashSet::new(), bar: None }
    }
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
            documents.into_iter().map(|(id, name)| (id, Document::named(&name))).collect();
        let total = bars.add(ProgressBar::new(documents.len() as u64));
        total.set_style(bar_style("{bar:30.green/dim} {pos}/{len} documents  {elapsed}"));
        total.enable_steady_tick(Duration::from_millis(200));
        Self { bars, total, documents, plain: plain && !quiet, waiting: BTreeSet::new(), waits: None }
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

    /// Says what is waited for and why: on a line below the bars, or, where there are none, once for each wait.
    pub(super) fn waiting_for(&mut self, away: &BTreeMap<String, Unavailable>) {
        if self.plain {
            self.unsaid(away).for_each(warn);
        }
        self.waiting = away.keys().cloned().collect();
        if away.is_empty() {
            if let Some(line) = self.waits.take() {
                line.finish_and_clear();
                self.bars.remove(&line);
            }
            return;
        }
        let line = self.waits.get_or_insert_with(|| {
            let line = self.bars.insert_after(&self.total, ProgressBar::new_spinner());
            // It cuts the message at the terminal's width.
            line.set_style(style("{wide_msg}"));
            line
        });
        let waits: Vec<_> = away.iter().map(wait).collect();
        line.set_message(waits.join("; "));
    }

    /// The waits that began since it was last said what is waited for.
    fn unsaid(&self, away: &BTreeMap<String, Unavailable>) -> impl Iterator<Item = String> {
        away.iter().filter(|(dependency, _)| !self.waiting.contains(*dependency)).map(wait)
    }

    /// Takes all bars away.
    pub(super) fn finish(&self) {
        // What cannot be taken away, on a terminal that is gone, need not be.
        let _ = self.bars.clear();
        // Bars that are dropped later would draw themselves once more.
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// What is waited for and why, on one line however many the failure's message has.
fn wait((dependency, away): (&String, &Unavailable)) -> String {
    let why: Vec<_> = away.why.split_whitespace().collect();
    visible(&format!("waiting for {dependency}: {}", why.join(" "))).into_owned()
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

/// A count of what is done, where nobody knows how much there is.
pub(super) fn counter(noun: &str, quiet: bool) -> ProgressBar {
    let counter =
        ProgressBar::new_spinner().with_style(style(&format!("{{spinner:.green}} {{pos}} {noun}  {{elapsed}}")));
    if quiet {
        counter.set_draw_target(ProgressDrawTarget::hidden());
    }
    counter
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A terminal of 40 columns that keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Narrow(Arc<Mutex<Vec<String>>>);

    impl indicatif::TermLike for Narrow {
        fn width(&self) -> u16 {
            40
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn away(why: &str) -> BTreeMap<String, Unavailable> {
        BTreeMap::from([("the moon".to_owned(), Unavailable { waiting: 1, why: why.to_owned() })])
    }

    #[test]
    fn what_is_waited_for_and_why_is_on_one_line_of_the_terminal() {
        let terminal = Narrow::default();
        let mut progress = Progress::new([("d".to_owned(), "a.pdf".to_owned())], true);
        progress.bars.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        progress.waiting_for(&away("it has set,\nand rises when the tide comes in again"));
        let drawn = terminal.0.lock().unwrap().clone();
        assert!(drawn.iter().any(|line| line == "waiting for the moon: it has set, and ri"), "{drawn:?}");
        progress.waiting_for(&BTreeMap::new());
        assert!(progress.waits.is_none());
    }

    #[test]
    fn where_there_are_no_bars_a_wait_is_told_once_with_its_reason() {
        let mut progress = Progress::new([("d".to_owned(), "a.pdf".to_owned())], true);
        let said = |progress: &Progress, why| progress.unsaid(&away(why)).collect::<Vec<_>>();
        assert_eq!(said(&progress, "it has\nset"), ["waiting for the moon: it has set"]);
        progress.waiting_for(&away("it has set"));
        assert!(said(&progress, "it has not risen").is_empty());
        progress.waiting_for(&BTreeMap::new());
        assert_eq!(said(&progress, "it has set again"), ["waiting for the moon: it has set again"]);
    }

    #[test]
    fn a_bar_can_be_drawn() {
        assert_eq!(bar(30, "dead letters", false).length(), Some(30));
    }

    #[test]
    fn a_bar_obeys_no_name() {
        let progress = Progress::new([("d".to_owned(), "a\u{1b}[2K\n.pdf".to_owned())], true);
        assert_eq!(progress.documents["d"].name, "a\\u{1b}[2K\\n.pdf");
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
