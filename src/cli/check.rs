//! `deckle check`: is everything in place?

use std::path::Path;

use super::{Context, Outcome, print, print_json};
use crate::{
    app::App,
    blob,
    config::{Config, StoreProvider},
    models::{self, ppocr::coverage},
    recognition::engine::{Engine, Engines},
    store::cql::migrations,
};

/// Check that everything is in place; each line says ok, or what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle check
  deckle check --config production.toml
  deckle check --json | jq '.[] | select(.ok | not)'")]
pub(super) struct Args {}

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
struct Line {
    name: String,
    ok: bool,
    detail: String,
    advice: String,
}

pub(super) async fn run(context: Context, _: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let config = context.config.clone();
    let mut lines = vec![Line {
        name: "configuration".to_owned(),
        ok: true,
        detail: format!("home {}", config.home.display()),
        advice: String::new(),
    }];
    lines.push(writable(&config.data()));
    lines.extend(models::verify(&config.models()).into_iter().map(|status| Line {
        name: format!("model {}/{}", status.name, status.file),
        ok: status.ok,
        detail: status.installed_sha256.map_or_else(|| "missing".to_owned(), |sha256| sha256[..12].to_owned()),
        advice: status.advice,
    }));
    let model = lines.iter().all(|line| line.ok || !line.name.starts_with("model "));
    lines.push(if model {
        runtime(&config).await
    } else {
        bad("ONNX Runtime", "not tried without the model".to_owned(), "put the model in place first")
    });
    match context.open() {
        Ok(app) => {
            lines.push(store(&app.config).await);
            lines.push(blobs(&app).await);
            lines.push(password_keys(&app));
            lines.extend(native(&app).await);
            lines.push(recognition(&app).await);
        }
        Err(error) => lines.push(bad("log, store, blobs", format!("{error:#}"), "look at the path named")),
    }
    let whole = lines.iter().all(|line| line.ok);
    if json {
        print_json(&lines)?;
    } else {
        let widest = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        for line in &lines {
            print(format_args!("{} {:<widest$}  {}", if line.ok { "✓" } else { "✗" }, line.name, line.detail))?;
            if !line.ok {
                print(format_args!("    → {}", line.advice))?;
            }
        }
    }
    anyhow::ensure!(whole, "not everything is in place");
    Ok(Outcome::Done)
}

fn bad(name: &str, detail: String, advice: &str) -> Line {
    Line { name: name.to_owned(), ok: false, detail, advice: advice.to_owned() }
}

fn writable(folder: &Path) -> Line {
    let name = "data folder";
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder).map(|_| ()));
    match tried {
        Ok(()) => Line { name: name.to_owned(), ok: true, detail: folder.display().to_string(), advice: String::new() },
        Err(error) => {
            bad(name, format!("{}: {error}", folder.display()), "make it writable, or set `home` (DECKLE_HOME)")
        }
    }
}

/// Loads ONNX Runtime and the embedding model, as a worker would.
async fn runtime(config: &Config) -> Line {
    let (folder, inference) = (config.models(), config.inference());
    let name = "ONNX Runtime";
    let loading = tokio::task::spawn_blocking(move || {
        models::minilm::Embedder::load(&folder, &models::Catalogue::load().embedder().name, &inference)
    })
    .await;
    match loading {
        Ok(Ok(embedder)) => Line {
            name: name.to_owned(),
            ok: true,
            detail: format!("{} on {}", embedder.name(), embedder.provider()),
            advice: String::new(),
        },
        Ok(Err(error)) => bad(name, format!("{error:#}"), "run `make setup`, or set `inference.library`"),
        Err(error) => bad(name, error.to_string(), "the library crashed; see the log"),
    }
}

/// Looks whether workers may start on the store.
async fn store(config: &Config) -> Line {
    let name = "store";
    let found = match config.store.provider {
        StoreProvider::Sqlite => Ok(config.data().join("store.sqlite").display().to_string()),
        StoreProvider::Scylla => {
            let scylla = &config.store.scylla;
            migrations::check(scylla, migrations::ALL).await.map(|found| super::store::in_words(scylla, &found))
        }
    };
    match found {
        Ok(detail) => Line { name: name.to_owned(), ok: true, detail, advice: String::new() },
        Err(failure) => bad(name, failure.to_string(), "`deckle store plan` says more; settings are in `store.scylla`"),
    }
}

/// Writes, reads and removes a blob, as a worker would.
async fn blobs(app: &App) -> Line {
    let name = "blob store";
    let url = &app.config.blobs.url;
    let place = if url.is_empty() { "a folder in the home" } else { url };
    match blob::check(&*app.blobs).await {
        Ok(()) => Line { name: name.to_owned(), ok: true, detail: place.to_owned(), advice: String::new() },
        Err(failure) => {
            bad(name, failure.to_string(), "see that bucket and credentials are right: `blobs.url`, `blobs.options`")
        }
    }
}

/// Reads the keys that passwords are sealed with, where there are any.
fn password_keys(app: &App) -> Line {
    let name = "password keys";
    match app.keyring.describe() {
        Ok(detail) => Line { name: name.to_owned(), ok: true, detail, advice: String::new() },
        Err(failure) => {
            bad(name, failure.to_string(), "name a file of keys that deckle may read: `passwords.keys_file`")
        }
    }
}

async fn native(app: &App) -> Vec<Line> {
    let checks = app.decoders.check().await;
    checks
        .into_iter()
        .map(|check| Line { name: check.name, ok: check.ok, detail: check.detail, advice: check.advice })
        .collect()
}

/// Says which engine reads documents that name no language, having loaded it, and what the networks read at all.
async fn recognition(app: &App) -> Line {
    let name = "ocr";
    let ocr = &app.config.ocr;
    let languages = ocr.languages.join(", ");
    let engines = Engines::new(app.decoders.clone(), app.readers().clone(), ocr.clone());
    let found = match engines.choose(&[]).await {
        Ok(Engine::Tesseract) => Ok("tesseract".to_owned()),
        Ok(Engine::Onnx(script)) => {
            let reader = app.readers().get(script).await;
            reader.map(|reader| format!("{} on {}", reader.weights()[1].0, reader.provider()))
        }
        Err(failure) => Err(failure),
    };
    let known: Vec<&str> = coverage::languages().collect();
    match found {
        Ok(engine) => Line {
            name: name.to_owned(),
            ok: true,
            detail: format!("{engine} for {languages}; the networks read {}", known.join(", ")),
            advice: String::new(),
        },
        Err(failure) => bad(name, failure.to_string(), "run `make setup`, or set `ocr.engine` to \"tesseract\""),
    }
}
