//! The gateway as a process of its own: started, asked, killed.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::SystemTime,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::OnceCell,
};

use super::{LOOK_AGAIN, address::Address, http, local::Site, within};
use crate::{
    load::process::{self, Signal},
    netns::namespace::Namespace,
};

/// How `feldakte serve` is started.
pub struct Serve<'a> {
    /// Where.
    pub site: &'a Site,
    /// Lines added to the configuration.
    pub settings: &'a str,
}

/// A running gateway. Killed when dropped.
pub struct ChildGateway {
    /// Where devices dial.
    pub quic: SocketAddr,
    /// The same over TCP.
    pub grpc: SocketAddr,
    /// Where the test reaches it.
    pub address: Address,
    /// Where operators ask.
    pub ops: SocketAddr,
    /// Where browsers connect.
    pub web: Option<SocketAddr>,
    /// Where devices get their certificates.
    pub enrol: Option<SocketAddr>,
    child: Child,
    log: Arc<std::sync::Mutex<String>>,
    logging: tokio::task::JoinHandle<()>,
    /// Kept open: the gateway may go on printing.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// How a gateway ended, and what it logged.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub status: ExitStatus,
    /// Its standard error.
    pub log: String,
}

impl Serve<'_> {
    /// Writes the configuration; the command to run it.
    pub async fn command(&self) -> Command {
        let Self { site, settings } = self;
        let [root, certificate, key] = site.pki.files();
        let config = site.dir().join("gateway.toml");
        let text = format!(
            "[listen]\nquic = \"{quic}\"\nops = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\n[store]\npath = {store:?}\n{settings}\n[tls]\n\
             certificate = {certificate:?}\nkey = {key:?}\ndevice_ca = {root:?}\ndeny_list = {deny:?}\n",
            quic = site.listen(),
            store = site.store_path(),
            deny = deny_list(site),
        );
        fs::write(&config, text).expect("the configuration is written");
        if !deny_list(site).exists() {
            fs::write(deny_list(site), "").expect("the deny list is written");
        }
        command(&["serve", "--config", config.to_str().expect("a temporary path is text")]).await
    }
}

/// The deny list of gateways started with [`Serve`].
pub fn deny_list(site: &Site) -> PathBuf {
    site.dir().join("denied")
}

/// `feldakte` with these arguments.
pub async fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program().await);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("FELDAKTE__")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

impl ChildGateway {
    /// Runs a command that becomes a gateway, and waits for its ready line.
    pub async fn start(command: Command) -> Self {
        Self::start_in(command, None).await
    }

    /// The same in a network namespace, if one is given.
    pub async fn start_in(mut command: Command, namespace: Option<&Namespace>) -> Self {
        let child = match namespace {
            Some(namespace) => namespace.enter(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = child.expect("the gateway can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let log = Arc::<std::sync::Mutex<String>>::default();
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let lines = log.clone();
        let logging = tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                let mut lines = lines.lock().expect("nothing panics while it is held");
                lines.push_str(&line);
                lines.push('\n');
            }
        });
        let line = within("the gateway is ready", stdout.next_line()).await.expect("it prints text");
        let Some(Ready { quic, grpc, ops, web, enrol }) = line.as_deref().and_then(Ready::parse) else {
            let status = within("the gateway ends", child.wait()).await;
            panic!(
                "the gateway did not start: {status:?}, it said {line:?} and logged:\n{}",
                log.lock().expect("held")
            );
        };
        Self { quic, grpc, address: quic.into(), ops, web, enrol, child, log, logging, _stdout: stdout }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Memory it has now, in KiB.
    pub fn rss_kib(&self) -> u64 {
        process::memory(self.pid()).expect("it runs").rss_kib
    }

    /// A metric.
    pub async fn metric(&self, name: &str) -> u64 {
        http::metric(self.ops, name).await
    }

    /// Waits until a metric is at least that.
    pub async fn until_metric(&self, name: &str, least: u64) {
        within(&format!("{name} reaches {least}"), async {
            while self.metric(name).await < least {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
        .await;
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        process::send_signal(self.pid(), Signal::Terminate).expect("the kernel takes the signal");
    }

    /// SIGHUP, without waiting.
    pub fn hang_up(&self) {
        process::send_signal(self.pid(), Signal::Hangup).expect("the kernel takes the signal");
    }

    /// Waits until it is gone by itself.
    pub async fn ended(mut self) -> Ended {
        let status = within("the gateway ends", self.child.wait()).await.expect("a child can be waited for");
        within("its log ends", self.logging).await.expect("reading a log does not panic");
        let log = std::mem::take(&mut *self.log.lock().expect("nothing panics while it is held"));
        Ended { status, log }
    }

    /// kill -9.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the kernel takes the signal");
    }
}

/// The most memory a child ever had, in KiB.
pub fn peak_rss_kib(pid: u32) -> u64 {
    process::peak_rss_kib(pid).expect("it runs")
}

/// Runs `feldakte` to its end.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = command(arguments).await;
    let mut child = command.envs(environment.iter().copied()).spawn().expect("the gateway can be started");
    let mut log = String::new();
    let mut stderr = child.stderr.take().expect("stderr is piped");
    within("standard error ends", stderr.read_to_string(&mut log)).await.expect("it is text");
    let status = within("the command ends", child.wait()).await.expect("a child can be waited for");
    Ended { status, log }
}

/// What a gateway says when it listens.
struct Ready {
    quic: SocketAddr,
    grpc: SocketAddr,
    ops: SocketAddr,
    web: Option<SocketAddr>,
    enrol: Option<SocketAddr>,
}

impl Ready {
    fn parse(line: &str) -> Option<Self> {
        let fields = line.strip_prefix("ready ")?;
        let field = |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let address = |name: &str| field(name)?.parse().ok();
        let (web, enrol) = (address("web"), address("enrol"));
        Some(Self { quic: address("quic")?, grpc: address("grpc")?, ops: address("ops")?, web, enrol })
    }
}

/// The gateway's program: beside this test binary, built when it is missing or older than its sources.
async fn program() -> &'static Path {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM
        .get_or_init(|| async {
            let test = env::current_exe().expect("a running binary has a path");
            let profile = test.ancestors().nth(2).expect("cargo puts tests into PROFILE/deps").to_owned();
            let program = profile.join("feldakte");
            if modified(&program).is_none_or(|built| newest_source().is_some_and(|source| source > built)) {
                build(&profile).await;
            }
            assert!(program.exists(), "cargo did not build {}", program.display());
            program
        })
        .await
}

/// A call of its own: the gateway holds plain SQLite, this binary SQLCipher.
async fn build(profile: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "feldakte-gateway", "--manifest-path"]).arg(workspace().join("Cargo.toml"));
    command.arg("--target-dir").arg(profile.parent().expect("a profile lies in a target directory"));
    if profile.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let status = command.status().await.expect("cargo can be started");
    assert!(status.success(), "cargo build -p feldakte-gateway: {status}");
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace")
}

fn newest_source() -> Option<SystemTime> {
    let mut newest = None;
    let mut open: Vec<PathBuf> =
        ["core/src", "proto/src", "proto/schema", "certs/src", "gateway/src"].map(|dir| workspace().join(dir)).into();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => newest = newest.max(modified(&entry.path())),
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
