//! `deckle store`: what becomes of keyspaces on a real server, each test in a keyspace of its own, and what is said
//! where there is nothing to do or nobody to ask.

mod filled;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use deckle::store::{
    DocumentKey, PageRow, RunKey, Store as _,
    cql::{
        Config, CqlStore,
        migrations::{self, Action, Migration, plan},
    },
};
use scylla::client::{session::Session, session_builder::SessionBuilder};

use crate::support::{self, Home, Started, servers};

/// A keyspace of a test's own, dropped with it.
struct Keyspace {
    config: Config,
    session: Session,
}

impl Keyspace {
    async fn new() -> Self {
        let config = Config {
            nodes: servers::shared_cassandra(),
            keyspace: format!("test_{}", uuid::Uuid::now_v7().simple()),
            replication_factor: 1,
            ..Config::default()
        };
        let session = SessionBuilder::new().known_node(&config.nodes).build().await.unwrap();
        Self { config, session }
    }

    /// Of the same name, made by an operator.
    async fn made_with(replication: &str) -> Self {
        let keyspace = Self::new().await;
        keyspace.run(&format!("CREATE KEYSPACE {} WITH replication = {replication}", keyspace.config.keyspace)).await;
        keyspace
    }

    /// An operator's statement.
    async fn run(&self, cql: &str) {
        self.session.query_unpaged(cql, ()).await.unwrap();
    }

    async fn apply(&self, wanted: &[Migration]) -> Vec<String> {
        let done = migrations::apply(&self.config, wanted).await.unwrap();
        done.into_iter().map(|difference| difference.name).collect()
    }

    /// Why workers may not start.
    async fn refusal(&self, wanted: &[Migration]) -> String {
        migrations::check(&self.config, wanted).await.unwrap_err().to_string()
    }

    async fn texts(&self, table: &str, column: &str) -> Vec<String> {
        let select = format!("SELECT {column} FROM {}.{table}", self.config.keyspace);
        let rows = self.session.query_unpaged(select, ()).await.unwrap().into_rows_result().unwrap();
        rows.rows::<(String,)>().unwrap().map(|row| row.unwrap().0).collect()
    }

    /// A home whose store it is.
    fn home(&self) -> Home {
        let home = Home::new();
        home.configure(&self.settings());
        home
    }

    fn settings(&self) -> String {
        format!(
            "store.provider = \"scylla\"\nstore.scylla.nodes = \"{}\"\nstore.scylla.keyspace = \"{}\"\n\
             store.scylla.replication_factor = 1\nhttp.listen = \"127.0.0.1:0\"\n",
            self.config.nodes, self.config.keyspace
        )
    }

    async fn drop(self) {
        self.run(&format!("DROP KEYSPACE IF EXISTS {}", self.config.keyspace)).await;
    }
}

/// Two small ones, of which the second adds a column to a table of the first.
const BIRDS: Migration = Migration {
    number: 1,
    name: "birds",
    cql: "-- what was seen\nCREATE TABLE IF NOT EXISTS birds (name text PRIMARY KEY) WITH comment = 'a; b';\n",
    fill: None,
};
const PLACES: Migration = Migration {
    number: 2,
    name: "places",
    cql: "ALTER TABLE birds ADD place text; CREATE TABLE IF NOT EXISTS places (name text PRIMARY KEY);",
    fill: None,
};

