//! What a machine's state is made of, and what of it must not be missed.
//!
//! `TELEMETRY::` goes out many times a second on a lane that may lose it. What a worker says there is
//! described once by [`TelemetrySchema`]; fields that are marked `reliable` are said again on
//! `control`, by [`Changed`], whenever they become something else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `TELEMETRY_SCHEMA::`, after `HELLO::` and whenever it changes: what the fields of `TELEMETRY::`
/// mean.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelemetrySchema {
    /// Each of them. What is not listed may still be said.
    pub fields: Vec<TelemetryField>,
}

/// One field of `TELEMETRY::`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TelemetryField {
    /// Its name; a dot leads into an object, as in `pose.x`.
    pub name: String,
    /// What it is counted in, in the usual signs (`m/s`, `rad`, `°C`, `%`). A number of 0 to 1 is `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// One line for people.
    pub help: String,
    /// Whether `CHANGED::` tells it too.
    #[serde(default)]
    pub reliable: bool,
}

/// `CHANGED::` on `control`: these reliable fields are something else now. The first one after
/// `TELEMETRY_SCHEMA::` has all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// When this was so, on the clock of [`Drive::echo`](super::Drive::echo): milliseconds since the
    /// worker started.
    pub stamp: u64,
    /// What they are now. Of a field that changed twice before it could be said, only the newest.
    pub values: BTreeMap<String, Value>,
}
