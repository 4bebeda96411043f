//! What the broker's process has used, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// The unit of processor time in `/proc`: what Linux shows to programs, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process of this machine.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub u32);

impl Process {
    /// Processor time of all its threads, those that ended included.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The second field is the name, in brackets, and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("no name in stat")?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
    }

    pub(crate) fn resident_kib(self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
    }
}

/// Processor time over a while.
pub(crate) struct Meter {
    process: Option<Process>,
    before: Option<Duration>,
}

impl Meter {
    pub(crate) fn start(pid: Option<u32>) -> Result<Self> {
        let process = pid.map(Process);
        Ok(Self { process, before: process.map(Process::cpu).transpose()? })
    }

    /// Microseconds for each of `count`.
    pub(crate) fn each(&self, count: u64) -> Result<Option<f64>> {
        let (Some(process), Some(before)) = (self.process, self.before) else { return Ok(None) };
        Ok(Some(process.cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / count.max(1) as f64))
    }
}
