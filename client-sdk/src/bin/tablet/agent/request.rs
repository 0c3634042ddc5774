//! Commands of a harness, as they stand on a line.

use serde::Deserialize;

use crate::edits::JsonEdit;

/// A command and the number its answer carries.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// Repeated in the answer.
    #[serde(default)]
    pub id: Option<u64>,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "JSON wants a value where the key says everything")]
pub enum Command {
    /// A new case.
    Create {
        /// Its first edits.
        edits: Vec<JsonEdit>,
    },
    /// An edit of a case.
    Edit {
        /// Which.
        case: String,
        /// Saved together.
        edits: Vec<JsonEdit>,
    },
    /// Connect, or disconnect.
    Online(bool),
    /// The operating system reports another network.
    NetworkChanged(bool),
    /// The case's content.
    View(String),
    /// The digest of the case's content.
    Digest(String),
    /// The whole client in one look.
    Status(bool),
    /// All cases on the device.
    Cases(bool),
    /// What the gateway refused of a case.
    Parked(String),
    /// The end.
    Shutdown(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_and_without_a_number() {
        let request: Request =
            serde_json::from_str(r#"{"id":7,"create":{"edits":[{"note":{"part":"clinical","text":"ß"}}]}}"#)
                .expect("a command");
        assert_eq!(request.id, Some(7));
        assert!(matches!(request.command, Command::Create { edits } if edits.len() == 1));
        let request: Request = serde_json::from_str(r#"{"online":false}"#).expect("a command");
        assert!(request.id.is_none() && matches!(request.command, Command::Online(false)));
        assert!(serde_json::from_str::<Request>(r#"{"explode":true}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"id":1}"#).is_err());
    }
}
