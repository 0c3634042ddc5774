//! Plays the mission: phase by phase, with the link cut in one and the gateway killed in another.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    evidence::{Evidence, Pace},
    gateway::Gateway,
    mission::{Mission, Phase, Step, Who, reading},
    replicas::{conflicts_of, until_merged},
    screen::Screen,
    stage::Stage,
    tablet::Tablet,
};

/// What happened, for the table at the end.
#[derive(Debug, Default)]
pub struct Report {
    /// Steps of the script that were saved.
    pub steps: usize,
    /// Cases that were opened, by index.
    pub cases: Vec<String>,
    /// Saves made while the network was away.
    pub offline_edits: u64,
    /// How long it was away.
    pub offline: Duration,
    /// From its return until both tablets were durable and equal.
    pub merged_after: Duration,
    /// Times the gateway was killed.
    pub kills: u32,
    /// From its start until it was ready again.
    pub restarted_after: Duration,
    /// From the kill until both tablets were durable and equal.
    pub healed_after: Duration,
}

/// Plays; what it needs besides the stage.
pub struct Player<'a> {
    stage: &'a mut Stage,
    screen: &'a Screen,
    random: StdRng,
    report: Report,
}

impl<'a> Player<'a> {
    /// A player whose kills come at moments of this seed.
    pub fn new(stage: &'a mut Stage, screen: &'a Screen, seed: u64) -> Self {
        Self { stage, screen, random: StdRng::seed_from_u64(seed), report: Report::default() }
    }

    /// Plays the whole mission. Each phase ends when both tablets hold everything as durable and show the same.
    pub async fn play(mut self, mission: &Mission) -> anyhow::Result<Report> {
        for who in [Who::A, Who::B] {
            let tablet = self.stage.tablet(who);
            tablet.ask(json!({"online": true})).await?;
            tablet.wait_until("connecting", ARRIVES_WITHIN, |state| state.link == "connected").await?;
        }
        for phase in &mission.phases {
            let played = match (phase.offline, phase.burst) {
                (true, _) => self.play_offline(phase).await,
                (_, true) => self.play_burst(phase).await,
                _ => self.play_online(phase).await,
            };
            played.with_context(|| format!("in phase `{}`", phase.name))?;
            [Who::A, Who::B].into_iter().for_each(|who| self.screen.caption(who, ""));
            self.screen.snapshot();
        }
        Ok(self.report)
    }

    async fn play_online(&mut self, phase: &Phase) -> anyhow::Result<()> {
        self.screen.heading(&phase.name);
        self.steps(phase, PACE).await?;
        self.merged().await
    }

    async fn play_offline(&mut self, phase: &Phase) -> anyhow::Result<()> {
        self.screen.heading(&format!("{} — the link is cut, both tablets write on", phase.name));
        let before = self.stage.evidence.edits();
        self.stage.evidence.disturb();
        self.stage.relay.wire().cut();
        let begun = Instant::now();
        self.steps(phase, OFFLINE_PACE).await?;
        self.report.offline_edits = self.stage.evidence.edits() - before;
        self.report.offline = begun.elapsed();
        self.screen.snapshot();
        self.screen.line("  the link is back");
        let back = Instant::now();
        self.stage.relay.wire().mend();
        for who in [Who::A, Who::B] {
            // What an operating system tells an app when a network appears.
            self.stage.tablet(who).ask(json!({"network_changed": true})).await?;
        }
        self.merged().await?;
        self.report.merged_after = back.elapsed();
        self.stage.evidence.disturb();
        self.screen.line(&format!(
            "  merged {} after the link was back; both values of a conflict are kept:",
            show(self.report.merged_after)
        ));
        for conflict in self.conflicts().await? {
            self.screen.line(&format!("    {conflict}"));
        }
        Ok(())
    }

    /// Both tablets write at full speed; in the middle of it the gateway is killed and started again.
    async fn play_burst(&mut self, phase: &Phase) -> anyhow::Result<()> {
        self.screen.heading(&format!("{} — both tablets write at full speed, the gateway is killed", phase.name));
        let case = self.report.cases.first().context("a burst needs a case")?.clone();
        let commands = |who| burst(phase, who, &case, &self.report.cases);
        let (for_a, for_b) = (commands(Who::A)?, commands(Who::B)?);
        let total = (for_a.len() + for_b.len()) as u64;
        let kill_after = self.stage.evidence.edits() + self.random.random_range(total * 3 / 10..total * 6 / 10);
        let Stage { a, b, gateway, evidence, .. } = &mut *self.stage;
        let begun = Instant::now();
        evidence.pace(Pace::Burst);
        let kill = kill_and_restart(gateway, evidence, self.screen, kill_after);
        let work = async { tokio::try_join!(pour(a, for_a), pour(b, for_b), kill) };
        let ((), (), outage) = self.screen.follow(work).await?;
        self.screen.line(&format!("  {total} saves in {}", show(begun.elapsed())));
        self.report.steps += phase.steps.len();
        self.report.kills += 1;
        self.report.restarted_after = outage.restarted_after;
        self.merged().await?;
        self.report.healed_after = outage.killed.elapsed();
        self.stage.evidence.pace(Pace::Documenting);
        self.stage.evidence.disturb();
        self.screen.line(&format!("  everything durable and equal {} after the kill", show(self.report.healed_after)));
        Ok(())
    }

