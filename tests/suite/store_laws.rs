//! The laws of the store, the same for every side of the seam.
//!
//! A law speaks to `dyn Store` alone and works in a tenant of its own, so that all may share one database. Reads that a
//! side may answer late (a vector index) are awaited with a deadline. A new side adds one module like [`on_cassandra`],
//! and says how many interleavings it has the time for.

mod dead_letters;
mod interleavings;
mod laws;
mod models;
mod reads;
mod search;
mod turns;
mod upkeep;

/// Hands every law to `$side!`, which makes tests of them; a law missing here is dead code and so a warning.
macro_rules! for_every_law {
    ($side:ident) => {
        $side! {
            laws::what_was_written_is_read,
            laws::an_older_intake_never_wins,
            laws::an_older_page_never_wins,
            laws::an_older_chunk_never_wins,
            laws::an_older_vector_never_wins,
            laws::an_older_flip_never_wins,
            laws::an_older_end_never_wins,
            laws::a_newer_run_on_its_way_is_processing_until_it_ends,
            laws::vectors_of_a_run_are_read,
            laws::the_same_write_twice_is_one,
            laws::a_late_write_under_a_trim_stays_hidden,
            laws::a_late_write_under_an_erasure_stays_hidden,
            laws::an_erasure_is_listed_until_it_is_ended,
            laws::a_late_write_of_a_removed_run_stays_hidden,
            laws::a_document_reads_as_one_run,
            laws::search_drops_hits_of_other_runs,
            laws::search_keeps_to_its_tenant_and_to_k,
            laws::an_unusable_vector_is_a_defect,
            laws::the_lowest_run_of_an_upload_wins,
            laws::a_listing_pages_through_all_once,
            laws::a_listing_goes_on_from_tenant_to_tenant,
            search::each_filter_leaves_out_by_itself,
            search::nobody_finds_what_the_current_run_does_not_let_them_see,
            search::words_are_found_as_they_are_typed,
            search::what_stands_in_quotes_must_be_there,
            search::no_question_is_an_error,
            search::words_of_other_runs_are_not_found,
            search::words_that_are_gone_are_not_found,
            search::what_means_it_and_says_it_comes_first,
            search::beside_a_vector_common_words_say_nothing,
            reads::a_listing_by_time_pages_through_all_once_the_latest_first,
            reads::a_listing_by_time_goes_over_all_tenants,
            reads::a_document_has_the_time_of_the_last_thing_that_happened,
            reads::times_bound_a_listing_by_document_too,
            reads::documents_are_found_by_the_files_they_have_now,
            reads::the_same_file_in_several_documents_finds_all_of_the_tenant,
            reads::the_feed_tells_of_every_publication_in_order,
            reads::the_feed_leaves_out_what_was_erased,
            reads::a_cursor_of_another_listing_is_refused,
            reads::an_older_set_of_figures_and_fields_never_wins,
            reads::figures_and_fields_of_an_erased_run_stay_hidden,
            dead_letters::a_letter_is_written_once_and_keeps_its_state,
            dead_letters::a_letter_leaves_open_once,
            dead_letters::a_claim_that_ran_out_is_taken_over_with_its_version,
            dead_letters::of_many_claims_at_once_one_wins,
            dead_letters::letters_are_listed_by_what_they_say,
            dead_letters::letters_are_listed_from_tenant_to_tenant,
            dead_letters::a_letter_of_which_nothing_is_known_is_kept,
            dead_letters::letters_of_an_erased_run_go_and_do_not_come_back,
            dead_letters::the_highest_version_awaited_of_a_page_stays,
            models::vectors_of_two_models_stand_beside_each_other,
            models::a_run_has_its_vectors_when_each_chunk_has_one_of_its_version,
            models::a_dropped_model_leaves_nothing_and_takes_nothing,
            models::a_decision_about_models_replaces_only_what_it_saw,
            upkeep::the_first_record_claims_the_end_of_a_version,
            upkeep::claims_are_kept_as_long_as_their_runs_are_not_below,
            upkeep::rows_below_a_run_are_counted_until_they_are_removed,
            upkeep::progress_moves_only_from_what_was_seen,
            upkeep::only_a_settled_letter_is_removed,
        }
    };
}

mod sqlite {
    use std::{path::Path, process::Command, sync::Arc};

    use deckle::store::{Store, sqlite::SqliteStore};
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{dead_letters, interleavings, laws, models, reads, search, turns::Turns, upkeep};
    use crate::support::values::*;

