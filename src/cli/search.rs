//! `deckle search`: the passages nearest in meaning.

use super::{
    Context, Outcome, print_json, say,
    table::{self, Fit},
};
use crate::store::{Hit, Query};

/// Find the passages nearest in meaning to a question.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle search when does the museum open on Sundays
  deckle search \"spare parts\" --k 3 --json")]
pub struct Args {
    /// A question, a sentence or a few words.
    #[arg(required = true)]
    words: Vec<String>,
    /// Passages at most.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: u16,
}

pub async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let embedder = app.embedder().await?;
    let question = embedder.embed(&args.words.join(" ")).await?;
    let query =
        Query { model: embedder.name().to_owned(), vector: question.vector, k: usize::from(args.k), tenant: None };
    let hits = app.store.search(&query).await?;
    if json {
        let hits: Vec<_> = hits.iter().map(for_programs).collect();
        print_json(&hits)?;
        return Ok(Outcome::Done);
    }
    if hits.is_empty() {
        say("nothing to search yet; bring documents in with `deckle process FILE`")?;
        return Ok(Outcome::Done);
    }
    let mut rows =
        table::Rows::new(&[("score", Fit::Keep), ("document", Fit::Wrap), ("page", Fit::Keep), ("passage", Fit::Wrap)]);
    for hit in &hits {
        rows.add(vec![
            table::number(Some(format!("{:.3}", hit.score))),
            table::text(&hit.filename),
            table::number(hit.first_locator().and_then(|locator| locator.page_no)),
            table::text(snippet(hit)),
        ]);
    }
    say(rows)?;
    Ok(Outcome::Done)
}

fn for_programs(hit: &Hit) -> serde_json::Value {
    serde_json::json!({
        "document_id": hit.key.document_id,
        "filename": hit.filename,
        "page_no": hit.first_locator().and_then(|locator| locator.page_no),
        "chunk_no": hit.chunk.chunk_no,
        "score": hit.score,
        "headings": hit.chunk.headings,
        "text": hit.chunk.text,
        "prov": hit.chunk.prov,
    })
}

/// The start of a passage on one line, under its nearest heading.
fn snippet(hit: &Hit) -> String {
    const CHARACTERS: usize = 200;
    let words = hit.chunk.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text: String = words.chars().take(CHARACTERS).collect();
    if text.len() < words.len() {
        text.push('…');
    }
    match hit.chunk.headings.last() {
        Some(heading) => format!("{heading}: {text}"),
        None => text,
    }
}
