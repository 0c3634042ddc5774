//! What tests with real media need: Chromium and coturn of the distribution, node, and `playwright-core` by its name from npm.
//!
//! What is missing is installed where that is possible; where it is not, the test says so and is skipped.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where they are.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `node`.
    pub node: PathBuf,
    /// The directory that holds `node_modules`.
    pub modules: PathBuf,
    /// `chromium`.
    pub chromium: PathBuf,
    /// `turnserver`.
    pub turnserver: PathBuf,
}

impl Tools {
    /// Finds or installs them, once per process.
    ///
    /// # Errors
    /// What cannot be had.
    pub fn find() -> Result<Self, String> {
        static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
        TOOLS.get_or_init(Self::install).clone()
    }

    fn install() -> Result<Self, String> {
        let node = program("node", "nodejs")?;
        let chromium = program("chromium", "chromium")?;
        let turnserver = program("turnserver", "coturn")?;
        let modules = modules(&program("npm", "npm")?)?;
        Ok(Self { node, modules, chromium, turnserver })
    }
}

fn program(name: &str, package: &str) -> Result<PathBuf, String> {
    if let Some(path) = on_path(name) {
        return Ok(path);
    }
    let install = ["install", "-y", "--no-install-recommends", package];
    if !run(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive")) {
        // The list of packages may be older than the archive.
        run(Command::new("apt-get").arg("update"));
        run(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"));
    }
    on_path(name).ok_or_else(|| format!("`{name}` is not here, and apt-get cannot install `{package}`"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Beside the target directory's profiles, so that `cargo clean` takes it along.
fn modules(npm: &Path) -> Result<PathBuf, String> {
    let test = env::current_exe().map_err(|error| error.to_string())?;
    let directory = test.ancestors().nth(3).ok_or("no target directory")?.join("browser-tools");
    let installed = directory.join("node_modules").join("playwright-core");
    if !installed.exists() {
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let mut install = Command::new(npm);
        install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&directory).arg(PLAYWRIGHT);
        run(&mut install);
    }
    match installed.exists() {
        true => Ok(directory),
        false => Err(format!("npm cannot install {PLAYWRIGHT}")),
    }
}

fn run(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Drives Chromium over its DevTools protocol; brings no browser along.
const PLAYWRIGHT: &str = "playwright-core@1.65";