#[tokio::test]
async fn from_nothing_all_is_made_and_the_second_plan_is_empty() {
    let keyspace = Keyspace::new().await;
    let home = keyspace.home();
    let said = home.deckle(["store", "check"]).await.ended(2).stderr;
    assert!(said.lines().count() == 1 && said.contains("deckle store apply"), "{said}");

    let all = 1 + migrations::ALL.len();
    let planned = home.deckle(["store", "plan", "--json"]).await.ended(1).json();
    assert_eq!(planned["differences"].as_array().unwrap().len(), all, "{planned}");
    assert_eq!(planned["differences"][0]["action"], "create");
    let told = home.deckle(["store", "apply", "--dry-run"]).await.ended(1).stdout;
    assert!(told.contains(&format!("would make {all} changes")), "{told}");

    let told = home.deckle(["store", "apply"]).await.ended(0).stdout;
    assert!(told.contains("0001_documents") && told.contains(&format!("{all} changes made")), "{told}");
    for (argument, words) in
        [("plan", "as deckle wants it"), ("apply", "as deckle wants it already"), ("check", "workers may start")]
    {
        let ran = home.deckle(["store", argument]).await.ended(0);
        assert!(ran.stdout.contains(words) && ran.stderr.is_empty(), "{argument}: {ran:?}");
    }
    let standing = home.deckle(["store", "check", "--json"]).await.ended(0).json();
    assert_eq!(standing["migrations"][0]["name"], "documents", "{standing}");
    assert_eq!(standing["nodes"][0]["is_up"], true, "{standing}");
    let whole = home.deckle(["check"]).await.stdout;
    let line = whole.lines().find(|line| line.contains(&keyspace.config.keyspace)).expect("deckle check names it");
    assert!(line.starts_with('✓') && line.contains("1 up of 1 node"), "{line}");
    keyspace.drop().await;
}

#[tokio::test]
async fn two_that_apply_at_once_both_succeed_and_each_migration_is_applied_once() {
    let keyspace = Keyspace::new().await;
    let both = [BIRDS, PLACES];
    let (mut one, mut other) = tokio::join!(keyspace.apply(&both), keyspace.apply(&both));
    let migrated = |done: &mut Vec<String>| done.retain(|name| !name.starts_with("keyspace"));
    migrated(&mut one);
    migrated(&mut other);
    let done: Vec<_> = one.into_iter().chain(other).collect();
    assert_eq!(done, ["0001_birds", "0002_places"]);
    let found = migrations::check(&keyspace.config, &both).await.unwrap();
    assert_eq!(found.applied.iter().map(|applied| applied.number).collect::<Vec<_>>(), [1, 2]);
    assert!(keyspace.texts("schema_lock", "holder").await.is_empty(), "the lock is released");
    keyspace.drop().await;
}

#[tokio::test]
async fn while_another_holds_the_lock_nothing_is_applied() {
    let keyspace = Keyspace::new().await;
    keyspace.apply(&[BIRDS]).await;
    let name = &keyspace.config.keyspace;
    keyspace.run(&format!("INSERT INTO {name}.schema_lock (name, holder) VALUES ('schema', 'another')")).await;
    let both = [BIRDS, PLACES];
    let waits = tokio::time::timeout(Duration::from_secs(3), keyspace.apply(&both));
    assert!(waits.await.is_err(), "it did not wait");
    assert!(keyspace.refusal(&both).await.contains("0002_places"));
    let freed = async {
        keyspace.run(&format!("DELETE FROM {name}.schema_lock WHERE name = 'schema'")).await;
    };
    let (done, ()) = tokio::join!(keyspace.apply(&both), freed);
    assert_eq!(done, ["0002_places"]);
    keyspace.drop().await;
}

#[tokio::test]
async fn what_a_killed_apply_left_is_finished_by_the_next() {
    let keyspace = Keyspace::new().await;
    let home = keyspace.home();
    keyspace.apply(&[]).await;
    let mut killed = Started::new(home.command(["store", "apply"]).stdout(std::process::Stdio::null()));
    let deadline = Instant::now() + support::DEADLINE;
    let holder = format!("process {} ", killed.pid());
    while !keyspace.texts("schema_lock", "holder").await.iter().any(|name| name.starts_with(&holder)) {
        assert!(Instant::now() < deadline && killed.ended().is_none(), "it never held the lock");
    }
    killed.signal(libc::SIGKILL);
    killed.wait().await;
    assert!(keyspace.refusal(migrations::ALL).await.contains("deckle store apply"), "it was killed too late");

    let told = home.deckle(["store", "apply"]).await.ended(0).stdout;
    assert!(told.contains("applied"), "{told}");
    home.deckle(["store", "check"]).await.ended(0);
    keyspace.drop().await;
}

