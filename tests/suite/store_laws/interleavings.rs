//! Random writes in random order against a naive model: what a store holds is a function of the set of writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use deckle::{
    contract::record::Status,
    store::{DocumentKey, Header, ListFilter, ListOrder, Store},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use tokio::runtime::Handle;

use crate::support::values::*;

/// One write. What it writes follows from its run and version, as from one committed record.
#[derive(Debug, Clone)]
enum Op {
    Submission { run: i64, version: i64 },
    Page { run: i64, version: i64, page_no: u32 },
    Chunks { run: i64, version: i64, first: u32, end: u32 },
    Vectors { run: i64, version: i64, first: u32, end: u32 },
    Trim { run: i64, version: i64, chunk_count: u32 },
    Figures { run: i64, version: i64 },
    Fields { run: i64, version: i64 },
    PublishedVersion { run: i64, version: i64 },
    Completion { run: i64, version: i64 },
    Erase { erased_at: i64 },
    RemoveBelow { run: i64 },
}

fn any_op() -> impl Strategy<Value = Op> {
    // Few runs, versions and numbers, so that writes meet; a version is never below its run.
    let at = || (1..4_i64, 0..4_i64).prop_map(|(run, later)| (run, run + later));
    let part = || (0..4_u32, 1..5_u32).prop_map(|(first, length)| (first, first + length));
    prop_oneof![
        2 => at().prop_map(|(run, version)| Op::Submission { run, version }),
        4 => (at(), 1..4_u32).prop_map(|((run, version), page_no)| Op::Page { run, version, page_no }),
        4 => (at(), part()).prop_map(|((run, version), (first, end))| Op::Chunks { run, version, first, end }),
        4 => (at(), part()).prop_map(|((run, version), (first, end))| Op::Vectors { run, version, first, end }),
        3 => (at(), 0..6_u32).prop_map(|((run, version), chunk_count)| Op::Trim { run, version, chunk_count }),
        2 => at().prop_map(|(run, version)| Op::Figures { run, version }),
        2 => at().prop_map(|(run, version)| Op::Fields { run, version }),
        4 => at().prop_map(|(run, version)| Op::PublishedVersion { run, version }),
        2 => at().prop_map(|(run, version)| Op::Completion { run, version }),
        1 => (0..3_i64).prop_map(|erased_at| Op::Erase { erased_at }),
        1 => (1..4_i64).prop_map(|run| Op::RemoveBelow { run }),
    ]
}

/// How many chunks a version says it has.
fn chunk_count(version: i64) -> u32 {
    3 + (version % 3) as u32
}

/// How many figures, and how many fields, a version writes: more or fewer than its header says.
fn set_count(version: i64) -> u32 {
    (version * 5 % 7) as u32
}

/// Each version orders the chunks of a run in its own way.
fn degrees(version: i64, chunk_no: u32) -> f32 {
    ((version as u32 * 37 + chunk_no * 11) % 90) as f32
}

async fn write(store: &dyn Store, key: &DocumentKey, op: &Op) {
    let outcome = match *op {
        Op::Submission { run, version } => store.put_intake(key, &intake(run, version), version).await,
        Op::Page { run, version, page_no } => store.put_page(&run_of(key, run), &page(page_no, version)).await,
        Op::Chunks { run, version, first, end } => {
            store.put_chunks(&run_of(key, run), version, &chunks(run, version, first..end)).await
        }
        Op::Vectors { run, version, first, end } => {
            let rows: Vec<_> = (first..end).map(|no| (no, vector(degrees(version, no)))).collect();
            store.put_vectors(&run_of(key, run), version, &space(), &rows).await
        }
        Op::Trim { run, version, chunk_count } => store.trim_chunks(&run_of(key, run), version, chunk_count).await,
        Op::PublishedVersion { run, version } => {
            store.set_current(key, &current(run, version, 3, chunk_count(version))).await
        }
        Op::Figures { run, version } => {
            store.put_figures(&run_of(key, run), version, &figures(run, version, set_count(version))).await
        }
        Op::Fields { run, version } => {
            store.put_fields(&run_of(key, run), version, &fields(run, version, set_count(version))).await
        }
        Op::Completion { run, version } => store.put_ended(key, &ended(run, version, Status::Published)).await,
        Op::Erase { erased_at } => store.erase(key, erased_at).await,
        Op::RemoveBelow { run } => store.remove_runs_below(key, run).await.map(drop),
    };
    outcome.unwrap();
}

/// Keeps the newest version of a row.
fn newest<K: Ord>(rows: &mut BTreeMap<K, i64>, key: K, version: i64) {
    let row = rows.entry(key).or_insert(version);
    *row = version.max(*row);
}

