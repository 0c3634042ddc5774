//! Names of things: every id is a type of its own, so that two of them cannot be swapped by accident.
//!
//! Byte layouts are wire and disk formats: a document id is 17 bytes (case UUID, then the part's number).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// An id that could not be read from text or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {why}")]
pub struct IdError {
    /// Which kind of id was expected.
    pub what: &'static str,
    /// What is wrong with it. Never contains the rejected text.
    pub why: &'static str,
}

/// As text: what browsers and files get.
macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check_slug($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        as_text!($name);
    };
}

slug!(
    /// A tenant: one city, district or sponsor-group member. Lower-case letters, digits and `-`, 1 to 63 long.
    TenantId,
    "tenant"
);
slug!(
    /// A unit inside a tenant: a vehicle (`rtw-1-83-1`), a service, a desk. Devices of one unit share its grants.
    UnitId,
    "unit"
);
slug!(
    /// An operator of a gateway, as the command line and the audit log name him: a handle or a staff number.
    OperatorName,
    "operator"
);

fn check_slug(what: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > 63 {
        return Err(IdError { what, why: "must be 1 to 63 characters long" });
    }
    let ok = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !ok {
        return Err(IdError { what, why: "may contain only a-z, 0-9 and -" });
    }
    Ok(())
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads 16 bytes.
            ///
            /// # Errors
            /// When `bytes` is not exactly 16 long.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| IdError { what: $what, why: "must be 16 bytes" })
            }

            /// The 16 bytes that stand on wire and disk.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::from_str(text).map(Self).map_err(|_| IdError { what: $what, why: "must be a UUID" })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        as_text!($name);
    };
}

uuid_id!(
    /// One device, as its certificate names it.
    DeviceId,
    "device"
);
uuid_id!(
    /// One user: a pseudonym made of who vouches for the person and how the person is known there. Never a name.
    UserId,
    "user"
);
impl DeviceId {
    /// What stands for the device of a user who comes without one, by his token alone: the same at every place and time, and
    /// no authority here gives it to a device.
    pub fn of_user(user: UserId) -> Self {
        let hash = Sha256::new().chain_update("feldakte device of user 1").chain_update(user.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(Uuid::from_bytes(id))
    }
}

impl UserId {
    /// The user of an issuer of access tokens: the same on every device, and nobody who sees it learns the subject from it
    /// without guessing it.
    pub fn of_subject(issuer: &str, subject: &str) -> Self {
        Self::derived("feldakte user 1", issuer, subject)
    }

    /// The user with that login whom devices of the tenant check themselves; case and space around it do not count.
    pub fn of_login(tenant: &TenantId, login: &str) -> Self {
        Self::derived("feldakte local user 1", tenant.as_str(), &login.trim().to_lowercase())
    }

    /// Neither a slug nor a URL holds a zero byte: no other pair comes to the same.
    fn derived(purpose: &str, within: &str, name: &str) -> Self {
        let hash = Sha256::new().chain_update(purpose).chain_update(within).chain_update([0]).chain_update(name);
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(Uuid::from_bytes(id))
    }
}

uuid_id!(
    /// One case: what belongs together about one mission or visit. UUIDv7, made on the device, offline too.
    CaseId,
    "case"
);
uuid_id!(
    /// One entry of a case. Made by the device that appends it.
    EntryId,
    "entry"
);
uuid_id!(
    /// One order of a physician. Made by the device that proposes or gives it; the same on all its steps.
    OrderId,
    "order"
);
uuid_id!(
    /// One teleconsultation. Made by the device that asks for it: asking twice is asking once.
    CallId,
    "call"
);
uuid_id!(
    /// One thing that a device wants of a call: said again it has the same key, and is done once.
    IntentKey,
    "intent"
);
uuid_id!(
    /// The log's incarnation: random, new after a restore from backup. Positions compare only within one epoch.
    Epoch,
    "epoch"
);
uuid_id!(
    /// One authenticated connection, for logs and support.
    SessionId,
    "session"
);

/// Which of a case's documents: secrecy per field is impossible inside one CRDT, so a case is up to three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Location, times, status.
    Operations = 1,
    /// Person data.
    Identity = 2,
    /// Findings, vitals, medication, narrative.
    Clinical = 3,
}

