//! `deckle ingest`: queues files and returns.

use std::path::PathBuf;

use futures::{StreamExt, stream};

use super::{Context, Outcome, print, print_json, submit};
use crate::contract::record::{Lane, Options};

/// Files brought in at once.
pub(super) const SUBMISSIONS: usize = 8;

/// Queue files for `deckle run`, and return at once.
///
/// A file that was queued or read before with the same settings is not queued again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle ingest inbox/                 everything below a folder
  deckle ingest 'scans/*.pdf' --bulk   a batch that interactive documents overtake
  deckle run                           works on what is queued")]
pub(super) struct Args {
    /// Files, folders and patterns.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read again even what did not change.
    #[arg(long)]
    force: bool,
    /// Let interactive documents overtake these.
    #[arg(long)]
    bulk: bool,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let inputs = submit::find(&args.paths)?;
    let app = context.open()?;
    let lane = if args.bulk { Lane::Bulk } else { Lane::Interactive };
    let request = submit::Request { force: args.force, lane, options: Options::default() };
    let mut submissions = stream::iter(inputs).map(|input| submit::submit(&app, input, &request)).buffered(SUBMISSIONS);
    let (mut queued, mut unchanged, mut rows) = (0_usize, 0_usize, Vec::new());
    while let Some(submission) = submissions.next().await {
        let submission = submission?;
        let state = match submission.state {
            submit::Submitted::Pending => {
                queued += 1;
                "queued"
            }
            submit::Submitted::Unchanged => {
                unchanged += 1;
                "unchanged"
            }
        };
        if json {
            rows.push(serde_json::json!({
                "path": submission.input.path,
                "document_id": submission.key.document_id,
                "upload_id": submission.upload_id,
                "status": state,
            }));
        } else {
            print(format_args!("{state:<10} {}  {}", submission.key.document_id, submission.input.path.display()))?;
        }
    }
    if json {
        print_json(&rows)?;
    } else {
        let next = if queued > 0 { "; `deckle run` works on them" } else { "" };
        print(format_args!("{queued} queued, {unchanged} unchanged{next}"))?;
    }
    Ok(Outcome::Done)
}
