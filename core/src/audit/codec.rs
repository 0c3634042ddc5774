//! How a record stands on the disk, forever: version 1.
//!
//! ```text
//! version 1 · chain name · when i64 · act u16 · actor · count u64 · fields u16 · the fields that are there
//! name = length u8, text          actor = 0 gateway · 1 device 16, 16 for its user or nothing
//!                                         2 operator name · 3 unknown · 4 device 16 without a user
//! ```
//! Numbers are big-endian. Each bit of `fields`, from the lowest, says whether its field follows: case 16, document 17,
//! device 16, unit name, user 16, session 16, tenant name, operator name, first and last position u64, reason u16, claimed
//! time i64. One record has one encoding: what decodes encodes to the same bytes.

use super::{About, Act, Actor, Chain, Reason, Record, Span};
use crate::ids::{CaseId, DeviceId, DocumentId, IdError, Position, SessionId, UserId};

/// Bytes that are not a record this release knows. Their place in the chain can be proved all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a later release.
    #[error("a record of version {0}")]
    Version(u8),
    /// The bytes end too early.
    #[error("a record is cut off")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow a record")]
    Trailing,
    /// A number stands for nothing.
    #[error("{what} {number} is not known")]
    Unknown {
        /// What the number should name.
        what: &'static str,
        /// The number.
        number: u16,
    },
    /// An id is not one.
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Record {
    /// The bytes that are hashed and stored.
    pub fn encode(&self) -> Vec<u8> {
        let Self { chain, when_ms, who, act, about, count, positions, reason, claimed_ms } = self;
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        put_name(&mut out, chain.name());
        out.extend(when_ms.to_be_bytes());
        out.extend((*act as u16).to_be_bytes());
        put_actor(&mut out, who);
        out.extend(count.to_be_bytes());
        let fields_at = out.len();
        out.extend([0; 2]);
        let mut fields = Fields { out, present: 0, next: 0 };
        fields.put_about(about);
        fields.put(positions.as_ref(), |out, Span { first, last }| {
            out.extend(first.0.to_be_bytes());
            out.extend(last.0.to_be_bytes());
        });
        fields.put(reason.as_ref(), |out, reason| out.extend((*reason as u16).to_be_bytes()));
        fields.put(claimed_ms.as_ref(), |out, claimed| out.extend(claimed.to_be_bytes()));
        let Fields { mut out, present, next: _ } = fields;
        out[fields_at..fields_at + 2].copy_from_slice(&present.to_be_bytes());
        out
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no record of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Input { rest: bytes, present: 0 };
        let [version] = input.take()?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let chain = Chain::from_name(input.name()?)?;
        let when_ms = i64::from_be_bytes(input.take()?);
        let act = u16::from_be_bytes(input.take()?);
        let act = Act::from_number(act).ok_or(RecordError::Unknown { what: "act", number: act })?;
        let who = input.actor()?;
        let count = u64::from_be_bytes(input.take()?);
        input.present = u16::from_be_bytes(input.take()?);
        let about = input.about()?;
        let positions = input.field(|input| {
            let (first, last) = (u64::from_be_bytes(input.take()?), u64::from_be_bytes(input.take()?));
            Ok(Span { first: Position(first), last: Position(last) })
        })?;
        let reason = input.field(|input| {
            let number = u16::from_be_bytes(input.take()?);
            Reason::from_number(number).ok_or(RecordError::Unknown { what: "reason", number })
        })?;
        let claimed_ms = input.field(|input| Ok(i64::from_be_bytes(input.take()?)))?;
        if input.present != 0 {
            return Err(RecordError::Unknown { what: "field", number: input.present });
        }
        if !input.rest.is_empty() {
            return Err(RecordError::Trailing);
        }
        Ok(Self { chain, when_ms, who, act, about, count, positions, reason, claimed_ms })
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).expect("slugs have at most 63 bytes"));
    out.extend(name.as_bytes());
}

