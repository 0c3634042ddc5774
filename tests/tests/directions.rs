//! The directions of the layout hold: who may depend on whom, and one crypto provider in the whole tree. And what the
//! README shows is what compiles.

use std::{collections::BTreeMap, path::Path, process::Command};

/// Direct, normal dependencies of every workspace member.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--all-features", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let normal = |dependency: &&serde_json::Value| dependency["kind"].is_null();
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter().filter(normal);
            let names = dependencies.map(|dependency| dependency["name"].as_str().expect("a name").to_owned());
            (package["name"].as_str().expect("a name").to_owned(), names.collect())
        })
        .collect()
}

/// Members that name `dependency` in their manifest.
fn users_of(dependency: &str) -> Vec<String> {
    let all = dependencies();
    assert!(all.len() >= 7, "the workspace was not read: {:?}", all.keys());
    all.into_iter().filter(|(_, names)| names.iter().any(|name| name == dependency)).map(|(user, _)| user).collect()
}

#[test]
fn gateway_and_sdk_meet_only_in_the_tests() {
    assert_eq!(users_of("feldakte-gateway"), ["feldakte-tests"]);
    assert_eq!(users_of("feldakte-client-sdk"), ["feldakte-ffi", "feldakte-tests"]);
}

#[test]
fn protobuf_ends_at_proto_and_automerge_at_core() {
    assert_eq!(users_of("prost"), ["feldakte-proto"]);
    assert_eq!(users_of("automerge"), ["feldakte-core"]);
}

#[test]
fn ffi_names_no_wire_type() {
    let ffi = &dependencies()["feldakte-ffi"];
    assert!(!ffi.iter().any(|name| name == "feldakte-proto"), "{ffi:?}");
}

#[test]
fn sql_stands_in_the_two_stores() {
    assert_eq!(users_of("sqlx"), ["feldakte-client-sdk", "feldakte-gateway"]);
}

#[test]
fn core_depends_on_no_other_member() {
    let core = &dependencies()["feldakte-core"];
    assert!(!core.iter().any(|name| name.starts_with("feldakte-")), "{core:?}");
}

#[test]
fn aws_lc_rs_is_the_only_crypto_provider() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--all-features", "-e", "normal,build", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(output.status.success() && has("aws-lc-rs"), "{}", String::from_utf8_lossy(&output.stderr));
    for other in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!has(other), "{other} is in the tree");
    }
}

/// The first Rust example of a text, without the lines that rustdoc hides.
fn example(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| !line.starts_with("```rust") && !line.starts_with("```no_run")).skip(1);
    lines.take_while(|line| *line != "```").filter(|line| !line.starts_with("# ")).collect()
}

#[test]
fn the_readme_shows_the_example_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of this repository");
    let (readme, library) = (read("README.md"), read("client-sdk/src/lib.rs"));
    let docs = library.lines().filter_map(|line| line.strip_prefix("//!"));
    let docs: Vec<&str> = docs.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let docs = docs.join("\n");
    let shown = example(&readme);
    assert_eq!(shown, example(&docs));
    assert!((10..=30).contains(&shown.len()), "{} lines", shown.len());
}

/// A wall that nobody tests is none: the threat model names tests, and each of them is there.
#[test]
fn the_threat_model_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let model = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md is there");
    let walls = model.lines().filter(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(4));
    let named: Vec<&str> = walls.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 40, "the table was not read: {named:?}");
    let mut sources = String::new();
    for folder in ["core/src", "proto/src", "certs/src", "gateway/src", "client-sdk/src", "tests/tests"] {
        read_sources(&root.join(folder), &mut sources);
    }
    let missing: Vec<_> = named.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "no test has these names: {missing:?}");
}

fn read_sources(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable entry").path();
        match path.is_dir() {
            true => read_sources(&path, sources),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                sources.push_str(&std::fs::read_to_string(&path).expect("source is text"));
            }
            false => {}
        }
    }
}