    fn open(path: &Path) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(path).unwrap())
    }

    /// A store in a folder that lives as long as the first of both.
    fn new() -> (TempDir, Arc<dyn Store>) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store.db"));
        (folder, store)
    }

    /// Two stores on one file that take turns at each call.
    fn new_pair() -> (TempDir, Arc<dyn Store>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let pair = Turns::new(open(&path), open(&path));
        (folder, Arc::new(pair))
    }

    macro_rules! tests {
        ($($module:ident::$law:ident,)+) => {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $law() {
                    let (_folder, store) = new();
                    $module::$law(store).await;
                }
            )+

            mod by_two_on_one_file {
                use super::*;
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $law() {
                        let (_folder, store) = new_pair();
                        $module::$law(store).await;
                    }
                )+

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn any_order_of_writes_gives_the_same_rows() {
                    let (_folder, store) = new_pair();
                    interleavings::any_order_of_writes_gives_the_same_rows(store, INTERLEAVINGS).await;
                }
            }
        };
    }
    for_every_law!(tests);

    const INTERLEAVINGS: u32 = 100;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_order_of_writes_gives_the_same_rows() {
        let (_folder, store) = new();
        interleavings::any_order_of_writes_gives_the_same_rows(store, INTERLEAVINGS).await;
    }

    /// Names the file to a test that runs as another process.
    const FILE: &str = "DECKLE_TEST_STORE";
    const DOCUMENTS: i64 = 30;

    fn shared(document: i64) -> deckle::store::DocumentKey {
        deckle::store::DocumentKey { tenant: "shared".into(), document_id: format!("{document:04}") }
    }

    /// Publishes each document in versions of its own: `first`, then every third one.
    async fn publish_versions(store: &dyn Store, first: i64) {
        for document in 0..DOCUMENTS {
            for version in [first + 3, first] {
                store.claim_upload("shared", &document.to_string(), version, "").await.unwrap();
                publish(store, &shared(document), version, version, 2, 2).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_processes_share_one_file() {
        if let Ok(file) = std::env::var(FILE) {
            let (path, first) = file.split_once('?').unwrap();
            return publish_versions(&*open(Path::new(path)), first.parse().unwrap()).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        // All three start on a file that does not exist yet.
        let others = [1, 2].map(|first| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store_laws::sqlite::three_processes_share_one_file"])
                .env(FILE, format!("{}?{first}", path.display()))
                .spawn()
                .unwrap()
        });
        let store = open(&path);
        publish_versions(&*store, 3).await;
        for mut other in others {
            assert!(other.wait().unwrap().success());
        }
        for document in 0..DOCUMENTS {
            let read = store.document(&shared(document)).await.unwrap().unwrap();
            assert_eq!(read.header.current, Some(current(6, 6, 2, 2)));
            assert_eq!(read.chunks, chunks(6, 6, 0..2));
            assert_eq!(store.claim_upload("shared", &document.to_string(), 9, "").await.unwrap().run, 1);
        }
    }

    #[tokio::test]
    async fn a_reopened_store_has_its_rows() {
        let (folder, store) = new();
        let key = new_document();
        publish(&*store, &key, 5, 5, 1, 1).await;
        drop(store);
        let store = open(&folder.path().join("store.db"));
        assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(5, 5, 0..1));
    }

    /// Two migrations, as a deckle of before had them, and what it had written.
    #[tokio::test]
    async fn a_store_of_before_finds_words_and_lets_nobody_see_more() {
        let (folder, key) = (tempfile::tempdir().unwrap(), new_document());
        let path = folder.path().join("store.db");
        let before = Connection::open(&path).unwrap();
        before.execute_batch("CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT").unwrap();
        before.execute_batch("INSERT INTO migrations VALUES (1), (2)").unwrap();
        before.execute_batch(include_str!("../../src/store/sqlite/0001_tables.sql")).unwrap();
        before.execute_batch(include_str!("../../src/store/sqlite/0002_letters.sql")).unwrap();
        let mut current = serde_json::to_value(current(5, 5, 0, 2)).unwrap();
        for new in ["attributes", "access"] {
            current.as_object_mut().unwrap().remove(new);
        }
        let insert = "INSERT INTO documents (id, tenant, document_id, intake_run, intake_version, intake, current_run,
                      current_version, current, current_status, chunk_count) VALUES (7, ?, ?, 5, 5, ?, 5, 5, ?, 'published', 2)";
        let taken_in = serde_json::to_string(&intake(5, 5)).unwrap();
        before.execute(insert, (&key.tenant, &key.document_id, taken_in, current.to_string())).unwrap();
        for chunk in chunks(5, 5, 0..2) {
            let insert = "INSERT INTO chunks (document, run, chunk_no, version, chunk) VALUES (7, 5, ?, 5, ?)";
            before.execute(insert, (chunk.chunk_no, serde_json::to_string(&chunk).unwrap())).unwrap();
        }
        drop(before);

        let store = open(&path);
        found(&*store, &asking_for(&key, "\"chunk 1\" ünicode", 9), &[(5, 1)]).await;
        let seen_by = |principal: &str| {
            let mut query = asking_for(&key, "unicode", 9);
            query.filter.access = Some(vec![principal.into()]);
            query
        };
        assert_eq!(store.search(&seen_by("group:b")).await.unwrap(), []);
        assert_eq!(store.search(&seen_by("group:a")).await.unwrap().len(), 2);
        // What is there takes part in all that follows.
        store.trim_chunks(&run_of(&key, 5), 6, 1).await.unwrap();
        found(&*store, &asking_for(&key, "unicode", 9), &[(5, 0)]).await;
        assert_eq!(store.document(&key).await.unwrap().unwrap().chunks, chunks(5, 5, 0..1));
    }

    /// Erased text leaves neither the file nor its log, whatever the index of words needs.
    #[tokio::test]
    async fn erased_words_are_in_no_byte_of_the_file() {
        let (folder, store) = new();
        let key = new_document();
        let word = "zymurgy";
        let secret = deckle::contract::document::Chunk { text: format!("the {word} of it"), ..chunk(5, 5, 0) };
        store.put_chunks(&run_of(&key, 5), 5, &[secret]).await.unwrap();
        store.put_chunks(&run_of(&key, 5), 5, &chunks(5, 5, 1..30)).await.unwrap();
        store.erase(&key, 5).await.unwrap();
        // While the store goes on, for a worker never ends.
        for name in ["store.db", "store.db-wal"] {
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "the word lingers in {name}");
        }
        drop(store);
    }

    #[test]
    fn what_is_no_store_is_a_defect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, "not a database, but long enough to look like a file of one".repeat(100)).unwrap();
        assert!(is_defect(SqliteStore::open(&path)));
    }
}

