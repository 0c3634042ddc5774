//! What a session leaves in the audit log. The first time a document leaves in a session, that is durable before its
//! first byte does.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use feldakte_core::{
    access::Principal,
    audit::{About, Act, Actor, Chain, Reason, Record, Span},
    ids::{DocumentId, Position, SessionId, TenantId, UnitId, UserId},
    limits,
};
use feldakte_proto::{Login, LoginEvent, SignInRefusal, SignedIn};

use super::{Audit, AuditError};
use crate::{mailbox::Mail, speaker::Speaker};

/// In whose name a session acts, and which documents have left in it.
#[derive(Debug)]
pub struct Trail {
    audit: Audit,
    /// Of the device's own tenant: where its sessions stand.
    home: TenantId,
    /// Whose log the session is in: where its acts upon documents stand. Another tenant's for guests.
    log: TenantId,
    who: Actor,
    unit: UnitId,
    session: SessionId,
    began: AtomicBool,
    /// How often something was refused.
    refused: AtomicU64,
    /// What is forgotten is recorded again, see [`limits::AUDIT_READS_REMEMBERED`].
    recorded: Mutex<BTreeSet<DocumentId>>,
}

impl Trail {
    /// Of a session in which nothing has happened.
    pub fn new(audit: Audit, principal: &Principal, log: &TenantId, session: SessionId) -> Self {
        let (home, log) = (principal.tenant.clone(), log.clone());
        let (who, unit) = (Actor::of(principal), principal.unit.clone());
        let (began, refused, recorded) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::default());
        Self { audit, home, log, who, unit, session, began, refused, recorded }
    }

    /// The log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The session begins; not a byte may leave before. While the log cannot be written the session sends no document,
    /// and that it began is noted.
    pub async fn begin(&self, speaker: &Speaker) {
        self.began.store(true, Ordering::Relaxed);
        let sign_ins = speaker.active.iter().chain(&speaker.delivers).map(|signed_in| self.sign_in(signed_in));
        let records: Vec<Record> = [self.session_act(Act::SessionBegan)].into_iter().chain(sign_ins).collect();
        if self.audit.record_all(records.clone()).await.is_err() {
            self.audit.note_all(records);
        }
    }

    /// Users who have proved themselves on the device, and those who have not.
    fn sign_in(&self, signed_in: &SignedIn) -> Record {
        match signed_in {
            SignedIn::As { user, .. } => {
                let record = self.session_act(Act::SignedIn);
                Record { about: About { user: Some(*user), ..record.about }, ..record }
            }
            SignedIn::Refused(refusal) => self.session_act(Act::SignInRefused).because(reason_of(*refusal)),
        }
    }

    /// A user whom the device has judged itself. Whoever did not know the PIN is nobody in particular: it is about the user.
    pub fn login(&self, Login { user, what, at_ms }: Login) -> Record {
        let (act, by, reason) = match what {
            LoginEvent::SignedIn => (Act::SignedIn, Some(user), None),
            LoginEvent::SignedOut => (Act::SignedOut, Some(user), None),
            LoginEvent::Replaced => (Act::SignedOut, Some(user), Some(Reason::UserChanged)),
            LoginEvent::PinWrong => (Act::SignInRefused, None, Some(Reason::PinWrong)),
            LoginEvent::PinLocked => (Act::SignInRefused, None, Some(Reason::PinLocked)),
        };
        let record = self.by_user(by, self.session_act(act));
        let about = About { user: Some(user), ..record.about };
        Record { about, reason, claimed_ms: Some(at_ms), ..record }
    }

    /// It is over, or never began.
    pub fn end(&self, reason: Reason) {
        let act = if self.began.load(Ordering::Relaxed) { Act::SessionEnded } else { Act::SessionRefused };
        self.audit.note(self.session_act(act).because(reason));
        self.audit.end_session(self.session);
    }

    /// A change was not taken, or a document not given. The first documents are named, the rest counted: a device that is
    /// refused thousands of times must not fill the disk.
    pub fn note_refusal(&self, document: DocumentId, reason: feldakte_proto::Reason) {
        let is_named = self.refused.fetch_add(1, Ordering::Relaxed) < REFUSALS_NAMED;
        let document = is_named.then_some(document);
        let reason = u16::try_from(reason as u32).ok().and_then(Reason::from_number);
        let record = self.session_act(Act::Refused);
        let (case, document) = (document.map(|document| document.case), document);
        let about = About { case, document, ..record.about };
        self.audit.note(Record { reason, about, ..record });
    }

    /// Entries of the live tail after `sent` are about to leave. Grants and their ends say nothing of a case.
    pub fn note_live(&self, mail: &[Mail], sent: Position) {
        let entries = mail.iter().filter_map(|mail| match mail {
            Mail::Entry(entry) if entry.position > sent && entry.has_content => Some(entry),
            Mail::Entry(_) | Mail::Own(_) | Mail::Answer(_) => None,
        });
        self.audit.note_all(entries.map(|entry| self.read(entry.document, Some(Span::of(entry.position)))));
    }

    /// An act upon documents.
    pub fn act(&self, act: Act, about: About) -> Record {
        let tenant = about.tenant.or_else(|| self.is_guest().then(|| self.home.clone()));
        let is_about_others = about.device.is_some() || about.user.is_some();
        let unit = about.unit.or_else(|| (!is_about_others).then(|| self.unit.clone()));
        let about = About { unit, tenant, session: Some(self.session), ..about };
        Record::new(self.log.clone().into(), self.who.clone(), act).about(about)
    }

    /// The same in the name of a user whose work the session delivers.
    pub fn act_for(&self, user: Option<UserId>, act: Act, about: About) -> Record {
        self.by_user(user, self.act(act, about))
    }

    fn by_user(&self, user: Option<UserId>, record: Record) -> Record {
        let who = match record.who {
            Actor::Device { device, .. } => Actor::Device { device, user },
            who => who,
        };
        Record { who, ..record }
    }

    /// What concerns the session itself. It stands with the device's own tenant: another one's chain begins with what
    /// that tenant has shared, not with a name that a device has made up.
    fn session_act(&self, act: Act) -> Record {
        let tenant = self.is_guest().then(|| self.log.clone());
        let about = About { unit: Some(self.unit.clone()), tenant, session: Some(self.session), ..About::default() };
        Record::new(self.home.clone().into(), self.who.clone(), act).about(about)
    }

    fn is_guest(&self) -> bool {
        self.home != self.log
    }

    /// The documents may leave when this returns. Those that have left before are noted only.
    ///
    /// # Errors
    /// Not a byte of them may leave.
    pub async fn record_reads(&self, documents: &[DocumentId], span: Option<Span>) -> Result<(), AuditError> {
        let (known, new): (Vec<DocumentId>, Vec<DocumentId>) = {
            let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            documents.iter().partition(|document| recorded.contains(document))
        };
        let read = |document| self.read(document, span);
        if !known.is_empty() {
            self.audit.note_all(known.into_iter().map(read));
        }
        self.audit.record_all(new.iter().copied().map(read).collect()).await?;
        self.remember(new);
        Ok(())
    }

    /// The document, or a part of its changes, leaves.
    pub fn read(&self, document: DocumentId, positions: Option<Span>) -> Record {
        Record { positions, ..self.act(Act::Read, About::document(document)) }
    }

    fn remember(&self, documents: Vec<DocumentId>) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() + documents.len() > limits::AUDIT_READS_REMEMBERED {
            recorded.clear();
        }
        recorded.extend(documents);
    }
}

/// Somebody knocked whose certificate says nothing.
pub fn note_stranger(audit: &Audit, reason: Reason) {
    audit.note(Record::new(Chain::Gateway, Actor::Unknown, Act::SessionRefused).because(reason));
}

/// Why a user's proof was not taken.
pub fn reason_of(refusal: SignInRefusal) -> Reason {
    match refusal {
        SignInRefusal::Malformed => Reason::Malformed,
        SignInRefusal::Expired => Reason::Expired,
        SignInRefusal::NotTrusted => Reason::Issuer,
        SignInRefusal::NoRole => Reason::Role,
        SignInRefusal::Denied => Reason::Denied,
    }
}

/// Documents of refusals that are named in one session.
const REFUSALS_NAMED: u64 = 16;
