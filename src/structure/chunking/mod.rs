//! Chunks along the structure: pieces of a document that an embedding model can read whole.
//!
//! The law: no chunk's [`Chunk::embedded_text`] has more tokens than the limit, and no text of a block outside the
//! page furniture is lost; it stands in a chunk's text or, for headings, in its path.
//!
//! Headings are context: each chunk carries the path of the section it stands in. Paragraphs of one section are merged
//! until they hold half of the limit, since a vector of many small matters is near to none of them; a list stays
//! together where it fits; a table is split between rows with its header repeated; only a block that is longer than the
//! limit is cut, between sentences, then words. Counting is the dear part (a tokenizer run), so each block is counted
//! once and each chunk once more.

mod draft;
mod split;
#[cfg(test)]
mod tests;

use deckle_contract::document::markdown::cell_grid;
use deckle_contract::{
    checkpoint::Checkpoint,
    document::{Block, BlockKind, Chunk},
    error::Result,
};
use draft::{Packer, Unit};

/// The chunking's name and parameters; part of the key of every vector, so it changes with the result.
pub const NAME: &str = "structure-v1/256/128";

/// Cuts blocks in reading order into chunks of at most `limit` tokens by `count`, numbered from 0.
///
/// `count` gives the tokens of a text as the model would read it, special tokens included; it is called about twice a
/// block. Page furniture and pictures without text are left out. The checkpoint is asked at each block, each row of a
/// table, and within long texts.
///
/// # Errors
/// What the checkpoint says.
pub fn chunk(
    blocks: &[Block],
    limit: usize,
    count: &dyn Fn(&str) -> usize,
    checkpoint: Checkpoint<'_>,
) -> Result<Vec<Chunk>> {
    let mut packer = Packer::new(limit, count, checkpoint);
    let mut rest = blocks.iter().filter(|block| !block.kind.is_furniture()).peekable();
    while let Some(block) = rest.next() {
        checkpoint.pass()?;
        match block.kind {
            BlockKind::Title => packer.heading(0, &block.text, &block.prov)?,
            BlockKind::SectionHeader => packer.heading(block.level.unwrap_or(1).max(1), &block.text, &block.prov)?,
            BlockKind::ListItem => {
                let mut list = vec![packer.unit(list_item(block), "\n", &block.prov)];
                while let Some(item) = rest.next_if(|next| next.kind == BlockKind::ListItem) {
                    list.push(packer.unit(list_item(item), "\n", &item.prov));
                }
                packer.together(list)?;
            }
            BlockKind::Table if block.table.is_some() => table(&mut packer, block)?,
            BlockKind::Code => packer.verbatim(block.text.trim_matches('\n'), &block.prov)?,
            _ => packer.verbatim(block.text.trim(), &block.prov)?,
        }
    }
    packer.finish()
}

/// A list item as a line of text, its own marker in front, indented by its nesting.
fn list_item(block: &Block) -> String {
    let indent = "  ".repeat(usize::from(block.level.unwrap_or(1).saturating_sub(1).min(8)));
    let marker = block.marker.as_deref().map_or("-", str::trim);
    let marker = if marker.chars().any(char::is_alphanumeric) { marker } else { "-" };
    format!("{indent}{marker} {}", block.text.trim())
}

/// A table as pipe rows: whole where it fits, else in runs of rows below the repeated header.
fn table(packer: &mut Packer<'_>, block: &Block) -> Result<()> {
    let Some(table) = &block.table else { return Ok(()) };
    let mut rows: Vec<String> = cell_grid(table)
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
                .collect();
            format!("| {} |", cells.join(" | "))
        })
        .collect();
    if rows.is_empty() {
        return packer.verbatim(block.text.trim(), &block.prov);
    }
    // One dash a column is a whole GFM rule, and a tokenizer counts every dash.
    let header = format!("{}\n|{}", rows.remove(0), "-|".repeat(table.columns as usize));
    let whole = packer.unit(
        std::iter::once(&header).chain(&rows).map(String::as_str).collect::<Vec<_>>().join("\n"),
        "\n\n",
        &block.prov,
    );
    if packer.fits_alone(&whole) || rows.is_empty() {
        return packer.add(whole);
    }
    let header: Unit = packer.unit(header, "\n\n", &block.prov);
    let rows: Vec<Unit> = rows.into_iter().map(|row| packer.unit(row, "\n", &block.prov)).collect();
    packer.rows(header, rows)
}
