//! What can be done. Numbers are disk format and names are read by scripts: neither is ever changed or used again.

use std::{fmt, str::FromStr};

use crate::ids::IdError;

macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident = $number:literal $name:literal,)*) => {
        /// One kind of act.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Act {
            $($(#[$doc])* $act = $number,)*
        }

        impl Act {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Act] = &[$(Act::$act),*];

            /// The act's name on command lines and in exports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Act::$act => $name,)*
                }
            }
        }
    };
}

acts! {
    /// A device was welcomed.
    SessionBegan = 1 "session_began",
    /// Its session is over.
    SessionEnded = 2 "session_ended",
    /// A connection got no session.
    SessionRefused = 3 "session_refused",
    /// A user proved who he is.
    SignedIn = 4 "signed_in",
    /// A user left, or was made to.
    SignedOut = 5 "signed_out",
    /// A user's proof was not taken.
    SignInRefused = 6 "sign_in_refused",
    /// Changes became durable.
    Wrote = 7 "wrote",
    /// A document, or changes of it, left for a device.
    Read = 8 "read",
    /// Somebody looked at a document on a device without network.
    ReadOffline = 9 "read_offline",
    /// Changes were not taken.
    Refused = 10 "refused",
    /// Somebody may see or write a document from here on.
    GrantBegan = 11 "grant_began",
    /// And no longer.
    GrantEnded = 12 "grant_ended",
    /// A case was opened to another tenant.
    Shared = 13 "shared",
    /// Somebody took access to a case in an emergency.
    BreakGlass = 14 "break_glass",
    /// A supervisor has looked at it.
    BreakGlassReviewed = 15 "break_glass_reviewed",
    /// A case was closed.
    CaseClosed = 16 "case_closed",
    /// An enrolment code was made.
    Invited = 17 "invited",
    /// A device got its certificate.
    Enrolled = 18 "enrolled",
    /// An enrolment or renewal was not taken.
    EnrolmentRefused = 19 "enrolment_refused",
    /// A device got its next certificate.
    Renewed = 20 "renewed",
    /// A device is taken no more.
    DeviceRevoked = 21 "device_revoked",
    /// A device is to remove everything at its next contact.
    WipeOrdered = 22 "wipe_ordered",
    /// It says that it has.
    Wiped = 23 "wiped",
    /// A device says that it has removed a case.
    Purged = 24 "purged",
    /// Changes without a permit were kept as evidence.
    EvidenceTaken = 25 "evidence_taken",
    /// A supervisor took them into the case.
    EvidenceMerged = 26 "evidence_merged",
    /// A supervisor left them out.
    EvidenceRejected = 27 "evidence_rejected",
    /// One operator wants a case made unreadable.
    ShredRequested = 28 "shred_requested",
    /// Another agrees.
    ShredApproved = 29 "shred_approved",
    /// The case's key is gone.
    Shredded = 30 "shredded",
    /// Case keys are wrapped by a new tenant key.
    KeyRotated = 31 "key_rotated",
    /// Content or audit records were copied out.
    Exported = 32 "exported",
    /// Somebody looked at this log.
    AuditRead = 33 "audit_read",
    /// An operator was let in.
    OperatorAdded = 34 "operator_added",
    /// An operator was shut out.
    OperatorRemoved = 35 "operator_removed",
    /// A gateway runs.
    GatewayStarted = 36 "gateway_started",
    /// It has ended in order. A start without it before is a crash.
    GatewayStopped = 37 "gateway_stopped",
    /// Certificates, deny list or settings were read anew.
    ConfigurationReloaded = 38 "configuration_reloaded",
    /// A crew asked for a physician, or a physician for a crew.
    CallBegan = 39 "call_began",
    /// Somebody took the call.
    CallAccepted = 40 "call_accepted",
    /// Somebody who was rung did not.
    CallDeclined = 41 "call_declined",
    /// Another physician has the call.
    CallTransferred = 42 "call_transferred",
    /// The call is over.
    CallEnded = 43 "call_ended",
}

impl Act {
    /// The act of that number.
    pub fn from_number(number: u16) -> Option<Act> {
        Act::ALL.iter().copied().find(|act| *act as u16 == number)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Act {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "is not the name of an act, such as read or grant_began";
        Act::ALL.iter().copied().find(|act| act.name() == text).ok_or(IdError { what: "act", why })
    }
}
