//! Finds the `tablet` program. The gateway never links the client; the demo runs it as its users do.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

/// The tablet program: the one that was named, the one beside this program, or, under cargo, a freshly built one.
pub fn find(named: Option<PathBuf>, quiet: bool) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        anyhow::ensure!(path.is_file(), "--tablet {} is not a file", path.display());
        return Ok(path);
    }
    let exe = env::current_exe().context("this program's own path is not known")?;
    let dir = exe.parent().context("this program has no directory")?;
    let beside = dir.join(format!("tablet{}", env::consts::EXE_SUFFIX));
    if let (Some(cargo), Some(manifest)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR")) {
        // Under cargo always: a tablet of yesterday's sources would prove nothing about today's.
        build(Path::new(&cargo), Path::new(&manifest), dir, quiet)?;
    }
    if !beside.is_file() {
        let release = if dir.ends_with("debug") { "" } else { " --release" };
        let build = format!("cargo {}{release}", BUILD.join(" "));
        bail!("{} is missing: run `{build}`, or name one with --tablet PATH", beside.display());
    }
    Ok(beside)
}

fn build(cargo: &Path, manifest: &Path, dir: &Path, quiet: bool) -> anyhow::Result<()> {
    let mut command = Command::new(cargo);
    command.args(BUILD).args(profile(dir)).arg("--manifest-path").arg(manifest.join("..").join("Cargo.toml"));
    if quiet {
        command.arg("--quiet");
    } else {
        println!("building the tablet: cargo {}", BUILD.join(" "));
    }
    let status = command.status().context("cargo could not be started")?;
    anyhow::ensure!(status.success(), "the tablet could not be built; cargo's messages are above");
    Ok(())
}

/// The profile this program was built with, by the directory cargo has put it into, as cargo takes it.
fn profile(dir: &Path) -> Option<String> {
    match dir.file_name()?.to_str()? {
        "debug" => None,
        "release" => Some("--release".to_owned()),
        other => Some(format!("--profile={other}")),
    }
}

const BUILD: [&str; 7] = ["build", "-p", "feldakte-client-sdk", "--features", "sqlcipher", "--bin", "tablet"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tablet_is_built_like_the_gateway() {
        assert_eq!(profile(Path::new("/target/debug")), None);
        assert_eq!(profile(Path::new("/target/release")), Some("--release".to_owned()));
        assert_eq!(profile(Path::new("/target/bench")), Some("--profile=bench".to_owned()));
    }

    #[test]
    fn a_named_tablet_that_is_not_there_is_named_in_the_error() {
        let error = find(Some("no/such/tablet".into()), true).expect_err("missing").to_string();
        assert!(error.contains("no/such/tablet"), "{error}");
    }
}
