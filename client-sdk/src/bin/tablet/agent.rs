//! `tablet agent`: one open tablet that obeys JSON lines, so that a harness can drive it and record what it claims.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use feldakte_client_sdk::{
    Client,
    view::{CaseId, Edit, LinkState},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::{
    ledger::Ledger,
    request::{Command, Request},
};
use crate::{
    Options,
    device::{Device, Opened},
    edits::JsonEdit,
    json,
    watch::{Items, News},
};

mod ledger;
mod request;

/// The protocol, as `tablet agent --help` prints it.
pub const HELP: &str = r#"Obey JSON commands on standard input, for scripts and tests.

One JSON object per line; one answer per command on standard output, in order, with the "id" of the command if it
had one. The tablet begins offline and ends at {"shutdown": true} or at the end of standard input.

  {"create": {"edits": [EDIT, ...]}}              -> {"saved": {"case", "changes": [HASH], "micros"}}
  {"edit": {"case": CASE, "edits": [EDIT, ...]}}  -> {"saved": {"case", "changes": [HASH], "micros"}}
  {"online": true|false}                          -> {"ok": true}
  {"network_changed": true}                       -> {"ok": true}
  {"view": CASE}                                  -> {"view": {...}}
  {"digest": CASE}                                -> {"digest": {"case", "sha256"}}
  {"status": true}                                -> {"status": {"link", "local", "sent", "durable", "all_safe", ...}}
  {"cases": true}                                 -> {"cases": [CASE, ...]}
  {"parked": CASE}                                -> {"parked": [...]}
  {"shutdown": true}                              -> {"ok": true}
  anything that fails                             -> {"error": TEXT}

EDIT is one of
  {"set":   {"part": PART, "name": NAME, "value": VALUE}}
  {"entry": {"part": PART, "kind": KIND, "fields": {NAME: VALUE, ...}}}
  {"note":  {"part": PART, "text": TEXT}}
VALUE is a JSON scalar, or {"text"}, {"integer"}, {"decimal"}, {"boolean"}, {"timestamp": milliseconds}.

Lines without being asked:
  {"ready": {"device", "unit", "tenant"}}                     first of all
  {"durable": [{"case", "part", "change", "position", "latency_us"}, ...]}   own changes, durable at the gateway;
                                    latency since "saved", null when it was saved by an earlier process
  {"link": "offline"|"connecting"|"connected"|"refused"}
  {"sync": {"case", "state", "local", "sent", "durable", "refused", ...}}
  {"changed": CASE}                                           its content has changed

"saved" is told after the commit on this device, "durable" after the gateway's; both survive a power cut."#;

/// Runs until told to shut down.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let tablet = Device::load(&options.data)?.open(options.transports()).await?;
    let mut agent = Agent { ledger: Arc::new(Ledger::default()), news: Arc::new(News::default()), tablet };
    agent.tablet.client.witness(agent.ledger.clone());
    agent.tablet.client.observe(agent.news.clone());
    let principal = &agent.tablet.principal;
    say(&json!({"ready": {
        "device": principal.device.to_string(), "unit": principal.unit.as_str(), "tenant": principal.tenant.as_str(),
    }}))?;
    let outcome = agent.obey(read_lines()).await;
    agent.tablet.client.shutdown().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

struct Agent {
    tablet: Opened,
    ledger: Arc<Ledger>,
    news: Arc<News>,
}

