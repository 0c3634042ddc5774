//! What each role may do at all, whatever it was granted: the table "who sees what" of DOMAIN as data.
//!
//! Secrecy per field is impossible inside one CRDT: where a role may see parts of a document only ([`Ceiling::Extract`]), it
//! never gets the document itself.

use std::sync::LazyLock;

use super::{Access, Role};
use crate::ids::Part;

pub use self::bounds::{Breach, Rule};

mod bounds;

/// The most that a role may do on one part of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ceiling {
    /// Nothing.
    Nothing,
    /// What somebody extracts for it; never the document.
    Extract,
    /// The document, to read.
    Read,
    /// The document, to read and write.
    Write,
}

impl Ceiling {
    /// All of them, with their names in configuration.
    pub const ALL: [(Ceiling, &'static str); 4] = [
        (Ceiling::Nothing, "nothing"),
        (Ceiling::Extract, "extract"),
        (Ceiling::Read, "read"),
        (Ceiling::Write, "write"),
    ];

    /// What is left of a grant under this ceiling.
    pub fn limit(self, granted: Access) -> Option<Access> {
        match self {
            Ceiling::Nothing | Ceiling::Extract => None,
            Ceiling::Read => Some(Access::Read),
            Ceiling::Write => Some(granted),
        }
    }

    /// The ceiling of that name.
    pub fn from_name(name: &str) -> Option<Ceiling> {
        Ceiling::ALL.into_iter().find(|(_, known)| *known == name).map(|(ceiling, _)| ceiling)
    }
}

/// Some parts of cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartSet(u8);

impl PartSet {
    /// All of them.
    pub const ALL: PartSet = PartSet(u8::MAX);
    /// None of them.
    pub const NONE: PartSet = PartSet(0);

    /// Whether the part is among them.
    pub fn contains(self, part: Part) -> bool {
        self.0 & (1 << part as u8) != 0
    }
}

impl FromIterator<Part> for PartSet {
    fn from_iter<T: IntoIterator<Item = Part>>(parts: T) -> Self {
        Self(parts.into_iter().fold(0, |all, part| all | (1 << part as u8)))
    }
}

/// What a role has to do with live vitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vitals {
    /// Nothing.
    No,
    /// Sends them.
    Send,
    /// Watches them.
    Watch,
}

impl Vitals {
    /// All of them, with their names in configuration.
    pub const ALL: [(Vitals, &'static str); 3] = [(Vitals::No, "no"), (Vitals::Send, "send"), (Vitals::Watch, "watch")];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Vitals> {
        Vitals::ALL.into_iter().find(|(_, known)| *known == name).map(|(vitals, _)| vitals)
    }
}

/// What is left of a role's grants when a case has been closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterClose {
    /// Nothing.
    Nothing,
    /// Reading, for so many milliseconds.
    ReadFor(i64),
    /// Reading, until the case's retention ends.
    Read,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    /// Location, times, status.
    pub operations: Ceiling,
    /// Person data.
    pub identity: Ceiling,
    /// Findings, vitals, medication, narrative.
    pub clinical: Ceiling,
    /// Whether it gives orders.
    pub orders: bool,
    /// Live vitals.
    pub vitals: Vitals,
    /// When the case has been closed.
    pub after_close: AfterClose,
    /// Whether it opens new documents by writing to them.
    pub creates: bool,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rows: [Row; Role::ALL.len()],
}

impl Policy {
    /// The table under which nobody may do anything.
    pub fn nothing() -> &'static Policy {
        &NOTHING
    }

    /// The role's row.
    pub fn row(&self, role: Role) -> &Row {
        &self.rows[index(role)]
    }

    /// Sets the role's row, as an operator's configuration says.
    ///
    /// # Errors
    /// [`Breach`] when the row would give what no configuration may give; nothing has changed then.
    pub fn set(&mut self, role: Role, row: Row) -> Result<(), Breach> {
        bounds::check(role, &row)?;
        self.rows[index(role)] = row;
        Ok(())
    }

    /// The most that the role may do on that part.
    pub fn ceiling(&self, role: Role, part: Part) -> Ceiling {
        let Row { operations, identity, clinical, .. } = *self.row(role);
        match part {
            Part::Operations => operations,
            Part::Identity => identity,
            Part::Clinical => clinical,
        }
    }

    /// Whether the role may open a new document of that part by writing to it.
    pub fn may_create(&self, role: Role, part: Part) -> bool {
        self.row(role).creates && self.ceiling(role, part) == Ceiling::Write
    }

    /// The parts of which the role ever gets documents.
    pub fn readable(&self, role: Role) -> PartSet {
        Part::ALL.into_iter().filter(|part| self.ceiling(role, *part) >= Ceiling::Read).collect()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { rows: Role::ALL.map(default_row) }
    }
}

/// The default policy of DOMAIN. What stands there as "caller only", "handover view" and the like is an extract.
fn default_row(role: Role) -> Row {
    use Ceiling::{Extract, Nothing, Read, Write};
    let (operations, identity, clinical) = match role {
        Role::AmbulanceCrew | Role::EmergencyPhysician | Role::FieldStaff | Role::BackOffice => (Write, Write, Write),
        Role::TelePhysician => (Read, Read, Write),
        Role::Dispatcher => (Read, Extract, Extract),
        Role::Hospital => (Extract, Extract, Extract),
        Role::Supervisor => (Read, Read, Read),
        Role::Quality => (Extract, Nothing, Extract),
        Role::Operator | Role::Auditor => (Nothing, Nothing, Nothing),
    };
    let vitals = match role {
        Role::AmbulanceCrew => Vitals::Send,
        Role::TelePhysician | Role::EmergencyPhysician => Vitals::Watch,
        _ => Vitals::No,
    };
    let after_close = match role {
        Role::AmbulanceCrew | Role::EmergencyPhysician => AfterClose::ReadFor(CREW_READS_AFTER_CLOSE_MS),
        Role::TelePhysician | Role::Dispatcher | Role::FieldStaff | Role::Supervisor | Role::BackOffice => {
            AfterClose::Read
        }
        Role::Hospital | Role::Quality | Role::Operator | Role::Auditor => AfterClose::Nothing,
    };
    Row {
        operations,
        identity,
        clinical,
        orders: matches!(role, Role::TelePhysician | Role::EmergencyPhysician),
        vitals,
        after_close,
        creates: matches!(role, Role::AmbulanceCrew | Role::EmergencyPhysician | Role::FieldStaff | Role::BackOffice),
    }
}

fn index(role: Role) -> usize {
    role as usize - 1
}

static NOTHING: LazyLock<Policy> = LazyLock::new(|| {
    let row = Row {
        operations: Ceiling::Nothing,
        identity: Ceiling::Nothing,
        clinical: Ceiling::Nothing,
        orders: false,
        vitals: Vitals::No,
        after_close: AfterClose::Nothing,
        creates: false,
    };
    Policy { rows: [row; Role::ALL.len()] }
});

/// A crew completes its report after the mission, within its shift (DOMAIN: 12 h).
const CREW_READS_AFTER_CLOSE_MS: i64 = 12 * 3600 * 1000;

#[cfg(test)]
mod tests;
