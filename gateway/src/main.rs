//! The command line of the gateway.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use feldakte_gateway::{
    allocator,
    config::{Config, LogFormat},
    panics, serve,
};
use tokio_util::sync::CancellationToken;

mod commands;

/// Feldakte: keeps case documents in step between field tablets and the city's back office.
#[derive(Parser)]
#[command(name = "feldakte", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C.
    ///
    /// When it listens it prints one line on standard output: `ready quic=ADDRESS ops=ADDRESS grpc=ADDRESS`,
    /// and ` web=ADDRESS` when it serves browsers, ` enrol=ADDRESS` when it certifies devices. Everything has a default; FELDAKTE__SECTION__KEY in the environment overrides the file.
    Serve {
        /// Configuration file (TOML).
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Also stop when standard input ends: a harness that dies leaves no gateway behind.
        #[arg(long)]
        while_stdin: bool,
    },
    /// Watch two tablets and a gateway keep a real mission in step, through a cut link and a kill -9.
    Demo(commands::demo::Demo),
    Audit(commands::audit::Audit),
    Device(commands::device::Device),
    Case(commands::case::Case),
    Keys(commands::keys::Keys),
    Review(commands::review::ReviewCommand),
    Operator(commands::operator::Operator),
    /// Development certificates.
    #[command(subcommand)]
    Pki(commands::pki::Pki),
    Backup(commands::backup::Backup),
    Restore(commands::backup::Restore),
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    panics::tell_the_place_alone();
    let outcome = match Cli::parse().command {
        Command::Serve { config, while_stdin } => run_serve(config, while_stdin),
        Command::Demo(demo) => on_runtime(demo.run()),
        Command::Audit(audit) => on_runtime(audit.run()),
        Command::Device(device) => on_runtime(device.run()),
        Command::Case(case) => on_runtime(case.run()),
        Command::Keys(keys) => on_runtime(keys.run()),
        Command::Review(review) => on_runtime(review.run()),
        Command::Operator(operator) => on_runtime(operator.run()),
        Command::Pki(pki) => pki.run(),
        Command::Backup(backup) => on_runtime(backup.run()),
        Command::Restore(restore) => on_runtime(restore.run()),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "feldakte", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("feldakte: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_serve(config: Option<PathBuf>, while_stdin: bool) -> anyhow::Result<()> {
    let config = Config::load(config.as_deref(), std::env::vars())?;
    start_logging(&config);
    allocator::return_large_buffers();
    on_runtime(async move {
        let shutdown = CancellationToken::new();
        let signal = shutdown.clone();
        tokio::spawn(async move {
            if let Err(error) = terminated().await {
                tracing::error!(%error, "signals cannot be received");
            }
            signal.cancel();
        });
        if while_stdin {
            cancel_at_end_of_stdin(shutdown.clone());
        }
        let ready = |serve::Listening { quic, grpc, ops, web, enrol }: serve::Listening| {
            let web = web.map(|web| format!(" web={web}")).unwrap_or_default();
            let enrol = enrol.map(|enrol| format!(" enrol={enrol}")).unwrap_or_default();
            println!("ready quic={quic} ops={ops} grpc={grpc}{web}{enrol}");
        };
        Ok(serve::run(&config, shutdown, ready).await?)
    })
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot start")?;
    let outcome = runtime.block_on(work);
    // A projection or a name look-up cannot be cancelled, and nobody waits for what comes of it.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    outcome
}

/// A thread of its own, because reading standard input cannot be cancelled.
fn cancel_at_end_of_stdin(shutdown: CancellationToken) {
    std::thread::spawn(move || {
        // Whatever comes in means nothing; an error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        shutdown.cancel();
    });
}

async fn terminated() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn start_logging(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log_level);
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// How long threads that still compute may hold up the end of the process.
const THREADS_END_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_computation_without_end_does_not_hold_up_the_process() {
        let (hold, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = on_runtime(async {
                tokio::task::spawn_blocking(move || held.recv());
                Ok(())
            });
            tell.send(outcome.is_ok())
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(true));
        drop(hold);
    }
}
