//! `tablet`: the SDK by hand. Two terminals and a gateway are enough to try everything, offline too.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use feldakte_client_sdk::Transports;

mod agent;
mod calls;
mod commands;
mod device;
mod edits;
mod emergency;
mod enrolment;
mod files;
mod init;
mod json;
mod output;
mod text;
mod users;
mod wait;
mod watch;

/// A field tablet on the command line: documents cases offline first and keeps them in step with a gateway.
///
/// Everything is saved in an encrypted store in --data before a command answers. Online commands then connect, send
/// what is unsent, and wait a moment; what they print is the truth: "saved on device" survives a power cut of this
/// machine, "durable" also survives the loss of it.
#[derive(Parser)]
#[command(name = "tablet", version, propagate_version = true, after_long_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args)]
struct Options {
    /// The tablet's directory: identity, keys, encrypted store.
    #[arg(long, global = true, value_name = "DIR", env = "FELDAKTE_TABLET", default_value = "tablet")]
    data: PathBuf,
    /// Do not connect: work on what is on this device, send it another time.
    #[arg(long, global = true)]
    offline: bool,
    /// How long an online command waits for the gateway, in seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    wait: Duration,
    /// What carries the session; without it, whichever works.
    #[arg(long, global = true, value_enum, env = "FELDAKTE_TRANSPORT")]
    transport: Option<Transport>,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// QUIC over UDP.
    Quic,
    /// gRPC over HTTP/2 and TCP.
    Grpc,
}

impl Options {
    fn transports(&self) -> Transports {
        match self.transport {
            Some(Transport::Quic) => Transports::Quic,
            Some(Transport::Grpc) => Transports::Grpc,
            None => Transports::Both,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Make this directory a tablet: key, certificate, encrypted store.
    Init(init::Init),
    /// Take up the certificate that was signed for this tablet (after `init` without --dev-pki).
    Install(init::Install),
    /// Open a new case.
    New(commands::New),
    /// List the cases on this device, oldest first.
    List,
    /// Show a case: facts with their conflicts and authors, entries, narrative.
    Show(commands::Which),
    /// Set a fact of a case. Setting it again also resolves a conflict.
    Set(commands::Set),
    /// Append to the narrative of a case.
    Note(commands::Note),
    /// Append a set of vital signs to a case.
    Vitals(commands::Vitals),
    /// Show what the gateway refused of a case, and why.
    Parked(commands::Which),
    /// Show, without a network, a case that is on this tablet for somebody else. A supervisor looks at each use.
    Emergency(emergency::Emergency),
    /// Make a user who signs in with a PIN, or change his PIN.
    SetPin(users::SetPin),
    /// Use the tablet as somebody, by his PIN. Unsent work of others is hidden from him, and sent all the same.
    SignIn(users::WithPin),
    /// Use the tablet as nobody.
    SignOut,
    /// List who has signed in on this tablet, and how much of his work waits for the gateway.
    Users,
    /// Ask for a tele-physician, and show what becomes of it until the call is over. Ctrl-C hangs up.
    Call(calls::Call),
    /// Take calls at this desk until Ctrl-C, and show them. The tablet must be a tele-physician's.
    Duty(calls::Duty),
    /// Print what changes, as it happens, until Ctrl-C.
    Watch,
    /// Show who this tablet is, its link, and whether everything on it is safe.
    Status,
    /// Obey JSON commands on standard input, for scripts and tests.
    #[command(long_about = agent::HELP)]
    Agent,
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let Cli { options, command } = Cli::parse();
    let outcome = match command {
        Command::Completion { shell } => completion(shell),
        command => run(command, options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tablet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn completion(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tablet", &mut script);
    output::print(&String::from_utf8(script).context("the completion script is not text")?)?;
    Ok(ExitCode::SUCCESS)
}

fn run(command: Command, options: Options) -> anyhow::Result<ExitCode> {
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the async runtime cannot start")?.block_on(dispatch(command, options))
}

async fn dispatch(command: Command, options: Options) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(init) => init.run(&options).await,
        Command::Install(install) => install.run(&options).await,
        Command::New(new) => new.run(&options).await,
        Command::List => commands::list(&options).await,
        Command::Show(which) => commands::show(&options, which).await,
        Command::Set(set) => set.run(&options).await,
        Command::Note(note) => note.run(&options).await,
        Command::Vitals(vitals) => vitals.run(&options).await,
        Command::Parked(which) => commands::parked(&options, which).await,
        Command::Emergency(emergency) => emergency.run(&options).await,
        Command::SetPin(set) => set.run(&options).await,
        Command::SignIn(with) => with.run(&options).await,
        Command::SignOut => users::sign_out(&options).await,
        Command::Users => users::list(&options).await,
        Command::Call(call) => calls::call(&options, call).await,
        Command::Duty(duty) => calls::duty(&options, duty).await,
        Command::Watch => watch::run(&options).await,
        Command::Status => commands::status(&options).await,
        Command::Agent => agent::run(&options).await,
        Command::Completion { shell } => completion(shell),
    }
}

/// Silent unless `RUST_LOG` asks: what a person has to know is printed by the commands.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::ERROR.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds, such as 3 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

const EXAMPLES: &str = "\
Examples (a gateway with a development PKI in ./pki runs on this machine):
  tablet --data a init --gateway localhost:4433 --dev-pki pki --tenant dortmund --unit rtw-1 --role ambulance_crew
  tablet --data a new --keyword Brustschmerz --number 2026-4711
  tablet --data a set CASE identity.family_name Müller
  tablet --data a vitals CASE --hr 104 --spo2 93 --sys 150 --dia 95
  tablet --data a --offline note CASE 'Patientin ansprechbar, kaltschweißig.'
  tablet --data a status
  tablet --data desk duty --take
  tablet --data a call CASE --category emergency --phone 0151-23456

CASE is a case id, or as much of its beginning or end as is unique on this device.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn waiting_takes_fractions_and_refuses_nonsense() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err() && seconds("soon").is_err());
    }
}
