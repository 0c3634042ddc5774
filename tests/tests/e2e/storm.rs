//! Everybody comes back at once.

use std::{sync::Arc, time::Duration};

use feldakte_client_sdk::view::LinkState;
use feldakte_core::{ids::DeviceId, limits, turnstile::Class};
use feldakte_gateway::turnstile::{Pass, Turnstile};
use feldakte_proto::{CloseCode, ServerMessage};
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    pki::Enrolled,
    raw::{self, RawClient, hello},
    tablet::{Tablet, memory_store},
    until,
};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

/// Sessions that begin and do not end to begin: there is no room for others.
async fn crowd(turnstile: &Arc<Turnstile>) -> Vec<Pass> {
    let mut passes = Vec::new();
    for number in 0..limits::BEGINNING_AT_ONCE {
        let device = DeviceId(Uuid::from_u128(number as u128));
        passes.push(turnstile.enter(Class::Other, device).await.expect("there is room"));
    }
    passes
}

async fn who_is_sent_away_comes_back_and_who_is_on_a_mission_is_not(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (shared, metrics) = (gateway.gateway.shared(), gateway.metrics());
    let sent_away = |class| metrics.sessions_sent_away.get_or_create(&vec![("class", class)]).get();
    let crowd = crowd(&shared.turnstile).await;
    let [idle, urgent] = ["rtw-1", "rtw-2"].map(|unit| site.pki.enrol(&crew(unit)));
    let idle = Tablet::open(idle.identity(), gateway.address, memory_store()).await;
    idle.client.go_online();
    let urgent = Tablet::open(urgent.identity(), gateway.address, memory_store()).await;
    urgent.client.set_on_mission(true);
    urgent.go_online().await;
    until("the other one is sent away", || sent_away("other") == 1).await;
    let told = Instant::now();
    drop(crowd);
    idle.wait_link(LinkState::Connected).await;
    // A little less: the gateway counts from before the device hears of it.
    assert!(told.elapsed() >= limits::RETRY_AFTER_MIN - Duration::from_millis(100), "{:?}", told.elapsed());
    assert_eq!((sent_away("mission"), sent_away("other")), (0, 1));
    for tablet in [idle, urgent] {
        tablet.shutdown().await;
    }
}

feldakte_tests::over_both!(who_is_sent_away_comes_back_and_who_is_on_a_mission_is_not);

#[tokio::test(flavor = "multi_thread")]
async fn some_hundred_devices_come_back_at_once_and_none_is_lost() {
    const DEVICES: usize = 300;
    let site = Site::new();
    let gateway = site.start().await;
    let mut storm = JoinSet::new();
    for number in 0..DEVICES {
        let enrolled = site.pki.enrol(&crew(&format!("rtw-{number}")));
        storm.spawn(come_back(enrolled, gateway.address.socket));
    }
    let back = storm.join_all().await;
    assert_eq!(back.len(), DEVICES);
    assert_eq!(gateway.gateway.connections(), DEVICES);
    assert_eq!(gateway.metrics().sessions.get(), DEVICES as i64);
}

/// Dials until it is in a session.
async fn come_back(enrolled: Enrolled, gateway: std::net::SocketAddr) -> RawClient {
    let endpoint = raw::endpoint();
    loop {
        let Ok(mut client) = RawClient::connect(&endpoint, enrolled.quic(), gateway).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        client.send(&hello(None)).await;
        match client.next().await {
            Ok(ServerMessage::Welcome(_)) => return client,
            Err(Some(CloseCode::Busy)) => tokio::time::sleep(limits::RETRY_AFTER_MIN).await,
            other => panic!("neither welcome nor told to come back: {other:?}"),
        }
    }
}