#[tokio::test]
async fn a_statement_whose_migration_was_cut_short_is_not_refused_the_second_time() {
    let keyspace = Keyspace::new().await;
    keyspace.apply(&[BIRDS]).await;
    keyspace.run(&format!("ALTER TABLE {}.birds ADD place text", keyspace.config.keyspace)).await;
    assert_eq!(keyspace.apply(&[BIRDS, PLACES]).await, ["0002_places"]);
    assert!(keyspace.texts("places", "name").await.is_empty());
    keyspace.drop().await;
}

#[tokio::test]
async fn a_migration_that_changed_after_it_was_applied_is_refused_but_its_comments_may() {
    let keyspace = Keyspace::new().await;
    keyspace.apply(&[BIRDS]).await;
    let explained = Migration {
        cql: "/* what was\n seen */ CREATE TABLE IF NOT EXISTS birds\n(name text PRIMARY KEY) WITH comment = 'a; b';",
        ..BIRDS
    };
    migrations::check(&keyspace.config, &[explained]).await.unwrap();

    let changed = Migration { cql: "CREATE TABLE IF NOT EXISTS birds (name text PRIMARY KEY, age int);", ..BIRDS };
    let said = keyspace.refusal(&[changed]).await;
    assert!(said.contains("0001_birds") && said.contains("later migration"), "{said}");
    let said = migrations::apply(&keyspace.config, &[changed, PLACES]).await.unwrap_err().to_string();
    assert!(said.contains("nothing was applied"), "{said}");
    assert!(keyspace.refusal(&[BIRDS, PLACES]).await.contains("0002_places is not applied"));
    keyspace.drop().await;
}

#[tokio::test]
async fn a_start_names_what_is_missing_and_refuses_what_is_newer() {
    let keyspace = Keyspace::new().await;
    let said = keyspace.refusal(&[BIRDS]).await;
    assert!(said.contains(&format!("keyspace {} is not there", keyspace.config.keyspace)), "{said}");
    keyspace.apply(&[BIRDS]).await;
    let said = keyspace.refusal(&[BIRDS, PLACES]).await;
    assert!(said.contains("0002_places") && !said.contains("0001_birds"), "{said}");
    keyspace.apply(&[BIRDS, PLACES]).await;
    let said = keyspace.refusal(&[BIRDS]).await;
    assert!(said.contains("0002_places") && said.contains("newer"), "{said}");

    let home = keyspace.home();
    for arguments in [&["run"][..], &["store", "check"], &["list"]] {
        let said = home.deckle(arguments).await.ended(2).stderr;
        assert!(said.contains("0001_documents"), "{arguments:?}: {said}");
    }
    let refused = home.deckle(["store", "apply"]).await.ended(1).stdout;
    assert!(refused.contains("refused") && refused.contains("nothing was applied"), "{refused}");
    keyspace.drop().await;
}

#[tokio::test]
async fn replicas_that_reads_and_writes_need_not_share_are_refused() {
    use deckle::store::cql::Consistency::One;
    let keyspace = Keyspace::made_with("{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}").await;
    // What one replica allows, three do not; the keyspace says which it is, not the settings.
    let config = Config { read_consistency: One, write_consistency: One, ..keyspace.config.clone() };
    config.check().unwrap();
    for said in [migrations::check(&config, &[]).await.unwrap_err(), migrations::apply(&config, &[]).await.unwrap_err()]
    {
        let said = said.to_string();
        assert!(said.contains("3 replicas") && said.contains("read_consistency"), "{said}");
    }
    keyspace.drop().await;

    let simple = Keyspace::made_with("{'class': 'SimpleStrategy', 'replication_factor': 1}").await;
    let said = simple.refusal(&[]).await;
    assert!(said.contains("SimpleStrategy") && said.contains("NetworkTopologyStrategy"), "{said}");
    simple.drop().await;
}

