//! The same as protobuf: every field is destructured, so that a new one breaks the build here.

use bytes::Bytes;
use feldakte_core::{
    access::{Access, BreakGlassReason, Role},
    ids::{CaseId, DocumentId, Part, UserId},
    limits,
};

use super::{
    Answer, BreakGlass, Credential, Login, LoginEvent, OpenedOffline, Outcome, Receipts, Renew, Renewed, Seen, Share,
    SignInRefusal, SignedIn, WipeOrder,
};
use crate::{
    convert::{self, at_most},
    error::DecodeError,
    pb,
};

impl From<&Credential> for pb::Credential {
    fn from(credential: &Credential) -> Self {
        let proof = match credential {
            Credential::Token(token) => pb::credential::Proof::Token(token.clone()),
            Credential::Ticket(ticket) => pb::credential::Proof::Ticket(ticket.clone()),
            Credential::Local(user) => pb::credential::Proof::Local(convert::user_to_pb(Some(*user))),
        };
        Self { proof: Some(proof) }
    }
}

impl TryFrom<pb::Credential> for Credential {
    type Error = DecodeError;
    fn try_from(pb::Credential { proof }: pb::Credential) -> Result<Self, DecodeError> {
        Ok(match proof.ok_or(DecodeError::MissingField("credential"))? {
            pb::credential::Proof::Token(token) => {
                at_most("token", token.len(), limits::TOKEN_LEN_MAX)?;
                Credential::Token(token)
            }
            pb::credential::Proof::Ticket(ticket) => {
                at_most("ticket", ticket.len(), limits::TICKET_LEN_MAX)?;
                Credential::Ticket(ticket)
            }
            pb::credential::Proof::Local(user) => Credential::Local(UserId::from_slice(&user)?),
        })
    }
}

impl From<&SignedIn> for pb::SignedIn {
    fn from(signed_in: &SignedIn) -> Self {
        match signed_in {
            SignedIn::As { user, role, until_ms, ticket } => Self {
                user: convert::user_to_pb(Some(*user)),
                role: *role as u32,
                until_ms: until_ms.unwrap_or(0),
                ticket: ticket.clone(),
                refusal: 0,
            },
            SignedIn::Refused(refusal) => Self { refusal: *refusal as u32, ..Self::default() },
        }
    }
}

impl TryFrom<pb::SignedIn> for SignedIn {
    type Error = DecodeError;
    fn try_from(pb::SignedIn { user, role, until_ms, ticket, refusal }: pb::SignedIn) -> Result<Self, DecodeError> {
        if refusal != 0 {
            let refusal = SignInRefusal::from_number(refusal);
            return Ok(SignedIn::Refused(refusal.ok_or(DecodeError::UnknownValue("refusal"))?));
        }
        at_most("ticket", ticket.len(), limits::TICKET_LEN_MAX)?;
        let role = Role::from_number(role).ok_or(DecodeError::UnknownValue("role"))?;
        Ok(SignedIn::As { user: UserId::from_slice(&user)?, role, until_ms: moment(until_ms), ticket })
    }
}

impl From<&BreakGlass> for pb::BreakGlass {
    fn from(BreakGlass { request, case, reason, text }: &BreakGlass) -> Self {
        Self { request: *request, case: case_to_pb(*case), reason: *reason as u32, text: text.clone() }
    }
}

impl TryFrom<pb::BreakGlass> for BreakGlass {
    type Error = DecodeError;
    fn try_from(pb::BreakGlass { request, case, reason, text }: pb::BreakGlass) -> Result<Self, DecodeError> {
        at_most("text", text.len(), limits::BREAK_GLASS_TEXT_MAX)?;
        Ok(Self { request, case: CaseId::from_slice(&case)?, reason: reason_of(reason)?, text })
    }
}

