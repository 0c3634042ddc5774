//! An honest writer of one document without a store: makes changes as the SDK would, byte for byte.

use bytes::Bytes;
use feldakte_core::{
    access::{Policy, Principal, Rules},
    admission::{self, Ledger},
    case::{self, Edit},
    change::Change,
    crdt::{Document, NewChange, Stamp, Value},
    ids::{ActorId, ChangeHash, DocumentId, Epoch, UserId},
};
use feldakte_gateway::store::Append;

/// A device's replica of one document.
#[derive(Debug)]
pub struct Author {
    /// Which document.
    pub document: DocumentId,
    /// Under which actor it writes.
    pub actor: ActorId,
    /// How many changes it has made.
    pub made: usize,
    replica: Document,
}

impl Author {
    /// Begins the document, or goes on with what somebody else began.
    pub fn new(principal: &Principal, document: DocumentId) -> Self {
        Self::under(case::actor(principal.device, document, Epoch(uuid::Uuid::nil()), 0), document)
    }

    /// The same as a user of the device.
    pub fn of_user(device: &Principal, user: UserId, document: DocumentId) -> Self {
        let store = Epoch(uuid::Uuid::nil());
        Self::under(case::user_actor(device.device, Some(user), document, store, 0), document)
    }

    /// The same under any actor.
    pub fn under(actor: ActorId, document: DocumentId) -> Self {
        let replica = Document::load(&Self::genesis(document), actor).expect("the genesis loads");
        Self { document, actor, made: 0, replica }
    }

    /// The first change of every such document.
    pub fn genesis(document: DocumentId) -> Bytes {
        case::genesis(document.part).bytes.clone()
    }

    /// Sets a fact: one change.
    pub fn set(&mut self, name: &str, value: &str) -> NewChange {
        let part = self.document.part;
        self.save(&Edit::SetFact { part, name: name.to_owned(), value: Value::Text(value.to_owned()) })
    }

    /// Saves an edit: one change.
    pub fn save(&mut self, edit: &Edit) -> NewChange {
        self.made += 1;
        let change = self
            .replica
            .edit(Stamp::at(1_700_000_000_000), |edits| edit.apply(edits))
            .expect("an edit of its own document");
        change.expect("a value that was not there before")
    }

    /// The genesis and `count` changes after it.
    pub fn begin(&mut self, count: usize) -> Vec<Bytes> {
        let genesis = Self::genesis(self.document);
        std::iter::once(genesis).chain((0..count).map(|n| self.set("gcs", &n.to_string()).bytes)).collect()
    }

    /// Takes in changes of others.
    pub fn apply(&mut self, changes: &[Bytes]) {
        self.replica.apply(changes).expect("honest changes apply");
    }

    /// The present heads.
    pub fn heads(&mut self) -> Vec<ChangeHash> {
        self.replica.heads()
    }
}

/// The name of a change.
pub fn name_of(bytes: &Bytes) -> ChangeHash {
    Change::parse(bytes.clone()).expect("an honest change").hash
}

/// What the log gets when the device opens the document with these changes.
pub fn opening(principal: &Principal, document: DocumentId, changes: Vec<Bytes>) -> Append {
    let mut ledger = Ledger::new(principal.tenant.clone(), document);
    let rules = Rules { policy: &Policy::default(), log: &principal.tenant, now_ms: 0 };
    let admission = ledger.admit(rules, principal, admission::Opening::Free, admission::parse(changes));
    assert_eq!(admission.refused, [], "all of them pass admission");
    let entry = admission.entry.expect("some change is new");
    let encoded = feldakte_proto::encode_entry(&entry);
    Append { tenant: principal.tenant.clone(), entry, encoded }
}
