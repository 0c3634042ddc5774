//! A simulated tablet: `tablet agent` as a process of its own, with a store of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::evidence::Evidence;

/// How a tablet is made.
pub struct Plan<'a> {
    /// The `tablet` program.
    pub program: &'a Path,
    /// Its directory, not there yet.
    pub dir: PathBuf,
    /// What people call it.
    pub label: &'static str,
    /// `host:port` of the gateway, through the relay.
    pub gateway: String,
    /// The development PKI that signs its certificate.
    pub pki: &'a Path,
}

/// A tablet process. Killed when it is dropped.
pub struct Tablet {
    label: &'static str,
    device: String,
    input: ChildStdin,
    answers: mpsc::Receiver<Value>,
    state: watch::Receiver<TabletState>,
    outstanding: usize,
    next_id: u64,
    reader: JoinHandle<()>,
    _child: Child,
}

/// What the tablet shows of itself, as its user would see it.
#[derive(Debug, Clone, Default)]
pub struct TabletState {
    /// Its link in one word.
    pub link: String,
    /// Cases it holds.
    pub cases: BTreeSet<String>,
    /// How safe they are.
    pub sync: BTreeMap<String, Counters>,
    /// Why it cannot be trusted any more; ends the demo.
    pub broken: Option<String>,
}

/// Changes by how safe they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// On the device only.
    pub local: u64,
    /// On their way.
    pub sent: u64,
    /// At the gateway.
    pub durable: u64,
    /// Not taken by the gateway.
    pub refused: u64,
}

impl Counters {
    /// Whether nothing is on the device only.
    pub fn is_safe(&self) -> bool {
        self.local == 0 && self.sent == 0 && self.refused == 0
    }
}

impl TabletState {
    /// Over all cases.
    pub fn total(&self) -> Counters {
        self.sync.values().fold(Counters::default(), |sum, one| Counters {
            local: sum.local + one.local,
            sent: sum.sent + one.sent,
            durable: sum.durable + one.durable,
            refused: sum.refused + one.refused,
        })
    }
}

impl Tablet {
    /// Makes the tablet's directory and starts it.
    pub async fn start(plan: Plan<'_>, evidence: Arc<Evidence>) -> anyhow::Result<Tablet> {
        init(&plan).await?;
        let log_path = plan.dir.with_extension("log");
        let log = std::fs::File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut command = Command::new(plan.program);
        command.arg("--data").arg(&plan.dir).arg("agent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{} could not be started", plan.program.display()))?;
        let input = child.stdin.take().context("the tablet's input was asked for")?;
        let output = child.stdout.take().context("the tablet's output was asked for")?;
        let mut lines = BufReader::new(output).lines();
        let ready =
            tokio::time::timeout(ANSWER_WITHIN, lines.next_line()).await.context("the tablet does not start")??;
        let ready = ready.with_context(|| format!("the tablet ended; {} says why", log_path.display()))?;
        let ready: Value = serde_json::from_str(&ready).context("the tablet speaks another protocol")?;
        let device = ready["ready"]["device"].as_str().context("the tablet speaks another protocol")?.to_owned();
        let (answered, answers) = mpsc::channel(WINDOW);
        let (told, state) = watch::channel(TabletState { link: "offline".to_owned(), ..TabletState::default() });
        let reader = tokio::spawn(read(lines, Inbox { answered, told, evidence }));
        Ok(Tablet {
            label: plan.label,
            device,
            input,
            answers,
            state,
            outstanding: 0,
            next_id: 0,
            reader,
            _child: child,
        })
    }

    /// What people call it.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Its device id.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What it shows of itself.
    pub fn state(&self) -> watch::Receiver<TabletState> {
        self.state.clone()
    }

    /// Sends a command; its answer comes after those of all earlier ones.
    pub async fn send(&mut self, mut command: Value) -> anyhow::Result<()> {
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        let line = format!("{command}\n");
        let written = async {
            self.input.write_all(line.as_bytes()).await?;
            self.input.flush().await
        };
        written.await.with_context(|| format!("{} takes no commands", self.label))?;
        self.outstanding += 1;
        Ok(())
    }

    /// The next answer; an error that the tablet answered is an error here.
    pub async fn answer(&mut self) -> anyhow::Result<Value> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.answers.recv()).await;
        let answer = answer.map_err(|_| anyhow!("{} has not answered within {ANSWER_WITHIN:?}", self.label))?;
        let answer = answer.with_context(|| self.why_it_ended())?;
        self.outstanding -= 1;
        match answer["error"].as_str() {
            Some(error) => Err(anyhow!("{} answered: {error}", self.label)),
            None => Ok(answer),
        }
    }

    /// Sends a command and waits for its answer, and for all before it.
    pub async fn ask(&mut self, command: Value) -> anyhow::Result<Value> {
        self.send(command).await?;
        while self.outstanding > 1 {
            self.answer().await?;
        }
        self.answer().await
    }

    /// Sends a command without waiting for its answer, unless too many are outstanding.
    pub async fn push(&mut self, command: Value) -> anyhow::Result<()> {
        while self.outstanding >= WINDOW {
            self.answer().await?;
        }
        self.send(command).await
    }

    /// Takes the answers that are outstanding.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        while self.outstanding > 0 {
            self.answer().await?;
        }
        Ok(())
    }

    /// Waits until the tablet shows what is wanted.
    pub async fn wait_until(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&TabletState) -> bool,
    ) -> anyhow::Result<()> {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(within, state.wait_for(|now| now.broken.is_some() || wanted(now))).await;
        let now = waited.map_err(|_| anyhow!("{}: {what} did not happen within {within:?}", self.label))?;
        let now = now.map_err(|_| anyhow!("{} has ended", self.label))?;
        match &now.broken {
            Some(why) => Err(anyhow!("{}: {why}", self.label)),
            None => Ok(()),
        }
    }

    fn why_it_ended(&self) -> String {
        let why = self.state.borrow().broken.clone();
        format!("{} has ended: {}", self.label, why.unwrap_or_else(|| "no reason given".to_owned()))
    }
}

