//! Which types can print text at all. Every type that derives `Debug`, errors among them, and holds text or bytes stands in
//! [`HARMLESS`] with what they are, or it hides them (`hide_content!`). Who adds one has to decide which.

use std::{collections::BTreeSet, fs, path::Path};

/// What text the named types hold, and why printing it harms nobody.
const HARMLESS: [(&str, &[&str]); 15] = [
    (
        "settings, as the operator has written them into files",
        &[
            "gateway Config",
            "gateway ConfigError",
            "gateway RawListen",
            "gateway RawLog",
            "gateway RawRelay",
            "gateway RelayConfig",
            "gateway RawWeb",
            "gateway WebConfig",
            "gateway RawCa",
            "gateway RawControl",
            "gateway CaSettings",
            "gateway RawUsers",
            "gateway RawIssuer",
            "gateway RawRole",
            "gateway Profile",
            "gateway RoleRule",
            "gateway ClaimPath",
            "gateway UsersError",
            "gateway TenantKeysError",
            "ffi OpenOptions",
        ],
    ),
    (
        "certificates, serial numbers and names of keys: they name devices, monitors and gateways",
        &[
            "proto Renew",
            "proto Renewed",
            "proto Enrolled",
            "gateway Granted",
            "gateway Ca",
            "gateway Certificate",
            "gateway KeyId",
            "gateway KeyEntry",
            "gateway RotatedKey",
            "client-sdk Trust",
            "client-sdk Monitor",
            "certs Issued",
            "certs IssuedGateway",
            "certs IssuedCrl",
            "certs Authority",
            "certs AuthorityError",
            "certs List",
            "certs Denials",
            "certs Renewable",
            "certs Revocations",
            "certs RequestError",
            "certs PolicyError",
        ],
    ),
    (
        "labels of devices, as operators invite them: what people call a vehicle",
        &["gateway NewInvite", "gateway InviteEntry", "gateway Invite", "gateway Device", "gateway DeviceEntry"],
    ),
    (
        "words from closed sets, printed for people",
        &[
            "gateway Line",
            "gateway AboutLine",
            "gateway RawRow",
            "gateway ShredOutcome",
            "gateway PendingShred",
            "gateway Approval",
            "gateway DecidedEntry",
            "gateway Metrics",
            "gateway DatabaseError",
            "proto EnrolmentRefused",
        ],
    ),
    ("names of the catalogue, never the app's: `errors` provokes all of them", &["core SchemaError"]),
    (
        "ids of a call, its legs by number, parts of a case by number; telephones hide themselves",
        &["core Call", "core Fact", "ffi CallLeg"],
    ),
    ("where calls go, as an operator has configured it", &["gateway RawCalls", "gateway RawRoute", "gateway RawGroup"]),
    ("the build of a device's app", &["proto Hello"]),
    ("ids, hashes, signatures and keys that are wrapped", &["core Row", "core Checkpoint", "gateway WrappedKey"]),
    ("names of kinds of values; changes that tests craft", &["core ValueKind", "core Draft"]),
    ("a case's id in text, for Python, Kotlin and Swift", &["ffi Happening"]),
    ("the name in the gateway's certificate, as an operator has set it", &["client-sdk Place"]),
    (
        "names of transports, channels and facts, from closed sets",
        &["ffi LinkFacts", "ffi ReadinessReason", "ffi ChannelReadiness", "ffi LinkReadiness"],
    ),
    (
        "sentences of ours, and what the gateway has answered: provoked by `control` and `errors`",
        &["gateway ControlError", "gateway Refused", "gateway ClientError", "client-sdk SdkError", "ffi FfiError"],
    ),
    (
        "what a database, a key store or the system says: provoked by `whole`",
        &[
            "gateway StoreError",
            "gateway KeyError",
            "gateway Failure",
            "client-sdk LocalStoreError",
            "client-sdk KeyError",
        ],
    ),
];

/// Words in a type's fields that can hold what somebody has typed.
const TEXTS: [&str; 11] = [
    "String",
    "Bytes",
    "BytesMut",
    "Vec<u8>",
    "[u8]",
    "dyn std::error::Error",
    "sqlx::Error",
    "serde_json::Error",
    "rcgen::Error",
    "rustls::Error",
    "automerge::AutomergeError",
];

#[test]
fn every_type_that_can_print_text_hides_it_or_is_known_to_be_harmless() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeSet::new();
    for of in ["core", "proto", "certs", "gateway", "client-sdk", "ffi"] {
        visit(&root.join(of).join("src"), &mut |source| {
            found.extend(printing_text(source).map(|name| format!("{of} {name}")));
        });
    }
    let known: BTreeSet<String> =
        HARMLESS.iter().flat_map(|(_, names)| *names).map(|name| (*name).to_owned()).collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "they print text when they are formatted with `{{:?}}`: {new:?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "listed, and not (any more) types that print text: {gone:?}");
}

#[test]
fn the_look_at_the_sources_sees_text_in_fields_and_variants() {
    let source = "
        #[derive(Debug, Clone)]
        /// Holds a String.
        pub struct Plain { count: u64 }
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub(crate) struct Named { name: String }
        #[derive(Debug, thiserror::Error)]
        pub enum Failing {
            #[error(\"a String\")]
            Some(Bytes),
            None,
        }
        #[cfg_attr(test, derive(Debug))]
        #[derive(Clone)]
        pub struct Hidden(String);
        #[derive(Debug)]
        struct Tuple(Vec<u8>, u8);
        #[derive(Debug)]
        struct Unit;
        struct Silent { name: String }";
    assert_eq!(printing_text(source).collect::<Vec<_>>(), ["Named", "Failing", "Tuple"]);
}

/// Names of types in a source that derive `Debug` and hold text.
fn printing_text(source: &str) -> impl Iterator<Item = String> {
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = product.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
    let derived = lines.match_indices("\n#[derive(").map(|(at, _)| lines[at + 1..].to_owned()).collect::<Vec<_>>();
    derived.into_iter().filter_map(|item| {
        let (derives, rest) = item.split_once(")]")?;
        let head = rest.lines().find(|line| !line.is_empty() && !line.starts_with('#'))?;
        let mut words = head.split([' ', '(', '<', '{', ';']).skip_while(|word| !["struct", "enum"].contains(word));
        let (_, name) = (words.next()?, words.next()?);
        let body = &rest[rest.find(head)? + head.find(name)?..];
        let holds = |text: &&str| {
            let code = fields(body);
            code.match_indices(*text).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let prints = derives.split(['(', ',']).any(|derive| derive.trim() == "Debug");
        (prints && TEXTS.iter().any(holds)).then(|| name.to_owned())
    })
}

/// From a type's head to its end, without attributes.
fn fields(item: &str) -> String {
    let Some(open) = item.find(['{', '(', ';']) else { return String::new() };
    if item[..open].contains('\n') || item[open..].starts_with(';') {
        return String::new();
    }
    let mut depth = 0;
    let end = item[open..].char_indices().find_map(|(at, c)| {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(open + at)
    });
    let body = &item[open..end.unwrap_or(item.len())];
    body.lines().filter(|line| !line.starts_with("#[")).collect::<Vec<_>>().join("\n")
}

fn visit(folder: &Path, look: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            // Command lines and what only tests use.
            true if ["bin", "commands", "tests"].contains(&name.as_str()) => {}
            true => visit(&path, look),
            false if name.ends_with(".rs") && !["testing.rs", "arbitrary.rs", "tests.rs"].contains(&name.as_str()) => {
                look(&fs::read_to_string(&path).unwrap());
            }
            false => {}
        }
    }
}
