//! The case for the desk that has a call about it: given when it takes the call, ended some time after it has left.
//!
//! What is given is written down before it is, so that after any crash it is known what to end; the end itself is in the grant,
//! which the log's clock ends. A document that nobody has pushed yet is given as soon as it is there, for as long as the call
//! goes on. Somebody who has as much already is given nothing, and loses nothing; who had less has it again afterwards.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    admission::Ledger,
    audit::{self, Act, Actor, Chain},
    call::{About, Note, Party, Switchboard},
    ids::{CallId, CaseId, DeviceId, DocumentId, Part, TenantId},
    limits,
    log::Entry,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Record, kept_call};
use crate::gateway::{AuthorityError, Shared};

/// What desks are to be given, or to lose.
#[derive(Debug)]
pub(super) enum Change {
    /// For as long as the call goes on.
    Open {
        /// To whom.
        desk: About,
        /// By whom.
        crew: Party,
    },
    /// Then.
    Shut {
        /// From whom.
        about: About,
        /// Milliseconds since 1970-01-01 UTC.
        ends_ms: i64,
    },
}

/// What desks were given, by call and desk.
type Grants = BTreeMap<(CallId, DeviceId), Open>;

#[derive(Debug)]
struct Open {
    given: Given,
    /// Since the gateway runs: each part's grant is known to be there.
    done: Vec<Part>,
    /// Written down.
    is_kept: bool,
    /// It was tried to give what there is to give.
    is_begun: bool,
}

/// As it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    call: CallId,
    case: CaseId,
    log: TenantId,
    desk: Party,
    crew: Party,
    /// What was given because of the call.
    parts: Vec<GivenPart>,
    /// When it ends, once that is known.
    ends_ms: Option<i64>,
}

/// Gives and ends, as far as the log can be written; the rest is tried again.
pub(super) async fn run(shared: Arc<Shared>, given: Vec<Given>, mut changes: mpsc::Receiver<Change>) {
    let open = |given: Given| {
        ((given.call, given.desk.device), Open { given, done: Vec::new(), is_kept: true, is_begun: true })
    };
    let mut grants: Grants = given.into_iter().map(open).collect();
    loop {
        let change = match grants.is_empty() {
            true => changes.recv().await,
            false => match tokio::time::timeout(LOOK_EVERY, changes.recv()).await {
                Ok(change) => change,
                Err(_) => {
                    pursue(&mut grants, &shared).await;
                    continue;
                }
            },
        };
        match change {
            Some(change) => take(&mut grants, change),
            None => return,
        }
        while let Ok(change) = changes.try_recv() {
            take(&mut grants, change);
        }
        pursue(&mut grants, &shared).await;
    }
}

fn take(grants: &mut Grants, change: Change) {
    match change {
        Change::Open { desk: About { call, case, log, who }, crew } => {
            let key = (call, who.device);
            let given = Given { call, case, log, desk: who, crew, parts: Vec::new(), ends_ms: None };
            let open = grants.entry(key).or_insert(Open { given, done: Vec::new(), is_kept: false, is_begun: false });
            open.given.ends_ms = None;
            open.done.clear();
        }
        // Ended and forgotten long ago otherwise.
        Change::Shut { about, ends_ms } => {
            if let Some(open) = grants.get_mut(&(about.call, about.who.device)) {
                open.given.ends_ms = Some(ends_ms);
            }
        }
    }
}

async fn pursue(grants: &mut Grants, shared: &Shared) {
    let now_ms = shared.environment.latest_ms();
    let keys: Vec<_> = grants.keys().copied().collect();
    for key in keys {
        let Some(given) = grants.get(&key).map(|open| open.given.clone()) else { continue };
        let is_like = |other: &&Open| {
            let other = &other.given;
            (other.call, other.desk.device) != key && other.case == given.case && other.subject() == given.subject()
        };
        let (mut others, mut is_needed) = (Vec::new(), false);
        for other in grants.values().filter(is_like) {
            others.extend(other.given.parts.iter().cloned());
            is_needed |= other.given.ends_ms.is_none();
        }
        let Some(open) = grants.get_mut(&key) else { continue };
        let done = match open.given.ends_ms {
            None => open.give(shared, now_ms, &others).await,
            // Of a call that was over at once the window is left: somebody writes down what was said.
            Some(ends_ms) if !open.is_begun && now_ms < ends_ms => open.give(shared, now_ms, &others).await,
            // Another call needs it still; whoever is the last one ends it.
            Some(_) if is_needed => Ok(false),
            Some(ends_ms) => open.end(shared, ends_ms).await,
        };
        match done {
            Ok(true) => drop(grants.remove(&key)),
            Ok(false) => {}
            Err(error) => warn!(%error, call = %key.0, "a desk could not be given its case, or kept it: tried again"),
        }
    }
}

