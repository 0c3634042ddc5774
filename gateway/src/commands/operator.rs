//! `feldakte operator`: who may run the gateway's other commands.

use clap::{Args, Subcommand};
use feldakte_core::ids::{OperatorName, TenantId};
use feldakte_gateway::{
    control::operators::{AddedOperator, OperatorEntry, RemovedOperator, RoleName},
    store::registry::OperatorRole,
};

use super::control::{Connect, table};

/// Who may run the gateway's other commands.
///
/// To be run as the user the gateway runs as, or as root. Each operator has a token, which the other commands take from
/// FELDAKTE_OPERATOR_TOKEN or --token-file, and at least one role: `operator` invites and revokes devices, closes and
/// shreds cases; `auditor` reads the audit log; `supervisor` decides about evidence and reviews emergency access.
/// Everything an operator does stands in the audit log under his name.
#[derive(Args)]
pub struct Operator {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Name an operator and print his token, this once.
    Add {
        /// His handle in the audit log, such as `anna` or a staff number.
        name: OperatorName,
        /// What he may do; may be repeated.
        #[arg(long = "role", required = true, value_name = "operator|auditor|supervisor")]
        roles: Vec<OperatorRole>,
        /// The one tenant whose affairs he may touch; all when missing.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Take an operator's access away; his token is worth nothing at once.
    Remove {
        /// His handle.
        name: OperatorName,
    },
    /// Who there is.
    List,
}

impl Operator {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let (connect, client) = (&self.connect, self.connect.client_of_owner());
        match self.act {
            Act::Add { name, roles, tenant } => {
                let entry = OperatorEntry { name, roles: roles.into_iter().map(RoleName).collect(), tenant };
                let added: AddedOperator = client.post("/operators", &entry).await?;
                connect.print(&added, |added| format!("operator  {}\ntoken     {}", added.name, added.token))
            }
            Act::Remove { name } => {
                let removed: RemovedOperator = client.delete(&format!("/operators/{name}")).await?;
                connect.print(&removed, |removed| format!("removed  {}", removed.name))
            }
            Act::List => {
                let operators: Vec<OperatorEntry> = client.get("/operators").await?;
                connect.print(&operators, |operators| table(["NAME", "ROLES", "TENANT"], operators.iter().map(row)))
            }
        }
    }
}

fn row(operator: &OperatorEntry) -> [String; 3] {
    let roles: Vec<&str> = operator.roles.iter().map(|RoleName(role)| role.name()).collect();
    let tenant = operator.tenant.as_ref().map_or("(all)".to_owned(), TenantId::to_string);
    [operator.name.to_string(), roles.join(","), tenant]
}
