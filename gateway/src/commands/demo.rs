//! `feldakte demo`: two tablets, a gateway, a mission; cut, merged, killed, restarted, and held to account.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use self::{
    mission::Mission,
    play::Player,
    replicas::conflicts_of,
    screen::Screen,
    stage::{Place, Stage},
    tablet::{TENANT, UNIT},
    verdict::Verdict,
};

mod binary;
mod evidence;
mod gateway;
mod mission;
mod play;
mod relay;
mod replicas;
mod screen;
mod stage;
mod tablet;
mod verdict;

/// Watch two tablets and a gateway keep a real mission in step.
///
/// Starts a gateway and two tablets as processes of their own in a fresh directory, plays an ambulance mission, cuts
/// the link and lets both write on, lets them merge, kills the gateway in the middle of a burst, restarts it, and
/// compares what the store holds with everything that was ever told durable, and what a new tablet makes of that store
/// with what the others show. Succeeds only if nothing is lost and all show the same.
#[derive(Args)]
pub struct Demo {
    /// Afterwards leave the gateway running, and say how to connect a tablet of your own.
    #[arg(long)]
    keep: bool,
    /// Where everything is written; must be new or empty. It stays [default: a temporary directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Decides when the gateway is killed; printed, so that a run can be repeated [default: random].
    #[arg(long)]
    seed: Option<u64>,
    /// Print the result only.
    #[arg(long, short)]
    quiet: bool,
    /// The tablet program [default: the one beside this program; built when run by cargo].
    #[arg(long, value_name = "PATH")]
    tablet: Option<PathBuf>,
}

impl Demo {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        let program = binary::find(self.tablet.clone(), self.quiet)?;
        let place = Place::make(self.dir.clone())?;
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(ENDS_WITHIN, self.show(place.path(), &program)) => {
                outcome.unwrap_or_else(|_| Err(anyhow!("the demo did not end within {ENDS_WITHIN:?}")))
            }
            signal = terminated() => Err(signal.err().map_or_else(|| anyhow!("interrupted"), anyhow::Error::from)),
        };
        match outcome {
            Ok(stage) if self.keep => keep(stage, &place.keep(), &program).await,
            Ok(_) => Ok(()),
            Err(error) => {
                let dir = place.keep();
                Err(error.context(format!("the demo failed; logs and stores are in {}", dir.display())))
            }
        }
    }

    async fn show(&self, dir: &Path, program: &Path) -> anyhow::Result<Stage> {
        let begun = Instant::now();
        let seed = match self.seed {
            Some(seed) => seed,
            None => getrandom::u32().context("the system has no randomness")?.into(),
        };
        let began_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mission = Mission::read(i64::try_from(began_ms).context("the clock is far in the future")?)?;
        let mut screen = Screen::new(self.quiet);
        screen.line(&format!("Feldakte demo: {}\nseed {seed}, files in {}", mission.title, dir.display()));
        let mut stage = Stage::set(dir, program, &mut screen).await?;
        let outcome = Player::new(&mut stage, &screen, seed).play(&mission).await;
        screen.clear();
        let report = outcome?;
        let conflicts = count_conflicts(&mut stage, &report.cases).await?;
        let told = stage.evidence.summary();
        let wire = stage.relay.wire().bytes();
        screen.heading("The gateway is killed once more; C, a new tablet, reads everything from its store");
        // Killed again rather than stopped: what the store holds now is what power loss would leave.
        stage.gateway.kill().await?;
        let stored = verdict::stored_changes(&stage.gateway.files().store).await?;
        let replicas = stage.compare(dir, program, &report.cases).await?;
        let verdict = Verdict {
            lost: told.durable.difference(&stored).count(),
            missing: told.saved.difference(&stored).count(),
            stored: stored.len(),
            steps: mission.steps(),
            replicas,
            took: begun.elapsed(),
            told,
            report,
            conflicts,
            wire,
        };
        println!("\nResult (seed {seed})\n{}", verdict.table());
        anyhow::ensure!(verdict.is_good(), "the result is not what it must be; run it again with --seed {seed}");
        Ok(stage)
    }
}

async fn count_conflicts(stage: &mut Stage, cases: &[String]) -> anyhow::Result<usize> {
    let mut conflicts = 0;
    for case in cases {
        let answer = stage.a.ask(json!({"view": case})).await?;
        conflicts += conflicts_of(&answer["view"]).len();
    }
    Ok(conflicts)
}

/// The gateway runs on, in the foreground, until Ctrl-C.
async fn keep(stage: Stage, dir: &Path, program: &Path) -> anyhow::Result<()> {
    let Stage { pki, mut gateway, relay, a, b, evidence: _ } = stage;
    drop((relay, a, b));
    println!(
        "The gateway runs on at {address} until Ctrl-C; its files are in {dir}.\n\
         A tablet of your own, in another terminal:\n{commands}",
        address = gateway.quic(),
        dir = dir.display(),
        commands = own_tablet(program, &pki, &dir.join("my-tablet"), gateway.quic()),
    );
    tokio::select! {
        ended = gateway.ended() => {
            ended?;
            Err(anyhow!("the gateway has ended by itself; {} says why", gateway.files().log.display()))
        }
        signal = terminated() => {
            signal?;
            Ok(())
        }
    }
}

/// Commands to be copied into any shell, wherever it is.
fn own_tablet(program: &Path, pki: &Path, mine: &Path, gateway: SocketAddr) -> String {
    let (program, pki, mine) = (in_shell(program), in_shell(pki), in_shell(mine));
    format!(
        "  {program} --data {mine} init --gateway {gateway} --dev-pki {pki} \\\n    \
         --tenant {TENANT} --unit {UNIT} --role ambulance_crew\n  \
         {program} --data {mine} list\n  \
         {program} --data {mine} new --keyword Brustschmerz\n  \
         {program} --data {mine} watch"
    )
}

/// One word of a shell's command line.
fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
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

/// Twice what it takes; a machine that needs more has a fault worth seeing.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_of_a_shell() {
        assert_eq!(in_shell(Path::new("/tmp/feldakte-demo-a1")), "/tmp/feldakte-demo-a1");
        assert_eq!(in_shell(Path::new("/home/o'neill/my demo")), r"'/home/o'\''neill/my demo'");
    }
}
