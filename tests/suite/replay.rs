//! A second model beside the first: documents that are published get its vectors from what is stored, whatever is killed
//! meanwhile, and no search ever sees vectors of both.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deckle::{
    app::App,
    contract::{
        document::{BlobRef, Chunk},
        error::Failure,
        record::{Assembled, DeadLetter, Enriched, Envelope, Event, Lane, Published, Source, Status, wire},
    },
    log::{NewRecord, Topic},
    models::Catalogue,
    runtime::replay::{Choice, Survey, survey},
    store::{
        Completion, DocumentKey, Header, ModelState, PublishedVersion, Query, QueryVector, RunKey, SearchFilter,
        VectorSpace, change_models,
    },
    structure::chunking,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncBufReadExt;

use crate::support::{self, Home, Started, servers};

const OLD: &str = "all-MiniLM-L6-v2";
const NEW: &str = "all-MiniLM-L6-v2-int8";

/// How often a state that nobody announces is looked at.
const LOOK: Duration = Duration::from_millis(20);

fn key(number: i64) -> DocumentKey {
    DocumentKey { tenant: "default".into(), document_id: format!("observation-{number:04}") }
}

fn text(number: i64) -> String {
    const BIRDS: [&str; 7] = ["heron", "kingfisher", "swift", "dipper", "owl", "wren", "crane"];
    let bird = BIRDS[usize::try_from(number).unwrap() % BIRDS.len()];
    format!("On day {number} a {bird} was seen near the weir for {} minutes.", number * 7 % 60)
}

fn source(number: i64) -> Source {
    Source { filename: format!("{number}.txt"), media_type: "text/plain".into(), ..Source::unknown() }
}

fn blob() -> BlobRef {
    BlobRef { key: "default/none".into(), sha256: "0".repeat(64), size_bytes: 1, media_type: "application/json".into() }
}

/// Publishes a document of one chunk as the stages would, embedded by the old model.
async fn publish(app: &App, number: i64) {
    let embedder = app.embedders().get(OLD).await.unwrap();
    let chunk = Chunk { chunk_no: 0, headings: Vec::new(), text: text(number), prov: Vec::new(), token_count: 20 };
    let vector = embedder.embed(&chunk.embedded_text()).await.unwrap().vector;
    let space = VectorSpace { model: OLD.into(), chunking: chunking::NAME.into(), dimension: 384, normalized: true };
    let (key, run) = (key(number), 1_000 + number);
    let run_key = RunKey { document: key.clone(), run };
    app.store.put_chunks(&run_key, run, &[chunk]).await.unwrap();
    app.store.put_vectors(&run_key, run, &space, &[(0, vector)]).await.unwrap();
    let current = PublishedVersion {
        run,
        version: run,
        status: Status::Published,
        fingerprint: "f".into(),
        source: source(number),
        page_count: 0,
        failed_pages: 0,
        block_count: 1,
        chunk_count: 1,
        language: "en".into(),
        title: None,
        confidence: None,
        document: Some(blob()),
        figure_count: 0,
        field_count: 0,
        attributes: BTreeMap::new(),
        access: Vec::new(),
        reasons: Vec::new(),
        published_at: run,
        trail: Vec::new(),
    };
    app.store.set_current(&key, &current).await.unwrap();
    let ended = Completion {
        run,
        version: run,
        upload_id: format!("upload-{number}"),
        fingerprint: "f".into(),
        event_id: format!("event-{number}"),
        status: Status::Published,
        source: source(number),
        reasons: Vec::new(),
        at: run,
    };
    app.store.put_ended(&key, &ended).await.unwrap();
}

async fn publish_all(app: &App, count: i64) {
    stream::iter(0..count).map(|number| publish(app, number)).buffer_unordered(32).collect::<Vec<_>>().await;
}

fn worker(home: &Home, arguments: &[&str]) -> Started {
    let complaints = std::fs::File::options().create(true).append(true).open(home.join("stderr")).unwrap();
    let mut command = home.command(["run", "--listen", "127.0.0.1:0"]);
    Started::new(command.args(arguments).stdout(Stdio::null()).stderr(complaints))
}

