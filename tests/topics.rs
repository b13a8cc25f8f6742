//! `deckle topics`: what is decided about a cluster's topics, what becomes of them on a real broker, and how records
//! are read.

#[path = "topics/broker.rs"]
mod broker;
#[path = "topics/decisions.rs"]
mod decisions;
#[path = "topics/read.rs"]
mod read;
#[path = "support/servers.rs"]
mod servers;
