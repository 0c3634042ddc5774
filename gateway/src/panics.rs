//! What a panic tells: where it happened. Its message may quote what it stumbled over.

use std::io::Write;

/// From here on, in this process.
pub fn tell_the_place_alone() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        // A panic in here would abort, and what is cleaned up on the way out would stay behind.
        let _ = writeln!(std::io::stderr(), "feldakte: panic{place}");
    }));
}
