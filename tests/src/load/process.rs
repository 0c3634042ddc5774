//! What the kernel says about a process: CPU seconds and memory; and the signals a gateway is sent.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Resident set.
    pub rss_kib: u64,
    /// Resident set, shared pages counted by share.
    pub pss_kib: u64,
}

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish and go.
    Terminate,
    /// SIGHUP: read the files again.
    Hangup,
    /// SIGKILL: nothing more is executed.
    Kill,
}

/// CPU time of a process so far, user and system, all threads. Its resolution is the kernel's clock tick.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat is not as expected")?;
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second()))
}

/// Memory of a process now.
///
/// # Errors
/// When the process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("the process is gone")?;
    parse_memory(&text).context("/proc/PID/smaps_rollup is not as expected")
}

/// The most memory a process ever had resident, in KiB.
///
/// # Errors
/// When the process is gone.
pub fn peak_rss_kib(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    kib_of(&text, "VmHWM:").context("/proc/PID/status is not as expected")
}

/// Sends a signal to a child that has not been waited for, so that the number cannot mean another process.
///
/// # Errors
/// When the kernel refuses.
#[expect(unsafe_code, reason = "the standard library sends SIGKILL only, and needs the child itself for it")]
pub fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Hangup => libc::SIGHUP,
        Signal::Kill => libc::SIGKILL,
    };
    let pid = libc::pid_t::try_from(pid).context("a process id is a positive pid_t")?;
    // SAFETY: kill takes two numbers and touches no memory of ours.
    let result = unsafe { libc::kill(pid, number) };
    ensure!(result == 0, "the signal was not sent: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Raises the number of files this process may open to what the system allows: each device has a socket.
#[expect(unsafe_code, reason = "the standard library knows no resource limits")]
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a valid, exclusive rlimit; failure leaves the limit as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Whether a path lies on a file system in memory, where an fsync costs nothing and its figures mean nothing.
pub fn is_in_memory(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut parts = mounts.lines().map(|line| line.split(' ').skip(1));
    let mounted = std::iter::from_fn(|| parts.next()).filter_map(|mut part| Some((part.next()?, part.next()?)));
    let nearest = mounted.filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.len());
    nearest.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

/// Fields 14 and 15, counted after the command name, which may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace().skip(UTIME - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_memory(text: &str) -> Option<Memory> {
    Some(Memory { rss_kib: kib_of(text, "Rss:")?, pss_kib: kib_of(text, "Pss:")? })
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[expect(unsafe_code, reason = "the standard library does not know the clock tick")]
fn ticks_per_second() -> f64 {
    // SAFETY: sysconf takes a number and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { USER_HZ }
}

/// Number of the field `utime` in proc(5), which counts from 1.
const UTIME: usize = 14;
/// What Linux reports to programs on every architecture we run on.
const USER_HZ: f64 = 100.0;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn ticks_are_read_after_whatever_the_command_is_called() {
        let stat = "4242 (a ) b) (c) S 1 2 3 4 5 6 7 8 9 10 1200 34 7 8 20 0 5 0 100";
        assert_eq!(cpu_ticks(stat), Some(1234));
        assert_eq!(cpu_ticks("4242 (x) S 1"), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:               62700 kB\nPss:     60000 kB\n\
                    Pss_Dirty:         1 kB\n";
        assert_eq!(parse_memory(text), Some(Memory { rss_kib: 62_700, pss_kib: 60_000 }));
        assert_eq!(parse_memory("Rss: many kB\n"), None);
    }

    #[test]
    fn work_and_memory_of_this_process_show() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let started = Instant::now();
        while cpu_time(pid).unwrap() < before + Duration::from_millis(50) {
            assert!(started.elapsed() < Duration::from_secs(30), "a busy loop shows no CPU time");
        }
        let memory = memory(pid).unwrap();
        assert!(memory.rss_kib >= memory.pss_kib && memory.pss_kib > 0);
        assert!(peak_rss_kib(pid).unwrap() > 0);
    }
}