impl From<&Share> for pb::Share {
    fn from(Share { request, case, parts, subject, access, until_ms }: &Share) -> Self {
        Self {
            request: *request,
            case: case_to_pb(*case),
            parts: parts.iter().map(|part| *part as u32).collect(),
            subject: Some(subject.into()),
            access: access.map_or(0, |access| access as u32),
            until_ms: until_ms.unwrap_or(0),
        }
    }
}

impl TryFrom<pb::Share> for Share {
    type Error = DecodeError;
    fn try_from(pb::Share { request, case, parts, subject, access, until_ms }: pb::Share) -> Result<Self, DecodeError> {
        at_most("parts", parts.len(), Part::ALL.len())?;
        let part = |number: u32| u8::try_from(number).ok().and_then(Part::from_number);
        let parts: Option<Vec<Part>> = parts.into_iter().map(part).collect();
        let access = match access {
            0 => None,
            number => Some(Access::from_number(number).ok_or(DecodeError::UnknownValue("access"))?),
        };
        Ok(Self {
            request,
            case: CaseId::from_slice(&case)?,
            parts: parts.ok_or(DecodeError::UnknownValue("part"))?,
            subject: subject.ok_or(DecodeError::MissingField("subject"))?.try_into()?,
            access,
            until_ms: moment(until_ms),
        })
    }
}

impl From<&Receipts> for pb::Receipts {
    fn from(Receipts { request, purged, wiped, reads, opened, logins }: &Receipts) -> Self {
        Self {
            request: *request,
            purged: purged.iter().copied().map(convert::document_to_pb).collect(),
            wiped: wiped.map_or(Bytes::new(), |order| Bytes::copy_from_slice(&order)),
            reads: reads.iter().map(pb::Seen::from).collect(),
            opened: opened.iter().map(pb::Opened::from).collect(),
            logins: logins.iter().map(pb::Login::from).collect(),
        }
    }
}

