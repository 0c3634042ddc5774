//! `cargo +nightly fuzz run admission`, inside `tests/`.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The product catches panics of the document library; libfuzzer's hook would abort before that. A panic that reaches
// the target itself aborts all the same.
fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| drop(feldakte_fuzz::admission::run(data))
);
