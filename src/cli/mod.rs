//! The command line: one file per command, each a thin reader of the same library that services would use.
//!
//! The law: results go to standard output, progress and complaints to standard error, and no name of a file that a
//! terminal would obey goes there as it is (`visible.rs`); the exit code is 0 when all is done, 1 when some documents
//! failed or some exports could not be written, or topics or the store are not as wanted, 2 for a mistake of usage or
//! configuration, 130 when interrupted.

mod check;
mod dead_letters;
mod erase;
mod eval;
mod export;
mod gc;
mod ingest;
mod inputs;
mod list;
mod models;
mod process;
mod progress;
mod render;
mod replay;
mod run;
mod search;
mod show;
mod stop;
mod store;
mod submit;
mod table;
mod time;
mod topics;
mod visible;
mod whole;

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, Subcommand};

use crate::{
    app::{App, telemetry},
    config::Config,
};
use visible::Shown;

/// Documents in; text, structure and vectors out.
///
/// deckle reads PDF, pictures (PNG, JPEG, TIFF, WebP, GIF, BMP, HEIC), plain text and Markdown: the text layer where it
/// is good, OCR where it is not; then blocks in reading order, chunks and embeddings. Each file is read once, whatever
/// crashes in between.
#[derive(Debug, Parser)]
#[command(
    name = "deckle",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  deckle process report.pdf scans/ --out out  read files, write exports
  deckle search \"who pays for the return\"     passages nearest in meaning
  deckle list --status failed                 what could not be read
  deckle list --since 24h                     what became of documents today
  deckle ingest inbox/ && deckle run          queue files, then work on them
  deckle eval truth/ --documents scans/       how well is what we know read?
  deckle check                                is everything in place?

`deckle COMMAND --help` shows examples of each command.
Settings: deckle.toml, then DECKLE_* variables (DECKLE_HOME: data and models).
Exit code: 0 all done, 1 some documents failed or could not be exported, 2 a mistake
in the command or the settings, 130 interrupted."
)]
struct Cli {
    /// Settings file; `deckle.toml` in this folder is read when there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of tables, where names that are not UTF-8 have U+FFFD in them; `run` then logs JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Process(process::Args),
    Ingest(ingest::Args),
    Run(run::Args),
    List(list::Args),
    Show(show::Args),
    Search(search::Args),
    Eval(eval::Args),
    Export(export::Args),
    Erase(erase::Args),
    Gc(gc::Args),
    DeadLetters(dead_letters::Args),
    Replay(replay::Args),
    Topics(topics::Args),
    Store(store::Args),
    Check(check::Args),
    Models(models::Args),
    /// Reads untrusted files on behalf of a worker; started by deckle itself.
    #[command(hide = true)]
    Sandbox,
}

/// What every command is given.
struct Context {
    config: Config,
    json: bool,
}

impl Context {
    fn open(self) -> anyhow::Result<App> {
        App::open(self.config)
    }
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// All done.
    Done,
    /// Some documents failed.
    SomeFailed,
    /// What was compared is not the same.
    Differs,
    /// Told to stop before the end.
    Interrupted,
}

/// Parses the arguments, runs the command, and ends the process.
pub fn main() -> ! {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    if matches!(cli.command, Command::Sandbox) {
        crate::decode::child();
    }
    leave(match run_command(cli) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::SomeFailed | Outcome::Differs) => 1,
        // What shells say of a program that Ctrl-C ended.
        Ok(Outcome::Interrupted) => 130,
        // As in `deckle list | head`: the reader has what it wanted.
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) => {
            warn(format_args!("deckle: {error:#}"));
            2
        }
    })
}

/// Shows the help that was asked for, or what is wrong with the arguments, and ends the process.
fn refuse(error: &clap::Error) -> ! {
    let is_fit = |argument: &OsString| matches!(visible::visible(&argument.to_string_lossy()), Cow::Borrowed(_));
    if !error.use_stderr() || std::env::args_os().all(|argument| is_fit(&argument)) {
        error.exit();
    }
    // A name that a shell put in for a pattern, say: without colours, which are made of what a terminal obeys.
    error.render().to_string().lines().for_each(warn);
    leave(error.exit_code())
}

/// Ends the process without the exit handlers of native libraries: a model may still be loading on another thread, and
/// crashes when they take its library apart.
fn leave(code: i32) -> ! {
    // Whoever reads has gone, or gets what is left.
    let _ = std::io::stdout().flush();
    // SAFETY: it takes a number and does not return; what a command must keep is on disk when it ends.
    unsafe { libc::_exit(code) }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// What a service logs unless RUST_LOG says otherwise; ONNX Runtime tells of every pass over a graph at `info`.
const SERVICE_LOGS: &str = "info,ort=warn";
/// What a command logs unless RUST_LOG says otherwise; that no node answers is the command's own last line.
const COMMAND_LOGS: &str = "error,scylla=off";

/// How long a command that is done waits for what still blocks: a pipe that nobody reads, say.
const LEAVE: Duration = Duration::from_secs(2);

fn run_command(cli: Cli) -> anyhow::Result<Outcome> {
    let service = matches!(cli.command, Command::Run(_));
    telemetry::install_logs(service && cli.json, if service { SERVICE_LOGS } else { COMMAND_LOGS });
    let context = Context { config: Config::load(cli.config.as_deref())?, json: cli.json };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Process(args) => process::run(context, args).await,
            Command::Ingest(args) => ingest::run(context, args).await,
            Command::Run(args) => run::run(context, args).await,
            Command::List(args) => list::run(context, args).await,
            Command::Show(args) => show::run(context, args).await,
            Command::Search(args) => search::run(context, args).await,
            Command::Eval(args) => eval::run(context, args).await,
            Command::Export(args) => export::run(context, args).await,
            Command::Erase(args) => erase::run(context, args).await,
            Command::Gc(args) => gc::run(context, args).await,
            Command::DeadLetters(args) => dead_letters::run(context, args).await,
            Command::Replay(args) => replay::run(context, args).await,
            Command::Topics(args) => topics::run(context, args).await,
            Command::Store(args) => store::run(context, args).await,
            Command::Check(args) => check::run(context, args).await,
            Command::Models(args) => models::run(context, args).await,
            Command::Sandbox => unreachable!("handled before the runtime starts"),
        }
    });
    runtime.shutdown_timeout(LEAVE);
    outcome
}

/// Writes a line of results. Unlike `println!` it does not panic when nobody reads on.
fn print(line: impl Shown) -> anyhow::Result<()> {
    print_as_it_is(&line.shown())
}

/// Writes a line for people to standard error, if anybody reads it.
fn warn(line: impl Shown) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.shown());
}

/// Prints a value as JSON for programs.
fn print_json<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    print_as_it_is(&visible::visible_json(&serde_json::to_string_pretty(value)?))
}

/// Prints a value as one line of JSON.
fn print_json_line<T: serde::Serialize>(value: &T) -> anyhow::Result<()> {
    print_as_it_is(&visible::visible_json(&serde_json::to_string(value)?))
}

/// Prints the text of a document: byte for byte, but for what a terminal would obey where it goes to one.
fn print_document(text: &str) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    print_as_it_is(&if is_terminal { visible::visible_lines(text) } else { Cow::Borrowed(text) })
}

fn print_as_it_is(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}
