//! The gateway of the demo: `feldakte serve` as a process of its own, so that it can be killed for real.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use feldakte_certs::development::DevelopmentPki;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
};

/// A gateway process. Killed when it is dropped.
pub struct Gateway {
    files: Files,
    process: Option<Process>,
    quic: SocketAddr,
}

/// A running gateway. It ends when its input does: should the demo itself be killed, no gateway stays behind.
struct Process {
    child: Child,
    /// Apart from `child`, which would close it before it waits.
    _input: Option<ChildStdin>,
}

/// Where it keeps things.
#[derive(Debug, Clone)]
pub struct Files {
    /// Its configuration.
    pub config: PathBuf,
    /// Its store.
    pub store: PathBuf,
    /// What it logs.
    pub log: PathBuf,
}

impl Gateway {
    /// Writes a configuration and starts the gateway on a free port, which it keeps over restarts.
    pub async fn start(dir: &Path, pki: &DevelopmentPki) -> anyhow::Result<Gateway> {
        let files =
            Files { config: dir.join("gateway.toml"), store: dir.join("gateway.sqlite"), log: dir.join("gateway.log") };
        write_config(&files, pki, "127.0.0.1:0")?;
        let (process, quic) = spawn(&files).await?;
        write_config(&files, pki, &quic.to_string())?;
        Ok(Gateway { files, process: Some(process), quic })
    }

    /// Where devices connect.
    pub fn quic(&self) -> SocketAddr {
        self.quic
    }

    /// Where it keeps things.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// SIGKILL: no farewell, nothing flushed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.child.kill().await.context("the gateway could not be killed")
    }

    /// Starts it again on the same port and store; gives the time until it was ready.
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let (process, _) = spawn(&self.files).await?;
        self.process = Some(process);
        Ok(begun.elapsed())
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            process.child.wait().await.context("the gateway cannot be watched")?;
        }
        Ok(())
    }
}

fn write_config(files: &Files, pki: &DevelopmentPki, quic: &str) -> anyhow::Result<()> {
    let text = |path: &Path| -> anyhow::Result<toml::Value> {
        Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.into())
    };
    let section = |entries: &[(&str, toml::Value)]| -> toml::Value {
        toml::Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let tls = section(&[
        ("certificate", text(&pki.gateway_path())?),
        ("key", text(&pki.gateway_key_path())?),
        ("device_ca", text(&pki.root_path())?),
    ]);
    let any = "127.0.0.1:0";
    let config: toml::Table = [
        ("listen", section(&[("quic", quic.into()), ("ops", any.into()), ("enrol", any.into())])),
        ("log", section(&[("format", "text".into()), ("level", "info".into())])),
        ("store", section(&[("path", text(&files.store)?)])),
        ("tls", tls),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect();
    std::fs::write(&files.config, config.to_string())
        .with_context(|| format!("cannot write {}", files.config.display()))
}

/// Starts the process and waits for its `ready` line.
async fn spawn(files: &Files) -> anyhow::Result<(Process, SocketAddr)> {
    let exe = std::env::current_exe().context("this program's own path is not known")?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&files.log);
    let log = log.with_context(|| format!("cannot write {}", files.log.display()))?;
    let mut command = Command::new(exe);
    command.arg("serve").arg("--while-stdin").arg("--config").arg(&files.config);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    // The demo's gateway is the one of its configuration file and of nothing else.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FELDAKTE__")) {
        command.env_remove(name);
    }
    let mut child = command.spawn().context("the gateway could not be started")?;
    let _input = child.stdin.take();
    let stdout = child.stdout.take().context("the gateway's output was asked for")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
    let line = line.map_err(|_| anyhow!("the gateway was not ready within {READY_WITHIN:?}"))??;
    let quic = line.as_deref().and_then(ready_address);
    let quic = quic.with_context(|| format!("the gateway did not start; {} says why", files.log.display()))?;
    Ok((Process { child, _input }, quic))
}

fn ready_address(line: &str) -> Option<SocketAddr> {
    let fields = line.strip_prefix("ready ")?;
    fields.split(' ').find_map(|field| field.strip_prefix("quic="))?.parse().ok()
}

/// A store of a demo opens in milliseconds; a busy machine may take longer.
const READY_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_port() {
        let address = ready_address("ready quic=127.0.0.1:5433 ops=127.0.0.1:9464");
        assert_eq!(address, Some(([127, 0, 0, 1], 5433).into()));
        assert_eq!(ready_address("error"), None);
    }
}
