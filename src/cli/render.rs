//! Writing results as files: Markdown for people, DoclingDocument JSON for programs.

mod folder;
mod names;
mod written;

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use clap::ValueEnum;

use super::inputs::Input;
use crate::{
    app::App,
    contract::{
        document::{Document, docling, markdown},
        error::Failure,
    },
    store::PublishedVersion,
};
pub(super) use folder::Folder;
pub(super) use names::Names;
pub(super) use written::Written;

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

/// The document that a header's current run names.
///
/// # Errors
/// When the blob store is away or the run has no content.
pub(super) async fn document(app: &App, current: &PublishedVersion) -> anyhow::Result<Document> {
    let blob = current.document.as_ref().context("this run has no content")?;
    Ok(serde_json::from_slice(&app.blobs.get(blob).await?)?)
}

/// Names for what is read together: no two are one, and none is that of a file that is read.
pub(super) fn names<'a>(inputs: impl Iterator<Item = &'a Input>, formats: &[Format], folder: &Folder) -> Names {
    Names::new(inputs, |stem| {
        formats.iter().any(|format| folder.is_read(&names::with_ending(stem, format.extension())))
    })
}

/// Writes all forms of a document, each as a whole or not at all; beside the Markdown of `a.pdf` its pictures, as
/// `a.figures/1.png` and so on. Gives what could not be written, and why.
///
/// # Errors
/// When the blob store is away, which no other document would get by.
pub(super) async fn write(
    app: &App,
    current: &PublishedVersion,
    input: &Input,
    names: &Names,
    formats: &[Format],
    folder: &mut Folder,
) -> anyhow::Result<Vec<anyhow::Error>> {
    let document = match document(app, current).await {
        Ok(document) => document,
        Err(error) if is_away(&error) => return Err(error),
        Err(error) => return Ok(vec![error.context(format!("the exports of {}", input.path.display()))]),
    };
    let mut failed = Vec::new();
    for format in formats {
        match write_form(app, &document, input, names, *format, folder).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    Ok(failed)
}

fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref::<Failure>(), Some(Failure::Unavailable { .. })))
}

async fn write_form(
    app: &App,
    document: &Document,
    input: &Input,
    names: &Names,
    format: Format,
    folder: &mut Folder,
) -> anyhow::Result<()> {
    let text = match format {
        Format::Md => {
            let links = write_figures(app, document, &names.figures(input), folder).await?;
            markdown::to_markdown_with_figures(document, |block| links.get(&block.image.as_ref()?.sha256).cloned())
        }
        Format::Json => format.render(document)?,
    };
    folder.write(&names.of(input, format), text.as_bytes())
}

/// Writes a document's pictures beside its Markdown and gives the link to each, by its hash: equal ones are one file.
/// The link to a folder whose name is not UTF-8 has U+FFFD in it.
async fn write_figures(
    app: &App,
    document: &Document,
    place: &Path,
    folder: &mut Folder,
) -> anyhow::Result<HashMap<String, String>> {
    let name = place.file_name().context("an export has a name")?.to_string_lossy().into_owned();
    let mut links = HashMap::new();
    for image in document.blocks.iter().filter_map(|block| block.image.as_ref()) {
        if links.contains_key(&image.sha256) {
            continue;
        }
        let file = format!("{}.png", links.len() + 1);
        folder.write(&place.join(&file), &app.blobs.get(image).await?)?;
        links.insert(image.sha256.clone(), format!("{name}/{file}"));
    }
    Ok(links)
}
