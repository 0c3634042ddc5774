//! Quarantine marks in the log: none is lost in a crash, none comes twice, no entry is too long.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use feldakte_core::{
    access::Principal,
    case,
    change::{Change, craft::Draft},
    ids::{Cursor, DocumentId, Position},
    limits,
    log::{Entry, Quarantine},
};
use feldakte_gateway::store::{Append, SharedStore, Store, StoreError, sqlite::SqliteStore};
use feldakte_proto::decode_entry;
use feldakte_tests::{
    harness::{
        address::Transport,
        author::{Author, name_of, opening},
        crew,
        faulty_store::{Act, Call, FaultyStore},
        local::Site,
        new_document, new_epoch,
        raw::{RawClient, Seen},
        until, within,
    },
    memory_store::MemoryStore,
};

async fn a_mark_outlives_a_crash_of_a_store_in_memory(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let again = store.clone();
    crash_before_the_mark(&site, store, async move || again as SharedStore).await;
}

async fn a_mark_outlives_a_crash_of_a_store_on_disk(over: Transport) {
    let site = Site::over(over);
    let open = async || SqliteStore::open(&site.store_path(), new_epoch()).await.unwrap();
    let store = open().await;
    crash_before_the_mark(&site, store, async || open().await as SharedStore).await;
}

/// The poison is durable; the commit of its mark fails, and with it the gateway.
async fn crash_before_the_mark(site: &Site, store: SharedStore, reopen: impl AsyncFnOnce() -> SharedStore) {
    let marks_fail = |call: Call<'_>| match call {
        Call::Append(entries) if entries.iter().any(is_mark) => Act::Fail(StoreError::Unknown("power cut".into())),
        _ => Act::Pass,
    };
    let (gateway, address) = site.start_on(FaultyStore::new(store, marks_fail)).await;
    let [attacker, reader] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (document, changes, poison) = poisoned(&attacker.principal);
    let (mut client, welcome) = RawClient::session(&attacker, address, None).await;
    let durable = client.push_and_wait(document, changes).await;
    within("the gateway gives up", gateway.failed()).await;
    gateway.drain().await;

    let store = reopen().await;
    let (gateway, address) = site.start_on(store.clone()).await;
    let cursor = Cursor { epoch: welcome.epoch, position: durable.position };
    let (mut reader, _) = RawClient::session(&reader, address, Some(cursor)).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(_, entry)| !entry.quarantined.is_empty())).await;
    assert_eq!(seen.entries[0].1.quarantined[0].change, poison);
    until("the snapshot is level with the mark", || gateway.metrics().snapshots_written.get() >= 2).await;
    assert_eq!(marks_of(&*store, document).await.len(), 1);
    gateway.drain().await;
}

/// The mark is durable; the snapshot that goes with it is not.
async fn a_mark_without_its_snapshot_is_not_made_again(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let (document, changes, poison) = poisoned(&attacker.principal);
    store.append(&[opening(&attacker.principal, document, changes)]).await.unwrap();
    let failed = Arc::new(AtomicBool::default());
    let first_fails = {
        let failed = failed.clone();
        move |call: Call<'_>| match call {
            Call::PutSnapshot(_) if !failed.swap(true, Ordering::Relaxed) => Act::Fail(StoreError::Full),
            _ => Act::Pass,
        }
    };
    let (gateway, _) = site.start_on(FaultyStore::new(store.clone(), first_fails)).await;
    until("the snapshot is written after all", || gateway.metrics().snapshots_written.get() >= 1).await;
    assert!(failed.load(Ordering::Relaxed));
    let marks = marks_of(&*store, document).await;
    assert_eq!(marks.iter().map(|mark| mark.change).collect::<Vec<_>>(), [poison]);
    assert_eq!(store.snapshot(document).await.unwrap().unwrap().quarantined, marks);
    gateway.drain().await;
}

async fn many_marks_are_several_entries(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let (document, mut changes, poison) = poisoned(&attacker.principal);
    let mut author = Author::under(case::actor(attacker.principal.device, document, new_epoch(), 0), document);
    author.apply(&changes[1..]);
    changes.extend((0..MANY).map(|n| author.set("spo2", &n.to_string()).bytes));
    let expected: BTreeSet<_> = changes.iter().map(name_of).skip_while(|name| *name != poison).collect();
    store.append(&[opening(&attacker.principal, document, changes)]).await.unwrap();

    let (gateway, _) = site.start_on(store.clone()).await;
    until("the snapshot is written", || gateway.metrics().snapshots_written.get() >= 1).await;
    let entries = entries_of(&*store, document).await;
    let lens: Vec<_> = entries.iter().map(|entry| entry.quarantined.len()).filter(|len| *len > 0).collect();
    assert_eq!(lens, [limits::ENTRY_MARKS_MAX, limits::ENTRY_MARKS_MAX, MANY + 1 - 2 * limits::ENTRY_MARKS_MAX]);
    let marks = marks_of(&*store, document).await;
    assert_eq!(marks.iter().map(|mark| mark.change).collect::<BTreeSet<_>>(), expected);
    assert_eq!(gateway.metrics().changes_quarantined.get(), expected.len() as u64);
    assert_eq!(store.snapshot(document).await.unwrap().unwrap().quarantined, marks);
    gateway.drain().await;
}

/// A document of three changes; the last one, which nests too deep, by name.
fn poisoned(principal: &Principal) -> (DocumentId, Vec<bytes::Bytes>, feldakte_core::ids::ChangeHash) {
    let document = new_document();
    let mut author = Author::new(principal, document);
    let mut changes = author.begin(1);
    let last = Change::parse(changes[1].clone()).unwrap();
    let poison = Draft::new(author.actor).at([last.hash], 2, last.max_op() + 1).with_nested_maps("tief", 40).chunk();
    let name = name_of(&poison);
    changes.push(poison);
    (document, changes, name)
}

fn is_mark(append: &Append) -> bool {
    !append.entry.quarantined.is_empty()
}

async fn entries_of(store: &dyn Store, document: DocumentId) -> Vec<Entry> {
    let stored = store.entries_after(document, Position::START).await.unwrap();
    stored.into_iter().map(|stored| decode_entry(stored.encoded).unwrap()).collect()
}

async fn marks_of(store: &dyn Store, document: DocumentId) -> Vec<Quarantine> {
    entries_of(store, document).await.into_iter().flat_map(|entry| entry.quarantined).collect()
}

/// More than two entries hold.
const MANY: usize = 1_100;

feldakte_tests::over_both!(
    a_mark_outlives_a_crash_of_a_store_in_memory,
    a_mark_outlives_a_crash_of_a_store_on_disk,
    a_mark_without_its_snapshot_is_not_made_again,
    many_marks_are_several_entries,
);
