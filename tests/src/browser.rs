//! A headless Chromium with a fake camera and microphone, driven by `tests/browser/browser.mjs`.

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};

use crate::{browser::tools::Tools, harness::within, netns::namespace::Namespace};

pub mod tools;

/// A browser. Killed when dropped.
pub struct Browser {
    orders: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    number: AtomicU64,
    _child: Child,
}

/// What pages have said by `emit`, in their order.
pub type Said = mpsc::Receiver<(String, Value)>;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A certificate that a browser shows there.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// To whom: `https://HOST:PORT`.
    pub origin: &'a str,
    /// PEM.
    pub chain: &'a Path,
    /// PEM.
    pub key: &'a Path,
}

impl Browser {
    /// Starts one, in a network namespace if it is said.
    pub async fn start(tools: &Tools, namespace: Option<&Namespace>) -> (Self, Said) {
        let mut command = Command::new(&tools.node);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/browser.mjs");
        command.arg(script).env("NODE_MODULES_OF", &tools.modules).env("CHROMIUM", &tools.chromium);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = match namespace {
            Some(namespace) => namespace.enter(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = child.expect("node can be started");
        let orders = child.stdin.take().expect("stdin is piped");
        let lines = child.stdout.take().expect("stdout is piped");
        let (waiting, (ready, is_ready), (said, hears)) =
            (Waiting::default(), oneshot::channel(), mpsc::channel(SAID_MAX));
        tokio::spawn(listen(lines, waiting.clone(), ready, said));
        within("the browser is there", is_ready).await.expect("it starts; see standard error");
        (Self { orders: orders.into(), waiting, number: AtomicU64::new(0), _child: child }, hears)
    }

    /// Opens a page of that name: one of the gateway's, or, without an address, an ambulance's.
    pub async fn open(&self, page: &str, url: Option<&str>, certificate: Option<Certificate<'_>>) {
        let certificate = certificate
            .map(|Certificate { origin, chain, key }| json!({ "origin": origin, "certPath": chain, "keyPath": key }));
        self.order(json!({ "do": "open", "page": page, "url": url, "certificate": certificate })).await;
    }

    /// Runs a function of one argument in a page; what it gives.
    pub async fn run(&self, page: &str, code: &str, argument: Value) -> Value {
        self.order(json!({ "do": "run", "page": page, "code": code, "argument": argument })).await
    }

    /// # Panics
    /// When the browser fails at it.
    async fn order(&self, mut order: Value) -> Value {
        let id = self.number.fetch_add(1, Ordering::Relaxed);
        order["id"] = id.into();
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        let line = format!("{order}\n");
        self.orders.lock().await.write_all(line.as_bytes()).await.expect("the browser reads");
        let done = within("the browser answers", answered).await.expect("the browser lives");
        done.unwrap_or_else(|failed| panic!("{}: {failed}", order["do"]))
    }
}

async fn listen(lines: ChildStdout, waiting: Waiting, ready: oneshot::Sender<()>, said: mpsc::Sender<(String, Value)>) {
    let (mut lines, mut ready) = (BufReader::new(lines).lines(), Some(ready));
    while let Ok(Some(line)) = lines.next_line().await {
        let mut line: Value = serde_json::from_str(&line).expect("the script writes JSON");
        if let Some(id) = line["id"].as_u64() {
            let done = line["failed"].as_str().map_or(Ok(line["done"].clone()), |failed| Err(failed.to_owned()));
            let answer = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            answer.into_iter().for_each(|answer| drop(answer.send(done.clone())));
        } else if let Some(page) = line["page"].as_str() {
            let page = page.to_owned();
            // Nobody listens any more.
            let _ = said.send((page, line["said"].take())).await;
        } else if let Some(ready) = ready.take() {
            let _ = ready.send(());
        }
    }
    // Whoever waits hears that it is gone.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Candidates of several calls.
const SAID_MAX: usize = 1024;
