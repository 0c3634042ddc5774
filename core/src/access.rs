//! Who may do what on a document. Authority is a value: only this module makes a [`Permit`].
//!
//! Admission decides by permits; the gateway's fetches take a permit of their own kind, so that a forgotten check does
//! not compile. A catch-up sends what a query by grants has found, and is planned anew when a grant ends.

use std::{fmt, str::FromStr};

use crate::ids::{DeviceId, DocumentId, IdError, Part, TenantId, UnitId};

/// What a device is for. Its certificate says so; numbers are wire and disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Two paramedics and their tablet or vehicle unit.
    AmbulanceCrew = 1,
    /// A physician at a desk who takes calls and gives orders.
    TelePhysician = 2,
    /// A physician on scene.
    EmergencyPhysician = 3,
    /// The control room.
    Dispatcher = 4,
    /// Health-office staff on home visits and inspections.
    FieldStaff = 5,
    /// Leads field staff; reviews quarantine.
    Supervisor = 6,
    /// A specialist system of the back office.
    BackOffice = 7,
}

impl Role {
    /// All roles, in the order of their numbers.
    pub const ALL: [Role; 7] = [
        Role::AmbulanceCrew,
        Role::TelePhysician,
        Role::EmergencyPhysician,
        Role::Dispatcher,
        Role::FieldStaff,
        Role::Supervisor,
        Role::BackOffice,
    ];

    /// The role's name in certificates and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Role::AmbulanceCrew => "ambulance_crew",
            Role::TelePhysician => "tele_physician",
            Role::EmergencyPhysician => "emergency_physician",
            Role::Dispatcher => "dispatcher",
            Role::FieldStaff => "field_staff",
            Role::Supervisor => "supervisor",
            Role::BackOffice => "back_office",
        }
    }

    /// The role of that number.
    pub fn from_number(number: u32) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u32 == number)
    }

    /// Whether this role may open a new document of that part by writing to it (DOMAIN, "who sees what").
    pub fn may_create(self, part: Part) -> bool {
        match self {
            Role::AmbulanceCrew | Role::EmergencyPhysician | Role::FieldStaff | Role::BackOffice => true,
            Role::Dispatcher => part == Part::Operations,
            Role::TelePhysician | Role::Supervisor => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let why = "must be one of ambulance_crew, tele_physician, emergency_physician, dispatcher, field_staff, \
                   supervisor, back_office";
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or(IdError { what: "role", why })
    }
}

/// Who speaks: what the device certificate proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant all of this principal's documents belong to.
    pub tenant: TenantId,
    /// The unit whose grants the device shares.
    pub unit: UnitId,
    /// The device itself.
    pub device: DeviceId,
    /// What the device is for.
    pub role: Role,
}

impl Principal {
    /// The subjects whose grants this principal may use.
    pub fn subjects(&self) -> [Subject; 2] {
        [Subject::Unit(self.unit.clone()), Subject::Device(self.device)]
    }

    fn holds(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Unit(unit) => *unit == self.unit,
            Subject::Device(device) => *device == self.device,
        }
    }
}

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Every device of a unit.
    Unit(UnitId),
    /// One device.
    Device(DeviceId),
}

/// What a grant allows. `Write` includes `Read`; numbers are wire and disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// May receive the document's changes.
    Read = 1,
    /// May also append changes.
    Write = 2,
}

impl Access {
    /// The access of that number.
    pub fn from_number(number: u32) -> Option<Access> {
        [Access::Read, Access::Write].into_iter().find(|access| *access as u32 == number)
    }
}

/// One row of authority: `subject` has `access` on the document the grant is stored with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// For whom.
    pub subject: Subject,
    /// What.
    pub access: Access,
}

/// Proof that a check of the document's grants allowed `access` at the moment it was made.
///
/// It is deliberately neither `Clone` nor constructible elsewhere: take it, use it, drop it.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    document: DocumentId,
    access: Access,
}

impl Permit {
    /// The document it is for.
    pub fn document(&self) -> DocumentId {
        self.document
    }

    /// Whether writing is allowed as well.
    pub fn may_write(&self) -> bool {
        self.access == Access::Write
    }
}

/// What `principal` may do on `document` under these grants; `None` is nothing at all.
///
/// Tenants are kept apart before grants are looked at: `tenant` is the one the document is stored under.
pub fn decide(principal: &Principal, tenant: &TenantId, document: DocumentId, grants: &[Grant]) -> Option<Permit> {
    if principal.tenant != *tenant {
        return None;
    }
    let access = grants.iter().filter(|grant| principal.holds(&grant.subject)).map(|grant| grant.access).max()?;
    Some(Permit { document, access })
}

/// The grants of a document that `principal` opens by its first change; `None` when its role may not.
pub fn opening_grants(principal: &Principal, document: DocumentId) -> Option<Vec<Grant>> {
    let subject = Subject::Unit(principal.unit.clone());
    principal.role.may_create(document.part).then(|| vec![Grant { subject, access: Access::Write }])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::CaseId;

    fn principal(tenant: &str, unit: &str, device: u128) -> Principal {
        Principal {
            tenant: tenant.parse().expect("a slug"),
            unit: unit.parse().expect("a slug"),
            device: DeviceId(Uuid::from_u128(device)),
            role: Role::AmbulanceCrew,
        }
    }

    fn document() -> DocumentId {
        DocumentId { case: CaseId(Uuid::from_u128(9)), part: Part::Clinical }
    }

    #[test]
    fn a_grant_to_the_unit_reaches_its_devices_and_nobody_else() {
        let crew = principal("dortmund", "rtw-1", 1);
        let grants = opening_grants(&crew, document()).expect("crews may open cases");
        let decide_for = |who: &Principal| decide(who, &crew.tenant, document(), &grants);
        assert!(decide_for(&principal("dortmund", "rtw-1", 2)).is_some_and(|permit| permit.may_write()));
        assert_eq!(decide_for(&principal("dortmund", "rtw-2", 3)), None);
    }

    #[test]
    fn the_same_unit_name_in_another_tenant_opens_nothing() {
        let crew = principal("dortmund", "rtw-1", 1);
        let grants = opening_grants(&crew, document()).expect("crews may open cases");
        assert_eq!(decide(&principal("hagen", "rtw-1", 1), &crew.tenant, document(), &grants), None);
    }

    #[test]
    fn the_strongest_grant_counts() {
        let crew = principal("dortmund", "rtw-1", 1);
        let read = Grant { subject: Subject::Unit(crew.unit.clone()), access: Access::Read };
        let write = Grant { subject: Subject::Device(crew.device), access: Access::Write };
        let permit = decide(&crew, &crew.tenant, document(), std::slice::from_ref(&read));
        assert!(permit.is_some_and(|permit| !permit.may_write()));
        let permit = decide(&crew, &crew.tenant, document(), &[read, write]);
        assert!(permit.is_some_and(|permit| permit.may_write()));
    }

    #[test]
    fn roles_round_trip_by_name_and_number() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(Role::from_number(role as u32), Some(role));
        }
    }
}
