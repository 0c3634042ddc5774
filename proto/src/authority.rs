//! Messages about who uses a device, and about acts of authority that a device takes part in.

use std::fmt;

use bytes::Bytes;
use feldakte_core::{
    access::{Access, BreakGlassReason, Role, Subject},
    ids::{CaseId, DocumentId, Part, UserId},
};

mod wire;

/// Proof of who a user is. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// An OIDC access token.
    Token(String),
    /// What the gateway gave with an earlier sign-in on this device: delivers that user's work and opens nothing.
    Ticket(Bytes),
    /// A user whom the device has checked itself and vouches for.
    Local(UserId),
}

/// What the gateway made of a credential. The ticket is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum SignedIn {
    /// It believes it.
    As {
        /// Who.
        user: UserId,
        /// As what.
        role: Role,
        /// Until when by the gateway's clock, milliseconds since 1970-01-01 UTC.
        until_ms: Option<i64>,
        /// For [`Credential::Ticket`].
        ticket: Bytes,
    },
    /// It does not.
    Refused(SignInRefusal),
}

/// Why a credential is not believed. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignInRefusal {
    /// It cannot be read.
    Malformed = 1,
    /// Its time is over, or has not come.
    Expired = 2,
    /// Who vouches for it is not trusted here, or the signature is not his.
    NotTrusted = 3,
    /// The user has no role here, or the device may not vouch for users.
    NoRole = 4,
    /// The user was denied.
    Denied = 5,
}

impl SignInRefusal {
    /// All of them.
    pub const ALL: [SignInRefusal; 5] = [
        SignInRefusal::Malformed,
        SignInRefusal::Expired,
        SignInRefusal::NotTrusted,
        SignInRefusal::NoRole,
        SignInRefusal::Denied,
    ];

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| *refusal as u32 == number)
    }
}

/// Opens one case to the device in an emergency.
#[derive(Clone, PartialEq, Eq)]
pub struct BreakGlass {
    /// Names the answer.
    pub request: u64,
    /// Which case.
    pub case: CaseId,
    /// Why.
    pub reason: BreakGlassReason,
    /// For the supervisor; may hold names, and is never printed.
    pub text: String,
}

/// Begins or ends somebody else's grant on parts of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Names the answer.
    pub request: u64,
    /// Which case.
    pub case: CaseId,
    /// Which parts of it.
    pub parts: Vec<Part>,
    /// Whose.
    pub subject: Subject,
    /// What begins; `None` ends it.
    pub access: Option<Access>,
    /// Until when by the gateway's clock, milliseconds since 1970-01-01 UTC.
    pub until_ms: Option<i64>,
}

/// What has happened on the device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipts {
    /// Names the answer.
    pub request: u64,
    /// Documents whose content is gone from the device.
    pub purged: Vec<DocumentId>,
    /// The wipe order that was carried out.
    pub wiped: Option<[u8; 16]>,
    /// Documents that were read.
    pub reads: Vec<Seen>,
    /// Emergency access without network.
    pub opened: Vec<OpenedOffline>,
    /// Users whom the device has judged itself.
    pub logins: Vec<Login>,
}

/// A document was read on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub document: DocumentId,
    /// By whom.
    pub user: Option<UserId>,
    /// First time, by the device's clock, milliseconds since 1970-01-01 UTC.
    pub first_ms: i64,
    /// Last time.
    pub last_ms: i64,
    /// How often.
    pub count: u32,
}

/// Somebody has signed in on the device with a PIN, tried to, or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// The pseudonym of the login; of one that the device does not know, too.
    pub user: UserId,
    /// What happened.
    pub what: LoginEvent,
    /// When, by the device's clock, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

/// What happened to a login on a device. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginEvent {
    /// The PIN was right.
    SignedIn = 1,
    /// The user has left.
    SignedOut = 2,
    /// The next user took the device.
    Replaced = 3,
    /// The PIN was wrong, or there is no such login.
    PinWrong = 4,
    /// No PIN was looked at: too many were wrong before.
    PinLocked = 5,
}

impl LoginEvent {
    /// All of them.
    pub const ALL: [LoginEvent; 5] = [
        LoginEvent::SignedIn,
        LoginEvent::SignedOut,
        LoginEvent::Replaced,
        LoginEvent::PinWrong,
        LoginEvent::PinLocked,
    ];

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|event| *event as u32 == number)
    }
}

/// Emergency access to what was on the device already.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedOffline {
    /// Which case.
    pub case: CaseId,
    /// By whom.
    pub user: Option<UserId>,
    /// Why.
    pub reason: BreakGlassReason,
    /// For the supervisor; never printed.
    pub text: String,
    /// When, by the device's clock, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

/// Asks for a new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renew {
    /// Names the answer.
    pub request: u64,
    /// PKCS#10, PEM.
    pub csr: String,
}

/// A new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Which request.
    pub request: u64,
    /// It and those above it, PEM.
    pub certificate: String,
    /// Roots that vouch for gateways, PEM.
    pub roots: String,
    /// From when to renew it, milliseconds since 1970-01-01 UTC; at half of its life when `None`.
    pub renew_at_ms: Option<i64>,
}

/// What became of a request; what it did is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Which.
    pub request: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a request. Numbers are wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done, and durable.
    Done = 0,
    /// The device or its user may not.
    NotPermitted = 1,
    /// What it is about is not known.
    Unknown = 2,
    /// Not possible at the moment: ask again later.
    Unavailable = 3,
    /// Asked too often.
    TooOften = 4,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 5] =
        [Outcome::Done, Outcome::NotPermitted, Outcome::Unknown, Outcome::Unavailable, Outcome::TooOften];
}

/// The device is to destroy what it holds; unsent work is delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WipeOrder {
    /// Names the order in the receipt.
    pub order: [u8; 16],
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Token(_) => "Token(redacted)",
            Credential::Ticket(_) => "Ticket(redacted)",
            Credential::Local(_) => "Local(redacted)",
        })
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignedIn::As { user: _, role, until_ms, ticket: _ } => write!(f, "As({role}, {until_ms:?})"),
            SignedIn::Refused(refusal) => write!(f, "Refused({refusal:?})"),
        }
    }
}

impl fmt::Debug for BreakGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, case, reason, text: _ } = self;
        write!(f, "BreakGlass({request}, {case}, {reason:?})")
    }
}

impl fmt::Debug for OpenedOffline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, user: _, reason, text: _, at_ms } = self;
        write!(f, "OpenedOffline({case}, {reason:?}, {at_ms})")
    }
}
