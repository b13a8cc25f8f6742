//! `deckle dead-letters redrive` and `drop`.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    super::{Outcome, print, print_json, progress::bar, stop::StopSignals, table, warn},
    Filters, all, find,
    list::{for_programs, rows, state},
    report_waiting,
};
use crate::{
    app::App,
    runtime::{dead_letter::redrive as redriving, rate::Rate},
    store::{DeadLetterRow, DeadLetterState, ListedDeadLetter, StateName},
};

/// Which letters something is to be done with.
#[derive(Debug, clap::Args)]
struct Choice {
    /// Ids, or their starts.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Show them and do nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Choice {
    /// Those that are named, in whatever state, or those that match and are in one of `states`.
    async fn dead_letters(&self, app: &App, states: &[StateName]) -> anyhow::Result<Vec<ListedDeadLetter>> {
        let filtered = self.all || self.filters != Filters::default();
        anyhow::ensure!(
            filtered == self.ids.is_empty(),
            "name dead letters by their ids, or choose some by filters or --all"
        );
        if filtered {
            return all(app, self.filters.in_states(states)).await;
        }
        let mut letters: Vec<ListedDeadLetter> = Vec::new();
        for id in &self.ids {
            let row = find(app, id).await?;
            if !letters.iter().any(|known| known.letter.key == row.letter.key) {
                letters.push(row);
            }
        }
        Ok(letters)
    }
}

/// Send records back to their topics in a newer version, once the cause of their failure is mended.
///
/// A letter is redriven once, whoever asks again. The run of its document stays the one it was: where a newer run was
/// published since, the redriven one ends as `superseded`. Exit code 1 where some could not be redriven.
#[derive(Debug, clap::Args)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    choice: Choice,
    /// Records in a second at most.
    #[arg(long, value_name = "NUMBER", value_parser = parse_rate)]
    rate: Option<f64>,
}

pub(in crate::cli) fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(|| "a number above 0".to_owned())
}

/// Mark open ones as dropped: they leave the list, and stay as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct DropArgs {
    #[command(flatten)]
    choice: Choice,
}

/// What was done with each letter, for the summary.
#[derive(Default)]
struct Done {
    changed: Vec<(DeadLetterRow, Option<i64>)>,
    left: Vec<(DeadLetterRow, Option<DeadLetterState>)>,
    impossible: Vec<(DeadLetterRow, String)>,
}

impl Done {
    fn take(&mut self, letter: &DeadLetterRow, outcome: redriving::Outcome) {
        let letter = letter.clone();
        match outcome {
            redriving::Outcome::Appended { version } => self.changed.push((letter, Some(version))),
            redriving::Outcome::Left(state) => self.left.push((letter, state)),
            redriving::Outcome::Impossible { message } => self.impossible.push((letter, message)),
        }
    }

    /// Prints it all; `verb` is what was done.
    fn report(&self, json: bool, verb: &str) -> anyhow::Result<Outcome> {
        // Another redrive at work may not end well, so this one was not done.
        let held = |state: &Option<DeadLetterState>| matches!(state, Some(DeadLetterState::Redriving { .. }));
        let failed = !self.impossible.is_empty() || self.left.iter().any(|(_, state)| held(state));
        let outcome = if failed { Outcome::SomeFailed } else { Outcome::Done };
        if json {
            let changed = self.changed.iter().map(|(letter, version)| json!({ "id": letter.key.letter_id, "document_id": letter.document_id, "version": version }));
            let left = self.left.iter().map(
                |(letter, state)| json!({ "id": letter.key.letter_id, "state": state.map(DeadLetterState::name) }),
            );
            let impossible =
                self.impossible.iter().map(|(letter, why)| json!({ "id": letter.key.letter_id, "message": why }));
            print_json(&json!({
                verb: changed.collect::<Vec<_>>(),
                "left": left.collect::<Vec<_>>(),
                "impossible": impossible.collect::<Vec<_>>(),
            }))?;
            return Ok(outcome);
        }
        for (letter, why) in &self.impossible {
            warn(format_args!("deckle: {}: {why}", letter.key.letter_id));
        }
        for (letter, now) in &self.left {
            let now = now.map_or_else(|| "no longer there".to_owned(), state);
            warn(format_args!("deckle: {}: {now}, left as it is", letter.key.letter_id));
        }
        let documents: BTreeSet<_> =
            self.changed.iter().map(|(letter, _)| (&letter.key.tenant, &letter.document_id)).collect();
        let mut parts = vec![format!("{} {verb}", table::count(self.changed.len() as u64, "dead letter"))];
        if documents.len() > 1 {
            parts[0] += &format!(" of {} documents", documents.len());
        }
        for (number, what) in [(self.left.len(), "left as they are"), (self.impossible.len(), "impossible")] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        print(parts.join(", "))?;
        Ok(outcome)
    }
}

/// Shows what would be done.
fn rehearse(json: bool, letters: &[ListedDeadLetter], verb: &str) -> anyhow::Result<Outcome> {
    if json {
        let letters: Vec<_> = letters.iter().map(for_programs).collect();
        print_json(&json!({ "dry_run": true, "dead_letters": letters }))?;
    } else {
        if !letters.is_empty() {
            print(rows(letters))?;
        }
        print(format_args!("{} would be {verb}; nothing was done", table::count(letters.len() as u64, "dead letter")))?;
    }
    Ok(Outcome::Done)
}

pub(crate) async fn redrive(app: &App, json: bool, args: &RedriveArgs) -> anyhow::Result<Outcome> {
    let letters = args.choice.dead_letters(app, &[StateName::Open, StateName::Redriving]).await?;
    if !json {
        report_waiting(app).await?;
    }
    if args.choice.dry_run {
        return rehearse(json, &letters, "redriven");
    }
    let mut rate = args.rate.map(Rate::per_second);
    let progress = bar(letters.len(), "dead letters", json);
    let mut done = Done::default();
    let mut stops = StopSignals::listen()?;
    let interrupted = {
        let mut report = |letter: &DeadLetterRow, outcome| {
            done.take(letter, outcome);
            progress.inc(1);
        };
        let work = async {
            for group in redriving::groups(letters) {
                redriving::redrive(&*app.log, &*app.store, &app.keyring, &group, rate.as_mut(), &mut report).await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            worked = work => {
                worked?;
                false
            }
            () = stops.next() => true,
        }
    };
    progress.finish_and_clear();
    let outcome = done.report(json, "redriven")?;
    if interrupted {
        warn("deckle: interrupted; the same command goes on with the rest, in a minute where it had begun");
        return Ok(Outcome::Interrupted);
    }
    Ok(outcome)
}

pub(crate) async fn drop_letters(app: &App, json: bool, args: &DropArgs) -> anyhow::Result<Outcome> {
    let letters = args.choice.dead_letters(app, &[StateName::Open]).await?;
    if args.choice.dry_run {
        return rehearse(json, &letters, "dropped");
    }
    let progress = bar(letters.len(), "dead letters", json);
    let mut done = Done::default();
    for row in &letters {
        let now = jiff::Timestamp::now().as_microsecond();
        match app.store.drop_dead_letter(&row.letter.key, now).await? {
            Some(DeadLetterState::Dropped { at }) if at == now => done.changed.push((row.letter.clone(), None)),
            other => done.left.push((row.letter.clone(), other)),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    done.report(json, "dropped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_above_zero() {
        assert_eq!(parse_rate("2.5"), Ok(2.5));
        assert!(["0", "-1", "NaN", "inf", "x"].iter().all(|text| parse_rate(text).is_err()));
    }
}
