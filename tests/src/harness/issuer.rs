//! An issuer of access tokens, as a city's identity provider is one, and the HTTPS server it shows its keys on.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_certs::policy;
use feldakte_core::{
    access::Role,
    ids::{TenantId, UserId},
};
use feldakte_gateway::users::{ClaimPath, IssuerConfig, KeysAt, Profile, RoleRule, TokenAlgorithm, UsersConfig};
use feldakte_proto::Credential;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::local::Site;

/// An issuer with one key.
pub struct Issuer {
    kid: String,
    key: EncodingKey,
}

/// Serves a key set over HTTPS and counts how often it was asked.
#[derive(Clone)]
pub struct KeyServer {
    /// Where.
    pub port: u16,
    served: Arc<AtomicUsize>,
    set: Arc<Mutex<String>>,
}

impl Issuer {
    /// A new one.
    pub fn new(kid: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self { kid: kid.to_owned(), key: EncodingKey::from_ec_der(&key.serialize_der()) }
    }

    /// Its public key as a set.
    pub fn jwks(&self) -> String {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a key of that algorithm");
        let mut jwk = serde_json::to_value(jwk).expect("a JWK is JSON");
        jwk["kid"] = self.kid.as_str().into();
        json!({ "keys": [jwk] }).to_string()
    }

    /// A token for a user of `dortmund` who is that, for so long by that clock.
    pub fn token(&self, subject: &str, role: Role, now: SystemTime, lifetime: Duration) -> Credential {
        Credential::Token(self.token_text(subject, role, now, lifetime))
    }

    /// The same as it stands in messages of browsers.
    pub fn token_text(&self, subject: &str, role: Role, now: SystemTime, lifetime: Duration) -> String {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let header =
            Header { typ: Some("at+jwt".into()), kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": since(now), "exp": since(now + lifetime),
            "roles": [role.name()],
        });
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }

    /// The configuration of a gateway that believes it, with its key in a file of the site's.
    pub fn config(&self, site: &Site) -> UsersConfig {
        let path = site.dir().join("jwks.json");
        std::fs::write(&path, self.jwks()).expect("written");
        config(site, KeysAt::File(path))
    }
}

/// The same for a gateway that is a process of its own. Ends inside a section, so nothing of `[users]` can follow.
pub fn settings(issuer: &Issuer, site: &Site) -> String {
    let jwks = site.dir().join("jwks.json");
    std::fs::write(&jwks, issuer.jwks()).expect("written");
    let role =
        |role: Role| format!("{{ tenant = \"dortmund\", claim = \"{role}\", role = \"{role}\", unit = \"{UNIT}\" }}");
    let roles = Role::ALL.map(role).join(", ");
    format!("[[users.issuers]]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\njwks = {jwks:?}\nroles = [{roles}]\n")
}

/// A user's id at a gateway that believes the issuer.
pub fn user(subject: &str) -> UserId {
    UserId::of_subject(ISSUER, subject)
}

/// The configuration of a gateway that finds the issuer's keys there. Roles have their own names in tokens.
pub fn config(site: &Site, jwks: KeysAt) -> UsersConfig {
    let tenant: TenantId = "dortmund".parse().expect("a slug");
    let rule = |role: Role| RoleRule { tenant: tenant.clone(), claim: role.name().to_owned(), role, unit: None };
    let profile = Profile {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        types: vec!["at+jwt".into()],
        tenant_claim: None,
        role_claim: ClaimPath("roles".into()),
        roles: Role::ALL.map(rule).into(),
    };
    let issuers = vec![IssuerConfig { profile, jwks, algorithms: vec![TokenAlgorithm::Es256] }];
    UsersConfig { ticket_key: ticket_key(site), issuers, ..UsersConfig::default() }
}

fn ticket_key(site: &Site) -> PathBuf {
    site.dir().join("tickets.key")
}

impl KeyServer {
    /// Serves `set` under a certificate of the site's PKI, until the test ends.
    pub async fn start(site: &Site, set: String) -> Self {
        let (chain, key) = site.pki.gateway();
        let tls = policy::enrolment_server_config(chain, key).expect("a server configuration");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = Self { port, served: Arc::default(), set: Arc::new(Mutex::new(set)) };
        tokio::spawn(server.clone().serve(listener, TlsAcceptor::from(Arc::new(tls))));
        server
    }

    /// Where a gateway of the site finds it.
    pub fn keys_at(&self, site: &Site) -> KeysAt {
        let uri = format!("https://localhost:{}/jwks.json", self.port).parse().expect("an address");
        let [root, ..] = site.pki.files();
        KeysAt::Address { uri, ca: Some(root) }
    }

    /// Serves another set from here on.
    pub fn replace(&self, set: String) {
        *self.set.lock().expect("nothing panics while it is held") = set;
    }

    /// How often it was asked.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    async fn serve(self, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(tcp).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let set = self.set.lock().expect("nothing panics while it is held").clone();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}", set.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Where its users belong who come without a device.
pub const UNIT: &str = "tele-centre";
const ISSUER: &str = "https://id.example/dortmund";
const AUDIENCE: &str = "feldakte";
