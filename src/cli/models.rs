//! `deckle models`: which models are installed, are they what they should be, and what is each for?

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Outcome, print, print_json,
    table::{self, Fit},
    warn,
};
use crate::{
    app::App,
    models::{Catalogue, Entry, ModelStatus},
    runtime::replay::{self, Choice, survey},
    store::{KnownModel, ModelState, Models, active_models, change_models},
};

/// List the models, what each is for, and whether they are installed; switch searches to one, or drop one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle models
  deckle models --json | jq -r '.[].files[].sha256'
  deckle models activate all-MiniLM-L6-v2-int8   searches ask it from now on
  deckle models drop all-MiniLM-L6-v2            delete the vectors of the one before

States: `building` models embed new documents beside the `active` one, which searches ask; `retired` ones keep what they
have; of `dropped` ones nothing is left. `deckle replay` embeds what was published before.")]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Switch searches to a model; the one before is retired.
    ///
    /// Refuses while a published document lacks its vectors, and begins to build it where it was not.
    Activate {
        /// The model.
        name: String,
        /// Even if documents lack its vectors: searches do not find them until a replay.
        #[arg(long)]
        force: bool,
    },
    /// Delete all vectors of a model that searches do not ask.
    Drop {
        /// The model.
        name: String,
    },
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    match args.what {
        None => list(context).await,
        Some(What::Activate { name, force }) => activate(&context.open()?, json, &name, force).await,
        Some(What::Drop { name }) => drop_model(&context.open()?, json, &name).await,
    }
}

async fn activate(app: &App, json: bool, name: &str, force: bool) -> anyhow::Result<Outcome> {
    let catalogue = Catalogue::load();
    let entry = catalogue.embedder_named(name)?;
    // A search that cannot embed its question finds nothing.
    entry.check(&app.config.models())?;
    let default = &catalogue.embedder().name;
    let lacking = if force { 0 } else { lacking(app, name, default).await? };
    anyhow::ensure!(
        lacking == 0,
        "{} no vectors of {name}: `deckle replay --model {name}` makes them; --force switches nevertheless",
        if lacking == 1 {
            "1 published document has".to_owned()
        } else {
            format!("{lacking} published documents have")
        }
    );
    let now = now();
    let decided = change_models(&*app.store, |models| Some(models.activate(name, default, now))).await?;
    report(json, name, decided.as_ref())?;
    Ok(Outcome::Done)
}

/// How many published documents lack vectors of a model, once every new one gets them.
async fn lacking(app: &App, name: &str, default: &str) -> anyhow::Result<u64> {
    let now = now();
    let decided =
        change_models(&*app.store, |models| Some(models.build(name, default, now))).await?.unwrap_or_default();
    wait(replay::until_settled(&decided, name), "until every worker embeds new documents by it").await;
    Ok(survey(&*app.store, &Choice::default(), name).await?.lacking)
}

async fn drop_model(app: &App, json: bool, name: &str) -> anyhow::Result<Outcome> {
    let catalogue = Catalogue::load();
    let known = app.store.models().await?;
    // One of an earlier deckle may be unknown to this one.
    if known.get(name).is_none() {
        catalogue.embedder_named(name)?;
    }
    // Searches that asked before it was retired may still be on their way to it.
    let retired = known.get(name).filter(|known| known.state == ModelState::Retired);
    if retired.is_some() {
        wait(replay::until_settled(&known, name), "until searches have left it").await;
    }
    let (now, default) = (now(), &catalogue.embedder().name);
    let decided = change_models(&*app.store, |models| models.give_up(name, default, now)).await?;
    anyhow::ensure!(decided.is_some(), "searches ask {name}: `deckle models activate` another one first");
    app.store.delete_vectors(name).await?;
    report(json, name, decided.as_ref())?;
    Ok(Outcome::Done)
}

async fn wait(duration: Duration, until: &str) {
    if !duration.is_zero() {
        debug_assert!(duration <= active_models::SETTLED);
        warn(format_args!("deckle: waiting {} {until}", table::duration(duration.as_micros() as i64)));
        tokio::time::sleep(duration).await;
    }
}

/// Says what is so from now on.
fn report(json: bool, name: &str, decided: Option<&Models>) -> anyhow::Result<()> {
    let state = decided.and_then(|models| models.state(name));
    if json {
        return print_json(&json!({ "name": name, "state": state }));
    }
    print(format_args!("{name} is {}", state.map_or("as it was", ModelState::as_str)))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

async fn list(context: Context) -> anyhow::Result<Outcome> {
    let json = context.json;
    let folder = context.config.models();
    let catalogue = Catalogue::load();
    let checked: Vec<_> = catalogue.models.iter().map(|entry| (entry, entry.verify(&folder))).collect();
    let decided = decided(context, &catalogue.embedder().name).await;
    if json {
        print_json(&checked.iter().map(|(entry, files)| for_programs(entry, files, &decided)).collect::<Vec<_>>())?;
    } else {
        print(rows(&checked, &decided))?;
    }
    let whole = checked.iter().flat_map(|(_, files)| files).all(|status| status.ok);
    anyhow::ensure!(whole, "some model files are missing or altered; run `make setup`");
    Ok(Outcome::Done)
}

/// What the store says; nothing where it is away, for the files can be looked at all the same.
async fn decided(context: Context, default: &str) -> Models {
    let asked = async { anyhow::Ok(context.open()?.store.models().await?) };
    match asked.await {
        // Where nothing was decided searches ask the default.
        Ok(models) if models.active().is_none() => {
            let active = KnownModel { name: default.to_owned(), state: ModelState::Active, since: 0 };
            Models { models: [vec![active], models.models].concat(), ..models }
        }
        Ok(models) => models,
        Err(error) => {
            warn(format_args!("deckle: what models are for is not known now: {error:#}"));
            Models::default()
        }
    }
}

fn for_programs(entry: &Entry, files: &[ModelStatus], decided: &Models) -> serde_json::Value {
    let files: Vec<_> = entry
        .files
        .iter()
        .zip(files)
        .map(|(file, status)| {
            json!({
                "name": file.name, "bytes": file.bytes, "sha256": file.sha256, "ok": status.ok,
                "installed_sha256": status.installed_sha256, "advice": status.advice,
            })
        })
        .collect();
    json!({
        "name": entry.name, "family": entry.family, "task": entry.task, "state": decided.state(&entry.name),
        "dimension": entry.dimension, "max_tokens": entry.max_tokens, "licence": entry.licence, "source": entry.source,
        "files": files,
    })
}

fn rows(checked: &[(&Entry, Vec<ModelStatus>)], decided: &Models) -> table::Rows {
    let mut rows = table::Rows::new(&[
        ("model", Fit::Keep),
        ("state", Fit::Keep),
        ("task", Fit::Drop(3)),
        ("file", Fit::Keep),
        ("size", Fit::Drop(2)),
        ("sha256", Fit::Drop(1)),
        ("licence", Fit::Drop(0)),
        ("installed", Fit::Wrap),
    ]);
    for (entry, files) in checked {
        for (file, status) in entry.files.iter().zip(files) {
            rows.add(vec![
                table::text(&entry.name),
                table::text(decided.state(&entry.name).map_or("", ModelState::as_str)),
                table::text(&entry.task),
                table::text(&file.name),
                table::number(Some(table::size(i64::try_from(file.bytes).unwrap_or(i64::MAX)))),
                table::text(file.sha256.get(..12).unwrap_or(&file.sha256)),
                table::text(&entry.licence),
                table::text(if status.ok { "ok" } else { &status.advice }),
            ]);
        }
    }
    rows
}
