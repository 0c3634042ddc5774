//! Certificates, authorities and lists that change under a running gateway: sessions live on, unless what they stand on
//! is gone, and what cannot be used changes nothing.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use feldakte_certs::identity::serial_of;
use feldakte_proto::CloseCode;
use feldakte_tests::harness::{
    address::{Address, Transport},
    author::Author,
    crew,
    local::Site,
    new_document,
    pki::{DAY, Enrolled, GATEWAY_NAME, Pki},
    process::{self, ChildGateway, Serve},
    raw::{self, RawClient},
    within,
};
use rustls_pki_types::CertificateDer;

/// The bar.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

fn reloads(part: &str, result: &str) -> String {
    format!("feldakte_reloads_total{{part=\"{part}\",result=\"{result}\"}}")
}

/// The certificate a new connection is shown.
async fn shown(gateway: &ChildGateway, device: &Enrolled) -> CertificateDer<'static> {
    match gateway.address.over {
        Transport::Quic => {
            let endpoint = raw::endpoint();
            let connecting = endpoint.connect_with(device.quic(), gateway.quic, GATEWAY_NAME).unwrap();
            let connection = within("the handshake ends", connecting).await.unwrap();
            let chain = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
            chain.into_iter().next().unwrap()
        }
        Transport::Grpc => {
            let stream = raw::tls(&device.dial(), &(gateway.grpc, None)).await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].clone()
        }
    }
}

async fn assert_lives(client: &mut RawClient, device: &Enrolled) {
    let mut author = Author::new(&device.principal, new_document());
    assert_eq!(client.push_and_wait(author.document, author.begin(1)).await.refused, []);
}

async fn spawn_with_crl(site: &Site) -> ChildGateway {
    let mut command = Serve { site, settings: "" }.command().await;
    command.env("FELDAKTE__TLS__CRL", site.dir().join("crl.pem"));
    let mut gateway = ChildGateway::start(command).await;
    gateway.address = Address::over(gateway.quic, site.over);
    gateway
}

async fn a_new_certificate_is_shown_to_new_connections_while_sessions_live_on(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let [device, newcomer] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let (mut client, _) = RawClient::session(&device, gateway.address, None).await;
    let old = shown(&gateway, &newcomer).await;
    let new = site.pki.replace_gateway(SystemTime::now(), DAY);
    // By itself, then because somebody asks.
    gateway.until_metric(&reloads("credentials", "taken"), 1).await;
    assert_eq!(shown(&gateway, &newcomer).await, new);
    assert_ne!(new, old);
    gateway.hang_up();
    gateway.until_metric(&reloads("credentials", "taken"), 2).await;
    let end = gateway.metric("feldakte_certificate_not_after_timestamp_seconds").await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(end <= (now + DAY).as_secs(), "operators see when it ends");
    assert_lives(&mut client, &device).await;
}

async fn files_that_cannot_be_used_change_nothing_and_are_counted(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let [device, newcomer] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let (mut client, _) = RawClient::session(&device, gateway.address, None).await;
    let in_force = shown(&gateway, &newcomer).await;
    let [root, certificate, key] = site.pki.files();
    let whole: Vec<Vec<u8>> = [&root, &certificate, &key].map(|path| fs::read(path).unwrap()).into();
    let breaks: [(&str, &dyn Fn()); 5] = [
        ("half a certificate", &|| fs::write(&certificate, &whole[1][..whole[1].len() / 2]).unwrap()),
        ("a certificate without its key", &|| {
            site.pki.replace_gateway(SystemTime::now(), DAY);
            fs::write(&key, &whole[2]).unwrap();
        }),
        ("a certificate that has ended", &|| drop(site.pki.replace_gateway(SystemTime::now() - 3 * DAY, DAY))),
        ("no authority", &|| fs::write(&root, "").unwrap()),
        ("no key", &|| fs::remove_file(&key).unwrap()),
    ];
    for (refused, (what, break_it)) in (1..).zip(breaks) {
        break_it();
        gateway.hang_up();
        gateway.until_metric(&reloads("credentials", "refused"), refused).await;
        for (path, content) in [&root, &certificate, &key].into_iter().zip(&whole) {
            fs::write(path, content).unwrap();
        }
        assert_eq!(shown(&gateway, &newcomer).await, in_force, "{what}");
        assert_lives(&mut client, &device).await;
        let taken = gateway.metric(&reloads("credentials", "taken")).await;
        gateway.until_metric(&reloads("credentials", "taken"), taken + 1).await;
    }
}

