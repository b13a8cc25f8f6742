//! The laws one by one, each against any store.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use deckle::{
    contract::record::Status,
    store::{DocumentKey, Erasure, ListFilter, Query, QueryVector, Store, UploadClaim, VectorSpace},
};

use crate::support::values::*;

type Any = Arc<dyn Store>;

/// Both orders of an older and a newer version, for each kind of row.
const ORDERS: [[i64; 2]; 2] = [[10, 20], [20, 10]];

pub async fn what_was_written_is_read(store: Any) {
    let key = new_document();
    assert_eq!(store.header(&key).await.unwrap(), None);
    assert_eq!(store.document(&key).await.unwrap(), None);
    store.put_intake(&key, &intake(1, 1), 1).await.unwrap();
    let header = store.header(&key).await.unwrap().unwrap();
    assert_eq!((&header.key, &header.intake, header.status()), (&key, &Some(intake(1, 1)), Status::Processing));
    assert_eq!(store.document(&key).await.unwrap(), None, "taken in, but nothing is current");

    publish(&*store, &key, 1, 1, 2, 3).await;
    let read = store.document(&key).await.unwrap().unwrap();
    assert_eq!(read.header.current, Some(current(1, 1, 2, 3)));
    assert_eq!(read.header.status(), Status::Published);
    assert_eq!(read.pages, [page(1, 1), page(2, 1)]);
    assert_eq!(read.chunks, chunks(1, 1, 0..3));
    assert_eq!((read.figures, read.fields), (figures(1, 1, 3), fields(1, 1, 3)));
    assert_eq!(store.pages(&run_of(&key, 1)).await.unwrap(), read.pages);
    assert_eq!(store.pages(&run_of(&key, 2)).await.unwrap(), []);

    let hits = found(&*store, &question(&key, 2), &[(1, 0), (1, 1)]).await;
    assert_eq!(hits[1].chunk, chunk(1, 1, 1));
    assert_eq!((&hits[0].key, hits[0].filename.as_str()), (&key, "run-1.pdf"));
    assert!((hits[0].score - 1.0).abs() < 1e-5 && (hits[1].score - 1_f32.to_radians().cos()).abs() < 1e-5);
}

pub async fn an_older_intake_never_wins(store: Any) {
    for versions in ORDERS {
        let key = new_document();
        for version in versions {
            store.put_intake(&key, &intake(5, version), version).await.unwrap();
        }
        assert_eq!(store.header(&key).await.unwrap().unwrap().intake, Some(intake(5, 20)));
    }
    // A redrive of an older run has a newer version, but the header tells of the newest run.
    for runs in [[(5, 90), (6, 10)], [(6, 10), (5, 90)]] {
        let key = new_document();
        for (run, version) in runs {
            store.put_intake(&key, &intake(run, version), version).await.unwrap();
        }
        assert_eq!(store.header(&key).await.unwrap().unwrap().intake, Some(intake(6, 10)));
    }
}

pub async fn an_older_page_never_wins(store: Any) {
    for versions in ORDERS {
        let key = new_document();
        for version in versions {
            store.put_page(&run_of(&key, 5), &page(1, version)).await.unwrap();
        }
        assert_eq!(store.pages(&run_of(&key, 5)).await.unwrap(), [page(1, 20)]);
    }
}

pub async fn an_older_chunk_never_wins(store: Any) {
    for versions in ORDERS {
        let key = new_document();
        for version in versions {
            store.put_chunks(&run_of(&key, 5), version, &chunks(5, version, 0..2)).await.unwrap();
        }
        store.set_current(&key, &current(5, 20, 0, 2)).await.unwrap();
        assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(5, 20, 0..2));
    }
}

pub async fn an_older_vector_never_wins(store: Any) {
    for versions in ORDERS {
        let key = new_document();
        publish(&*store, &key, 5, 5, 0, 2).await;
        for version in versions {
            // The newer one turns the order of the two chunks round.
            let degrees = if version == 20 { 50.0 } else { 0.0 };
            store.put_vectors(&run_of(&key, 5), version, &space(), &[(0, vector(degrees))]).await.unwrap();
        }
        found(&*store, &question(&key, 9), &[(5, 1), (5, 0)]).await;
    }
}

pub async fn an_older_flip_never_wins(store: Any) {
    // By run first, then by version: a redrive of an older run does not hide a newer one.
    for flips in [[(5, 10), (5, 20)], [(5, 20), (5, 10)], [(4, 90), (5, 20)], [(5, 20), (4, 90)]] {
        let key = new_document();
        for (run, version) in flips {
            store.set_current(&key, &current(run, version, 0, 0)).await.unwrap();
        }
        assert_eq!(store.header(&key).await.unwrap().unwrap().current, Some(current(5, 20, 0, 0)));
    }
}

