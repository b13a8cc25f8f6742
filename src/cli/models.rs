//! `deckle models`: which models are installed, and are they what they should be?

use super::{Context, Outcome, print_json, table};
use crate::models::Catalogue;

/// List the models: task, size, licence, and whether the installed files are the right ones.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle models
  deckle models --json | jq '.[].files[].sha256'")]
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
        let mut rows = table::table(&["model", "task", "file", "MB", "sha256", "licence", "installed"]);
        for (entry, files) in &checked {
            for (file, status) in entry.files.iter().zip(files) {
                rows.add_row(vec![
                    comfy_table::Cell::new(&entry.name),
                    comfy_table::Cell::new(&entry.task),
                    comfy_table::Cell::new(&file.name),
                    table::number(Some(format!("{:.1}", file.bytes as f64 / 1e6))),
                    comfy_table::Cell::new(file.sha256.get(..12).unwrap_or(&file.sha256)),
                    comfy_table::Cell::new(&entry.licence),
                    comfy_table::Cell::new(if status.ok { "ok" } else { &status.advice }),
                ]);
            }
        }
        println!("{rows}");
    }
    let whole = checked.iter().flat_map(|(_, files)| files).all(|status| status.ok);
    anyhow::ensure!(whole || context.json, "some model files are missing or altered; run `make setup`");
    Ok(Outcome::Done)
}
