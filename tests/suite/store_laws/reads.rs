//! The laws of what is read without a document's name, and of what is read beside its text.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use deckle::{
    contract::record::Status,
    store::{DocumentKey, FeedEntry, Header, ListFilter, ListOrder, Store},
};

use crate::support::values::*;

type Any = Arc<dyn Store>;

const HOUR: i64 = 3_600_000_000;

/// Some moment between 1970 and 2020, so that tests do not all write at one time.
fn own_time() -> i64 {
    const YEARS: i64 = 50 * 365 * 24 * HOUR;
    // The lower half of a name is random.
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    (random >> 2) as i64 % YEARS
}

fn document(tenant: &str, document_id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.to_owned(), document_id: document_id.to_owned() }
}

fn newest(tenant: &str) -> ListFilter {
    ListFilter { tenant: Some(tenant.to_owned()), order: ListOrder::Newest, ..ListFilter::default() }
}

/// Ids of a whole listing, page by page.
async fn listed(store: &Any, filter: &ListFilter) -> Vec<DocumentKey> {
    let mut filter = filter.clone();
    let mut all = Vec::new();
    loop {
        let listing = store.list(&filter).await.unwrap();
        assert!(filter.limit == 0 || listing.headers.len() <= filter.limit);
        all.extend(listing.headers.into_iter().map(|header| header.key));
        filter.after = listing.next;
        if filter.after.is_none() {
            return all;
        }
    }
}

pub async fn a_listing_by_time_pages_through_all_once_the_latest_first(store: Any) {
    let tenant = new_document().tenant;
    let start = own_time();
    // Over three hours, some at the very same time, in an order that is not that of their names.
    let mut wanted: Vec<(i64, DocumentKey, Status)> = Vec::new();
    for number in 0..23_i64 {
        let key = document(&tenant, &format!("document-{}", number * 7 % 23));
        let run = start + (number / 2) * HOUR / 4;
        store.put_intake(&key, &intake(run, run), run).await.unwrap();
        let (at, status) = match number % 4 {
            0 => (run, Status::Processing),
            // Ended in a later hour than it was taken in.
            1 => (run + HOUR, Status::Failed),
            _ => (run + 7, Status::Published),
        };
        match status {
            Status::Processing => {}
            Status::Failed => store.put_ended(&key, &ended(run, at, status)).await.unwrap(),
            _ => {
                store.set_current(&key, &current(run, at, 0, 0)).await.unwrap();
                store.put_ended(&key, &ended(run, at, status)).await.unwrap();
            }
        }
        wanted.push((at, key, status));
    }
    wanted.sort_by(|(at, key, _), (other_at, other, _)| (other_at, other).cmp(&(at, key)));
    let keys = |keep: &dyn Fn(&(i64, DocumentKey, Status)) -> bool| -> Vec<DocumentKey> {
        wanted.iter().filter(|row| keep(row)).map(|(_, key, _)| key.clone()).collect()
    };
    for limit in [1, 4, 23, 100] {
        let filter = ListFilter { limit, ..newest(&tenant) };
        assert_eq!(listed(&store, &filter).await, keys(&|_| true), "{limit} at once");
    }
    let (since, until) = (wanted[15].0, wanted[5].0);
    let bounded = ListFilter { since: Some(since), until: Some(until), limit: 4, ..newest(&tenant) };
    assert_eq!(listed(&store, &bounded).await, keys(&|(at, ..)| (since..until).contains(at)));
    let nothing = ListFilter { since: Some(until), until: Some(until), ..newest(&tenant) };
    assert_eq!(listed(&store, &nothing).await, []);
    let failed = ListFilter { status: Some(Status::Failed), limit: 2, ..newest(&tenant) };
    assert_eq!(listed(&store, &failed).await, keys(&|(.., status)| *status == Status::Failed));
}

