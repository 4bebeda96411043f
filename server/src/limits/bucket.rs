//! How fast something may happen, with a burst.
//!
//! A token bucket in the form of one moment (the generic cell rate algorithm): the moment at which
//! the bucket will be full again. A bucket that is full is the same as one that was never used, so
//! forgetting full ones changes nothing for anybody.

use std::time::{Duration, Instant};

/// How fast, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time that one takes.
    each: Duration,
    /// The time that a whole burst takes: an empty bucket is full again after it.
    burst: Duration,
}

impl Rate {
    /// `count` in `within`, and `burst` at once. Zeros read as one.
    pub fn new(count: u64, within: Duration, burst: u64) -> Self {
        // Never nothing, or a fast enough rate would be none at all; whole nanoseconds lose less
        // than a millionth up to a thousand in a second.
        let each = div(within, count.max(1)).max(Duration::from_nanos(1));
        Self { each, burst: times(each, burst.max(1)) }
    }

    /// `count` in a second, and `burst` at once.
    pub fn per_second(count: u64, burst: u64) -> Self {
        Self::new(count, Duration::from_secs(1), burst)
    }

    /// `count` in a minute, and as many at once.
    pub fn per_minute(count: u64) -> Self {
        Self::new(count, Duration::from_mins(1), count)
    }
}

fn div(time: Duration, by: u64) -> Duration {
    Duration::from_nanos((time.as_nanos() / u128::from(by)).try_into().unwrap_or(u64::MAX))
}

fn times(time: Duration, by: u64) -> Duration {
    Duration::from_nanos((time.as_nanos() * u128::from(by)).try_into().unwrap_or(u64::MAX))
}

/// Who may do something at a [`Rate`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes `count` out, or says how long until they are in. Nothing is taken then.
    pub fn take(&mut self, count: u64, rate: Rate, now: Instant) -> Result<(), Duration> {
        let needed = self.until_full(now).saturating_add(times(rate.each, count));
        match needed.checked_sub(rate.burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = now.checked_add(needed);
                Ok(())
            }
        }
    }

    /// Takes `count` out whether or not they are in, and says how long until none is owed. Never
    /// owes more than a burst.
    pub fn owe(&mut self, count: u64, rate: Rate, now: Instant) -> Duration {
        let most = rate.burst.saturating_mul(2);
        let needed = self.until_full(now).saturating_add(times(rate.each, count)).min(most);
        self.full_at = now.checked_add(needed);
        needed.saturating_sub(rate.burst)
    }

    /// How long until one is in: zero when there is.
    pub fn wait(&self, rate: Rate, now: Instant) -> Duration {
        self.until_full(now).saturating_add(rate.each).saturating_sub(rate.burst)
    }

    /// Whether it is as good as new.
    pub fn is_full(&self, now: Instant) -> bool {
        self.until_full(now).is_zero()
    }

    /// Time until it is full again.
    pub fn until_full(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_one_at_a_time() {
        let (rate, start) = (Rate::per_second(10, 3), Instant::now());
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(1, rate, start), Ok(()));
        }
        assert_eq!(bucket.take(1, rate, start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(100);
        assert_eq!(bucket.take(1, rate, later), Ok(()));
        assert_eq!(bucket.take(1, rate, later), Err(Duration::from_millis(100)));
        assert!(!bucket.is_full(later + Duration::from_millis(299)));
        assert!(bucket.is_full(later + Duration::from_millis(300)));
    }

    #[test]
    fn what_is_owed_is_bounded_so_that_nobody_waits_for_ever() {
        let (rate, start) = (Rate::per_second(1, 5), Instant::now());
        let mut bucket = Bucket::default();
        assert_eq!(bucket.owe(5, rate, start), Duration::ZERO);
        assert_eq!(bucket.owe(1, rate, start), Duration::from_secs(1));
        assert_eq!(bucket.owe(u64::MAX, rate, start), Duration::from_secs(5));
    }

    #[test]
    fn rates_without_sense_neither_panic_nor_let_everything_through() {
        let now = Instant::now();
        for rate in [
            Rate::per_second(0, 0),
            Rate::per_second(u64::MAX, u64::MAX),
            Rate::new(1, Duration::MAX, u64::MAX),
        ] {
            let mut bucket = Bucket::default();
            assert_eq!(bucket.take(1, rate, now), Ok(()));
            let _ = bucket.take(u64::MAX, rate, now);
            let _ = bucket.owe(u64::MAX, rate, now);
        }
    }

    proptest! {
        /// In no window does more pass than the burst and what the rate gives meanwhile.
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1u64..1000,
            burst in 1u64..50,
            steps in prop::collection::vec((0u64..50_000, 1u64..5), 1..200),
        ) {
            let rate = Rate::per_second(per_second, burst);
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Bucket::default();
            let mut passed: Vec<(Instant, u64)> = Vec::new();
            for (micros, count) in steps {
                now += Duration::from_micros(micros);
                let was = bucket;
                match bucket.take(count, rate, now) {
                    Ok(()) => passed.push((now, count)),
                    Err(wait) => {
                        prop_assert_eq!(bucket, was, "a refusal takes nothing");
                        if count <= burst {
                            prop_assert!(was.clone().take(count, rate, now + wait).is_ok());
                        }
                    }
                }
            }
            for (at, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (to, count) in &passed[at..] {
                    sum += count;
                    let seconds = to.duration_since(*from).as_secs_f64();
                    let most = burst as f64 + seconds * per_second as f64 * 1.000_01 + 1e-6;
                    prop_assert!(sum as f64 <= most, "{} in {} s", sum, seconds);
                }
            }
        }
    }
}