impl Agent {
    async fn obey(&mut self, mut lines: mpsc::Receiver<io::Result<String>>) -> anyhow::Result<()> {
        let mut stale = Stale::default();
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                line = lines.recv() => {
                    let Some(line) = line else { return Ok(()) };
                    let line = line.context("standard input cannot be read")?;
                    let (answer, ends) = self.answer(&line).await;
                    say(&answer)?;
                    if ends {
                        return Ok(());
                    }
                }
                () = self.ledger.wait() => {}
                () = self.news.wait() => stale.take(self.news.take())?,
                _ = tick.tick(), if !stale.is_empty() => self.tell(&mut stale).await?,
            }
            // After the answer: nothing is called durable before it was called saved.
            if let Some(durable) = self.ledger.take() {
                say(&json!({"durable": durable}))?;
            }
        }
    }

    async fn tell(&self, stale: &mut Stale) -> anyhow::Result<()> {
        for case in std::mem::take(&mut stale.changed) {
            say(&json!({"changed": case.to_string()}))?;
        }
        for case in std::mem::take(&mut stale.sync) {
            // A case that has gone has no state to tell.
            if let Ok(sync) = self.tablet.client.case_sync(case).await {
                let mut sync = json::sync(&sync);
                sync["case"] = json!(case.to_string());
                say(&json!({"sync": sync}))?;
            }
        }
        Ok(())
    }

    async fn answer(&self, line: &str) -> (Value, bool) {
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => return (json!({"error": format!("not a command: {error}")}), false),
        };
        let ends = matches!(request.command, Command::Shutdown(_));
        let mut answer = match self.execute(request.command).await {
            Ok(answer) => answer,
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        if let Some(id) = request.id {
            answer["id"] = json!(id);
        }
        (answer, ends)
    }

    async fn execute(&self, command: Command) -> anyhow::Result<Value> {
        let client = &self.tablet.client;
        Ok(match command {
            Command::Create { edits } => {
                let begun = Instant::now();
                let case = client.create_case(convert(client, edits)?).await?;
                self.saved(case, begun)
            }
            Command::Edit { case, edits } => {
                let (case, edits) = (case.parse()?, convert(client, edits)?);
                let begun = Instant::now();
                client.edit(case, edits).await?;
                self.saved(case, begun)
            }
            Command::Online(true) => {
                client.go_online();
                json!({"ok": true})
            }
            Command::Online(false) => {
                client.go_offline();
                json!({"ok": true})
            }
            Command::NetworkChanged(_) => {
                client.network_changed();
                json!({"ok": true})
            }
            Command::View(case) => {
                let view = client.read(case.parse()?).await?;
                json!({"view": json::case(&view)})
            }
            Command::Digest(case) => {
                let view = client.read(case.parse()?).await?;
                json!({"digest": {"case": view.case.to_string(), "sha256": json::digest(&view)}})
            }
            Command::Status(_) => json!({"status": json::status(&client.status().await?)}),
            Command::Cases(_) => {
                let cases = client.list().await?;
                json!({"cases": cases.iter().map(|summary| summary.case.to_string()).collect::<Vec<_>>()})
            }
            Command::Parked(case) => {
                let parked = client.parked(case.parse()?).await?;
                json!({"parked": parked.iter().map(json::parked).collect::<Vec<_>>()})
            }
            Command::Shutdown(_) => json!({"ok": true}),
        })
    }

    fn saved(&self, case: CaseId, begun: Instant) -> Value {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        json!({"saved": {"case": case.to_string(), "changes": self.ledger.take_saved(), "micros": micros}})
    }
}

fn convert(client: &Client, edits: Vec<JsonEdit>) -> anyhow::Result<Vec<Edit>> {
    edits.into_iter().map(|edit| edit.into_edit(|| client.new_entry_id())).collect()
}

/// What has changed and was not told yet; told at intervals, because a burst changes a case hundreds of times.
#[derive(Default)]
struct Stale {
    changed: BTreeSet<CaseId>,
    sync: BTreeSet<CaseId>,
}

impl Stale {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.sync.is_empty()
    }

    fn take(&mut self, items: Items) -> io::Result<()> {
        let Items { link, changed, sync, removed, loss } = items;
        if let Some(loss) = loss {
            say(&json!({"lost": crate::text::loss(&loss)}))?;
        }
        self.changed.extend(changed);
        self.sync.extend(sync);
        for case in removed {
            say(&json!({"case": case.to_string(), "removed": true}))?;
        }
        link.map_or(Ok(()), |link: LinkState| say(&json!({"link": json::link(link)})))
    }
}

/// Standard input has no async reader that ends with the process: a thread of its own reads it.
fn read_lines() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A harness that does not read stops the agent: nothing is dropped, nothing piles up.
fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// Commands read ahead of the one being obeyed.
const LINES: usize = 64;
/// How often the state of cases is told.
const TELL_EVERY: Duration = Duration::from_millis(50);
