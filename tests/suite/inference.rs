//! Batched inference: the batcher's properties, the pool's behaviour on faults, and the real embedding model.
//!
//! The model's tests need `make setup`; without it they fail and say so.

mod batcher;
mod embedder;
mod pool;
