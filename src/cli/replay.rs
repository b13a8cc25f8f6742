//! `deckle replay`: published documents get the vectors of another model.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use super::{
    Context, Outcome, dead_letters::redrive::parse_rate, print, print_json, progress::bar_style, stop::StopSignals,
    table, time, warn,
};
use crate::{
    app::App,
    models::Catalogue,
    runtime::replay::{Choice, Replay, Step, survey},
    stages,
    store::{DocumentKey, ModelState, change_models},
};

/// Embed what is published by another model, from what is stored: no file is read or recognised again.
///
/// From its start on new documents get the model's vectors too. Searches ask the old model until `deckle models
/// activate` switches them. Workers (`deckle run`) do the work, behind whatever people wait for. Interrupted or killed
/// and begun again, it goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle replay --stage language --model all-MiniLM-L6-v2-int8
  deckle replay --model all-MiniLM-L6-v2-int8 --tenant acme --since 30d
  deckle replay --model all-MiniLM-L6-v2-int8 --documents ids.txt --rate 20
  deckle replay --model all-MiniLM-L6-v2-int8 --dry-run   how many lack its vectors?
  deckle models activate all-MiniLM-L6-v2-int8            then: switch searches to it

Exit code: 0 none of them lacks vectors, 1 some could not be embedded (`deckle dead-letters list` says
why), 2 a mistake, 130 interrupted.")]
pub(super) struct Args {
    /// The stage that works again.
    #[arg(long, default_value = stages::language::NAME, value_parser = [stages::language::NAME])]
    stage: String,
    /// The model, as `deckle models` names it.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Only documents of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only those published then or later: `2026-11-21`, `2026-11-21T08:00:00Z`, or so long ago: `2h`, `3d`.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only those whose ids stand in this file, one on a line (`-`: standard input); of `--tenant`, else of the
    /// configured one.
    #[arg(long, value_name = "FILE")]
    documents: Option<PathBuf>,
    /// Documents in a second at most.
    #[arg(long, value_name = "NUMBER", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Count them and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let json = context.json;
    let catalogue = Catalogue::load();
    let model = catalogue.embedder_named(&args.model)?.name.as_str();
    let app = context.open()?;
    let choice = choice(&app, &args)?;
    if args.dry_run {
        let found = survey(&*app.store, &choice, model).await?;
        if json {
            let state = app.store.models().await?.state(model);
            print_json(&json!({
                "dry_run": true, "model": model, "state": state, "documents": found.documents, "lacking": found.lacking,
            }))?;
        } else {
            print(format_args!("{} of {} lack vectors of {model}", found.lacking, documents(found.documents)))?;
        }
        return Ok(Outcome::Done);
    }
    let default = &catalogue.embedder().name;
    let now = jiff::Timestamp::now().as_microsecond();
    let decided = change_models(&*app.store, |models| Some(models.build(model, default, now))).await?;
    let decided = decided.context("building a model is never refused")?;
    let found = survey(&*app.store, &choice, model).await?;

    let bar = progress(found.lacking, json);
    let (mut embedded, mut left, mut stalled) = (0, Vec::new(), false);
    let mut report = |step| match step {
        Step::Embedded(more) => {
            embedded += more;
            bar.inc(more as u64);
            bar.set_message("");
        }
        Step::Left(key, why) => {
            bar.suspend(|| warn(format_args!("deckle: {}: {why}", key.document_id)));
            left.push((key, why));
        }
        Step::Stalled => {
            bar.set_message("waiting for workers");
            if !std::mem::replace(&mut stalled, true) && bar.is_hidden() {
                warn("deckle: nothing moves yet; `deckle run` works on it");
            }
        }
    };
    let mut stops = StopSignals::listen()?;
    let replay = Replay::new(&*app.log, &*app.store, &choice, model, args.rate, &mut report);
    let interrupted = tokio::select! {
        worked = replay.run(&decided) => {
            worked?;
            false
        }
        () = stops.next() => true,
    };
    bar.finish_and_clear();
    // Of those that were counted. Records of a replay that was cut off may have brought theirs since.
    let others = if interrupted { found.lacking } else { (embedded + left.len()) as u64 };
    let had = found.documents.saturating_sub(others);
    let state = decided.state(model).unwrap_or(ModelState::Building);
    if json {
        let left: Vec<_> = left.iter().map(for_programs).collect();
        print_json(&json!({
            "model": model, "state": state, "embedded": embedded, "had": had, "left": left,
            "interrupted": interrupted, "seconds": started.elapsed().as_secs_f64(),
        }))?;
    } else {
        let took = table::duration(i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX));
        let mut line = format!("{} embedded by {model} in {took}, {had} had its vectors", documents(embedded as u64));
        if !left.is_empty() {
            line += &format!(", {} left", left.len());
        }
        print(line)?;
        if !interrupted && left.is_empty() && state == ModelState::Building {
            print(format_args!("`deckle models activate {model}` switches searches to it"))?;
        }
    }
    if interrupted {
        warn("deckle: interrupted; the same command goes on with the rest");
        return Ok(Outcome::Interrupted);
    }
    Ok(if left.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

fn documents(number: u64) -> String {
    table::count(number, "document")
}

fn for_programs((key, why): &(DocumentKey, String)) -> serde_json::Value {
    json!({ "tenant": key.tenant, "document_id": key.document_id, "message": why })
}

/// What the arguments choose.
fn choice(app: &App, args: &Args) -> anyhow::Result<Choice> {
    let tenant = args.tenant.clone();
    let documents = match &args.documents {
        None => None,
        Some(file) => {
            let tenant = tenant.as_ref().unwrap_or(&app.config.tenant);
            let key = |document_id: String| DocumentKey { tenant: tenant.clone(), document_id };
            Some(ids(file)?.into_iter().map(key).collect())
        }
    };
    Ok(Choice { tenant, since: args.since, documents })
}

/// The ids in a file, one on a line.
fn ids(file: &Path) -> anyhow::Result<Vec<String>> {
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("the file {}", file.display()))?)
    };
    let lines = BufReader::new(input).lines().map(|line| line.map(|line| line.trim().to_owned()));
    let lines = lines.filter(|line| line.as_ref().map_or(true, |line| !line.is_empty()));
    lines.collect::<Result<_, _>>().with_context(|| format!("the file {}", file.display()))
}

/// A bar on a terminal.
fn progress(documents: u64, json: bool) -> ProgressBar {
    let bar = ProgressBar::new(documents)
        .with_style(bar_style("{bar:30.green/dim} {pos}/{len} documents  {elapsed}, {eta} left  {wide_msg}"));
    if json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_drawn() {
        assert_eq!(progress(30, true).length(), Some(30));
    }

    #[test]
    fn ids_stand_one_on_a_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n  two \r\n\nthree/3").unwrap();
        assert_eq!(ids(file.path()).unwrap(), ["one", "two", "three/3"]);
        assert!(ids(Path::new("/no/such/file")).unwrap_err().to_string().contains("/no/such/file"));
    }
}
