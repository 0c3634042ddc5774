//! The generated Python module against the real library: the shape of the SDK holds in another language.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use feldakte_certs::{authority::Authority, request::DeviceKey};
use feldakte_core::{
    access::{Principal, Role},
    ids::DeviceId,
};
use tempfile::TempDir;

#[test]
fn python_opens_edits_watches_and_closes() {
    let Some(python) = python() else {
        return skipped("python_opens_edits_watches_and_closes", "python3 is not installed");
    };
    let module = Module::generate();
    ends_well(module.start(python));
}

/// Once, one in six of them died while a thread of the SDK still reported its result to an interpreter that ended.
#[test]
fn python_processes_that_end_side_by_side_end_cleanly() {
    let Some(python) = python() else {
        return skipped("python_processes_that_end_side_by_side_end_cleanly", "python3 is not installed");
    };
    let module = Module::generate();
    let processes: Vec<_> = (0..SIDE_BY_SIDE).map(|_| module.start(python)).collect();
    processes.into_iter().for_each(ends_well);
}

/// The generated module beside the library it calls.
struct Module {
    directory: TempDir,
}

impl Module {
    fn generate() -> Module {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let library = library();
        generate(&library, directory.path());
        std::fs::copy(&library, directory.path().join(library.file_name().expect("a file"))).expect("copied");
        Module { directory }
    }

    /// The smoke test with a device and a store of its own.
    fn start(&self, python: &str) -> (Child, TempDir) {
        let store = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/smoke.py"))
            .arg(options(store.path()))
            .env("PYTHONPATH", self.directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python runs");
        (child, store)
    }
}

fn ends_well((child, _store): (Child, TempDir)) {
    let output = child.wait_with_output().expect("python ends");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("python smoke test passed"), "{out}\n{err}");
}

/// As in `tests/src/skip.rs`: `tests/run` counts it as skipped, never as passed.
fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("FELDAKTE_SKIPPED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests can be written");
    }
}

fn python() -> Option<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// The cdylib that cargo built beside this test.
fn library() -> PathBuf {
    let exe = std::env::current_exe().expect("a path");
    let deps = exe.parent().expect("target/…/deps");
    let name = format!("{}feldakte_ffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let candidates = [deps.join(&name), deps.parent().expect("target/…").join(&name)];
    candidates.into_iter().find(|path| path.exists()).expect("cargo builds the cdylib with the tests")
}

fn generate(library: &Path, out: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_uniffi-bindgen"))
        .args(["generate", "--language", "python", "--no-format", "--out-dir"])
        .arg(out)
        .arg(library)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the generator runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn options(work: &Path) -> String {
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    let authority = Authority::generate("smoke test", day, now).expect("an authority");
    let key = DeviceKey::generate().expect("a key");
    let principal = Principal {
        tenant: "dortmund".parse().expect("a slug"),
        unit: "rtw-1".parse().expect("a slug"),
        device: "0192f1a0-0000-7000-8000-000000000001".parse::<DeviceId>().expect("a uuid"),
        role: Role::AmbulanceCrew,
        user: None,
    };
    let issued = authority.sign_device(&key.csr_pem().expect("a request"), &principal, day / 2, now).expect("signed");
    serde_json::json!({
        "directory": work,
        "gateway": "localhost:1",
        "server_name": "localhost",
        "roots_pem": authority.certificate_pem(),
        "certificate_pem": issued.certificate_pem,
        "private_key_pem": key.to_pem().as_str(),
    })
    .to_string()
}

/// Enough that two cores are never free for a thread that has to report.
const SIDE_BY_SIDE: usize = 12;
