//! Readiness: measured over whatever carries the session, and written into the case.

use feldakte_client_sdk::view::readiness::{Channel, Readiness, Verdict};
use feldakte_core::{
    case::schema::CaseKind,
    crdt::Value,
    ids::Part,
    readiness::{FRESH_FOR_MS, Facts},
};
use feldakte_tests::harness::{
    address::Transport,
    crew,
    local::Site,
    tablet::{Tablet, fact, memory_store},
};

async fn on_loopback(over: Transport) -> (Tablet, Readiness, impl Sized) {
    let site = Site::on_loopback(over);
    let gateway = site.start().await;
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.address).await;
    let readiness = tablet.client.readiness().await;
    (tablet, readiness, (site, gateway))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_link_is_green_and_all_facts_are_there() {
    let (tablet, readiness, _kept) = on_loopback(Transport::Quic).await;
    let Facts { rtt_ms, loss_permille, up_kbit_s, down_kbit_s, age_ms, .. } = readiness.facts.expect("a session");
    assert!(rtt_ms < 300 && age_ms < FRESH_FOR_MS, "{rtt_ms} ms, {age_ms} ms old");
    assert_eq!(loss_permille, Some(0));
    assert!(up_kbit_s.is_some_and(|rate| rate > 600) && down_kbit_s.is_some_and(|rate| rate > 40));
    assert!(Channel::ALL.iter().all(|channel| readiness.verdict(*channel) == Verdict::Green), "{readiness:?}");
    let again = tablet.client.readiness().await.facts.expect("a session");
    assert_eq!((again.rtt_ms, again.up_kbit_s), (rtt_ms, up_kbit_s), "what is fresh is not measured again");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_loss_is_not_known_and_nothing_is_green() {
    let (_tablet, readiness, _kept) = on_loopback(Transport::Grpc).await;
    let facts = readiness.facts.expect("a session");
    assert!(facts.loss_permille.is_none() && facts.up_kbit_s.is_some(), "{facts:?}");
    assert!(Channel::ALL.iter().all(|channel| readiness.verdict(*channel) == Verdict::Yellow), "{readiness:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_all_is_red_and_the_case_says_so() {
    let site = Site::on_loopback(Transport::Quic);
    let gateway = site.start().await;
    let tablet = Tablet::open(site.pki.enrol(&crew("rtw-1")).identity(), gateway.address, memory_store()).await;
    let edits = vec![fact(Part::Operations, "keyword", "Brustschmerz")];
    let case = tablet.client.create(CaseKind::Mission, edits).await.unwrap();
    let readiness = tablet.client.readiness().await;
    assert_eq!((readiness.facts, readiness.carried(&Channel::ALL)), (None, Vec::new()));
    let id = tablet.client.note_readiness(case, &readiness).await.unwrap();
    let view = tablet.client.read(case).await.unwrap();
    let operations = view.documents.iter().find(|document| document.part == Part::Operations).unwrap();
    let entry = operations.entries.iter().find(|entry| entry.id == Some(id)).unwrap();
    let Some(Value::Record(voice)) = entry.field("voice") else { panic!("a record") };
    assert!(voice.contains(&("verdict".to_owned(), Value::Text("red".to_owned()))));
}