#[tokio::test]
async fn more_replicas_than_nodes_and_datacenters_unknown_are_refused_before_anything_is_made() {
    let keyspace = Keyspace::new().await;
    for (config, words) in [
        (Config { replication_factor: 3, ..keyspace.config.clone() }, "replication_factor"),
        (Config { datacenter: "nowhere".to_owned(), ..keyspace.config.clone() }, "nowhere"),
    ] {
        let said = migrations::apply(&config, &[BIRDS]).await.unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
    let found = migrations::inspect(&keyspace.config).await.unwrap();
    assert_eq!(found.replication, None, "nothing was made");
    let planned = plan(&keyspace.config, &[BIRDS], &found).differences.remove(0).action;
    assert!(matches!(&planned, Action::Create { replication } if replication.contains("Network")), "{planned:?}");
    keyspace.drop().await;
}

#[tokio::test]
async fn rows_of_an_earlier_set_of_migrations_outlive_a_later_one() {
    let keyspace = Keyspace::new().await;
    keyspace.apply(migrations::ALL).await;
    let store = CqlStore::open(keyspace.config.clone()).unwrap();
    let document = DocumentKey { tenant: "acme".to_owned(), document_id: "a".to_owned() };
    let run = RunKey { document, run: 1_000 };
    let row = PageRow {
        page_no: 1,
        version: 1_000,
        seq: 1,
        page: None,
        method: None,
        confidence: None,
        reason: None,
        trail: Vec::new(),
    };
    store.put_page(&run, &row).await.unwrap();
    store.await_pages(&run, &BTreeMap::from([(1, 1_000)])).await.unwrap();

    let next = migrations::ALL.last().unwrap().number + 1;
    let later = Migration { number: next, name: "notes", cql: "ALTER TABLE pages ADD note text;", fill: None };
    let wanted: Vec<_> = migrations::ALL.iter().copied().chain([later]).collect();
    assert_eq!(keyspace.apply(&wanted).await, [format!("{next:04}_notes")]);
    assert_eq!(store.pages(&run).await.unwrap(), std::slice::from_ref(&row), "to a deckle that runs on");
    assert_eq!(store.awaited_pages(&run).await.unwrap(), BTreeMap::from([(1, 1_000)]));
    let second = PageRow { page_no: 2, ..row.clone() };
    store.put_page(&run, &second).await.unwrap();
    assert_eq!(store.pages(&run).await.unwrap(), [row, second]);
    keyspace.drop().await;
}

#[tokio::test]
async fn on_sqlite_there_is_nothing_to_do() {
    let home = Home::new();
    for argument in ["plan", "apply", "check"] {
        let told = home.deckle(["store", argument]).await.ended(0).stdout;
        assert!(told.contains("SQLite") && told.lines().count() == 1, "{told}");
        assert_eq!(home.deckle(["store", argument, "--json"]).await.ended(0).json()["in_order"], true);
    }
    let whole = home.deckle(["check"]).await.stdout;
    assert!(whole.lines().any(|line| line.starts_with("✓ store") && line.contains("store.sqlite")), "{whole}");
}

#[tokio::test]
async fn no_node_is_one_line_without_the_password() {
    let home = Home::new();
    home.configure(
        "store.provider = \"scylla\"\nstore.scylla.nodes = \"127.0.0.1:1\"\nstore.scylla.user = \"me\"\n\
         store.scylla.password = \"hunter2\"\n",
    );
    for arguments in [["store", "plan"], ["store", "apply"], ["store", "check"], ["list", "--json"]] {
        let ran = home.deckle(arguments).await.ended(2);
        let said = &ran.stderr;
        assert!(said.lines().count() == 1 && said.contains("127.0.0.1:1"), "{arguments:?}: {said}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}
