//! The program; replaced by the command line.

fn main() {
    if std::env::args().nth(1).as_deref() == Some("sandbox") {
        deckle::decode::child();
    }
}