impl TryFrom<pb::Receipts> for Receipts {
    type Error = DecodeError;
    fn try_from(
        pb::Receipts { request, purged, wiped, reads, opened, logins }: pb::Receipts,
    ) -> Result<Self, DecodeError> {
        at_most("purged", purged.len(), limits::RECEIPTS_MAX)?;
        at_most("reads", reads.len(), limits::RECEIPTS_MAX)?;
        at_most("opened", opened.len(), limits::RECEIPTS_MAX)?;
        at_most("logins", logins.len(), limits::RECEIPTS_MAX)?;
        Ok(Self {
            request,
            purged: convert::documents_from_pb(purged)?,
            wiped: (!wiped.is_empty()).then(|| order_of(&wiped)).transpose()?,
            reads: reads.into_iter().map(Seen::try_from).collect::<Result<_, _>>()?,
            opened: opened.into_iter().map(OpenedOffline::try_from).collect::<Result<_, _>>()?,
            logins: logins.into_iter().map(Login::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Seen> for pb::Seen {
    fn from(Seen { document, user, first_ms, last_ms, count }: &Seen) -> Self {
        Self {
            document: convert::document_to_pb(*document),
            user: convert::user_to_pb(*user),
            first_ms: *first_ms,
            last_ms: *last_ms,
            count: *count,
        }
    }
}

impl TryFrom<pb::Seen> for Seen {
    type Error = DecodeError;
    fn try_from(pb::Seen { document, user, first_ms, last_ms, count }: pb::Seen) -> Result<Self, DecodeError> {
        let (document, user) = (DocumentId::from_slice(&document)?, convert::user_from_pb(&user)?);
        Ok(Self { document, user, first_ms, last_ms, count })
    }
}

impl From<&OpenedOffline> for pb::Opened {
    fn from(OpenedOffline { case, user, reason, text, at_ms }: &OpenedOffline) -> Self {
        Self {
            case: case_to_pb(*case),
            user: convert::user_to_pb(*user),
            reason: *reason as u32,
            text: text.clone(),
            at_ms: *at_ms,
        }
    }
}

impl TryFrom<pb::Opened> for OpenedOffline {
    type Error = DecodeError;
    fn try_from(pb::Opened { case, user, reason, text, at_ms }: pb::Opened) -> Result<Self, DecodeError> {
        at_most("text", text.len(), limits::BREAK_GLASS_TEXT_MAX)?;
        let (case, user) = (CaseId::from_slice(&case)?, convert::user_from_pb(&user)?);
        Ok(Self { case, user, reason: reason_of(reason)?, text, at_ms })
    }
}

impl From<&Login> for pb::Login {
    fn from(Login { user, what, at_ms }: &Login) -> Self {
        Self { user: convert::user_to_pb(Some(*user)), what: *what as u32, at_ms: *at_ms }
    }
}

impl TryFrom<pb::Login> for Login {
    type Error = DecodeError;
    fn try_from(pb::Login { user, what, at_ms }: pb::Login) -> Result<Self, DecodeError> {
        let what = LoginEvent::from_number(what).ok_or(DecodeError::UnknownValue("login"))?;
        Ok(Self { user: UserId::from_slice(&user)?, what, at_ms })
    }
}

impl From<&Renew> for pb::Renew {
    fn from(Renew { request, csr }: &Renew) -> Self {
        Self { request: *request, csr: csr.clone() }
    }
}

impl TryFrom<pb::Renew> for Renew {
    type Error = DecodeError;
    fn try_from(pb::Renew { request, csr }: pb::Renew) -> Result<Self, DecodeError> {
        at_most("csr", csr.len(), limits::PEM_LEN_MAX)?;
        Ok(Self { request, csr })
    }
}

impl From<&Renewed> for pb::Renewed {
    fn from(Renewed { request, certificate, roots, renew_at_ms }: &Renewed) -> Self {
        let (certificate, roots) = (certificate.clone(), roots.clone());
        Self { request: *request, certificate, roots, renew_at_ms: renew_at_ms.unwrap_or_default() }
    }
}

impl TryFrom<pb::Renewed> for Renewed {
    type Error = DecodeError;
    fn try_from(pb::Renewed { request, certificate, roots, renew_at_ms }: pb::Renewed) -> Result<Self, DecodeError> {
        at_most("certificate", certificate.len(), limits::PEM_LEN_MAX)?;
        at_most("roots", roots.len(), limits::PEM_LEN_MAX)?;
        Ok(Self { request, certificate, roots, renew_at_ms: Some(renew_at_ms).filter(|at| *at != 0) })
    }
}

impl From<&Answer> for pb::Answer {
    fn from(Answer { request, outcome }: &Answer) -> Self {
        Self { request: *request, outcome: *outcome as u32 }
    }
}

impl TryFrom<pb::Answer> for Answer {
    type Error = DecodeError;
    fn try_from(pb::Answer { request, outcome }: pb::Answer) -> Result<Self, DecodeError> {
        let outcome = Outcome::ALL.into_iter().find(|known| *known as u32 == outcome);
        Ok(Self { request, outcome: outcome.ok_or(DecodeError::UnknownValue("outcome"))? })
    }
}

impl From<&WipeOrder> for pb::Wipe {
    fn from(WipeOrder { order }: &WipeOrder) -> Self {
        Self { order: Bytes::copy_from_slice(order) }
    }
}

impl TryFrom<pb::Wipe> for WipeOrder {
    type Error = DecodeError;
    fn try_from(pb::Wipe { order }: pb::Wipe) -> Result<Self, DecodeError> {
        Ok(Self { order: order_of(&order)? })
    }
}

/// 0 stands for "without an end".
fn moment(ms: i64) -> Option<i64> {
    (ms != 0).then_some(ms)
}

fn order_of(bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::UnknownValue("order"))
}

fn reason_of(number: u32) -> Result<BreakGlassReason, DecodeError> {
    BreakGlassReason::from_number(number).ok_or(DecodeError::UnknownValue("reason"))
}

fn case_to_pb(case: CaseId) -> Bytes {
    Bytes::copy_from_slice(case.as_bytes())
}
