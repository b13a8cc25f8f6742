//! The models deckle knows, one file per family, and the catalogue of their files.
//!
//! The law: weights are part of the result, so a file that is missing or altered is an error at start, never a
//! different answer. `deploy/models.toml` is built into the program and pins every byte.

pub mod computing;
pub mod embedders;
pub mod inference;
pub mod layout;
pub mod minilm;
pub mod on_demand;
pub mod orientation;
pub mod ppocr;

use std::{fs::File, io, path::Path};

pub use crate::inference::Tag;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::inference::Provider;

/// The task of models that turn texts into vectors.
pub const EMBED: &str = "embed";

/// The catalogue of models, as `deploy/models.toml` lists them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// One entry per model.
    #[serde(rename = "model")]
    pub models: Vec<Entry>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// Folder of the model, and its name in events and rows.
    pub name: String,
    /// The code that runs it.
    pub family: String,
    /// The task by which a stage asks for the model.
    pub task: String,
    /// The provider that runs it, where the settings have no say.
    pub provider: Option<Provider>,
    /// Length of its vectors, where it gives vectors.
    pub dimension: Option<u32>,
    /// Longest input, special tokens included, where it reads text.
    pub max_tokens: Option<usize>,
    /// Licence of the weights, as an SPDX expression.
    pub licence: String,
    /// The package that ships the weights, and what was done to them.
    pub source: String,
    /// Inputs of the graph.
    pub inputs: Vec<Tensor>,
    /// Outputs of the graph.
    pub outputs: Vec<Tensor>,
    /// Every file that is loaded.
    pub files: Vec<ModelFile>,
}

/// An input or output of a graph.
#[derive(Debug, Clone, Deserialize)]
pub struct Tensor {
    /// Its name in the graph.
    pub name: String,
    /// Element type, such as `f32`.
    #[serde(rename = "type")]
    pub element: String,
    /// Sizes; words are free dimensions.
    pub shape: Vec<String>,
}

/// A file of a model.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelFile {
    /// Name in the model's folder.
    pub name: String,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: String,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// Whether one file of a model is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Whether the file is there, byte for byte.
    pub ok: bool,
    /// Hash of the file that is there, if one is.
    pub installed_sha256: Option<String>,
    /// The model's licence.
    pub licence: String,
    /// What to do when it is not ok; one line, else empty.
    pub advice: String,
}

impl Catalogue {
    /// The catalogue built into the program.
    #[expect(clippy::expect_used, reason = "compiled in, and a test parses it")]
    pub fn load() -> Self {
        toml::from_str(include_str!("../../deploy/models.toml"))
            .expect("deploy/models.toml is built in, and a test parses it")
    }

    /// The model whose tokens chunks are counted by, and that searches ask where no other was activated.
    #[expect(clippy::expect_used, reason = "compiled in, and a test finds it there")]
    pub fn embedder(&self) -> &Entry {
        let first = self.models.iter().find(|entry| entry.task == EMBED);
        first.expect("deploy/models.toml is built in, and a test finds it there")
    }

    /// The entry of that name.
    pub fn named(&self, name: &str) -> anyhow::Result<&Entry> {
        let found = self.models.iter().find(|entry| entry.name == name);
        found.with_context(|| format!("deploy/models.toml lists no model {name}"))
    }

    /// The entry of a model that embeds.
    pub fn embedder_named(&self, name: &str) -> anyhow::Result<&Entry> {
        let embedders = self.models.iter().filter(|entry| entry.task == EMBED);
        embedders.clone().find(|entry| entry.name == name).with_context(|| {
            let known: Vec<&str> = embedders.map(|entry| entry.name.as_str()).collect();
            format!("no embedding model is named {name}: use one of {}", known.join(", "))
        })
    }
}

impl Entry {
    /// The state of each file in `<models_folder>/<name>`. Reads all bytes: about 0.1 s for 90 MB.
    pub fn verify(&self, models_folder: &Path) -> Vec<ModelStatus> {
        self.files.iter().map(|file| file.verify(self, models_folder)).collect()
    }

    /// Fails, on one line, at the first file that is missing or altered.
    pub fn check(&self, models_folder: &Path) -> anyhow::Result<()> {
        match self.verify(models_folder).into_iter().find(|status| !status.ok) {
            Some(bad) => bail!(bad.advice),
            None => Ok(()),
        }
    }

    /// Fails where the file of that name is missing or altered.
    pub fn check_file(&self, models_folder: &Path, name: &str) -> anyhow::Result<()> {
        let status = self.file(name)?.verify(self, models_folder);
        anyhow::ensure!(status.ok, status.advice);
        Ok(())
    }

    /// The file of that name.
    pub fn file(&self, name: &str) -> anyhow::Result<&ModelFile> {
        let file = self.files.iter().find(|file| file.name == name);
        file.with_context(|| format!("deploy/models.toml lists no {name} for model {}", self.name))
    }
}

impl ModelFile {
    fn verify(&self, entry: &Entry, models_folder: &Path) -> ModelStatus {
        let path = models_folder.join(&entry.name).join(&self.name);
        let (name, shown) = (&entry.name, path.display());
        let (installed_sha256, advice) = match sha256_of(&path) {
            Ok(installed) if installed == self.sha256 => (Some(installed), String::new()),
            Ok(installed) => {
                let advice = format!(
                    "model {name}: {shown} is not the file that deckle knows (sha256 {}…, expected {}…): delete it and run `make setup`",
                    &installed[..12],
                    self.sha256.get(..12).unwrap_or(&self.sha256),
                );
                (Some(installed), advice)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (None, format!("model {name}: {shown} is missing: run `make setup`, or set the folder of models"))
            }
            Err(error) => (None, format!("model {name}: cannot read {shown}: {error}")),
        };
        ModelStatus {
            name: name.clone(),
            file: self.name.clone(),
            ok: advice.is_empty(),
            installed_sha256,
            licence: entry.licence.clone(),
            advice,
        }
    }
}

/// The state of every file of every model in `models_folder`.
pub fn verify(models_folder: &Path) -> Vec<ModelStatus> {
    Catalogue::load().models.iter().flat_map(|entry| entry.verify(models_folder)).collect()
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}
