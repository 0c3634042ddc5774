//! Why a credential is not believed: precise for operators, coarse for the device.

use feldakte_proto::SignInRefusal;

/// Why a credential is not believed. A closed set: nothing of a token ever stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is longer than [`feldakte_core::limits::TOKEN_LEN_MAX`].
    #[error("too_large")]
    TooLarge,
    /// Not a signed token, or a claim that must be there is not or has the wrong type.
    #[error("malformed")]
    Malformed,
    /// Its header brings its own key, or wants something understood that is not.
    #[error("header")]
    Header,
    /// It is a token of another kind, such as an ID token.
    #[error("type")]
    Type,
    /// Nobody here trusts its issuer.
    #[error("issuer")]
    Issuer,
    /// The issuer has no such key.
    #[error("unknown_key")]
    UnknownKey,
    /// It names another algorithm than its key is for.
    #[error("algorithm")]
    Algorithm,
    /// The signature is not the issuer's.
    #[error("signature")]
    Signature,
    /// It was issued for somebody else to read.
    #[error("audience")]
    Audience,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("not_yet_valid")]
    NotYetValid,
    /// The user belongs to another tenant than the device.
    #[error("tenant")]
    Tenant,
    /// None of its roles means anything here.
    #[error("no_role")]
    NoRole,
    /// Devices of this role may not vouch for users.
    #[error("device_may_not_vouch")]
    DeviceMayNotVouch,
    /// A ticket was shown to sign in with.
    #[error("ticket_opens_nothing")]
    TicketOpensNothing,
    /// The ticket is not ours.
    #[error("ticket_forged")]
    TicketForged,
    /// The ticket was given to another device.
    #[error("ticket_of_another_device")]
    TicketOfAnotherDevice,
    /// The user was denied.
    #[error("denied")]
    Denied,
}

impl Refusal {
    /// What the device is told.
    pub fn told(self) -> SignInRefusal {
        match self {
            Refusal::TooLarge | Refusal::Malformed => SignInRefusal::Malformed,
            Refusal::Expired | Refusal::NotYetValid => SignInRefusal::Expired,
            Refusal::Header
            | Refusal::Type
            | Refusal::Issuer
            | Refusal::UnknownKey
            | Refusal::Algorithm
            | Refusal::Signature
            | Refusal::Audience
            | Refusal::TicketOpensNothing
            | Refusal::TicketForged
            | Refusal::TicketOfAnotherDevice => SignInRefusal::NotTrusted,
            Refusal::Tenant | Refusal::NoRole | Refusal::DeviceMayNotVouch => SignInRefusal::NoRole,
            Refusal::Denied => SignInRefusal::Denied,
        }
    }
}
