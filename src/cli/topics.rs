//! `deckle topics`: what the log's topics are like on the broker, and what is in them.

mod read;

use comfy_table::{Cell, Color};

use super::{
    Context, Outcome, print, print_json,
    table::{self, Fit},
    warn,
};
use crate::{
    config::{Config, Provider},
    log::kafka::{
        self,
        topics::{self, Action, Applied, Cluster, Difference, Plan},
    },
};

/// Make the topics on the broker, compare them with what deckle needs, and read them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle topics plan                what apply would do
  deckle topics apply               make and alter topics; nothing is ever deleted
  deckle topics check               may workers start?
  deckle topics read pages.split --limit 5
  deckle topics read documents.published --follow --json | jq .value.status

Exit code: 0 as deckle wants it, 1 there are differences (of plan) or some were refused
(by apply), 2 a mistake, no broker, or topics that no worker may start on (of check).")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show how the topics on the broker differ from what deckle wants.
    Plan,
    /// Make topics and alter settings; deletes nothing, and leaves settings it does not know alone.
    Apply {
        /// Only show what would be done, as `plan` does.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look whether workers may start on these topics, as `deckle run` does.
    Check,
    Read(read::Args),
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    match args.what {
        What::Read(args) => read::run(context, args).await,
        What::Plan | What::Apply { .. } | What::Check if context.config.log.provider == Provider::Sqlite => {
            by_themselves(json)
        }
        What::Plan | What::Apply { dry_run: true } => show_plan(&context.config, json).await,
        What::Apply { dry_run: false } => apply(&context.config.log.kafka, json).await,
        What::Check => check(&context.config.log.kafka, json).await,
    }
}

fn by_themselves(json: bool) -> anyhow::Result<Outcome> {
    if json {
        print_json(&serde_json::json!({ "log": "sqlite", "in_order": true, "differences": [], "warnings": [] }))?;
    } else {
        print("the log is SQLite, whose topics are made by themselves; there is nothing to plan, apply or check")?;
    }
    Ok(Outcome::Done)
}

async fn show_plan(config: &Config, json: bool) -> anyhow::Result<Outcome> {
    let config = &config.log.kafka;
    let wanted = topics::wanted(config);
    let plan = topics::plan(&wanted, &Cluster::connect(config)?.inspect(&wanted).await?);
    if json {
        print_json(&serde_json::json!({
            "log": "kafka", "in_order": plan.is_in_order(), "differences": plan.differences,
        }))?;
    } else {
        report(plan.differences.iter().map(|difference| (difference, None)))?;
        print(summary(&plan))?;
    }
    Ok(if plan.is_in_order() { Outcome::Done } else { Outcome::Differs })
}

/// What a plan comes to, in one line.
fn summary(plan: &Plan) -> String {
    if plan.is_in_order() {
        return "the topics are as deckle wants them".to_owned();
    }
    let applied = plan.differences.iter().filter(|difference| difference.is_applied()).count();
    let refused = plan.differences.iter().filter(|difference| difference.is_refused()).count();
    let mut parts = Vec::new();
    if applied > 0 {
        parts.push(format!("`deckle topics apply` would make {}", table::count(applied as u64, "change")));
    }
    if refused > 0 {
        parts.push(format!("{refused} cannot be made by deckle"));
    }
    parts.join("; ")
}

