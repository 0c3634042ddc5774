//! Standard output. A reader that has seen enough (`tablet list | head -1`) is not an error.

use std::io::{self, Write};

use serde_json::Value;

/// Prints text and ends it with a line break.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| match text.ends_with('\n') {
        true => Ok(()),
        false => out.write_all(b"\n"),
    });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Prints one JSON document, readable by people as well.
pub fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}

/// Makes text of a case safe for a terminal: what another device wrote must not steer it.
pub fn plain(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_cannot_steer_the_terminal() {
        assert_eq!(plain("Müller\u{1b}[2J\n\u{202e}x"), "Müller\u{fffd}[2J\u{fffd}\u{fffd}x");
    }
}
