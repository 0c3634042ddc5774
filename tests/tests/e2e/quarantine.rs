//! A change that admission lets in and that no reader could bear: marked, left out, and in nobody's way.

use feldakte_core::{
    case,
    change::{Change, craft::Draft},
    crdt::Document,
    ids::ActorId,
    log::QuarantineReason,
};
use feldakte_tests::harness::{
    address::Transport,
    author::{Author, name_of},
    crew,
    local::Site,
    new_document, new_epoch,
    raw::{RawClient, Seen},
    tablet::{Tablet, texts},
    until,
};

const TOO_DEEP: u64 = 40;

async fn a_change_that_nests_too_deep_is_marked_and_everything_else_goes_on(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [attacker, crew_device, reader_device, late] = [(); 4].map(|()| site.pki.enrol(&crew("rtw-1")));
    let live = Tablet::online(&crew_device, gateway.address).await;
    let (mut reader, _) = RawClient::session(&reader_device, gateway.address, None).await;
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;

    // An honest beginning, then the attack, then something honest beside it and something on top of it.
    let document = new_document();
    let mut author = Author::new(&attacker.principal, document);
    let honest = author.begin(1);
    let last = Change::parse(honest[1].clone()).unwrap();
    let attack = Draft::new(author.actor).at([last.hash], 2, last.max_op() + 1).with_nested_maps("tief", TOO_DEEP);
    let attack = attack.chunk();
    let attack_name = name_of(&attack);
    let durable = client.push_and_wait(document, [honest.clone(), vec![attack]].concat()).await;
    assert_eq!(durable.refused, [], "admission reads no values");

    let mut seen = Seen::default();
    let is_marked = |seen: &Seen| seen.entries.iter().any(|(_, entry)| !entry.quarantined.is_empty());
    reader.read_until(&mut seen, is_marked).await;
    let marks: Vec<_> = seen.entries.iter().flat_map(|(_, entry)| &entry.quarantined).collect();
    assert_eq!(marks.len(), 1);
    assert_eq!((marks[0].change, marks[0].reason), (attack_name, QuarantineReason::TooDeep));
    // Readers hear of it as soon as it is in the log, and before it is counted.
    until("it is counted", || gateway.metrics().changes_quarantined.get() == 1).await;

    // Tablets that were there and tablets that come later show what is honest, and go on writing.
    let late = Tablet::online(&late, gateway.address).await;
    for (tablet, name) in [(&live, "live"), (&late, "late")] {
        let view = tablet.wait_case(document.case, "the honest part", |view| !view.sync.incomplete).await;
        assert_eq!(texts(&view, "gcs"), ["0".to_owned()].into());
        tablet.set(document.case, name, "weiter").await;
        tablet.wait_durable(document.case).await;
        let other = tablet.create("ein anderer Fall").await;
        tablet.wait_durable(other).await;
    }
    live.wait_equal(&late, document.case).await;
    let view = live.wait_case(document.case, "both went on", |view| !texts(view, "late").is_empty()).await;
    assert_eq!(texts(&view, "live"), ["weiter".to_owned()].into());
    let snapshot = reader.fetch(&[document]).await.snapshots.remove(0);
    assert_eq!(snapshot.quarantined.len(), 1);
    assert_eq!(case::genesis(document.part).hash, name_of(&honest[0]));
    assert!(gateway.gateway.is_ready().await);
}

/// A crew that writes while the poison is not yet known for what it is. Nobody can apply what stands on it; what the
/// crew wrote is done again without it.
async fn what_was_written_on_top_of_it_is_done_again_without_it(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let [attacker, crew_device, late] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let live = Tablet::online(&crew_device, gateway.address).await;
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
    let document = new_document();
    let case = document.case;
    let mut author = Author::new(&attacker.principal, document);
    let honest = author.begin(1);
    let last = Change::parse(honest[1].clone()).unwrap();
    let attack = Draft::new(author.actor).at([last.hash], 2, last.max_op() + 1).with_nested_maps("tief", TOO_DEEP);
    client.push_and_wait(document, [honest, vec![attack.chunk()]].concat()).await;
    live.wait_case(case, "the case", |view| !texts(view, "gcs").is_empty()).await;
    live.set(case, "spo2", "93").await;

    let metrics = gateway.metrics();
    until("attack and edit are marked", || metrics.changes_quarantined.get() >= 2).await;
    let late = Tablet::online(&late, gateway.address).await;
    let view = late.wait_case(case, "a later tablet shows it", |view| !texts(view, "spo2").is_empty()).await;
    assert_eq!(texts(&view, "gcs"), ["0".to_owned()].into());
    late.wait_equal(&live, case).await;
    live.wait_durable(case).await;
    assert_eq!(live.sync(case).await.refused, 0, "nothing is left for a person to decide");
    assert_eq!(live.client.parked(case).await.unwrap(), []);
}

/// A change that is valid and that the document library would have encoded otherwise: the library may not find it again
/// after saving. The projector survives it, whatever the library does.
async fn a_change_that_no_library_writes_does_not_end_the_projector(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
    let document = new_document();
    let genesis = Change::parse(Author::genesis(document)).unwrap();
    let odd = Draft::new(case::actor(attacker.principal.device, document, new_epoch(), 0));
    let odd = odd.at([genesis.hash], 1, genesis.max_op() + 1).with_puts("x", 1).chunk();
    client.push_and_wait(document, vec![genesis.bytes, odd]).await;
    let mut honest = Author::new(&attacker.principal, new_document());
    client.push_and_wait(honest.document, honest.begin(2)).await;

    let metrics = gateway.metrics();
    until("both documents are projected", || metrics.snapshots_written.get() >= 2).await;
    let snapshots = client.fetch(&[document, honest.document]).await.snapshots;
    for snapshot in snapshots {
        Document::load(&snapshot.chunks, ActorId([1; 16])).expect("what readers get, they can load");
    }
}

feldakte_tests::over_both!(
    a_change_that_nests_too_deep_is_marked_and_everything_else_goes_on,
    what_was_written_on_top_of_it_is_done_again_without_it,
    a_change_that_no_library_writes_does_not_end_the_projector,
);
