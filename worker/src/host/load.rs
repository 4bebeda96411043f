//! How busy a computer is.

use serde::Serialize;
use serde_json::Value;

/// The object `host` of `TELEMETRY::`. What cannot be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HostLoad {
    /// All processors together, from 0 (idle) to 1.
    pub cpu: f32,
    /// Memory in use, in MiB.
    pub memory_used_mb: u64,
    /// Memory that there is, in MiB.
    pub memory_mb: u64,
    /// Graphics cards, in the order of the facts.
    pub gpus: Vec<GpuLoad>,
    /// Programs on graphics cards. Told to operators alone: on a shared computer they may be
    /// somebody else's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<GpuProcess>,
    /// Why no graphics card is named, where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_note: Option<String>,
}

/// One graphics card.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GpuLoad {
    /// Its name.
    pub model: String,
    /// Share of the last moments in which it computed, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f32>,
    /// Its memory in use, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_mb: Option<u64>,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Watts that it draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f32>,
}

/// One program on a graphics card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuProcess {
    /// Its process id, on this computer or in the container's host.
    pub pid: u32,
    /// Its file's name, without the folder and the arguments.
    pub name: String,
    /// The card's number.
    pub gpu: u32,
    /// Memory that it has there, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
}

impl HostLoad {
    /// As it is told to somebody.
    pub fn to_value(&self, operator: bool) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        if !operator && let Some(object) = value.as_object_mut() {
            object.remove("processes");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn busy() -> HostLoad {
        HostLoad {
            cpu: 0.5,
            memory_used_mb: 1000,
            memory_mb: 4000,
            gpus: vec![GpuLoad {
                model: "A card".to_owned(),
                utilization: Some(0.25),
                memory_used_mb: Some(512),
                memory_mb: 8192,
                temperature_c: Some(61),
                power_w: None,
            }],
            processes: vec![GpuProcess {
                pid: 7,
                name: "python3".to_owned(),
                gpu: 0,
                memory_mb: Some(500),
            }],
            gpu_note: None,
        }
    }

    #[test]
    fn the_load_reads_like_its_schema() {
        assert_eq!(
            busy().to_value(true),
            json!({
                "cpu": 0.5, "memory_used_mb": 1000, "memory_mb": 4000,
                "gpus": [{"model": "A card", "utilization": 0.25, "memory_used_mb": 512,
                          "memory_mb": 8192, "temperature_c": 61}],
                "processes": [{"pid": 7, "name": "python3", "gpu": 0, "memory_mb": 500}],
            })
        );
    }

    #[test]
    fn viewers_do_not_hear_whose_programs_run() {
        let told = busy().to_value(false);
        assert!(told.get("processes").is_none() && told.get("gpus").is_some(), "{told}");
    }
}
