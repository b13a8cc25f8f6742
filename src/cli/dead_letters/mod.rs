//! `deckle dead-letters`: records that failed for good, and their way back.

mod list;
pub(in crate::cli) mod redrive;

use super::{Context, Outcome, table, time, warn};
use crate::{
    app::App,
    contract::record::{DeadLetter, Event},
    log::Topic,
    stages,
    store::{DeadLetterFilter, ListedDeadLetter, StateName},
};

/// Look at records that failed for good, send them back, or drop them.
///
/// A record that fails for good becomes a dead letter; its document ends all the same, `partial` or `failed`. Once the
/// cause is mended (a limit raised, a language installed, a newer deckle), `redrive` sends the record back to its topic,
/// once, in a newer version. Pages of a document that are redriven by one command come back as one version, so that the
/// document is published once more and whole; what fails again is a new dead letter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle dead-letters list --stage ocr --since 2h
  deckle dead-letters show 3f2a                       by the start of its id
  deckle dead-letters redrive --code limit.pixels --dry-run
  deckle dead-letters redrive --document 0d9f
  deckle dead-letters redrive --all --rate 10         ten records in a second
  deckle dead-letters drop --code pdf.encrypted       nothing is to be done
  deckle dead-letters list --json | jq -r '.dead_letters[].reason.message'")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(list::ListArgs),
    Show(list::ShowArgs),
    Redrive(redrive::RedriveArgs),
    Drop(redrive::DropArgs),
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    match args.what {
        What::List(args) => list::list(&app, json, args).await,
        What::Show(args) => list::show(&app, json, &args).await,
        What::Redrive(args) => redrive::redrive(&app, json, &args).await,
        What::Drop(args) => redrive::drop_letters(&app, json, &args).await,
    }
}

/// Which letters, by what they say.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
struct Filters {
    /// Only those that this stage gave up on.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(stages::NAMES))]
    stage: Option<String>,
    /// Only with this reason code, such as `limit.time`.
    #[arg(long)]
    code: Option<String>,
    /// Only of this kind of failure.
    #[arg(long, value_parser = ["rejected", "transient", "defect"])]
    kind: Option<String>,
    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only of documents whose id starts so.
    #[arg(long, value_name = "ID")]
    document: Option<String>,
    /// Only those that failed then or later: `2026-11-21`, `2026-11-21T08:00:00Z`, or so long ago: `2h`, `3d`.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only those that failed before.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
}

impl Filters {
    fn in_states(&self, states: &[StateName]) -> DeadLetterFilter {
        DeadLetterFilter {
            tenant: self.tenant.clone(),
            document_id: self.document.clone(),
            stage: self.stage.clone(),
            kind: self.kind.clone(),
            code: self.code.clone(),
            since: self.since,
            until: self.until,
            states: states.to_vec(),
            ..DeadLetterFilter::default()
        }
    }
}

/// Rows read from the store at once.
const PAGE: usize = 1_000;

/// All letters of a filter.
async fn all(app: &App, mut filter: DeadLetterFilter) -> anyhow::Result<Vec<ListedDeadLetter>> {
    filter.limit = PAGE;
    let mut rows = Vec::new();
    loop {
        let listing = app.store.dead_letters(&filter).await?;
        rows.extend(listing.letters);
        filter.after = listing.next;
        if filter.after.is_none() {
            return Ok(rows);
        }
    }
}

/// The one letter whose id starts so.
async fn find(app: &App, id: &str) -> anyhow::Result<ListedDeadLetter> {
    let filter = DeadLetterFilter { letter_id: Some(id.to_owned()), limit: 2, ..DeadLetterFilter::default() };
    let found = app.store.dead_letters(&filter).await?.letters;
    match <[ListedDeadLetter; 1]>::try_from(found) {
        Ok([only]) => Ok(only),
        Err(none) if none.is_empty() => anyhow::bail!("no dead letter has an id that starts with `{id}`"),
        Err(_) => anyhow::bail!("several dead letters have ids that start with `{id}`"),
    }
}

/// Records of the topic that are not in the table yet, because no worker ran since.
async fn waiting(app: &App) -> anyhow::Result<u64> {
    let lags = app.log.lag(stages::dead_letters::NAME, &[Topic::from(DeadLetter::TOPIC)]).await?;
    Ok(lags.iter().map(|lag| lag.records).sum())
}

/// Says so where letters wait.
async fn report_waiting(app: &App) -> anyhow::Result<()> {
    let records = waiting(app).await?;
    if records > 0 {
        let more = table::count(records, "more dead letter");
        warn(format_args!("deckle: {more} in the log; `deckle run` takes them in"));
    }
    Ok(())
}
