//! Log entries as bytes: the format of the gateway's store and of the wire, one and the same.

use bytes::Bytes;
use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::{ActorId, ChangeHash, DeviceId, DocumentId, TenantId, UserId},
    log::{Binding, Entry, Quarantine, QuarantineReason},
};
use prost::Message;

use crate::{convert, error::DecodeError, pb, shape};

/// Encodes an entry for store and wire.
pub fn encode_entry(entry: &Entry) -> Bytes {
    let Entry { document, grants, revoked, bindings, quarantined, changes } = entry;
    let message = pb::Entry {
        document: convert::document_to_pb(*document),
        grants: grants.iter().map(pb::Grant::from).collect(),
        revoked: revoked.iter().map(pb::Subject::from).collect(),
        bindings: bindings.iter().map(pb::Binding::from).collect(),
        quarantined: quarantined.iter().map(pb::Quarantine::from).collect(),
        changes: changes.clone(),
    };
    message.encode_to_vec().into()
}

/// Reads what [`encode_entry`] wrote.
///
/// # Errors
/// When it is not an entry.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, DecodeError> {
    let pb::Entry { document, grants, revoked, bindings, quarantined, changes } =
        shape::decode(bytes, "entry", &shape::ENTRY)?;
    Ok(Entry {
        document: DocumentId::from_slice(&document)?,
        grants: grants.into_iter().map(Grant::try_from).collect::<Result<_, _>>()?,
        revoked: revoked.into_iter().map(Subject::try_from).collect::<Result<_, _>>()?,
        bindings: bindings.into_iter().map(Binding::try_from).collect::<Result<_, _>>()?,
        quarantined: quarantined.into_iter().map(Quarantine::try_from).collect::<Result<_, _>>()?,
        changes,
    })
}

impl From<&Subject> for pb::Subject {
    fn from(subject: &Subject) -> Self {
        let kind = match subject {
            Subject::Unit(unit) => pb::subject::Kind::Unit(unit.to_string()),
            Subject::Device(device) => pb::subject::Kind::Device(Bytes::copy_from_slice(device.as_bytes())),
            Subject::User(user) => pb::subject::Kind::User(Bytes::copy_from_slice(user.as_bytes())),
            Subject::Guest { tenant, unit } => {
                pb::subject::Kind::Guest(pb::Guest { tenant: tenant.to_string(), unit: unit.to_string() })
            }
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Subject> for Subject {
    type Error = DecodeError;
    fn try_from(pb::Subject { kind }: pb::Subject) -> Result<Self, DecodeError> {
        Ok(match kind.ok_or(DecodeError::MissingField("subject"))? {
            pb::subject::Kind::Unit(unit) => Subject::Unit(unit.parse()?),
            pb::subject::Kind::Device(device) => Subject::Device(DeviceId::from_slice(&device)?),
            pb::subject::Kind::User(user) => Subject::User(UserId::from_slice(&user)?),
            pb::subject::Kind::Guest(pb::Guest { tenant, unit }) => {
                Subject::Guest { tenant: tenant.parse()?, unit: unit.parse()? }
            }
        })
    }
}

impl From<&Grant> for pb::Grant {
    fn from(Grant { subject, access, until }: &Grant) -> Self {
        Self { subject: Some(subject.into()), access: *access as u32, until_ms: *until }
    }
}

impl TryFrom<pb::Grant> for Grant {
    type Error = DecodeError;
    fn try_from(pb::Grant { subject, access, until_ms: until }: pb::Grant) -> Result<Self, DecodeError> {
        let subject = subject.ok_or(DecodeError::MissingField("subject"))?.try_into()?;
        let access = Access::from_number(access).ok_or(DecodeError::UnknownValue("access"))?;
        Ok(Self { subject, access, until })
    }
}

impl From<&Binding> for pb::Binding {
    fn from(Binding { actor, device, home, unit, role, user }: &Binding) -> Self {
        Self {
            actor: Bytes::copy_from_slice(&actor.0),
            device: Bytes::copy_from_slice(device.as_bytes()),
            unit: unit.to_string(),
            role: *role as u32,
            user: convert::user_to_pb(*user),
            home: home.as_ref().map(TenantId::to_string).unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::Binding> for Binding {
    type Error = DecodeError;
    fn try_from(pb::Binding { actor, device, unit, role, user, home }: pb::Binding) -> Result<Self, DecodeError> {
        Ok(Self {
            home: (!home.is_empty()).then(|| home.parse()).transpose()?,
            user: convert::user_from_pb(&user)?,
            actor: ActorId::from_slice(&actor)?,
            device: DeviceId::from_slice(&device)?,
            unit: unit.parse()?,
            role: Role::from_number(role).ok_or(DecodeError::UnknownValue("role"))?,
        })
    }
}

impl From<&Quarantine> for pb::Quarantine {
    fn from(Quarantine { change, reason }: &Quarantine) -> Self {
        Self { change: Bytes::copy_from_slice(&change.0), reason: *reason as u32 }
    }
}

impl TryFrom<pb::Quarantine> for Quarantine {
    type Error = DecodeError;
    fn try_from(pb::Quarantine { change, reason }: pb::Quarantine) -> Result<Self, DecodeError> {
        let reason = QuarantineReason::from_number(reason).ok_or(DecodeError::UnknownValue("reason"))?;
        Ok(Self { change: ChangeHash::from_slice(&change)?, reason })
    }
}

#[cfg(test)]
mod tests;