pub async fn an_older_end_never_wins(store: Any) {
    for versions in ORDERS {
        let key = new_document();
        store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
        for version in versions {
            let status = if version == 20 { Status::Failed } else { Status::Partial };
            store.put_ended(&key, &ended(5, version, status)).await.unwrap();
        }
        let header = store.header(&key).await.unwrap().unwrap();
        assert_eq!(header.ended, Some(ended(5, 20, Status::Failed)));
        assert_eq!(header.status(), Status::Failed, "nothing is current: the end tells");
    }
}

pub async fn a_newer_run_on_its_way_is_processing_until_it_ends(store: Any) {
    let key = new_document();
    publish(&*store, &key, 1, 1, 1, 1).await;
    store.put_intake(&key, &intake(2, 2), 2).await.unwrap();
    assert_eq!(store.header(&key).await.unwrap().unwrap().status(), Status::Processing);
    store.put_ended(&key, &ended(2, 2, Status::Failed)).await.unwrap();
    let header = store.header(&key).await.unwrap().unwrap();
    assert_eq!((header.status(), header.is_ended()), (Status::Published, true), "readers still see run 1");
}

pub async fn vectors_of_a_run_are_read(store: Any) {
    let key = new_document();
    publish(&*store, &key, 1, 1, 1, 3).await;
    let read = store.vectors(&run_of(&key, 1), &space().model).await.unwrap();
    assert_eq!(read, (0..3).map(|chunk_no| (chunk_no, vector(chunk_no as f32))).collect::<Vec<_>>());
    assert_eq!(store.vectors(&run_of(&key, 2), &space().model).await.unwrap(), []);
    assert_eq!(store.vectors(&run_of(&key, 1), "another").await.unwrap(), []);
}

pub async fn the_same_write_twice_is_one(store: Any) {
    let key = new_document();
    store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
    publish(&*store, &key, 5, 5, 2, 2).await;
    found(&*store, &question(&key, 9), &[(5, 0), (5, 1)]).await;
    let once = store.document(&key).await.unwrap();

    store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
    publish(&*store, &key, 5, 5, 2, 2).await;
    assert_eq!(store.document(&key).await.unwrap(), once);
    found(&*store, &question(&key, 9), &[(5, 0), (5, 1)]).await;
    let listed = store.list(&ListFilter { tenant: Some(key.tenant.clone()), ..Default::default() }).await.unwrap();
    assert_eq!(listed.headers.len(), 1);
}

pub async fn a_late_write_under_a_trim_stays_hidden(store: Any) {
    let key = new_document();
    let run = run_of(&key, 5);
    // Two tombstones, neither of which covers the other: up to 20 from 2 on, up to 30 from 4 on.
    store.trim_chunks(&run, 20, 2).await.unwrap();
    store.trim_chunks(&run, 30, 4).await.unwrap();
    for version in [10, 20, 25, 30] {
        store.put_chunks(&run, version, &chunks(5, version, 0..6)).await.unwrap();
        let vectors: Vec<_> = (0..6).map(|chunk_no| (chunk_no, vector(chunk_no as f32))).collect();
        store.put_vectors(&run, version, &space(), &vectors).await.unwrap();
        store.set_current(&key, &current(5, version, 0, 99)).await.unwrap();
        let seen = if version <= 20 { 2 } else { 4 };
        assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(5, version, 0..seen));
        found(&*store, &question(&key, 9), &(0..seen).map(|n| (5, n)).collect::<Vec<_>>()).await;
    }
    // What is newer than every tombstone lives.
    store.put_chunks(&run, 31, &chunks(5, 31, 4..6)).await.unwrap();
    assert_eq!(store.document(&key).await.unwrap().unwrap().chunks.len(), 6);
    // And a trim takes only what is not newer than itself.
    store.trim_chunks(&run, 30, 0).await.unwrap();
    assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(5, 31, 4..6));
}

