//! `feldakte case`: acts on whole cases.

use clap::{Args, Subcommand};
use feldakte_core::{
    audit::Reason,
    ids::{CaseId, TenantId},
};
use feldakte_gateway::control::cases::{PendingShred, ReceiptEntry, Shred, ShredOutcome, Shreds};

use super::control::{Connect, moment, scoped, table};

/// Acts on whole cases: making one unreadable for ever.
///
/// To be run by an operator with the role `operator`: the token is taken from FELDAKTE_OPERATOR_TOKEN or --token-file. An
/// operator who is bound to a tenant sees and touches its cases alone.
#[derive(Args)]
pub struct Case {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Destroy the key of a case. It takes two operators and cannot be undone.
    ///
    /// The first asks, and a different one runs the same command with --approve within three days. Then nobody has access to
    /// the case any more, its key is destroyed and the tenant's key is renewed: neither the database nor a backup of it opens
    /// the case again. Copies of the tenant's old key that you keep yourself have to be destroyed by you. A receipt stays.
    Shred {
        /// The case's id.
        case: CaseId,
        /// Why; both operators have to say the same.
        #[arg(long, value_name = "retention_over|person_asked")]
        reason: Reason,
        /// Agree to what another operator has asked for.
        #[arg(long)]
        approve: bool,
    },
    /// Cases that were shredded, and those that await a second operator.
    Shreds {
        /// Of one tenant.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

impl Case {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { connect, act } = self;
        let client = connect.client()?;
        match act {
            Act::Shred { case, reason, approve } => {
                let path = format!("/cases/{case}/shred");
                let outcome: ShredOutcome = client.post(&path, &Shred { reason, approve }).await?;
                connect.print(&outcome, |outcome| shown(case, outcome))
            }
            Act::Shreds { tenant } => {
                let shreds: Shreds = client.get(&scoped("/cases/shreds", tenant.as_ref())).await?;
                connect.print(&shreds, listed)
            }
        }
    }
}

fn shown(case: CaseId, outcome: &ShredOutcome) -> String {
    match outcome {
        ShredOutcome::Requested { until_ms } => format!(
            "requested  {case}\nuntil      {}\nA different operator has to run the same command with --approve.",
            moment(*until_ms)
        ),
        ShredOutcome::Shredded { receipt, not_rotated } => {
            let mut text = format!(
                "shredded   {case}\nat         {}\nby         {}, {}\n",
                moment(receipt.at_ms),
                receipt.requested_by,
                receipt.approved_by
            );
            match not_rotated {
                None => {
                    text +=
                        "Destroy the copies of the tenant's old key that you keep, and back up keyring and key anew."
                }
                Some(why) => {
                    text += &format!(
                        "The tenant's key was not renewed: {why}.\nUntil `feldakte keys rotate --tenant {}` has done it, old \
                         copies of the keyring still open the case.",
                        receipt.tenant
                    );
                }
            }
            text
        }
    }
}

fn listed(Shreds { pending, receipts }: &Shreds) -> String {
    let waiting = |pending: &PendingShred| {
        let PendingShred { case, tenant, requested_by, reason, until_ms } = pending;
        let until = format!("awaits approval until {}", moment(*until_ms));
        [case.clone(), tenant.to_string(), reason.clone(), requested_by.to_string(), until]
    };
    let done = |receipt: &ReceiptEntry| {
        let ReceiptEntry { case, tenant, requested_by, approved_by, reason, at_ms } = receipt;
        let by = format!("{requested_by}, {approved_by}");
        [case.to_string(), tenant.to_string(), reason.to_string(), by, format!("shredded {}", moment(*at_ms))]
    };
    table(["CASE", "TENANT", "REASON", "BY", "STATE"], pending.iter().map(waiting).chain(receipts.iter().map(done)))
}