impl Part {
    /// All parts, in the order of their numbers.
    pub const ALL: [Part; 3] = [Part::Operations, Part::Identity, Part::Clinical];

    /// The part's name, as it stands in field paths (`clinical.gcs`).
    pub fn name(self) -> &'static str {
        match self {
            Part::Operations => "operations",
            Part::Identity => "identity",
            Part::Clinical => "clinical",
        }
    }

    /// The part of that number.
    pub fn from_number(number: u8) -> Option<Part> {
        Part::ALL.into_iter().find(|part| *part as u8 == number)
    }
}

impl FromStr for Part {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "must be operations, identity or clinical";
        Part::ALL.into_iter().find(|part| part.name() == text).ok_or(IdError { what: "part", why })
    }
}

/// One automerge document: the unit of grant, log and sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// The case it belongs to.
    pub case: CaseId,
    /// Which of the case's documents it is.
    pub part: Part,
}

impl DocumentId {
    /// Bytes of a document id on wire and disk.
    pub const LEN: usize = 17;

    /// Case UUID, then the part's number.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(self.case.as_bytes());
        bytes[16] = self.part as u8;
        bytes
    }

    /// Reads the 17 bytes written by [`DocumentId::to_bytes`].
    ///
    /// # Errors
    /// When the length or the part's number is wrong.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        let what = "document";
        if bytes.len() != Self::LEN {
            return Err(IdError { what, why: "must be 17 bytes" });
        }
        let case = CaseId::from_slice(&bytes[..16])?;
        let part = Part::from_number(bytes[16]).ok_or(IdError { what, why: "has an unknown part" })?;
        Ok(Self { case, part })
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.case, self.part.name())
    }
}

/// The SHA-256 name of one automerge change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeHash(pub [u8; 32]);

impl ChangeHash {
    /// Reads 32 bytes.
    ///
    /// # Errors
    /// When `bytes` is not exactly 32 long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError { what: "change hash", why: "must be 32 bytes" })
    }
}

impl fmt::Display for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Automerge's actor id, always 16 bytes here: who wrote a change, bound to a principal by the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub [u8; 16]);

impl ActorId {
    /// Reads 16 bytes.
    ///
    /// # Errors
    /// When `bytes` is not exactly 16 long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError { what: "actor", why: "must be 16 bytes" })
    }
}

/// A place in a tenant's log: gap-free from 1; 0 is before the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before the first entry.
    pub const START: Position = Position(0);

    /// The place after this one.
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a reader is: everything it may see up to `position` of `epoch` is stored on its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The log's incarnation the position belongs to.
    pub epoch: Epoch,
    /// The last position that is stored.
    pub position: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_one_pseudonym_in_each_tenant() {
        let of = |tenant: &str, login| UserId::of_login(&tenant.parse().unwrap(), login);
        assert_eq!(of("dortmund", "m.weber"), of("dortmund", " M.Weber "));
        assert_ne!(of("dortmund", "m.weber"), of("hagen", "m.weber"));
        assert_ne!(of("dort", "mundx"), of("dortmund", "x"));
    }

    #[test]
    fn document_ids_round_trip() {
        for part in Part::ALL {
            let id = DocumentId { case: CaseId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)), part };
            assert_eq!(DocumentId::from_slice(&id.to_bytes()), Ok(id));
        }
        assert!(DocumentId::from_slice(&[0; 17]).is_err());
        assert!(DocumentId::from_slice(&[1; 16]).is_err());
    }

    #[test]
    fn slugs_refuse_what_could_be_mistaken_for_a_path_or_a_name() {
        for bad in ["", "Dortmund", "a/b", "ä", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
        }
        assert_eq!("rtw-1-83-1".parse::<UnitId>().map(|u| u.to_string()), Ok("rtw-1-83-1".to_owned()));
    }
}
