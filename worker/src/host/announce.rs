//! Keeps what the room is told of the worker true.

use std::time::{Duration, Instant};

use halyard_protocol::signal::Metadata;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{
    HostHandle,
    presence::{Doing, Presence, properties},
};
use crate::{jobs::Load, machine::Standing};

/// Drift is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Everything that a worker's status is made of.
#[derive(Debug, Clone)]
pub struct Announcer {
    /// The computer.
    pub host: HostHandle,
    /// The jobs, where there may be some.
    pub jobs: Option<watch::Receiver<Load>>,
    /// Who drives.
    pub standing: watch::Receiver<Standing>,
    /// Whether the owner keeps the worker for himself.
    pub maintenance: bool,
}

impl Announcer {
    /// As it is now.
    pub fn properties(&self) -> Map<String, Value> {
        let load = self.jobs.as_ref().map_or_else(Load::default, |jobs| *jobs.borrow());
        let doing = Doing {
            maintenance: self.maintenance,
            running: load.running,
            queued: load.queued,
            driven: self.standing.borrow().holder.is_some(),
        };
        properties(self.host.facts(), &self.host.latest(), doing)
    }

    /// Tells changes into `out` for as long as somebody listens there. `told` is what was told at
    /// the door.
    pub async fn run(mut self, told: Map<String, Value>, out: watch::Sender<Metadata>) {
        let mut presence = Presence::new(Instant::now(), told);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = out.closed() => return,
                Ok(()) = changed(self.jobs.as_mut()) => {}
                Ok(()) = self.standing.changed() => {}
                _ = look.tick() => {}
            }
            if let Some(properties) = presence.due(Instant::now(), &self.properties()) {
                out.send_replace(Metadata { properties: Some(properties), ..Metadata::default() });
            }
        }
    }
}

/// The next change; never without anything that could change.
async fn changed<T>(
    source: Option<&mut watch::Receiver<T>>,
) -> Result<(), watch::error::RecvError> {
    match source {
        Some(source) => source.changed().await,
        None => std::future::pending().await,
    }
}