pub async fn a_late_write_under_an_erasure_stays_hidden(store: Any) {
    let key = new_document();
    let nothing_but_the_tombstone = || async {
        let header = store.header(&key).await.unwrap().unwrap();
        assert_eq!((header.intake.as_ref(), header.current.as_ref(), header.erased_at), (None, None, Some(50)));
        assert_eq!(header.status(), Status::Erased);
        assert_eq!(store.document(&key).await.unwrap(), None);
        assert_eq!(store.pages(&run_of(&key, 5)).await.unwrap(), []);
        assert_eq!(store.pages(&run_of(&key, 50)).await.unwrap(), []);
        assert_eq!(store.vectors(&run_of(&key, 5), &space().model).await.unwrap(), []);
        found(&*store, &question(&key, 9), &[]).await;
    };
    store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
    publish(&*store, &key, 5, 5, 1, 1).await;
    found(&*store, &question(&key, 9), &[(5, 0)]).await;
    store.erase(&key, 50).await.unwrap();
    nothing_but_the_tombstone().await;

    // Late, and even newer versions of erased runs (a redrive).
    for (run, version) in [(5, 5), (5, 70), (50, 50)] {
        store.put_intake(&key, &intake(run, version), version).await.unwrap();
        publish(&*store, &key, run, version, 1, 1).await;
        nothing_but_the_tombstone().await;
    }
    store.erase(&key, 40).await.unwrap();
    nothing_but_the_tombstone().await;

    // A later upload is a newer run and lives; the erasure again does not touch it.
    publish(&*store, &key, 51, 51, 1, 1).await;
    store.erase(&key, 50).await.unwrap();
    assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(51, 51, 0..1));
    found(&*store, &question(&key, 9), &[(51, 0)]).await;
}

pub async fn an_erasure_is_listed_until_it_is_ended(store: Any) {
    let key = new_document();
    let other = DocumentKey { document_id: "other".into(), ..key.clone() };
    // Other tests erase too.
    let listed = async |before: i64, limit: usize| {
        let mut erasures = store.erasures(before, limit).await.unwrap();
        erasures.retain(|erasure| erasure.key.tenant == key.tenant);
        erasures.sort();
        erasures
    };
    let erasure = |key: &DocumentKey, erased_at| Erasure { key: key.clone(), erased_at };
    publish(&*store, &key, 5, 5, 1, 1).await;
    store.erase(&key, 50).await.unwrap();
    store.erase(&other, 60).await.unwrap();
    store.erase(&other, 40).await.unwrap();
    assert_eq!(
        listed(70, usize::MAX).await,
        [erasure(&key, 50), erasure(&other, 60)],
        "never heard of, or erased before"
    );
    assert_eq!(listed(60, usize::MAX).await, [erasure(&key, 50)], "before that time");
    assert!(store.erasures(70, 1).await.unwrap().len() <= 1);

    // The second erasure came while the first was made sure of.
    store.erase(&other, 65).await.unwrap();
    store.end_erasure(&erasure(&other, 60)).await.unwrap();
    assert_eq!(listed(70, usize::MAX).await, [erasure(&key, 50), erasure(&other, 65)]);
    store.end_erasure(&erasure(&key, 50)).await.unwrap();
    store.end_erasure(&erasure(&key, 50)).await.unwrap();
    assert_eq!(listed(70, usize::MAX).await, [erasure(&other, 65)]);
    assert_eq!(store.header(&key).await.unwrap().unwrap().erased_at, Some(50), "the tombstone stays");

    store.erase(&key, 66).await.unwrap();
    assert_eq!(listed(70, usize::MAX).await, [erasure(&key, 66), erasure(&other, 65)]);
}

pub async fn a_late_write_of_a_removed_run_stays_hidden(store: Any) {
    let key = new_document();
    for run in [5, 6, 7] {
        publish(&*store, &key, run, run, 2, 2).await;
    }
    assert!(store.remove_runs_below(&key, 7).await.unwrap() > 0);
    assert_eq!(store.remove_runs_below(&key, 7).await.unwrap(), 0);
    publish(&*store, &key, 6, 90, 2, 2).await;
    assert_eq!(store.pages(&run_of(&key, 6)).await.unwrap(), []);
    assert_eq!(store.pages(&run_of(&key, 7)).await.unwrap().len(), 2);
    let read = store.document(&key).await.unwrap().unwrap();
    assert_eq!((read.header.current, read.chunks), (Some(current(7, 7, 2, 2)), chunks(7, 7, 0..2)));
    found(&*store, &question(&key, 9), &[(7, 0), (7, 1)]).await;

    // Removal alone does not make a document known.
    let unknown = new_document();
    assert_eq!(store.remove_runs_below(&unknown, 7).await.unwrap(), 0);
    assert_eq!(store.header(&unknown).await.unwrap(), None);
}

