//! What the load generator itself costs, and how late it is: no device is quicker than that.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::load::{latency::Latencies, process, report::Report};

/// Watches this process.
pub struct Own {
    cpu: Duration,
    lateness: Arc<Latencies>,
    clock: JoinHandle<()>,
}

/// What came of it.
pub struct Cost {
    cpu: Duration,
    lateness: Arc<Latencies>,
}

impl Own {
    /// From here on.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watch() -> Result<Self> {
        let lateness = Arc::<Latencies>::default();
        let clock = tokio::spawn(tick(lateness.clone()));
        Ok(Self { cpu: process::cpu_time(std::process::id())?, lateness, clock })
    }

    /// Until here.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn end(self) -> Result<Cost> {
        self.clock.abort();
        let cpu = process::cpu_time(std::process::id())?.saturating_sub(self.cpu);
        Ok(Cost { cpu, lateness: self.lateness })
    }
}

impl Cost {
    /// Beside what it measured over so many seconds.
    pub fn tell(&self, report: &mut Report, elapsed: f64) {
        let (cpu, late) = (self.cpu.as_secs_f64(), self.lateness.quantile_ms(0.95));
        report.row("load generator", format!("{cpu:.2} s of CPU in {elapsed:.1} s; late by {late:.2} ms (p95)"));
        report.more("generator_cpu_s", cpu);
        report.more("generator_late_p95_ms", late);
    }
}

/// A device whose only work is to wake up in time.
async fn tick(lateness: Arc<Latencies>) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        lateness.record(due.elapsed());
    }
}

const TICK: Duration = Duration::from_millis(5);
