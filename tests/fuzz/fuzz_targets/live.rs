//! `cargo +nightly fuzz run live`, inside `tests/`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| feldakte_fuzz::live::run(data));
