//! What this tablet holds for somebody else, in an emergency.

use std::process::ExitCode;

use clap::Args;
use feldakte_client_sdk::view::{BreakGlassReason, CaseId};
use serde_json::json;

use crate::{Options, commands, device, json, output, text};

/// Show, without a network, a case that is on this tablet for somebody else.
#[derive(Args)]
#[command(
    after_help = "Reasons: life_in_danger, taken_over, wrongly_assigned, other. Without CASE it lists what could be shown, \
                  by id and beginning. Who asked, when and why is kept on this tablet until the gateway knows; a \
                  supervisor looks at each."
)]
pub struct Emergency {
    /// Case id, or as much of its beginning or end as is unique.
    #[arg(value_name = "CASE", requires_all = ["reason", "because"])]
    case: Option<String>,
    /// Why.
    #[arg(long, value_parser = reason)]
    reason: Option<BreakGlassReason>,
    /// What the supervisor reads.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

fn reason(name: &str) -> Result<BreakGlassReason, String> {
    let known = BreakGlassReason::ALL;
    let found = known.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason);
    found.ok_or_else(|| format!("one of {}", known.map(|(_, name)| name).join(", ")))
}

impl Emergency {
    /// `tablet emergency`.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let Emergency { case, reason, because } = self;
        let tablet = commands::open(options).await?;
        let hidden = tablet.client.hidden_cases().await?;
        let (Some(wanted), Some(reason), Some(because)) = (case, reason, because) else {
            tablet.client.shutdown().await;
            return list(options, &hidden);
        };
        let case = device::one_of(&hidden, &wanted, "tablet emergency")?;
        tablet.client.break_glass_offline(case, reason, because).await?;
        let view = tablet.client.read(case).await?;
        tablet.client.shutdown().await;
        match options.json {
            true => output::print_json(&json::case(&view))?,
            false => output::print(&text::case(&view, tablet.principal.device))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(options: &Options, hidden: &[CaseId]) -> anyhow::Result<ExitCode> {
    let began = |case: &CaseId| case.0.get_timestamp().map(|at| at.to_unix().0.cast_signed() * 1000);
    if options.json {
        let cases = hidden.iter().map(|case| json!({"case": case.to_string(), "began_ms": began(case)}));
        output::print_json(&json!(cases.collect::<Vec<_>>()))?;
    } else if hidden.is_empty() {
        output::print("this tablet holds no case for anybody else")?;
    }
    for case in hidden.iter().filter(|_| !options.json) {
        output::print(&format!("{case}  began {}", began(case).map_or_else(|| "?".to_owned(), text::time)))?;
    }
    Ok(ExitCode::SUCCESS)
}
