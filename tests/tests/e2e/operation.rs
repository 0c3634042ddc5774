//! What operators see and do: probes, metrics, a full disk, a wrong configuration.

use std::{fs, io::Write, path::PathBuf};

use feldakte_client_sdk::view::LinkState;
use feldakte_tests::harness::{
    author::Author,
    crew, http,
    local::Site,
    new_document,
    pki::{quic, transport},
    process::{self, ChildGateway, Serve},
    raw::RawClient,
    tablet::Tablet,
};

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_answer_and_readiness_ends_with_draining() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let [writer, silent] = [crew("rtw-1"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(gateway.ops, path).await.unwrap().0, 200, "{path}");
    }
    assert_eq!(http::get(gateway.ops, "/cases").await.unwrap().0, 404);
    assert_eq!(gateway.metric("feldakte_sessions").await, 0);

    // A reader that takes nothing holds up the drain, so that there is something to be seen of it.
    let mut narrow = transport();
    narrow.stream_receive_window(1_024_u32.into());
    let mut config = quic(silent.tls());
    config.transport_config(std::sync::Arc::new(narrow));
    let (_silent, _) = RawClient::session_with(config, gateway.quic, None).await;
    let (mut client, _) = RawClient::session(&writer, gateway.quic, None).await;
    let mut author = Author::new(&writer.principal, new_document());
    client.push_and_wait(author.document, author.begin(50)).await;
    assert_eq!(gateway.metric("feldakte_sessions").await, 2);
    assert_eq!(gateway.metric("feldakte_changes_durable").await, 51);
    assert_eq!(gateway.metric("feldakte_pushes").await, 1);

    gateway.terminate();
    http::until_status(gateway.ops, "/readyz", 503).await;
    assert_eq!(http::get(gateway.ops, "/healthz").await.unwrap().0, 200, "alive, and not to be restarted");
    assert!(gateway.ended().await.status.success());
}

/// A file system of a few megabytes in a mount namespace of the gateway's own, which needs no rights where user
/// namespaces are allowed, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let site = Site::new();
    fs::create_dir(site.dir().join("disk")).unwrap();
    let Some((gateway, disk)) = spawn_on_small_disk(&site).await else { return };
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.quic).await;
    let first = tablet.create("vor der vollen Platte").await;
    tablet.wait_durable(first).await;
    http::until_status(gateway.ops, "/readyz", 200).await;

    let filler = disk.join("filler");
    fill(&filler);
    let durable_before = gateway.metric("feldakte_changes_durable").await;
    let case = loop {
        // The log may still have room in pages it holds already.
        let case = tablet.create(&"x".repeat(60_000)).await;
        let outcome = async |client: &feldakte_client_sdk::Client| {
            let is_durable = client.case_sync(case).await.is_ok_and(|sync| sync.local + sync.sent == 0);
            is_durable || gateway.metric("feldakte_commit_retries").await > 0
        };
        tablet.until("the push is answered or the disk is full", outcome).await;
        if tablet.sync(case).await.local + tablet.sync(case).await.sent > 0 {
            break case;
        }
    };
    http::until_status(gateway.ops, "/readyz", 503).await;
    assert_eq!(http::get(gateway.ops, "/healthz").await.unwrap().0, 200);
    let links = tablet.links().len();
    // Several attempts of the gateway later still nothing is told, and the session has not been given up.
    let retries = gateway.metric("feldakte_commit_retries").await;
    let tried_again =
        async |_: &feldakte_client_sdk::Client| gateway.metric("feldakte_commit_retries").await > retries + ATTEMPTS;
    tablet.until("the gateway tries again", tried_again).await;
    let sync = tablet.sync(case).await;
    assert_eq!((sync.durable, sync.refused), (0, 0), "nothing is acknowledged");
    assert_eq!(tablet.client.status().await.unwrap().link, LinkState::Connected);
    assert_eq!(tablet.links().len(), links, "the session stays: the path is fine");
    tablet.set(case, "gcs", "15").await;

    fs::remove_file(filler).unwrap();
    tablet.wait_all_safe().await;
    http::until_status(gateway.ops, "/readyz", 200).await;
    assert!(gateway.metric("feldakte_changes_durable").await > durable_before);
    assert_eq!(tablet.told_saved(), tablet.told_durable());

    let reader = Tablet::online(&site.pki.enrol(&crew("rtw-1")), gateway.quic).await;
    for case in [first, case] {
        reader.wait_equal(&tablet, case).await;
    }
}

/// About eight seconds: more than twice what a tablet waits on a dead path.
const ATTEMPTS: u64 = 16;

async fn spawn_on_small_disk(site: &Site) -> Option<(ChildGateway, PathBuf)> {
    let disk = site.dir().join("disk");
    let probe = tokio::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=6m", "none"])
        .arg(&disk)
        .output()
        .await;
    match probe {
        Ok(output) if output.status.success() => {}
        refused => {
            feldakte_tests::skipped(&format!("no small file system to be had: {refused:?}"));
            return None;
        }
    }
    let serve = Serve { site, settings: "" }.command().await;
    let serve = serve.as_std();
    let script = r#"mount -t tmpfs -o size=6m none "$1" && shift && exec "$@""#;
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&disk);
    command.arg(serve.get_program()).args(serve.get_args());
    command.env("FELDAKTE__STORE__PATH", disk.join("gateway.sqlite"));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let gateway = ChildGateway::start(command).await;
    let inside = PathBuf::from(format!("/proc/{}/root", gateway.pid()));
    let disk = inside.join(disk.strip_prefix("/").unwrap());
    if !disk.join("gateway.sqlite").exists() {
        feldakte_tests::skipped("the gateway's own file system cannot be reached from here");
        return None;
    }
    Some((gateway, disk))
}

/// Writes until nothing fits any more.
fn fill(path: &std::path::Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_names_its_key_and_stops_the_start() {
    let site = Site::new();
    let config = site.dir().join("wrong.toml");
    let cases = [
        ("[tls]\ndeny_lst = 'x'", "deny_lst"),
        ("[listen]\nquic = 'everywhere'", "listen.quic"),
        ("[log]\nlevel = 'a=b=c'", "log.level"),
        ("[log]\nformat = 'xml'", "format"),
        ("[store]\npath = 3", "path"),
        ("[tls]\ncertificate = 'no-such.pem'", "no-such.pem"),
        ("nonsense", "nonsense"),
    ];
    for (text, key) in cases {
        fs::write(&config, text).unwrap();
        let ended = process::run(&["serve", "--config", config.to_str().unwrap()], &[]).await;
        assert_eq!(ended.status.code(), Some(1), "{text}: {ended:?}");
        assert!(ended.log.contains(key), "{text}: {}", ended.log);
    }
    fs::write(&config, "").unwrap();
    let ended =
        process::run(&["serve", "--config", config.to_str().unwrap()], &[("FELDAKTE__LISTEN__QUICK", "x")]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.log.contains("quick"), "{}", ended.log);

    let denied = process::deny_list(&site);
    fs::write(&denied, "device not-a-uuid\n").unwrap();
    let ended = Serve { site: &site, settings: "" }.command().await.output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "a list that cannot be read must not open the door");
    assert!(said.contains("deny list") && said.contains("line 1"), "{said}");
}
