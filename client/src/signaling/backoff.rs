//! The waiting between two tries, as pure logic: time and randomness are arguments.

use std::time::Duration;

/// How waiting grows.
#[derive(Debug, Clone, Copy)]
pub struct BackoffPolicy {
    /// The ceiling of the first wait.
    pub first: Duration,
    /// The ceiling of every later wait.
    pub most: Duration,
    /// A link that lived this long truly worked: the next loss starts from `first` again.
    pub steady: Duration,
}

impl Default for BackoffPolicy {
    /// Half a second, doubling to thirty. Steady is longer than a broker needs to drop a peer that
    /// it does not like, so that such a quarrel does slow down.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(30),
            steady: Duration::from_secs(10),
        }
    }
}

/// Full jitter: each wait is anywhere between nothing and a ceiling that doubles, so that a
/// thousand peers of a broker that restarted come back spread out.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    up_since: Option<Duration>,
}

impl Backoff {
    /// Nothing failed yet.
    pub fn new(policy: BackoffPolicy) -> Self {
        Self { policy, failures: 0, up_since: None }
    }

    /// The link is up. That alone does not shorten the next wait: it has to live first.
    pub fn connected(&mut self, now: Duration) {
        self.up_since = Some(now);
    }

    /// The link was lost, or a try failed: how long to wait before the next one. `chance` is
    /// uniform in `0.0..1.0`.
    pub fn failed(&mut self, now: Duration, chance: f64) -> Duration {
        if let Some(since) = self.up_since.take()
            && now.saturating_sub(since) >= self.policy.steady
        {
            self.failures = 0;
        }
        let wait = self.ceiling().mul_f64(chance.clamp(0.0, 1.0));
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// The longest that the next wait can be.
    pub fn ceiling(&self) -> Duration {
        // 2^16 first waits are beyond every sensible `most`.
        let grown = self.policy.first.saturating_mul(1 << self.failures.min(16));
        grown.min(self.policy.most)
    }

    /// How many tries failed since the link last truly worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_ceiling() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        let waits: Vec<_> = (0..9).map(|_| backoff.failed(S, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    }

    #[test]
    fn a_link_that_dies_at_once_does_not_reset_the_waiting() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        for second in 0..4 {
            backoff.connected(S * second);
            backoff.failed(S * second + S / 10, 1.0);
        }
        assert_eq!(backoff.ceiling(), S * 8);
    }

    #[test]
    fn a_link_that_truly_worked_does() {
        let mut backoff = Backoff::new(BackoffPolicy::default());
        for _ in 0..5 {
            backoff.failed(S, 1.0);
        }
        backoff.connected(S * 100);
        assert_eq!(backoff.failed(S * 110, 1.0), S / 2);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_ceiling_and_none_than_the_most(
            tries in prop::collection::vec((0.0..1.0f64, 0u64..100, any::<bool>()), 0..80)
        ) {
            let policy = BackoffPolicy::default();
            let mut backoff = Backoff::new(policy);
            let mut now = Duration::ZERO;
            for (chance, later, connects) in tries {
                now += Duration::from_secs(later);
                let ceiling = backoff.ceiling();
                let worked = backoff.up_since.is_some_and(|up| now.saturating_sub(up) >= policy.steady);
                let wait = backoff.failed(now, chance);
                let allowed = if worked { policy.first } else { ceiling };
                prop_assert!(wait <= allowed);
                prop_assert!(wait <= policy.most);
                if connects {
                    backoff.connected(now);
                }
            }
        }

        #[test]
        fn all_of_the_range_is_used(chance in 0.0..1.0f64) {
            let mut backoff = Backoff::new(BackoffPolicy::default());
            let wait = backoff.failed(S, chance).as_secs_f64();
            prop_assert!((wait - 0.5 * chance).abs() < 1e-6);
        }
    }
}
