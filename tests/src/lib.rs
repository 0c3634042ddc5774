//! What proves Feldakte from outside: harness, simulation, load generator, conformance suites.

pub mod browser;
pub mod harness;
pub mod lanes;
pub mod load;
pub mod local_store_conformance;
pub mod memory_audit_store;
pub mod memory_local_store;
pub mod memory_matter_store;
pub mod memory_store;
pub mod netns;
pub mod sim;
pub mod skip;
pub mod store_conformance;

pub use skip::skipped;
