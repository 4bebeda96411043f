//! What a worker says of its computer, for people.

use serde_json::{Map, Value};

use super::output::printable;

/// The object `host` of telemetry on one line: processors, memory, graphics cards.
pub(super) fn load(host: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(cpu) = number(host, "cpu") {
        parts.push(format!("CPU {}", percent(cpu)));
    }
    if let (Some(used), Some(all)) = (number(host, "memory_used_mb"), number(host, "memory_mb")) {
        parts.push(format!("memory {}", of(used, all)));
    }
    let gpus = host.get("gpus").and_then(Value::as_array);
    for gpu in gpus.into_iter().flatten().take(MOST_CARDS) {
        let mut about = Vec::new();
        about.extend(number(gpu, "utilization").map(percent));
        if let (Some(used), Some(all)) = (number(gpu, "memory_used_mb"), number(gpu, "memory_mb")) {
            about.push(of(used, all));
        }
        about.extend(number(gpu, "temperature_c").map(|degrees| format!("{degrees:.0} °C")));
        about.extend(number(gpu, "power_w").map(|watts| format!("{watts:.0} W")));
        let model = gpu.get("model").and_then(Value::as_str).unwrap_or("graphics card");
        parts.push(format!("{}: {}", printable(model), about.join(", ")));
    }
    if gpus.is_none_or(Vec::is_empty) {
        parts.push("no graphics card".to_owned());
    }
    parts.join(" · ")
}

/// What a worker's metadata say of it in a few words: its status, its jobs, its computer.
pub(super) fn about(properties: &Map<String, Value>) -> String {
    let text = |name: &str| properties.get(name).and_then(Value::as_str).map(printable);
    let number = |name: &str| properties.get(name).and_then(Value::as_f64);
    let mut parts = Vec::new();
    parts.extend(text("status"));
    let waiting = number("jobs_queued").filter(|waiting| *waiting > 0.0);
    parts.extend(waiting.map(|waiting| format!("{waiting:.0} jobs wait")));
    parts.extend(text("hostname").filter(|name| !name.is_empty()));
    match (text("gpu_model"), number("gpu_memory_mb")) {
        (Some(model), Some(memory)) if memory > 0.0 => {
            let count = number("gpu_count").filter(|count| *count > 1.0);
            let count = count.map(|count| format!("{count:.0} x ")).unwrap_or_default();
            parts.push(format!("{count}{model} {:.0} GiB", memory / 1024.0));
        }
        _ => parts.extend(number("cpu_count").map(|cpus| format!("{cpus:.0} CPUs"))),
    }
    parts.join(", ")
}

/// Cards that are named on one line.
const MOST_CARDS: usize = 8;

fn number(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn of(used_mb: f64, all_mb: f64) -> String {
    format!("{:.1} of {:.1} GiB", used_mb / 1024.0, all_mb / 1024.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_computer_fits_on_a_line() {
        let host = json!({
            "cpu": 0.123, "memory_used_mb": 2048, "memory_mb": 24_064,
            "gpus": [{ "model": "A card", "utilization": 0.5, "memory_used_mb": 512,
                       "memory_mb": 8192, "temperature_c": 61 }],
        });
        assert_eq!(
            load(&host),
            "CPU 12 % · memory 2.0 of 23.5 GiB · A card: 50 %, 0.5 of 8.0 GiB, 61 °C"
        );
        assert_eq!(load(&json!({ "cpu": 1.0 })), "CPU 100 % · no graphics card");
        assert_eq!(load(&json!("hostile")), "no graphics card");
    }

    #[test]
    fn a_worker_is_told_in_a_few_words() {
        let Value::Object(properties) = json!({
            "status": "busy", "jobs_queued": 2, "hostname": "node7", "gpu_model": "A card",
            "gpu_memory_mb": 81_920, "gpu_count": 2, "cpu_count": 16,
        }) else {
            unreachable!("an object");
        };
        assert_eq!(about(&properties), "busy, 2 jobs wait, node7, 2 x A card 80 GiB");
        assert_eq!(about(&Map::new()), "");
    }
}
