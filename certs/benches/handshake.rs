//! What a full handshake with certificates on both sides costs, and how much of it is cryptography that nobody can spare.
//!
//! One thread, its CPU time. *Handshake*: everything that rustls does for one end under our policy, from a new connection
//! to the last message, timed around this end's calls alone. *Floor*: the same end's public-key operations and nothing
//! else, by bare calls of aws-lc-rs with keys and inputs of the same kinds:
//!
//! - server: a key pair for the exchange and the agreement (ECDH; with ML-KEM also the client's key read and a secret
//!   encapsulated), one signature (its CertificateVerify), two verifications (the device's certificate, and its
//!   CertificateVerify);
//! - client: key pairs for the exchange and the agreement (with ML-KEM also a decapsulation), one signature, two
//!   verifications (the gateway's certificate, and its CertificateVerify).
//!
//! Not in the floor: hashes of the transcript, the key schedule, AES-GCM, parsing, memory.
//!
//! `cargo bench -p feldakte-certs --bench handshake`; with `-- --check` it fails when the server's ratio is below the bar.

#![allow(missing_docs, clippy::unwrap_used, reason = "a program of its own")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    agreement::{self, ECDH_P256, UnparsedPublicKey},
    kem::{self, ML_KEM_768},
    rand::SystemRandom,
    signature::{self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use feldakte_certs::{authority::Authority, deny::DenyList, pem, policy, request::DeviceKey, verifier::DeviceVerifier};
use feldakte_core::{
    access::{Principal, Role},
    ids::DeviceId,
};
use rustls::{
    ClientConfig, ClientConnection, Connection, NamedGroup, ServerConfig, ServerConnection,
    crypto::{SupportedKxGroup, aws_lc_rs::kx_group},
};
use uuid::Uuid;

/// Handshakes and floors take turns, so that both see the same machine.
const ROUNDS: usize = 21;
const EACH: u32 = 200;
/// The bar, for the server.
const RATIO_MIN: f64 = 0.5;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NAME: &str = "gateway.example";

/// CPU time of both ends.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    server: Duration,
    client: Duration,
}

