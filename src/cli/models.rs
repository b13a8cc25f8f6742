//! `deckle models`: which models are installed, and are they what they should be?

use super::{
    Context, Outcome, print_json, say,
    table::{self, Fit},
};
use crate::models::Catalogue;

/// List the models: size, hash, licence, and whether they are installed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle models
  deckle models --json | jq -r '.[].files[].sha256'")]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> anyhow::Result<Outcome> {
    let folder = context.config.models();
    let catalogue = Catalogue::load();
    let checked: Vec<_> = catalogue.models.iter().map(|entry| (entry, entry.verify(&folder))).collect();
    if context.json {
        let models: Vec<_> = checked
            .iter()
            .map(|(entry, files)| {
                let files: Vec<_> = entry
                    .files
                    .iter()
                    .zip(files)
                    .map(|(file, status)| {
                        serde_json::json!({
                            "name": file.name, "bytes": file.bytes, "sha256": file.sha256, "ok": status.ok,
                            "installed_sha256": status.installed_sha256, "advice": status.advice,
                        })
                    })
                    .collect();
                serde_json::json!({
                    "name": entry.name, "family": entry.family, "task": entry.task, "dimension": entry.dimension,
                    "max_tokens": entry.max_tokens, "licence": entry.licence, "source": entry.source, "files": files,
                })
            })
            .collect();
        print_json(&models)?;
    } else {
        let mut rows = table::Rows::new(&[
            ("model", Fit::Keep),
            ("task", Fit::Drop(3)),
            ("file", Fit::Keep),
            ("size", Fit::Drop(2)),
            ("sha256", Fit::Drop(1)),
            ("licence", Fit::Drop(0)),
            ("installed", Fit::Wrap),
        ]);
        for (entry, files) in &checked {
            for (file, status) in entry.files.iter().zip(files) {
                rows.add(vec![
                    table::text(&entry.name),
                    table::text(&entry.task),
                    table::text(&file.name),
                    table::number(Some(table::size(i64::try_from(file.bytes).unwrap_or(i64::MAX)))),
                    table::text(file.sha256.get(..12).unwrap_or(&file.sha256)),
                    table::text(&entry.licence),
                    table::text(if status.ok { "ok" } else { &status.advice }),
                ]);
            }
        }
        say(rows)?;
    }
    let whole = checked.iter().flat_map(|(_, files)| files).all(|status| status.ok);
    anyhow::ensure!(whole, "some model files are missing or altered; run `make setup`");
    Ok(Outcome::Done)
}
