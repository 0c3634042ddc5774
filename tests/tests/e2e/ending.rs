//! How a gateway ends: what is under way is finished, and nothing that hangs or breaks goes unnoticed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use feldakte_core::access::{Access, Grant, Subject};
use feldakte_gateway::{
    gateway::AuthorityError,
    store::{SharedStore, Store, StoreError, sqlite::SqliteStore},
};
use feldakte_proto::CloseCode;
use feldakte_tests::{
    harness::{
        address::Transport,
        author::{Author, opening},
        crew,
        faulty_store::{Act, Call, FaultyStore},
        local::Site,
        new_document, new_epoch,
        raw::RawClient,
        until, within,
    },
    memory_store::MemoryStore,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

async fn a_drain_commits_what_was_admitted_in_memory(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let again = store.clone();
    drain_in_the_middle_of_a_commit(&site, store, async move || again as SharedStore).await;
}

async fn a_drain_commits_what_was_admitted_on_disk(over: Transport) {
    let site = Site::over(over);
    let open = async || SqliteStore::open(&site.store_path(), new_epoch()).await.unwrap();
    let store = open().await;
    drain_in_the_middle_of_a_commit(&site, store, async || open().await as SharedStore).await;
}

/// The first commit is held up until the session has been told to come back later.
async fn drain_in_the_middle_of_a_commit(site: &Site, store: SharedStore, reopen: impl AsyncFnOnce() -> SharedStore) {
    let (gate, committing) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let hold = {
        let (gate, committing) = (gate.clone(), committing.clone());
        move |call: Call<'_>| match call {
            Call::Append(entries) => {
                committing.store(entries.len(), Ordering::SeqCst);
                Act::Hold(gate.clone())
            }
            _ => Act::Pass,
        }
    };
    let (gateway, address) = site.start_on(FaultyStore::new(store, hold)).await;
    let device = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&device, address, None).await;
    let documents = [(); PUSHES].map(|()| new_document());
    for document in documents {
        client.push(document, Author::new(&device.principal, document).begin(2)).await;
    }
    let admitted = || committing.load(Ordering::SeqCst) + gateway.census().submissions;
    until("all pushes are admitted", || admitted() == PUSHES).await;
    let drain = tokio::spawn(gateway.drain());
    assert_eq!(client.closed().await, Some(CloseCode::Draining));
    gate.add_permits(PUSHES);
    within("the drain ends", drain).await.unwrap();

    let store = reopen().await;
    for document in documents {
        assert!(store.document(document).await.unwrap().is_some(), "it was admitted, and is committed");
    }
    store.close().await;
}

/// Whether the act is in the log, only the next start knows.
async fn a_grant_whose_commit_has_no_outcome_is_not_said_to_be_undone(over: Transport) {
    let site = Site::over(over);
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let (device, document) = (crew("rtw-1"), new_document());
    store.append(&[opening(&device, document, vec![Author::genesis(document)])]).await.unwrap();
    let fails = |call: Call<'_>| match call {
        Call::Append(_) => Act::Fail(StoreError::Unknown("power cut".into())),
        _ => Act::Pass,
    };
    let (gateway, _) = site.start_on(FaultyStore::new(store, fails)).await;
    let grant = Grant::new(Subject::Unit("rtw-2".parse().unwrap()), Access::Read);
    let outcome = within("the grant is answered", gateway.grant(document, vec![grant])).await;
    assert!(matches!(outcome, Err(AuthorityError::Interrupted)), "{outcome:?}");
    gateway.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequencer_that_panics_ends_the_gateway() {
    ends_when(|call| matches!(call, Call::Append(_))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_panics_ends_the_gateway() {
    ends_when(|call| matches!(call, Call::Snapshot(_))).await;
}

async fn ends_when(panics: impl Fn(Call<'_>) -> bool + Send + Sync + 'static) {
    let site = Site::new();
    let store = MemoryStore::new(new_epoch(), || Duration::ZERO);
    let device = site.pki.enrol(&crew("rtw-1"));
    let panics = move |call: Call<'_>| if panics(call) { Act::Panic } else { Act::Pass };
    let (gateway, address) = site.start_on(FaultyStore::new(store, panics)).await;
    let (mut client, _) = RawClient::session(&device, address, None).await;
    assert!(gateway.is_ready().await);
    let document = new_document();
    client.push(document, Author::new(&device.principal, document).begin(1)).await;
    within("the gateway gives up", gateway.failed()).await;
    assert!(!gateway.is_ready().await);
    within("the gateway drains", gateway.drain()).await;
}

async fn half_a_request_on_the_operators_port_does_not_hold_up_the_end(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let mut half = TcpStream::connect(gateway.ops).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: local").await.unwrap();
    // Connections are taken in the order in which they came: an answer on this one shows that the other is open.
    let mut whole = TcpStream::connect(gateway.ops).await.unwrap();
    whole.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(whole.read(&mut [0; 512]).await.unwrap() > 0);
    gateway.terminate();
    assert!(gateway.ended().await.status.success());
}

const PUSHES: usize = 5;

feldakte_tests::over_both!(
    a_drain_commits_what_was_admitted_in_memory,
    a_drain_commits_what_was_admitted_on_disk,
    a_grant_whose_commit_has_no_outcome_is_not_said_to_be_undone,
    half_a_request_on_the_operators_port_does_not_hold_up_the_end,
);
