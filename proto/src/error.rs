//! Why bytes are not a message, and with which code a connection is closed.

use feldakte_core::ids::IdError;

use crate::frame::FrameError;

/// Bytes that are not a message we take. No variant carries content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame's length is not acceptable.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not protobuf of the expected type.
    #[error("not a valid {0}")]
    Protobuf(&'static str),
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    MissingField(&'static str),
    /// An id is malformed.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A number stands for nothing we know.
    #[error("field `{0}` has an unknown value")]
    UnknownValue(&'static str),
    /// Says that it unpacks to more than allowed.
    #[error("{what}: {len} bytes unpacked, limit {max}")]
    TooLarge {
        /// What was packed.
        what: &'static str,
        /// What it claims.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// Packed bytes are damaged, or unpack to another length than they claim.
    #[error("{0} do not unpack to what they say")]
    Packing(&'static str),
    /// More items than allowed.
    #[error("{what}: {count} items, limit {max}")]
    TooMany {
        /// Which list.
        what: &'static str,
        /// How many came.
        count: usize,
        /// How many may come.
        max: usize,
    },
}

/// Why a side closes the connection: QUIC application error code. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// Done; nothing is wrong.
    Done = 0,
    /// A frame or message was malformed, or came where none of its kind may come.
    Protocol = 1,
    /// A frame announced more bytes than allowed.
    TooLarge = 2,
    /// No protocol version in common: the app must be updated.
    Version = 3,
    /// The certificate has expired or is on the deny list.
    NotPermitted = 4,
    /// No complete `Hello` in time.
    HelloTimeout = 5,
    /// The peer takes no bytes; resume from the cursor.
    Stalled = 6,
    /// The gateway is going down for maintenance; come back after the back-off.
    Draining = 7,
    /// The store does not take commits at the moment; nothing was acknowledged.
    StoreUnavailable = 8,
    /// A newer session of the same device took over.
    Superseded = 9,
    /// A grant ended while bytes were under way; resume from the cursor.
    Lapsed = 10,
    /// A user's sign-in has ended, or he was denied: come back without him, or with a new credential.
    SignInEnded = 11,
    /// Too many handshakes or connections from this address; come back after the back-off.
    Crowded = 12,
    /// Too many devices begin a session at the moment; come back when the reason says so, not sooner.
    Busy = 13,
}

impl CloseCode {
    const ALL: [CloseCode; 14] = [
        CloseCode::Done,
        CloseCode::Protocol,
        CloseCode::TooLarge,
        CloseCode::Version,
        CloseCode::NotPermitted,
        CloseCode::HelloTimeout,
        CloseCode::Stalled,
        CloseCode::Draining,
        CloseCode::StoreUnavailable,
        CloseCode::Superseded,
        CloseCode::Lapsed,
        CloseCode::SignInEnded,
        CloseCode::Crowded,
        CloseCode::Busy,
    ];

    /// The code of that number.
    pub fn from_number(number: u64) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|code| *code as u64 == number)
    }

    /// Whether dialling again can help without somebody acting first.
    pub fn is_retryable(self) -> bool {
        !matches!(self, CloseCode::Version | CloseCode::NotPermitted)
    }
}

impl From<&DecodeError> for CloseCode {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::Frame(FrameError::TooLarge { .. }) | DecodeError::TooLarge { .. } => CloseCode::TooLarge,
            _ => CloseCode::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Golden: on the wire, and in dashboards and runbooks; a number is never used again.
    #[test]
    fn numbers_of_close_codes_are_for_ever() {
        let golden = [
            (0, CloseCode::Done),
            (1, CloseCode::Protocol),
            (2, CloseCode::TooLarge),
            (3, CloseCode::Version),
            (4, CloseCode::NotPermitted),
            (5, CloseCode::HelloTimeout),
            (6, CloseCode::Stalled),
            (7, CloseCode::Draining),
            (8, CloseCode::StoreUnavailable),
            (9, CloseCode::Superseded),
            (10, CloseCode::Lapsed),
            (11, CloseCode::SignInEnded),
            (12, CloseCode::Crowded),
            (13, CloseCode::Busy),
        ];
        for number in (0..300).chain([u64::from(u32::MAX) + 1, u64::MAX]) {
            let expected = golden.iter().find(|(pinned, _)| *pinned == number).map(|(_, code)| *code);
            assert_eq!(CloseCode::from_number(number), expected, "{number}");
        }
        golden.iter().for_each(|(number, code)| assert_eq!(*code as u64, *number));
    }

    #[test]
    fn only_what_somebody_must_repair_is_not_retried() {
        let final_codes: Vec<_> = CloseCode::ALL.into_iter().filter(|code| !code.is_retryable()).collect();
        assert_eq!(final_codes, [CloseCode::Version, CloseCode::NotPermitted]);
    }

    #[test]
    fn decode_errors_close_with_the_code_that_names_them() {
        let too_large = DecodeError::Frame(FrameError::TooLarge { len: 2, max: 1 });
        assert_eq!(CloseCode::from(&too_large), CloseCode::TooLarge);
        let unpacked = DecodeError::TooLarge { what: "changes", len: 2, max: 1 };
        assert_eq!(CloseCode::from(&unpacked), CloseCode::TooLarge);
        let protocol = [
            DecodeError::Packing("changes"),
            DecodeError::Frame(FrameError::Empty),
            DecodeError::Protobuf("entry"),
            DecodeError::MissingField("body"),
            DecodeError::Id(IdError { what: "document", why: "must be 17 bytes" }),
            DecodeError::UnknownValue("reason"),
            DecodeError::TooMany { what: "changes", count: 513, max: 512 },
        ];
        protocol.iter().for_each(|error| assert_eq!(CloseCode::from(error), CloseCode::Protocol));
    }
}
