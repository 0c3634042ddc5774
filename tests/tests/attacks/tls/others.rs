//! The same from the outside: OpenSSL's `s_client` and Python's `ssl`, which share no code with us.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::SystemTime,
};

use feldakte_tests::{harness::pki::DAY, skipped};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use super::{
    tcp::{CANARY, is_full, serve_one},
    world::{Leaf, Use, World},
};

/// PEM files of a world for programs that read files.
struct Files {
    world: World,
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("root.pem"), world.authority.certificate_pem()).unwrap();
        let files = Self { world, dir };
        let now = SystemTime::now();
        let key = || KeyPair::generate().unwrap();
        let of_kind = |kind| files.world.leaf(KeyPair::generate_for(kind).unwrap(), Use::Device);
        files.write("device", &files.world.device());
        files.write("self-signed", &files.world.self_signed());
        files.write("expired", &files.world.leaf_from(key(), Use::Device, now - 3 * DAY, DAY));
        files.write("not-yet", &files.world.leaf_from(key(), Use::Device, now + DAY, DAY));
        files.write("stranger", &World::new().device());
        files.write("gateway", &files.world.leaf(key(), Use::Gateway));
        files.write("p521", &of_kind(&rcgen::PKCS_ECDSA_P521_SHA512));
        files.write("rsa", &of_kind(&rcgen::PKCS_RSA_SHA256));
        files
    }

    fn write(&self, name: &str, leaf: &Leaf) {
        let path = self.dir.path().join(name);
        fs::write(path.with_extension("pem"), pem("CERTIFICATE", &leaf.certificate)).unwrap();
        fs::write(path.with_extension("key"), leaf.key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

fn pem(label: &str, der: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { char::from(alphabet[value as usize]) } else { '=' });
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Whether the program is there; says so where it is counted otherwise.
fn is_there(program: &str, argument: &str) -> bool {
    let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn s_client(files: &Files, who: Option<&str>, arguments: &[&str], address: SocketAddr) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-CAfile", &files.path("root.pem"), "-servername", "localhost"]);
    command.args(["-verify_return_error", "-connect", &address.to_string()]);
    if let Some(who) = who {
        command.args(["-cert", &files.path(&format!("{who}.pem")), "-key", &files.path(&format!("{who}.key"))]);
    }
    if !arguments.contains(&"-alpn") {
        command.args(["-alpn", "feldakte/1"]);
    }
    run(command.args(arguments))
}

/// What OpenSSL offers instead of the policy, and what of the policy is enough.
const FORBIDDEN: [(&[&str], &str); 13] = [
    (&["-tls1_2", "-cipher", "ALL:@SECLEVEL=0"], "PeerIncompatible"),
    (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "PeerIncompatible"),
    (&["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "PeerIncompatible"),
    (&["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "NoCipherSuitesInCommon"),
    (&["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], "NoCipherSuitesInCommon"),
    (&["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"], "NoCipherSuitesInCommon"),
    (&["-tls1_3", "-groups", "X25519"], "NoKxGroupsInCommon"),
    (&["-tls1_3", "-groups", "X448"], "NoKxGroupsInCommon"),
    (&["-tls1_3", "-groups", "P-521"], "NoKxGroupsInCommon"),
    (&["-tls1_3", "-groups", "ffdhe2048"], "NoKxGroupsInCommon"),
    (&["-tls1_3", "-sigalgs", "ed25519:ECDSA+SHA512"], "NoSignatureSchemesInCommon"),
    (&["-tls1_3", "-alpn", "h2"], "NoApplicationProtocol"),
    (&["-tls1_3", "-sigalgs", "RSA+SHA256:rsa_pss_rsae_sha256"], "NoSignatureSchemesInCommon"),
];
const ALLOWED: [&[&str]; 5] = [
    &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
    &["-tls1_3", "-groups", "P-256"],
    &["-tls1_3", "-groups", "P-384"],
    &["-tls1_3", "-sigalgs", "ECDSA+SHA256"],
];
/// Whose certificate is refused, and why.
const STRANGERS: [(Option<&str>, &str); 7] = [
    (None, "NoCertificatesPresented"),
    (Some("self-signed"), "InvalidCertificate"),
    (Some("expired"), "Expired"),
    (Some("not-yet"), "NotValidYet"),
    (Some("stranger"), "InvalidCertificate"),
    (Some("gateway"), "InvalidCertificate"),
    (Some("p521"), "NoCertificatesPresented"),
];

fn has_canary(said: &str) -> bool {
    said.contains(std::str::from_utf8(CANARY).unwrap())
}

#[test]
fn openssl_is_refused_whatever_it_offers_outside_of_the_policy() {
    if !is_there("openssl", "version") {
        return;
    }
    let files = Files::new();
    let server = Arc::new(files.world.server());
    for arguments in ALLOWED {
        for who in ["device", "rsa"].iter().take(if arguments.contains(&"-sigalgs") { 1 } else { 2 }) {
            let (judged, said) = serve_one(&server, |address| s_client(&files, Some(who), arguments, address));
            assert!(is_full(&judged), "{arguments:?} {who}: {said}");
            assert!(has_canary(&said), "{arguments:?}: {said}");
        }
    }
    let offers = FORBIDDEN.iter().map(|(arguments, why)| (Some("device"), *arguments, *why));
    let strangers = STRANGERS.iter().map(|(who, why)| (*who, ["-tls1_3"].as_slice(), *why));
    for (who, arguments, why) in offers.chain(strangers) {
        let (judged, said) = serve_one(&server, |address| s_client(&files, who, arguments, address));
        let error = judged.expect_err("refused");
        assert!(error.contains(why), "{who:?} {arguments:?}: {error}\n{said}");
        assert!(!has_canary(&said), "{who:?} {arguments:?}");
    }
}

#[test]
fn openssl_is_given_no_session_to_resume() {
    if !is_there("openssl", "version") {
        return;
    }
    let files = Files::new();
    let server = Arc::new(files.world.server());
    let session = files.path("session.pem");
    let (judged, said) =
        serve_one(&server, |address| s_client(&files, Some("device"), &["-tls1_3", "-sess_out", &session], address));
    assert!(is_full(&judged), "{said}");
    assert!(!said.contains("New Session Ticket arrived") && !Path::new(&session).exists(), "{said}");
}

const PYTHON: &str = r#"
import socket, ssl, sys
port, root, chain, key, how = sys.argv[1:6]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(root)
context.set_alpn_protocols(["h2" if how == "h2" else "feldakte/1"])
if chain:
    context.load_cert_chain(chain, key)
if how == "tls1_2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
if how in ("secp521r1", "prime256v1", "secp384r1"):
    context.set_ecdh_curve(how)
with socket.create_connection(("127.0.0.1", int(port)), 10) as raw:
    with context.wrap_socket(raw, server_hostname="localhost") as tls:
        print(tls.read(100).decode(), tls.version(), tls.cipher()[0], "ticket", tls.session.has_ticket)
"#;

fn python(files: &Files, who: Option<&str>, how: &str, address: SocketAddr) -> String {
    let [chain, key] = ["pem", "key"].map(|end| who.map(|who| files.path(&format!("{who}.{end}"))).unwrap_or_default());
    let port = address.port().to_string();
    run(Command::new("python3").args(["-c", PYTHON, &port, &files.path("root.pem"), &chain, &key, how]))
}

#[test]
fn python_is_refused_whatever_it_offers_outside_of_the_policy() {
    if !is_there("python3", "--version") {
        return;
    }
    let files = Files::new();
    let server = Arc::new(files.world.server());
    for how in ["as it is", "prime256v1", "secp384r1"] {
        let (judged, said) = serve_one(&server, |address| python(&files, Some("device"), how, address));
        assert!(is_full(&judged), "{how}: {said}");
        assert!(has_canary(&said) && said.contains("TLSv1.3") && said.contains("ticket False"), "{how}: {said}");
    }
    let offers = [("tls1_2", "PeerIncompatible"), ("secp521r1", "NoKxGroupsInCommon"), ("h2", "NoApplicationProtocol")];
    let offers = offers.iter().map(|(how, why)| (Some("device"), *how, *why));
    let strangers = STRANGERS.iter().map(|(who, why)| (*who, "as it is", *why));
    for (who, how, why) in offers.chain(strangers) {
        let (judged, said) = serve_one(&server, |address| python(&files, who, how, address));
        let error = judged.expect_err("refused");
        assert!(error.contains(why), "{who:?} {how}: {error}\n{said}");
        assert!(!has_canary(&said), "{who:?} {how}: {said}");
    }
}
