//! The `tablet` command line as its users meet it: as a program, with a directory and no network.
#![cfg(feature = "sqlcipher")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    time::SystemTime,
};

use feldakte_certs::development::DevelopmentPki;
use serde_json::{Value, json};

/// Nobody listens there: what these tests do must work without a gateway.
const NOWHERE: &str = "127.0.0.1:9";

fn tablet(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tablet"));
    command.arg("--data").arg(dir.join("tablet")).args(arguments).env_remove("FELDAKTE_TABLET");
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// Standard output of a command that must succeed.
fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = tablet(dir, arguments);
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// Standard error of a command that must fail.
fn fail(dir: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = tablet(dir, arguments);
    assert!(!status.success(), "{arguments:?} succeeded");
    String::from_utf8(stderr).expect("UTF-8")
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

const WHO: [&str; 8] = ["--gateway", NOWHERE, "--tenant", "dortmund", "--unit", "rtw-1", "--role", "ambulance_crew"];

/// A directory with a development PKI and a tablet.
fn ready() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let pki = dir.path().join("pki");
    DevelopmentPki::create(&pki, &["localhost".to_owned()], SystemTime::now()).expect("a PKI");
    let pki = pki.to_str().expect("UTF-8");
    succeed(dir.path(), &[&["init", "--dev-pki", pki][..], &WHO].concat());
    dir
}

#[test]
fn every_command_explains_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let commands = ["init", "install", "new", "list", "show", "set", "note", "vitals", "parked", "watch", "status"];
    let overview = succeed(dir.path(), &["--help"]);
    let users = ["emergency", "set-pin", "sign-in", "sign-out", "users"];
    for command in commands.into_iter().chain(users).chain(["agent", "completion"]) {
        let line = overview.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
        assert!(line.is_some_and(|line| line.trim().len() > command.len() + 10), "{command} in\n{overview}");
        assert!(succeed(dir.path(), &[command, "--help"]).contains("Usage: tablet"), "{command}");
    }
    assert!(overview.contains("--offline") && overview.contains("Examples"), "{overview}");
}

#[test]
fn completion_knows_the_commands() {
    let dir = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(dir.path(), &["completion", shell]);
        assert!(script.contains("vitals") && script.contains("offline"), "{shell}");
    }
}

#[test]
fn a_case_written_offline_is_shown_again_and_called_not_durable() {
    let dir = ready();
    let dir = dir.path();
    let new = parse(&succeed(dir, &["--offline", "--json", "new", "--keyword", "Brustschmerz", "--number", "4711"]));
    assert_eq!(new["sync"]["state"], "local");
    let case = new["case"].as_str().expect("an id");
    let (beginning, end) = (&case[..13], &case[24..]);
    succeed(dir, &["--offline", "set", case, "identity.family_name", "Müßig-Çelik"]);
    succeed(dir, &["--offline", "set", beginning, "clinical.naca", "4", "--type", "integer"]);
    succeed(dir, &["--offline", "vitals", end, "--hr", "104", "--temp", "36.6"]);
    let told = succeed(dir, &["--offline", "note", case, "Patientin ansprechbar, kaltschweißig. 🤢"]);
    assert!(told.contains("saved on device, not yet durable"), "{told}");

    let view = parse(&succeed(dir, &["--offline", "--json", "show", case]));
    let documents = view["documents"].as_array().expect("a list");
    let part = |name: &str| documents.iter().find(|document| document["part"] == name).expect("the part").clone();
    assert_eq!(part("identity")["facts"][0]["values"][0]["value"], "Müßig-Çelik");
    assert_eq!(part("clinical")["facts"][0], fact("naca", &json!(4), &view));
    let vitals = &part("clinical")["entries"][0]["fields"];
    assert_eq!((&vitals["heart_rate"], &vitals["temperature"]), (&json!(104), &json!(36.6)));
    assert_eq!(part("clinical")["narrative"], "Patientin ansprechbar, kaltschweißig. 🤢\n");

    let text = succeed(dir, &["--offline", "show", case]);
    assert!(text.contains("Müßig-Çelik") && text.contains("heart_rate=104") && text.contains("this device"), "{text}");
    assert!(succeed(dir, &["--offline", "list"]).contains("Brustschmerz"));
    assert!(succeed(dir, &["--offline", "status"]).contains("all safe     NO"));
}

#[test]
fn an_emergency_needs_a_case_that_is_here_a_reason_and_words() {
    let dir = ready();
    let dir = dir.path();
    assert!(succeed(dir, &["--offline", "emergency"]).contains("no case for anybody else"));
    assert!(fail(dir, &["--offline", "emergency", "4711"]).contains("--reason"));
    let why = ["--reason", "haste", "--because", "x"];
    let asked = [&["--offline", "emergency", "4711"][..], &why].concat();
    assert!(fail(dir, &asked).contains("life_in_danger"), "the reasons are named");
    let why = ["--reason", "taken_over", "--because", "Schichtwechsel"];
    let asked = [&["--offline", "emergency", "4711"][..], &why].concat();
    assert!(fail(dir, &asked).contains("`tablet emergency` shows what is on this device"));
}

