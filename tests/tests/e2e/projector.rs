//! The projector under attack: few applications find the culprits, and no document waits for another one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use feldakte_core::{
    case,
    change::{
        Change,
        craft::{self, Draft},
    },
    crdt::Document,
    ids::{ActorId, CaseId, DocumentId, Part},
};
use feldakte_gateway::store::Store;
use feldakte_tests::{
    harness::{
        address::Transport,
        author::{Author, name_of, opening},
        crew,
        faulty_store::{Act, Call, FaultyStore},
        local::Site,
        new_document, new_epoch, until, within,
    },
    memory_store::MemoryStore,
};
use tokio::sync::Semaphore;

async fn one_poison_among_two_thousand_changes_is_found_in_few_applications(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let attacker = crew("rtw-1");
    let document = new_document();
    let mut author = Author::new(&attacker, document);
    let mut changes = author.begin(1_000);
    // Beside the honest changes, not below them: the second half must be found good.
    let poison = needless_column(case::actor(attacker.device, document, new_epoch(), 0), &changes[1_000]);
    let name = name_of(&poison);
    changes.push(poison);
    changes.extend((0..1_000).map(|n| author.set("spo2", &n.to_string()).bytes));
    store.append(&[opening(&attacker, document, changes)]).await.unwrap();

    let (gateway, _) = site.start_on(store.clone()).await;
    until("the document is projected", || gateway.metrics().snapshots_written.get() >= 1).await;
    let snapshot = store.snapshot(document).await.unwrap().unwrap();
    assert_eq!(snapshot.quarantined.iter().map(|mark| mark.change).collect::<Vec<_>>(), [name]);
    let mut loaded = Document::load(&snapshot.chunks, ActorId([1; 16])).unwrap();
    assert_eq!(loaded.change_count(), 2_001);
    assert_eq!(loaded.heads(), author.heads());
    let loads = gateway.metrics().document_loads.get();
    // Twice for each halving of 2,002 changes, once for all of them.
    assert!(loads <= 2 * 11 + 1, "{loads} applications");
    gateway.drain().await;
}

/// Several at fault, one after the other and side by side, one with others' honest changes on top of it.
async fn every_culprit_and_what_stands_on_it_is_left_out_and_nothing_else(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let attacker = crew("rtw-1");
    let document = new_document();
    let actors = [(); 5].map(|()| case::actor(attacker.device, document, new_epoch(), 0));
    let mut author = Author::new(&attacker, document);
    let mut changes = author.begin(20);
    let mut on_poison = Author::under(actors[0], document);
    on_poison.apply(&changes[1..]);
    let deep = nested(actors[1], &changes[10]);
    on_poison.apply(std::slice::from_ref(&deep));
    let orphans: Vec<_> = (0..10).map(|n| on_poison.set("spo2", &n.to_string()).bytes).collect();
    let odd = [2, 3].map(|actor| needless_column(actors[actor], &changes[20]));
    let last = nested(actors[4], &changes[20]);
    let culprits = [&[deep][..], &orphans, &odd, &[last]].concat();
    let (first, rest) = culprits.split_at(6);
    changes.extend_from_slice(first);
    changes.extend((0..20).map(|n| author.set("puls", &n.to_string()).bytes));
    changes.extend_from_slice(rest);
    store.append(&[opening(&attacker, document, changes)]).await.unwrap();

    let (gateway, _) = site.start_on(store.clone()).await;
    until("the document is projected", || gateway.metrics().snapshots_written.get() >= 1).await;
    let snapshot = store.snapshot(document).await.unwrap().unwrap();
    let marked: BTreeSet<_> = snapshot.quarantined.iter().map(|mark| mark.change).collect();
    assert_eq!(marked, culprits.iter().map(name_of).collect());
    assert_eq!(snapshot.quarantined.len(), culprits.len());
    let mut loaded = Document::load(&snapshot.chunks, ActorId([1; 16])).unwrap();
    assert_eq!(loaded.change_count(), 41);
    assert_eq!(loaded.heads(), author.heads());
    gateway.drain().await;
}

/// The first document cannot be read for as long as the test wants.
async fn a_slow_document_holds_up_no_other(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let device = crew("rtw-1");
    let [slow, other, third] = [1, 2, 3].map(|number| DocumentId {
        case: CaseId(uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + number)),
        part: Part::Clinical,
    });
    for document in [slow, other, third] {
        let changes = Author::new(&device, document).begin(3);
        store.append(&[opening(&device, document, changes)]).await.unwrap();
    }
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let slow_waits = move |call: Call<'_>| match call {
        Call::Snapshot(document) if document == slow => Act::Hold(held.clone()),
        _ => Act::Pass,
    };
    let (gateway, _) = site.start_on(FaultyStore::new(store.clone(), slow_waits)).await;
    until("the others are projected", || gateway.metrics().snapshots_written.get() >= 2).await;
    assert!(store.snapshot(slow).await.unwrap().is_none());
    gate.add_permits(1);
    until("the slow one as well", || gateway.metrics().snapshots_written.get() >= 3).await;
    within("the gateway drains", gateway.drain()).await;
    assert!(store.snapshot(slow).await.unwrap().is_some());
}

fn nested(actor: ActorId, on: &bytes::Bytes) -> bytes::Bytes {
    let on = Change::parse(on.clone()).unwrap();
    Draft::new(actor).at([on.hash], 1, on.max_op() + 1).with_nested_maps("tief", 40).chunk()
}

/// A change that is valid and that the document library would have written without one of its columns.
fn needless_column(actor: ActorId, on: &bytes::Bytes) -> bytes::Bytes {
    let on = Change::parse(on.clone()).unwrap();
    let draft = Draft::new(actor).at([on.hash], 1, on.max_op() + 1).with_puts("x", 1);
    draft.with_column(craft::EXPAND, craft::unsigned(1)).chunk()
}

feldakte_tests::over_both!(
    one_poison_among_two_thousand_changes_is_found_in_few_applications,
    every_culprit_and_what_stands_on_it_is_left_out_and_nothing_else,
    a_slow_document_holds_up_no_other,
);
