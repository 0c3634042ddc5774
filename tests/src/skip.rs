//! Tests that cannot run here say so: `tests/run` counts them as skipped, never as passed.

use std::{fs::OpenOptions, io::Write, thread};

/// Says that the test at hand is not run, and why: on its output, and as a line in the file that `FELDAKTE_SKIPPED`
/// names.
pub fn skipped(why: &str) {
    let current = thread::current();
    let line = format!("SKIPPED {}: {why}\n", current.name().unwrap_or("a test"));
    eprint!("{line}");
    if let Some(path) = std::env::var_os("FELDAKTE_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests can be written");
    }
}
