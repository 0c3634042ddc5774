//! Who may append what: the attacks, each refused for its own reason, and what replaying the log gives back.

use std::sync::LazyLock;

use bytes::Bytes;

use super::*;
use crate::{
    access::Policy,
    change::{
        craft::Draft,
        tests::team::{actor, crew, document_id},
    },
    ids::{DeviceId, UnitId},
};

mod attacks;
mod authority;
mod replay;

/// The default policy, in the crews' own log, before every grant's end.
fn rules() -> Rules<'static> {
    static POLICY: LazyLock<Policy> = LazyLock::new(Policy::default);
    static LOG: LazyLock<TenantId> = LazyLock::new(|| crew(0).tenant);
    Rules { policy: &POLICY, log: &LOG, now_ms: 0 }
}

fn new_ledger() -> Ledger {
    Ledger::new(crew(0).tenant, document_id())
}

/// A document that device 0 has opened.
fn opened() -> Ledger {
    let mut ledger = new_ledger();
    let admission = offer(&mut ledger, 0, [genesis().bytes]);
    assert_eq!((admission.refused, admission.duplicates), (vec![], 0));
    ledger
}

fn genesis() -> Change {
    Change::parse(case::genesis(document_id().part).bytes.clone()).expect("the genesis passes")
}

fn offer(ledger: &mut Ledger, device: usize, changes: impl IntoIterator<Item = Bytes>) -> Admission {
    ledger.admit(rules(), &crew(device), Opening::Free, parse(changes))
}

/// Why the only change of a push was refused; and that the ledger is as it was.
fn refusal(ledger: &mut Ledger, principal: &Principal, change: &Draft) -> Refusal {
    let before = state(ledger);
    let admission = ledger.admit(rules(), principal, Opening::Free, parse([change.chunk()]));
    assert_eq!(admission.entry, None, "nothing of it is taken");
    assert_eq!(state(ledger), before, "what is refused leaves no trace");
    match admission.refused.as_slice() {
        [(0, refusal)] => *refusal,
        other => panic!("not exactly one refusal: {other:?}"),
    }
}

fn accept(ledger: &mut Ledger, device: usize, change: &Draft) -> ChangeHash {
    let bytes = change.chunk();
    let hash = Change::parse(bytes.clone()).expect("it parses").hash;
    let admission = offer(ledger, device, [bytes.clone()]);
    assert_eq!(admission.refused, vec![]);
    assert_eq!(admission.entry.map(|entry| entry.changes), Some(vec![bytes]));
    assert!(ledger.knows(&hash));
    hash
}

/// What an honest device writes first on the genesis: `ops` operations.
fn first(device: usize, ops: u64) -> Draft {
    Draft::new(actor(device)).at([genesis().hash], 1, genesis().max_op() + 1).with_puts("x", ops)
}

type Knowledge = (Vec<(ChangeHash, u32)>, Vec<(ActorId, DeviceId, u64, u32, Option<ChangeHash>)>, Vec<Grant>);

/// All that a ledger knows, comparable.
fn state(ledger: &Ledger) -> Knowledge {
    let mut known: Vec<_> = ledger.known.iter().map(|(hash, op)| (*hash, *op)).collect();
    known.sort_unstable();
    let of_actor = |(id, actor): (&ActorId, &Actor)| (*id, actor.binding.device, actor.seq, actor.max_op, actor.last);
    (known, ledger.actors.iter().map(of_actor).collect(), ledger.grants.clone())
}