fn replay(home: &Home) -> Started {
    let mut command = home.command(["replay", "--stage", "language", "--model", NEW, "--json"]);
    Started::new(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

async fn surveyed(app: &App, model: &str) -> Survey {
    survey(&*app.store, &Choice::default(), model).await.unwrap()
}

/// Waits until a model lacks few enough documents.
async fn until_lacking(app: &App, model: &str, at_most: u64) -> u64 {
    support::within(&format!("at most {at_most} without {model}"), async {
        loop {
            let lacking = surveyed(app, model).await.lacking;
            if lacking <= at_most {
                return lacking;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

fn question(model: &str, vector: Vec<f32>, k: usize) -> Query {
    let vector = Some(QueryVector { model: model.to_owned(), vector });
    Query { vector, keywords: None, filter: SearchFilter::default(), k }
}

/// Searches without a pause until told to stop: every hit must have the score of the model that was asked. Returns how
/// many searches asked each.
async fn search_all_along(app: Arc<App>, documents: i64, stop: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for number in (0..).map(|at: i64| at * 37 % documents) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let embedder = app.embedder().await.unwrap();
        let vector = embedder.embed(&text(number)).await.unwrap().vector;
        let model = embedder.name().to_owned();
        let hits = app.store.search(&question(&model, vector.clone(), 10)).await.unwrap();
        assert_eq!(hits.len(), 10, "{model} lacks documents");
        assert_eq!(hits[0].chunk.text, text(number), "{model}");
        for hit in hits {
            let run = RunKey { document: hit.key, run: hit.run };
            let stored = app.store.vectors(&run, &model).await.unwrap();
            let own = stored.iter().find(|(chunk_no, _)| *chunk_no == hit.chunk.chunk_no).unwrap();
            let score: f32 = own.1.iter().zip(&vector).map(|(x, y)| x * y).sum();
            let found = hit.similarity.unwrap();
            assert!((score - found).abs() < 1e-4, "{model}: {found} is another's score, not {score}");
        }
        *asked.entry(model).or_default() += 1;
    }
    asked
}

async fn headers(app: &App) -> Vec<Header> {
    support::headers(app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_goes_on_and_no_search_ever_mixes_two_models() {
    let home = Home::new();
    // Partitions of a worker that was killed come free soon.
    home.configure("[log.sqlite]\nlease_ms = 6000\n");
    killed_and_begun_again(home, 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_and_cassandra_a_replay_that_is_killed_goes_on_too() {
    let name = uuid::Uuid::now_v7().simple();
    let log = format!(
        "[log]\nprovider = \"kafka\"\n[log.kafka]\nbrokers = \"{}\"\nprefix = \"test-{name}.\"\nsession_ms = 6000\n",
        servers::shared_kafka(),
    );
    let home = Home::on_cassandra(&servers::shared_cassandra(), &log);
    home.deckle(["topics", "apply"]).await.ended(0);
    home.deckle(["store", "apply"]).await.ended(0);
    killed_and_begun_again(home, 300).await;
}

/// So many documents get a second model's vectors while one searcher never pauses; the command is killed midway, and
/// one of two workers; then the second model takes the place of the first, which is dropped.
async fn killed_and_begun_again(home: Home, documents: u64) {
    let app = Arc::new(home.app());
    publish_all(&app, documents.cast_signed()).await;
    let before = headers(&app).await;
    let stop = Arc::new(AtomicBool::new(false));
    let searcher = tokio::spawn(search_all_along(Arc::clone(&app), documents.cast_signed(), Arc::clone(&stop)));

    // Killed at work: the command, and one of two workers.
    let (mut first, second) = (worker(&home, &[]), worker(&home, &[]));
    let mut killed = replay(&home);
    let lacking = until_lacking(&app, NEW, documents * 9 / 10).await;
    killed.signal(libc::SIGKILL);
    first.signal_group(libc::SIGKILL);
    killed.wait().await;
    first.wait().await;
    assert!(lacking > 0, "it was killed midway");
    let said = home.deckle(["models", "--json"]).await.ended(0).json();
    let states: Vec<_> = said.as_array().unwrap().iter().filter_map(|model| model["state"].as_str()).collect();
    assert_eq!(states, ["active", "building"]);

    // What comes meanwhile gets the vectors of both.
    let inbox = home.join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    support::write_texts(&inbox, 0, 1);
    home.deckle(["ingest", "inbox"]).await.ended(0);

    let report = home.deckle(["replay", "--model", NEW, "--json"]).await.ended(0).json();
    let (embedded, had) = (report["embedded"].as_u64().unwrap(), report["had"].as_u64().unwrap());
    assert!(embedded > 0 && had > 0, "{report}");
    assert!((documents..=documents + 1).contains(&(embedded + had)), "{report}");
    // The replay does not wait for what came meanwhile.
    support::within("what came meanwhile", async {
        while support::records(&app, Published::TOPIC).await.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    for model in [OLD, NEW] {
        assert_eq!(surveyed(&app, model).await, Survey { documents: documents + 1, lacking: 0 }, "{model}");
    }
    let ends = support::records(&app, Published::TOPIC).await.len();
    assert_eq!(ends, 1, "only what was uploaded was published");
    let after = headers(&app).await;
    assert_eq!(after.iter().filter(|header| before.contains(header)).count(), before.len(), "headers moved");

    home.deckle(["models", "activate", NEW]).await.ended(0);
    support::within("a search that asks the new model", async {
        while app.embedder().await.unwrap().name() != NEW {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let answered = search_once(&app).await;
    stop.store(true, Ordering::Relaxed);
    let asked = support::within("the searcher", searcher).await.unwrap();
    println!("searches by model: {asked:?}");
    assert!(asked[OLD] > 10, "it searched all along");
    assert_eq!(answered, NEW);

    // The old set is whole until it is dropped, and the active one cannot be.
    assert_eq!(surveyed(&app, OLD).await.lacking, 0);
    let refused = home.deckle(["models", "drop", NEW]).await.ended(2);
    assert!(refused.stderr.contains("activate"), "{refused:?}");
    home.deckle(["models", "drop", OLD]).await.ended(0);
    assert_eq!(surveyed(&app, OLD).await.lacking, documents + 1);
    assert_eq!(surveyed(&app, NEW).await.lacking, 0);
    assert_eq!(search_once(&app).await, NEW);
    drop(second);
}

/// Searches once; returns the model that was asked.
async fn search_once(app: &App) -> String {
    let embedder = app.embedder().await.unwrap();
    let vector = embedder.embed(&text(7)).await.unwrap().vector;
    let hits = app.store.search(&question(embedder.name(), vector, 1)).await.unwrap();
    assert_eq!(hits[0].chunk.text, text(7));
    embedder.name().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_not_activated_while_documents_lack_its_vectors() {
    let home = Home::new();
    let app = home.app();
    publish_all(&app, 3).await;
    let refused = home.deckle(["models", "activate", NEW]).await.ended(2);
    assert!(refused.stderr.contains("3 published documents have no vectors"), "{refused:?}");
    assert_eq!(app.store.models().await.unwrap().state(NEW), Some(ModelState::Building), "new documents get them");
    assert_eq!(app.store.models().await.unwrap().active(), Some(OLD));
    home.deckle(["models", "activate", NEW, "--force"]).await.ended(0);
    assert_eq!(app.store.models().await.unwrap().active(), Some(NEW));
    let dry = home.deckle(["replay", "--model", NEW, "--dry-run", "--json"]).await.ended(0).json();
    assert_eq!((&dry["documents"], &dry["lacking"], &dry["state"]), (&3.into(), &3.into(), &"active".into()));
    let unknown = home.deckle(["replay", "--model", "no-such-model"]).await.ended(2);
    assert!(unknown.stderr.contains(OLD) && unknown.stderr.contains(NEW), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_to_what_was_chosen_and_to_its_rate() {
    let home = Home::new();
    let app = home.app();
    publish_all(&app, 12).await;
    let running = worker(&home, &["--stage", "language,publish"]);
    std::fs::write(home.join("ids"), "observation-0003\nobservation-0005\nno-such-document\n").unwrap();
    let report = home.deckle(["replay", "--model", NEW, "--documents", "ids", "--json"]).await.ended(0).json();
    assert_eq!((&report["embedded"], &report["had"]), (&2.into(), &0.into()), "{report}");
    assert_eq!(surveyed(&app, NEW).await.lacking, 10);
    for (arguments, embedded) in [
        (["--tenant", "another"], 0),
        // Published in the first second of 1970: nobody asks so late.
        (["--since", "1h"], 0),
        (["--rate", "5"], 10),
        (["--rate", "5"], 0),
    ] {
        let started = std::time::Instant::now();
        let report = home.deckle(["replay", "--model", NEW, "--json"].iter().chain(&arguments)).await.ended(0).json();
        assert_eq!(report["embedded"], embedded, "{arguments:?}: {report}");
        assert!(embedded < 10 || started.elapsed() > Duration::from_millis(1_700), "ten at five a second");
    }
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_embedded_is_left_and_the_rest_is_done() {
    let home = Home::new();
    let app = home.app();
    publish_all(&app, 2).await;
    let letters = worker(&home, &["--stage", "dead_letters"]);
    let mut command = home.command(["replay", "--model", NEW, "--json"]);
    let mut replaying = Started::new(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    support::within("two records", async {
        while support::records(&app, Assembled::TOPIC).await.len() < 2 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let way = asked(0, NEW);
    let letter = DeadLetter {
        stage: "language".into(),
        topic: Assembled::TOPIC.into(),
        partition: 0,
        offset: 0,
        appended_at: 0,
        page_no: None,
        reason: Failure::defect("the model broke").reason("language", None),
        kind: "defect".into(),
        attempts: 1,
        headers: BTreeMap::new(),
        value: wire::encode(&way).unwrap().to_vec(),
        envelope: way.envelope,
    };
    append(&app, &letter).await;
    let mut said = replaying.stderr().lines();
    let left = support::within("word of it", said.next_line()).await.unwrap().unwrap();
    assert!(left.contains("observation-0000") && left.contains("the model broke"), "{left}");
    let running = worker(&home, &["--stage", "language,publish"]);
    assert_eq!(replaying.wait().await.code(), Some(1), "one is left");
    assert!(surveyed(&app, NEW).await.lacking <= 1);
    drop((letters, running));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_on_its_path_when_a_model_is_built_gets_its_vectors_all_the_same() {
    let home = Home::new();
    let app = home.app();
    let inbox = home.join("inbox");
    std::fs::create_dir(&inbox).unwrap();
    support::write_texts(&inbox, 0, 1);
    home.deckle(["ingest", "inbox"]).await.ended(0);
    let mut early = worker(&home, &["--stage", "split,ocr,vision,assemble,language"]);
    support::within("an enriched document", async {
        while support::records(&app, Enriched::TOPIC).await.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    early.signal(libc::SIGTERM);
    early.wait().await;
    let build = |models: &deckle::store::Models| Some(models.build(NEW, &Catalogue::load().embedder().name, 1));
    change_models(&*app.store, build).await.unwrap();

    let late = worker(&home, &["--stage", "language,publish"]);
    support::within("the document's vectors", async {
        while surveyed(&app, NEW).await != (Survey { documents: 1, lacking: 0 }) {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let ways: Vec<Assembled> = support::events(&app).await;
    assert_eq!(ways.iter().map(|way| way.embed_with.clone()).collect::<Vec<_>>(), [vec![], vec![NEW.to_owned()]]);
    assert_eq!(ways[1].envelope.lane, Lane::Bulk);
    assert_eq!(support::events::<Published>(&app).await.len(), 1);
    drop(late);
}

/// Has a published document embedded by a model, as a command would.
fn asked(number: i64, model: &str) -> Assembled {
    let key = key(number);
    let mut envelope = Envelope::new(uuid::Uuid::now_v7().to_string(), &key.tenant, &key.document_id, Lane::Bulk);
    (envelope.run, envelope.version) = (1_000 + number, 1_000 + number);
    Assembled {
        envelope,
        source: source(number),
        page_count: 0,
        failed_pages: 0,
        document: blob(),
        reasons: Vec::new(),
        embed_with: vec![model.to_owned()],
    }
}

async fn append<T: Event>(app: &App, event: &T) {
    let record = NewRecord {
        topic: Topic::from(T::TOPIC),
        key: event.order_key(),
        headers: wire::headers(event, "test", None),
        value: wire::encode(event).unwrap(),
    };
    app.log.append(vec![record]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_that_come_later_touch_nothing_but_what_readers_see() {
    let home = Home::new();
    let app = home.app();
    publish_all(&app, 3).await;
    let before = headers(&app).await;
    let running = worker(&home, &["--stage", "language,publish,dead_letters"]);
    append(&app, &asked(0, NEW)).await;
    // A record whose model nobody has is a dead letter, and ends nothing.
    append(&app, &asked(1, "no-such-model")).await;
    until_lacking(&app, NEW, 2).await;
    support::within("a dead letter", async {
        while app.store.dead_letters(&deckle::store::DeadLetterFilter::default()).await.unwrap().letters.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    let letters = support::letters(&app).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((letters[0].1.as_str(), letters[0].3.as_str()), ("language", "model.unknown"));

    // The same vectors again: of a version that readers do not see, then redriven, in a version of the record's own.
    let made: Vec<Enriched> = support::events(&app).await;
    let [of_first] = &made[..] else { panic!("{made:?}") };
    assert_eq!(of_first.vectors_of, Some(1_000));
    let of = |number: i64, vectors_of: i64, version: i64| {
        let mut event = of_first.clone();
        event.envelope.event_id = uuid::Uuid::now_v7().to_string();
        event.envelope.document_id = key(number).document_id;
        (event.envelope.run, event.envelope.version) = (1_000 + number, version);
        Enriched { vectors_of: Some(vectors_of), ..event }
    };
    append(&app, &of(1, 999, 999)).await;
    append(&app, &of(2, 1_002, 9_999)).await;
    until_lacking(&app, NEW, 1).await;
    let vectors = async |number| {
        let run = RunKey { document: key(number), run: 1_000 + number };
        app.store.vectors(&run, NEW).await.unwrap().len()
    };
    assert_eq!((vectors(0).await, vectors(2).await), (1, 1));
    // Records of one document are worked on in order, so this one is behind the stale one.
    append(&app, &asked(1, NEW)).await;
    until_lacking(&app, NEW, 0).await;
    assert_eq!(headers(&app).await, before, "headers moved");
    assert_eq!(support::events::<Published>(&app).await, [], "something was published");
    drop(running);
}

#[tokio::test]
async fn the_int8_model_gives_nearly_the_vectors_of_f32() {
    let home = Home::new();
    let app = home.app();
    let [old, new] = [app.embedders().get(OLD).await.unwrap(), app.embedders().get(NEW).await.unwrap()];
    assert_eq!(new.provider(), "cpu f32", "OpenVINO is slower with it");
    let texts: Vec<_> = (0..200).map(text).collect();
    let pairs: Vec<(Vec<f32>, Vec<f32>)> = stream::iter(&texts)
        .map(|text| async { Ok::<_, Failure>((old.embed(text).await?.vector, new.embed(text).await?.vector)) })
        .buffered(32)
        .try_collect()
        .await
        .unwrap();
    let cosines: Vec<f32> = pairs.iter().map(|(a, b)| a.iter().zip(b).map(|(x, y)| x * y).sum()).collect();
    let (mean, least) = (cosines.iter().sum::<f32>() / 200.0, cosines.iter().copied().fold(1.0, f32::min));
    println!("cosine to f32: mean {mean}, least {least}");
    assert!(mean > 0.98 && least > 0.96, "mean {mean}, least {least}");
    assert_eq!(old.counter().count_tokens(&texts[0]), new.counter().count_tokens(&texts[0]));
}
