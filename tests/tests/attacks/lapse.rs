//! Authority that ends while a session is open ends the session, within a second, and nothing follows.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use feldakte_certs::identity::{Fingerprint, serial_of};
use feldakte_client_sdk::view::LinkState;
use feldakte_core::access::{Access, Grant, Role, Subject};
use feldakte_gateway::store::StoreError;
use feldakte_proto::{CloseCode, ServerMessage};
use feldakte_tests::{
    harness::{
        address::Transport,
        author::Author,
        crew, device,
        faulty_store::{Act, Call, FaultyStore},
        local::{Clock, Site},
        new_document, new_epoch, noise,
        pki::{DAY, Enrolled},
        process,
        raw::{self, RawClient, Seen},
        tablet::Tablet,
    },
    memory_store::MemoryStore,
};

use super::bystander::Bystander;

const LAPSED_WITHIN: Duration = Duration::from_secs(1);
/// Handshakes until one ends before the gateway's judgement of it is there.
const TRIES: usize = 20;

fn entries(device: &Enrolled) -> [String; 3] {
    [
        format!("device {}", device.principal.device),
        format!("sha256 {}", Fingerprint::of(&device.certificate)),
        format!("serial {}", serial_of(&device.certificate).unwrap()),
    ]
}

/// Reads to the end of the session; fails when anything but the end comes.
async fn assert_ends_at_once(mut client: RawClient, since: Instant) {
    match client.next().await {
        Err(code) => assert_eq!(code, Some(CloseCode::NotPermitted)),
        Ok(message) => panic!("after the end of its authority: {message:?}"),
    }
    assert!(since.elapsed() <= LAPSED_WITHIN, "{:?}", since.elapsed());
}

async fn a_live_session_ends_when_its_certificate_is_denied(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let crew_device = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew_device, gateway.address, None).await;
    for which in 0..3 {
        let lost = site.pki.enrol(&crew("rtw-1"));
        let (mut client, welcome) = RawClient::session(&lost, gateway.address, None).await;
        // Everything up to now is read, so that whatever comes next came after the denial.
        if !welcome.caught_up {
            let mut seen = Default::default();
            client.read_until(&mut seen, |seen: &feldakte_tests::harness::raw::Seen| seen.caught_up).await;
        }
        let since = Instant::now();
        gateway.deny.replace(entries(&lost)[which].parse().unwrap());
        assert_eq!(gateway.gateway.close_lapsed(), 1);
        let mut author = Author::new(&crew_device.principal, new_document());
        writer.push_and_wait(author.document, author.begin(1)).await;
        assert_ends_at_once(client, since).await;
    }
    bystander.unharmed().await;
}

/// The same by the file that an operator edits.
async fn the_deny_list_file_takes_effect_within_a_second(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let [lost, kept] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let tablet = Tablet::online(&kept, gateway.address).await;
    for entry in entries(&lost) {
        fs::write(process::deny_list(&site), "").unwrap();
        // Taken up when the device is welcome again.
        let (client, _) = loop {
            if let Some(session) = RawClient::try_session(lost.dial(), gateway.address, None).await {
                break session;
            }
        };
        let since = Instant::now();
        fs::write(process::deny_list(&site), format!("# lost on the way\n{entry}\n")).unwrap();
        assert_ends_at_once(client, since).await;
    }
    // A list that cannot be read keeps the last one in force.
    fs::write(process::deny_list(&site), "device nonsense\n").unwrap();
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    assert!(RawClient::try_session(lost.dial(), gateway.address, None).await.is_none());
    bystander.unharmed().await;
}

async fn a_live_session_ends_when_its_certificate_expires(over: Transport) {
    let site = Site::over(over);
    let clock = Clock::default();
    let gateway = site.start_at(&clock).await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let hour = Duration::from_secs(3_600);
    let short = site.pki.enrol_from(&crew("rtw-1"), SystemTime::now(), hour);
    let tablet_device = site.pki.enrol_from(&crew("rtw-2"), SystemTime::now(), hour);
    let long = site.pki.enrol_from(&crew("rtw-1"), SystemTime::now(), DAY);
    let (client, _) = RawClient::session(&short, gateway.address, None).await;
    let (mut other, _) = RawClient::session(&long, gateway.address, None).await;
    let tablet = Tablet::online(&tablet_device, gateway.address).await;

    let since = Instant::now();
    clock.advance(2 * hour);
    assert_ends_at_once(client, since).await;
    tablet.wait_link(LinkState::Refused).await;
    // TLS itself still finds the certificate valid, since its clock has not moved: the session judges for itself.
    // Its answer may overtake the end of the handshake.
    let mut tries = 0..TRIES;
    let mut again = loop {
        match RawClient::open(short.dial(), gateway.address).await {
            Ok(client) => break client,
            Err(()) => assert!(tries.next().is_some(), "the handshake succeeds"),
        }
    };
    again.send(&raw::hello(None)).await;
    assert_eq!((again.next().await, again.received), (Err(Some(CloseCode::NotPermitted)), 0));

    let mut author = Author::new(&long.principal, new_document());
    let push = other.push(author.document, author.begin(1)).await;
    assert!(matches!(other.next().await, Ok(ServerMessage::Durable(durable)) if durable.push == push));
    bystander.unharmed().await;
}

/// The end is due, but a full disk takes no entry that says so: what is left of the catch-up is not sent all the same.
async fn a_catch_up_goes_no_further_when_a_grants_end_cannot_be_written(over: Transport) {
    let site = Site::over(over);
    let (clock, is_full) = (Clock::default(), Arc::new(AtomicBool::new(false)));
    let full = is_full.clone();
    let store = FaultyStore::new(MemoryStore::new(new_epoch(), || Duration::ZERO), move |call| match call {
        Call::Append(_) if full.load(Ordering::SeqCst) => Act::Fail(StoreError::Failed("the disk is full".into())),
        _ => Act::Pass,
    });
    let (gateway, address) = site.start_on_at(store, &clock).await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (mut writer, _) = RawClient::session(&crew, address, None).await;
    let (subject, until) = (Subject::Device(desk.principal.device), Some(clock.now_ms() + 60_000));
    let mut written = 0;
    for _ in 0..4 {
        let mut author = Author::new(&crew.principal, new_document());
        let mut changes = author.begin(0);
        changes.extend((0..40).map(|n| author.set("gcs", &noise(n, 8_000)).bytes));
        written += changes.len();
        assert_eq!(writer.push_and_wait(author.document, changes).await.refused, []);
        let grant = Grant { until, ..Grant::new(subject.clone(), Access::Read) };
        gateway.grant(author.document, vec![grant]).await.unwrap();
    }

    let (mut reader, _) = RawClient::session_with(desk.dial().narrow(4_096), address, None).await;
    let mut seen = Seen::default();
    reader.read_once(&mut seen).await;
    is_full.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(120));
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    // The frame that had begun to leave, and no other one; over gRPC it is the second, since the first was read as a whole.
    let frames = if over == Transport::Quic { 1 } else { 2 };
    assert_eq!(seen.changes().len() as u64, frames * 41, "of {written}");
    assert!(reader.frames <= 2 * frames + 1, "welcome, frames, the end: {}", reader.frames);
}

feldakte_tests::over_both!(
    a_live_session_ends_when_its_certificate_is_denied,
    the_deny_list_file_takes_effect_within_a_second,
    a_live_session_ends_when_its_certificate_expires,
    a_catch_up_goes_no_further_when_a_grants_end_cannot_be_written,
);
