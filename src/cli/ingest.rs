//! `deckle ingest`: queues files and returns.

use std::path::PathBuf;

use futures::{StreamExt, stream};

use super::{Context, Outcome, inputs, print, print_json, submit};
use crate::contract::record::{Lane, Options};

/// Files brought in at once.
pub(super) const SUBMISSIONS: usize = 8;

/// Queue files for `deckle run`, and return at once.
///
/// A file that was queued or read before with the same settings is not queued again. One that cannot be read, or is
/// larger than `decode.max_bytes`, is a row that says so, and the others go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle ingest inbox/                 everything below a folder
  deckle ingest 'scans/*.pdf' --bulk   a batch that interactive documents overtake
  deckle run                           works on what is queued

Exit code: 0 all are queued, 1 some files could not be taken, 2 a mistake.")]
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
    let inputs::Found { inputs, refusals } = inputs::find(&args.paths, |_| false)?;
    let app = context.open()?;
    let lane = if args.bulk { Lane::Bulk } else { Lane::Interactive };
    let max_bytes = app.config.decode.max_bytes;
    let request = submit::Request { anew: false, force: args.force, lane, options: Options::default(), max_bytes };
    let submissions = stream::iter(inputs).map(|input| submit::submit(&app, input, &request)).buffered(SUBMISSIONS);
    let mut submissions = submissions.chain(stream::iter(refusals).map(|refusal| Ok(Err(refusal))));
    let (mut queued, mut unchanged, mut failed, mut rows) = (0_usize, 0_usize, 0_usize, Vec::new());
    while let Some(submission) = submissions.next().await {
        let submission = match submission? {
            Ok(submission) => submission,
            Err(refusal) => {
                failed += 1;
                if json {
                    rows.push(serde_json::json!({
                        "path": refusal.input.path.to_string_lossy(),
                        "document_id": null,
                        "upload_id": null,
                        "status": "failed",
                        "reasons": [refusal.reason],
                    }));
                } else {
                    print(format_args!("{:<10} {}: {}", "failed", refusal.input.path.display(), refusal.why()))?;
                }
                continue;
            }
        };
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
                "path": submission.input.path.to_string_lossy(),
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
        let not_taken = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        print(format_args!("{queued} queued, {unchanged} unchanged{not_taken}{next}"))?;
    }
    Ok(if failed > 0 { Outcome::SomeFailed } else { Outcome::Done })
}
