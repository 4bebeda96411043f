//! What the machine tells twenty times a second.

use halyard_protocol::ids::PeerId;
use serde::Serialize;
use serde_json::Value;

use crate::{
    drive::{Counts, Rule},
    driver::DriverState,
};

/// The payload of `TELEMETRY::`. SI units; `null` or absent is what the machine cannot tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Telemetry {
    /// Grows by one with every message; gaps are messages lost on the way.
    pub seq: u64,
    /// Milliseconds since 1970 by the worker's clock.
    pub time_ms: u64,
    /// Milliseconds since the worker started, of a clock that nobody sets. Drivers echo it.
    pub stamp: u64,
    /// Where the machine is and how it moves.
    #[serde(flatten)]
    pub state: DriverState,
    /// Whether the e-stop is latched.
    pub estop: bool,
    /// The rule by which nothing moves now.
    pub stopped: Option<Rule>,
    /// Who drives.
    pub driver: Option<PeerId>,
    /// What is wrong with what speaks to the machine. Told by `CHANGED::` alone.
    #[serde(skip)]
    pub fault: Option<String>,
    /// How often each rule did something. Told by `GET /status` alone.
    #[serde(skip)]
    pub counts: Counts,
}

impl Telemetry {
    /// The payload.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::driver::{Point, Pose};

    #[test]
    fn telemetry_reads_like_its_schema() {
        let told = Telemetry {
            seq: 7,
            time_ms: 1_700_000_000_000,
            stamp: 60_000,
            state: DriverState {
                pose: Some(Pose { x: 1.0, y: 2.0, heading: 0.5 }),
                speed: 0.25,
                angular_speed: 0.0,
                battery: Some(0.5),
                goal: Some(Point { x: 3.0, y: 4.0 }),
                distance_to_goal: Some(2.5),
                values: [("arm".to_owned(), json!("folded"))].into_iter().collect(),
            },
            stopped: Some(Rule::Watchdog),
            ..Telemetry::default()
        };
        assert_eq!(
            told.to_value(),
            json!({
                "seq": 7, "time_ms": 1_700_000_000_000_u64,
                "pose": {"x": 1.0, "y": 2.0, "heading": 0.5},
                "speed": 0.25, "angular_speed": 0.0, "battery": 0.5,
                "goal": {"x": 3.0, "y": 4.0}, "distance_to_goal": 2.5,
                "arm": "folded",
                "estop": false, "stopped": "watchdog", "driver": null, "stamp": 60_000
            })
        );
    }
}