async fn whom_a_new_revocation_list_names_is_closed_within_a_second_and_stays_outside(over: Transport) {
    let site = Site::over(over);
    let now = SystemTime::now();
    let list = site.dir().join("crl.pem");
    fs::write(&list, site.pki.crl(7, &[], now)).unwrap();
    let gateway = spawn_with_crl(&site).await;
    let [lost, kept] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let (mut lost_client, _) = RawClient::session(&lost, gateway.address, None).await;
    let (mut kept_client, _) = RawClient::session(&kept, gateway.address, None).await;
    let revoking = site.pki.crl(8, &[&lost], now);
    let since = Instant::now();
    fs::write(&list, &revoking).unwrap();
    assert_eq!(lost_client.closed().await, Some(CloseCode::NotPermitted));
    assert!(since.elapsed() <= CLOSED_WITHIN, "{:?}", since.elapsed());
    assert!(RawClient::try_session(lost.dial(), gateway.address, None).await.is_none());

    // Lists that would let it in again, one way or another, or whose time is over.
    let forged = Pki::create(&site.dir().join("forger")).crl(9, &[], now);
    let bad = [site.pki.crl(7, &[], now), site.pki.crl(9, &[], now - 2 * DAY), forged, String::new()];
    for (refused, bad) in (1..).zip(bad) {
        fs::write(&list, bad).unwrap();
        gateway.until_metric(&reloads("crl", "refused"), refused).await;
        assert!(RawClient::try_session(lost.dial(), gateway.address, None).await.is_none());
        assert_lives(&mut kept_client, &kept).await;
    }
    drop(kept_client);
    RawClient::session(&kept, gateway.address, None).await;
}

async fn a_stale_list_of_ours_locks_no_crew_out_when_the_gateway_restarts(over: Transport) {
    let site = Site::over(over);
    let [lost, kept] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let stale = site.pki.crl(1, &[&lost], SystemTime::now() - 2 * DAY);
    fs::write(site.dir().join("crl.pem"), stale).unwrap();
    let gateway = spawn_with_crl(&site).await;
    RawClient::session(&kept, gateway.address, None).await;
    assert!(RawClient::try_session(lost.dial(), gateway.address, None).await.is_none());
    gateway.terminate();
    let log = gateway.ended().await.log;
    assert!(log.contains("ERROR") && log.contains("past its next update"), "{log}");
}

async fn devices_of_an_authority_that_is_taken_off_are_closed(over: Transport) {
    let site = Site::over(over);
    let other = Pki::create(&site.dir().join("other"));
    let [root, ..] = site.pki.files();
    let ours = fs::read_to_string(&root).unwrap();
    let both = ours.clone() + &fs::read_to_string(&other.files()[0]).unwrap();
    fs::write(&root, both).unwrap();
    let gateway = site.spawn().await;
    let [kept, leaving] = [site.pki.enrol(&crew("rtw-1")), other.enrol(&crew("rtw-2"))];
    let as_ours = leaving.trusting(site.pki.roots());
    let (mut leaver, _) = RawClient::session_with(as_ours.clone(), gateway.address, None).await;
    let (mut client, _) = RawClient::session(&kept, gateway.address, None).await;
    let since = Instant::now();
    fs::write(&root, ours).unwrap();
    assert_eq!(leaver.closed().await, Some(CloseCode::NotPermitted));
    assert!(since.elapsed() <= CLOSED_WITHIN, "{:?}", since.elapsed());
    assert!(RawClient::try_session(as_ours, gateway.address, None).await.is_none());
    assert_lives(&mut client, &kept).await;
}

async fn the_command_writes_a_list_that_gateways_and_openssl_take(over: Transport) {
    let site = Site::over(over);
    let [lost, kept] = [crew("rtw-1"), crew("rtw-2")].map(|principal| site.pki.enrol(&principal));
    let (denied, list) = (site.dir().join("to-revoke"), site.dir().join("crl.pem"));
    let serial = serial_of(&lost.certificate).unwrap();
    fs::write(&denied, format!("serial {serial}  # lost\ndevice {}\n", kept.principal.device)).unwrap();
    let [root, ..] = site.pki.files();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (pki, denied, out) = (path(root.parent().unwrap()), path(&denied), path(&list));
    let written = process::run(&["pki", "crl", "--dir", &pki, "--deny-list", &denied, "--out", &out], &[]).await;
    assert!(written.status.success(), "{written:?}");

    let gateway = spawn_with_crl(&site).await;
    assert!(RawClient::try_session(lost.dial(), gateway.address, None).await.is_none());
    RawClient::session(&kept, gateway.address, None).await;

    let arguments = ["crl", "-in", &out, "-CAfile", &path(&root), "-noout", "-text", "-nextupdate", "-crlnumber"];
    let Ok(openssl) = tokio::process::Command::new("openssl").args(arguments).output().await else {
        feldakte_tests::skipped("openssl is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&openssl.stdout).into_owned() + &String::from_utf8_lossy(&openssl.stderr);
    assert!(said.contains("verify OK") && said.to_lowercase().contains(&serial), "{said}");
    assert!(said.contains("nextUpdate=") && said.contains("crlNumber="), "{said}");
}

feldakte_tests::over_both!(
    a_new_certificate_is_shown_to_new_connections_while_sessions_live_on,
    files_that_cannot_be_used_change_nothing_and_are_counted,
    whom_a_new_revocation_list_names_is_closed_within_a_second_and_stays_outside,
    a_stale_list_of_ours_locks_no_crew_out_when_the_gateway_restarts,
    devices_of_an_authority_that_is_taken_off_are_closed,
    the_command_writes_a_list_that_gateways_and_openssl_take,
);