impl Drop for Tablet {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn init(plan: &Plan<'_>) -> anyhow::Result<()> {
    let mut command = Command::new(plan.program);
    command.arg("--data").arg(&plan.dir).args(["init", "--gateway", &plan.gateway, "--label", plan.label]);
    command.arg("--dev-pki").arg(plan.pki).args(["--tenant", TENANT, "--unit", UNIT, "--role", ROLE]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{} could not be started", plan.program.display()))?;
    let why = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{} could not be set up: {}", plan.label, why.trim());
    Ok(())
}

/// Where the reader of a tablet's output puts things.
struct Inbox {
    answered: mpsc::Sender<Value>,
    told: watch::Sender<TabletState>,
    evidence: Arc<Evidence>,
}

async fn read(mut lines: tokio::io::Lines<BufReader<ChildStdout>>, inbox: Inbox) {
    let why = loop {
        match lines.next_line().await {
            Ok(Some(line)) => match inbox.take(&line).await {
                Ok(()) => {}
                Err(error) => break format!("{error:#}"),
            },
            Ok(None) => break "its output has ended".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    inbox.told.send_modify(|state| state.broken = Some(why));
}

impl Inbox {
    async fn take(&self, line: &str) -> anyhow::Result<()> {
        let told: Value = serde_json::from_str(line).context("the tablet speaks another protocol")?;
        if let Some(saved) = told.get("saved") {
            self.evidence.saved(saved)?;
        }
        if let Some(durable) = told.get("durable") {
            self.evidence.durable(durable)?;
        }
        if let Some(link) = told["link"].as_str() {
            self.told.send_modify(|state| link.clone_into(&mut state.link));
        }
        if let Some(case) = told["changed"].as_str() {
            self.told.send_modify(|state| state.cases.extend([case.to_owned()]));
        }
        if let (Some(sync), Some(case)) = (told.get("sync"), told["sync"]["case"].as_str()) {
            let counters = counters(sync);
            self.told.send_modify(|state| state.sync.extend([(case.to_owned(), counters)]));
        }
        if told.get("id").is_some() {
            self.answered.send(told).await.context("nobody waits for answers any more")?;
        }
        Ok(())
    }
}

fn counters(sync: &Value) -> Counters {
    let count = |name: &str| sync[name].as_u64().unwrap_or(0);
    Counters { local: count("local"), sent: count("sent"), durable: count("durable"), refused: count("refused") }
}

/// The tenant both tablets belong to.
pub const TENANT: &str = "dortmund";
/// The unit whose cases they share.
pub const UNIT: &str = "rtw-1-83-1";
const ROLE: &str = "ambulance_crew";
/// Commands ahead of their answers in a burst: the tablet never waits for the demo.
const WINDOW: usize = 16;
/// A save takes milliseconds; a busy machine may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
