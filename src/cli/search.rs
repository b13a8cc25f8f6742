//! `deckle search`: the passages that answer a question, by meaning and by words.

use clap::ValueEnum;

use super::{
    Context, Outcome, print, print_json,
    table::{self, Fit},
    time,
};
use crate::{
    app::App,
    store::{Hit, Query, QueryVector, SearchFilter},
};

/// Find the passages that answer a question, by what they mean and by their words.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  deckle search when does the museum open on Sundays
  deckle search INV-2024-001 --mode keyword
  deckle search \"spare parts\" --k 3 --json
  deckle search overtime --type pdf --since 30d --attribute department=sales
  deckle search salaries --tenant acme --access user:kim --access group:managers

In a keyword search one of the words is enough, and rare ones count more. What stands in double
quotes inside the question must be there as it stands: deckle search '\"net 30 days\"'.")]
pub(super) struct Args {
    /// A question, a sentence or a few words.
    #[arg(required = true)]
    words: Vec<String>,
    /// Passages at most.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    k: u16,
    /// What finds a passage.
    #[arg(long, value_enum, default_value_t = Mode::Hybrid)]
    mode: Mode,
    /// Only documents of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only documents in this language (BCP 47, such as `de`); may be repeated.
    #[arg(long = "language", value_name = "TAG")]
    languages: Vec<String>,
    /// Only files of this type: `pdf`, `image/*` or any media type; may be repeated.
    #[arg(long = "type", value_name = "TYPE", value_parser = media_type)]
    media_types: Vec<String>,
    /// Only documents published then or later: `2026-11-21`, `2026-11-21T08:00:00Z`, or so long ago: `24h`, `7d`.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// Only documents published before.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
    /// Only documents that were uploaded with this attribute; may be repeated, and all must be there.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Only what this principal may see, or another one named so; without it everything is searched.
    #[arg(long, value_name = "PRINCIPAL")]
    access: Vec<String>,
}

/// What finds a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Meaning and words; what both find comes first.
    Hybrid,
    /// Nearness in meaning.
    Vector,
    /// Words, as they are typed.
    Keyword,
}

fn media_type(text: &str) -> Result<String, String> {
    table::media_type(text).ok_or_else(|| "a media type (application/pdf), or its name in `deckle list`".to_owned())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(context: Context, args: Args) -> anyhow::Result<Outcome> {
    let json = context.json;
    let app = context.open()?;
    let question = args.words.join(" ");
    let query = Query {
        vector: if args.mode == Mode::Keyword { None } else { Some(embed(&app, &question).await?) },
        keywords: (args.mode != Mode::Vector).then_some(question),
        filter: SearchFilter {
            tenant: args.tenant,
            languages: args.languages,
            media_types: args.media_types,
            since: args.since,
            until: args.until,
            attributes: args.attributes.into_iter().collect(),
            access: (!args.access.is_empty()).then_some(args.access),
        },
        k: usize::from(args.k),
    };
    let hits = app.store.search(&query).await?;
    if json {
        let hits: Vec<_> = hits.iter().map(for_programs).collect();
        print_json(&hits)?;
        return Ok(Outcome::Done);
    }
    if hits.is_empty() {
        let is_narrow = args.mode == Mode::Keyword || query.filter != SearchFilter::default();
        print(if is_narrow {
            "no passage is so"
        } else {
            "nothing to search yet; bring documents in with `deckle process FILE`"
        })?;
        return Ok(Outcome::Done);
    }
    let mut rows = table::Rows::new(&[
        ("meaning", Fit::Keep),
        ("words", Fit::Drop(1)),
        ("document", Fit::Wrap),
        ("page", Fit::Keep),
        ("passage", Fit::Wrap),
    ]);
    for hit in &hits {
        rows.add(vec![
            table::number(hit.similarity.map(|cosine| format!("{cosine:.3}"))),
            table::number(hit.keyword_score.map(|score| format!("{score:.1}"))),
            table::text(&hit.filename),
            table::number(hit.first_locator().and_then(|locator| locator.page_no)),
            table::text(snippet(hit)),
        ]);
    }
    print(rows)?;
    Ok(Outcome::Done)
}

async fn embed(app: &App, question: &str) -> anyhow::Result<QueryVector> {
    let embedder = app.embedder().await?;
    let embedding = embedder.embed(question).await?;
    Ok(QueryVector { model: embedder.name().to_owned(), vector: embedding.vector })
}

fn for_programs(hit: &Hit) -> serde_json::Value {
    serde_json::json!({
        "tenant": hit.key.tenant,
        "document_id": hit.key.document_id,
        "filename": hit.filename,
        "page_no": hit.first_locator().and_then(|locator| locator.page_no),
        "chunk_no": hit.chunk.chunk_no,
        "score": hit.score,
        "similarity": hit.similarity,
        "keyword_score": hit.keyword_score,
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
