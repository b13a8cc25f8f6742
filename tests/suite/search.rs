//! Searching finds what was read: the sentence itself first, what a person would ask among the first.

use std::collections::BTreeSet;

use deckle::{
    app::App,
    contract::record::{Envelope, Event, Lane, Options, Published, Source, Uploaded, wire},
    log::{NewRecord, Topic},
    store::{Hit, Query, QueryVector},
};
use serde_json::{Value, json};

use crate::support::{self, Home, Started};

#[tokio::test(flavor = "multi_thread")]
async fn a_sentence_is_found_first_and_a_paraphrase_within_three() {
    let home = Home::new();
    home.deckle(["process".as_ref(), support::samples().as_os_str()]).await.ended(0);
    let truth = support::truth();
    let cases = truth["search"].as_array().unwrap();
    assert!(!cases.is_empty());
    let app = home.app();
    let mut missed = Vec::new();
    for case in cases {
        let [sentence, paraphrase, document] =
            ["sentence", "paraphrase", "document"].map(|name| case[name].as_str().unwrap());
        let hits = search(&app, sentence).await;
        let is_it = |hit: &Value| hit["filename"] == document && holds(hit, sentence);
        if !is_it(&hits[0]) {
            missed.push(format!("{document}: {sentence:?} gave {}", brief(&hits[0])));
        }
        let Some(chunk) = hits.iter().find(|hit| is_it(hit)) else { continue };
        let hits = search(&app, paraphrase).await;
        let found = hits
            .iter()
            .take(3)
            .any(|hit| hit["document_id"] == chunk["document_id"] && hit["chunk_no"] == chunk["chunk_no"]);
        if !found {
            let first: Vec<_> = hits.iter().take(3).map(brief).collect();
            missed.push(format!("{document}: {paraphrase:?} gave {first:?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {}: {missed:#?}", missed.len(), 2 * cases.len());
}

/// What `deckle search` prints, without a process and a model for each question; the test below holds both equal.
async fn search(app: &App, words: &str) -> Vec<Value> {
    let embedder = app.embedder().await.unwrap();
    let vector = embedder.embed(words).await.unwrap().vector;
    let vector = QueryVector { model: embedder.name().to_owned(), vector };
    let query = Query { vector: Some(vector), keywords: Some(words.to_owned()), k: 10, ..Query::default() };
    let hits = app.store.search(&query).await.unwrap();
    let for_programs = |hit: &Hit| {
        json!({
            "document_id": hit.key.document_id, "filename": hit.filename, "chunk_no": hit.chunk.chunk_no,
            "score": hit.score, "text": hit.chunk.text,
        })
    };
    hits.iter().map(for_programs).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_the_store_finds_best_first() {
    let home = Home::new();
    home.deckle(["process".as_ref(), support::samples().join("handbook.pdf").as_os_str()]).await.ended(0);
    let words = "How do I fix a flat bike wheel?";
    let ran = home.deckle(["search", words, "--json", "--k", "5"]).await.ended(0);
    let Value::Array(printed) = ran.json() else { panic!("hits are a list: {ran:?}") };
    let found = search(&home.app(), words).await;
    assert_eq!(printed.len(), 5);
    for (printed, found) in printed.iter().zip(&found) {
        assert_eq!((&printed["chunk_no"], &printed["text"]), (&found["chunk_no"], &found["text"]));
        assert_eq!(printed["filename"], "handbook.pdf");
        assert!(printed["page_no"].as_i64().is_some_and(|page_no| (1..=4).contains(&page_no)), "{printed}");
    }
    let scores: Vec<f64> = printed.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let table = home.deckle(["search", words]).await.ended(0).stdout;
    assert!(table.contains("handbook.pdf") && table.contains("Bicycle repair"), "{table}");
}

/// Whether a passage holds a sentence; recognised text may have a word in twenty wrong.
fn holds(hit: &Value, sentence: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|it| !it.is_empty()).map(str::to_lowercase).collect()
    };
    let held: BTreeSet<String> = words(hit["text"].as_str().unwrap()).into_iter().collect();
    let asked = words(sentence);
    let found = asked.iter().filter(|word| held.contains(*word)).count();
    found * 100 >= asked.len() * 90
}

fn brief(hit: &Value) -> String {
    let text: String = hit["text"].as_str().unwrap().chars().take(70).collect();
    format!("{:.3} {} {} {text:?}", hit["score"].as_f64().unwrap(), hit["filename"], hit["chunk_no"])
}

#[tokio::test(flavor = "multi_thread")]
async fn before_anything_was_read_search_says_so() {
    let home = Home::new();
    let ran = home.deckle(["search", "anything"]).await.ended(0);
    assert!(ran.stdout.contains("deckle process"), "{ran:?}");
    assert_eq!(home.deckle(["search", "anything", "--json"]).await.ended(0).json(), Value::Array(Vec::new()));
}

/// What a producer sends: a text of a tenant, with its attributes and who may see it.
fn upload(tenant: &str, name: &str, text: &str, attributes: &[(&str, &str)], access: &[&str]) -> NewRecord {
    let mut envelope = Envelope::new(uuid::Uuid::now_v7().to_string(), tenant, "", Lane::Interactive);
    envelope.upload_id = name.to_owned();
    envelope.attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    envelope.access = access.iter().map(|principal| (*principal).to_owned()).collect();
    let source = Source { uri: format!("inline:{name}"), filename: name.to_owned(), ..Source::unknown() };
    let upload = Uploaded { envelope, source, options: Options::default(), content: Some(text.as_bytes().to_vec()) };
    NewRecord {
        topic: Topic::from(Uploaded::TOPIC),
        key: upload.order_key(),
        headers: wire::headers(&upload, "test", None),
        value: wire::encode(&upload).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_is_typed_and_keeps_to_what_it_may() {
    let home = Home::new();
    let app = home.app();
    let invoice = "Invoice INV-2024-001 of Jürgen Müller. The sum of 4711 pounds is due within thirty days.\n";
    let salaries = "# Salaries\n\nThe salaries of the harbour crew are paid on the last working day of each month.\n";
    let letter = "Sehr geehrte Damen und Herren, hiermit kündigen wir den Vertrag über die Wartung der Heizung zum Jahresende.\n";
    let uploads = vec![
        upload("acme", "invoice.txt", invoice, &[("department", "sales"), ("year", "2024")], &[]),
        upload("acme", "salaries.md", salaries, &[("department", "staff")], &["group:managers", "user:kim"]),
        upload("other", "letter.txt", letter, &[], &[]),
    ];
    app.log.append(uploads).await.unwrap();
    let mut run = Started::new(home.command(["run", "--listen", ""]).stderr(std::process::Stdio::null()));
    support::within("the documents end", async {
        while support::events::<Published>(&app).await.len() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().await.code(), Some(0));

    for (arguments, wanted) in [
        (&["4711", "--mode", "keyword"][..], &["invoice.txt"][..]),
        (&["inv-2024-001", "--mode", "keyword"], &["invoice.txt"]),
        (&["MULLER", "--mode", "keyword"], &["invoice.txt"]),
        (&["\"harbour crew\"", "--mode", "keyword"], &["salaries.md"]),
        (&["\"crew harbour\"", "--mode", "keyword"], &[]),
        (&["kundigen heizung", "--mode", "keyword"], &["letter.txt"]),
        (&["on which day are the wages of the sailors paid", "--mode", "vector", "--k", "1"], &["salaries.md"]),
        (&["money"], &["invoice.txt", "letter.txt", "salaries.md"]),
        (&["money", "--tenant", "acme"], &["invoice.txt", "salaries.md"]),
        (&["money", "--language", "de"], &["letter.txt"]),
        (&["money", "--type", "markdown"], &["salaries.md"]),
        (&["money", "--type", "text/*", "--language", "en"], &["invoice.txt", "salaries.md"]),
        (&["money", "--type", "pdf"], &[]),
        (&["money", "--since", "1h"], &["invoice.txt", "letter.txt", "salaries.md"]),
        (&["money", "--until", "1h"], &[]),
        (&["money", "--attribute", "department=sales", "--attribute", "year=2024"], &["invoice.txt"]),
        (&["money", "--attribute", "department=sales", "--attribute", "year=2023"], &[]),
        (&["money", "--access", "user:lee", "--tenant", "acme"], &["invoice.txt"]),
        (&["salaries", "--access", "user:lee", "--mode", "keyword"], &[]),
        (&["salaries", "--access", "user:lee", "--access", "user:kim", "--mode", "keyword"], &["salaries.md"]),
    ] {
        let ran = home.deckle(["search", "--json"].iter().chain(arguments)).await.ended(0);
        let printed = ran.json();
        let found: BTreeSet<_> =
            printed.as_array().unwrap().iter().map(|hit| hit["filename"].as_str().unwrap()).collect();
        assert_eq!(found, wanted.iter().copied().collect(), "{arguments:?}");
    }
    let table = home.deckle(["search", "4711"]).await.ended(0).stdout;
    let first = table.lines().find(|line| line.contains(".txt") || line.contains(".md"));
    assert!(first.is_some_and(|line| line.contains("invoice.txt")), "what has the number comes first: {table}");
    let nothing = home.deckle(["search", "4712", "--mode", "keyword"]).await.ended(0);
    assert!(nothing.stdout.contains("no passage"), "{nothing:?}");
    for mistake in [["--since", "soon"], ["--attribute", "department"], ["--type", "papyrus"], ["--mode", "magic"]] {
        let refused = home.deckle(["search", "money"].iter().chain(&mistake)).await.ended(2);
        assert!(refused.stderr.contains(mistake[0]), "{refused:?}");
    }
}
