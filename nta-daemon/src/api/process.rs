//! What this process costs, read from `/proc/self`.

use serde::{Deserialize, Serialize};

use crate::telemetry::LOG;

/// Cost so far; null where `/proc` does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct ProcessJson {
    /// CPU time of all threads, user and system.
    pub(super) cpu_s: Option<f64>,
    /// Resident memory.
    pub(super) rss_bytes: Option<u64>,
    /// Log lines that nobody read: standard error was full for long, or is closed.
    #[serde(default)]
    pub(super) log_lines_lost: u64,
}

/// Reads all of it.
pub(super) fn read() -> ProcessJson {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    ProcessJson {
        cpu_s: read("/proc/self/stat").and_then(|stat| cpu_s(&stat)),
        rss_bytes: read("/proc/self/status").and_then(|status| rss_bytes(&status)),
        log_lines_lost: LOG.lines_lost(),
    }
}

/// What every program says about itself beside that; `None` where `/proc` does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standard {
    /// When it started, in seconds of Unix time.
    pub(super) started_s: Option<f64>,
    /// Virtual memory.
    pub(super) virtual_bytes: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
    /// Descriptors that are open.
    pub(super) open_fds: Option<u64>,
    /// Descriptors that it may open.
    pub(super) max_fds: Option<u64>,
}

/// Reads all of that.
pub(super) fn standard() -> Standard {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let stat = read("/proc/self/stat").unwrap_or_default();
    let booted_s = read("/proc/stat").and_then(|stat| after(&stat, "btime "));
    let limits = read("/proc/self/limits").unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").ok();
    Standard {
        started_s: field(&stat, 22).zip(booted_s).map(|(ticks, booted)| booted as f64 + ticks as f64 / TICKS_PER_S),
        virtual_bytes: field(&stat, 23),
        threads: field(&stat, 20),
        // Less the one by which they are counted.
        open_fds: open.map(|entries| (entries.count() as u64).saturating_sub(1)),
        max_fds: after(&limits, "Max open files"),
    }
}

/// A field of `proc_pid_stat(5)`, from the third on.
fn field(stat: &str, number: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The number that follows a text at the begin of a line.
fn after(text: &str, begin: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(begin))?.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `proc_pid_stat(5)`. The second field, the name, may hold spaces and ends with the last `)`.
fn cpu_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS_PER_S)
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `USER_HZ`: 100 on every architecture that Linux and Rust share, whatever the kernel's own tick is.
const TICKS_PER_S: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_understood() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194560 1 2 3 4 250 150 0 0 20 0 1 0 100 1 2";
        assert_eq!(cpu_s(stat), Some(4.0));
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 * 1024 * 1024));
        assert!(read().rss_bytes.is_some_and(|bytes| bytes > 0));
        assert_eq!((field(stat, 20), field(stat, 22)), (Some(1), Some(100)));
        assert_eq!(after("Max open files            1024     4096     files\n", "Max open files"), Some(1024));
        let own = standard();
        assert!(own.started_s.is_some_and(|s| s > 1e9) && own.threads.is_some_and(|threads| threads > 0), "{own:?}");
        assert!(own.open_fds < own.max_fds && own.virtual_bytes > read().rss_bytes, "{own:?}");
    }
}
