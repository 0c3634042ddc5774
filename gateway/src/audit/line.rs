//! A record as auditors read it: JSON for scripts, one line for people, and what to look for.

use feldakte_core::{
    audit::{About, Act, Actor, Chain, Record, RecordError, Row},
    ids::{CaseId, DeviceId, DocumentId, OperatorName, Position, UserId},
};
use serde::{Deserialize, Serialize};

/// A row that a reader of the log sees. Fields that say nothing are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Whose chain; empty for the gateway's own.
    pub tenant: String,
    /// Its place.
    pub row: u64,
    /// When the gateway learned of it, milliseconds since 1970.
    pub time_ms: i64,
    /// `gateway`, `unknown`, `device` or `operator`.
    pub who: String,
    /// Which device, when one acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Who had signed in on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Which operator, when one acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// What was done.
    pub act: String,
    /// How often.
    pub count: u64,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// To what.
    pub about: AboutLine,
    /// From where in the tenant's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// To where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// When the device says that it happened, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_ms: Option<i64>,
}

/// What an act is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AboutLine {
    /// The case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// One of its documents: `operations`, `identity` or `clinical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// A device other than the one that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// A unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// A user other than the one that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Another tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// An operator other than the one that acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// What somebody looks for; what is not given fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From then on, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Before then.
    pub until_ms: Option<i64>,
    /// By this device, or about it.
    pub device: Option<DeviceId>,
    /// By this user, or about him.
    pub user: Option<UserId>,
    /// About this case.
    pub case: Option<CaseId>,
    /// About this document.
    pub document: Option<DocumentId>,
    /// Of this kind.
    pub act: Option<Act>,
    /// By this operator, or about him.
    pub operator: Option<OperatorName>,
}

impl Line {
    /// A row as a line.
    ///
    /// # Errors
    /// When a later release has written the record, or somebody was at it.
    pub fn of(row: &Row) -> Result<Self, RecordError> {
        Ok(Self::of_record(row.seq, Record::decode(&row.record)?))
    }

    /// A record at its place as a line.
    pub fn of_record(row: u64, record: Record) -> Self {
        let Record { chain, when_ms, who, act, about, count, positions, reason, claimed_ms } = record;
        let tenant = chain.name().to_owned();
        let (act, reason) = (act.to_string(), reason.map(|reason| reason.to_string()));
        let [first, last] = [positions.map(|span| span.first), positions.map(|span| span.last)];
        let number = |position: Option<Position>| position.map(|position| position.0);
        let (first, last, about) = (number(first), number(last), about.into());
        let line = Self {
            tenant,
            row,
            time_ms: when_ms,
            act,
            count,
            reason,
            about,
            first,
            last,
            claimed_ms,
            ..Self::default()
        };
        match who {
            Actor::Gateway => Self { who: "gateway".into(), ..line },
            Actor::Unknown => Self { who: "unknown".into(), ..line },
            Actor::Operator(name) => Self { who: "operator".into(), operator: text(Some(name)), ..line },
            Actor::Device { device, user } => {
                Self { who: "device".into(), device: text(Some(device)), user: text(user), ..line }
            }
        }
    }
}

impl From<About> for AboutLine {
    fn from(about: About) -> Self {
        let About { case, document, device, unit, user, session, tenant, operator } = about;
        Self {
            case: text(case.or(document.map(|document| document.case))),
            part: document.map(|document| document.part.name().to_owned()),
            device: text(device),
            unit: text(unit),
            user: text(user),
            session: text(session),
            tenant: text(tenant),
            operator: text(operator),
        }
    }
}

impl Filter {
    /// Whether the row is looked for. What cannot be read is shown to whoever filters nothing: it may be a trace of
    /// somebody's hand.
    pub fn wants(&self, row: &Row) -> bool {
        Record::decode(&row.record).map_or(*self == Filter::default(), |record| self.fits(&record))
    }

    /// Whether the record is looked for.
    pub fn fits(&self, record: &Record) -> bool {
        let Self { from_ms, until_ms, device, user, case, document, act, operator } = self;
        let About { case: of, document: part, device: device_meant, user: user_meant, operator: named, .. } =
            &record.about;
        let (by_device, by_user, by_operator) = match &record.who {
            Actor::Device { device, user } => (Some(*device), *user, None),
            Actor::Operator(name) => (None, None, Some(name)),
            Actor::Gateway | Actor::Unknown => (None, None, None),
        };
        from_ms.is_none_or(|from| record.when_ms >= from)
            && until_ms.is_none_or(|until| record.when_ms < until)
            && device.is_none_or(|wanted| [by_device, *device_meant].contains(&Some(wanted)))
            && user.is_none_or(|wanted| [by_user, *user_meant].contains(&Some(wanted)))
            && case.is_none_or(|wanted| *of == Some(wanted) || part.is_some_and(|part| part.case == wanted))
            && document.is_none_or(|wanted| *part == Some(wanted))
            && act.is_none_or(|wanted| record.act == wanted)
            && operator.as_ref().is_none_or(|wanted| [by_operator, named.as_ref()].contains(&Some(wanted)))
    }
}

/// The chain that a tenant's name on a command line or in a request stands for.
pub fn chain_of(tenant: Option<feldakte_core::ids::TenantId>) -> Chain {
    tenant.map_or(Chain::Gateway, Chain::Tenant)
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}
