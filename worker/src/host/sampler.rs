//! The thread that looks at the computer.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use tokio::sync::{oneshot, watch};

use super::{HostFacts, HostLoad, nvidia::Nvidia};

/// While somebody is told: twice a second.
const EVERY: Duration = Duration::from_millis(500);

/// While nobody is: only for what the room is told.
const AT_REST: Duration = Duration::from_secs(5);

/// A driver that hangs does not hold up the end of the worker longer than this.
const END_WITHIN: Duration = Duration::from_secs(1);

const MIB: u64 = 1024 * 1024;

/// Looks at the computer until it is stopped. It has a thread of its own, because a graphics
/// driver may take its time to answer.
#[derive(Debug)]
pub struct Host {
    handle: HostHandle,
    stop: mpsc::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// What is known of the computer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostHandle {
    facts: Arc<HostFacts>,
    load: Arc<watch::Sender<Arc<HostLoad>>>,
}

impl Host {
    /// Looks for the first time, and goes on in a thread.
    pub fn start() -> std::io::Result<Self> {
        let (tell, told) = mpsc::sync_channel(1);
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let load = Arc::new(watch::Sender::new(Arc::default()));
        let out = load.clone();
        thread::Builder::new().name("host".to_owned()).spawn(move || {
            let mut eyes = Eyes::open();
            let _ = tell.send((eyes.facts(), eyes.look()));
            let mut looked = Instant::now();
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                if out.receiver_count() > 0 || looked.elapsed() >= AT_REST {
                    looked = Instant::now();
                    out.send_replace(Arc::new(eyes.look()));
                }
            }
            let _ = end.send(());
        })?;
        let (facts, first) = told.recv().unwrap_or_default();
        load.send_replace(Arc::new(first));
        Ok(Self { handle: HostHandle { facts: Arc::new(facts), load }, stop, ended })
    }

    /// What is known.
    pub fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Stops looking.
    pub async fn stop(self) {
        drop(self.stop);
        if tokio::time::timeout(END_WITHIN, self.ended).await.is_err() {
            tracing::warn!("a graphics driver does not answer; its thread is left behind");
        }
    }
}

impl HostHandle {
    /// What does not change.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    /// The last look, at most some seconds old.
    pub fn latest(&self) -> Arc<HostLoad> {
        self.load.borrow().clone()
    }

    /// Twice a second from now on, as long as the receiver lives.
    pub fn watch(&self) -> watch::Receiver<Arc<HostLoad>> {
        self.load.subscribe()
    }
}

struct Eyes {
    /// Not on every operating system.
    system: Option<System>,
    nvidia: Result<Nvidia, String>,
}

impl Eyes {
    fn open() -> Self {
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self { system: System::new_with_specifics(kinds).ok(), nvidia: Nvidia::open() }
    }

    fn facts(&self) -> HostFacts {
        let cpu = self.system.as_ref().and_then(|system| system.cpus().first());
        let mut facts = HostFacts {
            hostname: System::host_name().unwrap_or_default(),
            os: System::long_os_version().unwrap_or_default(),
            arch: System::cpu_arch(),
            cpu: cpu.map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
            // What this process may use counts, not what the board carries.
            cpus: thread::available_parallelism().map_or(1, usize::from),
            memory_mb: self.memory().1,
            ..HostFacts::default()
        };
        match &self.nvidia {
            Ok(nvidia) => nvidia.describe(&mut facts),
            Err(why) => facts.gpu_note = Some(why.clone()),
        }
        facts
    }

    fn look(&mut self) -> HostLoad {
        let mut load = HostLoad::default();
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            load.cpu = (system.global_cpu_usage() / 100.0).clamp(0.0, 1.0);
        }
        (load.memory_used_mb, load.memory_mb) = self.memory();
        match &self.nvidia {
            Ok(nvidia) => nvidia.measure(&mut load),
            Err(why) => load.gpu_note = Some(why.clone()),
        }
        load
    }

    /// In use and in all, in MiB; a container's where it has bounds of its own.
    fn memory(&self) -> (u64, u64) {
        let Some(system) = &self.system else { return (0, 0) };
        match system.cgroup_limits() {
            Some(limits) if limits.total_memory > 0 => {
                (limits.rss / MIB, limits.total_memory / MIB)
            }
            _ => (system.used_memory() / MIB, system.total_memory() / MIB),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_computer_says_what_it_is_and_is_looked_at_while_somebody_is_told() {
        let host = Host::start().expect("a thread");
        let handle = host.handle();
        let facts = handle.facts();
        assert!(facts.cpus > 0 && facts.memory_mb > 0, "{facts:?}");
        assert!(!facts.gpus.is_empty() || facts.gpu_note.is_some(), "a word about graphics cards");
        let mut load = handle.watch();
        load.changed().await.expect("looked again");
        let seen = load.borrow_and_update().clone();
        assert!(seen.memory_used_mb > 0 && seen.memory_used_mb <= seen.memory_mb, "{seen:?}");
        assert!((0.0..=1.0).contains(&seen.cpu), "{seen:?}");
        host.stop().await;
    }
}
