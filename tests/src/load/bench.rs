//! What every scenario works with: options, scripts, a fleet with its PKI, fresh directories and progress.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use feldakte_core::ids::UnitId;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::load::{
    fleet::{Device, Fleet},
    gateway::Site,
    options::Options,
    process,
    replay::{self, CaseLog, CaseSpec},
    workload::{Script, Workload},
};

/// The bench of one scenario.
#[derive(Debug)]
pub struct Bench {
    /// The command line.
    pub options: Options,
    /// The scripts.
    pub workload: Arc<Workload>,
    /// Devices.
    pub fleet: Fleet,
    scenario: &'static str,
    gateway: PathBuf,
    dir: Workspace,
    units: u32,
    sites: u32,
}

/// A writer and a reader of one case, in a unit of their own.
#[derive(Debug)]
pub struct Crew {
    /// Writes.
    pub writer: Device,
    /// Reads.
    pub reader: Device,
    /// What is written.
    pub log: Arc<CaseLog>,
    /// What the writer goes on with when that case is complete.
    pub more: Vec<Arc<CaseLog>>,
}

impl Crew {
    /// All it writes, in order.
    pub fn logs(&self) -> Vec<Arc<CaseLog>> {
        std::iter::once(&self.log).chain(&self.more).cloned().collect()
    }
}

#[derive(Debug)]
enum Workspace {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Workspace {
    fn path(&self) -> &Path {
        match self {
            Workspace::Temporary(dir) => dir.path(),
            Workspace::Kept(path) => path,
        }
    }
}

impl Bench {
    /// Sets up a scenario.
    ///
    /// # Errors
    /// When there is no gateway program or no directory to work in.
    pub fn new(options: &Options, workload: Arc<Workload>, scenario: &'static str) -> Result<Self> {
        let dir = options.dir.clone().unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix(&format!("feldakte-load-{scenario}-")).tempdir_in(&dir);
        let made = made.with_context(|| format!("no directory can be made in {}", dir.display()))?;
        if process::is_in_memory(made.path()) {
            eprintln!("{} is in memory: an fsync costs nothing there; name a disk with --dir", dir.display());
        }
        let dir = match options.keep_dir {
            false => Workspace::Temporary(made),
            true => Workspace::Kept(made.keep()),
        };
        if let Workspace::Kept(path) = &dir {
            eprintln!("{scenario}: stores and logs are kept in {}", path.display());
        }
        let fleet = Fleet::create(&dir.path().join("pki"), options.seed)?;
        let gateway = gateway_program(options)?;
        Ok(Self { options: options.clone(), workload, fleet, scenario, gateway, dir, units: 0, sites: 0 })
    }

    /// A directory for another gateway.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn site(&mut self) -> Result<Site> {
        self.sites += 1;
        Site::create(&self.gateway, &self.dir.path().join(format!("site-{}", self.sites)), self.fleet.pki())
    }

    /// The length of the timed part in seconds.
    pub fn seconds(&self, default: u64) -> u64 {
        self.options.seconds.unwrap_or(default)
    }

    /// How many devices matter.
    pub fn devices(&self, default: usize) -> usize {
        self.options.devices.map_or(default, |devices| devices as usize)
    }

    /// A unit that has not been named before.
    pub fn unit(&mut self) -> UnitId {
        self.units += 1;
        format!("rtw-{}", self.units).parse().expect("a slug")
    }

    /// Writes one case per writer, as far as `script` says, before any clock is started.
    ///
    /// # Errors
    /// When a script does not fit.
    pub async fn write_cases(
        &mut self,
        writers: &[&Device],
        script: impl Fn(usize) -> (Arc<Script>, usize),
    ) -> Result<Vec<Arc<CaseLog>>> {
        let spec = |(index, writer): (usize, &&Device)| {
            let document = self.fleet.document();
            let (script, steps) = script(index);
            CaseSpec { document, actor: writer.actor(document), script, steps }
        };
        let specs: Vec<CaseSpec> = writers.iter().enumerate().map(spec).collect();
        let progress = self.progress("writing cases", specs.len());
        let logs = tokio::task::spawn_blocking(move || replay::write_all(&specs, &progress));
        logs.await.context("writing cases panicked")?
    }

    /// Crews with a case each, as far as `script` says.
    ///
    /// # Errors
    /// When a device gets no certificate or a script does not fit.
    pub async fn crews(&mut self, count: usize, script: impl Fn(usize) -> (Arc<Script>, usize)) -> Result<Vec<Crew>> {
        self.crews_with(count, 1, script).await
    }

    /// Crews with several cases each, one after the other.
    ///
    /// # Errors
    /// When a device gets no certificate or a script does not fit.
    pub async fn crews_with(
        &mut self,
        count: usize,
        cases_each: usize,
        script: impl Fn(usize) -> (Arc<Script>, usize),
    ) -> Result<Vec<Crew>> {
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            let unit = self.unit();
            pairs.push((self.fleet.device(&unit)?, self.fleet.device(&unit)?));
        }
        let writers = pairs.iter().flat_map(|(writer, _)| std::iter::repeat_n(writer, cases_each));
        let writers: Vec<&Device> = writers.collect();
        let mut logs = self.write_cases(&writers, |index| script(index / cases_each)).await?.into_iter();
        let crew = |(writer, reader)| {
            let log = logs.next().expect("every writer has cases");
            Crew { writer, reader, log, more: logs.by_ref().take(cases_each - 1).collect() }
        };
        Ok(pairs.into_iter().map(crew).collect())
    }

    /// A progress bar; nothing is drawn where stderr is not a terminal.
    pub fn progress(&self, what: &'static str, len: usize) -> ProgressBar {
        let template = "{prefix:>8} {msg:<28} {bar:30} {pos}/{len} {elapsed}";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        let progress = ProgressBar::new(len as u64).with_style(style).with_prefix(self.scenario).with_message(what);
        progress.enable_steady_tick(PROGRESS_EVERY);
        progress
    }
}

fn gateway_program(options: &Options) -> Result<PathBuf> {
    let beside = || std::env::current_exe().ok().map(|program| program.with_file_name("feldakte"));
    let program = options.gateway.clone().or_else(beside).context("name the gateway's program with --gateway")?;
    let hint = "build it with `cargo build --release -p feldakte-gateway`, or name it with --gateway";
    ensure!(program.is_file(), "there is no gateway at {}: {hint}", program.display());
    Ok(program.canonicalize()?)
}

const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_millis(200);
