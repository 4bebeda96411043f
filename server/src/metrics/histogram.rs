//! A histogram whose observations are relaxed atomics.
//!
//! The library's own takes a lock for each. This one is observed on the path of every message, by
//! all cores at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Sums are kept in thousand-millionths, so that they need no floating point atomics: nanoseconds
/// where seconds are observed. 64 bits of them are 584 years.
const PER_UNIT: f64 = 1e9;

/// Counts values by size. Cloning it shares the counts.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    /// Upper bounds, ascending; above the last there is one more count.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Buckets with these upper bounds, ascending, and one for all that is above.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inside { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// One value, not negative, in the unit of the bounds.
    pub fn observe(&self, value: f64) {
        let inside = &*self.0;
        let bucket = inside.bounds.iter().position(|bound| value <= *bound);
        inside.counts[bucket.unwrap_or(inside.bounds.len())].fetch_add(1, Ordering::Relaxed);
        // A float that does not fit becomes the nearest number that does.
        inside.sum.fetch_add((value * PER_UNIT) as u64, Ordering::Relaxed);
    }

    /// One duration, where the bounds are seconds.
    pub fn observe_duration(&self, value: Duration) {
        self.observe(value.as_secs_f64());
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// All values together.
    pub fn sum(&self) -> f64 {
        self.0.sum.load(Ordering::Relaxed) as f64 / PER_UNIT
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts: Vec<u64> =
            self.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        // From the same reading as the buckets, so that the text is never at odds with itself.
        let count = counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&[1.0, 10.0]);
        for value in [0.0, 1.0, 1.5, 10.0, 11.0, 1e300] {
            histogram.observe(value);
        }
        let counts: Vec<u64> =
            histogram.0.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 2, 2]);
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn durations_add_up_to_the_nanosecond() {
        let histogram = Histogram::new(&[1.0]);
        histogram.observe_duration(Duration::from_nanos(1_500));
        histogram.observe_duration(Duration::from_secs(2));
        assert!((histogram.sum() - 2.000_001_5).abs() < 1e-9, "{}", histogram.sum());
    }
}
