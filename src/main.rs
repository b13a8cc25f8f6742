//! The program: parses, loads the configuration, hands over.

fn main() -> std::process::ExitCode {
    deckle::cli::main()
}
