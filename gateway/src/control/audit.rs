//! `/audit`: the audit log for auditors. That somebody has looked is recorded before he sees anything.
//!
//! Rows travel as they are stored, so that whoever asks can prove them again.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::post};
use feldakte_core::{
    audit::{Act, Actor, Chain, Record, Row},
    hex::{hex, unhex},
    ids::{CaseId, DeviceId, DocumentId, OperatorName, Part, TenantId, UserId},
};
use serde::{Deserialize, Serialize};

use super::{Control, ControlError, operator::Authorised, text};
use crate::{
    audit::line::{Filter, chain_of},
    store::registry::OperatorRole,
};

/// Which part of which chain somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditQuery {
    /// The tenant; the gateway's own chain when missing.
    #[serde(with = "text::optional")]
    pub tenant: Option<TenantId>,
    /// Rows after this one.
    pub after: u64,
    /// What for.
    pub purpose: Purpose,
    /// From then on, milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Before then.
    pub until_ms: Option<i64>,
    /// By this device, or about it.
    #[serde(with = "text::optional")]
    pub device: Option<DeviceId>,
    /// By this user, or about him.
    #[serde(with = "text::optional")]
    pub user: Option<UserId>,
    /// About this case.
    #[serde(with = "text::optional")]
    pub case: Option<CaseId>,
    /// About this part of it.
    #[serde(with = "text::optional")]
    pub part: Option<PartName>,
    /// Of this kind.
    #[serde(with = "text::optional")]
    pub act: Option<Act>,
    /// By this operator, or about him.
    #[serde(with = "text::optional")]
    pub operator: Option<OperatorName>,
}

/// A part by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PartName(pub Part);

/// What rows are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To look at them.
    #[default]
    Show,
    /// To take them away.
    Export,
}

/// Rows that fit, and how far they were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Those that fit.
    pub rows: Vec<RawRow>,
    /// The last row that was looked at: the next page is after it.
    pub last: u64,
    /// Whether there are no more.
    pub is_end: bool,
}

/// A row as it is stored, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRow {
    /// Its place.
    pub row: u64,
    /// The hash of the one before.
    pub previous: String,
    /// The record.
    pub record: String,
    /// Its hash.
    pub hash: String,
}

/// All chains that somebody may see, by tenant; `null` is the gateway's own.
pub type Chains = Vec<Option<String>>;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/audit/rows", post(rows)).route("/audit/chains", axum::routing::get(chains))
}

async fn chains(who: Authorised, State(control): State<Arc<Control>>) -> Result<Json<Chains>, ControlError> {
    who.require(OperatorRole::Auditor)?;
    let chains = control.shared.audit.store().chains().await?;
    let visible = chains.into_iter().filter(|chain| may_see(&who, chain).is_ok());
    let name = |chain: Chain| match chain {
        Chain::Gateway => None,
        Chain::Tenant(tenant) => Some(tenant.to_string()),
    };
    Ok(Json(visible.map(name).collect()))
}

async fn rows(
    who: Authorised,
    State(control): State<Arc<Control>>,
    Json(query): Json<AuditQuery>,
) -> Result<Json<AuditPage>, ControlError> {
    who.require(OperatorRole::Auditor)?;
    let (chain, filter) = (chain_of(query.tenant.clone()), query.filter());
    may_see(&who, &chain)?;
    let found = control.shared.audit.store().rows(&chain, query.after, PAGE_ROWS).await?;
    let (last, is_end) = (found.last().map_or(query.after, |row| row.seq), found.len() < PAGE_ROWS);
    let wanted: Vec<Row> = found.into_iter().filter(|row| filter.wants(row)).collect();
    record_reading(&control, &who, (chain, query.purpose), &wanted).await?;
    Ok(Json(AuditPage { rows: wanted.iter().map(RawRow::from).collect(), last, is_end }))
}

/// Before he sees them. That he has seen that he has looked is not recorded, or following the log would never end.
async fn record_reading(
    control: &Control,
    who: &Authorised,
    (chain, purpose): (Chain, Purpose),
    rows: &[Row],
) -> Result<(), ControlError> {
    let is_reading = |row: &Row| Record::decode(&row.record).is_ok_and(|record| record.act == Act::AuditRead);
    if rows.iter().all(is_reading) {
        return Ok(());
    }
    let act = match purpose {
        Purpose::Show => Act::AuditRead,
        Purpose::Export => Act::Exported,
    };
    let record = Record::new(chain, Actor::Operator(who.name().clone()), act);
    let count = rows.len() as u64;
    control.shared.audit.record(Record { count, ..record }).await.map_err(ControlError::from)
}

/// The gateway's own chain tells of all tenants: it is for operators of none in particular.
fn may_see(who: &Authorised, chain: &Chain) -> Result<(), ControlError> {
    match chain {
        Chain::Tenant(tenant) => who.require_in(OperatorRole::Auditor, tenant),
        Chain::Gateway if who.tenant().is_none() => Ok(()),
        Chain::Gateway => Err(ControlError::Forbidden("this operator may see the log of his own tenant alone")),
    }
}

impl AuditQuery {
    /// What is looked for.
    pub fn filter(&self) -> Filter {
        let Self { tenant: _, after: _, purpose: _, from_ms, until_ms, device, user, case, part, act, operator } = self;
        let document = case.zip(*part).map(|(case, PartName(part))| DocumentId { case, part });
        let (device, user, case, act) = (*device, *user, *case, *act);
        let (from_ms, until_ms, operator) = (*from_ms, *until_ms, operator.clone());
        Filter { from_ms, until_ms, device, user, case, document, act, operator }
    }
}

impl From<&Row> for RawRow {
    fn from(Row { seq, previous, record, hash }: &Row) -> Self {
        Self { row: *seq, previous: hex(previous), record: hex(record), hash: hex(hash) }
    }
}

impl RawRow {
    /// The row; `None` when it is not hexadecimal.
    pub fn to_row(&self) -> Option<Row> {
        let hash = |text: &str| unhex(text)?.try_into().ok();
        let (previous, hash) = (hash(&self.previous)?, hash(&self.hash)?);
        Some(Row { seq: self.row, previous, record: unhex(&self.record)?, hash })
    }
}

impl std::fmt::Display for PartName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl From<PartName> for String {
    fn from(name: PartName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for PartName {
    type Error = feldakte_core::ids::IdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::str::FromStr for PartName {
    type Err = feldakte_core::ids::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Rows looked at for one answer: at most two megabytes of it.
const PAGE_ROWS: usize = 2048;
