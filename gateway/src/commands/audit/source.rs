//! Where `show` and `export` get rows from: the running gateway, or a file.

use std::path::Path;

use anyhow::Context;
use feldakte_core::audit::{Chain, Row};
use feldakte_gateway::{
    audit::line::chain_of,
    control::{
        audit::{AuditPage, AuditQuery, Chains},
        client::Client,
    },
    store::audit::sqlite::reader::AuditReader,
};

use crate::commands::control::Connect;

/// A source of rows.
pub enum Source {
    Gateway(Client),
    File(AuditReader),
}

/// Rows that fit, and how far they were looked for.
pub struct Page {
    pub rows: Vec<Row>,
    pub last: u64,
    pub is_end: bool,
}

impl Source {
    /// The file when there is one, else the gateway.
    pub async fn open(path: Option<&Path>, connect: &Connect) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Source::Gateway(connect.client()?)) };
        let reader = AuditReader::open(path).await.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Source::File(reader))
    }

    /// All chains that may be seen.
    pub async fn chains(&mut self) -> anyhow::Result<Vec<Chain>> {
        match self {
            Source::File(reader) => Ok(reader.chains().await?),
            Source::Gateway(client) => {
                let names: Chains = client.get("/audit/chains").await?;
                let chain = |name: Option<String>| Chain::from_name(name.as_deref().unwrap_or_default());
                Ok(names.into_iter().map(chain).collect::<Result<_, _>>()?)
            }
        }
    }

    /// The rows of a chain after those that were seen.
    pub async fn page(&mut self, query: &AuditQuery) -> anyhow::Result<Page> {
        match self {
            Source::File(reader) => {
                let chain = chain_of(query.tenant.clone());
                let rows = reader.rows(&chain, query.after, PAGE_ROWS).await?;
                let (last, is_end) = (rows.last().map_or(query.after, |row| row.seq), rows.len() < PAGE_ROWS);
                let filter = query.filter();
                let rows = rows.into_iter().filter(|row| filter.wants(row)).collect();
                Ok(Page { rows, last, is_end })
            }
            Source::Gateway(client) => {
                let AuditPage { rows, last, is_end } = client.post("/audit/rows", query).await?;
                let rows: Option<Vec<Row>> = rows.iter().map(|row| row.to_row()).collect();
                let rows = rows.context("the gateway's answer cannot be read: is it of another release?")?;
                Ok(Page { rows, last, is_end })
            }
        }
    }
}

const PAGE_ROWS: usize = 4096;