fn put_actor(out: &mut Vec<u8>, who: &Actor) {
    match who {
        Actor::Gateway => out.push(0),
        Actor::Device { device, user: Some(user) } => {
            out.push(1);
            out.extend(device.as_bytes());
            out.extend(user.as_bytes());
        }
        Actor::Operator(name) => {
            out.push(2);
            put_name(out, name.as_str());
        }
        Actor::Unknown => out.push(3),
        Actor::Device { device, user: None } => {
            out.push(4);
            out.extend(device.as_bytes());
        }
    }
}

/// Writes optional fields and remembers which were there.
struct Fields {
    out: Vec<u8>,
    present: u16,
    next: u16,
}

impl Fields {
    fn put<T>(&mut self, field: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        if let Some(field) = field {
            self.present |= 1 << self.next;
            write(&mut self.out, field);
        }
        self.next += 1;
    }

    fn put_about(&mut self, about: &About) {
        let About { case, document, device, unit, user, session, tenant, operator } = about;
        self.put(*case, |out, case| out.extend(case.as_bytes()));
        self.put(*document, |out, document| out.extend(document.to_bytes()));
        self.put(*device, |out, device| out.extend(device.as_bytes()));
        self.put(unit.as_ref(), |out, unit| put_name(out, unit.as_str()));
        self.put(*user, |out, user| out.extend(user.as_bytes()));
        self.put(*session, |out, session| out.extend(session.as_bytes()));
        self.put(tenant.as_ref(), |out, tenant| put_name(out, tenant.as_str()));
        self.put(operator.as_ref(), |out, operator| put_name(out, operator.as_str()));
    }
}

struct Input<'a> {
    rest: &'a [u8],
    /// The fields that are still to come, the next one in the lowest bit.
    present: u16,
}

impl<'a> Input<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self.slice(N)?.try_into().expect("as long as it was asked for"))
    }

    fn name(&mut self) -> Result<&'a str, RecordError> {
        let [len] = self.take()?;
        let not_text = |_| IdError { what: "name", why: "is not text" };
        Ok(std::str::from_utf8(self.slice(len.into())?).map_err(not_text)?)
    }

    fn actor(&mut self) -> Result<Actor, RecordError> {
        let [kind] = self.take()?;
        Ok(match kind {
            0 => Actor::Gateway,
            1 => {
                let device = DeviceId::from_slice(self.slice(16)?)?;
                Actor::Device { device, user: Some(UserId::from_slice(self.slice(16)?)?) }
            }
            2 => Actor::Operator(self.name()?.parse()?),
            3 => Actor::Unknown,
            4 => Actor::Device { device: DeviceId::from_slice(self.slice(16)?)?, user: None },
            number => return Err(RecordError::Unknown { what: "actor", number: number.into() }),
        })
    }

    fn about(&mut self) -> Result<About, RecordError> {
        Ok(About {
            case: self.field(|input| Ok(CaseId::from_slice(input.slice(16)?)?))?,
            document: self.field(|input| Ok(DocumentId::from_slice(input.slice(DocumentId::LEN)?)?))?,
            device: self.field(|input| Ok(DeviceId::from_slice(input.slice(16)?)?))?,
            unit: self.field(|input| Ok(input.name()?.parse()?))?,
            user: self.field(|input| Ok(UserId::from_slice(input.slice(16)?)?))?,
            session: self.field(|input| Ok(SessionId::from_slice(input.slice(16)?)?))?,
            tenant: self.field(|input| Ok(input.name()?.parse()?))?,
            operator: self.field(|input| Ok(input.name()?.parse()?))?,
        })
    }

    fn field<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, RecordError>) -> Result<Option<T>, RecordError> {
        let is_there = self.present & 1 == 1;
        self.present >>= 1;
        is_there.then(|| read(self)).transpose()
    }
}

const VERSION: u8 = 1;
