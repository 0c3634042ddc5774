//! Who uses the tablet: PINs come from the environment or from standard input, never from the command line, which other
//! programs can read.

use std::{
    io::{self, BufRead},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::Args;
use feldakte_client_sdk::{Client, SdkError, SignIn, view::DeviceUser};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{Options, device::Device, output};

/// Make a user who signs in with a PIN, or change his PIN.
#[derive(Args)]
#[command(
    after_help = "The new PIN is read from FELDAKTE_NEW_PIN, the old one, if he has one, from FELDAKTE_PIN; without \
                        them from standard input: the new one on its first line, the old one on its second."
)]
pub struct SetPin {
    /// His login, as in `m.weber`.
    #[arg(value_name = "LOGIN")]
    login: String,
}

/// Use the tablet as somebody, by his PIN.
#[derive(Args)]
#[command(after_help = "The PIN is read from FELDAKTE_PIN, without it from standard input.")]
pub struct WithPin {
    /// His login, as in `m.weber`.
    #[arg(value_name = "LOGIN")]
    login: String,
}

impl SetPin {
    /// `tablet set-pin`.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let new = secret("FELDAKTE_NEW_PIN")?;
        ensure!(!new.is_empty(), "there is no new PIN in FELDAKTE_NEW_PIN or on standard input");
        let old = secret("FELDAKTE_PIN")?;
        let client = Device::load(&options.data)?.open(options.transports()).await?.client;
        let old = (!old.is_empty()).then(|| old.to_string());
        let user = client.set_pin(self.login, old, new.to_string()).await;
        client.shutdown().await;
        output::print(&format!("{} signs in with this PIN from here on", user?))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl WithPin {
    /// `tablet sign-in`.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<ExitCode> {
        let pin = secret("FELDAKTE_PIN")?;
        let client = Device::load(&options.data)?.open(options.transports()).await?.client;
        let user = sign_in(&client, &self.login, &pin).await;
        client.shutdown().await;
        output::print(&format!("{} uses this tablet", user?))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The wait after wrong PINs is time that a program runs, and this one runs for nothing else.
async fn sign_in(client: &Client, login: &str, pin: &str) -> anyhow::Result<String> {
    let sign_in = || SignIn::Pin { login: login.to_owned(), pin: pin.to_owned() };
    let user = match client.sign_in(sign_in()).await {
        Err(SdkError::PinLocked { wait }) => {
            eprintln!("tablet: too many wrong PINs: waiting for {} s", wait.as_secs());
            tokio::time::sleep(wait).await;
            client.sign_in(sign_in()).await
        }
        outcome => outcome,
    };
    Ok(user?.to_string())
}

/// `tablet sign-out`.
pub(crate) async fn sign_out(options: &Options) -> anyhow::Result<ExitCode> {
    let client = Device::load(&options.data)?.open(options.transports()).await?.client;
    let outcome = client.sign_out().await;
    client.shutdown().await;
    outcome?;
    output::print("nobody uses this tablet")?;
    Ok(ExitCode::SUCCESS)
}

/// `tablet users`.
pub(crate) async fn list(options: &Options) -> anyhow::Result<ExitCode> {
    let client = Device::load(&options.data)?.open(options.transports()).await?.client;
    let users = client.users().await;
    client.shutdown().await;
    let users = users?;
    if options.json {
        let to_json = |DeviceUser { user, is_active, has_pin, unsent }: &DeviceUser| json!({"user": user.to_string(), "active": is_active, "pin": has_pin, "unsent": unsent});
        output::print_json(&json!(users.iter().map(to_json).collect::<Vec<_>>()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if users.is_empty() {
        output::print("nobody has signed in on this tablet; `tablet set-pin LOGIN` makes a user")?;
    }
    for DeviceUser { user, is_active, has_pin, unsent } in users {
        let (active, means) = (if is_active { "*" } else { " " }, if has_pin { "PIN" } else { "token" });
        output::print(&format!("{active} {user}  {means}, {unsent} waiting"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// From the environment, or else the next line of standard input.
fn secret(variable: &str) -> anyhow::Result<Zeroizing<String>> {
    if let Ok(secret) = std::env::var(variable) {
        return Ok(Zeroizing::new(secret));
    }
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).context("standard input cannot be read")?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
