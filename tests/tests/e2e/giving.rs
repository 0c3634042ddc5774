//! Who may give a case to others, and how far.

use std::time::Duration;

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    audit::Act,
    ids::{CaseId, Part},
};
use feldakte_proto::{ClientMessage, Outcome, Share};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew, device,
    local::{Clock, Site},
    new_document,
    raw::{RawClient, Seen},
};

use super::supervision::{TEXT, audited, emergency, written};

fn share_of(
    case: CaseId,
    part: Part,
    subject: &Subject,
    access: Option<Access>,
    until_ms: Option<i64>,
) -> ClientMessage {
    ClientMessage::Share(Share { request: 8, case, parts: vec![part], subject: subject.clone(), access, until_ms })
}

async fn a_stolen_tablet_takes_a_case_from_nobody_who_works_in_it(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
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

async fn an_emergency_is_not_made_to_last_by_sharing_it(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (_, _, author) = written(&site, &gateway).await;
    let document = author.document;
    let [curious, accomplice] = [crew("nef-7"), crew("nef-8")].map(|principal| site.pki.enrol(&principal));
    let (mut session, _) = RawClient::session(&curious, gateway.address, None).await;
    assert_eq!(session.ask(emergency(document.case, TEXT)).await, Outcome::Done);
    let [own, unit] = [&curious, &accomplice].map(|enrolled| Subject::Unit(enrolled.principal.unit.clone()));
    let before = audited(&site, Act::GrantBegan).await.len();
    for subject in [&Subject::Device(curious.principal.device), &own, &unit] {
        let outcome = session.ask(share_of(document.case, document.part, subject, Some(Access::Write), None)).await;
        assert_eq!(outcome, Outcome::Done, "as long as the emergency lasts");
    }
    // To what the device has by its emergency the first share adds nothing.
    assert_eq!(audited(&site, Act::GrantBegan).await.len(), before + 2, "what did not begin is not said to have begun");
    assert_eq!(audited(&site, Act::Shared).await.len(), 3, "but that it was asked for");
    let reads = async |enrolled| {
        let (mut session, _) = RawClient::session(enrolled, gateway.address, None).await;
        session.fetch(&[document]).await.snapshots.len()
    };
    assert_eq!((reads(&curious).await, reads(&accomplice).await), (1, 1));
    clock.advance(Duration::from_secs(3_601));
    assert_eq!((reads(&curious).await, reads(&accomplice).await), (0, 0));
}

async fn a_case_is_shared_with_one_unit_of_a_neighbour_and_taken_back(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (_, mut writer, mut author) = written(&site, &gateway).await;
    let document = author.document;
    let [near, far] = ["tnz-1", "tnz-2"].map(|unit| site.pki.enrol(&device("hagen", unit, Role::TelePhysician)));
    let dortmund = "dortmund".parse().unwrap();
    let (mut home, _) = RawClient::session(&near, gateway.address, None).await;
    let (mut guest, _) = RawClient::guest(&near, gateway.address, &dortmund).await;
    let (mut uninvited, _) = RawClient::guest(&far, gateway.address, &dortmund).await;
    let subject = Subject::Guest { tenant: "hagen".parse().unwrap(), unit: "tnz-1".parse().unwrap() };
    let share = |parts: &[Part], access| {
        let (case, subject, parts) = (document.case, subject.clone(), parts.to_vec());
        ClientMessage::Share(Share { request: 7, case, parts, subject, access, until_ms: None })
    };
    let clinical = &[document.part][..];
    assert_eq!(guest.ask(share(clinical, Some(Access::Write))).await, Outcome::NotPermitted, "a guest shares nothing");
    let stranger = site.pki.enrol(&crew("rtw-9"));
    let (mut stranger, _) = RawClient::session(&stranger, gateway.address, None).await;
    assert_eq!(stranger.ask(share(clinical, Some(Access::Write))).await, Outcome::NotPermitted);
    assert_eq!(writer.ask(share(&[], Some(Access::Write))).await, Outcome::NotPermitted);

    assert_eq!(writer.ask(share(clinical, Some(Access::Write))).await, Outcome::Done);
    assert_eq!(guest.fetch(&[document]).await.snapshots.len(), 1);
    assert_eq!(uninvited.fetch(&[document]).await.unavailable, [document]);
    let order = guest.push_and_wait(document, Author::new(&near.principal, document).begin(1)).await;
    assert_eq!(order.refused, [], "and works in it");
    let own = Author::new(&near.principal, new_document());
    assert_eq!(home.fetch(&[own.document]).await.unavailable, [own.document], "its session at home goes on");

    assert_eq!(writer.ask(share(clinical, None)).await, Outcome::Done);
    let after = writer.push_and_wait(document, vec![author.set("gcs", "nachher").bytes]).await.position;
    assert_eq!(guest.fetch(&[document]).await.unavailable, [document]);
    let mut seen = Seen::default();
    guest.read_until(&mut seen, |seen| seen.entries.iter().any(|(_, entry)| !entry.revoked.is_empty())).await;
    assert!(seen.entries.iter().all(|(at, _)| *at != after.0));
    drop((writer, home, guest, uninvited, stranger));
    gateway.stop().await;
    let shared = audited(&site, Act::Shared).await;
    assert_eq!((shared.len(), shared[0].about.tenant.as_ref().map(|tenant| tenant.as_str())), (2, Some("hagen")));
}

feldakte_tests::over_both!(
    a_stolen_tablet_takes_a_case_from_nobody_who_works_in_it,
    an_emergency_is_not_made_to_last_by_sharing_it,
    a_case_is_shared_with_one_unit_of_a_neighbour_and_taken_back,
);