pub async fn a_listing_by_time_goes_over_all_tenants(store: Any) {
    let start = own_time();
    let mut wanted = Vec::new();
    for tenant in [new_document().tenant, new_document().tenant, new_document().tenant] {
        for number in 0..4 {
            let key = document(&tenant, &format!("{number}"));
            // The same times in all tenants.
            let run = start + number * HOUR;
            store.put_intake(&key, &intake(run, run), run).await.unwrap();
            wanted.push((run, key));
        }
    }
    wanted.sort();
    wanted.reverse();
    let wanted: Vec<_> = wanted.into_iter().map(|(_, key)| key).collect();
    let order = ListOrder::Newest;
    let (since, until) = (Some(start), Some(start + 4 * HOUR));
    let filter = ListFilter { since, until, order, limit: 5, ..ListFilter::default() };
    let mut found = listed(&store, &filter).await;
    found.retain(|key| wanted.contains(key));
    assert_eq!(found, wanted);
}

pub async fn a_document_has_the_time_of_the_last_thing_that_happened(store: Any) {
    let key = new_document();
    let start = own_time();
    let other = document(&key.tenant, "other");
    store.put_intake(&other, &intake(start, start), start).await.unwrap();
    // Each step is the last, and once it is made no step before leads to the document.
    for step in 0..6 {
        let at = start + step * HOUR;
        match step {
            0 => store.put_intake(&key, &intake(at, at), at).await.unwrap(),
            1 => store.set_current(&key, &current(start, at, 0, 0)).await.unwrap(),
            2 => store.put_ended(&key, &ended(start, at, Status::Published)).await.unwrap(),
            // Published again, of the same run.
            3 => store.put_ended(&key, &ended(start, at, Status::Published)).await.unwrap(),
            4 => store.put_intake(&key, &intake(at, at), at).await.unwrap(),
            _ => store.erase(&key, at).await.unwrap(),
        }
        assert_eq!(store.header(&key).await.unwrap().unwrap().at(), at, "step {step}");
        let first = if step == 0 { [&other, &key] } else { [&key, &other] };
        assert_eq!(listed(&store, &newest(&key.tenant)).await, first.map(Clone::clone), "step {step}");
        let before = ListFilter { until: Some(at), since: Some(start + 1), ..newest(&key.tenant) };
        assert_eq!(listed(&store, &before).await, [], "step {step}");
        let then = ListFilter { since: Some(at), until: Some(at + 1), ..newest(&key.tenant) };
        assert!(listed(&store, &then).await.contains(&key), "step {step}");
    }
    // Late writes, repeated as a crash repeats them, change nothing.
    store.put_intake(&key, &intake(start, start), start).await.unwrap();
    store.put_ended(&key, &ended(start, start + 2 * HOUR, Status::Published)).await.unwrap();
    assert_eq!(listed(&store, &newest(&key.tenant)).await, [key, other]);
}

pub async fn times_bound_a_listing_by_document_too(store: Any) {
    let tenant = new_document().tenant;
    let start = own_time();
    let mut keys = Vec::new();
    for number in 0..6 {
        let key = document(&tenant, &format!("{number}"));
        let run = start + (number * 5 % 6) * HOUR;
        store.put_intake(&key, &intake(run, run), run).await.unwrap();
        keys.push((run, key));
    }
    let bounds = start + HOUR..start + 4 * HOUR;
    let by_document = ListFilter {
        tenant: Some(tenant),
        since: Some(bounds.start),
        until: Some(bounds.end),
        limit: 2,
        ..ListFilter::default()
    };
    keys.retain(|(at, _)| bounds.contains(at));
    assert_eq!(listed(&store, &by_document).await, keys.into_iter().map(|(_, key)| key).collect::<Vec<_>>());
}

/// Ids of the documents that a file leads to.
async fn with_file(store: &Any, tenant: &str, sha256: &str) -> Vec<String> {
    let found: Vec<Header> = store.find_by_hash(tenant, sha256).await.unwrap();
    found.into_iter().map(|header| header.key.document_id).collect()
}

