//! Decides, per change, what may enter the log. Pure: bytes and a principal in, an entry and refusals out.
//!
//! A [`Ledger`] is what admission must know about one document: its grants, its actors and the hashes it holds.
//! It runs ahead of the disk: whoever uses it must throw it away when the commit of an admitted entry fails.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use crate::{
    access::{self, Access, Grant, Permit, Principal, Role, Rules, Subject},
    case,
    change::{Change, ChangeError},
    ids::{ActorId, ChangeHash, DocumentId, TenantId},
    limits,
    log::{Binding, Entry},
};

/// Why one change of a push was not taken. The rest of the push goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not a change we take.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// No grant to write this document, or the role may not open it.
    #[error("no permit to write this document")]
    NotPermitted,
    /// The actor belongs to another device, or to nobody who may write.
    #[error("the actor is not this device's")]
    ForeignActor,
    /// A change of this actor is missing before this one.
    #[error("sequence gap: expected {expected}")]
    SequenceGap {
        /// The number the actor's next change must have.
        expected: u64,
    },
    /// Another change already has this actor and number.
    #[error("sequence number already used, next is {expected}")]
    SequenceReused {
        /// The number the actor's next change must have.
        expected: u64,
    },
    /// A dependency is not in the log, or an actor that operations refer to has no change in it.
    #[error("a dependency is unknown")]
    UnknownDependency,
    /// A dependency was refused earlier in the same push.
    #[error("a dependency was refused")]
    DependencyRefused,
    /// The first operation has not the counter that an honest writer would give it.
    #[error("start_op: expected {expected}")]
    StartOp {
        /// The counter an honest writer would have used.
        expected: u64,
    },
    /// A change without dependencies that is not the document's genesis.
    #[error("only the genesis change may have no dependencies")]
    NotGenesis,
    /// The document has [`limits::ACTORS_MAX`] actors.
    #[error("the document has too many actors")]
    TooManyActors,
    /// The document has [`limits::DOCUMENT_LEN_MAX`] bytes of changes.
    #[error("the document is full")]
    DocumentFull,
}

/// Whether a document that nobody has written yet is free to be opened by its first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Nobody has written the case, or the principal may write another part of it.
    Free,
    /// Others have begun the case: its parts are theirs to open.
    Taken,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// What has to be made durable before anybody hears of it; `None` when all was known or refused.
    pub entry: Option<Entry>,
    /// Index in the push and reason, ascending.
    pub refused: Vec<(usize, Refusal)>,
    /// How many changes of the push were in the log (or on their way into it) before.
    pub duplicates: usize,
}

/// The admission state of one document.
#[derive(Debug, Clone)]
pub struct Ledger {
    tenant: TenantId,
    document: DocumentId,
    grants: Vec<Grant>,
    /// Who could write and may no longer: their work that was under way is kept for a supervisor.
    former: BTreeSet<Subject>,
    /// Every change in the log and the counter of its last operation.
    known: HashMap<ChangeHash, u32>,
    actors: BTreeMap<ActorId, Actor>,
    /// Bytes of all changes in the log.
    len: usize,
}

#[derive(Debug, Clone)]
struct Actor {
    binding: Binding,
    seq: u64,
    max_op: u32,
    /// Its last change; `None` before the first.
    last: Option<ChangeHash>,
}

impl Actor {
    fn new(binding: Binding) -> Self {
        Self { binding, seq: 0, max_op: 0, last: None }
    }
}

impl Ledger {
    /// A document nobody has written yet.
    pub fn new(tenant: TenantId, document: DocumentId) -> Self {
        Self {
            tenant,
            document,
            grants: Vec::new(),
            former: BTreeSet::new(),
            known: HashMap::new(),
            actors: BTreeMap::new(),
            len: 0,
        }
    }

