//! The program: parses, loads the configuration, hands over.

fn main() {
    deckle::cli::main()
}