pub async fn documents_are_found_by_the_files_they_have_now(store: Any) {
    let key = new_document();
    let tenant = key.tenant.as_str();
    let found = async |run| with_file(&store, tenant, &file_of(run)).await == [key.document_id.clone()];
    assert!(!found(5).await);
    store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
    assert!(found(5).await, "as soon as it is taken in");
    publish(&*store, &key, 5, 6, 0, 0).await;
    // A document of a producer's own name gets another file: until that is published, readers see the first.
    store.put_intake(&key, &intake(7, 7), 7).await.unwrap();
    assert!(found(5).await && found(7).await);
    store.put_ended(&key, &ended(7, 8, Status::Failed)).await.unwrap();
    assert!(found(5).await && found(7).await, "what failed is found as well");
    publish(&*store, &key, 9, 9, 0, 0).await;
    assert!(!found(5).await && found(9).await, "readers see the third");
    store.remove_runs_below(&key, 9).await.unwrap();
    assert!(!found(7).await && found(9).await);
    store.erase(&key, 9).await.unwrap();
    assert!(!found(9).await);
    // Late, and then anew.
    publish(&*store, &key, 9, 12, 0, 0).await;
    assert!(!found(9).await);
    let again = file_of(9);
    let mut intake = intake(20, 20);
    intake.source.sha256 = again;
    store.put_intake(&key, &intake, 20).await.unwrap();
    assert!(found(9).await, "the same file, uploaded after its erasure");
}

pub async fn the_same_file_in_several_documents_finds_all_of_the_tenant(store: Any) {
    let (tenant, other) = (new_document().tenant, new_document().tenant);
    for (tenant, document_id) in [(&tenant, "b"), (&tenant, "a"), (&tenant, "ä"), (&other, "c")] {
        let key = document(tenant, document_id);
        // Two runs of the same file are one document.
        for run in [5, 6] {
            let mut intake = intake(run, run);
            intake.source.sha256 = file_of(5);
            store.put_intake(&key, &intake, run).await.unwrap();
        }
    }
    assert_eq!(with_file(&store, &tenant, &file_of(5)).await, ["a", "b", "ä"]);
    assert_eq!(with_file(&store, &other, &file_of(5)).await, ["c"]);
    assert_eq!(with_file(&store, &tenant, &file_of(6)).await, [""; 0]);
}

/// Follows the feed, `limit` entries at a time, until it told as many as wanted of some documents; a side may hold them
/// back for some seconds.
async fn followed(
    store: &Any,
    cursor: &str,
    limit: usize,
    is_mine: impl Fn(&DocumentKey) -> bool,
    wanted: usize,
) -> Vec<FeedEntry> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut cursor = cursor.to_owned();
    let mut mine: Vec<FeedEntry> = Vec::new();
    while mine.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} came: {mine:?}", mine.len());
        let page = store.feed(Some(&cursor), limit).await.unwrap();
        assert!(page.entries.len() <= limit);
        if page.entries.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        mine.extend(page.entries.into_iter().filter(|entry| is_mine(&entry.key)));
        cursor = page.next;
    }
    mine
}

pub async fn the_feed_tells_of_every_publication_in_order(store: Any) {
    let tenant = new_document().tenant;
    publish(&*store, &document(&tenant, "before"), 1, 1, 0, 0).await;
    let cursor = store.feed_now().await.unwrap();
    let mut wanted = Vec::new();
    for number in 0..9 {
        let key = document(&tenant, &format!("{}", number % 4));
        store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
        publish(&*store, &key, 5 + number, 5 + number, 0, 0).await;
        wanted.push((key, 5 + number, 5 + number));
    }
    // A side whose cursor stays behind the clock may tell of what came just before.
    let is_mine = |key: &DocumentKey| key.tenant == tenant && key.document_id != "before";
    for limit in [2, 100] {
        let told = followed(&store, &cursor, limit, is_mine, wanted.len()).await;
        assert!(told.is_sorted_by_key(|entry| entry.at), "{told:?}");
        let told: Vec<_> = told.into_iter().map(|entry| (entry.key, entry.run, entry.version)).collect();
        assert_eq!(told, wanted);
    }
    let all = store.feed(None, 1).await.unwrap();
    assert_eq!(all.entries.len(), 1, "from as long ago as the feed is kept");
}

