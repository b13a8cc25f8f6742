//! Writing results as files: Markdown for people, DoclingDocument JSON for programs.

use std::{
    collections::HashMap,
    io::Write,
    path::{Component, Path, PathBuf},
};

use anyhow::Context;
use clap::ValueEnum;

use super::submit::Input;
use crate::{
    app::App,
    contract::document::{Document, docling, markdown},
    store::PublishedVersion,
};

/// A form of export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Markdown.
    Md,
    /// DoclingDocument JSON.
    Json,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Md => "md",
            Self::Json => "json",
        }
    }

    /// Renders a document.
    pub(super) fn render(self, document: &Document) -> anyhow::Result<String> {
        Ok(match self {
            Self::Md => markdown::to_markdown(document),
            Self::Json => serde_json::to_string_pretty(&docling::to_docling(document))?,
        })
    }
}

/// Names exports after their inputs: `a.pdf` becomes `a.md`, but `a.pdf.md` where `a.png` is there as well, and
/// `x/a.pdf.md` where two arguments have an `a.pdf` each.
pub(super) struct Names {
    stems: HashMap<PathBuf, usize>,
    relatives: HashMap<PathBuf, usize>,
    folder: PathBuf,
}

impl Names {
    /// Names below a folder, for these inputs.
    pub(super) fn new<'a>(folder: &Path, inputs: impl IntoIterator<Item = &'a Input>) -> Self {
        let (mut stems, mut relatives) = (HashMap::new(), HashMap::new());
        for input in inputs {
            *stems.entry(input.relative.with_extension("")).or_default() += 1;
            *relatives.entry(input.relative.clone()).or_default() += 1;
        }
        Self { stems, relatives, folder: folder.to_owned() }
    }

    /// Where an export of this input goes.
    pub(super) fn of(&self, input: &Input, format: Format) -> PathBuf {
        let stem = input.relative.with_extension("");
        let is_alone = |names: &HashMap<PathBuf, usize>, name: &Path| names.get(name).is_none_or(|count| *count == 1);
        let mut name = if is_alone(&self.stems, &stem) {
            stem.into_os_string()
        } else if is_alone(&self.relatives, &input.relative) {
            input.relative.clone().into_os_string()
        } else {
            let below = input.path.components().filter(|part| matches!(part, Component::Normal(_)));
            below.collect::<PathBuf>().into_os_string()
        };
        name.push(".");
        name.push(format.extension());
        self.folder.join(name)
    }
}

/// The document that a header's current run names.
///
/// # Errors
/// When the blob store is away or the run has no content.
pub(super) async fn document(app: &App, current: &PublishedVersion) -> anyhow::Result<Document> {
    let blob = current.document.as_ref().context("this run has no content")?;
    Ok(serde_json::from_slice(&app.blobs.get(blob).await?)?)
}

/// Writes all forms of a document, each as a whole or not at all; beside the Markdown of `a.pdf` its pictures, as
/// `a.figures/1.png` and so on.
///
/// # Errors
/// When a file cannot be written, or the blob store is away.
pub(super) async fn write(
    app: &App,
    current: &PublishedVersion,
    input: &Input,
    names: &Names,
    formats: &[Format],
) -> anyhow::Result<()> {
    let document = document(app, current).await?;
    for format in formats {
        let path = names.of(input, *format);
        let text = match format {
            Format::Md => {
                let links = write_figures(app, &document, &path).await?;
                markdown::to_markdown_with_figures(&document, |block| links.get(&block.image.as_ref()?.sha256).cloned())
            }
            Format::Json => format.render(&document)?,
        };
        write_whole(&path, text.as_bytes()).with_context(|| format!("the export {}", path.display()))?;
    }
    Ok(())
}

/// Writes a document's pictures beside its Markdown and gives the link to each, by its hash: equal ones are one file.
async fn write_figures(app: &App, document: &Document, markdown: &Path) -> anyhow::Result<HashMap<String, String>> {
    let folder = markdown.with_extension("figures");
    let name = folder.file_name().context("an export has a name")?.to_string_lossy().into_owned();
    let mut links = HashMap::new();
    for image in document.blocks.iter().filter_map(|block| block.image.as_ref()) {
        if links.contains_key(&image.sha256) {
            continue;
        }
        let file = format!("{}.png", links.len() + 1);
        let path = folder.join(&file);
        let bytes = app.blobs.get(image).await?;
        write_whole(&path, &bytes).with_context(|| format!("the picture {}", path.display()))?;
        links.insert(image.sha256.clone(), format!("{name}/{file}"));
    }
    Ok(links)
}

/// Writes a file, unless it is there already.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = path.parent().context("an export lies in a folder")?;
    std::fs::create_dir_all(folder)?;
    // One name for each export: what a kill leaves behind is written over by the next attempt.
    let name = path.file_name().context("an export has a name")?;
    let draft = folder.join(format!(".{}.part", name.to_string_lossy()));
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(())
}