    /// Takes in an entry that is already durable, in log order.
    ///
    /// # Errors
    /// When a stored change does not parse or has no binding: the store is damaged.
    pub fn replay(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.apply_authority(entry);
        for binding in &entry.bindings {
            self.actors.insert(binding.actor, Actor::new(binding.clone()));
        }
        for bytes in &entry.changes {
            let change = Change::parse(bytes.clone())?;
            self.record(&change)?;
        }
        Ok(())
    }

    /// Takes in grants and revocations of an entry. Of each subject the last grant counts.
    pub fn apply_authority(&mut self, entry: &Entry) {
        let is_replaced = |subject: &Subject| entry.grants.iter().any(|grant| grant.subject == *subject);
        let writers = self.grants.iter().filter(|grant| grant.access == Access::Write).map(|grant| &grant.subject);
        let ending = |subject: &&Subject| entry.revoked.contains(subject) || is_replaced(subject);
        self.former.extend(writers.filter(ending).cloned());
        self.grants.retain(|grant| !entry.revoked.contains(&grant.subject) && !is_replaced(&grant.subject));
        self.grants.extend(entry.grants.iter().cloned());
        // Whoever may write again is no former writer.
        let writes = |subject: &Subject| {
            self.grants.iter().any(|grant| grant.subject == *subject && grant.access == Access::Write)
        };
        self.former.retain(|subject| !writes(subject));
    }

    /// The document.
    pub fn document(&self) -> DocumentId {
        self.document
    }

