//! `feldakte review`: what waits for a supervisor.

use clap::{Args, Subcommand};
use feldakte_core::ids::TenantId;
use feldakte_gateway::control::reviews::{Decide, Decided, ReviewEntry};
use uuid::Uuid;

use super::control::{Connect, moment, scoped, table};

mod evidence;

/// What waits for a supervisor: late work of devices whose access had ended, and emergency access.
///
/// To be run by an operator with the role `supervisor`: the token is taken from FELDAKTE_OPERATOR_TOKEN or --token-file. Every
/// decision stands in the audit log under his name.
#[derive(Args)]
pub struct ReviewCommand {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// What waits, oldest first.
    List {
        /// Of one tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// One of them, with its content: of late work what each change does to the case, and who made it when; of emergency
    /// access what the user wrote. Whoever looks is recorded. Nothing is shown of a case that was shredded.
    Show {
        /// Its id.
        review: Uuid,
    },
    /// Take late work into its case, under the name of whoever wrote it; find emergency access justified.
    Accept {
        /// Its id.
        review: Uuid,
    },
    /// Leave late work out; find emergency access not justified.
    Reject {
        /// Its id.
        review: Uuid,
    },
}

impl ReviewCommand {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { connect, act } = self;
        let client = connect.client()?;
        let (review, accept) = match act {
            Act::List { tenant } => {
                let reviews: Vec<ReviewEntry> = client.get(&scoped("/reviews", tenant.as_ref())).await?;
                let heading = ["REVIEW", "KIND", "TENANT", "CASE", "WHAT", "BY", "AT"];
                return connect.print(&reviews, |reviews| table(heading, reviews.iter().map(row)));
            }
            Act::Show { review } => {
                let review: ReviewEntry = client.get(&format!("/reviews/{review}")).await?;
                return connect.print(&review, show);
            }
            Act::Accept { review } => (review, true),
            Act::Reject { review } => (review, false),
        };
        let decided: Decided = client.post(&format!("/reviews/{review}/decide"), &Decide { accept }).await?;
        connect.print(&decided, |decided| outcome(accept, decided))
    }
}

fn outcome(accepted: bool, Decided { taken, refused }: &Decided) -> String {
    match (accepted, refused) {
        (false, _) => "rejected".to_owned(),
        (true, 0) => format!("accepted  {taken} change(s) taken into the case"),
        (true, refused) => {
            format!(
                "waits on   {taken} change(s) taken; {refused} stand on changes that are not there: accept those first"
            )
        }
    }
}

fn what(ReviewEntry { part, changes, reason, .. }: &ReviewEntry) -> String {
    match (part, changes, reason) {
        (Some(part), Some(changes), _) => format!("{changes} change(s), {part}"),
        (.., Some(reason)) => reason.clone(),
        _ => "-".to_owned(),
    }
}

fn row(review: &ReviewEntry) -> [String; 7] {
    let ReviewEntry { id, kind, tenant, case, unit, role, at_ms, .. } = review;
    let by = format!("{unit}, {role}");
    [id.to_string(), kind.clone(), tenant.to_string(), case.to_string(), what(review), by, moment(*at_ms)]
}

fn show(review: &ReviewEntry) -> String {
    let ReviewEntry {
        id, kind, tenant, case, until_ms, device, unit, role, user, at_ms, text, evidence, decided, ..
    } = review;
    let mut shown = format!(
        "review   {id}\nkind     {kind}\ncase     {case} of {tenant}\nwhat     {}\ndevice   {device}, {unit}, {role}\nat       {}\n",
        what(review),
        moment(*at_ms),
    );
    if let Some(user) = user {
        shown += &format!("user     {user}\n");
    }
    if let Some(until_ms) = until_ms {
        shown += &format!("until    {}\n", moment(*until_ms));
    }
    if let Some(text) = text {
        shown += &format!("text     {}\n", text.replace(char::is_control, " "));
    }
    if let Some(decided) = decided {
        shown += &format!("decided  {} by {}, {}\n", decided.verdict, decided.by, moment(decided.at_ms));
    }
    match (evidence, text) {
        (Some(evidence), _) => shown += &evidence::show(evidence),
        (None, None) => shown += "content  destroyed: the case was shredded\n",
        (None, Some(_)) => {}
    }
    shown
}
