//! Gateways that go and come back: in order, by kill -9, from a backup.

use feldakte_client_sdk::view::LinkState;
use feldakte_gateway::store::sqlite::SqliteStore;
use feldakte_proto::CloseCode;
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    new_epoch,
    raw::RawClient,
    tablet::{Tablet, texts},
};

async fn devices_resume_after_a_restart_and_nothing_is_lost(over: Transport) {
    let site = Site::over(over);
    let mut gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = a.create("Krampfanfall").await;
    for round in 0..3 {
        a.set(case, "gcs", &format!("a{round}")).await;
        a.wait_durable(case).await;
        b.wait_equal(&a, case).await;
        gateway.stop().await;
        a.set(case, "a", &round.to_string()).await;
        b.set(case, "b", &round.to_string()).await;
        gateway = site.start().await;
        a.wait_durable(case).await;
        b.wait_durable(case).await;
        let is_new = |view: &feldakte_client_sdk::view::CaseView| {
            ["a", "b"].iter().all(|name| texts(view, name) == [round.to_string()].into())
        };
        a.wait_case(case, "a has both", is_new).await;
        b.wait_case(case, "b has both", is_new).await;
    }
    b.wait_equal(&a, case).await;
    assert_eq!(a.told_saved(), a.told_durable());
    assert_eq!(b.told_saved(), b.told_durable());
}

async fn sigterm_closes_sessions_as_draining_and_devices_come_back(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let [a, raw] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let tablet = Tablet::online(&a, gateway.address).await;
    let case = tablet.create("Fieber").await;
    tablet.wait_durable(case).await;
    let (mut reader, _) = RawClient::session(&raw, gateway.address, None).await;
    gateway.terminate();
    let ended = loop {
        if let Err(code) = reader.next().await {
            break code;
        }
    };
    assert_eq!(ended, Some(CloseCode::Draining));
    let ended = gateway.ended().await;
    assert!(ended.status.success(), "{ended:?}");
    tablet.wait_link(LinkState::Connecting).await;
    tablet.set(case, "temperature", "39.5").await;

    let gateway = site.spawn().await;
    tablet.wait_durable(case).await;
    assert_eq!(gateway.metric("feldakte_changes_durable").await, 1, "what was durable was not pushed again");
}

async fn a_gateway_restored_from_a_backup_heals_from_the_field(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b, late] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let old = a.create("vor der Sicherung").await;
    a.set(old, "gcs", "15").await;
    a.wait_durable(old).await;
    b.wait_equal(&a, old).await;
    let backup = site.dir().join("backup.sqlite");
    gateway.store.backup_to(&backup).await.unwrap();

    // Each stands on the other's: neither can be pushed back before the other.
    for (tablet, other, value) in [(&a, &b, "14"), (&b, &a, "13"), (&a, &b, "12")] {
        tablet.set(old, "gcs", value).await;
        tablet.wait_durable(old).await;
        other.wait_equal(tablet, old).await;
    }
    let new = b.create("nach der Sicherung").await;
    b.wait_durable(new).await;
    a.wait_equal(&b, new).await;
    let epoch = gateway.gateway.epoch();
    gateway.stop().await;
    for suffix in ["", "-wal", "-shm"] {
        let mut path = site.store_path().into_os_string();
        path.push(suffix);
        let _ = std::fs::remove_file(path);
    }
    SqliteStore::restore(&backup, &site.store_path(), new_epoch()).await.unwrap();

    let gateway = site.start().await;
    assert_ne!(gateway.gateway.epoch(), epoch);
    // A device that knew nothing before sees what the field has brought back.
    let late = Tablet::online(&late, gateway.address).await;
    late.wait_equal(&a, old).await;
    late.wait_equal(&b, new).await;
    a.wait_all_safe().await;
    b.wait_all_safe().await;
    let view = late.client.read(old).await.unwrap();
    assert_eq!(texts(&view, "gcs"), ["12".to_owned()].into());
    for case in [old, new] {
        b.wait_equal(&a, case).await;
        late.wait_equal(&a, case).await;
    }
}

feldakte_tests::over_both!(
    devices_resume_after_a_restart_and_nothing_is_lost,
    sigterm_closes_sessions_as_draining_and_devices_come_back,
    a_gateway_restored_from_a_backup_heals_from_the_field,
);
