//! `[policy.ROLE]`: what each role may do at all, where it is to differ from the default table.

use std::collections::BTreeMap;

use feldakte_core::access::{
    Ceiling, Policy, Role,
    policy::{AfterClose, Row, Vitals},
};
use serde::Deserialize;

use super::{ConfigError, parse_duration};

/// By name of the role.
pub(super) type RawPolicy = BTreeMap<String, RawRow>;

/// The cells that differ.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRow {
    operations: Option<String>,
    identity: Option<String>,
    clinical: Option<String>,
    orders: Option<bool>,
    vitals: Option<String>,
    after_close: Option<String>,
    creates: Option<bool>,
}

/// The default table with the rows that the file sets.
pub(super) fn check(raw: RawPolicy) -> Result<Policy, ConfigError> {
    let mut policy = Policy::default();
    for (name, row) in raw {
        let role: Role = name.parse().map_err(|error| wrong(&name, None, format!("{error}")))?;
        let row = row.over(role, *policy.row(role))?;
        policy.set(role, row).map_err(|breach| wrong(&name, Some(breach.cell), breach.to_string()))?;
    }
    Ok(policy)
}

impl RawRow {
    fn over(self, role: Role, default: Row) -> Result<Row, ConfigError> {
        let Self { operations, identity, clinical, orders, vitals, after_close, creates } = self;
        let ceiling = |cell, value: Option<String>, default| match value {
            Some(value) => Ceiling::from_name(&value).ok_or_else(|| unknown(role, cell, &value, CEILINGS)),
            None => Ok(default),
        };
        let row = default.under(
            ceiling("operations", operations, default.operations)?,
            ceiling("identity", identity, default.identity)?,
            ceiling("clinical", clinical, default.clinical)?,
        );
        let vitals = match vitals {
            Some(value) => Vitals::from_name(&value).ok_or_else(|| unknown(role, "vitals", &value, VITALS))?,
            None => row.vitals,
        };
        let after_close = match after_close {
            Some(value) => after_close_of(&value).ok_or_else(|| unknown(role, "after_close", &value, AFTER_CLOSE))?,
            None => row.after_close,
        };
        let (orders, creates) = (orders.unwrap_or(row.orders), creates.unwrap_or(row.creates));
        Ok(Row { orders, vitals, after_close, creates, ..row })
    }
}

fn after_close_of(text: &str) -> Option<AfterClose> {
    match text {
        "nothing" => Some(AfterClose::Nothing),
        "read" => Some(AfterClose::Read),
        time => i64::try_from(parse_duration(time)?.as_millis()).ok().map(AfterClose::ReadFor),
    }
}

fn unknown(role: Role, cell: &str, value: &str, known: &str) -> ConfigError {
    wrong(role.name(), Some(cell), format!("`{value}` is not {known}"))
}

fn wrong(role: &str, cell: Option<&str>, why: String) -> ConfigError {
    let key = ["policy", role].into_iter().chain(cell).collect::<Vec<_>>().join(".");
    ConfigError::Value { key: key.into(), why }
}

const CEILINGS: &str = "nothing, extract, read or write";
const VITALS: &str = "no, send or watch";
const AFTER_CLOSE: &str = "nothing, read, or a time such as 12h";

#[cfg(test)]
mod tests {
    use feldakte_core::ids::Part;

    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        let raw: RawPolicy = toml::from_str(text).map_err(|error| error.to_string())?;
        check(raw).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_it_is_the_default_table() {
        assert_eq!(policy(""), Ok(Policy::default()));
        assert_eq!(policy("[dispatcher]"), Ok(Policy::default()));
    }

    #[test]
    fn what_is_set_is_taken_and_every_other_cell_is_as_it_was() {
        let text = "[hospital]\noperations = 'read'\nafter_close = '36h'\n[field_staff]\ncreates = false\n\
                    [ambulance_crew]\nvitals = 'no'\nidentity = 'extract'";
        let policy = policy(text).expect("valid");
        let default = Policy::default();
        let expected = |role| match role {
            Role::Hospital => Row {
                operations: Ceiling::Read,
                after_close: AfterClose::ReadFor(36 * 3_600_000),
                ..*default.row(role)
            },
            Role::FieldStaff => Row { creates: false, ..*default.row(role) },
            Role::AmbulanceCrew => Row { vitals: Vitals::No, identity: Ceiling::Extract, ..*default.row(role) },
            role => *default.row(role),
        };
        Role::ALL.into_iter().for_each(|role| assert_eq!(*policy.row(role), expected(role), "{role}"));
        assert!(!policy.may_create(Role::AmbulanceCrew, Part::Identity));
    }

    #[test]
    fn a_physician_who_may_only_read_gives_no_orders() {
        let policy = policy("[tele_physician]\nclinical = 'read'").expect("valid");
        let Row { orders, vitals, .. } = *policy.row(Role::TelePhysician);
        assert_eq!((orders, vitals), (false, Vitals::Watch));
    }

    #[test]
    fn a_wrong_role_key_or_value_names_itself() {
        for (text, named) in [
            ("[dispatch]\noperations = 'read'", ["policy.dispatch", "dispatcher"]),
            ("[dispatcher]\nidentiy = 'read'", ["identiy", "identity"]),
            ("[dispatcher]\nidentity = 'reed'", ["policy.dispatcher.identity", "`reed`"]),
            ("[dispatcher]\nvitals = 'all'", ["policy.dispatcher.vitals", "`all`"]),
            ("[dispatcher]\nafter_close = 'never'", ["policy.dispatcher.after_close", "`never`"]),
            ("[dispatcher]\nafter_close = 'write'", ["policy.dispatcher.after_close", "`write`"]),
            ("[dispatcher]\ncreates = 'yes'", ["creates", "boolean"]),
        ] {
            let error = policy(text).expect_err(text);
            assert!(named.iter().all(|named| error.contains(named)), "{error}");
        }
    }

    #[test]
    fn what_no_configuration_may_give_is_refused_with_its_reason() {
        for (text, key, reason) in [
            ("[operator]\nclinical = 'read'", "policy.operator.clinical", "no content"),
            ("[operator]\nidentity = 'extract'", "policy.operator.identity", "no content"),
            ("[auditor]\noperations = 'read'", "policy.auditor.operations", "no content"),
            ("[quality]\nclinical = 'read'", "policy.quality.clinical", "pseudonymous"),
            ("[ambulance_crew]\norders = true", "policy.ambulance_crew.orders", "physician"),
            ("[tele_physician]\norders = false", "policy.tele_physician.orders", "`clinical`"),
            ("[tele_physician]\norders = true\nclinical = 'read'", "policy.tele_physician.orders", "write"),
            ("[dispatcher]\nvitals = 'watch'", "policy.dispatcher.vitals", "clinical content"),
            ("[hospital]\ncreates = true", "policy.hospital.creates", "writing"),
            ("[hospital]\nafter_close = '0s'", "policy.hospital.after_close", "nothing"),
        ] {
            let error = policy(text).expect_err(text);
            assert!(error.contains(&format!("`{key}`")) && error.contains(reason), "{error}");
        }
    }
}
