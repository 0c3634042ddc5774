//! `[calls]`: where calls of each tenant go, and how long for.

use std::time::Duration;

use feldakte_core::call::{Centre, Group, Phone, Plan, Route};
use serde::Deserialize;

use super::{ConfigError, ca::parse_duration};

/// As it stands in the file.
#[derive(Debug, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCalls {
    ring_for: Option<String>,
    wait_for: Option<String>,
    grace: Option<String>,
    route: Vec<RawRoute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    tenant: String,
    dispatch: Option<String>,
    #[serde(default)]
    group: Vec<RawGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    centre: String,
    phone: Option<String>,
}

impl RawCalls {
    pub(super) fn check(self) -> Result<Plan, ConfigError> {
        let Self { ring_for, wait_for, grace, route } = self;
        let default = Plan::empty();
        let plan = Plan {
            ring_for_ms: duration("calls.ring_for", ring_for, default.ring_for_ms)?,
            wait_for_ms: duration("calls.wait_for", wait_for, default.wait_for_ms)?,
            grace_ms: duration("calls.grace", grace, default.grace_ms)?,
            routes: route.into_iter().map(check_route).collect::<Result<_, _>>()?,
        };
        let is_twice =
            |(index, route): (usize, &Route)| plan.routes[..index].iter().any(|other| other.tenant == route.tenant);
        match plan.routes.iter().enumerate().any(is_twice) {
            true => Err(wrong("calls.route", "two routes are for the same tenant".to_owned())),
            false => Ok(plan),
        }
    }
}

fn check_route(RawRoute { tenant, dispatch, group }: RawRoute) -> Result<Route, ConfigError> {
    let tenant = tenant.parse().map_err(|error| wrong("calls.route.tenant", format!("`{tenant}`: {error}")))?;
    let groups = group.into_iter().map(check_group).collect::<Result<_, _>>()?;
    Ok(Route { tenant, groups, dispatch: phone("calls.route.dispatch", dispatch)? })
}

fn check_group(RawGroup { centre, phone: number }: RawGroup) -> Result<Group, ConfigError> {
    let why = || wrong("calls.route.group.centre", format!("`{centre}` is not TENANT/UNIT, such as dortmund/tna"));
    let (tenant, unit) = centre.split_once('/').ok_or_else(why)?;
    let centre = Centre { tenant: tenant.parse().map_err(|_| why())?, unit: unit.parse().map_err(|_| why())? };
    Ok(Group { centre, phone: phone("calls.route.group.phone", number)? })
}

fn phone(key: &'static str, number: Option<String>) -> Result<Option<Phone>, ConfigError> {
    let checked = number
        .map(|number| Phone::try_from(number.clone()).map_err(|error| wrong(key, format!("`{number}`: {error}"))));
    checked.transpose()
}

fn duration(key: &'static str, text: Option<String>, default_ms: i64) -> Result<i64, ConfigError> {
    let Some(text) = text else { return Ok(default_ms) };
    let read = parse_duration(&text).filter(|read| !read.is_zero() && *read <= LONGEST);
    let why = || wrong(key, format!("`{text}` is not a time such as 20s or 2m, an hour at most"));
    read.map(|read| i64::try_from(read.as_millis()).unwrap_or(i64::MAX)).ok_or_else(why)
}

fn wrong(key: &'static str, why: String) -> ConfigError {
    ConfigError::Value { key: key.into(), why }
}

/// Nobody waits for longer.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Plan, ConfigError> {
        toml::from_str::<RawCalls>(text).expect("every key exists").check()
    }

    #[test]
    fn routes_name_centres_in_their_order_and_dispatch() {
        let text = "ring_for = '15s'\n[[route]]\ntenant = 'dortmund'\ndispatch = '112'\n[[route.group]]\n\
                    centre = 'dortmund/tna'\nphone = '+49 231 1'\n[[route.group]]\ncentre = 'hagen/tna'";
        let plan = check(text).expect("valid");
        assert_eq!((plan.ring_for_ms, plan.grace_ms), (15_000, Plan::empty().grace_ms));
        let route = plan.route(&"dortmund".parse().expect("a slug")).expect("there");
        let units: Vec<_> = route.groups.iter().map(|group| group.centre.to_string()).collect();
        assert_eq!(units, ["dortmund/tna", "hagen/tna"]);
    }

    #[test]
    fn what_cannot_be_used_names_its_key() {
        for (key, text) in [
            ("calls.ring_for", "ring_for = '0s'"),
            ("calls.grace", "grace = 'soon'"),
            ("calls.route.group.centre", "[[route]]\ntenant = 'a'\n[[route.group]]\ncentre = 'tna'"),
            ("calls.route.dispatch", "[[route]]\ntenant = 'a'\ndispatch = 'call us'"),
            ("calls.route", "[[route]]\ntenant = 'a'\n[[route]]\ntenant = 'a'"),
        ] {
            let error = check(text).expect_err("refused").to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