    async fn steps(&mut self, phase: &Phase, pace: Duration) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(pace);
        for step in &phase.steps {
            let screen = self.screen;
            screen
                .follow(async {
                    tick.tick().await;
                    self.step(step).await
                })
                .await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        self.screen.caption(step.tablet, &step.caption());
        let known = self.report.cases.get(step.case).cloned();
        let next = self.report.cases.len();
        let tablet = self.stage.tablet(step.tablet);
        match known {
            Some(case) => {
                let arrived = format!("case {} arriving from the other tablet", step.case);
                tablet.wait_until(&arrived, ARRIVES_WITHIN, |state| state.cases.contains(&case)).await?;
                tablet.ask(json!({"edit": {"case": case, "edits": step.edits}})).await?;
            }
            None => {
                anyhow::ensure!(step.case == next, "the script opens case {} before case {next}", step.case);
                let answer = tablet.ask(json!({"create": {"edits": step.edits}})).await?;
                let case = answer["saved"]["case"].as_str().context("no case in the answer")?;
                self.report.cases.push(case.to_owned());
            }
        }
        self.report.steps += 1;
        Ok(())
    }

    /// Waits until both tablets hold everything as durable and show it, and the same.
    async fn merged(&mut self) -> anyhow::Result<()> {
        let screen = self.screen;
        let cases = self.report.cases.clone();
        let Stage { a, b, .. } = &mut *self.stage;
        let merge = async {
            until_merged(a, b, &cases).await?;
            for tablet in [&*a, &*b] {
                // What a tablet shows follows what it knows.
                tablet.wait_until("showing it", MERGES_WITHIN, |state| state.total().is_safe()).await?;
            }
            Ok(())
        };
        let merge = tokio::time::timeout(MERGES_WITHIN, merge);
        screen.follow(merge).await.map_err(|_| anyhow!("the tablets did not agree within {MERGES_WITHIN:?}"))?
    }

    /// Facts with several values, for a person.
    async fn conflicts(&mut self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for case in self.report.cases.clone() {
            let answer = self.stage.a.ask(json!({"view": case})).await?;
            for (fact, values) in conflicts_of(&answer["view"]) {
                let held = values.iter().map(|held| {
                    let by = self.stage.label_of(held["by"].as_str().unwrap_or_default());
                    format!("{} ({by})", held["value"])
                });
                lines.push(format!("{fact}: {}", held.collect::<Vec<_>>().join(" | ")));
            }
        }
        Ok(lines)
    }
}

/// A duration for people.
pub fn show(duration: Duration) -> String {
    match duration.as_millis() {
        0..1000 => format!("{} ms", duration.as_millis()),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// The script's steps of one tablet, with readings of the patient monitor between them.
fn burst(phase: &Phase, who: Who, case: &str, cases: &[String]) -> anyhow::Result<Vec<Value>> {
    let mut commands = Vec::new();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now_ms = i64::try_from(now_ms).context("the clock is far in the future")?;
    let mine: Vec<&Step> = phase.steps.iter().filter(|step| step.tablet == who).collect();
    let between = (READINGS / mine.len().max(1) as u64).max(1);
    for step in mine {
        let target = cases.get(step.case).context("a burst opens no cases")?;
        commands.push(json!({"edit": {"case": target, "edits": step.edits}}));
        for _ in 0..between {
            let number = commands.len() as u64;
            let at_ms = now_ms + i64::try_from(number).unwrap_or(0) * 1000;
            commands.push(json!({"edit": {"case": case, "edits": [reading(at_ms, number)]}}));
        }
    }
    Ok(commands)
}

async fn pour(tablet: &mut Tablet, commands: Vec<Value>) -> anyhow::Result<()> {
    for command in commands {
        tablet.push(command).await?;
    }
    tablet.settle().await
}

struct Outage {
    killed: Instant,
    restarted_after: Duration,
}

async fn kill_and_restart(
    gateway: &mut Gateway,
    evidence: &Evidence,
    screen: &Screen,
    kill_after: u64,
) -> anyhow::Result<Outage> {
    while evidence.edits() < kill_after {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    evidence.disturb();
    gateway.kill().await?;
    let killed = Instant::now();
    screen.line("  SIGKILL: the gateway is gone");
    tokio::time::sleep(GONE_FOR).await;
    let restarted_after = gateway.restart().await?;
    screen.line(&format!("  the gateway is back on its store, ready after {}", show(restarted_after)));
    Ok(Outage { killed, restarted_after })
}

/// Between two saves of the script; a crew takes a hundred times longer.
const PACE: Duration = Duration::from_millis(70);
/// Long enough in sum that both tablets notice that their link is dead.
const OFFLINE_PACE: Duration = Duration::from_millis(120);
/// Monitor readings of each tablet in the burst.
const READINGS: u64 = 300;
/// How long the gateway stays away.
const GONE_FOR: Duration = Duration::from_millis(400);
/// How often something that has no event is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// From a save on one tablet until the other holds the case.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// From the return of link or gateway until both tablets agree.
const MERGES_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_holds_every_step_of_the_script_and_many_readings() {
        let mission = Mission::read(0).expect("the mission reads");
        let phase = mission.phases.iter().find(|phase| phase.burst).expect("there is one");
        let cases = ["one".to_owned(), "two".to_owned()];
        let both: Vec<Value> =
            [Who::A, Who::B].into_iter().flat_map(|who| burst(phase, who, "one", &cases).expect("a burst")).collect();
        for step in &phase.steps {
            assert!(both.iter().any(|command| command["edit"]["edits"] == json!(step.edits)));
        }
        assert!(both.len() > 400, "{}", both.len());
    }
}
