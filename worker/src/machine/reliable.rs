//! What of the machine's state must not be missed.

use std::{collections::BTreeMap, sync::Arc};

use halyard_protocol::channel::TelemetryField;
use serde_json::{Value, json};

use super::Telemetry;

/// A battery below this is low, and stays so until it is above [`CHARGED`]: it does not flap.
const LOW: f64 = 0.2;
const CHARGED: f64 = 0.25;

/// The values as they are now, by the names of their fields.
pub type Values = Arc<BTreeMap<String, Value>>;

/// Makes the reliable values of what the machine tells.
#[derive(Debug)]
pub(super) struct Reliable {
    /// The driver's own fields that are reliable.
    own: Vec<String>,
    battery_is_low: bool,
}

impl Reliable {
    pub(super) fn new(fields: &[TelemetryField]) -> Self {
        let own = fields.iter().filter(|field| field.reliable).map(|field| field.name.clone());
        Self { own: own.collect(), battery_is_low: false }
    }

    /// What they are now.
    pub(super) fn values(&mut self, told: &Telemetry) -> BTreeMap<String, Value> {
        if let Some(battery) = told.state.battery {
            self.battery_is_low = battery < if self.battery_is_low { CHARGED } else { LOW };
        }
        let own = self.own.iter().map(|name| {
            let value = told.state.values.get(name).cloned().unwrap_or(Value::Null);
            (name.clone(), value)
        });
        let ours = [
            ("estop", json!(told.estop)),
            ("stopped", json!(told.stopped.map(crate::drive::Rule::as_str))),
            ("driver", json!(told.driver)),
            ("fault", json!(told.fault)),
            ("battery_low", json!(told.state.battery.map(|_| self.battery_is_low))),
        ];
        own.chain(ours.map(|(name, value)| (name.to_owned(), value))).collect()
    }
}

/// What differs between two states, newest values.
pub fn difference(
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let changed = now.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    changed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The names that every machine's telemetry has already; whole objects by their first part too.
pub fn own_fields() -> Vec<String> {
    let names = schema(Vec::new()).into_iter().map(|field| field.name);
    let objects = ["pose", "goal"].map(str::to_owned);
    names.chain(objects).collect()
}

/// The fields that every machine has; a driver adds its own.
pub(super) fn schema(own: Vec<TelemetryField>) -> Vec<TelemetryField> {
    let field = |name: &str, unit: Option<&str>, help: &str, reliable| TelemetryField {
        name: name.to_owned(),
        unit: unit.map(str::to_owned),
        help: help.to_owned(),
        reliable,
    };
    let mut fields = vec![
        field("seq", None, "grows by one with every message", false),
        field("time_ms", Some("ms"), "since 1970, by the worker's clock", false),
        field("stamp", Some("ms"), "since the worker started; echoed by drivers", false),
        field("pose.x", Some("m"), "where the machine is", false),
        field("pose.y", Some("m"), "where the machine is", false),
        field("pose.heading", Some("rad"), "counter-clockwise from the x axis", false),
        field("speed", Some("m/s"), "forwards", false),
        field("angular_speed", Some("rad/s"), "positive to the left", false),
        field("battery", Some("1"), "0 is empty, 1 is full", false),
        field("battery_low", None, "whether it should be charged soon; in CHANGED alone", true),
        field("goal.x", Some("m"), "where it is meant to go", false),
        field("goal.y", Some("m"), "where it is meant to go", false),
        field("distance_to_goal", Some("m"), "as the crow flies", false),
        field("estop", None, "whether the emergency stop is latched", true),
        field("stopped", None, "the rule by which nothing moves, or null", true),
        field("driver", None, "the peer that drives, or null", true),
        field("fault", None, "what is wrong with the machine's driver program, or null", true),
    ];
    fields.extend(own);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::DriverState;

    fn told(battery: f64) -> Telemetry {
        let state = DriverState { battery: Some(battery), ..DriverState::default() };
        Telemetry { state, ..Telemetry::default() }
    }

    #[test]
    fn a_battery_that_hovers_is_low_once() {
        let mut reliable = Reliable::new(&[]);
        let mut low = |battery| reliable.values(&told(battery))["battery_low"].clone();
        let seen = [0.3, 0.21, 0.19, 0.21, 0.24, 0.26, 0.21].map(&mut low);
        assert_eq!(seen, [false, false, true, true, true, false, false].map(|low| json!(low)));
    }

    #[test]
    fn a_machine_without_a_battery_does_not_say_that_it_is_full() {
        let values = Reliable::new(&[]).values(&Telemetry::default());
        assert_eq!(values["battery_low"], Value::Null);
    }

    #[test]
    fn only_what_differs_is_said() {
        let mut reliable = Reliable::new(&[]);
        let before = reliable.values(&told(0.5));
        assert!(difference(&before, &reliable.values(&told(0.4))).is_empty());
        let now = reliable.values(&told(0.1));
        assert_eq!(difference(&before, &now), [("battery_low".to_owned(), json!(true))].into());
        assert_eq!(difference(&BTreeMap::new(), &now), now, "whoever is new hears all");
    }

    #[test]
    fn every_field_has_one_meaning() {
        let mut names: Vec<_> = schema(Vec::new()).into_iter().map(|field| field.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
