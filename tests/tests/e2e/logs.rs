//! Logs and metrics never show what stands in a case, however much is logged.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use feldakte_core::{access::Role, case::Edit, crdt::Value, ids::Part};
use feldakte_proto::{Credential, SignedIn};
use feldakte_tests::harness::{
    again,
    author::Author,
    crew, http,
    issuer::{self, Issuer, user},
    local::Site,
    new_document,
    pki::read_identity,
    raw::RawClient,
    tablet::{Tablet, fact, memory_store},
    within,
};

/// Occurs nowhere by accident.
const CANARY: &str = "Kanarienvogel-Müller-4711";
const HOUR: Duration = Duration::from_secs(3600);

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

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_token_appears_in_no_log_and_no_metric() {
    let (site, issuer) = (Site::new(), Issuer::new("a"));
    let settings = format!("[log]\nlevel = \"trace\"\n{}", issuer::settings(&issuer, &site));
    let gateway = site.spawn_with(&settings).await;
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let now = SystemTime::now();
    let good = issuer.token(CANARY, Role::AmbulanceCrew, now, HOUR);
    let stranger = Issuer::new("a").token(CANARY, Role::AmbulanceCrew, now, HOUR);
    let expired = issuer.token(CANARY, Role::AmbulanceCrew, now - 3 * HOUR, HOUR);
    let tokens = [good.clone(), stranger, expired, Credential::Token(CANARY.into())];
    let mut believed = 0;
    for token in tokens.clone() {
        let (mut client, welcome) = RawClient::signed_in(&tablet, gateway.quic, Some(token), vec![good.clone()]).await;
        believed += usize::from(matches!(welcome.active, Some(SignedIn::As { .. })));
        let mut author = Author::of_user(&tablet.principal, user(CANARY), new_document());
        let durable = client.push_of_and_wait(Some(user(CANARY)), author.document, author.begin(1)).await;
        assert_eq!(durable.refused, []);
    }
    assert_eq!(believed, 1);
    let (_, metrics) = http::get(gateway.ops, "/metrics").await.unwrap();
    gateway.terminate();
    let log = gateway.ended().await.log;
    assert!(log.contains("TRACE") && log.contains("sign-in refused"), "{log}");
    let id = user(CANARY).to_string();
    let parts = tokens.iter().flat_map(|token| match token {
        Credential::Token(token) => token.split('.').skip(1),
        other => panic!("{other:?}"),
    });
    for form in parts.chain([CANARY, "Kanarienvogel", &id]) {
        for (name, text) in [("log", &log), ("metrics", &metrics)] {
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