/// The real thing behind CQL: one Cassandra that all tests share, in one keyspace, for ten tables take seconds to make.
mod on_cassandra {
    use std::sync::Arc;

    use deckle::store::{
        Store,
        cql::{Config, CqlStore, migrations},
    };

    use super::{dead_letters, interleavings, laws, models, reads, search, turns::Turns, upkeep};
    use crate::support::servers;

    fn config() -> Config {
        let tables = &migrations::ALL.iter().map(migrations::Migration::sha256).collect::<String>();
        Config {
            nodes: servers::shared_cassandra(),
            // Of another name where the tables are others: a node may outlive a change of theirs.
            keyspace: format!("laws_{}", &tables[..8]),
            replication_factor: 1,
            // As soon as may be: laws wait for the feed.
            feed_behind_ms: Config::default().request_ms,
            ..Config::default()
        }
    }

    /// A store in the keyspace of the laws, which the first of all tests makes; the others wait for it.
    async fn new() -> Arc<dyn Store> {
        migrations::apply(&config(), migrations::ALL).await.unwrap();
        Arc::new(CqlStore::open(config()).unwrap())
    }

    /// Two stores on one keyspace, as two processes have them, that take turns at each call.
    async fn new_pair() -> Arc<dyn Store> {
        Arc::new(Turns::new(new().await, new().await))
    }

    macro_rules! tests {
        ($($module:ident::$law:ident,)+) => {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $law() {
                    $module::$law(new().await).await;
                }
            )+

            mod by_two_on_one_keyspace {
                use super::*;
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $law() {
                        $module::$law(new_pair().await).await;
                    }
                )+

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn any_order_of_writes_gives_the_same_rows() {
                    interleavings::any_order_of_writes_gives_the_same_rows(new_pair().await, INTERLEAVINGS).await;
                }
            }
        };
    }
    for_every_law!(tests);

    /// Each is some forty round trips of five milliseconds and more.
    const INTERLEAVINGS: u32 = 16;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn any_order_of_writes_gives_the_same_rows() {
        interleavings::any_order_of_writes_gives_the_same_rows(new().await, INTERLEAVINGS).await;
    }
}