    /// The tenant the document is stored under.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who may do what.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether anything was ever admitted.
    pub fn is_new(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether the document may be opened by whoever writes first. One that somebody was granted before its first
    /// change may not.
    pub fn is_free(&self) -> bool {
        self.is_new() && self.grants.is_empty()
    }

    /// How many actors have written it: see [`limits::ACTORS_ALARM`].
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Whether the change is in the log or on its way into it.
    pub fn knows(&self, hash: &ChangeHash) -> bool {
        self.known.contains_key(hash)
    }

    /// What `principal` may do on the document.
    pub fn permit(&self, rules: Rules<'_>, principal: &Principal) -> Option<Permit> {
        access::decide(rules, principal, &self.tenant, self.document, &self.grants)
    }

    /// Whose grants are valid at that moment: who hears of what is written then.
    pub fn readers(&self, now_ms: i64) -> Vec<Subject> {
        let valid = self.grants.iter().filter(|grant| grant.covers(now_ms));
        valid.map(|grant| grant.subject.clone()).collect()
    }

    /// Whether `principal` may write the document, or could once: what it could not deliver in time is kept for a
    /// supervisor, and not thrown away.
    pub fn could_write(&self, log: &TenantId, principal: &Principal) -> bool {
        let subjects = principal.subjects_in(log);
        let granted = self.grants.iter().filter(|grant| grant.access == Access::Write).map(|grant| &grant.subject);
        self.tenant == *log && granted.chain(&self.former).any(|writer| subjects.contains(writer))
    }

    /// As what somebody has written the document, by what grants are for; `None` when he has not.
    pub fn role_of(&self, subject: &Subject) -> Option<Role> {
        let is_of = |binding: &Binding| match subject {
            Subject::Unit(unit) => binding.home.is_none() && binding.unit == *unit,
            Subject::Device(device) => binding.device == *device,
            Subject::User(user) => binding.user == Some(*user),
            Subject::Guest { tenant, unit } => binding.home.as_ref() == Some(tenant) && binding.unit == *unit,
        };
        self.actors.values().map(|actor| &actor.binding).find(|binding| is_of(binding)).map(|binding| binding.role)
    }

    /// Bytes of memory this ledger holds, for the cache's budget.
    pub fn weight(&self) -> usize {
        const PER_CHANGE: usize = 48;
        const PER_ACTOR: usize = 176;
        let subjects = self.grants.len() + self.former.len();
        256 + self.known.capacity() * PER_CHANGE + self.actors.len() * PER_ACTOR + subjects * 64
    }

    /// Admits what may enter, in order; a change that depends on a refused one is refused with it.
    pub fn admit(
        &mut self,
        rules: Rules<'_>,
        principal: &Principal,
        opening: Opening,
        changes: impl IntoIterator<Item = Result<Change, ChangeError>>,
    ) -> Admission {
        let opening = self.is_free() && opening == Opening::Free;
        let grants = if opening {
            // Until its first change a document belongs to nobody, whoever asked for it before.
            self.tenant = rules.log.clone();
            access::opening_grants(rules, principal, self.document.part)
        } else {
            None
        };
        let permit =
            access::decide(rules, principal, &self.tenant, self.document, grants.as_deref().unwrap_or(&self.grants));
        let writes = permit.is_some_and(|permit| permit.may_write());
        let mut admission = self.admit_all(principal, writes, changes);
        if let (Some(entry), Some(grants)) = (&mut admission.entry, grants) {
            self.grants.clone_from(&grants);
            entry.grants = grants;
        }
        admission
    }

    /// Admits what was kept for a supervisor, who has decided that it belongs into the case: everything but the permit
    /// is checked as ever, and `principal` stays its author. A document that nobody has written yet belongs to `log`, and
    /// to the unit of its author; nothing enters one of another tenant, whose supervisor has decided nothing.
    pub fn admit_evidence(
        &mut self,
        log: &TenantId,
        principal: &Principal,
        changes: impl IntoIterator<Item = Result<Change, ChangeError>>,
    ) -> Admission {
        let opens = self.is_free().then(|| vec![Grant::new(Subject::Unit(principal.unit.clone()), Access::Write)]);
        if opens.is_some() {
            self.tenant = log.clone();
        }
        let is_the_logs = self.tenant == *log;
        let mut admission = self.admit_all(principal, is_the_logs, changes);
        if let (Some(entry), Some(grants)) = (&mut admission.entry, opens) {
            self.grants.clone_from(&grants);
            entry.grants = grants;
        }
        admission
    }

    fn admit_all(
        &mut self,
        principal: &Principal,
        writes: bool,
        changes: impl IntoIterator<Item = Result<Change, ChangeError>>,
    ) -> Admission {
        let mut admission = Admission { entry: None, refused: Vec::new(), duplicates: 0 };
        let mut entry = Entry::new(self.document);
        let mut refused_hashes = HashSet::new();
        for (index, parsed) in changes.into_iter().enumerate() {
            let outcome = match &parsed {
                Err(error) => Err(Refusal::Change(*error)),
                Ok(change) if self.is_own_repeat(principal, change) => Ok(Taken::Known),
                Ok(_) if !writes => Err(Refusal::NotPermitted),
                Ok(change) => self.admit_one(principal, change, &refused_hashes, &mut entry),
            };
            match outcome {
                Ok(Taken::New) => {}
                Ok(Taken::Known) => admission.duplicates += 1,
                Err(refusal) => {
                    refused_hashes.extend(parsed.ok().map(|change| change.hash));
                    admission.refused.push((index, refusal));
                }
            }
        }
        admission.entry = (!entry.changes.is_empty()).then_some(entry);
        admission
    }

    /// A device that lost its grant between push and answer still learns that its change is durable.
    fn is_own_repeat(&self, principal: &Principal, change: &Change) -> bool {
        let is_own = |actor: &Actor| actor.binding.is_of(principal, &self.tenant);
        self.knows(&change.hash) && self.actors.get(&change.actor).is_some_and(is_own)
    }

    fn admit_one(
        &mut self,
        principal: &Principal,
        change: &Change,
        refused: &HashSet<ChangeHash>,
        entry: &mut Entry,
    ) -> Result<Taken, Refusal> {
        if self.known.contains_key(&change.hash) {
            return Ok(Taken::Known);
        }
        if self.len + change.bytes.len() > limits::DOCUMENT_LEN_MAX {
            return Err(Refusal::DocumentFull);
        }
        let is_genesis = self.check_dependencies(change, refused)?;
        if !is_genesis && self.check_actor(principal, change)? {
            let binding = Binding::of(principal, &self.tenant, change.actor);
            entry.bindings.push(binding.clone());
            self.actors.insert(change.actor, Actor::new(binding));
        }
        self.record(change)?;
        entry.changes.push(change.bytes.clone());
        Ok(Taken::New)
    }

    /// Whether the change is the genesis; otherwise its dependencies are known and its counter follows them.
    fn check_dependencies(&self, change: &Change, refused: &HashSet<ChangeHash>) -> Result<bool, Refusal> {
        if change.deps.is_empty() {
            return match change.hash == case::genesis(self.document.part).hash {
                true => Ok(true),
                false => Err(Refusal::NotGenesis),
            };
        }
        let mut max_op = 0;
        for dep in &change.deps {
            match self.known.get(dep) {
                Some(op) => max_op = max_op.max(*op),
                None if refused.contains(dep) => return Err(Refusal::DependencyRefused),
                None => return Err(Refusal::UnknownDependency),
            }
        }
        let expected = u64::from(max_op) + 1;
        if change.start_op != expected {
            return Err(Refusal::StartOp { expected });
        }
        // The library panics on operations of an actor it has seen no change of.
        let is_known = |actor: &ActorId| *actor == case::GENESIS_ACTOR || self.actors.contains_key(actor);
        match change.others.iter().all(is_known) {
            true => Ok(false),
            false => Err(Refusal::UnknownDependency),
        }
    }

    /// Whether the actor is new; otherwise it is this device's and the change is its next one.
    fn check_actor(&self, principal: &Principal, change: &Change) -> Result<bool, Refusal> {
        if change.actor == case::GENESIS_ACTOR {
            return Err(Refusal::ForeignActor);
        }
        let Some(actor) = self.actors.get(&change.actor) else {
            if self.actors.len() >= limits::ACTORS_MAX {
                return Err(Refusal::TooManyActors);
            }
            return match change.seq {
                1 => Ok(true),
                _ => Err(Refusal::SequenceGap { expected: 1 }),
            };
        };
        if !actor.binding.is_of(principal, &self.tenant) {
            return Err(Refusal::ForeignActor);
        }
        let expected = actor.seq + 1;
        if change.seq > expected {
            return Err(Refusal::SequenceGap { expected });
        }
        if change.seq < expected {
            return Err(Refusal::SequenceReused { expected });
        }
        // Two changes of one actor with overlapping counters would give two operations one name.
        let expected = u64::from(actor.max_op) + 1;
        if change.start_op < expected {
            return Err(Refusal::StartOp { expected });
        }
        // Writers always name their own last change; one that does not would be in two histories at once.
        if actor.last.is_some_and(|last| !change.deps.contains(&last)) {
            return Err(Refusal::Change(ChangeError::Malformed("an actor's changes must follow each other")));
        }
        Ok(false)
    }

    fn record(&mut self, change: &Change) -> Result<(), Refusal> {
        let max_op = u32::try_from(change.max_op()).map_err(|_| Refusal::Change(ChangeError::CounterRange))?;
        if change.actor != case::GENESIS_ACTOR {
            let actor = self.actors.get_mut(&change.actor).ok_or(Refusal::ForeignActor)?;
            actor.seq = change.seq;
            actor.max_op = actor.max_op.max(max_op);
            actor.last = Some(change.hash);
        }
        self.known.insert(change.hash, max_op);
        self.len += change.bytes.len();
        Ok(())
    }
}

enum Taken {
    New,
    Known,
}

/// Parses the changes of a push: the part of admission that needs no shared state and may run anywhere.
pub fn parse(changes: impl IntoIterator<Item = Bytes>) -> Vec<Result<Change, ChangeError>> {
    changes.into_iter().map(Change::parse).collect()
}

#[cfg(test)]
mod tests;
