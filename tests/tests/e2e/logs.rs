//! Logs and metrics never show what stands in a case, however much is logged.

use std::{fs, net::SocketAddr};

use feldakte_core::{case::Edit, crdt::Value, ids::Part};
use feldakte_tests::harness::{
    again, crew, http,
    local::Site,
    pki::read_identity,
    tablet::{Tablet, fact, memory_store},
    within,
};

/// Occurs nowhere by accident.
const CANARY: &str = "Kanarienvogel-Müller-4711";

#[tokio::test(flavor = "multi_thread")]
async fn a_text_in_a_case_appears_in_no_log_and_no_metric() {
    let site = Site::new();
    let gateway = site.spawn_with("[log]\nlevel = \"trace\"").await;
    site.pki.enrol(&crew("rtw-1")).write(site.dir());
    fs::write(site.dir().join("gateway"), gateway.quic.to_string()).unwrap();
    let mut child = again::command("logs::child_writes_the_canary_at_trace_level", site.dir()).spawn().unwrap();
    let mut words = again::Words::of(&mut child);
    assert_eq!(within("the tablet is done", words.next()).await.as_deref(), Some("all safe"));
    assert!(within("the tablet ends", child.wait()).await.unwrap().success());
    let (_, metrics) = http::get(gateway.ops, "/metrics").await.unwrap();
    gateway.terminate();
    let gateway_log = gateway.ended().await.log;
    let tablet_log = fs::read_to_string(site.dir().join("tablet.log")).unwrap();

    for (name, text) in [("gateway", &gateway_log), ("tablet", &tablet_log)] {
        assert!(text.contains("TRACE"), "the {name}'s log is not at trace level:\n{text}");
    }
    let bytes_as_debug = format!("{:?}", CANARY.as_bytes());
    let forms = [CANARY, "Kanarienvogel", &bytes_as_debug[1..bytes_as_debug.len() - 1], "4b616e617269656e"];
    for (name, text) in [("gateway's log", &gateway_log), ("tablet's log", &tablet_log), ("metrics", &metrics)] {
        for form in forms {
            let line = text.lines().find(|line| line.contains(form));
            assert_eq!(line, None, "in the {name}");
        }
    }
}

/// A process of its own, because a log at trace level is a whole process' log.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of a_text_in_a_case_appears_in_no_log_and_no_metric"]
async fn child_writes_the_canary_at_trace_level() {
    let Some(directory) = again::directory() else { return };
    let log = fs::File::create(directory.join("tablet.log")).unwrap();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::sync::Mutex::new(log))
        .with_ansi(false)
        .init();
    let gateway: SocketAddr = fs::read_to_string(directory.join("gateway")).unwrap().parse().unwrap();
    let tablet = Tablet::open(read_identity(&directory), gateway, memory_store()).await;
    tablet.go_online().await;
    let entry = Edit::AddEntry {
        part: Part::Clinical,
        id: tablet.client.new_entry_id(),
        kind: CANARY.into(),
        fields: vec![(CANARY.into(), Value::Text(CANARY.into()))],
    };
    let note = Edit::Narrate { part: Part::Clinical, at: None, delete: 0, insert: CANARY.into() };
    let case = tablet.client.create_case(vec![fact(Part::Identity, "family_name", CANARY), entry, note]).await.unwrap();
    tablet.wait_durable(case).await;
    // Neither when it is read, nor when an edit is refused, nor when the link is lost.
    tablet.client.read(case).await.unwrap();
    let huge = CANARY.repeat(20_000);
    tablet.client.edit(case, vec![fact(Part::Identity, "family_name", &huge)]).await.unwrap_err();
    tablet.go_offline().await;
    tablet.set(case, CANARY, CANARY).await;
    tablet.go_online().await;
    tablet.wait_all_safe().await;
    tablet.shutdown().await;
    again::say("all safe");
}
