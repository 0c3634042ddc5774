//! What no configuration may say of a role, each with its reason: the table can be changed, what the product stands on
//! cannot.

use super::{AfterClose, Ceiling, Row, Vitals};
use crate::{access::Role, case::author::may_order};

/// A row that may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Breach {
    /// The cell at fault, by its name in configuration.
    pub cell: &'static str,
    /// What stands against it.
    pub rule: Rule,
}

/// What rows have to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// Operators and auditors get no content.
    #[error(
        "operators and auditors get no content: whoever runs or audits the gateway would make himself a reader by a line \
         in its own file"
    )]
    ContentFree,
    /// Quality management gets no document.
    #[error("quality management sees pseudonymous extracts: every document of a case can name the patient")]
    Pseudonymous,
    /// Physicians alone give orders.
    #[error(
        "only tele_physician and emergency_physician give orders: devices take them from nobody else, whatever stands here"
    )]
    Physicians,
    /// A physician who writes gives orders.
    #[error(
        "devices take the orders of every physician who may write, whatever stands here: to take them away, set `clinical` \
         to `read`"
    )]
    OrdersAreTaken,
    /// An order is a part of the clinical document.
    #[error("an order is written into the clinical document: it needs `clinical = \"write\"`")]
    OrdersAreWritten,
    /// Live vitals are clinical content.
    #[error(
        "live vitals are clinical content: to watch them needs `clinical` to be at least `read`, to send them `write`"
    )]
    VitalsAreClinical,
    /// A document is opened by writing to it.
    #[error("a document is opened by writing to it: it needs a part that is `write`")]
    CreatesByWriting,
    /// A time has a length.
    #[error("a time after the close has a length; `nothing` ends access at once")]
    NoTime,
}

/// Whether the row may be the role's.
pub(super) fn check(role: Role, row: &Row) -> Result<(), Breach> {
    let Row { operations, identity, clinical, orders, vitals, after_close, creates } = *row;
    let ceilings = [("operations", operations), ("identity", identity), ("clinical", clinical)];
    let most = most_of(role);
    for ((cell, ceiling), (most, rule)) in ceilings.into_iter().zip(most) {
        refuse(ceiling > most, cell, rule)?;
    }
    refuse(orders && !may_order(role), "orders", Rule::Physicians)?;
    refuse(orders && clinical < Ceiling::Write, "orders", Rule::OrdersAreWritten)?;
    refuse(!orders && may_order(role) && clinical == Ceiling::Write, "orders", Rule::OrdersAreTaken)?;
    refuse(!vitals.is_under(clinical), "vitals", Rule::VitalsAreClinical)?;
    refuse(creates && !row.writes_any(), "creates", Rule::CreatesByWriting)?;
    refuse(matches!(after_close, AfterClose::ReadFor(..=0)), "after_close", Rule::NoTime)
}

/// The most that may be given to the role: of operations, identity, clinical.
fn most_of(role: Role) -> [(Ceiling, Rule); 3] {
    match role {
        Role::Operator | Role::Auditor => [(Ceiling::Nothing, Rule::ContentFree); 3],
        Role::Quality => [Ceiling::Extract, Ceiling::Nothing, Ceiling::Extract].map(|most| (most, Rule::Pseudonymous)),
        _ => [(Ceiling::Write, Rule::ContentFree); 3],
    }
}

fn refuse(is_breach: bool, cell: &'static str, rule: Rule) -> Result<(), Breach> {
    if is_breach { Err(Breach { cell, rule }) } else { Ok(()) }
}

impl Row {
    /// The row with other ceilings; what can no longer be done under them goes with them.
    pub fn under(self, operations: Ceiling, identity: Ceiling, clinical: Ceiling) -> Row {
        let row = Row { operations, identity, clinical, ..self };
        let vitals = if row.vitals.is_under(clinical) { row.vitals } else { Vitals::No };
        let (orders, creates) = (row.orders && clinical == Ceiling::Write, row.creates && row.writes_any());
        Row { orders, vitals, creates, ..row }
    }

    fn writes_any(&self) -> bool {
        [self.operations, self.identity, self.clinical].contains(&Ceiling::Write)
    }
}

impl Vitals {
    fn is_under(self, clinical: Ceiling) -> bool {
        match self {
            Vitals::No => true,
            Vitals::Watch => clinical >= Ceiling::Read,
            Vitals::Send => clinical == Ceiling::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Policy;
    use Ceiling::{Extract, Nothing, Read, Write};

    fn row(role: Role) -> Row {
        *Policy::default().row(role)
    }

    #[test]
    fn every_row_of_the_default_policy_may_be() {
        for role in Role::ALL {
            assert_eq!(check(role, &row(role)), Ok(()), "{role}");
        }
    }

    #[test]
    fn no_configuration_makes_readers_of_those_who_run_audit_or_count() {
        for role in [Role::Operator, Role::Auditor, Role::Quality] {
            for (ceiling, name) in Ceiling::ALL {
                let default = row(role);
                for (cell, row, own) in [
                    ("operations", Row { operations: ceiling, ..default }, default.operations),
                    ("identity", Row { identity: ceiling, ..default }, default.identity),
                    ("clinical", Row { clinical: ceiling, ..default }, default.clinical),
                ] {
                    let breach = check(role, &row).err().map(|breach| breach.cell);
                    assert_eq!(breach, (ceiling > own).then_some(cell), "{role}.{cell} = {name}");
                }
            }
        }
    }

    #[test]
    fn orders_are_given_by_exactly_those_whose_orders_devices_take() {
        for role in Role::ALL {
            for clinical in [Nothing, Extract, Read, Write] {
                for orders in [false, true] {
                    let written = Row { clinical, orders, vitals: Vitals::No, ..row(role) };
                    let refused = check(role, &written).err().map(|breach| breach.cell);
                    let takes = may_order(role) && clinical == Write;
                    if refused != Some("clinical") {
                        assert_eq!(refused == Some("orders"), orders != takes, "{role}, {clinical:?}, {orders}");
                    }
                }
            }
        }
    }

    #[test]
    fn cells_that_contradict_each_other_are_refused() {
        let crew = row(Role::AmbulanceCrew);
        for (cell, row) in [
            ("vitals", Row { clinical: Read, ..crew }),
            ("vitals", Row { clinical: Extract, vitals: Vitals::Watch, ..crew }),
            ("creates", Row { operations: Read, identity: Read, clinical: Read, vitals: Vitals::No, ..crew }),
            ("after_close", Row { after_close: AfterClose::ReadFor(0), ..crew }),
            ("after_close", Row { after_close: AfterClose::ReadFor(-1), ..crew }),
        ] {
            assert_eq!(check(Role::AmbulanceCrew, &row).map_err(|breach| breach.cell), Err(cell), "{row:?}");
        }
    }

    #[test]
    fn lower_ceilings_take_with_them_what_stands_on_them() {
        let cells = [Nothing, Extract, Read, Write];
        for role in Role::ALL {
            for [operations, identity, clinical] in
                cells.into_iter().flat_map(|a| cells.into_iter().flat_map(move |b| cells.map(|c| [a, b, c])))
            {
                let lowered = row(role).under(operations, identity, clinical);
                let breach = check(role, &lowered).err().map(|breach| breach.cell);
                assert!(!matches!(breach, Some("orders" | "vitals" | "creates")), "{role}: {breach:?}");
            }
        }
    }
}
