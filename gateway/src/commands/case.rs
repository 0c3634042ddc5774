//! `feldakte case`: acts on whole cases.

use std::time::Duration;

use clap::{Args, Subcommand};
use feldakte_core::{
    audit::Reason,
    ids::{CaseId, DeviceId, Part, TenantId, UnitId},
};
use feldakte_gateway::{
    control::{
        audit::PartName,
        cases::{PendingShred, ReceiptEntry, Shred, ShredOutcome, Shreds},
        grants::{AccessName, Changed, GrantOrder},
    },
    environment::Environment,
};

use super::control::{Connect, duration, moment, scoped, table};

/// Acts on whole cases: closing one, giving access, making one unreadable for ever.
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
    /// Close a case: nobody writes it any more, and each role reads it as long as the policy says.
    ///
    /// What devices have written and not delivered by then is kept for a supervisor: `feldakte review list`.
    Close {
        /// The case's id.
        case: CaseId,
    },
    /// Give somebody access to a case, or end it with --end. For an operator with the role `supervisor`.
    Grant(Grant),
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

#[derive(Args)]
struct Grant {
    /// The case's id.
    case: CaseId,
    /// For a unit.
    #[arg(long, conflicts_with = "device", required_unless_present = "device")]
    unit: Option<UnitId>,
    /// For one device.
    #[arg(long)]
    device: Option<DeviceId>,
    /// The unit is of this other tenant: shares the case with it.
    #[arg(long, requires = "unit", conflicts_with = "device", value_name = "TENANT")]
    guest_of: Option<TenantId>,
    /// To this part; may be given several times [default: all].
    #[arg(long = "part", value_name = "operations|identity|clinical")]
    parts: Vec<PartName>,
    /// Read, or write as well. Never more than the role may.
    #[arg(long, default_value = "read", value_name = "read|write")]
    access: AccessName,
    /// For so long: 30m, 12h, 7d [default: until somebody ends it].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    valid: Option<Duration>,
    /// End it.
    #[arg(long, conflicts_with_all = ["access", "valid"])]
    end: bool,
}

impl Grant {
    fn order(self) -> (CaseId, GrantOrder) {
        let Self { case, unit, device, guest_of, parts, access, valid, end } = self;
        let parts = match parts.is_empty() {
            true => Part::ALL.into_iter().map(PartName).collect(),
            false => parts,
        };
        let now_ms = Environment::system().now_ms();
        let until_ms = valid.map(|valid| now_ms + i64::try_from(valid.as_millis()).unwrap_or(i64::MAX - now_ms));
        let access = (!end).then_some(access);
        (case, GrantOrder { unit, device, guest_of, parts, access, until_ms })
    }
}

impl Case {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { connect, act } = self;
        let client = connect.client()?;
        match act {
            Act::Close { case } => {
                let closed: Changed = client.post(&format!("/cases/{case}/close"), &()).await?;
                connect.print(&closed, |closed| format!("closed     {case}\ndocuments  {}", closed.documents))
            }
            Act::Grant(grant) => {
                let (case, order) = grant.order();
                let changed: Changed = client.post(&format!("/cases/{case}/grant"), &order).await?;
                connect.print(&changed, |changed| format!("changed    {case}\ndocuments  {}", changed.documents))
            }
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
