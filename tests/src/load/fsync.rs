//! What the disk itself costs, measured beside the gateway: nobody can promise a latency below it.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::load::latency::Latencies;

/// A thread that writes a block and waits for the disk, about twenty times a second, until it is finished.
#[derive(Debug)]
pub struct FsyncProbe {
    latencies: Arc<Latencies>,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl FsyncProbe {
    /// Begins in this directory, which should be the store's.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn start(dir: &Path) -> Result<Self> {
        let path = dir.join("fsync-probe");
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        // Written once in full, so that the probe pays for data only, as a write-ahead log in use does.
        file.write_all_at(&vec![0; BLOCK * BLOCKS], 0)?;
        file.sync_all()?;
        let latencies = Arc::<Latencies>::default();
        let (stop, stopped) = mpsc::channel();
        let into = latencies.clone();
        let thread = std::thread::spawn(move || probe(&file, &into, &stopped));
        Ok(Self { latencies, stop, thread })
    }

    /// Ends and gives what was measured.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn finish(self) -> Result<Arc<Latencies>> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the fsync probe panicked"))??;
        Ok(self.latencies)
    }
}

fn probe(file: &File, latencies: &Latencies, stopped: &mpsc::Receiver<()>) -> Result<()> {
    let block = [0x5a; BLOCK];
    for offset in (0..BLOCKS).cycle() {
        let started = Instant::now();
        file.write_all_at(&block, (offset * BLOCK) as u64)?;
        file.sync_data()?;
        latencies.record(started.elapsed());
        if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    Ok(())
}

const BLOCK: usize = 4096;
const BLOCKS: usize = 64;
const EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_measures_until_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let probe = FsyncProbe::start(dir.path()).unwrap();
        let started = Instant::now();
        while probe.latencies.count() < 2 {
            assert!(started.elapsed() < Duration::from_secs(30), "no second write");
            std::thread::yield_now();
        }
        let latencies = probe.finish().unwrap();
        assert!(latencies.quantile_ms(0.5) > 0.0);
    }
}