fn main() {
    let check = std::env::args().any(|argument| argument == "--check");
    let groups: [&'static dyn SupportedKxGroup; 2] = [kx_group::SECP256R1MLKEM768, kx_group::SECP256R1];
    let mut met = true;
    println!("group                end     handshake   floor     ratio  handshakes/s and core");
    for group in groups {
        let with_kem = group.name() == NamedGroup::secp256r1MLKEM768;
        let (handshake, floor) = measure(group, with_kem);
        let ratio = line(group, "server", handshake.server, floor.server);
        line(group, "client", handshake.client, floor.client);
        met &= ratio >= RATIO_MIN;
    }
    assert!(met || !check, "the server's ratio is below {RATIO_MIN}");
}

fn line(group: &dyn SupportedKxGroup, end: &str, handshake: Duration, floor: Duration) -> f64 {
    let ratio = floor.as_secs_f64() / handshake.as_secs_f64();
    let [us, floor_us] = [handshake, floor].map(|time| time.as_secs_f64() * 1e6);
    let name = format!("{:?}", group.name());
    println!("{name:<20} {end}  {us:>7.1} µs  {floor_us:>6.1} µs   {ratio:.2}  {:>6.0}", 1e6 / us);
    ratio
}

/// Medians over the rounds.
fn measure(group: &'static dyn SupportedKxGroup, with_kem: bool) -> (Ends, Ends) {
    let (client, server) = configurations(group);
    let floor = Floor::new(with_kem);
    let rounds: Vec<(Ends, Ends)> = (0..ROUNDS).map(|_| (handshakes(&client, &server), floor.run())).collect();
    let median = |of: fn(&(Ends, Ends)) -> Duration| {
        let mut all: Vec<Duration> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all[ROUNDS / 2]
    };
    let handshake = Ends { server: median(|(at, _)| at.server), client: median(|(at, _)| at.client) };
    (handshake, Ends { server: median(|(_, at)| at.server), client: median(|(_, at)| at.client) })
}

fn configurations(group: &'static dyn SupportedKxGroup) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let now = SystemTime::now();
    let authority = Authority::generate("root", 2 * DAY, now).unwrap();
    let gateway = authority.issue_gateway(&[NAME.into()], DAY, now).unwrap();
    let devices = DeviceVerifier::new(authority.roots(), DenyList::default()).unwrap();
    let key = pem::private_key(gateway.key_pem.as_bytes()).unwrap();
    let server = policy::server_config(vec![gateway.certificate.der], key, devices).unwrap();
    let device = DeviceKey::generate().unwrap();
    let principal = Principal {
        tenant: "dortmund".parse().unwrap(),
        unit: "rtw-1-83-1".parse().unwrap(),
        device: DeviceId(Uuid::from_u128(7)),
        user: None,
        role: Role::AmbulanceCrew,
    };
    let issued = authority.sign_device(&device.csr_pem().unwrap(), &principal, DAY, now).unwrap();
    let mut client = policy::client_config(authority.roots(), vec![issued.der], device.private_key()).unwrap();
    // The policy's own provider with this group alone.
    let mut provider = policy::provider().as_ref().clone();
    provider.kx_groups = vec![group];
    let builder = ClientConfig::builder_with_provider(provider.into());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let resolver = client.client_auth_cert_resolver.clone();
    client = builder.with_root_certificates(authority.roots()).with_client_cert_resolver(resolver);
    client.alpn_protocols = vec![policy::ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    (client.into(), server.into())
}

/// One each, on average.
fn handshakes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Ends {
    let mut all = Ends::default();
    for _ in 0..EACH {
        let one = handshake(client, server);
        all.server += one.server;
        all.client += one.client;
    }
    Ends { server: all.server / EACH, client: all.client / EACH }
}

fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Ends {
    let mut spent = Ends::default();
    let name = NAME.try_into().unwrap();
    let mut client =
        timed(&mut spent.client, || Connection::from(ClientConnection::new(client.clone(), name).unwrap()));
    let mut server = timed(&mut spent.server, || Connection::from(ServerConnection::new(server.clone()).unwrap()));
    let mut wire = Vec::with_capacity(16 << 10);
    while client.is_handshaking() || server.is_handshaking() {
        timed(&mut spent.client, || write(&mut client, &mut wire));
        timed(&mut spent.server, || read(&mut server, &mut wire));
        timed(&mut spent.server, || write(&mut server, &mut wire));
        timed(&mut spent.client, || read(&mut client, &mut wire));
    }
    assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
    spent
}

fn write(from: &mut Connection, wire: &mut Vec<u8>) {
    while from.wants_write() {
        from.write_tls(wire).unwrap();
    }
}

fn read(to: &mut Connection, wire: &mut Vec<u8>) {
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
    wire.clear();
}

/// Keys and inputs as large as those of a handshake.
struct Floor {
    with_kem: bool,
    random: SystemRandom,
    signer: EcdsaKeyPair,
    /// What CertificateVerify signs: 64 spaces, a context, a hash.
    transcript: Vec<u8>,
    /// The signed part of a certificate of ours is about 350 bytes.
    certificate: Vec<u8>,
    transcript_signature: signature::Signature,
    certificate_signature: signature::Signature,
    peer_share: Vec<u8>,
    kem_key: kem::DecapsulationKey,
    kem_public: Vec<u8>,
    kem_ciphertext: Vec<u8>,
}

impl Floor {
    fn new(with_kem: bool) -> Self {
        let random = SystemRandom::new();
        let signer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let (transcript, certificate) = (vec![7; 64 + 34 + 48], vec![7; 350]);
        let kem_key = kem::DecapsulationKey::generate(&ML_KEM_768).unwrap();
        let kem_public = kem_key.encapsulation_key().unwrap();
        let (ciphertext, _) = kem_public.encapsulate().unwrap();
        let peer = agreement::EphemeralPrivateKey::generate(&ECDH_P256, &random).unwrap();
        Self {
            with_kem,
            transcript_signature: signer.sign(&random, &transcript).unwrap(),
            certificate_signature: signer.sign(&random, &certificate).unwrap(),
            random,
            signer,
            transcript,
            certificate,
            peer_share: peer.compute_public_key().unwrap().as_ref().to_vec(),
            kem_public: kem_public.key_bytes().unwrap().as_ref().to_vec(),
            kem_ciphertext: ciphertext.as_ref().to_vec(),
            kem_key,
        }
    }

    fn run(&self) -> Ends {
        let mut spent = Ends::default();
        timed(&mut spent.server, || (0..EACH).for_each(|_| self.server()));
        timed(&mut spent.client, || (0..EACH).for_each(|_| self.client()));
        Ends { server: spent.server / EACH, client: spent.client / EACH }
    }

    fn server(&self) {
        self.agree();
        if self.with_kem {
            let public = kem::EncapsulationKey::new(&ML_KEM_768, &self.kem_public).unwrap();
            black_box(public.encapsulate().unwrap());
        }
        self.sign_and_verify();
    }

    fn client(&self) {
        self.agree();
        if self.with_kem {
            let key = kem::DecapsulationKey::generate(&ML_KEM_768).unwrap();
            black_box(key.encapsulation_key().unwrap().key_bytes().unwrap().as_ref().len());
            black_box(self.kem_key.decapsulate(self.kem_ciphertext.as_slice().into()).unwrap());
        }
        self.sign_and_verify();
    }

    fn agree(&self) {
        let own = agreement::EphemeralPrivateKey::generate(&ECDH_P256, &self.random).unwrap();
        black_box(own.compute_public_key().unwrap());
        let peer = UnparsedPublicKey::new(&ECDH_P256, &self.peer_share);
        agreement::agree_ephemeral(own, peer, (), |secret| Ok(black_box(secret).len())).map(black_box).unwrap();
    }

    fn sign_and_verify(&self) {
        black_box(self.signer.sign(&self.random, &self.transcript).unwrap());
        let public = signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.signer.public_key());
        public.verify(&self.certificate, self.certificate_signature.as_ref()).unwrap();
        public.verify(&self.transcript, self.transcript_signature.as_ref()).unwrap();
    }
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let before = cpu();
    let result = work();
    *sum += cpu() - before;
    result
}

/// CPU time of this thread.
#[expect(unsafe_code, reason = "the standard library has no clock of CPU time")]
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call is given a valid, exclusive timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the kernel has this clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}
