//! Who may give a case to others, and how far.

use std::time::Duration;

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::{CaseId, Part},
};
use feldakte_proto::{ClientMessage, Outcome, Share};
use feldakte_tests::harness::{
    crew, device,
    local::{Clock, Site},
    raw::RawClient,
};

use super::supervision::{TEXT, emergency, written};

fn share_of(
    case: CaseId,
    part: Part,
    subject: &Subject,
    access: Option<Access>,
    until_ms: Option<i64>,
) -> ClientMessage {
    ClientMessage::Share(Share { request: 8, case, parts: vec![part], subject: subject.clone(), access, until_ms })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_tablet_takes_a_case_from_nobody_who_works_in_it() {
    let (site, clock) = (Site::new(), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (owner, mut writer, mut author) = written(&site, &gateway).await;
    let document = author.document;
    let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let physician = Subject::Device(desk.principal.device);
    gateway.gateway.grant(document, vec![Grant::new(physician.clone(), Access::Write)]).await.unwrap();
    let mut stolen = RawClient::session(&site.pki.enrol(&crew("rtw-1")), gateway.address, None).await.0;
    let own = Subject::Unit(owner.principal.unit.clone());
    let soon = Some(clock.now_ms() + 1_000);
    for subject in [&own, &physician] {
        for (access, until) in [(None, None), (Some(Access::Read), None), (Some(Access::Write), soon)] {
            let outcome = stolen.ask(share_of(document.case, document.part, subject, access, until)).await;
            assert_eq!(outcome, Outcome::NotPermitted, "{subject:?} {access:?} {until:?}");
        }
    }
    clock.advance(Duration::from_secs(60));
    let (mut desk, _) = RawClient::session(&desk, gateway.address, None).await;
    assert_eq!(desk.fetch(&[document]).await.snapshots.len(), 1);
    let durable = writer.push_and_wait(document, vec![author.set("gcs", "15").bytes]).await;
    assert_eq!(durable.refused, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_not_made_to_last_by_sharing_it() {
    let (site, clock) = (Site::new(), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (_, _, author) = written(&site, &gateway).await;
    let document = author.document;
    let [curious, accomplice] = [crew("nef-7"), crew("nef-8")].map(|principal| site.pki.enrol(&principal));
    let (mut session, _) = RawClient::session(&curious, gateway.address, None).await;
    assert_eq!(session.ask(emergency(document.case, TEXT)).await, Outcome::Done);
    let [own, unit] = [&curious, &accomplice].map(|enrolled| Subject::Unit(enrolled.principal.unit.clone()));
    for subject in [&Subject::Device(curious.principal.device), &own, &unit] {
        let outcome = session.ask(share_of(document.case, document.part, subject, Some(Access::Write), None)).await;
        assert_eq!(outcome, Outcome::Done, "as long as the emergency lasts");
    }
    let reads = async |enrolled| {
        let (mut session, _) = RawClient::session(enrolled, gateway.address, None).await;
        session.fetch(&[document]).await.snapshots.len()
    };
    assert_eq!((reads(&curious).await, reads(&accomplice).await), (1, 1));
    clock.advance(Duration::from_secs(3_601));
    assert_eq!((reads(&curious).await, reads(&accomplice).await), (0, 0));
}
