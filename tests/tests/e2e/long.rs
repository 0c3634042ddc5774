//! Long cases and long texts on a device: opened quickly, saved whole.

use feldakte_client_sdk::{store::LocalStore, view::Edit};
use feldakte_core::{
    ids::{DocumentId, Part},
    limits,
};
use feldakte_tests::harness::{
    crew,
    local::Site,
    tablet::{Tablet, memory_store, texts},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_case_is_compacted_when_it_is_opened_again_and_goes_on() {
    let site = Site::new();
    let gateway = site.start().await;
    let [device, other] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let store = memory_store();
    let tablet = Tablet::open(device.identity(), gateway.address, store.clone()).await;
    tablet.go_online().await;
    let case = tablet.create("Polytrauma").await;
    for round in 0..limits::SNAPSHOT_EVERY {
        tablet.set(case, "gcs", &round.to_string()).await;
    }
    tablet.wait_durable(case).await;
    let before = tablet.client.read(case).await.unwrap();
    tablet.shutdown().await;

    let store = store.reopen().unwrap();
    let document = DocumentId { case, part: Part::Clinical };
    let many = store.load(document).await.unwrap().unwrap();
    assert!(many.chunks.len() > limits::SNAPSHOT_EVERY);
    let tablet = Tablet::open(device.identity(), gateway.address, store.clone()).await;
    assert_eq!(tablet.client.read(case).await.unwrap().documents, before.documents);
    let one = store.load(document).await.unwrap().unwrap();
    assert_eq!((one.chunks.len(), one.state), (1, many.state), "one snapshot, and nothing counted otherwise");

    tablet.set(case, "gcs", "15").await;
    tablet.go_online().await;
    tablet.wait_durable(case).await;
    let late = Tablet::online(&other, gateway.address).await;
    let view = late.wait_case(case, "the case", |view| !view.sync.incomplete).await;
    assert_eq!(texts(&view, "gcs"), ["15".to_owned()].into());
    tablet.wait_equal(&late, case).await;
}

/// A report that is pasted has more letters than one change may have operations.
#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_report_of_any_length_is_saved_whole() {
    let site = Site::new();
    let gateway = site.start().await;
    let [device, other] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (tablet, other) =
        (Tablet::online(&device, gateway.address).await, Tablet::online(&other, gateway.address).await);
    let case = tablet.create("Gutachten").await;
    let report = "Der Übergabebericht 🚑 ist lang. ".repeat(2_000);
    assert!(report.chars().count() > 3 * limits::CHANGE_OPS_MAX as usize);
    let paste = Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: report.clone() };
    tablet.client.edit(case, vec![paste]).await.unwrap();
    tablet.wait_durable(case).await;
    let is_whole = |view: &feldakte_client_sdk::view::CaseView| view.documents[0].narrative == report;
    other.wait_case(case, "the other one reads all of it", is_whole).await;
    assert_eq!(tablet.sync(case).await.refused, 0);
}