/// A grant on one part of the case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct GivenPart {
    part: u8,
    /// Until when it was given: whoever else has changed it since has the last word.
    until_ms: i64,
    /// What was there before: whether to write, and until when.
    before: Option<(bool, Option<i64>)>,
}

impl Given {
    /// Of a call that nobody knows any more nothing else would end it.
    pub(super) fn end_without(&mut self, board: &Switchboard, ends_ms: i64) {
        if self.ends_ms.is_none() && !board.knows(self.call) {
            self.ends_ms = Some(ends_ms);
        }
    }

    /// Of its own tenant the device alone; of another one its tele-centre, for more is not known there.
    fn subject(&self) -> Subject {
        match self.desk.unit.tenant == self.log {
            true => Subject::Device(self.desk.device),
            false => Subject::Guest { tenant: self.desk.unit.tenant.clone(), unit: self.desk.unit.unit.clone() },
        }
    }
}

impl Open {
    /// Never over before the call is. `others` were given to the same subject for other calls about the case.
    async fn give(&mut self, shared: &Shared, now_ms: i64, others: &[GivenPart]) -> Result<bool, AuthorityError> {
        for part in Part::ALL.into_iter().filter(|part| !self.done.contains(part)).collect::<Vec<_>>() {
            let Some(access) = shared.policy.ceiling(Role::TelePhysician, part).limit(Access::Write) else {
                self.done.push(part);
                continue;
            };
            let document = DocumentId { case: self.given.case, part };
            let Some(ledger) = shared.ledgers.open_known(&shared.store, &shared.metrics, document).await? else {
                continue;
            };
            let until_ms = now_ms.saturating_add(limits::CALL_GRANT_MS);
            let wanted = Grant { until: Some(until_ms), ..Grant::new(self.given.subject(), access) };
            // Not the crew's to give, or had already: looked at again, as things may change while the call goes on.
            let Some((_, held)) = ledger.with(|ledger| self.adds(ledger, &wanted, now_ms)) else { continue };
            let is_part = |given: &&GivenPart| given.part == part as u8;
            let known = self.given.parts.iter().chain(others).find(is_part).map(|given| given.before);
            let before = known.unwrap_or_else(|| held.map(|held| (held.access == Access::Write, held.until)));
            let known = self.given.parts.clone();
            self.given.parts.retain(|given| given.part != part as u8);
            self.given.parts.push(GivenPart { part: part as u8, until_ms, before });
            // In memory as well only what stands on the disk: a grant that nobody remembers would outlive the call.
            if let Err(error) = self.keep(shared).await {
                self.given.parts = known;
                return Err(error);
            }
            let who = Actor::of_party(&self.given.desk);
            let record = audit::Record::new(Chain::Tenant(self.given.log.clone()), who, Act::GrantBegan);
            shared.audit.record(record.about(audit::About::grant(document, &wanted.subject))).await?;
            // What others did meanwhile counts.
            shared.amend(document, |ledger| self.adds(ledger, &wanted, now_ms).map(|(entry, _)| entry)).await?;
            self.done.push(part);
        }
        self.is_begun = true;
        Ok(false)
    }

