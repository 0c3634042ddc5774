//! `tablet watch`: prints what changes, as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use feldakte_client_sdk::{
    SdkError,
    view::{CaseId, CaseView, DeviceId, Event, LinkState, Observer, Value},
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{Options, commands, device::Opened, json, output, text};

/// What has happened since somebody looked; bounded by the number of cases.
#[derive(Default)]
pub struct News {
    items: Mutex<Items>,
    wake: Notify,
}

/// News, coalesced.
#[derive(Default)]
pub struct Items {
    /// The link's newest state.
    pub link: Option<LinkState>,
    /// Cases with new content.
    pub changed: BTreeSet<CaseId>,
    /// Cases that are more or less safe than before.
    pub sync: BTreeSet<CaseId>,
    /// Cases whose content was destroyed.
    pub removed: BTreeSet<CaseId>,
    /// What the device has lost as a whole.
    pub loss: Option<Event>,
}

impl News {
    /// Waits until there are some.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Takes what there is.
    pub fn take(&self) -> Items {
        std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for News {
    fn on_event(&self, event: Event) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Link(state) => items.link = Some(state),
            Event::CaseChanged(case, _) => items.changed.extend([case]),
            Event::SyncChanged(case) => items.sync.extend([case]),
            Event::CaseRemoved(case) => items.removed.extend([case]),
            Event::ContentExpired | Event::Wiped => items.loss = Some(event),
            // One who uses the command line knows who he is.
            Event::UserChanged | Event::SignInEnded => {}
        }
        self.wake.notify_one();
    }
}

/// What `watch` remembers of each case, to print what is new.
#[derive(Default)]
struct Seen {
    cases: BTreeMap<CaseId, BTreeMap<String, String>>,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let tablet = commands::open(options).await?;
    let news = Arc::new(News::default());
    tablet.client.observe(news.clone());
    let mut seen = Seen::default();
    for summary in tablet.client.list().await? {
        seen.remember(&tablet.client.read(summary.case).await?, tablet.principal.device);
    }
    if !options.json {
        let link = tablet.client.status().await?.link;
        output::print(&format!("watching; link {} (Ctrl-C ends)", json::link(link)))?;
    }
    loop {
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                break;
            }
            () = news.wait() => report(options, &tablet, &mut seen, news.take()).await?,
        }
    }
    tablet.client.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn report(options: &Options, tablet: &Opened, seen: &mut Seen, items: Items) -> anyhow::Result<()> {
    let Items { link, changed, sync, removed, loss } = items;
    if let Some(loss) = loss {
        match options.json {
            true => output::print(&json!({"lost": text::loss(&loss)}).to_string())?,
            false => output::print(text::loss(&loss))?,
        }
        if loss == Event::Wiped {
            return Ok(());
        }
    }
    if let Some(link) = link {
        match options.json {
            true => output::print(&json!({"link": json::link(link)}).to_string())?,
            false => output::print(&format!("link {}", json::link(link)))?,
        }
    }
    for case in removed {
        match options.json {
            true => output::print(&json!({"case": case.to_string(), "removed": true}).to_string())?,
            false => output::print(&format!("{case}  removed: access has ended"))?,
        }
    }
    for case in changed {
        let view = match tablet.client.read(case).await {
            Err(SdkError::UnknownCase) => continue,
            view => view?,
        };
        for (place, content) in seen.remember(&view, tablet.principal.device) {
            match options.json {
                true => {
                    output::print(&json!({"case": case.to_string(), "place": place, "content": content}).to_string())?
                }
                false => output::print(&format!("{case}  {place}: {content}"))?,
            }
        }
    }
    for case in sync {
        let sync = match tablet.client.case_sync(case).await {
            Err(SdkError::UnknownCase) => continue,
            sync => sync?,
        };
        match options.json {
            true => output::print(&json!({"case": case.to_string(), "sync": json::sync(&sync)}).to_string())?,
            false => output::print(&format!("{case}  {}", text::safety(&sync)))?,
        }
    }
    Ok(())
}

impl Seen {
    /// Remembers the case; gives what is new or different.
    fn remember(&mut self, view: &CaseView, me: DeviceId) -> Vec<(String, String)> {
        let now = flatten(view, me);
        let before = self.cases.entry(view.case).or_default();
        let new: Vec<_> =
            now.iter().filter(|(place, content)| before.get(*place) != Some(content)).map(owned).collect();
        *before = now;
        new
    }
}

fn owned((place, content): (&String, &String)) -> (String, String) {
    (place.clone(), content.clone())
}

/// One line per fact, entry and narrative.
fn flatten(view: &CaseView, me: DeviceId) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for document in &view.documents {
        let part = document.part.name();
        for fact in &document.facts {
            let claim = |claim: &feldakte_client_sdk::view::Claim| {
                format!("{} ({})", text::value(&claim.value), text::who(&claim.provenance, me))
            };
            let values: Vec<String> = fact.values.iter().map(claim).collect();
            let mark = if values.len() > 1 { "CONFLICT " } else { "" };
            lines.insert(format!("{part}.{}", output::plain(&fact.name)), format!("{mark}{}", values.join(" | ")));
        }
        for (index, entry) in document.entries.iter().enumerate() {
            let field = |(name, value): &(String, Value)| format!("{}={}", output::plain(name), text::value(value));
            let fields: Vec<String> = entry.fields.iter().map(field).collect();
            let (kind, who) = (output::plain(&entry.kind), text::who(&entry.provenance, me));
            lines.insert(format!("{part} entry {}", index + 1), format!("{kind} {} ({who})", fields.join(" ")));
        }
        if !document.narrative.is_empty() {
            let last = document.narrative.trim_end().lines().last().map(output::plain).unwrap_or_default();
            let length = document.narrative.chars().count();
            lines.insert(format!("{part} narrative"), format!("… {last} ({length} characters)"));
        }
    }
    lines
}
