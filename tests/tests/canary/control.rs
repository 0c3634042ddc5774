//! The doors for operators, for devices without a session and for probes, at a gateway that is a process of its own: each
//! of their routes is asked with a patient's name in every place of the request, and answers with none.

use std::{collections::BTreeSet, fs};

use base64::{Engine, engine::general_purpose::STANDARD};
use feldakte_client_sdk::enrol;
use feldakte_core::{
    access::{BreakGlassReason, Role},
    ids::CaseId,
};
use feldakte_gateway::{control::reviews::ReviewEntry, store::registry::OperatorRole};
use feldakte_proto::{BreakGlass, ClientMessage, Credential, Outcome};
use feldakte_tests::harness::{
    author::Author,
    control::{accept, invite, operator},
    crew, http,
    issuer::{self, Issuer, user},
    local::Site,
    new_document,
    process::{self, ChildGateway},
    raw::RawClient,
    within,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    errors::printed,
    search::{LOGIN, NAME, assert_pseudonymous, assert_unnamed},
};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// The control plane, as its sources have it.
fn sources() -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src/control");
    fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// Method and path of every route.
fn routes() -> Vec<(String, String)> {
    let mut routes = Vec::new();
    for source in sources() {
        for route in source.split(".route(").skip(1) {
            let path = route.split('"').nth(1).unwrap();
            let line = route.lines().next().unwrap();
            for method in ["get", "post", "delete", "put", "patch"] {
                if line.contains(&format!("{method}(")) {
                    routes.push((method.to_uppercase(), path.to_owned()));
                }
            }
        }
    }
    assert!(routes.len() >= 18, "the sources were not read: {routes:?}");
    routes
}

