//! What a scenario found out, for people or for programs.

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

/// Named figures, in order.
#[derive(Default)]
pub(crate) struct Report(Vec<(String, Value)>);

impl Report {
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Rounded to what was measured.
    pub(crate) fn number(&mut self, name: &str, value: f64) {
        let rounded =
            if value.abs() >= 100.0 { value.round() } else { (value * 100.0).round() / 100.0 };
        self.put(name, rounded);
    }

    pub(crate) fn maybe(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    /// Percentiles of a histogram in nanoseconds, as microseconds.
    pub(crate) fn latencies(&mut self, prefix: &str, histogram: &Histogram<u64>) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let value = histogram.value_at_quantile(quantile) as f64 / 1000.0;
            self.number(&format!("{prefix}{name}_us"), value);
        }
    }

    pub(crate) fn print(self, json: bool) {
        if json {
            println!("{}", Value::Object(self.0.into_iter().collect::<Map<_, _>>()));
            return;
        }
        for (name, value) in self.0 {
            println!("{name:24} {value}");
        }
    }
}

/// Nanoseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("sound bounds")
}
