//! What a decoder of one format offers. A new format is a file that implements [`Format`], and its line in
//! [`super::formats`].

use super::{Check, Config, Opened, PageContent, request::RenderedPage};
use crate::sandbox::File;
use deckle_contract::{
    document::metadata::DocumentMetadata,
    error::{Failure, Result, code},
};
use deckle_imaging::Pixmap;

/// A question about a file.
pub(crate) struct DecodeRequest<'a> {
    /// The file.
    pub file: &'a File,
    /// One of [`Format::media_types`].
    pub media_type: &'a str,
    /// Of an encrypted file.
    pub password: Option<&'a str>,
    /// Limits and folders.
    pub config: &'a Config,
}

/// A decoder, living in one child; it may keep what it has loaded and opened.
pub(crate) trait Format {
    /// The media types that it reads, as `sniff.rs` names them.
    fn media_types(&self) -> &[&'static str];

    /// What people call them.
    fn names(&self) -> &[&'static str];

    /// Finds out how many pages the file has, or reads all of a file without pages.
    fn open(&mut self, asked: &DecodeRequest<'_>) -> Result<Opened>;

    /// Reads the text layer of a page, counted from 1.
    fn read_page(&mut self, asked: &DecodeRequest<'_>, _page_no: u32) -> Result<PageContent> {
        Err(no_pages(asked))
    }

    /// Reads what the file says of itself; attachments are unpacked and hashed only if asked for.
    fn read_facts(&mut self, _asked: &DecodeRequest<'_>, _look_into_attachments: bool) -> Result<DocumentMetadata> {
        Ok(DocumentMetadata::default())
    }

    /// Renders a page, counted from 1, upright; in grey, or in colour where it has pictures in colour.
    fn render_page(&mut self, asked: &DecodeRequest<'_>, _page_no: u32) -> Result<(RenderedPage, Pixmap)> {
        Err(no_pages(asked))
    }

    /// Whether what it needs is in place; `None` when it needs nothing.
    fn check(&mut self, _config: &Config) -> Option<Check> {
        None
    }
}

/// What deckle reads, for messages: `PDF, PNG, JPEG, …, plain text and Markdown`.
pub(crate) fn names(formats: &[Box<dyn Format>]) -> String {
    let names: Vec<&str> = formats.iter().flat_map(|format| format.names()).copied().collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn no_pages(asked: &DecodeRequest<'_>) -> Failure {
    Failure::rejected(code::UNSUPPORTED_TYPE, format!("a file of type {} has no pages", asked.media_type))
}
