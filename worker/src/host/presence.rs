//! What others find a worker by, and when it is worth telling them anew. Pure: time comes in.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{HostFacts, HostLoad};

/// Numbers that only drift are told this often.
const DRIFT_EVERY: Duration = Duration::from_secs(30);

/// What counts at once is still not told oftener than this.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What counts at once: whoever chooses a worker chooses by these.
const AT_ONCE: [&str; 3] = ["status", "jobs_running", "jobs_queued"];

/// What the worker does at this moment. It is found out, never remembered: a worker that was
/// killed and comes back finds the same truth in its jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doing {
    /// Its owner keeps it for himself.
    pub maintenance: bool,
    /// Jobs that run.
    pub running: usize,
    /// Jobs that wait for their turn.
    pub queued: usize,
    /// Somebody drives its machine.
    pub driven: bool,
}

/// The words that existing clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is in the way.
    Available,
    /// Somebody drives, or a job waits for its turn.
    Reserved,
    /// A job runs.
    Busy,
    /// Its owner keeps it for himself; new jobs are refused.
    Maintenance,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::Busy => "busy",
            Self::Maintenance => "maintenance",
        }
    }
}

impl Doing {
    /// In one word.
    pub fn status(self) -> Status {
        if self.maintenance {
            Status::Maintenance
        } else if self.running > 0 {
            Status::Busy
        } else if self.queued > 0 || self.driven {
            Status::Reserved
        } else {
            Status::Available
        }
    }
}

/// The properties of the worker's metadata that follow its computer and what it does.
pub fn properties(facts: &HostFacts, load: &HostLoad, doing: Doing) -> Map<String, Value> {
    let largest = facts.gpus.iter().max_by_key(|gpu| gpu.memory_mb);
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("status", json!(doing.status().as_str()));
    put("jobs_running", json!(doing.running));
    put("jobs_queued", json!(doing.queued));
    put("hostname", json!(facts.hostname));
    put("os", json!(facts.os));
    put("arch", json!(facts.arch));
    put("cpu_count", json!(facts.cpus));
    put("memory_mb", json!(facts.memory_mb));
    put("cpu_load", json!(rounded(load.cpu)));
    put("gpu_count", json!(facts.gpus.len()));
    // Existing clients read these three of every worker.
    put("gpu_model", json!(largest.map_or("CPU", |gpu| gpu.model.as_str())));
    put("gpu_memory_mb", json!(largest.map_or(0, |gpu| gpu.memory_mb)));
    put("cuda_version", json!(facts.cuda_version.as_deref().unwrap_or("N/A")));
    if let Some(driver) = &facts.gpu_driver {
        put("gpu_driver", json!(driver));
    }
    if !load.gpus.is_empty() {
        let free = load
            .gpus
            .iter()
            .filter_map(|gpu| Some(gpu.memory_mb - gpu.memory_used_mb?.min(gpu.memory_mb)));
        put("gpu_memory_free_mb", json!(free.max().unwrap_or(0)));
        let least = load.gpus.iter().filter_map(|gpu| gpu.utilization).reduce(f32::min);
        if let Some(least) = least {
            put("gpu_utilization", json!(rounded(least)));
        }
    }
    properties
}

/// Two places: what is told seldom need not be exact.
fn rounded(share: f32) -> f64 {
    (f64::from(share) * 100.0).round() / 100.0
}

/// What was told, and when.
#[derive(Debug)]
pub struct Presence {
    told: Map<String, Value>,
    at: Instant,
}

impl Presence {
    /// These properties are told at the door.
    pub fn new(now: Instant, told: Map<String, Value>) -> Self {
        Self { told, at: now }
    }

