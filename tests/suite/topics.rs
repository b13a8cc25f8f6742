//! `deckle topics`: what is decided about a cluster's topics, what becomes of them on a real broker, and how records
//! are read.

mod broker;
mod decisions;
mod read;
