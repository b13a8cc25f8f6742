//! The tables of the store, as numbered files of CQL that are applied once each and in order.
//!
//! The law: what a keyspace holds is the files of `schemas/store` up to some number, whoever applied them, however
//! often, and however many at once. A file that was applied never changes (but for its comments); what is to be
//! different comes in a later file. Every statement does no harm the second time, for the first may have been the last
//! act of a process that died. So does the filling of new tables from old ones, which a migration may end with.
//!
//! Workers start only on a keyspace that has all of them and no later ones, and whose replicas are read and written in
//! numbers that meet (`replication`).

mod plan;

use std::collections::HashMap;

use scylla::value::CqlTimestamp;
use sha2::{Digest, Sha256};

pub use super::fills::Fill;
use super::{
    Config, fills,
    replication::Replication,
    schema::{self, Settling, change_schema, with_schema_lock},
    session::Session,
    statements::statements,
};
use deckle_contract::error::{Failure, Result};
pub use plan::{Action, Applied, Difference, Found, Node, Plan, plan};

/// One migration: a file of `schemas/store`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Counted from 1, without gaps.
    pub number: u32,
    /// What it is about, as its file is called.
    pub name: &'static str,
    /// Its statements.
    pub cql: &'static str,
    /// What is done with its tables once they are there, before it counts as applied.
    pub fill: Option<Fill>,
}

/// All migrations that this deckle knows, in order.
pub const ALL: &[Migration] = &[
    Migration {
        number: 1,
        name: "documents",
        cql: include_str!("../../../schemas/store/0001_documents.cql"),
        fill: None,
    },
    Migration {
        number: 2,
        name: "reads",
        cql: include_str!("../../../schemas/store/0002_reads.cql"),
        fill: Some(Fill::Entries),
    },
    Migration {
        number: 3,
        name: "erasures",
        cql: include_str!("../../../schemas/store/0003_erasures.cql"),
        fill: None,
    },
    Migration { number: 4, name: "models", cql: include_str!("../../../schemas/store/0004_models.cql"), fill: None },
    Migration { number: 5, name: "claims", cql: include_str!("../../../schemas/store/0005_claims.cql"), fill: None },
];

/// Remembers what was applied. One partition, so that it is read in order.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (part int, number int, name text, sha256 text, \
                     applied_at timestamp, deckle text, PRIMARY KEY (part, number))";

impl Migration {
    /// The name of its file without the ending, such as `0001_documents`.
    pub fn file(&self) -> String {
        file(self.number, self.name)
    }

    /// Of its statements, in lower-case hex: comments and white space may change.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(statements(self.cql).join(";\n")))
    }
}

fn file(number: u32, name: &str) -> String {
    format!("{number:04}_{name}")
}

/// Looks at a cluster.
///
/// # Errors
/// `Unavailable` where no node answers.
pub async fn inspect(config: &Config) -> Result<Found> {
    look(&Session::connect(config).await?, config).await
}

/// Looks whether workers may start.
///
/// # Errors
/// As [`Plan::check`]; `Unavailable` where no node answers.
pub async fn check(config: &Config, wanted: &[Migration]) -> Result<Found> {
    let found = inspect(config).await?;
    plan(config, wanted, &found).check()?;
    Ok(found)
}

/// A session that uses the keyspace, where workers may start.
pub(super) async fn ready(config: &Config) -> Result<Session> {
    let session = Session::connect(config).await?;
    plan(config, ALL, &look(&session, config).await?).check()?;
    use_keyspace(&session).await?;
    Ok(session)
}