    /// What is to be told now, if anything is. What counts at once is told within a second, the
    /// rest with it or after half a minute.
    pub fn due(
        &mut self,
        now: Instant,
        current: &Map<String, Value>,
    ) -> Option<Map<String, Value>> {
        let since = now.saturating_duration_since(self.at);
        let changed: Map<_, _> = current
            .iter()
            .filter(|(name, value)| self.told.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let counts = changed.keys().any(|name| AT_ONCE.contains(&name.as_str()));
        let wait = if counts { AT_MOST_EVERY } else { DRIFT_EVERY };
        if changed.is_empty() || since < wait {
            return None;
        }
        self.told.extend(changed.clone());
        self.at = now;
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{GpuFacts, GpuLoad};

    fn facts() -> HostFacts {
        HostFacts {
            hostname: "node7".to_owned(),
            cpus: 8,
            memory_mb: 64_000,
            gpus: vec![
                GpuFacts { index: 0, model: "Small".to_owned(), memory_mb: 8_000 },
                GpuFacts { index: 1, model: "Large".to_owned(), memory_mb: 24_000 },
            ],
            cuda_version: Some("12.4".to_owned()),
            ..HostFacts::default()
        }
    }

    #[test]
    fn the_status_is_one_of_the_four_known_words_and_the_gravest_counts() {
        let doing =
            |maintenance, running, queued, driven| Doing { maintenance, running, queued, driven };
        assert_eq!(Doing::default().status(), Status::Available);
        assert_eq!(doing(false, 0, 1, false).status(), Status::Reserved);
        assert_eq!(doing(false, 0, 0, true).status(), Status::Reserved);
        assert_eq!(doing(false, 1, 4, true).status(), Status::Busy);
        assert_eq!(doing(true, 1, 4, true).status(), Status::Maintenance);
    }

    #[test]
    fn a_computer_is_found_by_its_largest_card_and_by_what_is_free() {
        let card = |used, utilization| GpuLoad {
            memory_mb: 24_000,
            memory_used_mb: Some(used),
            utilization: Some(utilization),
            ..GpuLoad::default()
        };
        let load =
            HostLoad { gpus: vec![card(20_000, 0.9), card(4_000, 0.111)], ..HostLoad::default() };
        let told = properties(&facts(), &load, Doing::default());
        let get = |name: &str| told.get(name).cloned().unwrap_or_default();
        assert_eq!(get("gpu_model"), "Large");
        assert_eq!(
            (get("gpu_memory_mb"), get("gpu_memory_free_mb")),
            (json!(24_000), json!(20_000))
        );
        assert_eq!((get("gpu_utilization"), get("cuda_version")), (json!(0.11), json!("12.4")));
    }

    #[test]
    fn without_a_card_the_words_that_existing_clients_read_are_there() {
        let told = properties(&HostFacts::default(), &HostLoad::default(), Doing::default());
        assert_eq!(told.get("gpu_model"), Some(&json!("CPU")));
        assert_eq!(told.get("gpu_memory_mb"), Some(&json!(0)));
        assert_eq!(told.get("cuda_version"), Some(&json!("N/A")));
    }

    #[test]
    fn what_counts_is_told_at_once_and_drifting_numbers_seldom() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let told =
            |cpu, doing| properties(&facts(), &HostLoad { cpu, ..HostLoad::default() }, doing);
        let mut presence = Presence::new(start, told(0.0, Doing::default()));

        assert_eq!(presence.due(after(20.0), &told(0.5, Doing::default())), None, "it only drifts");
        let busy = Doing { running: 1, ..Doing::default() };
        let due = presence.due(after(21.0), &told(0.5, busy)).expect("at once");
        let names: Vec<_> = due.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu_load", "jobs_running", "status"], "what changed, and nothing else");
        assert_eq!(presence.due(after(21.2), &told(0.5, Doing::default())), None, "not in bursts");
        assert!(presence.due(after(22.1), &told(0.5, Doing::default())).is_some());
        assert_eq!(presence.due(after(99.0), &told(0.5, Doing::default())), None, "nothing is new");
        assert!(
            presence.due(after(99.0), &told(0.7, Doing::default())).is_some(),
            "drift, at last"
        );
    }
}