async fn apply(config: &kafka::Config, json: bool) -> anyhow::Result<Outcome> {
    let wanted = topics::wanted(config);
    let cluster = Cluster::connect(config)?;
    let plan = topics::plan(&wanted, &cluster.inspect(&wanted).await?);
    let applied = cluster.apply(&wanted, &plan).await?;
    let left: Vec<_> = plan.differences.iter().filter(|difference| !difference.is_applied()).collect();
    let failed = applied.iter().filter(|one| !one.done).count();
    let refused = left.iter().filter(|difference| difference.is_refused()).count();
    let in_order = failed == 0 && refused == 0;
    if json {
        print_json(&serde_json::json!({ "log": "kafka", "in_order": in_order, "applied": applied, "left": left }))?;
    } else {
        report(applied.iter().map(|one| (&one.difference, Some(one))).chain(left.into_iter().map(|one| (one, None))))?;
        print(match (applied.len() - failed, in_order) {
            (0, true) => "the topics were as deckle wants them already".to_owned(),
            (done, true) => {
                format!("{} made; the topics are as deckle wants them", table::count(done as u64, "change"))
            }
            (done, false) => {
                format!("{} made, {} not", table::count(done as u64, "change"), failed + refused)
            }
        })?;
    }
    Ok(if in_order { Outcome::Done } else { Outcome::Differs })
}

async fn check(config: &kafka::Config, json: bool) -> anyhow::Result<Outcome> {
    let warnings = topics::check(config).await?;
    if json {
        print_json(&serde_json::json!({ "log": "kafka", "in_order": true, "warnings": warnings }))?;
    } else {
        warnings.iter().for_each(|warning| warn(format_args!("deckle: warning: {warning}")));
        print("workers may start on these topics")?;
    }
    Ok(Outcome::Done)
}

/// One row for each difference; with what became of it, where something was done.
fn report<'a>(differences: impl Iterator<Item = (&'a Difference, Option<&'a Applied>)>) -> anyhow::Result<()> {
    let mut rows = table::Rows::new(&[
        ("topic", Fit::Keep),
        ("", Fit::Keep),
        ("what", Fit::Keep),
        ("from", Fit::Keep),
        ("to", Fit::Keep),
        ("why", Fit::Wrap),
    ]);
    let mut any = false;
    for (difference, applied) in differences {
        any = true;
        let (from, to, why) = texts(difference);
        let why = applied.and_then(|applied| applied.error.clone()).unwrap_or(why);
        rows.add(vec![
            table::text(&difference.topic),
            verb(difference, applied),
            table::text(difference.setting().unwrap_or_default()),
            table::text(from),
            table::text(to),
            table::text(why),
        ]);
    }
    if any { print(rows) } else { Ok(()) }
}

fn verb(difference: &Difference, applied: Option<&Applied>) -> Cell {
    let applied = applied.map(|applied| applied.done);
    let (verb, color) = match (&difference.action, applied) {
        (_, Some(false)) => ("failed", Color::Red),
        (Action::Create { .. }, None) => ("create", Color::Green),
        (Action::Create { .. }, Some(true)) => ("created", Color::Green),
        (Action::AddPartitions { .. }, None) => ("add", Color::Green),
        (Action::AddPartitions { .. }, Some(true)) => ("added", Color::Green),
        (Action::Alter { .. }, None) => ("alter", Color::Yellow),
        (Action::Alter { .. }, Some(true)) => ("altered", Color::Yellow),
        (Action::Refuse { .. }, _) => ("refused", Color::Red),
        (Action::Keep { .. }, _) => ("kept", Color::Cyan),
    };
    table::text(verb).fg(color)
}

/// From, to and why.
fn texts(difference: &Difference) -> (String, String, String) {
    match &difference.action {
        Action::Create { partitions, replication, settings } => {
            let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let to = format!("{partitions} × {}", table::count(u64::from(*replication), "replica"));
            (String::new(), to, settings.join(" "))
        }
        Action::AddPartitions { from, to } => (from.to_string(), to.to_string(), String::new()),
        Action::Alter { from, to, .. } => {
            let why = difference.breaks.unwrap_or_default().to_owned();
            (from.clone().unwrap_or_default(), to.clone(), why)
        }
        Action::Refuse { from, to, reason, .. } => (from.clone(), to.clone(), reason.clone()),
        Action::Keep { from, to, reason, .. } => {
            (from.clone(), String::new(), format!("{reason}; deckle asks for {to}"))
        }
    }
}