/// A fact with one value, by whoever wrote the view's first fact: this device.
fn fact(name: &str, value: &Value, view: &Value) -> Value {
    let by = &view["documents"][0]["facts"][0]["values"][0]["by"];
    json!({"name": name, "values": [{"value": value, "by": by}]})
}

#[test]
fn a_gateway_that_does_not_answer_is_named_and_nothing_is_called_durable() {
    let dir = ready();
    let told = succeed(dir.path(), &["--wait", "0.2", "new", "--keyword", "Sturz"]);
    assert!(told.contains("not yet durable") && told.contains(NOWHERE), "{told}");
}

#[test]
fn a_tablet_without_certificate_says_how_to_get_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let told = succeed(dir, &[&["init"][..], &WHO].concat());
    assert!(told.contains("feldakte pki sign") && told.contains("install --certificate"), "{told}");
    assert!(fail(dir, &["--offline", "list"]).contains("no certificate yet"));
    assert!(fail(dir, &[&["init"][..], &WHO].concat()).contains("is a tablet already"));
}

#[test]
fn a_certificate_of_another_tablet_is_not_installed() {
    let (one, other) = (ready(), ready());
    let (certificate, roots) = (other.path().join("tablet/device.pem"), other.path().join("tablet/roots.pem"));
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let arguments = ["install", "--certificate", &path(&certificate), "--roots", &path(&roots)];
    assert!(fail(one.path(), &arguments).contains("is for another device"));
    assert!(succeed(one.path(), &["--offline", "status"]).contains("rtw-1 of dortmund"));
}

#[test]
fn mistakes_say_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(fail(dir.path(), &["--offline", "list"]).contains("init --gateway"));
    let dir = ready();
    let dir = dir.path();
    assert!(fail(dir, &["--offline", "show", "0192"]).contains("tablet list"));
    assert!(fail(dir, &["--offline", "vitals", "0192"]).contains("vitals --help"));
    assert!(fail(dir, &["set", "0192", "family_name", "x"]).contains("identity.family_name"));
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = ready();
    let mode = |name: &str| {
        let path = dir.path().join("tablet").join(name);
        path.metadata().expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!([mode("."), mode("device.key"), mode("store.key")], [0o700, 0o600, 0o600]);
}

#[test]
fn the_agent_answers_every_line_in_order_and_ends_with_its_input() {
    let dir = ready();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_tablet"))
        .arg("--data")
        .arg(dir.path().join("tablet"))
        .arg("agent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let create = json!({"id": 1, "create": {"edits": [{"note": {"part": "clinical", "text": "Übelkeit"}}]}});
    let script = format!("{create}\nnonsense\n{}\n", json!({"id": 2, "status": true}));
    agent.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
    let output = agent.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let lines: Vec<Value> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(parse).collect();
    assert!(lines[0]["ready"]["device"].is_string());
    let is_answer = |line: &&Value| line.get("id").is_some() || line.get("error").is_some();
    let answers: Vec<&Value> = lines.iter().filter(is_answer).collect();
    // The opening of the document and the note.
    assert_eq!(answers[0]["saved"]["changes"].as_array().map(Vec::len), Some(2));
    assert!(answers[1]["error"].as_str().is_some_and(|error| error.contains("not a command")));
    assert_eq!((&answers[2]["status"]["local"], &answers[2]["status"]["all_safe"]), (&json!(2), &json!(false)));
    assert_eq!(answers.len(), 3);
}

/// A PIN stands in no argument: whoever lists processes would read it there.
#[test]
fn two_users_share_a_tablet_and_no_pin_is_an_argument() {
    let dir = ready();
    let with = |arguments: &[&str], lines: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tablet"));
        command.arg("--data").arg(dir.path().join("tablet")).args(arguments).env_remove("FELDAKTE_TABLET");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("written");
        child.wait_with_output().expect("it ends")
    };
    for (login, lines) in [("weber", "493817\n"), ("meyer", "271828\n")] {
        assert!(with(&["set-pin", login], lines).status.success());
    }
    assert!(!with(&["sign-in", "weber"], "493818\n").status.success(), "a wrong PIN");
    assert!(with(&["sign-in", "weber"], "493817\n").status.success());
    succeed(dir.path(), &["--offline", "new", "--keyword", "Brustschmerz"]);
    assert!(with(&["sign-in", "meyer"], "271828\n").status.success());
    assert_eq!(parse(&succeed(dir.path(), &["--offline", "--json", "list"])), json!([]));
    let status = parse(&succeed(dir.path(), &["--offline", "--json", "status"]));
    assert!(status["status"]["others"].as_u64() > Some(0) && status["status"]["all_safe"] == json!(false), "{status}");
    succeed(dir.path(), &["sign-out"]);
    let users = parse(&succeed(dir.path(), &["--json", "users"]));
    assert_eq!(users.as_array().expect("a list").len(), 2);
    assert!(fail(dir.path(), &["sign-in", "weber", "--pin", "493817"]).contains("unexpected argument"));
}
