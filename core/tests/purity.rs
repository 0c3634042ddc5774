//! Core stays pure, and one file alone names the document library. Reads the workspace; needs nothing but cargo.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the test does the IO that core may not")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const IMPURE: [&str; 8] = ["tokio", "quinn", "tonic", "prost", "sqlx", "rustls", "hyper", "async-trait"];

fn core_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo_tree() -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["tree", "-p", "feldakte-core", "-e", "normal", "--prefix", "none", "--offline", "--locked"];
    let output = Command::new(cargo).args(args).current_dir(core_dir()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes text");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a directory of the workspace") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn core_depends_on_no_runtime_network_database_or_wire_format() {
    let tree = cargo_tree();
    assert!(tree.contains("automerge"), "the list is core's: {tree:?}");
    let impure: Vec<_> = IMPURE.into_iter().filter(|name| tree.contains(*name)).collect();
    assert!(impure.is_empty(), "core depends on {impure:?}");
}

#[test]
fn one_module_names_the_document_library() {
    let source = core_dir().join("src");
    let names_it = |path: &PathBuf| fs::read_to_string(path).expect("a source file").contains("automerge::");
    let naming: Vec<_> = files_below(&source, "rs").into_iter().filter(names_it).collect();
    let is_crdt = |path: &&PathBuf| **path == source.join("crdt.rs") || path.starts_with(source.join("crdt"));
    assert_eq!(naming.iter().find(|path| !is_crdt(path)), None);
    assert!(naming.contains(&source.join("crdt.rs")));
}

#[test]
fn no_other_crate_depends_on_the_document_library() {
    let workspace = core_dir().parent().expect("core is in the workspace");
    let crates: Vec<_> = fs::read_dir(workspace)
        .expect("the workspace")
        .map(|entry| entry.expect("an entry of it").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    assert!(crates.len() > 3, "the workspace has its crates: {crates:?}");
    for manifest in crates.iter().filter(|path| *path != core_dir()).map(|path| path.join("Cargo.toml")) {
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let named = text.lines().any(|line| line.trim_start().starts_with("automerge"));
        assert!(!named, "{} names it", manifest.display());
    }
}
