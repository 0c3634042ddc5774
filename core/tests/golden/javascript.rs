//! Runs `read.mjs` with node, and the library from npm, in a directory of its own: nothing is installed into the
//! repository.

use std::{fs, io::Write, path::Path, process::Command};

/// How it went.
pub enum Read {
    /// Everything was read as it should be.
    Same,
    /// Something was not; what the script says.
    Differs(String),
    /// It could not run here.
    Skipped(String),
}

/// Reads the golden documents of a folder, which holds the script and its lock file too.
pub fn read(folder: &Path) -> Read {
    for tool in ["node", "npm"] {
        if !Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Read::Skipped(format!("{tool} is not installed"));
        }
    }
    // Beside cargo's other files, so that a second run finds npm's folder there and replaces it.
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden-javascript");
    fs::create_dir_all(&work).expect("a directory");
    for file in ["package.json", "package-lock.json", ".npmrc", "read.mjs"] {
        fs::copy(folder.join(file), work.join(file)).expect("copied");
    }
    if let Err(why) = install(&work) {
        return Read::Skipped(why);
    }
    let output = Command::new("node").arg("read.mjs").arg(folder).current_dir(&work).output().expect("node runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Read::Same } else { Read::Differs(format!("{out}\n{err}")) }
}

/// Gives the reason if npm cannot fetch the library for lack of a network; any other failure is one.
fn install(work: &Path) -> Result<(), String> {
    let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline"];
    let impatient = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"];
    let output = Command::new("npm").arg("ci").args(quiet).args(impatient).current_dir(work).output();
    let output = output.expect("npm runs");
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let code = said.lines().find_map(|line| line.trim_start_matches("npm ").split_once(" code ")).map(|(_, code)| code);
    match code.map(str::trim) {
        Some(code) if NO_NETWORK.contains(&code) => Err(format!("npm has no network to fetch the library ({code})")),
        _ => panic!("npm ci: {said}"),
    }
}

/// As in `tests/src/skip.rs`: `tests/run` counts it as skipped, never as passed.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("FELDAKTE_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of skipped tests can be written");
    }
}

/// What npm calls it when names do not resolve, nobody answers, or a proxy has no way out.
const NO_NETWORK: [&str; 15] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "EAI_FAIL",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTCACHED",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
    "FETCH_ERROR",
    "E407",
    "E502",
    "E503",
    "E504",
];
