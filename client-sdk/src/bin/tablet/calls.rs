//! `tablet call` and `tablet duty`: both sides of a teleconsultation by hand, without media.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use clap::{Args, ValueEnum};
use feldakte_client_sdk::{
    Client, SdkError,
    calls::{CallEvent, CallObserver, CallState},
    view::{
        CallId,
        call::{Category, Fact, Phase, Standing},
    },
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{Options, commands, output};

/// Asks for a tele-physician, and shows what becomes of it. Ctrl-C hangs up.
#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    which: commands::Which,
    /// How soon a physician is needed.
    #[arg(long, value_enum, default_value = "urgent")]
    category: HowSoon,
    /// Where this crew can be reached by telephone.
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HowSoon {
    /// A life is in danger.
    Emergency,
    /// The patient waits for a decision.
    Urgent,
    /// A question, a signature, an advice.
    Routine,
}

/// Takes calls at this desk until Ctrl-C, and shows them. The tablet must be a tele-physician's.
#[derive(Args)]
pub(crate) struct Duty {
    /// How many missions at once.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    capacity: u8,
    /// Take every call that rings, at once; without it they are shown only.
    #[arg(long)]
    take: bool,
}

/// Events since somebody looked.
#[derive(Default)]
struct News {
    events: Mutex<Vec<CallEvent>>,
    wake: Notify,
}

impl CallObserver for News {
    fn on_call(&self, event: CallEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.wake.notify_one();
    }
}

impl News {
    async fn next(&self) -> Vec<CallEvent> {
        self.wake.notified().await;
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until the call has ended.
pub(crate) async fn call(options: &Options, Call { which, category, phone }: Call) -> anyhow::Result<ExitCode> {
    let tablet = commands::open(options).await?;
    let case = tablet.case(which.case()).await?;
    let news = Arc::new(News::default());
    tablet.client.observe_calls(news.clone());
    let category = match category {
        HowSoon::Emergency => Category::Emergency,
        HowSoon::Urgent => Category::Urgent,
        HowSoon::Routine => Category::Routine,
    };
    let call = tablet.client.call(case, category, phone).await?;
    let (mut was_taken, mut shown) = (false, String::new());
    loop {
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                let _ = tablet.client.hang_up(call).await;
            }
            events = news.next() => {
                let is_refused = events.iter().find_map(|event| match event {
                    CallEvent::Answered(known, outcome) if *known == call => Some(format!("{outcome:?}")),
                    _ => None,
                });
                let Some(CallState { known, .. }) = find(&tablet.client, call).await? else {
                    let what = is_refused.unwrap_or_else(|| "over".to_owned());
                    output::print(&format!("{call}  {what}"))?;
                    break;
                };
                let advice = known.use_phone.as_ref().map(|advice| advice.phone.clone());
                was_taken |= known.fact.as_ref().is_some_and(|fact| fact.physician.is_some());
                let line = line(options, call, known.fact.as_ref());
                if line != shown {
                    output::print(&line)?;
                    shown = line;
                }
                if let Some(phone) = advice {
                    let number = phone.map_or_else(|| "dispatch".to_owned(), |phone| phone.as_str().to_owned());
                    output::print(&format!("{call}  take the telephone: {number}"))?;
                }
                if known.fact.as_ref().is_some_and(|fact| fact.phase == Phase::Ended) {
                    break;
                }
            }
        }
    }
    tablet.client.shutdown().await;
    Ok(if was_taken { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs until Ctrl-C.
pub(crate) async fn duty(options: &Options, Duty { capacity, take }: Duty) -> anyhow::Result<ExitCode> {
    let tablet = commands::open(options).await?;
    let news = Arc::new(News::default());
    tablet.client.observe_calls(news.clone());
    match tablet.client.on_duty(capacity).await {
        Err(SdkError::NotPermitted) => {
            anyhow::bail!("this tablet is no tele-physician's: make one with `tablet init --role tele_physician`")
        }
        on_duty => on_duty?,
    }
    if !options.json {
        output::print("on duty (Ctrl-C ends)")?;
    }
    loop {
        tokio::select! {
            interrupt = tokio::signal::ctrl_c() => {
                interrupt?;
                break;
            }
            events = news.next() => {
                for event in events {
                    match event {
                        CallEvent::Changed(call) => {
                            let Some(CallState { known, .. }) = find(&tablet.client, call).await? else { continue };
                            output::print(&line(options, call, known.fact.as_ref()))?;
                            let standing = known.fact.as_ref().map(|fact| fact.standing);
                            if take && matches!(standing, Some(Standing::Rung { .. })) {
                                // Somebody else may have been first.
                                if let Err(error) = tablet.client.accept(call).await {
                                    output::print(&format!("{call}  {error}"))?;
                                }
                            }
                        }
                        CallEvent::Gone(call, fact) => output::print(&line(options, call, Some(&fact)))?,
                        CallEvent::Answered(..) | CallEvent::Signal { .. } | CallEvent::Relay(_) => {}
                    }
                }
            }
        }
    }
    tablet.client.on_duty(0).await?;
    tablet.client.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

async fn find(client: &Client, call: CallId) -> anyhow::Result<Option<CallState>> {
    Ok(client.calls().await?.into_iter().find(|state| state.call == call))
}

fn line(options: &Options, call: CallId, fact: Option<&Fact>) -> String {
    if options.json {
        let json = json!({"call": call, "fact": fact});
        return json.to_string();
    }
    let Some(fact) = fact else { return format!("{call}  dialling") };
    let place = fact.place.as_ref().map(|place| {
        let centre = place.centre.as_ref().map_or_else(|| "nobody free".to_owned(), ToString::to_string);
        format!(", place {}, {centre}", place.position)
    });
    let standing = match fact.standing {
        Standing::Rung { .. } => " here".to_owned(),
        Standing::Leg(_) => String::new(),
        Standing::Out(out) => format!(", {out}"),
    };
    let end = fact.end.map(|end| format!(": {end}")).unwrap_or_default();
    format!("{call}  {}{standing}{end}{}", fact.phase, place.unwrap_or_default())
}
