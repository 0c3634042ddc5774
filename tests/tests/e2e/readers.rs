//! Readers that come with nothing, and readers that cannot keep up.

use std::collections::BTreeSet;

use bytes::Bytes;
use feldakte_core::{
    crdt::Document,
    ids::{ActorId, ChangeHash},
    limits,
};
use feldakte_proto::VERSION;
use feldakte_tests::harness::{
    address::Transport,
    author::{Author, name_of},
    crew,
    local::Site,
    new_document, noise,
    raw::{RawClient, Seen},
    tablet::Tablet,
    until,
};

async fn a_cold_reader_gets_snapshots_and_then_the_tail(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [crew_device, cold_device, tablet_device] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut writer, _) = RawClient::session(&crew_device, gateway.address, None).await;
    let mut long = Author::new(&crew_device.principal, new_document());
    let mut short = Author::new(&crew_device.principal, new_document());
    let many = long.begin(limits::TAIL_CHANGES_MAX + 10);
    let few = short.begin(3);
    assert_eq!(writer.push_and_wait(long.document, many.clone()).await.refused, []);
    assert_eq!(writer.push_and_wait(short.document, few.clone()).await.refused, []);

    let (mut cold, welcome) = RawClient::session(&cold_device, gateway.address, None).await;
    assert!(!welcome.caught_up);
    let mut seen = Seen::default();
    cold.read_until(&mut seen, |seen| seen.caught_up).await;
    assert_eq!(seen.bootstrap, [long.document], "what is long comes as a snapshot");
    assert_eq!(seen.changes(), few.iter().map(name_of).collect::<Vec<_>>(), "what is short comes as it was written");
    assert_eq!(seen.cursor, welcome.head.0);

    // Also what became durable after the catch-up is either in the snapshot or in the tail.
    let next = long.set("gcs", "live");
    assert_eq!(writer.push_and_wait(long.document, vec![next.bytes.clone()]).await.refused, []);
    let snapshots = cold.fetch(&[long.document]).await.snapshots;
    cold.read_until(&mut seen, |seen| seen.changes().contains(&next.hash)).await;
    let [snapshot] = snapshots.as_slice() else { panic!("one document was asked for") };
    let mut loaded = Document::load(&snapshot.chunks, ActorId([1; 16])).unwrap();
    loaded.apply([&next.bytes]).unwrap();
    assert_eq!(loaded.heads(), long.heads());
    assert!(snapshot.bindings.iter().any(|binding| binding.device == crew_device.principal.device));

    let tablet = Tablet::online(&tablet_device, gateway.address).await;
    let shows = |view: &feldakte_client_sdk::view::CaseView| !view.sync.incomplete;
    let view = tablet.wait_case(long.document.case, "the tablet has it all", shows).await;
    assert_eq!(feldakte_tests::harness::tablet::texts(&view, "gcs"), ["live".to_owned()].into());
    tablet.wait_case(short.document.case, "the tablet has the short one", shows).await;
}

/// Reads nothing while much more is written than may wait for it.
async fn a_reader_that_lags_leaves_the_tail_and_catches_up_without_loss(over: Transport) {
    let site = Site::on_loopback(over);
    let gateway = site.start().await;
    let [crew_device, slow_device, quick_device] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut writer, _) = RawClient::session(&crew_device, gateway.address, None).await;
    let (mut quick, _) = RawClient::session(&quick_device, gateway.address, None).await;
    let (mut slow, _) = RawClient::session_with(slow_device.dial().narrow(16_384), gateway.address, None).await;

    let mut author = Author::new(&crew_device.principal, new_document());
    let mut written: Vec<ChangeHash> = Vec::new();
    let mut pushed = author.begin(0);
    let mut quick_seen = Seen::default();
    for n in 0..3 * limits::READER_OUTBOX {
        let change = author.set("gcs", &noise(n as u64, 2_000));
        pushed.push(change.bytes);
        written.extend(pushed.iter().map(name_of));
        let durable = writer.push_and_wait(author.document, std::mem::take(&mut pushed)).await;
        assert_eq!(durable.refused, []);
        // Others hear of each at once, however long the slow one has been silent.
        quick
            .read_until(&mut quick_seen, |seen| seen.entries.last().is_some_and(|(at, _)| *at == durable.position.0))
            .await;
    }
    assert_eq!(quick_seen.changes(), written);
    let metrics = gateway.metrics();
    until("the slow one has left the tail", || metrics.readers_lagged.get() > 0).await;

    let mut seen = Seen::default();
    let last = *written.last().unwrap();
    let behind = |seen: &Seen| !seen.bootstrap.is_empty() && seen.caught_up;
    slow.read_until(&mut seen, |seen| behind(seen) || seen.changes().contains(&last)).await;
    let mut has: BTreeSet<ChangeHash> = seen.changes().into_iter().collect();
    if behind(&seen) {
        for snapshot in slow.fetch(&seen.bootstrap).await.snapshots {
            let mut loaded = Document::load(&snapshot.chunks, ActorId([1; 16])).unwrap();
            has.extend(loaded.change_hashes());
        }
    }
    assert_eq!(has, written.iter().copied().collect(), "nothing is missing");
    // And it is back in the tail.
    let next = author.set("gcs", "danach");
    writer.push_and_wait(author.document, vec![next.bytes]).await;
    slow.read_until(&mut seen, |seen| seen.changes().contains(&next.hash)).await;
}

/// The same entries to a device of the first version, and to one that can unpack.
async fn a_device_of_the_first_version_is_sent_nothing_packed(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [writer, old, new] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let mut author = Author::new(&writer.principal, new_document());
    let changes = author.begin(limits::TAIL_CHANGES_MAX - 1);
    let (mut writer, _) = RawClient::session(&writer, gateway.address, None).await;
    for change in &changes {
        writer.push_and_wait(author.document, vec![change.clone()]).await;
    }
    let mut received = Vec::new();
    for (device, versions) in [(old, vec![1]), (new, vec![VERSION, 1])] {
        let (mut reader, welcome) = RawClient::speaking(&device, gateway.address, versions.clone()).await;
        assert_eq!(welcome.version, versions[0]);
        let mut seen = Seen::default();
        reader.read_until(&mut seen, |seen| seen.caught_up).await;
        assert_eq!(seen.changes(), changes.iter().map(name_of).collect::<Vec<_>>());
        received.push(reader.received);
    }
    let raw: usize = changes.iter().map(Bytes::len).sum();
    assert!(received[0] > raw as u64 && received[1] < received[0] * 3 / 4, "{received:?} bytes for {raw}");
}

feldakte_tests::over_both!(
    a_device_of_the_first_version_is_sent_nothing_packed,
    a_cold_reader_gets_snapshots_and_then_the_tail,
    a_reader_that_lags_leaves_the_tail_and_catches_up_without_loss,
);
