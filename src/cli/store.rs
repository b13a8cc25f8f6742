//! `deckle store`: what the store's keyspace and tables are like on the cluster, and how they become what deckle needs.

use comfy_table::{Cell, Color};
use serde_json::json;

use super::{
    Context, Outcome, print, print_json,
    table::{self, Fit},
};
use crate::{
    config::StoreProvider,
    store::cql::{
        self,
        migrations::{self, Action, Difference, Found, Plan},
    },
};

/// Make the keyspace and the tables of the store, and compare them with what deckle needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle store plan                 what apply would do
  deckle store apply                make the keyspace, apply migrations; nothing is ever dropped
  deckle store check                may workers start?
  deckle store index                have the database itself search the vectors
  deckle store plan --json | jq '.differences[] | select(.action == \"refuse\")'

Run apply again after every update of deckle, when the workers of the one before have stopped and
before the new ones start; two at once do no harm. A migration may go through all documents, some
thousands in a second; one that was cut short goes on where it was.

Exit code: 0 as deckle wants it, 1 there are differences (of plan) or some were refused
(by apply), 2 a mistake, no node, or a store that no worker may start on (of check).")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show how keyspace and tables differ from what deckle wants.
    Plan,
    /// Make the keyspace where there is none, and apply the migrations that it lacks.
    Apply {
        /// Only show what would be done, as `plan` does.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look whether workers may start on this store, as `deckle run` does.
    Check,
    /// Make the database's own index of the vectors, which `store.scylla.search = "database"` searches.
    ///
    /// The nodes build it after this has ended, in minutes to hours; until then searches that need it fail. From then on
    /// they keep it up to date with each write, which makes writing vectors many times slower (80 times on a
    /// Cassandra 5 of one node): load much data first, and make the index afterwards.
    Index {
        /// Drop it instead.
        #[arg(long)]
        drop: bool,
    },
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let (config, json) = (&context.config.store, context.json);
    match args.what {
        _ if config.provider == StoreProvider::Sqlite => by_themselves(json),
        What::Plan | What::Apply { dry_run: true } => show_plan(&config.scylla, json).await,
        What::Apply { dry_run: false } => apply(&config.scylla, json).await,
        What::Check => check(&config.scylla, json).await,
        What::Index { drop } => index(&config.scylla, drop, json).await,
    }
}

fn by_themselves(json: bool) -> anyhow::Result<Outcome> {
    if json {
        print_json(&json!({ "store": "sqlite", "in_order": true, "differences": [] }))?;
    } else {
        print(
            "the store is SQLite, whose tables are made by themselves; there is nothing to plan, apply, check or index",
        )?;
    }
    Ok(Outcome::Done)
}

async fn show_plan(config: &cql::Config, json: bool) -> anyhow::Result<Outcome> {
    let found = migrations::inspect(config).await?;
    let plan = migrations::plan(config, migrations::ALL, &found);
    if json {
        let mut value = standing(config, &found);
        value["in_order"] = plan.is_in_order().into();
        value["differences"] = serde_json::to_value(&plan.differences)?;
        print_json(&value)?;
    } else {
        report(&plan.differences, verb)?;
        print(summary(config, &plan))?;
    }
    Ok(if plan.is_in_order() { Outcome::Done } else { Outcome::Differs })
}

/// What a plan comes to, in one line.
fn summary(config: &cql::Config, plan: &Plan) -> String {
    let refused = plan.differences.iter().filter(|difference| is_refused(difference)).count();
    let applied = plan.differences.iter().filter(|difference| is_applied(difference)).count();
    match (refused, applied) {
        (0, 0) => format!("keyspace {} is as deckle wants it", config.keyspace),
        (0, applied) => format!("`deckle store apply` would make {}", table::count(applied as u64, "change")),
        _ => "deckle cannot mend what is refused, and would apply nothing".to_owned(),
    }
}