pub async fn the_feed_leaves_out_what_was_erased(store: Any) {
    let tenant = new_document().tenant;
    let cursor = store.feed_now().await.unwrap();
    let (erased, living) = (document(&tenant, "erased"), document(&tenant, "living"));
    for run in [5, 6] {
        publish(&*store, &erased, run, run, 0, 0).await;
        publish(&*store, &living, run, run, 0, 0).await;
    }
    store.erase(&erased, 6).await.unwrap();
    store.remove_runs_below(&living, 6).await.unwrap();
    publish(&*store, &document(&tenant, "last"), 7, 7, 0, 0).await;
    let told = followed(&store, &cursor, 100, |key| key.tenant == tenant, 2).await;
    let told: BTreeSet<_> = told.iter().map(|entry| (entry.key.document_id.as_str(), entry.run)).collect();
    assert_eq!(told, BTreeSet::from([("living", 6), ("last", 7)]));
}

pub async fn a_cursor_of_another_listing_is_refused(store: Any) {
    let tenant = new_document().tenant;
    for document_id in ["a", "b"] {
        store.put_intake(&document(&tenant, document_id), &intake(5, 5), 5).await.unwrap();
    }
    let by_time = ListFilter { limit: 1, ..newest(&tenant) };
    let by_document = ListFilter { order: ListOrder::Document, ..by_time.clone() };
    let place = store.list(&by_time).await.unwrap().next;
    let name = store.list(&by_document).await.unwrap().next;
    assert!(place.is_some() && name.is_some());
    assert!(store.list(&ListFilter { after: name.clone(), ..by_time.clone() }).await.is_err());
    assert!(store.list(&ListFilter { after: place, ..by_document }).await.is_err());
    for foreign in [name.as_deref(), Some("no cursor"), Some("")] {
        assert!(store.feed(foreign, 1).await.is_err(), "{foreign:?}");
    }
    let cursor = store.feed_now().await.unwrap();
    assert!(store.list(&ListFilter { after: Some(cursor), ..by_time }).await.is_err());
}

pub async fn an_older_set_of_figures_and_fields_never_wins(store: Any) {
    for (first, second) in [((10, 4), (20, 2)), ((20, 2), (10, 4)), ((10, 2), (20, 4)), ((20, 4), (10, 2))] {
        let key = new_document();
        for (version, count) in [first, second, first] {
            store.put_figures(&run_of(&key, 5), version, &figures(5, version, count)).await.unwrap();
            store.put_fields(&run_of(&key, 5), version, &fields(5, version, count)).await.unwrap();
        }
        store.set_current(&key, &current(5, 20, 0, 9)).await.unwrap();
        let count = if first.0 == 20 { first.1 } else { second.1 };
        let read = store.document(&key).await.unwrap().unwrap();
        assert_eq!(read.figures, figures(5, 20, count), "{first:?} {second:?}");
        assert_eq!(read.fields, fields(5, 20, count), "{first:?} {second:?}");
        // And those of other runs are not its own; of its own the header's count is the truth.
        store.put_figures(&run_of(&key, 6), 30, &figures(6, 30, 3)).await.unwrap();
        store.set_current(&key, &current(6, 30, 0, 1)).await.unwrap();
        let read = store.document(&key).await.unwrap().unwrap();
        assert_eq!((read.figures, read.fields), (figures(6, 30, 1), Vec::new()));
    }
    // A newer version without any takes away those of the older, late or not.
    let key = new_document();
    for (version, count) in [(20, 0), (10, 3)] {
        store.put_figures(&run_of(&key, 5), version, &figures(5, version, count)).await.unwrap();
        store.put_fields(&run_of(&key, 5), version, &fields(5, version, count)).await.unwrap();
    }
    store.set_current(&key, &current(5, 20, 0, 9)).await.unwrap();
    let read = store.document(&key).await.unwrap().unwrap();
    assert_eq!((read.figures, read.fields), (Vec::new(), Vec::new()));
}

pub async fn figures_and_fields_of_an_erased_run_stay_hidden(store: Any) {
    let key = new_document();
    publish(&*store, &key, 5, 5, 0, 3).await;
    store.erase(&key, 5).await.unwrap();
    publish(&*store, &key, 5, 9, 0, 3).await;
    assert_eq!(store.document(&key).await.unwrap(), None);
    // A run after the erasure has its own alone.
    store.set_current(&key, &current(6, 6, 0, 3)).await.unwrap();
    let read = store.document(&key).await.unwrap().unwrap();
    assert_eq!((read.figures, read.fields), (Vec::new(), Vec::new()));
}
