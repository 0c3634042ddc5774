//! `feldakte audit` as auditors use it, on a file and through a running gateway.

use std::path::Path;

use feldakte_certs::signing::VerifyingKey;
use feldakte_core::audit::Act;
use feldakte_tests::harness::{
    author::Author,
    crew,
    local::Site,
    new_document,
    process::{self, ChildGateway},
    raw::RawClient,
    until,
};
use serde_json::Value;

use super::{dortmund, records};

/// Exit code, standard output, standard error.
async fn feldakte(token: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = process::command(arguments).await;
    let output = command.env("FELDAKTE_OPERATOR_TOKEN", token).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A gateway in which a crew has written one document.
async fn written(site: &Site) -> (ChildGateway, Author) {
    let gateway = site.spawn().await;
    let crew = site.pki.enrol(&crew("rtw-1"));
    let (mut writer, _) = RawClient::session(&crew, gateway.quic, None).await;
    let mut author = Author::new(&crew.principal, new_document());
    writer.push_and_wait(author.document, author.begin(2)).await;
    drop(writer);
    (gateway, author)
}

async fn token(socket: &str, name: &str, more: &[&str]) -> String {
    let arguments = [&["operator", "add", name, "--socket", socket, "--json"], more].concat();
    let (code, out, error) = feldakte("", &arguments).await;
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str::<Value>(&out).unwrap()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_sees_the_log_of_a_running_gateway_and_that_is_recorded() {
    let site = Site::new();
    let (gateway, author) = written(&site).await;
    let socket = site.dir().join("feldakte.sock");
    let socket = socket.to_str().unwrap();
    let auditor = token(socket, "anna", &["--role", "auditor"]).await;
    let show = ["audit", "show", "--json", "--socket", socket, "--tenant", "dortmund"];
    let case = author.document.case.to_string();
    let wrote = [&show[..], &["--case", &case, "--act", "wrote"]].concat();
    let answer = async || lines(&feldakte(&auditor, &wrote).await.1);
    let mut found = answer().await;
    while found.is_empty() {
        found = answer().await;
    }
    assert_eq!((found.len(), &found[0]["count"], &found[0]["about"]["part"]), (1, &3.into(), &"clinical".into()));
    let reading =
        lines(&feldakte(&auditor, &[&show[..], &["--act", "audit_read", "--operator", "anna"]].concat()).await.1);
    assert!(!reading.is_empty() && reading.iter().all(|line| line["who"] == "operator"));

    // Not with another role, another tenant's auditor, nor without a token.
    let operator = token(socket, "bernd", &["--role", "operator"]).await;
    let foreign = token(socket, "carla", &["--role", "auditor", "--tenant", "hagen"]).await;
    for bad in [operator.as_str(), &foreign, ""] {
        let (code, out, _) = feldakte(bad, &show).await;
        assert_eq!((code, out.as_str()), (Some(1), ""));
    }
    let own = lines(&feldakte(&auditor, &["audit", "show", "--json", "--socket", socket]).await.1);
    let named: Vec<_> = own.iter().filter(|line| line["act"] == "operator_added").collect();
    assert_eq!(named.len(), 3, "{own:?}");
    gateway.terminate();
    gateway.ended().await;
    let last = records(&site.audit_path(), &dortmund()).await;
    assert!(last.iter().any(|record| record.act == Act::AuditRead));
}

#[tokio::test(flavor = "multi_thread")]
async fn following_the_log_shows_what_is_added_and_comes_to_rest() {
    let site = Site::new();
    let (gateway, _) = written(&site).await;
    let socket = site.dir().join("feldakte.sock");
    let socket = socket.to_str().unwrap();
    let auditor = token(socket, "anna", &["--role", "auditor"]).await;
    let show = ["audit", "show", "--json", "--socket", socket, "--tenant", "dortmund", "--follow"];
    let mut command = process::command(&show).await;
    let mut child = command.env("FELDAKTE_OPERATOR_TOKEN", &auditor).spawn().unwrap();
    let out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut out = tokio::io::AsyncBufReadExt::lines(out);
    let mut next = async |act: &str| loop {
        let line = feldakte_tests::harness::within("a line", out.next_line()).await.unwrap().unwrap();
        if serde_json::from_str::<Value>(&line).unwrap()["act"] == act {
            return;
        }
    };
    next("session_began").await;
    // Its own reading is the last thing it sees until something else happens.
    next("audit_read").await;
    let crew = site.pki.enrol(&crew("rtw-2"));
    drop(RawClient::session(&crew, gateway.quic, None).await);
    next("session_began").await;
    child.kill().await.unwrap();
    gateway.terminate();
    gateway.ended().await;
    let log = records(&site.audit_path(), &dortmund()).await;
    let readings = log.iter().filter(|record| record.act == Act::AuditRead).count();
    assert!(readings <= 6, "{readings} readings of {} rows", log.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shown_exported_and_its_key_printed_without_a_gateway() {
    let site = Site::new();
    let (gateway, author) = written(&site).await;
    gateway.terminate();
    gateway.ended().await;
    let (path, key) = (site.audit_path(), site.dir().join("audit.key"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (path, export) = (text(&path), text(&site.dir().join("export.jsonl")));
    let (code, out, error) = feldakte("", &["audit", "show", "--path", &path]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("wrote") && out.contains("(gateway)") && out.contains(&author.document.case.to_string()));
    let none = feldakte("", &["audit", "show", "--path", &path, "--from", "2100-01-01"]).await;
    assert_eq!((none.0, none.1.as_str()), (Some(0), ""));
    let (code, ..) = feldakte("", &["audit", "export", "--path", &path, "--to", &export]).await;
    assert_eq!(code, Some(0));
    let exported = lines(&std::fs::read_to_string(&export).unwrap());
    assert!(exported.iter().all(|line| line["hash"].as_str().is_some_and(|hash| hash.len() == 64)));
    assert_eq!(exported.len(), out.lines().count());
    let (code, ..) = feldakte("", &["audit", "export", "--path", &path, "--to", &export]).await;
    assert_eq!(code, Some(1), "an export overwrites nothing");

    let (_, public, _) = feldakte("", &["audit", "key", "--key", &text(&key)]).await;
    assert!(VerifyingKey::from_pem(&public).is_ok());
    let public_path = site.dir().join("audit.pem");
    std::fs::write(&public_path, public).unwrap();
    std::fs::remove_file(&key).unwrap();
    let verify = ["audit", "verify", "--path", &path];
    assert_eq!(feldakte("", &verify).await.0, Some(1), "without a key nothing is proved");
    let (code, ..) = feldakte("", &[&verify[..], &["--public-key", &text(&public_path)]].concat()).await;
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let gateway = site.start().await;
    let mode = std::fs::metadata(site.dir().join("audit.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    until("it runs", || gateway.gateway.connections() == 0).await;
    gateway.stop().await;
}