async fn apply(config: &cql::Config, json: bool) -> anyhow::Result<Outcome> {
    let plan = migrations::plan(config, migrations::ALL, &migrations::inspect(config).await?);
    let is_sound = plan.refused().is_none();
    let done = if is_sound { migrations::apply(config, migrations::ALL).await? } else { Vec::new() };
    let left: Vec<_> = plan.differences.into_iter().filter(|difference| !is_sound || !is_applied(difference)).collect();
    if json {
        print_json(&json!({
            "store": "scylla", "keyspace": config.keyspace, "in_order": is_sound, "applied": done, "left": left,
        }))?;
    } else {
        report(&done, verb_done)?;
        report(&left, verb)?;
        print(match (done.len(), is_sound) {
            (_, false) => "nothing was applied: deckle cannot mend what is refused".to_owned(),
            (0, true) => format!("keyspace {} was as deckle wants it already", config.keyspace),
            (made, true) => {
                format!(
                    "{} made; keyspace {} is as deckle wants it",
                    table::count(made as u64, "change"),
                    config.keyspace
                )
            }
        })?;
    }
    Ok(if is_sound { Outcome::Done } else { Outcome::Differs })
}

async fn check(config: &cql::Config, json: bool) -> anyhow::Result<Outcome> {
    let found = migrations::check(config, migrations::ALL).await?;
    if json {
        let mut value = standing(config, &found);
        value["in_order"] = true.into();
        print_json(&value)?;
    } else {
        print(format_args!("workers may start on this store: {}", in_words(config, &found)))?;
    }
    Ok(Outcome::Done)
}

async fn index(config: &cql::Config, is_dropped: bool, json: bool) -> anyhow::Result<Outcome> {
    let tables = if is_dropped { cql::ann::remove(config).await? } else { cql::ann::make(config).await? };
    if json {
        let done = if is_dropped { "dropped" } else { "made" };
        print_json(&json!({ "store": "scylla", "keyspace": config.keyspace, "index": done, "tables": tables }))?;
        return Ok(Outcome::Done);
    }
    print(match (tables.is_empty(), is_dropped) {
        (true, true) => "there was no index to drop".to_owned(),
        (true, false) => {
            "every table of vectors has its index; a model gets its table with its first document".to_owned()
        }
        (false, true) => format!("dropped the index of {}", tables.join(", ")),
        (false, false) => format!("the nodes now build the index of {}", tables.join(", ")),
    })?;
    Ok(Outcome::Done)
}

/// What was found, for programs.
fn standing(config: &cql::Config, found: &Found) -> serde_json::Value {
    json!({
        "store": "scylla",
        "keyspace": config.keyspace,
        "nodes": found.nodes,
        "replication": found.replication.as_ref().and_then(|replication| replication.as_ref().ok()),
        "migrations": found.applied,
    })
}

/// The same in a few words.
pub(super) fn in_words(config: &cql::Config, found: &Found) -> String {
    let up = found.nodes.iter().filter(|node| node.is_up).count();
    let copies = match &found.replication {
        Some(Ok(replication)) => replication.to_string(),
        Some(Err(reason)) => reason.clone(),
        None => "not there".to_owned(),
    };
    format!(
        "keyspace {}, {copies}; {} up of {}; {} applied",
        config.keyspace,
        up,
        table::count(found.nodes.len() as u64, "node"),
        table::count(found.applied.len() as u64, "migration"),
    )
}

/// One row for each difference.
fn report(differences: &[Difference], verb: impl Fn(&Action) -> Cell) -> anyhow::Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let mut rows = table::Rows::new(&[("what", Fit::Keep), ("", Fit::Keep), ("how", Fit::Wrap)]);
    for Difference { name, action } in differences {
        let how = match action {
            Action::Create { replication } => replication.clone(),
            Action::Apply { statements } => table::count(*statements as u64, "statement"),
            Action::Keep { reason } | Action::Refuse { reason } => reason.clone(),
        };
        rows.add(vec![table::text(name), verb(action), table::text(how)]);
    }
    print(rows)
}

fn verb(action: &Action) -> Cell {
    let (verb, color) = match action {
        Action::Create { .. } => ("create", Color::Green),
        Action::Apply { .. } => ("apply", Color::Green),
        Action::Keep { .. } => ("kept", Color::Cyan),
        Action::Refuse { .. } => ("refused", Color::Red),
    };
    table::text(verb).fg(color)
}

/// The same of what was done.
fn verb_done(action: &Action) -> Cell {
    match action {
        Action::Create { .. } => table::text("created").fg(Color::Green),
        Action::Apply { .. } => table::text("applied").fg(Color::Green),
        other => verb(other),
    }
}

fn is_refused(difference: &Difference) -> bool {
    matches!(difference.action, Action::Refuse { .. })
}

fn is_applied(difference: &Difference) -> bool {
    matches!(difference.action, Action::Create { .. } | Action::Apply { .. })
}
