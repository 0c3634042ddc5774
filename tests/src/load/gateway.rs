//! The gateway as a process of its own: started, watched through `/proc` and its metrics, ended either way.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use feldakte_certs::development::DevelopmentPki;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

use crate::load::process::{self, Memory, Signal};

/// A directory in which a gateway runs: its configuration, its store and what it logged.
#[derive(Debug)]
pub struct Site {
    program: PathBuf,
    dir: PathBuf,
}

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pid: u32,
    /// Where devices dial.
    pub quic: SocketAddr,
    /// The same over TCP.
    pub grpc: SocketAddr,
    ops: SocketAddr,
    /// From spawn to its ready line.
    pub started_within: Duration,
    /// Kept open: the gateway may go on printing.
    _stdout: Lines<BufReader<ChildStdout>>,
    /// Kept open: the gateway ends when it closes, so that none outlives a load generator that was killed.
    _stdin: ChildStdin,
}

impl Site {
    /// Writes a configuration into a fresh directory.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn create(program: &Path, dir: &Path, pki: &DevelopmentPki) -> Result<Self> {
        fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let config = format!(
            "[listen]\nquic = \"127.0.0.1:0\"\nops = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\n\n[store]\npath = {store:?}\n\n[tls]\n\
             certificate = {certificate:?}\nkey = {key:?}\ndevice_ca = {root:?}\n\n{LIMITS}\n[log]\nformat = \"text\"\n\
             level = \"warn\"\n",
            store = dir.join("gateway.db"),
            certificate = pki.gateway_path(),
            key = pki.gateway_key_path(),
            root = pki.root_path(),
        );
        fs::write(dir.join(CONFIG), config)?;
        Ok(Self { program: program.to_owned(), dir: dir.to_owned() })
    }

    /// Where the store is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a gateway on what is there and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; its log's end is part of the message.
    pub async fn start(&self) -> Result<Gateway> {
        let config = self.dir.join(CONFIG);
        let mut command = Command::new(&self.program);
        // The environment overrides the file: what somebody has set for a gateway of their own must not.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with(OVERRIDE)) {
            command.env_remove(name);
        }
        Gateway::spawn(command.args(["serve", "--while-stdin", "--config"]).arg(config), &self.dir).await
    }
}

impl Gateway {
    /// Starts a program that prints a ready line; its log goes into `dir`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn spawn(command: &mut Command, dir: &Path) -> Result<Gateway> {
        let log = File::options().create(true).append(true).open(dir.join(LOG))?;
        let spawned = Instant::now();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().context("the gateway program cannot be started")?;
        let pid = child.id().context("a child that was not waited for has a process id")?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line = timeout(READY_WITHIN, stdout.next_line()).await.context("the gateway was not ready in time")?;
        let started_within = spawned.elapsed();
        let Some(line) = line? else { bail!("the gateway ended before it was ready; it said:\n{}", log_end(dir)) };
        let Ready { quic, grpc, ops } = Ready::parse(&line)?;
        Ok(Gateway { child, pid, quic, grpc, ops, started_within, _stdout: stdout, _stdin: stdin })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// CPU time it has used so far.
    ///
    /// # Errors
    /// When it has died.
    pub fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.pid)
    }

    /// CPU time once it has stopped working on what it was given, or after a bounded wait.
    ///
    /// # Errors
    /// When it has died.
    pub async fn settled_cpu_time(&self) -> Result<Duration> {
        let mut cpu = self.cpu_time()?;
        for _ in 0..SETTLE_LOOKS {
            sleep(SETTLE_LOOK).await;
            let now = self.cpu_time()?;
            if now.saturating_sub(cpu) <= QUIET_CPU {
                return Ok(now);
            }
            cpu = now;
        }
        Ok(cpu)
    }

    /// Memory it has now.
    ///
    /// # Errors
    /// When it has died.
    pub fn memory(&self) -> Result<Memory> {
        process::memory(self.pid)
    }

    /// Memory once it no longer moves, or after a bounded wait.
    ///
    /// # Errors
    /// When it has died.
    pub async fn settled_memory(&self) -> Result<Memory> {
        let mut memory = self.memory()?;
        for _ in 0..SETTLE_LOOKS {
            sleep(SETTLE_LOOK).await;
            let now = self.memory()?;
            if now.rss_kib.abs_diff(memory.rss_kib) <= QUIET_KIB {
                return Ok(now);
            }
            memory = now;
        }
        Ok(memory)
    }

    /// The most memory it ever had, in KiB.
    ///
    /// # Errors
    /// When it has died.
    pub fn peak_rss_kib(&self) -> Result<u64> {
        process::peak_rss_kib(self.pid)
    }

    /// The sum of all samples of a metric.
    ///
    /// # Errors
    /// When the operators' port does not answer, or knows no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = timeout(METRICS_WITHIN, scrape(self.ops)).await.context("no metrics in time")??;
        sum_of(&text, name).with_context(|| format!("the gateway has no metric `{name}`"))
    }

    /// SIGTERM, and waits until it has drained and gone.
    ///
    /// # Errors
    /// When it takes too long or fails.
    pub async fn terminate(mut self) -> Result<()> {
        process::send_signal(self.pid, Signal::Terminate)?;
        let status = timeout(DRAIN_WITHIN, self.child.wait()).await.context("the gateway did not drain in time")??;
        ensure!(status.success(), "the gateway ended with {status} after SIGTERM");
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("the gateway cannot be killed")
    }
}

