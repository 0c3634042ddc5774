//! `feldakte audit show` and `feldakte audit export`.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use feldakte_core::{
    audit::{Act, Chain, Row},
    ids::{CaseId, DeviceId, OperatorName, TenantId, UserId},
};
use feldakte_gateway::{
    audit::line::{Line, chain_of},
    control::audit::{AuditQuery, PartName, Purpose, RawRow},
};

use super::source::Source;
use crate::commands::control::{Connect, moment};

/// Show rows, oldest first, one chain after the other. --json prints one object per line.
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    what: What,
    /// Go on with what is added, until it is interrupted.
    #[arg(long, short)]
    follow: bool,
}

/// Write all rows to a file as JSON lines, with the bytes that are hashed: anybody can prove them again.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    what: What,
    /// Where they go; must not exist.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// From where, and which.
#[derive(Args)]
struct What {
    /// Read this file, or copy, instead of asking the gateway.
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// This tenant's chain alone.
    #[arg(long)]
    tenant: Option<TenantId>,
    /// From then on: milliseconds since 1970, or a date such as 2026-11-25 or 2026-11-25T08:30 (UTC).
    #[arg(long, value_parser = time::parse, value_name = "TIME")]
    from: Option<i64>,
    /// Before then.
    #[arg(long, value_parser = time::parse, value_name = "TIME")]
    until: Option<i64>,
    /// By this device, or about it.
    #[arg(long)]
    device: Option<DeviceId>,
    /// By this user, or about him.
    #[arg(long)]
    user: Option<UserId>,
    /// About this case.
    #[arg(long)]
    case: Option<CaseId>,
    /// About this document of the case.
    #[arg(long, requires = "case", value_name = "operations|identity|clinical")]
    part: Option<PartName>,
    /// Of this kind, such as read, wrote, grant_began.
    #[arg(long)]
    act: Option<Act>,
    /// By this operator, or about him.
    #[arg(long)]
    operator: Option<OperatorName>,
}

mod time;

impl Show {
    /// Does it.
    pub async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let mut source = Source::open(self.what.path.as_deref(), connect).await?;
        let mut queries = self.what.queries(&mut source, Purpose::Show).await?;
        let mut out = BufWriter::new(io::stdout().lock());
        loop {
            for query in &mut queries {
                let print = |chain: &Chain, row: &Row| match connect.json {
                    true => writeln!(out, "{}", json_of(row)),
                    false => writeln!(out, "{}", text_of(chain, row)),
                };
                if let Err(error) = each_row(&mut source, query, print).await {
                    return unless_nobody_reads(error);
                }
            }
            out.flush()?;
            if !self.follow {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Export {
    /// Does it.
    pub async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let mut source = Source::open(self.what.path.as_deref(), connect).await?;
        let queries = self.what.queries(&mut source, Purpose::Export).await?;
        let file = std::fs::File::create_new(&self.to);
        let file = file.with_context(|| format!("cannot make {}", self.to.display()))?;
        let (mut out, mut rows) = (BufWriter::new(file), 0_u64);
        for mut query in queries {
            let write = |_: &Chain, row: &Row| {
                rows += 1;
                writeln!(out, "{}", exported(row))
            };
            each_row(&mut source, &mut query, write).await?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        println!("exported  {rows} rows to {}", self.to.display());
        Ok(())
    }
}

impl What {
    /// One for each chain.
    async fn queries(&self, source: &mut Source, purpose: Purpose) -> anyhow::Result<Vec<AuditQuery>> {
        let Self { path: _, tenant, from, until, device, user, case, part, act, operator } = self;
        let tenants = match tenant {
            Some(tenant) => vec![Some(tenant.clone())],
            None => source.chains().await?.into_iter().map(tenant_of).collect(),
        };
        let query = |tenant| AuditQuery {
            tenant,
            after: 0,
            purpose,
            from_ms: *from,
            until_ms: *until,
            device: *device,
            user: *user,
            case: *case,
            part: *part,
            act: *act,
            operator: operator.clone(),
        };
        Ok(tenants.into_iter().map(query).collect())
    }
}

/// Calls `each` with all rows that have not been seen; the query remembers how far they were.
async fn each_row(
    source: &mut Source,
    query: &mut AuditQuery,
    mut each: impl FnMut(&Chain, &Row) -> io::Result<()>,
) -> anyhow::Result<()> {
    let chain = chain_of(query.tenant.clone());
    loop {
        let page = source.page(query).await?;
        page.rows.iter().try_for_each(|row| each(&chain, row))?;
        query.after = page.last;
        if page.is_end {
            return Ok(());
        }
    }
}

/// `| head` has seen enough, which is no failure.
fn unless_nobody_reads(error: anyhow::Error) -> anyhow::Result<()> {
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    }
}

fn tenant_of(chain: Chain) -> Option<TenantId> {
    match chain {
        Chain::Gateway => None,
        Chain::Tenant(tenant) => Some(tenant),
    }
}

fn json_of(row: &Row) -> serde_json::Value {
    match Line::of(row) {
        Ok(line) => serde_json::to_value(line).expect("a line is plain data"),
        Err(error) => serde_json::json!({ "row": row.seq, "error": error.to_string() }),
    }
}

fn exported(row: &Row) -> serde_json::Value {
    let mut line = json_of(row);
    let raw = serde_json::to_value(RawRow::from(row)).expect("a row is plain data");
    if let (Some(line), serde_json::Value::Object(raw)) = (line.as_object_mut(), raw) {
        line.extend(raw);
    }
    line
}

fn text_of(chain: &Chain, row: &Row) -> String {
    let line = match Line::of(row) {
        Ok(line) => line,
        Err(error) => return format!("{chain} {:>8}  {error}", row.seq),
    };
    let Line {
        tenant: _,
        row,
        time_ms,
        who,
        device,
        user,
        operator,
        act,
        count,
        reason,
        about,
        first,
        last,
        claimed_ms,
    } = line;
    let name = device.or(operator).unwrap_or(who);
    let mut text = format!("{chain} {row:>8}  {}  {name}  {act}", moment(time_ms));
    let span =
        first.zip(last).map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    let details = [
        ("user", user),
        ("case", about.case),
        ("part", about.part),
        ("device", about.device),
        ("unit", about.unit),
        ("of_user", about.user),
        ("tenant", about.tenant),
        ("operator", about.operator),
        ("reason", reason),
        ("count", (count != 1).then(|| count.to_string())),
        ("at", span),
        ("claimed", claimed_ms.map(moment)),
        ("session", about.session),
    ];
    for (name, value) in details {
        if let Some(value) = value {
            text.push_str(&format!("  {name}={value}"));
        }
    }
    text
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);
