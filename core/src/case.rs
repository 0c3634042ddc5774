//! The case as the field writes it, in up to three documents: facts, checklists, entries, a narrative and events.
//!
//! | class (DOMAIN, rule 1) | where | how it merges |
//! |---|---|---|
//! | (a) entries | [`entry`] | append-only; corrections replace, nothing is deleted |
//! | (b) facts | [`fact`] | every concurrent value is kept; people resolve |
//! | (c) narrative | [`Edit::Narrate`] | collaborative text |
//! | (d) orders, status, finalisation, links | [`event`] | events, folded by [`order`], [`status`], [`finalise`] |
//! | (e) checklists | [`fact`] | facts by element and version of the definition |
//!
//! Every document starts from one deterministic genesis change, so that two devices that open the same case
//! without a network write into the same containers.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

pub use self::{
    author::{Author, Authors, Provenance},
    deed::{Deed, Deeds, deeds, unseen},
    edit::{Edit, Portions, may_write},
    entry::Entry,
    event::{Event, OrderStep, Recorded},
    fact::{Claim, Conflict, Fact, Meanwhile, MeanwhileKind},
    finalise::{Addendum, Finalisation, Verdict, sign},
    observe::{apply_observed, changed_paths},
    order::{Flag, Order, OrderState},
    path::{ElementId, Path},
    status::{Link, Links, Moved, Status},
    view::{DocumentView, Outcome, min_schema},
};
use crate::{
    crdt::{Container, Document, Edits, NewChange, Stamp, Value},
    ids::{ActorId, DeviceId, DocumentId, Epoch, Part, UserId},
};

pub mod author;
mod deed;
mod edit;
pub mod entry;
pub mod event;
pub mod fact;
pub mod finalise;
mod observe;
pub mod order;
mod path;
pub mod schema;
pub mod status;
mod view;
pub mod vitals;

/// The fixed actor of genesis changes. No device may write under it.
pub const GENESIS_ACTOR: ActorId = ActorId([0; 16]);

/// Number of the schema that genesis changes create; stands in every document as `schema`.
pub const SCHEMA: i64 = 1;

const FACTS: &str = "facts";
const CHECKLISTS: &str = "checklists";
const ENTRIES: &str = "entries";
const EVENTS: &str = "events";
const NARRATIVE: &str = "narrative";
const MIN_SCHEMA: &str = "min_schema";

/// The first change of every document of that part: same bytes, same hash, everywhere.
pub fn genesis(part: Part) -> &'static NewChange {
    static GENESES: OnceLock<[NewChange; 3]> = OnceLock::new();
    let all = GENESES.get_or_init(|| Part::ALL.map(make_genesis));
    &all[part as usize - 1]
}

fn make_genesis(part: Part) -> NewChange {
    let edit = |edits: &mut Edits<'_>| {
        edits.put_root("schema", &Value::Integer(SCHEMA))?;
        edits.put_root("part", &Value::Text(part.name().to_owned()))?;
        edits.create(FACTS, Container::Map)?;
        edits.create(CHECKLISTS, Container::Map)?;
        edits.create(ENTRIES, Container::List)?;
        edits.create(EVENTS, Container::List)?;
        edits.create(NARRATIVE, Container::Text)
    };
    let mut document = Document::empty(GENESIS_ACTOR);
    let change = document.edit(Stamp::default(), edit).expect("fixed operations on an empty document");
    change.expect("the genesis change has operations")
}

/// The actor under which a device without a user writes a document: see [`user_actor`].
pub fn actor(device: DeviceId, document: DocumentId, store: Epoch, generation: u32) -> ActorId {
    user_actor(device, None, document, store, generation)
}

/// The actor under which a user on a device writes a document: stable across openings, new after a lost or refused
/// write. Two users of one device never share one: an actor has one author.
pub fn user_actor(
    device: DeviceId,
    user: Option<UserId>,
    document: DocumentId,
    store: Epoch,
    generation: u32,
) -> ActorId {
    let mut hash = Sha256::new();
    hash.update(b"feldakte actor 1");
    hash.update(device.as_bytes());
    hash.update(document.to_bytes());
    hash.update(store.as_bytes());
    hash.update(generation.to_be_bytes());
    if let Some(user) = user {
        hash.update(user.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut actor = [0; 16];
    actor.copy_from_slice(&digest[..16]);
    ActorId(actor)
}

#[cfg(test)]
mod tests;
