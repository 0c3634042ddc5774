//! Rows of the gateway's store that are not what was written: they cost their own document, and nobody else's.

use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::DocumentId,
    log::Entry,
};
use feldakte_proto::Reason;
use feldakte_tests::harness::{
    address::Transport,
    author::{Author, name_of},
    crew,
    local::{Clock, LocalGateway, Site},
    new_document,
    raw::{RawClient, Seen},
    tablet::Tablet,
    until,
};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

/// Flips bits of what is stored, without the gateway's knowledge.
async fn damage(site: &Site, sql: &str, document: DocumentId) {
    let mut store = SqliteConnectOptions::new().filename(site.store_path()).connect().await.unwrap();
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(document.to_bytes().to_vec()).execute(&mut store);
    assert_eq!(done.await.unwrap().rows_affected(), 1);
    store.close().await.unwrap();
}

const SNAPSHOT: &str = "update snapshot set chunks = zeroblob(length(chunks)) where document = ?";
const LAST_ENTRY: &str = "update entry set payload = zeroblob(length(payload))
    where id = (select last from document where id = ?)";

/// Two documents of a crew, projected; the gateway is stopped.
async fn two_documents(site: &Site) -> (feldakte_tests::harness::pki::Enrolled, [Author; 2]) {
    let gateway = site.start().await;
    let device = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&device, gateway.address, None).await;
    let mut authors = [(); 2].map(|()| Author::new(&device.principal, new_document()));
    for author in &mut authors {
        let changes = author.begin(100);
        assert_eq!(writer.push_and_wait(author.document, changes).await.refused, []);
    }
    projected(&gateway, 2).await;
    gateway.stop().await;
    (device, authors)
}

async fn projected(gateway: &LocalGateway, documents: u64) {
    let metrics = gateway.metrics();
    until("the snapshots are written", || metrics.snapshots_written.get() >= documents).await;
}

async fn a_damaged_snapshot_is_made_good_from_the_log(over: Transport) {
    let site = Site::over(over);
    let (_, [one, other]) = two_documents(&site).await;
    damage(&site, SNAPSHOT, one.document).await;
    let gateway = site.start().await;
    let reader = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::online(&reader, gateway.address).await;
    for author in [&one, &other] {
        let is_whole = |view: &feldakte_client_sdk::view::CaseView| !view.sync.incomplete;
        tablet.wait_case(author.document.case, "the case arrives", is_whole).await;
    }
    assert!(gateway.metrics().damaged.get() >= 1, "and somebody is told");
}

async fn a_damaged_document_holds_up_no_other_fetch_read_or_push(over: Transport) {
    let site = Site::over(over);
    let (device, [mut one, mut other]) = two_documents(&site).await;
    damage(&site, SNAPSHOT, one.document).await;
    damage(&site, LAST_ENTRY, one.document).await;
    let gateway = site.start().await;

    // Fetched together, the other one comes.
    let (mut reader, _) = RawClient::session(&site.pki.enrol(&crew("rtw-1")), gateway.address, None).await;
    let fetched = reader.fetch(&[one.document, other.document]).await;
    let names: Vec<_> = fetched.snapshots.iter().map(|snapshot| snapshot.document).collect();
    assert_eq!((names, fetched.unavailable), (vec![other.document], vec![]));

    // The tablet shows the other one, now and after it has been written, and knows that the first is missing.
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let is_whole = |view: &feldakte_client_sdk::view::CaseView| !view.sync.incomplete;
    tablet.wait_case(other.document.case, "the other case arrives", is_whole).await;
    assert!(tablet.sync(one.document.case).await.incomplete);

    // Pushes to it are refused for the time being, in the middle of others that are taken.
    let (mut writer, _) = RawClient::session(&device, gateway.address, None).await;
    let lost = one.set("gcs", "14").bytes;
    let refused = writer.push_and_wait(one.document, vec![lost]).await.refused;
    assert_eq!(refused.iter().map(|refused| refused.reason).collect::<Vec<_>>(), [Reason::DocumentDamaged]);
    let taken = other.set("gcs", "14").bytes;
    assert_eq!(writer.push_and_wait(other.document, vec![taken]).await.refused, []);
}

