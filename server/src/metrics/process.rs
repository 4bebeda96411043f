//! The process itself, as Linux sees it: memory, files, time.
//!
//! The names are those that every exporter uses for a process, without a prefix of ours, so that
//! dashboards for processes work.

use std::fs;

/// Ticks in a second of `/proc/PID/stat`. The kernel converts to this value for user space on every
/// architecture that Halyard runs on, whatever its own timer is.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading. What the system does not tell is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) started_at: Option<f64>,
}

impl Process {
    /// Reads `/proc`; elsewhere there is nothing to tell.
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
            &text("/proc/stat"),
        );
        // The folder that is read is open, too.
        process.open_fds =
            fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as u64);
        process
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The second field is the program's name in parentheses, with whatever in it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let ticks = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        let named = |text: &str, name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self {
            // utime and stime, the 14th and 15th field of all, the 12th and 13th after the name.
            cpu_seconds: ticks(11).zip(ticks(12)).map(|(user, system)| user + system),
            resident_bytes: named(status, "VmRSS:").map(|kib| kib * 1024),
            open_fds: None,
            max_fds: named(limits, "Max open files"),
            threads: named(status, "Threads:"),
            started_at: ticks(19)
                .zip(named(system, "btime"))
                .map(|(since_boot, boot)| boot as f64 + since_boot),
        }
    }

    /// Name, type, help and value of what is known.
    pub(super) fn samples(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, String)> {
        let whole = |value: Option<u64>| value.map(|value| value.to_string());
        let real = |value: Option<f64>| value.map(|value| value.to_string());
        [
            ("process_cpu_seconds", "counter", "Processor time used", real(self.cpu_seconds)),
            ("process_resident_memory_bytes", "gauge", "Memory in RAM", whole(self.resident_bytes)),
            ("process_open_fds", "gauge", "File descriptors open", whole(self.open_fds)),
            ("process_max_fds", "gauge", "File descriptors that may be open", whole(self.max_fds)),
            ("process_threads", "gauge", "Threads", whole(self.threads)),
            (
                "process_start_time_seconds",
                "gauge",
                "When the process started, since 1970",
                real(self.started_at),
            ),
        ]
        .into_iter()
        .filter_map(|(name, kind, help, value)| Some((name, kind, help, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1000 1 1";
        let process = Process::parse(
            stat,
            "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t9\n",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   4096   files\n",
            "cpu 1 2\nbtime 1700000000\n",
        );
        assert_eq!(process.cpu_seconds, Some(3.0));
        assert_eq!(process.resident_bytes, Some(2_097_152));
        assert_eq!(process.max_fds, Some(1024));
        assert_eq!(process.threads, Some(9));
        assert_eq!(process.started_at, Some(1_700_000_010.0));
    }

    #[test]
    fn nothing_is_made_up_where_the_system_does_not_tell() {
        let process = Process::parse("", "", "Max open files unlimited", "");
        assert_eq!(process, Process::default());
        assert_eq!(process.samples().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| fds >= 3), "{process:?}");
    }
}
