//! How much may be said of what happens, however much happens.

use std::time::{Duration, Instant};

/// Words that may be said at once.
const BURST: u32 = 50;

/// And then one in this long: what happens more often is counted only.
const EVERY: Duration = Duration::from_millis(50);

/// A bucket of words.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    filled: Instant,
    unsaid: u64,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now, unsaid: 0 }
    }

    /// Whether one more may be said now; if so, how many were not since the last one.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        let since = now.saturating_duration_since(self.filled);
        let more = u32::try_from(since.as_millis() / EVERY.as_millis()).unwrap_or(BURST);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.filled = now;
        }
        if self.left == 0 {
            self.unsaid += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        let said = (0..1_000).filter(|_| budget.take(now).is_some()).count();
        assert_eq!(said, BURST as usize);
        now += EVERY;
        assert_eq!(budget.take(now), Some(950));
        assert_eq!(budget.take(now), None);
        now += Duration::from_hours(1);
        assert_eq!(budget.take(now), Some(1));
    }
}
