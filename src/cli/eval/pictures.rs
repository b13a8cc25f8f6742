//! Pictures of the pages that a report shows.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use bytes::Bytes;

use super::Evaluated;
use crate::{
    app::App,
    cli::whole::{self, Standing},
    contract::document::Page,
    decode::{Decoders, File},
    eval::report::html::{PICTURES, Picture},
    imaging::Pixmap,
    seal::Password,
    store::{DocumentKey, Header},
};

/// Wider pictures are made so narrow: wide enough to read, and small enough for hundreds of them.
const WIDTH_PX: u32 = 1_400;

/// Writes the pictures of all pages that were compared, by page, in the order of the documents.
///
/// # Errors
/// When a folder or file cannot be written, or the blob store is away. A page that cannot be rendered has no picture.
pub(super) async fn write(
    app: &App,
    evaluated: &[Evaluated],
    out: &Path,
) -> anyhow::Result<Vec<BTreeMap<u32, Picture>>> {
    let folder = out.join(PICTURES);
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    whole::remove_abandoned(out);
    whole::remove_abandoned(&folder);
    // Those of the pipeline ended with it.
    let program = std::env::current_exe().context("this program's own path")?;
    let decoders = Decoders::start(&program, app.config.sandbox.clone(), app.config.decode());
    let mut all = Vec::new();
    for (number, it) in (1..).zip(evaluated) {
        let mut pictures = BTreeMap::new();
        if it.found.pages.iter().any(|page| page.page_no.is_some()) {
            let source = Source::open(app, it).await?;
            for page_no in it.found.pages.iter().filter_map(|page| page.page_no) {
                let Some(png) = source.png(app, &decoders, page_no).await? else { continue };
                let name = format!("{number:03}-{page_no}.png");
                let max_pixels = app.config.decode.max_pixels;
                let path = folder.join(&name);
                let written = tokio::task::spawn_blocking(move || reduced(&png, max_pixels, &path)).await?;
                let (width_px, height_px) = written.with_context(|| format!("the picture {name}"))?;
                pictures.insert(page_no, Picture { name, width_px, height_px });
            }
        }
        all.push(pictures);
    }
    decoders.pool().close().await;
    Ok(all)
}

/// A document that was read, and its pages as they were found.
struct Source {
    header: Header,
    pages: BTreeMap<u32, Page>,
    file: File,
    password: Option<Password>,
}

impl Source {
    async fn open(app: &App, it: &Evaluated) -> anyhow::Result<Self> {
        let bytes: Bytes = tokio::fs::read(&it.pair.document).await?.into();
        let sha256 = crate::cli::submit::hashed(&it.pair.document).await?.0;
        let tenant = app.config.tenant.clone();
        let document_id = crate::contract::record::document_id(&tenant, &sha256);
        let run = app.store.document(&DocumentKey { tenant, document_id }).await?;
        let run = run.with_context(|| format!("{} is not in the store", it.pair.name))?;
        let mut pages = BTreeMap::new();
        for row in &run.pages {
            if let Some(blob) = &row.page {
                pages.insert(row.page_no, serde_json::from_slice(&app.blobs.get(blob).await?)?);
            }
        }
        let password = it.pair.password.clone();
        Ok(Self { header: run.header, pages, file: File { sha256, bytes }, password })
    }

    /// The picture that models read, or else a rendering.
    async fn png(&self, app: &App, decoders: &Decoders, page_no: u32) -> anyhow::Result<Option<Bytes>> {
        if let Some(blob) = self.pages.get(&page_no).and_then(|page| page.image.as_ref()) {
            return Ok(Some(app.blobs.get(blob).await?));
        }
        let media_type = self.header.source().map(|source| source.media_type.as_str()).unwrap_or_default();
        let password = self.password.as_ref().map(Password::reveal);
        let rendered = decoders.render_page(&self.file, media_type, page_no, password).await;
        Ok(rendered.ok().map(|rendered| rendered.value.png))
    }
}

/// Writes the picture, made smaller where it is wide; returns its size in pixels.
fn reduced(png: &[u8], max_pixels: u64, path: &Path) -> anyhow::Result<(u32, u32)> {
    let mut picture = Pixmap::from_png(png, max_pixels)?;
    if picture.width > WIDTH_PX {
        let height = u64::from(picture.height) * u64::from(WIDTH_PX) / u64::from(picture.width);
        picture = picture.resized(WIDTH_PX, u32::try_from(height.max(1))?)?;
    }
    whole::write(path, &picture.to_png()?, Standing::Replaced)?;
    Ok((picture.width, picture.height))
}
