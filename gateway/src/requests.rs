//! What devices ask for besides reading and writing: to share a case, to open one in an emergency, and to have their
//! receipts taken. What is answered "done" is durable, and recorded before it takes effect.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use feldakte_core::{
    access::{Access, Ceiling, Grant, Permit, Subject, TakesAway},
    admission::Ledger,
    audit::{About, Act, Record},
    ids::{CaseId, DeviceId, DocumentId, Part},
    limits,
    log::Entry,
};
use feldakte_proto::{Answer, BreakGlass, OpenedOffline, Outcome, Receipts, Seen, ServerMessage, Share};
use tracing::{error, warn};
use uuid::Uuid;

use crate::{
    audit::Trail,
    gateway::{AuthorityError, Shared},
    ledgers::{LedgerCell, LedgerError},
    speaker::Speaker,
    store::{
        StoreError,
        matters::{Matter, Review},
    },
};

/// How often devices have asked of late.
#[derive(Debug, Default)]
pub struct Asked(Mutex<HashMap<(DeviceId, Kind), VecDeque<i64>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    BreakGlass,
    Share,
}

/// One session, asking.
pub(crate) struct Asking<'s> {
    pub shared: &'s Shared,
    pub speaker: &'s Speaker,
    pub trail: &'s Trail,
}