/// Makes the keyspace where there is none, and applies what it lacks. Returns what was done.
///
/// # Errors
/// Before anything is done, when something is refused; else what the server says, and the rest is left for another
/// time.
pub async fn apply(config: &Config, wanted: &[Migration]) -> Result<Vec<Difference>> {
    let session = Session::connect(config).await?;
    let first = acceptable(config, wanted, &look(&session, config).await?)?;
    let mut done = Vec::new();
    for difference in &first.differences {
        if let Action::Create { replication } = &difference.action {
            change_schema(&session, &create(config, replication)).await?;
            done.push(difference.clone());
        }
    }
    if first.is_in_order() {
        return Ok(done);
    }
    use_keyspace(&session).await?;
    for table in [schema::TABLE, TABLE] {
        change_schema(&session, table).await?;
    }
    let work = async {
        // Another may have come first.
        let rest = acceptable(config, wanted, &look(&session, config).await?)?;
        for difference in rest.differences {
            if let Some(migration) = wanted.iter().find(|migration| migration.file() == difference.name) {
                migrate(&session, config, migration).await?;
                done.push(difference);
            }
        }
        Ok(done)
    };
    with_schema_lock(&session, work).await
}

/// The plan, unless deckle refuses it.
fn acceptable(config: &Config, wanted: &[Migration], found: &Found) -> Result<Plan> {
    let plan = plan(config, wanted, found);
    match plan.refused() {
        Some(refused) => Err(Failure::defect(format!("nothing was applied: {refused}"))),
        None => Ok(plan),
    }
}

fn create(config: &Config, replication: &str) -> String {
    // Without the words the server decides; Cassandra does not know them.
    let tablets = config.tablets.map_or_else(String::new, |on| format!(" AND tablets = {{'enabled': {on}}}"));
    format!("CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {replication}{tablets}", config.keyspace)
}

async fn migrate(session: &Session, config: &Config, migration: &Migration) -> Result<()> {
    for statement in statements(migration.cql) {
        if !is_done(session, config, &statement).await? {
            change_schema(session, &statement).await.map_err(|failure| within(failure, migration))?;
        }
    }
    let number = i32::try_from(migration.number).map_err(|_| Failure::defect("a migration's number is too high"))?;
    if let Some(fill) = migration.fill {
        fills::run(session, number, fill).await.map_err(|failure| within(failure, migration))?;
    }
    let insert = "INSERT INTO migrations (part, number, name, sha256, applied_at, deckle) VALUES (0, ?, ?, ?, ?, ?)";
    let now = CqlTimestamp(jiff::Timestamp::now().as_millisecond());
    let values = (number, migration.name, migration.sha256(), now, env!("CARGO_PKG_VERSION"));
    session.write(insert, values).await
}

/// Whether a statement that cannot say `IF NOT EXISTS` on every server, which is the adding of a column, was carried
/// out before.
async fn is_done(session: &Session, config: &Config, statement: &str) -> Result<bool> {
    let Some((table, column)) = added_column(statement) else { return Ok(false) };
    let select = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ? AND \
                  column_name = ?";
    let rows: Vec<(String,)> = session.read(select, (&config.keyspace, table, column)).await?;
    Ok(!rows.is_empty())
}

/// Table and column of `ALTER TABLE table ADD column type`.
fn added_column(statement: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = statement.split(' ').collect();
    let [alter, kind, table, add, column, ..] = words[..] else { return None };
    let is_added = [(alter, "alter"), (kind, "table"), (add, "add")]
        .into_iter()
        .all(|(word, expected)| word.eq_ignore_ascii_case(expected));
    is_added.then_some((table, column))
}

/// The same failure, a defect with the name of its migration in front.
fn within(failure: Failure, migration: &Migration) -> Failure {
    match failure {
        Failure::Defect { message } => Failure::defect(format!("{}: {message}", migration.file())),
        other => other,
    }
}