struct Ready {
    quic: SocketAddr,
    grpc: SocketAddr,
    ops: SocketAddr,
}

impl Ready {
    /// `ready quic=127.0.0.1:PORT ops=127.0.0.1:PORT grpc=127.0.0.1:PORT`; a bare server has the first alone.
    fn parse(line: &str) -> Result<Ready> {
        let wrong = || anyhow!("the gateway's first line is not a ready line");
        let fields = line.strip_prefix("ready ").ok_or_else(wrong)?;
        let address = |name: &str| {
            let value = fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            value.map(str::parse::<SocketAddr>).transpose()
        };
        let quic = address("quic")?.ok_or_else(wrong)?;
        let or_quic = |address: Option<SocketAddr>| address.unwrap_or(quic);
        Ok(Ready { quic, grpc: or_quic(address("grpc")?), ops: or_quic(address("ops")?) })
    }
}

async fn scrape(ops: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(ops).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(METRICS_LEN_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "the operators' port refused");
    Ok(body.to_owned())
}

/// Counters carry the suffix `_total` in the text format.
fn sum_of(text: &str, name: &str) -> Option<f64> {
    let value_of = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        let sample = sample.split('{').next()?;
        let is_it = sample == name || sample.strip_suffix("_total") == Some(name);
        is_it.then(|| value.parse::<f64>().ok()).flatten()
    };
    let values: Vec<f64> = text.lines().filter(|line| !line.starts_with('#')).filter_map(value_of).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

fn log_end(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join(LOG)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// A few devices, all at one address, do in seconds what honest ones do in months.
const LIMITS: &str = "[limits]\nconnections_per_address = 1000000\nhandshakes_per_address_per_minute = 100000000\n\
    pushed_changes_per_hour = 1000000000\npushed_bytes_per_hour = 1000000000000\nstored_bytes_per_day = 1000000000000\n\
    tenant_stored_bytes_per_day = 1000000000000\n";
const CONFIG: &str = "gateway.toml";
const LOG: &str = "gateway.log";
const OVERRIDE: &str = "FELDAKTE__";
const LOG_LINES: usize = 20;
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Longer than the gateway gives itself, so that a gateway that overruns is seen as one that does.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);
const METRICS_WITHIN: Duration = Duration::from_secs(10);
const METRICS_LEN_MAX: u64 = 4 << 20;
const SETTLE_LOOK: Duration = Duration::from_millis(1500);
const SETTLE_LOOKS: usize = 20;
/// Two clock ticks: timers, not work.
const QUIET_CPU: Duration = Duration::from_millis(20);
const QUIET_KIB: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_names_all_ports() {
        let ready = Ready::parse("ready quic=127.0.0.1:4433 ops=127.0.0.1:9100 grpc=127.0.0.1:443").unwrap();
        assert_eq!((ready.quic.port(), ready.grpc.port(), ready.ops.port()), (4433, 443, 9100));
        assert!(Ready::parse("ready ops=127.0.0.1:1").is_err());
        assert!(Ready::parse("listening").is_err());
    }

    #[test]
    fn samples_of_a_metric_are_added_up() {
        let text = "# HELP feldakte_ledger_loads Ledgers\n# TYPE feldakte_ledger_loads counter\n\
                    feldakte_ledger_loads_total 12\nfeldakte_rejected_total{reason=\"tls x\"} 1\n\
                    feldakte_rejected_total{reason=\"hello\"} 2\nfeldakte_sessions 3\n# EOF\n";
        assert_eq!(sum_of(text, "feldakte_ledger_loads"), Some(12.0));
        assert_eq!(sum_of(text, "feldakte_rejected"), Some(3.0));
        assert_eq!(sum_of(text, "feldakte_sessions"), Some(3.0));
        assert_eq!(sum_of(text, "feldakte_ledger"), None);
    }

    #[tokio::test]
    async fn a_program_that_does_not_become_ready_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key >&2"]);
        let error = Gateway::spawn(&mut command, dir.path()).await.unwrap_err();
        assert!(error.to_string().ends_with("it said:\nno such key"), "{error}");
    }

    #[tokio::test]
    async fn a_gateway_is_ended_by_either_signal() {
        let dir = tempfile::tempdir().unwrap();
        let ready = "trap 'exit 0' TERM; echo ready quic=127.0.0.1:1 ops=127.0.0.1:2; while :; do sleep 0.05; done";
        for graceful in [true, false] {
            let mut command = Command::new("sh");
            let gateway = Gateway::spawn(command.args(["-c", ready]), dir.path()).await.unwrap();
            assert!(gateway.memory().unwrap().rss_kib > 0);
            let pid = gateway.pid();
            match graceful {
                true => gateway.terminate().await.unwrap(),
                false => gateway.kill().await.unwrap(),
            }
            assert!(process::cpu_time(pid).is_err());
        }
    }
}
