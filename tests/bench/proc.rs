//! What the kernel says of a process: `man 5 proc`.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The processor time of all threads until now, and when it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorTime {
    used: Duration,
    at: Instant,
}

impl ProcessorTime {
    /// From `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms.
    pub(crate) fn read(process: Pid) -> Self {
        let tasks = format!("/proc/{}/task", process.as_raw_pid());
        let nanoseconds = fs::read_dir(tasks)
            .expect("the process runs")
            .filter_map(|task| {
                // A thread may end while it is looked at.
                let path = task.ok()?.path().join("schedstat");
                let text = fs::read_to_string(path).ok()?;
                text.split(' ').next()?.parse::<u64>().ok()
            })
            .sum();
        Self {
            used: Duration::from_nanos(nanoseconds),
            at: Instant::now(),
        }
    }

    /// The part of one core, in percent, that was used since `earlier`.
    pub(crate) fn percent_since(&self, earlier: &Self) -> f64 {
        let used = self.used.saturating_sub(earlier.used);
        100.0 * used.as_secs_f64() / (self.at - earlier.at).as_secs_f64()
    }
}

/// Resident memory in megabytes (10⁶ bytes): all of it, and the part that is not a file's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) anonymous: f64,
}

impl Memory {
    pub(crate) fn read(process: Pid) -> Self {
        let path = format!("/proc/{}/status", process.as_raw_pid());
        let status = fs::read_to_string(path).expect("the process runs");
        let megabytes = |key: &str| -> f64 {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .expect("Linux 4.5 or later");
            let kibibytes: f64 = line
                .trim_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .expect("a number of kB");
            kibibytes * 1024.0 / 1e6
        };
        Self {
            resident: megabytes("VmRSS"),
            anonymous: megabytes("RssAnon"),
        }
    }
}