/// What must be read after a set of writes: the newest of each, less what deletes hide.
struct Model {
    /// The lowest run that lives.
    alive_from: i64,
    intake: Option<(i64, i64)>,
    current: Option<(i64, i64)>,
    ended: Option<(i64, i64)>,
    erased_at: Option<i64>,
    /// (run, number) → version.
    pages: BTreeMap<(i64, u32), i64>,
    chunks: BTreeMap<(i64, u32), i64>,
    vectors: BTreeMap<(i64, u32), i64>,
    /// Run → version.
    figures: BTreeMap<i64, i64>,
    fields: BTreeMap<i64, i64>,
}

impl Model {
    fn of(ops: &[Op]) -> Self {
        let mut model = Self {
            alive_from: i64::MIN,
            intake: None,
            current: None,
            ended: None,
            erased_at: None,
            pages: BTreeMap::new(),
            chunks: BTreeMap::new(),
            vectors: BTreeMap::new(),
            figures: BTreeMap::new(),
            fields: BTreeMap::new(),
        };
        for op in ops {
            match *op {
                Op::Submission { run, version } => model.intake = model.intake.max(Some((run, version))),
                Op::PublishedVersion { run, version } => model.current = model.current.max(Some((run, version))),
                Op::Completion { run, version } => model.ended = model.ended.max(Some((run, version))),
                Op::Figures { run, version } => newest(&mut model.figures, run, version),
                Op::Fields { run, version } => newest(&mut model.fields, run, version),
                Op::Page { run, version, page_no } => newest(&mut model.pages, (run, page_no), version),
                Op::Chunks { run, version, first, end } => {
                    (first..end).for_each(|no| newest(&mut model.chunks, (run, no), version));
                }
                Op::Vectors { run, version, first, end } => {
                    (first..end).for_each(|no| newest(&mut model.vectors, (run, no), version));
                }
                Op::Erase { erased_at } => {
                    model.erased_at = model.erased_at.max(Some(erased_at));
                    model.alive_from = model.alive_from.max(erased_at + 1);
                }
                Op::RemoveBelow { run } => model.alive_from = model.alive_from.max(run),
                Op::Trim { .. } => {}
            }
        }
        let trimmed = |run: i64, no: u32, row_version: i64| {
            ops.iter().any(|op| match *op {
                Op::Trim { run: of, version, chunk_count } => of == run && no >= chunk_count && row_version <= version,
                _ => false,
            })
        };
        let alive_from = model.alive_from;
        model.intake = model.intake.filter(|(run, _)| *run >= alive_from);
        model.current = model.current.filter(|(run, _)| *run >= alive_from);
        model.ended = model.ended.filter(|(run, _)| *run >= alive_from);
        model.pages.retain(|(run, _), _| *run >= alive_from);
        model.chunks.retain(|(run, no), version| *run >= alive_from && !trimmed(*run, *no, *version));
        model.vectors.retain(|(run, no), version| *run >= alive_from && !trimmed(*run, *no, *version));
        model
    }

    async fn check(&self, store: &dyn Store, key: &DocumentKey) -> Result<(), TestCaseError> {
        let header = store.header(key).await.unwrap();
        self.check_ways_to(store, key, header.as_ref()).await?;
        let is_unknown = self.intake.is_none() && self.current.is_none() && self.ended.is_none();
        if is_unknown && self.erased_at.is_none() {
            prop_assert_eq!(header, None);
        } else {
            let header = header.unwrap();
            let current = self.current.map(|(run, version)| current(run, version, 3, chunk_count(version)));
            prop_assert_eq!(header.intake, self.intake.map(|(run, version)| intake(run, version)));
            prop_assert_eq!(header.current, current);
            prop_assert_eq!(header.ended, self.ended.map(|(run, version)| ended(run, version, Status::Published)));
            prop_assert_eq!(header.erased_at, self.erased_at);
        }
        for run in 1..4 {
            let rows = self.pages.iter().filter(|((of, _), _)| *of == run);
            let pages: Vec<_> = rows.map(|((_, page_no), version)| page(*page_no, *version)).collect();
            prop_assert_eq!(store.pages(&run_of(key, run)).await.unwrap(), pages);
        }
        let read = store.document(key).await.unwrap();
        let Some((run, version)) = self.current else {
            prop_assert_eq!(read, None);
            return Ok(());
        };
        let shown = |no: u32| (run, no) < (run, chunk_count(version));
        let rows = self.chunks.iter().filter(|((of, no), _)| *of == run && shown(*no));
        let chunks: Vec<_> = rows.map(|((_, no), version)| chunk(run, *version, *no)).collect();
        let read = read.unwrap();
        prop_assert_eq!(read.chunks, chunks);
        let shown_set = |sets: &BTreeMap<i64, i64>| {
            sets.get(&run).map(|of| (*of, set_count(*of).min(chunk_count(version)))).unwrap_or_default()
        };
        let (of, count) = shown_set(&self.figures);
        prop_assert_eq!(read.figures, figures(run, of, count));
        let (of, count) = shown_set(&self.fields);
        prop_assert_eq!(read.fields, fields(run, of, count));

        // All have the word; the phrase is that of one version.
        self.check_words(store, key, run, "unicode", |_| true, &shown).await?;
        for version in [run, run + 1, run + 2, run + 3] {
            let phrase = format!("\"version {version}\"");
            self.check_words(store, key, run, &phrase, |of| of == version, &shown).await?;
        }

        // A vector without its chunk cannot be shown.
        let rows = self.vectors.iter().filter(|(at, _)| at.0 == run && shown(at.1) && self.chunks.contains_key(at));
        let mut hits: Vec<_> = rows.map(|((_, no), version)| (degrees(*version, *no), *no)).collect();
        hits.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<_> = hits.into_iter().map(|(_, no)| (run, no)).collect();
        found(store, &question(key, 99), &wanted).await;
        Ok(())
    }
}

