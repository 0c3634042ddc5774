//! Why something was done or refused: words from a closed set, never text that somebody typed.
//!
//! Numbers are disk format and names are read by scripts: neither is ever changed or used again.

use std::{fmt, str::FromStr};

use crate::{access::BreakGlassReason, call::End, ids::IdError};

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $number:literal $name:literal,)*) => {
        /// One reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $reason = $number,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$reason),*];

            /// The reason's name on command lines and in exports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$reason => $name,)*
                }
            }
        }
    };
}

reasons! {
    // 1 to 19: changes that were not taken, in the words and numbers of the wire.
    /// Not a change.
    Malformed = 1 "malformed",
    /// Too long.
    TooLarge = 2 "too_large",
    /// Not what its checksum says.
    Checksum = 3 "checksum",
    /// Compressed.
    Compressed = 4 "compressed",
    /// Too many operations.
    TooManyOperations = 5 "too_many_operations",
    /// An operation counter out of range.
    CounterRange = 6 "counter_range",
    /// No grant.
    NotPermitted = 7 "not_permitted",
    /// Written under somebody else's name.
    ForeignActor = 8 "foreign_actor",
    /// A change is missing before it.
    SequenceGap = 9 "sequence_gap",
    /// Another change has its number.
    SequenceReused = 10 "sequence_reused",
    /// It stands on a change that is not there.
    UnknownDependency = 11 "unknown_dependency",
    /// It stands on a change that was refused.
    DependencyRefused = 12 "dependency_refused",
    /// Not the counter an honest writer uses.
    StartOp = 13 "start_op",
    /// A beginning that is not the document's.
    NotGenesis = 14 "not_genesis",
    /// Too many actors in the document.
    TooManyActors = 15 "too_many_actors",
    /// No room in the document.
    DocumentFull = 16 "document_full",
    /// The gateway cannot read what it holds of the document.
    DocumentDamaged = 17 "document_damaged",
    /// Kept as evidence: the grant had ended.
    Quarantined = 18 "quarantined",
    /// The case's key was destroyed.
    Shredded = 19 "shredded",

    // 40 onwards: how sessions end, and why none began.
    /// The peer is gone, or said goodbye.
    Gone = 40 "gone",
    /// It broke the protocol.
    Protocol = 41 "protocol",
    /// No protocol version in common.
    Version = 42 "version",
    /// It said nothing.
    HelloTimeout = 43 "hello_timeout",
    /// The store failed.
    StoreUnavailable = 44 "store_unavailable",
    /// It took no bytes.
    Stalled = 45 "stalled",
    /// A grant had ended and bytes were under way.
    Lapsed = 46 "lapsed",
    /// The gateway went down.
    Draining = 47 "draining",
    /// The certificate has expired, or has not begun.
    CertificateExpired = 48 "certificate_expired",
    /// The certificate or its device is on the deny list.
    CertificateDenied = 49 "certificate_denied",
    /// The certificate is of another issuer.
    CertificateIssuer = 50 "certificate_issuer",
    /// There was none.
    CertificateMissing = 51 "certificate_missing",
    /// It cannot be used.
    CertificateInvalid = 52 "certificate_invalid",
    /// The device ended its session for a newer one.
    Superseded = 53 "superseded",
    /// Too many at once, or too often.
    RateLimited = 54 "rate_limited",

    // 80 onwards: users, invites and tokens.
    /// A token or code that nobody issued.
    Unknown = 80 "unknown",
    /// It was valid once.
    Expired = 81 "expired",
    /// A code was used before.
    Used = 82 "used",
    /// A signature does not fit.
    Signature = 83 "signature",
    /// Another issuer.
    Issuer = 84 "issuer",
    /// For somebody else.
    Audience = 85 "audience",
    /// An algorithm that is not allowed.
    Algorithm = 86 "algorithm",
    /// Of another tenant.
    ForeignTenant = 87 "foreign_tenant",
    /// A role that may not.
    Role = 88 "role",
    /// Too many wrong PINs.
    PinLocked = 89 "pin_locked",
    /// A wrong PIN.
    PinWrong = 90 "pin_wrong",
    /// Another user took the device.
    UserChanged = 91 "user_changed",
    /// A device was lost or stolen.
    DeviceLost = 92 "device_lost",
    /// A device was taken out of service.
    Retired = 93 "retired",
    /// A user or device was denied.
    Denied = 94 "denied",
    /// A device's key may be in other hands.
    KeyCompromised = 95 "key_compromised",
    /// A device was used for what it is not for.
    Misused = 96 "misused",
    /// Another device takes its place.
    Replaced = 97 "replaced",

    // 120 onwards: why access was taken, given or ended.
    /// A life is in danger.
    LifeInDanger = 120 "life_in_danger",
    /// Taken over from somebody who could not share the case.
    TakenOver = 121 "taken_over",
    /// The case was assigned to somebody else by mistake.
    WronglyAssigned = 122 "wrongly_assigned",
    /// Another reason, which stands with the case.
    Other = 123 "other",
    /// The time it was given for is over.
    TimeOver = 125 "time_over",
    /// The case was closed.
    CaseClosed = 126 "case_closed",
    /// A person ended it.
    Withdrawn = 127 "withdrawn",
    /// A review found it justified.
    Justified = 128 "justified",
    /// A review found it not justified.
    NotJustified = 129 "not_justified",
    /// The time that records are kept is over.
    RetentionOver = 130 "retention_over",
    /// The person concerned asked for it.
    PersonAsked = 131 "person_asked",

    // 160 onwards: how calls end.
    /// The crew hung up.
    CrewHungUp = 160 "crew_hung_up",
    /// The physician hung up.
    PhysicianHungUp = 161 "physician_hung_up",
    /// Nobody took it in time.
    Unanswered = 162 "unanswered",
    /// Nobody was on duty.
    NobodyOnDuty = 163 "nobody_on_duty",
    /// The crew could not be reached any more.
    CrewLost = 164 "crew_lost",
    /// The physician could not be reached any more.
    PhysicianLost = 165 "physician_lost",
    /// The crew that was rung did not take it.
    CrewDeclined = 166 "crew_declined",
    /// It went on for longer than calls do.
    TooLong = 167 "too_long",
}

impl Reason {
    /// The reason of that number.
    pub fn from_number(number: u16) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| *reason as u16 == number)
    }
}

impl From<BreakGlassReason> for Reason {
    fn from(reason: BreakGlassReason) -> Self {
        match reason {
            BreakGlassReason::LifeInDanger => Reason::LifeInDanger,
            BreakGlassReason::TakenOver => Reason::TakenOver,
            BreakGlassReason::WronglyAssigned => Reason::WronglyAssigned,
            BreakGlassReason::Other => Reason::Other,
        }
    }
}

impl From<End> for Reason {
    fn from(end: End) -> Self {
        match end {
            End::CrewHungUp => Reason::CrewHungUp,
            End::PhysicianHungUp => Reason::PhysicianHungUp,
            End::Withdrawn => Reason::Withdrawn,
            End::Unanswered => Reason::Unanswered,
            End::NobodyOnDuty => Reason::NobodyOnDuty,
            End::CrewLost => Reason::CrewLost,
            End::PhysicianLost => Reason::PhysicianLost,
            End::CrewDeclined => Reason::CrewDeclined,
            End::TooLong => Reason::TooLong,
            End::Unknown => Reason::Unknown,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Reason {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "is not the name of a reason";
        Reason::ALL.iter().copied().find(|reason| reason.name() == text).ok_or(IdError { what: "reason", why })
    }
}
