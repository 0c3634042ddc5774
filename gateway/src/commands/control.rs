//! What all commands have in common that ask a running gateway: where it is, who asks, and how answers are printed.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use feldakte_core::ids::TenantId;
use feldakte_gateway::{
    config::parse_duration,
    control::{client::Client, operator::Token},
};
use serde::Serialize;
use time::OffsetDateTime;

/// Where the gateway is and who asks.
#[derive(Args, Clone)]
pub struct Connect {
    /// The control socket of the running gateway ([control] socket in its configuration).
    #[arg(long, global = true, env = "FELDAKTE_SOCKET", default_value = "feldakte.sock", value_name = "FILE")]
    socket: PathBuf,
    /// A file with the operator's token; else FELDAKTE_OPERATOR_TOKEN in the environment is taken.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connect {
    /// A client that asks in the operator's name.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(&self.socket, self.token()?))
    }

    /// A client that asks as the user it runs as.
    pub fn client_of_owner(&self) -> Client {
        Client::new(&self.socket, None)
    }

    /// The answer as JSON when that is wanted, else as `text` puts it.
    pub fn print<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(answer)?),
            false => println!("{}", text(answer).trim_end()),
        }
        Ok(())
    }

    fn token(&self) -> anyhow::Result<Option<Token>> {
        let text = match &self.token_file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read the token in {}", path.display()))?
            }
            // Not an argument of its own: those stand in the list of processes.
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) => text,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(text.parse().context("the operator's token cannot be used")?))
    }
}

/// The path of a list, of one tenant when that is asked for.
pub fn scoped(path: &str, tenant: Option<&TenantId>) -> String {
    tenant.map_or_else(|| path.to_owned(), |tenant| format!("{path}?tenant={tenant}"))
}

/// A time as people write it.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    parse_duration(text).ok_or_else(|| anyhow!("must be a time such as 30m, 24h or 7d"))
}

/// Rows under a heading, in columns as wide as their widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A moment for people: UTC, to the minute.
pub fn moment(ms: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)) else { return format!("{ms} ms") };
    let (year, month, day) = at.to_calendar_date();
    format!("{year:04}-{:02}-{day:02} {:02}:{:02}Z", u8::from(month), at.hour(), at.minute())
}

const TOKEN_VARIABLE: &str = "FELDAKTE_OPERATOR_TOKEN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_dates() {
        assert_eq!(moment(0), "1970-01-01 00:00Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00Z");
        assert_eq!(moment(1_800_000_000_000), "2027-01-15 08:00Z");
        assert_eq!(moment(-60_000), "1969-12-31 23:59Z");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["rtw-1".to_owned(), "x".to_owned()]];
        assert_eq!(table(["UNIT", "LABEL"], rows), "UNIT   LABEL\nrtw-1  x");
    }
}
