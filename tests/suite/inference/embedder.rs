//! The real model on the real library.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use deckle::{
    contract::record::Lane,
    models::{
        self, Catalogue,
        inference::{Config, Precision, Provider, Tag, onnx, plan::Hardware},
        minilm::Embedder,
    },
};
use futures::future::join_all;

fn load(config: &Config) -> Embedder {
    load_named(&Catalogue::load().embedder().name, config)
}

fn load_named(model: &str, config: &Config) -> Embedder {
    Embedder::load(&onnx::home().join("models"), model, config)
        .unwrap_or_else(|error| panic!("the embedding model does not load ({error:#}): run `make setup`"))
}

/// Providers and precisions that must agree: f32 on either provider, bf16 where the processor has it.
fn configs() -> Vec<Config> {
    let with = |provider, precision| Config { provider, precision, ..Config::default() };
    let mut configs =
        vec![Config::default(), with(Provider::Cpu, Precision::F32), with(Provider::OpenVino, Precision::F32)];
    if Hardware::detect().bf16 {
        configs.push(with(Provider::OpenVino, Precision::Bf16));
    }
    configs
}

async fn vector(embedder: &Embedder, text: &str) -> Vec<f32> {
    embedder.embed(text).await.unwrap().vector
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Texts of 1 to 260 words in no order of length.
fn texts(count: usize) -> Vec<String> {
    let words = ["the", "invoice", "of", "March", "shows", "a", "total", "sum", "payable", "within", "thirty", "days"];
    let text = |n: usize| (0..1 + (n * 97) % 260).map(move |i| words[(i * 7 + n * 5) % words.len()]);
    (0..count).map(|n| text(n).collect::<Vec<_>>().join(" ")).collect()
}

/// Expected values: `forward` in deploy/setup/export_minilm.py, an independent pass in float64.
#[tokio::test]
async fn similarities_are_those_of_an_independent_implementation() {
    for config in configs() {
        let embedder = load(&config);
        assert_eq!(
            (embedder.name(), embedder.dimension(), embedder.counter().max_tokens()),
            ("all-MiniLM-L6-v2", 384, 256)
        );
        let [cat, film, invoice, volcano] = [
            "The cat sat on the mat.",
            "The film was wonderful.",
            "The invoice total is 500 euros.",
            "Volcanoes erupt molten rock.",
        ];
        let [feline, movie, payable] =
            ["A feline was resting on the rug.", "I loved this movie.", "The amount payable is 500 EUR."];
        let pairs = [
            (cat, feline, 0.563),
            (film, movie, 0.689),
            (invoice, payable, 0.661),
            (cat, film, 0.014),
            (movie, payable, -0.099),
            (invoice, volcano, 0.045),
        ];
        for (a, b, expected) in pairs {
            let (left, right) = (vector(&embedder, a).await, vector(&embedder, b).await);
            let similarity = cosine(&left, &right);
            let provider = embedder.provider();
            assert!((similarity - expected).abs() < 0.01, "{provider}: {a} / {b}: {similarity}, expected {expected}");
            assert_eq!(left.len(), 384);
            assert!((cosine(&left, &left) - 1.0).abs() < 1e-5, "not of length 1");
        }
    }
}

#[tokio::test]
async fn a_text_gets_the_same_vector_in_a_batch_of_mixed_lengths_as_alone() {
    let together = load(&Config { max_delay_ms: 50, ..Config::default() });
    let alone = load(&Config { max_batch: Some(std::num::NonZeroUsize::MIN), ..Config::default() });
    let texts = texts(64);
    let batched = join_all(texts.iter().map(|text| together.embed(text))).await;
    for (text, batched) in texts.iter().zip(batched) {
        let similarity = cosine(&batched.unwrap().vector, &vector(&alone, text).await);
        assert!(similarity >= 0.9995, "{similarity} for {} words", text.split(' ').count());
    }
    assert!(together.stats().batches < 40, "the batches did not fill: {:?}", together.stats());
    assert!(together.stats().cost < together.stats().padded_cost, "no batch mixed lengths");
    assert_eq!(alone.stats().mean_batch(), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_documents_fill_batches_together() {
    let embedder = load(&Config { max_delay_ms: 50, ..Config::default() });
    let batches: Arc<Mutex<Vec<BTreeSet<String>>>> = Arc::default();
    let seen = Arc::clone(&batches);
    embedder.observe(move |report| {
        seen.lock().unwrap().push(report.tags.iter().map(ToString::to_string).collect());
    });
    let document = |id: &'static str| {
        let embedder = embedder.clone();
        tokio::spawn(async move {
            let texts: Vec<String> = (0..8).map(|n| format!("chunk {n} of the {id}")).collect();
            let tag = Tag::from(id);
            let chunks = texts.iter().map(|text| embedder.embed_tagged(text, Lane::Bulk, Arc::clone(&tag)));
            join_all(chunks).await.into_iter().all(|chunk| chunk.is_ok())
        })
    };
    let (invoice, letter) = (document("invoice"), document("letter"));
    assert!(invoice.await.unwrap() && letter.await.unwrap());
    let batches = batches.lock().unwrap();
    assert!(batches.iter().any(|tags| tags.len() == 2), "no batch held chunks of both documents: {batches:?}");
    assert!(embedder.stats().mean_batch() >= 4.0, "{:?}", embedder.stats());
}

#[tokio::test]
async fn a_long_text_is_cut_and_the_cut_is_counted() {
    let embedder = load(&Config::default());
    // One token a word, and the two special ones.
    let whole = ["word"; 254].join(" ");
    assert_eq!(embedder.counter().count_tokens(&whole), 256);
    let fits = embedder.embed(&whole).await.unwrap();
    assert_eq!((fits.tokens, fits.truncated_tokens, embedder.truncated_texts()), (256, 0, 0));

    let long = ["word"; 1000].join(" ");
    assert_eq!(embedder.counter().count_tokens(&long), 1002);
    let cut = embedder.embed(&long).await.unwrap();
    assert_eq!((cut.tokens, cut.truncated_tokens, embedder.truncated_texts()), (256, 746, 1));
    assert!(cosine(&fits.vector, &cut.vector) > 0.9999, "the first 256 tokens are the same, the separator too");
}

#[tokio::test]
async fn an_empty_text_has_a_vector_and_a_text_has_a_price() {
    let embedder = load(&Config::default());
    let empty = embedder.embed("").await.unwrap();
    assert_eq!((empty.tokens, empty.vector.len()), (2, 384));
    let [short, long] = [["word"; 10].join(" "), ["word"; 250].join(" ")];
    let (short, long) = (embedder.embed(&short).await.unwrap(), embedder.embed(&long).await.unwrap());
    assert!(short.cpu_us > 0 && long.cpu_us > 3 * short.cpu_us, "{} µs, {} µs", short.cpu_us, long.cpu_us);
    assert_eq!(long.gpu_us, 0);
}

#[test]
fn a_missing_or_altered_file_is_said_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let error = |folder: &Path| {
        let catalogue = Catalogue::load();
        let model = &catalogue.embedder().name;
        Embedder::load(folder, model, &Config::default()).err().unwrap().to_string()
    };

    let missing = error(folder.path());
    assert!(missing.contains("model.onnx is missing: run `make setup`"), "{missing}");

    let model = folder.path().join("all-MiniLM-L6-v2");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("model.onnx"), "not a model").unwrap();
    let altered = error(folder.path());
    assert!(altered.contains("is not the file that deckle knows") && altered.contains("sha256"), "{altered}");
    assert!(!altered.contains('\n') && !missing.contains('\n'));

    let status = models::verify(folder.path());
    assert!(status.iter().all(|file| !file.ok && !file.advice.is_empty() && file.licence == "Apache-2.0"));
    assert!(status[0].installed_sha256.is_some() && status[1].installed_sha256.is_none());
}

#[test]
fn the_installed_models_are_those_of_the_catalogue() {
    let status = models::verify(&onnx::home().join("models"));
    let files: usize = Catalogue::load().models.iter().map(|entry| entry.files.len()).sum();
    assert_eq!(status.len(), files);
    for file in status {
        assert!(file.ok, "{}", file.advice);
    }
}

#[test]
fn a_missing_library_is_said_on_one_line() {
    let config = Config { library: Some("/nowhere/libonnxruntime.so".into()), ..Config::default() };
    let error = onnx::Runtime::load(&config).err().unwrap().to_string();
    assert_eq!(
        error,
        "no ONNX Runtime library at /nowhere/libonnxruntime.so: run `make setup`, or name one as inference.library"
    );
}

#[tokio::test]
async fn idle_sessions_cost_nothing() {
    let embedder = load(&Config::default());
    embedder.embed("warm").await.unwrap();
    let process_cpu = || {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Other tests may run in this process: one quiet second among many will do, and spinning allows none.
    for _ in 0..60 {
        let before = process_cpu();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if process_cpu() - before <= 5 {
            return;
        }
    }
    panic!("never a second with less than 50 ms of processor time: something spins");
}
