pub mod load;
pub mod local_store_conformance;
pub mod memory_local_store;
