//! What a process tree costs, from `/proc`.

use std::time::{Duration, Instant};

use crate::process;

/// The core that the proxy under test has for itself.
pub(super) const PROXY_CPU: usize = 0;
/// The core that the load and the upstream share.
pub(super) const LOAD_CPU: usize = 1;

/// A process and all that descend from it.
pub(super) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        process::all().into_iter().filter_map(|pid| Some((pid, parent(&stat(pid)?)?))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
        next += 1;
    }
    tree
}

/// The CPU time that the processes have used so far, in user and kernel mode.
pub(super) fn cpu(pids: &[u32]) -> Duration {
    let ticks: u64 = pids.iter().filter_map(|&pid| cpu_ticks(&stat(pid)?)).sum();
    seconds(ticks)
}

/// The resident memory of the processes, in KiB.
pub(super) fn resident_kib(pids: &[u32]) -> u64 {
    let status = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
    pids.iter().filter_map(status).filter_map(|text| resident(&text)).sum()
}

fn stat(pid: u32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// The fields after the command's name, which may itself hold blanks and brackets.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}

fn parent(stat: &str) -> Option<u32> {
    fields(stat)?.nth(1)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = fields(stat)?.skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn seconds(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs(ticks) / u32::try_from(per_second).unwrap_or(100)
}

/// A moment from which the proxy's CPU time, and everybody's on its core, is counted.
pub(super) struct Meter {
    pids: Vec<u32>,
    cpu: Duration,
    idle: Duration,
    start: Instant,
}

/// What a [`Meter`] saw.
pub(super) struct Reading {
    /// The CPU time of the proxy's process tree.
    pub(super) cpu: Duration,
    /// The share of the proxy's core that others used: the noise of the reading.
    pub(super) foreign: f64,
}

impl Meter {
    pub(super) fn start(root: u32) -> Self {
        let pids = tree(root);
        Self { cpu: cpu(&pids), idle: idle(), start: Instant::now(), pids }
    }

    pub(super) fn read(&self) -> Reading {
        let elapsed = self.start.elapsed();
        let cpu = cpu(&self.pids).saturating_sub(self.cpu);
        let busy = elapsed.saturating_sub(idle().saturating_sub(self.idle));
        let foreign = busy.saturating_sub(cpu).as_secs_f64() / elapsed.as_secs_f64();
        Reading { cpu, foreign }
    }
}

/// How long the proxy's core has been idle since the machine started.
fn idle() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    seconds(idle_ticks(&stat, PROXY_CPU).unwrap_or(0))
}

fn idle_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu} ");
    let mut fields = stat.lines().find_map(|line| line.strip_prefix(&name))?.split_whitespace();
    let idle: u64 = fields.nth(3)?.parse().ok()?;
    let waiting: u64 = fields.next()?.parse().ok()?;
    Some(idle + waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "812 (odd (name) x) S 77 812 812 0 -1 4194560 1 2 3 4 150 250 0 0 20 0";

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        assert_eq!(parent(STAT), Some(77));
        assert_eq!(cpu_ticks(STAT), Some(400));
    }

    #[test]
    fn resident_memory_is_read_from_the_status() {
        assert_eq!(resident("Name:\tnginx\nVmRSS:\t    5124 kB\nThreads:\t1\n"), Some(5124));
        assert_eq!(resident("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn waiting_for_a_disk_counts_as_idle() {
        let stat = "cpu  9 9 9 9 9 9\ncpu0 1 2 3 400 50 6 7\ncpu1 1 2 3 4 5 6\ncpu10 0 0 0 7 7\n";
        assert_eq!(idle_ticks(stat, 0), Some(450));
        assert_eq!(idle_ticks(stat, 10), Some(14));
        assert_eq!(idle_ticks(stat, 2), None);
    }

    #[test]
    fn a_tree_holds_its_root() {
        assert!(tree(std::process::id()).contains(&std::process::id()));
    }
}