pub async fn a_document_reads_as_one_run(store: Any) {
    const RUNS: i64 = 60;
    let key = new_document();
    let done = Arc::new(AtomicBool::new(false));
    let counts = |run: i64| ((run % 3 + 1) as u32, (run % 4) as u32);
    let reader = tokio::spawn({
        let (store, key, done) = (store.clone(), key.clone(), done.clone());
        async move {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let Some(read) = store.document(&key).await.unwrap() else { continue };
                let current = read.header.current.unwrap();
                let (page_count, chunk_count) = counts(current.run);
                assert_eq!((current.page_count, current.chunk_count), (page_count, chunk_count));
                let pages: Vec<_> = (1..=page_count).map(|page_no| page(page_no, current.run)).collect();
                assert_eq!(read.pages, pages);
                assert_eq!(read.chunks, chunks(current.run, current.run, 0..chunk_count));
                assert_eq!(read.figures, figures(current.run, current.run, chunk_count));
                assert_eq!(read.fields, fields(current.run, current.run, chunk_count));
                for hit in store.search(&question(&key, 9)).await.unwrap() {
                    assert_eq!(hit.chunk, chunk(hit.run, hit.run, hit.chunk.chunk_no));
                }
                seen.insert(current.run);
            }
            seen
        }
    });
    for run in 1..=RUNS {
        let (page_count, chunk_count) = counts(run);
        publish(&*store, &key, run, run, page_count, chunk_count).await;
    }
    done.store(true, Ordering::Relaxed);
    let seen = reader.await.unwrap();
    assert!(seen.len() > 1, "the reader was too slow to see runs change");
}

pub async fn search_drops_hits_of_other_runs(store: Any) {
    let key = new_document();
    publish(&*store, &key, 5, 5, 0, 3).await;
    publish(&*store, &key, 6, 6, 0, 2).await;
    // Not yet current: 7. Never current: 4.
    for run in [4, 7] {
        store.put_chunks(&run_of(&key, run), run, &chunks(run, run, 0..3)).await.unwrap();
        store.put_vectors(&run_of(&key, run), run, &space(), &[(0, vector(0.0))]).await.unwrap();
    }
    let hits = found(&*store, &question(&key, 9), &[(6, 0), (6, 1)]).await;
    assert_eq!(hits[0].chunk, chunk(6, 6, 0));
    store.set_current(&key, &current(7, 7, 0, 1)).await.unwrap();
    found(&*store, &question(&key, 9), &[(7, 0)]).await;
}

pub async fn search_keeps_to_its_tenant_and_to_k(store: Any) {
    let (mine, theirs) = (new_document(), new_document());
    publish(&*store, &mine, 5, 5, 0, 4).await;
    publish(&*store, &theirs, 6, 6, 0, 4).await;
    found(&*store, &question(&mine, 3), &[(5, 0), (5, 1), (5, 2)]).await;
    found(&*store, &question(&theirs, 3), &[(6, 0), (6, 1), (6, 2)]).await;
    assert_eq!(store.search(&question(&mine, 0)).await.unwrap(), []);
    let vector = QueryVector { model: "no such model".into(), vector: vector(0.0) };
    let unknown = Query { vector: Some(vector), ..question(&mine, 3) };
    assert_eq!(store.search(&unknown).await.unwrap(), []);
}

pub async fn an_unusable_vector_is_a_defect(store: Any) {
    let key = new_document();
    let run = run_of(&key, 5);
    let mut not_a_number = vector(0.0);
    not_a_number[3] = f32::NAN;
    let mut infinite = vector(0.0);
    infinite[3] = f32::INFINITY;
    let doubled = vector(0.0).iter().map(|x| 2.0 * x).collect();
    for bad in [vec![0.0; 8], not_a_number, infinite, doubled, vec![1.0], [vector(0.0), vector(0.0)].concat(), vec![]] {
        let rows = [(0, vector(0.0)), (1, bad.clone())];
        assert!(is_defect(store.put_vectors(&run, 5, &space(), &rows).await), "{bad:?} was taken");
        if bad.len() != 8 || bad.iter().any(|x| !x.is_finite()) || bad.iter().all(|x| *x == 0.0) {
            publish(&*store, &key, 5, 5, 0, 1).await;
            let vector = QueryVector { model: space().model, vector: bad.clone() };
            let query = Query { vector: Some(vector), ..question(&key, 1) };
            assert!(is_defect(store.search(&query).await), "{bad:?} was searched");
        }
    }
    let other = VectorSpace { dimension: 1, ..space() };
    publish(&*store, &key, 5, 5, 0, 1).await;
    assert!(is_defect(store.put_vectors(&run, 5, &other, &[(0, vec![1.0])]).await), "one model, two dimensions");
}