/// Names of every field that a request may have.
fn fields() -> BTreeSet<String> {
    let sources = sources();
    let lines = sources.iter().flat_map(|source| source.lines()).filter_map(|line| line.strip_prefix("    pub "));
    let fields: BTreeSet<_> = lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    assert!(fields.len() > 40 && fields.contains("valid_s"), "the sources were not read: {fields:?}");
    fields
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Bodies that are no request, each in its way: the name where a field's value is to stand, whatever its type, one field
/// at a time, because the first that does not fit is the last that is looked at.
fn bodies() -> Vec<String> {
    let of = |key: &String, value: serde_json::Value| {
        serde_json::Value::Object([(key.clone(), value)].into_iter().collect())
    };
    let fields = fields();
    let each = fields.iter().flat_map(|field| {
        [json!(NAME), json!([NAME]), json!({ NAME: LOGIN })].map(|value| of(field, value).to_string())
    });
    let others = [NAME.to_owned(), json!(NAME).to_string(), json!([NAME]).to_string(), format!("{{\"{NAME}\": ")];
    each.chain(others).collect()
}

/// The answer, head and body.
async fn ask(site: &Site, head: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(site.dir().join("feldakte.sock")).await.unwrap();
    let length = body.len();
    let request = format!(
        "{head}Host: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// An operator's token, as it is shown once.
async fn token(site: &Site, name: &str, role: &str) -> String {
    let entry = json!({ "name": name, "roles": [role], "tenant": null });
    let answer = ask(site, "POST /operators HTTP/1.1\r\n", &entry.to_string()).await;
    answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_answers_with_what_it_was_asked_and_no_log_line_quotes_it() {
    let site = Site::new();
    let gateway = site.spawn_with("[log]\nlevel = \"trace\"").await;
    let tokens = [
        token(&site, "anna", "operator").await,
        token(&site, "ines", "auditor").await,
        token(&site, "sibel", "supervisor").await,
        NAME.to_owned(),
    ];
    let mut refused = 0;
    for (method, path) in routes() {
        let place = path.replace("{id}", &percent(NAME)).replace("{name}", &percent(NAME));
        for token in &tokens {
            for body in bodies() {
                let query = percent(LOGIN);
                let head = format!(
                    "{method} {place}?tenant={query}&{query}={query} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\
                     X-Name: {}\r\n",
                    percent(NAME)
                );
                let answer = ask(&site, &head, &body).await;
                refused += usize::from(answer.starts_with("HTTP/1.1 4") && answer.contains("\"error\":"));
                assert_unnamed(&format!("the answer of {method} {path} to {body}"), &answer);
            }
        }
    }
    for head in [format!("GET /{} HTTP/1.1\r\n", percent(NAME)), format!("BREW /{} HTTP/1.1\r\n", percent(NAME))] {
        assert_unnamed("the answer to a route that is none", &ask(&site, &head, NAME).await);
    }
    assert!(refused > 3_000, "the requests are read and judged: {refused}");
    enrolment(&site, &gateway).await;
    let (_, metrics) = http::get(gateway.ops, "/metrics").await.unwrap();
    assert_unnamed("metrics", &metrics);
    gateway.terminate();
    let log = gateway.ended().await.log;
    assert!(log.contains("TRACE"));
    assert_unnamed("the log", &log);
}

/// What devices say before they have a session, and how their apps are refused.
async fn enrolment(site: &Site, gateway: &ChildGateway) {
    let anna = operator(site, "berta", OperatorRole::Operator, None).await;
    let invited = invite(&anna, "dortmund").await.unwrap();
    let enrolled = enrol::enrol(accept(&invited, gateway)).await.unwrap();
    assert_unnamed("an invitation", &format!("{invited:?} {enrolled:?}"));
    let config = feldakte_client_sdk::transport::DialConfig::new(&enrolled.identity().unwrap()).unwrap().quic;
    drop(RawClient::session_with(config, gateway.quic, None).await);
    let mut all = String::new();
    // Used, misspelt, nobody's.
    for code in [invited.code.as_str(), NAME, LOGIN, "AAAA-AAAA-AAAA-AAAA-AAAA"] {
        let mut options = accept(&invited, gateway);
        options.code = code.to_owned();
        all.push_str(&printed(enrol::enrol(options).await.err().unwrap()));
    }
    let address = gateway.enrol.unwrap().to_string();
    let mut named = rcgen::CertificateParams::new(vec!["kanarienvogel.example".to_owned()]).unwrap();
    named.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = named.serialize_request(&key).unwrap().pem().unwrap();
    let bodies = [
        NAME.to_owned(),
        json!({ "code": NAME, "csr": LOGIN }).to_string(),
        json!({ "code": [NAME], "csr": csr }).to_string(),
        json!({ "code": invite(&anna, "dortmund").await.unwrap().code, "csr": NAME }).to_string(),
        json!({ "certificate": NAME, "csr": csr, "proof": NAME }).to_string(),
        json!({ "certificate": "00", "csr": csr, "proof": "00" }).to_string(),
        json!({ "code": NAME.repeat(10_000), "csr": "" }).to_string(),
    ];
    let trust = feldakte_certs::policy::enrolment_client_config(site.pki.roots()).unwrap();
    for path in ["/v1/enrol", "/v1/renew", &percent(NAME)] {
        for body in &bodies {
            all.push_str(&https(&address, trust.clone(), path, body).await);
        }
    }
    assert!(all.contains("HTTP/1.1 400") && all.contains("HTTP/1.1 403"), "{all}");
    assert_unnamed("refusals of enrolment", &all);
}

async fn https(address: &str, tls: rustls::ClientConfig, path: &str, body: &str) -> String {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from(feldakte_tests::harness::pki::GATEWAY_NAME).unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, tcp).await.unwrap();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await;
    let mut answer = Vec::new();
    let _ = within("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A case with the patient's name in it, a user who signs in, emergency access: and then every command that reads.
#[tokio::test(flavor = "multi_thread")]
async fn commands_and_the_exported_audit_log_name_neither_patient_nor_login() {
    let (site, issuer) = (Site::new(), Issuer::new("a"));
    let gateway = site.spawn_with(&format!("[log]\nlevel = \"trace\"\n{}", issuer::settings(&issuer, &site))).await;
    let case = lived_through(&site, &issuer, &gateway).await;
    let sibel = operator(&site, "sibel", OperatorRole::Supervisor, None).await;
    let waiting: Vec<ReviewEntry> = sibel.get("/reviews").await.unwrap();
    let listed = format!("{waiting:?}");
    assert_eq!(waiting.len(), 1, "{listed}");
    let shown: ReviewEntry = sibel.get(&format!("/reviews/{}", waiting[0].id)).await.unwrap();
    assert!(shown.text.as_deref().is_some_and(|text| text.contains(NAME)), "the supervisor reads what was written");
    assert_unnamed("a review", &format!("{listed} {shown:?}"));

    let auditor = token(&site, "ines", "auditor").await;
    let supervisor = token(&site, "swetlana", "supervisor").await;
    let everything = token(&site, "olga", "operator").await;
    let export = site.dir().join("export.jsonl");
    let (socket, export) = (site.dir().join("feldakte.sock"), export.to_str().unwrap());
    let (socket, case) = (socket.to_str().unwrap(), case.to_string());
    let audit = site.audit_path();
    let commands: [(&str, Vec<&str>); 9] = [
        (&auditor, vec!["audit", "show", "--json"]),
        (&auditor, vec!["audit", "export", "--to", export]),
        (&auditor, vec!["audit", "verify", "--path", audit.to_str().unwrap()]),
        (&supervisor, vec!["review", "list"]),
        (&supervisor, vec!["review", "list", "--json"]),
        (&everything, vec!["device", "list", "--json"]),
        (&everything, vec!["keys", "list"]),
        (&everything, vec!["case", "shreds"]),
        (&everything, vec!["case", "close", &case]),
    ];
    for (token, command) in commands {
        let mut arguments = command.clone();
        arguments.extend(["--socket", socket]);
        let output = process::command(&arguments).await.env("FELDAKTE_OPERATOR_TOKEN", token).output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_pseudonymous(&format!("{command:?}"), &said);
    }
    let exported = fs::read_to_string(export).unwrap();
    assert!(exported.contains("break_glass") && exported.contains("sign_in_refused"), "{exported}");
    assert_pseudonymous("the exported audit log", &exported);
    let (_, metrics) = http::get(gateway.ops, "/metrics").await.unwrap();
    assert_unnamed("metrics", &metrics);
    gateway.terminate();
    assert_unnamed("the log", &gateway.ended().await.log);
}

async fn lived_through(site: &Site, issuer: &Issuer, gateway: &ChildGateway) -> CaseId {
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let now = std::time::SystemTime::now();
    let good = issuer.token(LOGIN, Role::AmbulanceCrew, now, HOUR);
    let tokens = [
        Issuer::new("a").token(LOGIN, Role::AmbulanceCrew, now, HOUR),
        issuer.token(LOGIN, Role::AmbulanceCrew, now - 3 * HOUR, HOUR),
        Credential::Token(LOGIN.into()),
        Credential::Token(format!("{}.{}.x", STANDARD.encode(LOGIN), STANDARD.encode(NAME))),
        Credential::Ticket(LOGIN.into()),
        Credential::Local(user(LOGIN)),
        good.clone(),
    ];
    let mut author = Author::of_user(&tablet.principal, user(LOGIN), new_document());
    let mut changes = author.begin(1);
    changes.push(author.set(NAME, NAME).bytes);
    for active in tokens {
        let (mut client, _) = RawClient::signed_in(&tablet, gateway.quic, Some(active), vec![good.clone()]).await;
        client.push_of_and_wait(Some(user(LOGIN)), author.document, changes.clone()).await;
    }
    let case = author.document.case;
    let other = site.pki.enrol(&crew("rtw-2"));
    let (mut client, _) = RawClient::session(&other, gateway.quic, None).await;
    let (reason, text) = (BreakGlassReason::LifeInDanger, format!("{NAME} atmet nicht, sagt {LOGIN}"));
    let emergency = BreakGlass { request: 1, case, reason, text };
    assert_eq!(client.ask(ClientMessage::BreakGlass(emergency)).await, Outcome::Done);
    case
}
