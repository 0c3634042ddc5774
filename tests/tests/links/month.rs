//! A month without a network: everything arrives, as fast as the link carries it, and what is oldest first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use feldakte_client_sdk::{Client, Transports, store::LocalStore};
use feldakte_core::ids::{ChangeHash, DocumentId};
use feldakte_tests::{
    harness::{
        author::name_of,
        crew,
        local::Clock,
        pki::DAY,
        raw::{RawClient, Seen},
        tablet::{Tablet, memory_store},
    },
    memory_local_store::MemoryLocalStore,
    netns::{conditions::Conditions, profile::Profile},
};

use super::{
    behaviours::{add_pain, assert_all_in_log},
    world::{World, link},
};

/// Days without a network, cases a day, and entries a case.
struct Month {
    cases: usize,
    entries: usize,
}

/// All that has not been delivered, oldest first, and its bytes.
async fn unsent(store: &MemoryLocalStore) -> (Vec<(DocumentId, ChangeHash)>, usize) {
    let unsent = store.unsent(0, usize::MAX).await.unwrap();
    let bytes = unsent.iter().map(|change| change.bytes.len()).sum();
    (unsent.into_iter().map(|change| (change.document, change.hash)).collect(), bytes)
}

/// Reads the log as it grows until it holds so many changes of those.
async fn read_log(mut reader: RawClient, wanted: Vec<(DocumentId, ChangeHash)>) -> Vec<(DocumentId, ChangeHash)> {
    let mut seen = Seen::default();
    let of_log = |seen: &Seen| {
        let entries = seen.entries.iter().map(|(_, entry)| entry);
        let changes = entries.flat_map(|entry| entry.changes.iter().map(|change| (entry.document, name_of(change))));
        changes.collect::<Vec<_>>()
    };
    let all: std::collections::BTreeSet<_> = wanted.iter().copied().collect();
    let mut count = 0;
    while count < wanted.len() {
        let before = seen.entries.len();
        reader.read_until(&mut seen, |seen| seen.entries.len() > before).await;
        let new = seen.entries[before..].iter();
        count += new.map(|(_, entry)| entry.changes.len()).sum::<usize>();
    }
    of_log(&seen).into_iter().filter(|change| all.contains(change)).collect()
}

async fn comes_back(month: Month, transports: Transports) {
    let clock = Clock::default();
    let Some(world) = World::under_at(Profile::URBAN, transports, &clock).await else { return };
    let enrol = || world.site.pki.enrol_from(&crew("rtw-1"), clock.now(), 90 * DAY);
    let (device, colleague, reader) = (enrol(), enrol(), enrol());
    let store = memory_store();
    let tablet = Tablet::open_at(device.identity(), world.gateway.address, store.clone(), &clock).await;
    tablet.go_online().await;
    tablet.go_offline().await;

    for _ in 0..DAYS {
        for n in 0..month.cases {
            let case = tablet.create(&format!("Einsatz {n}")).await;
            for nrs in 1..month.entries {
                add_pain(&tablet, case, (nrs % 10) as i64).await;
            }
        }
        clock.advance(DAY);
    }
    let mut writer = world.writer(&colleague).await;
    writer.push_documents(&colleague.principal, DAYS).await;
    tablet.shutdown().await;

    let store: Arc<MemoryLocalStore> = store.reopen().unwrap();
    let (written, bytes) = unsent(&store).await;
    let (mut reader, _) = RawClient::session(&reader, world.gateway.address, None).await;
    reader.way.as_ref().unwrap().link.change(|conditions| *conditions = Conditions::PERFECT);
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    let log = tokio::spawn(read_log(reader, written.clone()));

    let tablet = Tablet::open_at(device.identity(), world.gateway.address, store, &clock).await;
    link(&tablet).change(|conditions| conditions.up.rate = Some(UP));
    tablet.go_online().await;
    let since = Instant::now();
    tablet.wait_all_safe().await;
    let took = since.elapsed();
    let at_best = Duration::from_secs_f64(8.0 * bytes as f64 / UP as f64);
    println!("{} changes, {bytes} bytes: {took:?}, the link alone {at_best:?}", written.len());
    let cases = (DAYS * month.cases + DAYS) as u64;
    let has_all = async |client: &Client| {
        client.status().await.is_ok_and(|status| status.cases == cases && !status.sync.incomplete)
    };
    tablet.until("what a colleague wrote meanwhile is there", has_all).await;
    assert_eq!(log.await.unwrap(), written, "the oldest first, nothing lost, nothing twice");
    assert_all_in_log(&tablet);
    assert!(took <= at_best.mul_f64(SLOWER_MAX) + STARTING, "{took:?} for what takes {at_best:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_of_a_month_arrives_in_its_order_at_the_speed_of_the_link() {
    comes_back(Month { cases: 2, entries: 16 }, Transports::Both).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a bar: 5,000 changes, over each transport, half a minute each"]
async fn bars_five_thousand_changes_of_a_month_arrive_in_their_order_at_the_speed_of_the_link() {
    for transports in [Transports::Quic, Transports::Grpc] {
        comes_back(Month { cases: 5, entries: 33 }, transports).await;
    }
}

const DAYS: usize = 30;
/// From the device, bits per second.
const UP: u64 = 1_000_000;
/// Headers, authorship, answers of the other direction, and what is lost.
const SLOWER_MAX: f64 = 1.5;
/// Until the link is used: a few round trips, and two builds without optimisation.
const STARTING: Duration = Duration::from_secs(2);