/// Looks at a cluster; `session` uses the keyspace from then on, where there is one.
async fn look(session: &Session, config: &Config) -> Result<Found> {
    let nodes = nodes(session);
    if !plan::is_known(&config.datacenter, &nodes) {
        // Every request goes to that datacenter.
        return Ok(Found { nodes, replication: None, applied: Vec::new() });
    }
    let select = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let rows: Vec<(HashMap<String, String>,)> = session.read(select, (&config.keyspace,)).await?;
    let Some((replication,)) = rows.first() else {
        return Ok(Found { nodes, replication: None, applied: Vec::new() });
    };
    let replication = Some(Replication::parse(replication));
    let select = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'migrations'";
    let tables: Vec<(String,)> = session.read(select, (&config.keyspace,)).await?;
    let applied = if tables.is_empty() { Vec::new() } else { applied(session).await? };
    Ok(Found { nodes, replication, applied })
}

async fn use_keyspace(session: &Session) -> Result<()> {
    let settling = Settling::new();
    loop {
        match session.use_keyspace().await {
            Ok(()) => return Ok(()),
            Err(failure) => settling.refused(failure).await?,
        }
    }
}

async fn applied(session: &Session) -> Result<Vec<Applied>> {
    use_keyspace(session).await?;
    let select = "SELECT number, name, sha256, applied_at, deckle FROM migrations WHERE part = 0";
    let settling = Settling::new();
    let rows = loop {
        match session.read::<(i32, String, String, CqlTimestamp, String)>(select, ()).await {
            Ok(rows) => break rows,
            Err(failure) => settling.refused(failure).await?,
        }
    };
    let applied = rows.into_iter().map(|(number, name, sha256, CqlTimestamp(applied_at), deckle)| {
        Ok(Applied {
            number: u32::try_from(number).map_err(|_| Failure::defect(format!("migration {number}")))?,
            name,
            sha256,
            applied_at: jiff::Timestamp::from_millisecond(applied_at).unwrap_or_default(),
            deckle,
        })
    });
    applied.collect()
}

fn nodes(session: &Session) -> Vec<Node> {
    let cluster = session.driver().get_cluster_state();
    let mut nodes: Vec<_> = cluster
        .get_nodes_info()
        .iter()
        .map(|node| Node {
            address: format!("{}:{}", node.address.ip(), node.address.port()),
            datacenter: node.datacenter.clone().unwrap_or_default(),
            is_up: node.is_connected(),
        })
        .collect();
    nodes.sort();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_does_no_harm_the_second_time() {
        for migration in ALL {
            for statement in statements(migration.cql) {
                let upper = statement.to_uppercase();
                let adds_one = added_column(&statement).is_some() && !statement.contains(',');
                let sets = upper.starts_with("ALTER TABLE ") && upper.contains(" WITH ");
                let makes = upper.starts_with("CREATE ") && upper.contains(" IF NOT EXISTS ");
                assert!(makes || adds_one || sets, "{}: {statement}", migration.file());
            }
        }
    }

    #[test]
    fn migrations_count_from_one_without_gaps_and_are_the_files_of_the_folder() {
        let numbers: Vec<_> = ALL.iter().map(|migration| migration.number).collect();
        assert_eq!(numbers, (1..=ALL.len() as u32).collect::<Vec<_>>());
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/store");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert_eq!(files, ALL.iter().map(|migration| migration.file() + ".cql").collect::<Vec<_>>());
    }

    #[test]
    fn only_the_adding_of_a_column_is_looked_up_before() {
        assert_eq!(added_column("alter table pages add note text"), Some(("pages", "note")));
        assert_eq!(added_column("ALTER TABLE pages DROP note"), None);
        assert_eq!(added_column("CREATE TABLE IF NOT EXISTS pages (a text PRIMARY KEY)"), None);
    }

    #[test]
    fn tablets_are_spoken_of_only_where_they_are_configured() {
        let with = |tablets| create(&Config { tablets, ..Config::default() }, "{}");
        assert_eq!(with(None), "CREATE KEYSPACE IF NOT EXISTS deckle WITH replication = {}");
        assert!(with(Some(false)).ends_with(" AND tablets = {'enabled': false}"));
    }
}
