//! `cargo +nightly fuzz run frames`, inside `tests/`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| feldakte_fuzz::frames::run(data));