    /// The entry that gives it, and what there was before; `None` when there is nothing to give, or it is not the crew's to give.
    fn adds(&self, ledger: &Ledger, wanted: &Grant, now_ms: i64) -> Option<(Entry, Option<Grant>)> {
        if *ledger.tenant() != self.given.log || self.given.crew.unit.tenant != self.given.log {
            return None;
        }
        let crew = &self.given.crew;
        let is_crews = |subject: &Subject| match subject {
            Subject::Unit(unit) => *unit == crew.unit.unit,
            Subject::Device(device) => *device == crew.device,
            Subject::User(user) => Some(*user) == crew.user,
            Subject::Guest { .. } => false,
        };
        let valid = || ledger.grants().iter().filter(|grant| grant.covers(now_ms));
        if !valid().any(|grant| grant.access == Access::Write && is_crews(&grant.subject)) {
            return None;
        }
        let held = valid().find(|grant| grant.subject == wanted.subject).cloned();
        let lasts = |held: &Grant| held.until.is_none_or(|until| until > now_ms + LASTS_MS);
        if held.as_ref().is_some_and(|held| held.access >= wanted.access && lasts(held)) {
            return None;
        }
        Some((Entry { grants: vec![wanted.clone()], ..Entry::new(ledger.document()) }, held))
    }

    /// Whether that is done. What others have given the same subject stays.
    async fn end(&mut self, shared: &Shared, ends_ms: i64) -> Result<bool, AuthorityError> {
        let (subject, now_ms) = (self.given.subject(), shared.environment.latest_ms());
        let mut is_over = true;
        for given in &self.given.parts {
            let Some(part) = Part::from_number(given.part) else { continue };
            let until = match given.before {
                // As long as it was meant to last without the call, or longer for the window's sake.
                Some((true, until)) => until.map(|until| until.max(ends_ms)),
                // Less than writing comes back when the window is over.
                Some((false, _)) if now_ms < ends_ms => {
                    is_over = false;
                    continue;
                }
                Some((false, until)) => until,
                None => Some(ends_ms),
            };
            let access = if matches!(given.before, Some((false, _))) { Access::Read } else { Access::Write };
            let document = DocumentId { case: self.given.case, part };
            let change = |ledger: &mut Ledger| {
                let held = ledger.grants().iter().find(|grant| grant.subject == subject)?;
                // Somebody else has changed it meanwhile.
                let is_ours = held.until == Some(given.until_ms);
                let grant = Grant { access: access.min(held.access), until, ..held.clone() };
                is_ours.then(|| Entry { grants: vec![grant], ..Entry::new(ledger.document()) })
            };
            match shared.amend(document, change).await {
                Ok(_) | Err(AuthorityError::UnknownDocument) => {}
                Err(error) => return Err(error),
            }
        }
        if is_over && self.is_kept {
            shared.matters.keep_calls(&[kept_call(self.name(), None)]).await?;
        } else if !is_over {
            self.keep(shared).await?;
        }
        Ok(is_over)
    }

    async fn keep(&mut self, shared: &Shared) -> Result<(), AuthorityError> {
        shared.matters.keep_calls(&[kept_call(self.name(), Some(Record::Given(self.given.clone())))]).await?;
        self.is_kept = true;
        Ok(())
    }

    fn name(&self) -> String {
        format!("given {} {}", self.given.call, self.given.desk.device)
    }
}

/// What the audit log is told of a call.
pub(super) fn record(what: Note, about: &About) -> audit::Record {
    let (act, reason) = match what {
        Note::Called => (Act::CallBegan, None),
        Note::Accepted => (Act::CallAccepted, None),
        Note::Declined => (Act::CallDeclined, None),
        Note::Transferred => (Act::CallTransferred, None),
        Note::Ended(end) => (Act::CallEnded, Some(end.into())),
    };
    let who = match what {
        Note::Ended(_) => Actor::Gateway,
        _ => Actor::of_party(&about.who),
    };
    let unit = Some(about.who.unit.unit.clone());
    let tenant = (about.who.unit.tenant != about.log).then(|| about.who.unit.tenant.clone());
    let record = audit::Record::new(Chain::Tenant(about.log.clone()), who, act);
    audit::Record { reason, ..record.about(audit::About { unit, tenant, ..audit::About::case(about.case) }) }
}

/// A grant that ends sooner is taken for one that does not last: calls are over by then.
const LASTS_MS: i64 = limits::CALL_GRANT_MS - 60 * 60 * 1000;
/// Between two looks at what could not be given or ended yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);
