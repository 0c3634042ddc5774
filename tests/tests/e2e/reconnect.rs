//! A device that comes back and has missed nothing costs next to nothing.

use feldakte_client_sdk::view::LinkState;
use feldakte_core::ids::Cursor;
use feldakte_gateway::metrics::Metrics;
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    raw::RawClient,
    tablet::{Tablet, memory_store},
};

const CASES: usize = 1_000;

#[derive(Debug, PartialEq, Eq)]
struct Work {
    ledger_loads: u64,
    document_loads: u64,
    snapshots_sent: u64,
    pushes: u64,
}

fn work_of(metrics: &Metrics) -> Work {
    Work {
        ledger_loads: metrics.ledger_loads.get(),
        document_loads: metrics.document_loads.get(),
        snapshots_sent: metrics.snapshots_sent.get(),
        pushes: metrics.pushes.get(),
    }
}

async fn nothing_new_with_a_thousand_cases_is_one_round_trip_of_a_kilobyte(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [writer_device, device, tablet_device] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut writer, _) = RawClient::session(&writer_device, gateway.address, None).await;
    let mut documents = writer.push_documents(&writer_device.principal, CASES).await;
    let tablet_identity = tablet_device.identity();
    let store = memory_store();
    let tablet = Tablet::open(tablet_identity, gateway.address, store.clone()).await;
    tablet.go_online().await;
    let has_all = async |client: &feldakte_client_sdk::Client| {
        client.status().await.is_ok_and(|status| status.cases == CASES as u64 && !status.sync.incomplete)
    };
    tablet.until("the tablet has all cases", has_all).await;
    tablet.shutdown().await;
    // A fresh gateway on the same log: nothing is in its memory, and all snapshots have been written.
    drop(writer);
    gateway.stop().await;
    let gateway = site.start().await;
    let before = work_of(&gateway.metrics());
    assert_eq!(before.document_loads, 0, "the gateway before has left nothing to be done");

    let (_, welcome) = RawClient::session(&device, gateway.address, None).await;
    let cursor = Cursor { epoch: welcome.epoch, position: welcome.head };
    let (mut back, welcome) = RawClient::session(&device, gateway.address, Some(cursor)).await;
    assert!(welcome.caught_up);
    assert_eq!(welcome.head, cursor.position);
    assert_eq!(back.frames, 1);
    println!("reconnect with {CASES} cases: {} bytes up, {} bytes down", back.sent, back.received);
    assert!(back.sent <= 1024 && back.received <= 1024, "{} up, {} down", back.sent, back.received);
    assert_eq!(work_of(&gateway.metrics()), before, "no document and no ledger was touched");

    let tablet = Tablet::open(tablet_device.identity(), gateway.address, store.reopen().unwrap()).await;
    tablet.go_online().await;
    assert_eq!(tablet.client.status().await.unwrap().cases, CASES as u64);
    assert_eq!(work_of(&gateway.metrics()), before, "nor for the SDK, which asked for nothing");

    // The answer to a repeated push is the next frame: there was nothing between it and the welcome.
    let (document, genesis) = documents.swap_remove(0);
    let push = back.push(document, vec![genesis]).await;
    match back.next().await {
        Ok(feldakte_proto::ServerMessage::Durable(durable)) => assert_eq!(durable.push, push),
        other => panic!("{other:?}"),
    }
    assert_eq!(back.frames, 2);
}

async fn a_tablet_that_goes_offline_while_it_waits_to_dial_again_is_offline(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    gateway.deny.replace(format!("device {}", enrolled.principal.device).parse().unwrap());
    let tablet = Tablet::open(enrolled.identity(), gateway.address, memory_store()).await;
    tablet.client.go_online();
    tablet.wait_link(LinkState::Refused).await;
    tablet.client.go_offline();
    tablet.wait_link(LinkState::Offline).await;
}

feldakte_tests::over_both!(
    nothing_new_with_a_thousand_cases_is_one_round_trip_of_a_kilobyte,
    a_tablet_that_goes_offline_while_it_waits_to_dial_again_is_offline,
);
