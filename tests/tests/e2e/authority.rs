//! Grants that begin and end while devices are connected, and while they are not.

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::DocumentId,
};
use feldakte_tests::harness::{
    author::Author,
    crew, device,
    local::{LocalGateway, Site},
    new_document,
    pki::Enrolled,
    raw::{RawClient, Seen},
    tablet::{Tablet, texts},
};

fn read_for(enrolled: &Enrolled) -> Grant {
    Grant { subject: Subject::Device(enrolled.principal.device), access: Access::Read }
}

/// A crew that has written a document, and a physician of another unit.
async fn crew_and_physician(site: &Site, gateway: &LocalGateway) -> (RawClient, Author, Enrolled) {
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    let durable = writer.push_and_wait(author.document, author.begin(3)).await;
    assert_eq!(durable.refused, []);
    (writer, author, site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician)))
}

async fn write_one(writer: &mut RawClient, author: &mut Author, value: &str) -> u64 {
    let change = author.set("gcs", value).bytes;
    writer.push_and_wait(author.document, vec![change]).await.position.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_hears_of_its_revocation_and_of_nothing_after_it() {
    let site = Site::new();
    let gateway = site.start().await;
    let (mut writer, mut author, physician) = crew_and_physician(&site, &gateway).await;
    let document = author.document;
    gateway.gateway.grant(document, vec![read_for(&physician)]).await.unwrap();
    let (mut reader, welcome) = RawClient::session(&physician, gateway.address, None).await;
    assert!(!welcome.caught_up);
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    let before = write_one(&mut writer, &mut author, "vorher").await;
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == before)).await;

    let subject = Subject::Device(physician.principal.device);
    let ended = gateway.gateway.revoke(document, vec![subject.clone()]).await.unwrap();
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == ended.0)).await;
    assert_eq!(seen.entries.last().unwrap().1.revoked, [subject]);

    let after = write_one(&mut writer, &mut author, "nachher").await;
    // Something that the physician may see follows in the log: what comes before it is all there was.
    let (mut other_writer, mut other, _) = crew_and_physician(&site, &gateway).await;
    gateway.gateway.grant(other.document, vec![read_for(&physician)]).await.unwrap();
    let visible = write_one(&mut other_writer, &mut other, "x").await;
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == visible)).await;
    assert!(seen.entries.iter().all(|(at, entry)| *at != after && (entry.document != document || *at <= ended.0)));
    let answer = reader.fetch(&[document]).await;
    assert_eq!((answer.snapshots.len(), answer.unavailable), (0, vec![document]));

    // Nor in a later session, whatever cursor it claims.
    for position in [0, before, ended.0 - 1] {
        let cursor = feldakte_core::ids::Cursor {
            epoch: gateway.gateway.epoch(),
            position: feldakte_core::ids::Position(position),
        };
        let (mut again, _) = RawClient::session(&physician, gateway.address, Some(cursor)).await;
        let mut seen = Seen::default();
        again.read_until(&mut seen, |seen| seen.caught_up).await;
        let of_it: Vec<_> = seen.entries.iter().filter(|(_, entry)| entry.document == document).collect();
        assert!(of_it.iter().all(|(_, entry)| entry.changes.is_empty()), "after {position}");
        assert!(!seen.bootstrap.contains(&document));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_tablet_says_so_and_writes_no_more() {
    let site = Site::new();
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let subject = Subject::Device(b.principal.device);
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = a.create("Sturz").await;
    a.wait_durable(case).await;
    let document = DocumentId { case, part: feldakte_core::ids::Part::Clinical };
    let grant = Grant { subject: subject.clone(), access: Access::Write };
    gateway.gateway.grant(document, vec![grant.clone()]).await.unwrap();
    b.wait_equal(&a, case).await;
    b.set(case, "gcs", "15").await;
    b.wait_durable(case).await;

    gateway.gateway.revoke(document, vec![subject]).await.unwrap();
    b.until("b knows", async |client| client.case_sync(case).await.is_ok_and(|sync| sync.revoked)).await;
    let refused = b.client.edit(case, vec![feldakte_tests::harness::tablet::fact(document.part, "gcs", "3")]).await;
    assert!(matches!(refused, Err(feldakte_client_sdk::SdkError::AccessEnded)), "{refused:?}");
    a.set(case, "geheim", "nach dem Ende").await;
    a.wait_durable(case).await;

    // A grant that begins again brings what was missed.
    gateway.gateway.grant(document, vec![grant]).await.unwrap();
    let view = b.wait_case(case, "b sees it again", |view| !texts(view, "geheim").is_empty()).await;
    assert!(!view.sync.revoked);
    b.wait_equal(&a, case).await;
    b.set(case, "gcs", "14").await;
    b.wait_durable(case).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_begins_later_brings_the_past_to_a_live_tablet_and_to_one_that_was_away() {
    let site = Site::new();
    let gateway = site.start().await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let a = Tablet::online(&crew, gateway.address).await;
    let desk = || site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (live, away) = (desk(), desk());
    let grants = vec![read_for(&live), read_for(&away)];
    let (live, away) = (Tablet::online(&live, gateway.address).await, Tablet::online(&away, gateway.address).await);
    away.go_offline().await;
    let case = a.create("Brustschmerz").await;
    for value in ["15", "14", "13"] {
        a.set(case, "gcs", value).await;
    }
    a.wait_durable(case).await;

    let document = DocumentId { case, part: feldakte_core::ids::Part::Clinical };
    gateway.gateway.grant(document, grants).await.unwrap();
    live.wait_equal(&a, case).await;
    a.set(case, "gcs", "12").await;
    away.go_online().await;
    for desk in [&live, &away] {
        desk.wait_case(case, "the desk sees the newest", |view| texts(view, "gcs") == ["12".to_owned()].into()).await;
        desk.wait_equal(&a, case).await;
    }
}
