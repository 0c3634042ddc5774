//! Bodies of the fuzz targets, as plain functions: `cargo fuzz` runs them on what it invents, `tests/corpus.rs`
//! on what is committed under `tests/corpus`.
//!
//! A target panics when an invariant does not hold, and only then.

pub mod admission;
pub mod frames;
pub mod live;