impl Asking<'_> {
    /// Gives the case to somebody else, or takes it from him.
    pub async fn share(&self, share: Share) -> ServerMessage {
        let request = share.request;
        self.answer(request, self.try_share(share).await)
    }

    /// Opens the case in an emergency.
    pub async fn break_glass(&self, emergency: BreakGlass) -> ServerMessage {
        let request = emergency.request;
        self.answer(request, self.try_break_glass(emergency).await)
    }

    /// Takes receipts.
    pub async fn receipts(&self, receipts: Receipts) -> ServerMessage {
        let request = receipts.request;
        self.answer(request, self.try_receipts(receipts).await)
    }

    fn answer(&self, request: u64, outcome: Result<(), Outcome>) -> ServerMessage {
        ServerMessage::Answer(Answer { request, outcome: outcome.err().unwrap_or(Outcome::Done) })
    }

    async fn try_share(&self, share: Share) -> Result<(), Outcome> {
        let Share { request: _, case, parts, subject, access, until_ms } = share;
        let (shared, now_ms) = (self.shared, self.shared.environment.latest_ms());
        let is_own_tenants = matches!(&subject, Subject::Guest { tenant, .. } if *tenant == self.speaker.log);
        let is_over = until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        let is_guest = self.speaker.principal.tenant != self.speaker.log;
        if is_guest || self.speaker.is_wiped || parts.is_empty() || is_own_tenants || is_over {
            return Err(Outcome::NotPermitted);
        }
        let documents = parts.into_iter().map(|part| DocumentId { case, part });
        let wanted = access.map(|access| Grant { until: until_ms, ..Grant::new(subject.clone(), access) });
        let (subject, wanted) = (&subject, wanted.as_ref());
        let mut changing = Vec::new();
        for document in documents {
            let ledger = self.known(document).await?;
            // Who has as much already has it from somebody else: nothing begins for him.
            if ledger.with(|ledger| self.sharing(ledger, subject, wanted))?.is_some() {
                changing.push(document);
            }
        }
        shared.asked.again(self.speaker.principal.device, Kind::Share, now_ms)?;
        let mut records = vec![self.trail.act(Act::Shared, self.shared_with(case, subject))];
        if wanted.is_some() {
            let began = |document: &DocumentId| self.trail.act(Act::GrantBegan, About::grant(*document, subject));
            records.extend(changing.iter().map(began));
        }
        self.record(records).await?;
        for document in changing {
            // What others did meanwhile counts: it is asked again under the lock that writes.
            let mut judged = Ok(());
            let make = |ledger: &mut Ledger| {
                self.sharing(ledger, subject, wanted).unwrap_or_else(|refusal| {
                    judged = Err(refusal);
                    None
                })
            };
            shared.amend(document, make).await.map_err(|error| self.failed(&error))?;
            judged?;
        }
        Ok(())
    }

    /// The entry that a share comes to; `None` when there is nothing to write.
    fn sharing(&self, ledger: &Ledger, subject: &Subject, wanted: Option<&Grant>) -> Result<Option<Entry>, Outcome> {
        let permit = self.write_permit(ledger)?;
        let entry = Entry::new(ledger.document());
        let Some(wanted) = wanted else {
            permit.unshare(subject).map_err(|TakesAway| Outcome::NotPermitted)?;
            return Ok(Some(Entry { revoked: vec![subject.clone()], ..entry }));
        };
        let now_ms = self.shared.environment.latest_ms();
        let held = ledger.grants().iter().find(|grant| grant.subject == *subject && grant.covers(now_ms));
        let given = permit.share(held, wanted.clone()).map_err(|TakesAway| Outcome::NotPermitted)?;
        Ok(given.map(|grant| Entry { grants: vec![grant], ..entry }))
    }

    fn shared_with(&self, case: CaseId, subject: &Subject) -> About {
        let about = About::grant(DocumentId { case, part: Part::Operations }, subject);
        About { document: None, ..about }
    }

    async fn known(&self, document: DocumentId) -> Result<Arc<LedgerCell>, Outcome> {
        let Shared { ledgers, store, metrics, .. } = self.shared;
        let ledger = ledgers.open_known(store, metrics, document).await.map_err(|error| self.failed(&error.into()))?;
        ledger.ok_or(Outcome::NotPermitted)
    }

    /// Proof that the session may write the document at this moment.
    fn write_permit(&self, ledger: &Ledger) -> Result<Permit, Outcome> {
        let author = self.speaker.author(self.speaker.principal.user).ok_or(Outcome::NotPermitted)?;
        let rules = self.speaker.rules(self.shared, &author, ledger);
        let permit = ledger.permit(rules, &author.principal).filter(Permit::may_write);
        permit.ok_or(Outcome::NotPermitted)
    }

    async fn try_break_glass(&self, emergency: BreakGlass) -> Result<(), Outcome> {
        let BreakGlass { request: _, case, reason, text } = emergency;
        let (shared, principal) = (self.shared, &self.speaker.principal);
        let now_ms = shared.environment.latest_ms();
        let is_guest = principal.tenant != self.speaker.log;
        if is_guest || self.speaker.is_wiped || text.trim().is_empty() {
            return Err(Outcome::NotPermitted);
        }
        let documents = self.readable(case).await?;
        shared.asked.again(principal.device, Kind::BreakGlass, now_ms)?;
        let until_ms = now_ms + limits::BREAK_GLASS_MS;
        let matter = Matter::BreakGlass { case, reason, until_ms: Some(until_ms) };
        let review = self.review(shared.environment.random_uuid(), matter, text.into());
        shared.matters.keep(&review).await.map_err(|error| self.failed(&error.into()))?;
        let subject = self.speaker.emergency_subject();
        let began = documents.iter().map(|document| (Act::GrantBegan, About::grant(*document, &subject)));
        let acts = [(Act::BreakGlass, About::case(case))].into_iter().chain(began);
        self.record(acts.map(|(act, about)| self.trail.act(act, about).because(reason.into())).collect()).await?;
        warn!(device = %principal.device, %case, reason = reason.name(), "break-glass");
        shared.metrics.break_glass.inc();
        for document in documents {
            let make = |ledger: &mut Ledger| emergency_entry(ledger, &subject, until_ms);
            shared.amend(document, make).await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// The case's documents that the role may read at all.
    async fn readable(&self, case: CaseId) -> Result<Vec<DocumentId>, Outcome> {
        let Shared { ledgers, store, metrics, policy, .. } = self.shared;
        let mut documents = Vec::new();
        for part in Part::ALL {
            let document = DocumentId { case, part };
            if policy.ceiling(self.speaker.principal.role, part) < Ceiling::Read {
                continue;
            }
            let known =
                ledgers.open_known(store, metrics, document).await.map_err(|error| self.failed(&error.into()))?;
            if known.is_some_and(|ledger| ledger.with(|ledger| *ledger.tenant() == self.speaker.log)) {
                documents.push(document);
            }
        }
        match documents.is_empty() {
            true => Err(Outcome::Unknown),
            false => Ok(documents),
        }
    }

    async fn try_receipts(&self, receipts: Receipts) -> Result<(), Outcome> {
        let Receipts { request: _, purged, wiped, reads, opened, logins } = receipts;
        for emergency in opened {
            self.opened_offline(emergency).await?;
        }
        let mut records: Vec<Record> = reads.into_iter().map(|seen| self.seen(seen)).collect();
        records.extend(logins.into_iter().map(|login| self.trail.login(login)));
        records.extend(purged.into_iter().map(|document| self.trail.act(Act::Purged, About::document(document))));
        self.record(records).await?;
        match wiped {
            Some(order) => self.wiped(Uuid::from_bytes(order)).await,
            None => Ok(()),
        }
    }

    fn seen(&self, Seen { document, user, first_ms: _, last_ms, count }: Seen) -> Record {
        let record = self.trail.act_for(user, Act::ReadOffline, About::document(document));
        Record { count: u64::from(count.max(1)), claimed_ms: Some(last_ms), ..record }
    }

    /// Each for itself, and recorded first: wherever the session breaks off, no supervisor decides on what the audit log does
    /// not have. Told again after a lost answer it is the same matter.
    async fn opened_offline(&self, emergency: OpenedOffline) -> Result<(), Outcome> {
        let OpenedOffline { case, user, reason, text, at_ms } = emergency;
        let named = [&case.as_bytes()[..], self.speaker.principal.device.as_bytes(), &at_ms.to_be_bytes()].concat();
        let matter = Matter::BreakGlass { case, reason, until_ms: None };
        let who = self.speaker.on_device(user);
        let review = Review { who, ..self.review(name_of(&named), matter, text.into()) };
        let record = self.trail.act_for(user, Act::BreakGlass, About::case(case)).because(reason.into());
        self.record(vec![Record { claimed_ms: Some(at_ms), ..record }]).await?;
        self.shared.matters.keep(&review).await.map_err(|error| self.failed(&error.into()))?;
        self.shared.metrics.break_glass.inc();
        Ok(())
    }

    async fn wiped(&self, order: Uuid) -> Result<(), Outcome> {
        let (shared, device) = (self.shared, self.speaker.principal.device);
        let given = shared.matters.wipe_of(device).await.map_err(|error| self.failed(&error.into()))?;
        if !given.is_some_and(|wipe| wipe.order == order && wipe.done_ms.is_none()) {
            // Told again, or an order that nobody gave.
            return Ok(());
        }
        self.record(vec![self.trail.act(Act::Wiped, About::default())]).await?;
        let now_ms = shared.environment.now_ms();
        shared.matters.wiped(device, order, now_ms).await.map_err(|error| self.failed(&error.into()))?;
        warn!(%device, "wiped, as it says");
        Ok(())
    }

    fn review(&self, id: Uuid, matter: Matter, content: Bytes) -> Review {
        let (log, who) = (self.speaker.log.clone(), self.speaker.principal.clone());
        let at_ms = self.shared.environment.now_ms();
        Review { id, log, who, at_ms, matter, content: Some(content), decision: None }
    }

    async fn record(&self, records: Vec<Record>) -> Result<(), Outcome> {
        self.shared.audit.record_all(records).await.map_err(|_| Outcome::Unavailable)
    }

    fn failed(&self, failure: &AuthorityError) -> Outcome {
        match failure {
            AuthorityError::UnknownDocument
            | AuthorityError::Ledger(LedgerError::Store(StoreError::Shredded))
            | AuthorityError::Store(StoreError::Shredded) => Outcome::Unknown,
            failure => {
                error!(error = failure as &dyn std::error::Error, "a request could not be carried out");
                Outcome::Unavailable
            }
        }
    }
}

impl Asked {
    fn again(&self, device: DeviceId, kind: Kind, now_ms: i64) -> Result<(), Outcome> {
        let most = match kind {
            Kind::BreakGlass => limits::BREAK_GLASS_PER_HOUR,
            Kind::Share => limits::SHARES_PER_HOUR,
        };
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, times| times.back().is_some_and(|last| *last > now_ms - HOUR_MS));
        let times = asked.entry((device, kind)).or_default();
        while times.front().is_some_and(|first| *first <= now_ms - HOUR_MS) {
            times.pop_front();
        }
        if times.len() >= most {
            return Err(Outcome::TooOften);
        }
        times.push_back(now_ms);
        Ok(())
    }
}

/// `None` when he has as much already, for as long.
fn emergency_entry(ledger: &Ledger, subject: &Subject, until_ms: i64) -> Option<Entry> {
    let wanted = Grant { until: Some(until_ms), ..Grant::new(subject.clone(), Access::Write) };
    let has = |held: &Grant| held.subject == *subject && held.reaches(&wanted);
    (!ledger.grants().iter().any(has)).then(|| Entry { grants: vec![wanted], ..Entry::new(ledger.document()) })
}

/// The same bytes have the same name.
pub(crate) fn name_of(bytes: &[u8]) -> Uuid {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    uuid::Builder::from_slice(&digest.as_ref()[..16]).expect("16 bytes").into_uuid()
}

const HOUR_MS: i64 = 60 * 60 * 1000;