impl Model {
    /// Whether a search by words finds the shown chunks of the current run whose versions have them.
    async fn check_words(
        &self,
        store: &dyn Store,
        key: &DocumentKey,
        run: i64,
        words: &str,
        has_them: impl Fn(i64) -> bool,
        shown: &impl Fn(u32) -> bool,
    ) -> Result<(), TestCaseError> {
        let rows = self.chunks.iter().filter(|((of, no), version)| *of == run && shown(*no) && has_them(**version));
        let wanted: BTreeSet<_> = rows.map(|((_, no), _)| (run, *no)).collect();
        let query = asking_for(key, words, 99);
        let found = eventually(|| async {
            let hits = store.search(&query).await.unwrap();
            let found: BTreeSet<_> = hits.iter().map(|hit| (hit.run, hit.chunk.chunk_no)).collect();
            if found == wanted { Ok(()) } else { Err(found) }
        });
        let outcome = found.await;
        prop_assert!(outcome.is_ok(), "{:?} gave {:?} instead of {:?}", words, outcome, wanted);
        Ok(())
    }

    /// Listings lead to the document exactly by what its header says.
    async fn check_ways_to(
        &self,
        store: &dyn Store,
        key: &DocumentKey,
        header: Option<&Header>,
    ) -> Result<(), TestCaseError> {
        let all = ListFilter { tenant: Some(key.tenant.clone()), order: ListOrder::Newest, ..ListFilter::default() };
        let found: Vec<Header> = header.cloned().into_iter().collect();
        prop_assert_eq!(&store.list(&all).await.unwrap().headers, &found);
        if let Some(at) = header.map(Header::at) {
            let then = ListFilter { since: Some(at), until: Some(at + 1), ..all.clone() };
            prop_assert_eq!(&store.list(&then).await.unwrap().headers, &found);
        }
        for run in 1..4 {
            let has = header.is_some_and(|header| header.has_file(&file_of(run)));
            let found = store.find_by_hash(&key.tenant, &file_of(run)).await.unwrap();
            prop_assert_eq!(found.len(), usize::from(has), "the file of run {}", run);
        }
        Ok(())
    }
}

/// Deletes leave tombstones, newer versions win: any order, and any write twice, gives the same rows.
pub async fn any_order_of_writes_gives_the_same_rows(store: Arc<dyn Store>, cases: u32) {
    let orders = prop::collection::vec(any_op(), 1..16).prop_flat_map(|ops| {
        let some_twice = prop::sample::subsequence(ops.clone(), 0..=ops.len());
        (Just(ops), some_twice).prop_flat_map(|(mut ops, twice)| {
            ops.extend(twice);
            Just(ops).prop_shuffle()
        })
    });
    let runtime = Handle::current();
    // A failing search waits for its deadline each time, so shrinking is kept short; the input is printed.
    let config = Config { cases, max_shrink_time: 60_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&orders, |ops| {
            runtime.block_on(async {
                let key = new_document();
                for op in &ops {
                    write(&*store, &key, op).await;
                }
                Model::of(&ops).check(&*store, &key).await
            })
        })
    });
    outcome.unwrap_or_else(|e| panic!("{e}\n{runner}"));
}