pub async fn the_lowest_run_of_an_upload_wins(store: Any) {
    let tenant = new_document().tenant;
    let claim = async |tenant: &str, upload_id, run| {
        store.claim_upload(tenant, upload_id, run, &format!("of {run}")).await.unwrap()
    };
    let won_by = |run| UploadClaim { run, subject: Some(format!("of {run}")) };
    for (run, winner) in [(7, 7), (7, 7), (9, 7), (3, 3), (7, 3)] {
        assert_eq!(claim(&tenant, "u", run).await, won_by(winner), "{run}");
    }
    assert_eq!(claim(&tenant, "other", 7).await, won_by(7));
    assert_eq!(claim(&new_document().tenant, "u", 7).await, won_by(7));

    let claims = (1..=20).rev().map(|run| {
        let (store, tenant) = (store.clone(), tenant.clone());
        tokio::spawn(async move { store.claim_upload(&tenant, "raced", run, "").await.unwrap() })
    });
    let winners = futures::future::join_all(claims.collect::<Vec<_>>()).await;
    assert!(winners.into_iter().zip((1..=20).rev()).all(|(winner, run)| winner.unwrap().run <= run));
    assert_eq!(claim(&tenant, "raced", 21).await.run, 1);
}

pub async fn a_listing_pages_through_all_once(store: Any) {
    let tenant = new_document().tenant;
    let mut names: Vec<String> = (0..23).map(|n| format!("document-{n}")).collect();
    names.extend(["a/b", "ä", "%", "'; --"].map(String::from));
    for (index, name) in names.iter().enumerate() {
        let key = DocumentKey { tenant: tenant.clone(), document_id: name.clone() };
        store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
        if index % 2 == 0 {
            store.set_current(&key, &current(5, 5, 0, 0)).await.unwrap();
        }
        if index % 3 == 0 {
            store.erase(&key, 5).await.unwrap();
        }
    }
    names.sort();
    let everything = pages_of(&store, &tenant, None).await;
    assert_eq!(everything.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    for status in [Status::Processing, Status::Published, Status::Erased, Status::Failed] {
        let mut wanted = everything.clone();
        wanted.retain(|(_, of)| *of == status);
        assert_eq!(pages_of(&store, &tenant, Some(status)).await, wanted);
    }
    let foreign = ListFilter { after: Some("no token".into()), ..Default::default() };
    assert!(store.list(&foreign).await.is_err());
}

pub async fn a_listing_goes_on_from_tenant_to_tenant(store: Any) {
    // Tenants of other tests may stand between these two, which are in the order of their making.
    let (first, second) = (new_document().tenant, new_document().tenant);
    let mut mine = Vec::new();
    for tenant in [&first, &second] {
        for document_id in ["a", "b"] {
            let key = DocumentKey { tenant: tenant.clone(), document_id: document_id.into() };
            store.put_intake(&key, &intake(5, 5), 5).await.unwrap();
            mine.push(key);
        }
    }
    let of_first = ListFilter { tenant: Some(first.clone()), limit: 1, ..Default::default() };
    let mut filter = ListFilter { limit: 3, after: store.list(&of_first).await.unwrap().next, ..Default::default() };
    assert!(filter.after.is_some());
    let mut listed: Vec<DocumentKey> = Vec::new();
    while listed.last().is_none_or(|last| last.tenant <= second) {
        let listing = store.list(&filter).await.unwrap();
        listed.extend(listing.headers.into_iter().map(|header| header.key));
        filter.after = listing.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert!(listed.is_sorted(), "{listed:?}");
    listed.retain(|key| key.tenant == first || key.tenant == second);
    assert_eq!(listed, mine[1..]);
}

/// Names and statuses of a whole listing, four at a time.
async fn pages_of(store: &Any, tenant: &str, status: Option<Status>) -> Vec<(String, Status)> {
    let mut filter = ListFilter { tenant: Some(tenant.to_owned()), status, limit: 4, ..ListFilter::default() };
    let mut all = Vec::new();
    loop {
        let listing = store.list(&filter).await.unwrap();
        assert!(listing.headers.len() <= 4);
        all.extend(listing.headers.iter().map(|header| (header.key.document_id.clone(), header.status())));
        filter.after = listing.next;
        if filter.after.is_none() {
            return all;
        }
    }
}