async fn a_reader_that_resumes_passes_a_damaged_entry_and_fetches_its_document(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [device, reader_device] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut writer, _) = RawClient::session(&device, gateway.address, None).await;
    let [mut one, mut other] = [(); 2].map(|()| Author::new(&device.principal, new_document()));
    for author in [&mut one, &mut other] {
        let changes = author.begin(3);
        writer.push_and_wait(author.document, changes).await;
    }
    let (mut reader, welcome) = RawClient::session(&reader_device, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    let cursor =
        feldakte_core::ids::Cursor { epoch: welcome.epoch, position: feldakte_core::ids::Position(seen.cursor) };
    writer.push_and_wait(one.document, vec![one.set("gcs", "14").bytes]).await;
    let last = other.set("gcs", "13").bytes;
    writer.push_and_wait(other.document, vec![last.clone()]).await;
    drop((reader, writer));
    gateway.stop().await;

    damage(&site, LAST_ENTRY, one.document).await;
    let gateway = site.start().await;
    let (mut reader, _) = RawClient::session(&reader_device, gateway.address, Some(cursor)).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    assert_eq!((seen.changes(), seen.bootstrap), (vec![name_of(&last)], vec![one.document]));
}

/// A store that was put back by hand, not by `feldakte restore`.
async fn a_cursor_beyond_the_log_is_not_believed(over: Transport) {
    let site = Site::over(over);
    let (_, [one, other]) = two_documents(&site).await;
    let gateway = site.start().await;
    let beyond =
        feldakte_core::ids::Cursor { epoch: gateway.gateway.epoch(), position: feldakte_core::ids::Position(1_000) };
    let device = site.pki.enrol(&crew("rtw-1"));
    let (mut reader, welcome) = RawClient::session(&device, gateway.address, Some(beyond)).await;
    assert!(!welcome.caught_up);
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    seen.bootstrap.sort_unstable();
    let mut both = [one.document, other.document];
    both.sort_unstable();
    assert_eq!(seen.bootstrap, both, "it reads everything again");
}

/// The end of a grant is written where the document can be read, and asked of the clock everywhere.
async fn a_damaged_document_holds_up_the_end_of_no_other_grant(over: Transport) {
    let (site, clock) = (Site::over(over), Clock::default());
    let (device, authors) = two_documents(&site).await;
    let desk = site.pki.enrol(&feldakte_tests::harness::device("dortmund", "tna-1", Role::TelePhysician));
    let subject = Subject::Device(desk.principal.device);
    let gateway = site.start_at(&clock).await;
    let until = Some(clock.now_ms() + 3_600_000);
    for author in &authors {
        let grant = Grant { until, ..Grant::new(subject.clone(), Access::Read) };
        gateway.gateway.grant(author.document, vec![grant]).await.unwrap();
    }
    gateway.stop().await;
    // Ends are written by ascending document: the damaged one comes first.
    let mut documents = authors.map(|author| author.document);
    documents.sort_unstable();
    damage(&site, LAST_ENTRY, documents[0]).await;
    let gateway = site.start_at(&clock).await;
    let (mut reader, _) = RawClient::session(&desk, gateway.address, None).await;
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    clock.advance(std::time::Duration::from_secs(3601));
    let is_end = |entry: &Entry| entry.document == documents[1] && entry.revoked == std::slice::from_ref(&subject);
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(_, entry)| is_end(entry))).await;
    assert_eq!(reader.fetch(&documents).await.unavailable, documents);
    let (mut writer, _) = RawClient::session(&device, gateway.address, None).await;
    assert_eq!(writer.fetch(&[documents[1]]).await.snapshots.len(), 1, "its crew reads on");
}

feldakte_tests::over_both!(
    a_damaged_snapshot_is_made_good_from_the_log,
    a_damaged_document_holds_up_no_other_fetch_read_or_push,
    a_reader_that_resumes_passes_a_damaged_entry_and_fetches_its_document,
    a_cursor_beyond_the_log_is_not_believed,
    a_damaged_document_holds_up_the_end_of_no_other_grant,
);
