//! Grants that begin and end while devices are connected, and while they are not.

use std::time::{Duration, Instant};

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::{DocumentId, Part},
    log::Entry,
};
use feldakte_proto::{CloseCode, Reason};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew, device,
    local::{Clock, LocalGateway, Site},
    new_document, noise,
    pki::Enrolled,
    raw::{RawClient, Seen},
    tablet::{Tablet, texts},
};

mod policy;

fn read_for(enrolled: &Enrolled) -> Grant {
    Grant::new(Subject::Device(enrolled.principal.device), Access::Read)
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

async fn a_device_hears_of_its_revocation_and_of_nothing_after_it(over: Transport) {
    let site = Site::over(over);
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

async fn a_revoked_tablet_loses_the_case_and_gets_it_back_with_a_new_grant(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [a, b] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let subject = Subject::Device(b.principal.device);
    let (a, b) = (Tablet::online(&a, gateway.address).await, Tablet::online(&b, gateway.address).await);
    let case = a.create("Sturz").await;
    a.wait_durable(case).await;
    let document = DocumentId { case, part: feldakte_core::ids::Part::Clinical };
    let grant = Grant::new(subject.clone(), Access::Write);
    gateway.gateway.grant(document, vec![grant.clone()]).await.unwrap();
    b.wait_equal(&a, case).await;
    b.set(case, "gcs", "15").await;
    b.wait_durable(case).await;

    gateway.gateway.revoke(document, vec![subject]).await.unwrap();
    b.until("b loses it", async |client| client.case_sync(case).await.is_err()).await;
    b.until("its app is told", async |_| b.removed() == [case]).await;
    let refused = b.client.edit(case, vec![feldakte_tests::harness::tablet::fact(document.part, "gcs", "3")]).await;
    assert!(matches!(refused, Err(feldakte_client_sdk::SdkError::UnknownCase)), "{refused:?}");
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

async fn a_grant_that_begins_later_brings_the_past_to_a_live_tablet_and_to_one_that_was_away(over: Transport) {
    let site = Site::over(over);
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

/// A device in the middle of a long catch-up behind a link that takes nothing: what waits for it inside the gateway
/// must not reach it later.
async fn a_grant_that_ends_takes_back_what_is_under_way(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let (mut writer, mut author, physician) = crew_and_physician(&site, &gateway).await;
    gateway.gateway.grant(author.document, vec![read_for(&physician)]).await.unwrap();
    let (mut reader, _) = RawClient::session_with(physician.dial().narrow(1_024), gateway.address, None).await;
    // More than the device's window: the rest waits in the gateway.
    for round in 0..20 {
        let change = author.set("bericht", &noise(round, 1_000)).bytes;
        writer.push_and_wait(author.document, vec![change]).await;
    }
    let received = reader.received;
    let told = tokio::time::Instant::now();
    gateway.gateway.revoke(author.document, vec![Subject::Device(physician.principal.device)]).await.unwrap();
    // Over TCP nothing can overtake what is taken back, not even the reason.
    let code = (over == Transport::Quic).then_some(CloseCode::Lapsed);
    assert_eq!(reader.closed().await, code);
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    while reader.next().await.is_ok() {}
    assert!(reader.received - received <= 2 * 1_024, "only what its window had taken");

    // It resumes from its cursor, and sees nothing of the document any more.
    let (mut again, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut seen = Seen::default();
    again.read_until(&mut seen, |seen| seen.caught_up).await;
    assert_eq!((seen.changes(), seen.bootstrap), (vec![], vec![]));
    let fetched = again.fetch(&[author.document]).await;
    assert_eq!((fetched.snapshots.len(), fetched.unavailable), (0, vec![author.document]));
}

/// A device that may look at one part of a case, and whose role may open cases.
async fn a_case_that_others_have_begun_is_not_opened_by_its_onlookers(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [owner, onlooker] = ["rtw-1", "rtw-2"].map(|unit| site.pki.enrol(&crew(unit)));
    let (mut writer, _) = RawClient::session(&owner, gateway.address, None).await;
    let mut author = Author::new(&owner.principal, new_document());
    assert_eq!(writer.push_and_wait(author.document, author.begin(1)).await.refused, []);
    gateway.gateway.grant(author.document, vec![read_for(&onlooker)]).await.unwrap();
    let others = Part::ALL.into_iter().filter(|part| *part != author.document.part);
    let others: Vec<_> = others.map(|part| DocumentId { case: author.document.case, part }).collect();
    let (mut client, _) = RawClient::session(&onlooker, gateway.address, None).await;
    for document in &others {
        let mut thief = Author::new(&onlooker.principal, *document);
        let refused = client.push_and_wait(*document, thief.begin(1)).await.refused;
        assert_eq!(refused.first().map(|refused| refused.reason), Some(Reason::NotPermitted));
    }
    for document in others {
        let mut own = Author::new(&owner.principal, document);
        assert_eq!(writer.push_and_wait(document, own.begin(1)).await.refused, [], "its crew opens it");
    }
}

/// Within a second, for whoever reads, whoever writes and whoever was away.
async fn a_grant_ends_at_its_time_for_live_sessions_and_later_ones(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (mut writer, mut author, physician) = crew_and_physician(&site, &gateway).await;
    let (document, subject) = (author.document, Subject::Device(physician.principal.device));
    let until = |seconds: i64| Some(clock.now_ms() + seconds * 1000);
    let write = Grant { until: until(3600), ..Grant::new(subject.clone(), Access::Write) };
    gateway.gateway.grant(document, vec![write]).await.unwrap();
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;

    clock.advance(Duration::from_secs(3601));
    let moved = Instant::now();
    let is_end = |(_, entry): &(u64, Entry)| entry.revoked == std::slice::from_ref(&subject);
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(is_end)).await;
    assert!(moved.elapsed() <= Duration::from_secs(1), "{:?}", moved.elapsed());
    let after = write_one(&mut writer, &mut author, "nachher").await;
    assert_eq!(reader.fetch(&[document]).await.unavailable, [document]);
    let late = Author::new(&physician.principal, document).begin(1);
    let refused = reader.push_and_wait(document, late).await.refused;
    assert_eq!(refused.iter().map(|refused| refused.reason).collect::<Vec<_>>(), [Reason::Quarantined]);
    assert!(seen.entries.iter().all(|(at, _)| *at != after));

    // And when nobody was there to end it.
    gateway.gateway.grant(document, vec![Grant { until: until(7200), ..read_for(&physician) }]).await.unwrap();
    gateway.stop().await;
    clock.advance(Duration::from_secs(7201));
    let gateway = site.start_at(&clock).await;
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    assert!(seen.bootstrap.is_empty() && seen.entries.iter().all(|(_, entry)| entry.changes.is_empty()), "{seen:?}");
}

async fn a_clock_set_back_by_a_day_begins_no_grant_again(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (_writer, author, physician) = crew_and_physician(&site, &gateway).await;
    let ending = Grant { until: Some(clock.now_ms() + 3_600_000), ..read_for(&physician) };
    gateway.gateway.grant(author.document, vec![ending]).await.unwrap();
    clock.advance(Duration::from_secs(3601));
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    assert_eq!(reader.fetch(&[author.document]).await.unavailable, [author.document]);
    clock.set_back(Duration::from_secs(24 * 3600));
    assert_eq!(reader.fetch(&[author.document]).await.unavailable, [author.document]);
}

async fn a_closed_case_is_read_as_long_as_the_policy_says_and_written_by_nobody(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let gateway = site.start_at(&clock).await;
    let (mut writer, mut author, physician) = crew_and_physician(&site, &gateway).await;
    let document = author.document;
    let write = Grant::new(Subject::Device(physician.principal.device), Access::Write);
    gateway.gateway.grant(document, vec![write]).await.unwrap();
    let (mut reader, _) = RawClient::session(&physician, gateway.address, None).await;
    let written = reader.push_and_wait(document, Author::new(&physician.principal, document).begin(1)).await;
    assert_eq!(written.refused, []);

    let closed = gateway.gateway.shared().close_case(document.case).await.unwrap();
    assert_eq!(closed, 1);
    let late = writer.push_and_wait(document, vec![author.set("gcs", "3").bytes]).await.refused;
    assert_eq!(late.iter().map(|refused| refused.reason).collect::<Vec<_>>(), [Reason::Quarantined]);
    assert_eq!(writer.fetch(&[document]).await.snapshots.len(), 1, "a crew completes its report");
    clock.advance(Duration::from_secs(13 * 3600));
    assert_eq!(writer.fetch(&[document]).await.unavailable, [document], "its shift is over");
    assert_eq!(reader.fetch(&[document]).await.snapshots.len(), 1, "a physician answers for his orders");
}

feldakte_tests::over_both!(
    a_device_hears_of_its_revocation_and_of_nothing_after_it,
    a_revoked_tablet_loses_the_case_and_gets_it_back_with_a_new_grant,
    a_grant_that_begins_later_brings_the_past_to_a_live_tablet_and_to_one_that_was_away,
    a_grant_that_ends_takes_back_what_is_under_way,
    a_case_that_others_have_begun_is_not_opened_by_its_onlookers,
    a_grant_ends_at_its_time_for_live_sessions_and_later_ones,
    a_clock_set_back_by_a_day_begins_no_grant_again,
    a_closed_case_is_read_as_long_as_the_policy_says_and_written_by_nobody,
);
