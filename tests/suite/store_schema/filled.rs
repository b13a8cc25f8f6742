//! Stores that an earlier deckle filled: after the migrations every document is found in every new way.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use deckle::{
    contract::record::Status,
    store::{
        Completion, DocumentKey, Header, ListFilter, ListOrder, PublishedVersion, Store, Submission,
        cql::{CqlStore, migrations},
        sqlite::SqliteStore,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::Keyspace;
use crate::support::{
    self, Started,
    values::{current, ended, file_of, intake, sha256},
};

/// What an earlier deckle knew of a document.
struct Known {
    key: DocumentKey,
    intake: Option<Submission>,
    current: Option<PublishedVersion>,
    ended: Option<Completion>,
    erased_at: Option<i64>,
}

impl Known {
    /// The cells as they were written then: in JSON without what only later versions say.
    fn cells(&self) -> [Option<String>; 3] {
        fn cell<T: Serialize>(cell: Option<&T>) -> Option<String> {
            let mut json = serde_json::to_value(cell?).unwrap();
            if let Value::Object(fields) = &mut json {
                for later in ["figure_count", "field_count"] {
                    fields.remove(later);
                }
            }
            Some(json.to_string())
        }
        [cell(self.intake.as_ref()), cell(self.current.as_ref()), cell(self.ended.as_ref())]
    }

    fn run(&self) -> i64 {
        let intake = self.intake.as_ref().map(|intake| intake.run);
        intake.or(self.current.as_ref().map(|current| current.run)).or(self.erased_at).unwrap()
    }
}

/// An hour, µs.
const HOUR: i64 = 3_600_000_000;

/// In the year 2025.
const START: i64 = 1_750_000_000_000_000;

/// Documents of two tenants in all that may have become of them, over some days.
fn documents() -> Vec<Known> {
    let document = |number: i64| {
        let tenant = if number % 2 == 0 { "acme" } else { "zoo" };
        let run = START + number * 5 * HOUR;
        let at = run + HOUR;
        let mut known = Known {
            key: DocumentKey { tenant: tenant.to_owned(), document_id: format!("{:02}", number * 7 % 30) },
            intake: Some(intake(run, run)),
            current: None,
            ended: None,
            erased_at: None,
        };
        match number % 5 {
            0 | 1 => {
                known.current = Some(PublishedVersion { figure_count: 0, field_count: 0, ..current(run, at, 0, 2) });
                known.ended = Some(ended(run, at, Status::Published));
            }
            2 => known.ended = Some(ended(run, at, Status::Failed)),
            3 => {}
            _ => {
                known.intake = None;
                known.erased_at = Some(at);
            }
        }
        if number < 2 {
            // The same file by two names of its producer.
            known.intake.as_mut().unwrap().source.sha256 = sha256("shared");
            known.current.as_mut().unwrap().source.sha256 = sha256("shared");
            known.ended.as_mut().unwrap().source.sha256 = sha256("shared");
            known.key.tenant = "acme".to_owned();
        }
        known
    };
    (0..30).map(document).collect()
}

/// Fails the test unless every document is found by its time and by its files, and reads as it was written.
async fn assert_found(store: &dyn Store, documents: &[Known]) {
    let newest = ListFilter { order: ListOrder::Newest, limit: 7, ..ListFilter::default() };
    let mut wanted = Vec::new();
    for known in documents {
        let header = store.header(&known.key).await.unwrap().unwrap();
        assert_eq!(header.intake, known.intake, "{:?}", known.key);
        assert_eq!(header.current, known.current);
        assert_eq!((&header.ended, header.erased_at), (&known.ended, known.erased_at));
        for file in [file_of(known.run()), sha256("shared")] {
            let found = store.find_by_hash(&known.key.tenant, &file).await.unwrap();
            assert_eq!(found.contains(&header), header.has_file(&file), "{:?} by {file}", known.key);
        }
        if let Some(read) = store.document(&known.key).await.unwrap() {
            assert_eq!((read.figures.len(), read.fields.len()), (0, 0));
        }
        wanted.push(header);
    }
    let shared = store.find_by_hash("acme", &sha256("shared")).await.unwrap();
    assert_eq!(shared.len(), 2);
    wanted.sort_by(|a, b| (b.at(), &b.key).cmp(&(a.at(), &a.key)));
    assert_eq!(listed(store, newest.clone()).await, wanted);
    let zoo = ListFilter { tenant: Some("zoo".to_owned()), ..newest.clone() };
    let (since, until) = (wanted[20].at(), wanted[4].at());
    let bounded = ListFilter { since: Some(since), until: Some(until), ..newest };
    let within: Vec<_> = wanted.iter().filter(|header| (since..until).contains(&header.at())).cloned().collect();
    assert_eq!(listed(store, bounded).await, within);
    wanted.retain(|header| header.key.tenant == "zoo");
    assert_eq!(listed(store, zoo).await, wanted);
}

async fn listed(store: &dyn Store, mut filter: ListFilter) -> Vec<Header> {
    let mut all = Vec::new();
    loop {
        let listing = store.list(&filter).await.unwrap();
        all.extend(listing.headers);
        filter.after = listing.next;
        if filter.after.is_none() {
            return all;
        }
    }
}

/// Writes documents as a deckle of the first migration alone did.
async fn fill(keyspace: &Keyspace, documents: &[Known]) {
    keyspace.session.use_keyspace(&keyspace.config.keyspace, false).await.unwrap();
    let prepare = async |cql: &str| keyspace.session.prepare(cql).await.unwrap();
    let tenant = prepare("INSERT INTO tenants (part, tenant) VALUES (0, ?)").await;
    let listed = prepare("INSERT INTO documents_by_tenant (tenant, shard, document_id) VALUES (?, ?, ?)").await;
    let cells = prepare(
        "UPDATE documents USING TIMESTAMP 1 SET intake = ?, current = ?, ended = ?
         WHERE tenant = ? AND document_id = ? AND run = ?",
    )
    .await;
    let erased = prepare("UPDATE documents SET erased_at = ? WHERE tenant = ? AND document_id = ?").await;
    let writes = stream::iter(documents).map(|known| {
        let (tenant, listed, cells, erased) = (&tenant, &listed, &cells, &erased);
        async move {
            let session = &keyspace.session;
            let DocumentKey { tenant: name, document_id } = &known.key;
            session.execute_unpaged(tenant, (name,)).await?;
            // Readers merge the shards, whichever a document is in.
            let shard = i16::from(document_id.as_bytes()[0]) % 16;
            session.execute_unpaged(listed, (name, shard, document_id)).await?;
            match known.erased_at {
                Some(erased_at) => session.execute_unpaged(erased, (erased_at, name, document_id)).await?,
                None => {
                    let [intake, current, ended] = known.cells();
                    let values = (intake, current, ended, name, document_id, known.run());
                    session.execute_unpaged(cells, values).await?
                }
            };
            Ok::<_, scylla::errors::ExecutionError>(())
        }
    });
    writes.buffer_unordered(64).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn documents_of_the_first_migration_are_found_in_every_way_of_the_second() {
    let keyspace = Keyspace::new().await;
    keyspace.apply(&migrations::ALL[..1]).await;
    let documents = documents();
    fill(&keyspace, &documents).await;
    // What was published of late is in the feed already; the feed goes on from there.
    let at = jiff::Timestamp::now().as_microsecond() - 2 * HOUR;
    let insert = format!(
        "INSERT INTO feed (hour, shard, at, tenant, document_id, run, version)
         VALUES ({}, 3, {at}, 'acme', '00', {START}, {START})",
        at.div_euclid(HOUR)
    );
    keyspace.run(&insert).await;

    let applied = keyspace.apply(migrations::ALL).await;
    assert_eq!(applied.first().map(String::as_str), Some("0002_reads"));
    let store = CqlStore::open(keyspace.config.clone()).unwrap();
    assert_found(&store, &documents).await;
    let told = store.feed(None, 10).await.unwrap().entries;
    let told: Vec<_> = told.iter().map(|entry| (entry.key.document_id.as_str(), entry.run, entry.at)).collect();
    assert_eq!(told, [("00", START, at)]);
    keyspace.drop().await;
}

#[tokio::test]
async fn a_filling_that_was_killed_goes_on_where_it_was() {
    const DOCUMENTS: i64 = 4_000;
    let keyspace = Keyspace::new().await;
    keyspace.apply(&migrations::ALL[..1]).await;
    let documents: Vec<_> = (0..DOCUMENTS)
        .map(|number| Known {
            key: DocumentKey { tenant: "acme".to_owned(), document_id: format!("{number:05}") },
            intake: Some(intake(START + number, START + number)),
            current: None,
            ended: None,
            erased_at: None,
        })
        .collect();
    fill(&keyspace, &documents).await;
    let home = keyspace.home();
    let mut killed = Started::new(home.command(["store", "apply"]).stdout(Stdio::null()));
    let deadline = Instant::now() + support::DEADLINE;
    // The table is made by the very migration that is filling it.
    let place = async || {
        let select = format!("SELECT document_id FROM {}.fills", keyspace.config.keyspace);
        let rows = keyspace.session.query_unpaged(select, ()).await.ok()?.into_rows_result().ok()?;
        rows.maybe_first_row::<(String,)>().ok()?.map(|(document_id,)| document_id)
    };
    while place().await.is_none() {
        assert!(Instant::now() < deadline && killed.ended().is_none(), "it was never in the middle");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.signal(libc::SIGKILL);
    killed.wait().await;
    let said = keyspace.refusal(migrations::ALL).await;
    assert!(said.contains("0002_reads"), "it was killed too late: {said}");

    // What lies before the place is not gone through again: this entry stays away.
    let place = place().await.unwrap();
    assert!(place < format!("{:05}", DOCUMENTS - 1), "{place}");
    let (hour, name) = (START.div_euclid(HOUR), &keyspace.config.keyspace);
    let delete = format!(
        "DELETE FROM {name}.documents_by_time WHERE tenant = 'acme' AND hour = {hour} AND at = {START} AND \
         document_id = '00000'"
    );
    keyspace.run(&delete).await;
    home.deckle(["store", "apply"]).await.ended(0);
    let store = CqlStore::open(keyspace.config.clone()).unwrap();
    let filter = ListFilter { order: ListOrder::Newest, limit: 1_000, ..ListFilter::default() };
    let found = listed(&store, filter).await.into_iter().map(|header| header.key).rev();
    assert!(found.eq(documents.into_iter().skip(1).map(|known| known.key)), "each but the first, once");
    keyspace.drop().await;
}

/// A file of a deckle that had the first two migrations.
fn earlier_file(path: &Path, documents: &[Known]) {
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch(include_str!("../../../src/store/sqlite/0001_tables.sql")).unwrap();
    file.execute_batch(include_str!("../../../src/store/sqlite/0002_letters.sql")).unwrap();
    file.execute_batch(
        "CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT; INSERT INTO migrations VALUES (1), (2)",
    )
    .unwrap();
    for known in documents {
        let [intake, current, ended] = known.cells();
        let run = |is_there: bool| is_there.then_some(known.run());
        file.execute(
            "INSERT INTO documents (tenant, document_id, erased_at, intake_run, intake_version, intake, current_run,
             current_version, current_status, chunk_count, current, ended_run, ended_version, ended_status, ended)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, 2, ?9, ?10, ?11, ?12, ?13)",
            rusqlite::params![
                known.key.tenant,
                known.key.document_id,
                known.erased_at,
                run(intake.is_some()),
                intake,
                run(current.is_some()),
                known.current.as_ref().map(|current| current.version),
                known.current.as_ref().map(|current| current.status.as_str()),
                current,
                run(ended.is_some()),
                known.ended.as_ref().map(|ended| ended.version),
                known.ended.as_ref().map(|ended| ended.status.as_str()),
                ended,
            ],
        )
        .unwrap();
    }
}

#[tokio::test]
async fn a_sqlite_file_of_an_earlier_deckle_is_read_in_every_new_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let documents = documents();
    earlier_file(&path, &documents);
    let store = SqliteStore::open(&path).unwrap();
    assert_found(&store, &documents).await;
    // What readers see is told by the feed, in the order in which it was published.
    let told = store.feed(None, 100).await.unwrap().entries;
    let published =
        documents.iter().filter_map(|known| Some((known.key.clone(), known.current.as_ref()?.published_at)));
    let told: Vec<_> = told.into_iter().map(|entry| (entry.key, entry.at)).collect();
    assert_eq!(told, published.collect::<Vec<_>>());
}
