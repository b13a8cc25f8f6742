//! Embedding texts through the batching pool, beside one by one, in the same run and on the same sessions' count.
//!
//! Criterion reports wall time; processor time is printed at the end, since only it can be trusted on a shared machine.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench stops where something is missing, and prints what it measured"
)]

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use deckle::models::{
    Catalogue,
    inference::{Config, onnx},
    minilm::Embedder,
};
use futures::future::join_all;

/// Texts per iteration.
const TEXTS: usize = 64;

/// Texts of `from..to` words, each length as likely as the other.
fn texts(from: usize, to: usize) -> Vec<String> {
    let words = ["the", "invoice", "of", "March", "shows", "a", "total", "sum", "payable", "within", "thirty", "days"];
    let length = |n: usize| from + (n * 7919) % (to - from);
    let text = |n: usize| (0..length(n)).map(move |i| words[(i * 7 + n * 5) % words.len()]);
    (0..TEXTS).map(|n| text(n).collect::<Vec<_>>().join(" ")).collect()
}

fn process_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, and the pointer is to one.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Sequences per second of wall time and of processor time.
#[derive(Default)]
struct Spent {
    sequences: f64,
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let load = |max_batch| {
        let config = Config { max_batch: NonZeroUsize::new(max_batch), ..Config::default() };
        let catalogue = Catalogue::load();
        let model = &catalogue.embedder().name;
        Embedder::load(&onnx::home().join("models"), model, &config).expect("run `make setup` first")
    };
    // 0 is no limit of its own.
    let embedders = [("one by one", load(1)), ("batched", load(0))];
    let mut lines = Vec::new();
    for (name, texts) in [("sentences of 8 to 40 words", texts(8, 40)), ("chunks of 100 to 240 words", texts(100, 240))]
    {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(TEXTS as u64));
        let mut speeds = Vec::new();
        for (way, embedder) in &embedders {
            let mut spent = Spent::default();
            group.bench_function(*way, |bencher| {
                bencher.iter_custom(|iterations| {
                    let (started, cpu) = (Instant::now(), process_cpu());
                    for _ in 0..iterations {
                        let answers = runtime.block_on(join_all(texts.iter().map(|text| embedder.embed(text))));
                        assert!(answers.iter().all(Result::is_ok), "a text failed");
                    }
                    let wall = started.elapsed();
                    spent.sequences += (iterations * TEXTS as u64) as f64;
                    spent.wall += wall;
                    spent.cpu += process_cpu() - cpu;
                    wall
                });
            });
            if spent.sequences > 0.0 {
                let (wall, cpu) =
                    (spent.sequences / spent.wall.as_secs_f64(), spent.sequences / spent.cpu.as_secs_f64());
                lines.push(format!("{name}, {way}: {cpu:.0} sequences per CPU-second, {wall:.0} per second"));
                speeds.push(cpu);
            }
        }
        if let [alone, batched] = speeds[..] {
            lines.push(format!("{name}: batched is {:.2} times one by one (processor time)", batched / alone));
        }
        group.finish();
    }
    let (provider, stats) = (embedders[1].1.provider(), embedders[1].1.stats());
    println!("\n{provider}; batches of {:.1}, {:.0} % filled", stats.mean_batch(), stats.fill_ratio() * 100.0);
    println!("{}", lines.join("\n"));
}
