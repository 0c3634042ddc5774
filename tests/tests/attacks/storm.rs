//! Devices that want to be let in before others.

use std::sync::Arc;

use feldakte_core::{access::Role, ids::DeviceId, limits, turnstile::Class};
use feldakte_gateway::turnstile::{Pass, Turnstile};
use feldakte_proto::{CloseCode, ServerMessage};
use feldakte_tests::harness::{
    crew, device,
    local::{LocalGateway, Site},
    pki::Enrolled,
    raw::{self, RawClient, hello, hello_on_mission},
    until,
};
use uuid::Uuid;

fn beginner(number: usize) -> DeviceId {
    DeviceId(Uuid::from_u128(number as u128))
}

/// So many devices whose sessions begin and do not end to begin.
async fn beginners(turnstile: &Arc<Turnstile>, class: Class, count: usize) -> Vec<Pass> {
    let mut passes = Vec::with_capacity(count);
    for number in 0..count {
        let pass = turnstile.enter(class, beginner(number)).await;
        passes.push(pass.expect("there is room"));
    }
    passes
}

/// A device that has said hello.
async fn said(gateway: &LocalGateway, enrolled: &Enrolled, message: &feldakte_proto::ClientMessage) -> RawClient {
    let mut client = RawClient::connect(&raw::endpoint(), enrolled.quic(), gateway.address.socket).await.unwrap();
    client.send(message).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_role_gains_nothing_by_claiming_a_mission() {
    let site = Site::new();
    let gateway = site.start().await;
    let turnstile = gateway.gateway.shared().turnstile.clone();
    let _crowd = beginners(&turnstile, Class::Other, limits::BEGINNING_AT_ONCE).await;
    let staff = site.pki.enrol(&device("dortmund", "unit-1", Role::FieldStaff));
    let [on_mission, idle] = ["rtw-1", "rtw-2"].map(|unit| site.pki.enrol(&crew(unit)));

    let mut cheat = said(&gateway, &staff, &hello_on_mission()).await;
    let mut patient = said(&gateway, &idle, &hello(None)).await;
    let mut urgent = said(&gateway, &on_mission, &hello_on_mission()).await;
    assert!(matches!(urgent.next().await, Ok(ServerMessage::Welcome(_))), "the crowd is not before it");
    let ends = [cheat.next().await.err(), patient.next().await.err()];
    assert_eq!(ends, [Some(Some(CloseCode::Busy)); 2], "one waits as long as the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_claimed_missions_keeps_out_nobody_who_claims_none() {
    let site = Site::new();
    let gateway = site.start().await;
    let turnstile = gateway.gateway.shared().turnstile.clone();
    let _flood = beginners(&turnstile, Class::Mission, limits::MISSIONS_BEGINNING_AT_ONCE).await;
    let mut queue = Vec::new();
    for number in 0..limits::BEGINNING_WAITING_MAX {
        let (turnstile, device) = (turnstile.clone(), beginner(limits::MISSIONS_BEGINNING_AT_ONCE + number));
        queue.push(tokio::spawn(async move { turnstile.enter(Class::Mission, device).await }));
    }
    let metrics = gateway.metrics();
    let waiting = || metrics.sessions_waiting.get_or_create(&vec![("class", "mission")]).get();
    until("the queue is full", || waiting() == limits::BEGINNING_WAITING_MAX as i64).await;
    let idle = site.pki.enrol(&crew("rtw-1"));
    let mut client = said(&gateway, &idle, &hello(None)).await;
    assert!(matches!(client.next().await, Ok(ServerMessage::Welcome(_))));
    queue.iter().for_each(tokio::task::JoinHandle::abort);
}
