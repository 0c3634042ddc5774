//! What a device or its user is for.

use std::{fmt, str::FromStr};

use crate::ids::IdError;

/// What a device is for, as its certificate says, or a user, as his token says. Numbers are wire and disk format.
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
    /// The hospital a patient is brought to.
    Hospital = 8,
    /// Medical director or quality management: sees pseudonymous figures only.
    Quality = 9,
    /// Runs the gateway; sees no content.
    Operator = 10,
    /// Reads the audit log; sees no content.
    Auditor = 11,
}

impl Role {
    /// All roles, in the order of their numbers.
    pub const ALL: [Role; 11] = [
        Role::AmbulanceCrew,
        Role::TelePhysician,
        Role::EmergencyPhysician,
        Role::Dispatcher,
        Role::FieldStaff,
        Role::Supervisor,
        Role::BackOffice,
        Role::Hospital,
        Role::Quality,
        Role::Operator,
        Role::Auditor,
    ];

    /// The role's name in certificates, tokens, configuration and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Role::AmbulanceCrew => "ambulance_crew",
            Role::TelePhysician => "tele_physician",
            Role::EmergencyPhysician => "emergency_physician",
            Role::Dispatcher => "dispatcher",
            Role::FieldStaff => "field_staff",
            Role::Supervisor => "supervisor",
            Role::BackOffice => "back_office",
            Role::Hospital => "hospital",
            Role::Quality => "quality",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        }
    }

    /// Whether it goes on missions, where seconds count: believed when it says that it is on one.
    pub fn goes_on_missions(self) -> bool {
        matches!(self, Role::AmbulanceCrew | Role::TelePhysician | Role::EmergencyPhysician)
    }

    /// The role of that number.
    pub fn from_number(number: u32) -> Option<Role> {
        Role::ALL.into_iter().find(|role| *role as u32 == number)
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
                   supervisor, back_office, hospital, quality, operator, auditor";
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or(IdError { what: "role", why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_round_trip_by_name_and_number() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(Role::from_number(role as u32), Some(role));
        }
    }
}
