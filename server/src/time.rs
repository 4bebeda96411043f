//! The clocks, read in one place. Everything below takes the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks: the steady one for windows and time-outs, the one on the wall for
/// what people and other machines agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The steady clock.
    pub steady: Instant,
    /// Time since 1970.
    pub wall: Duration,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { steady: Instant::now(), wall: wall() }
    }

    /// Whole seconds since 1970.
    pub fn unix(self) -> u64 {
        self.wall.as_secs()
    }

    /// The same moment and this much.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self { steady: self.steady + later, wall: self.wall + later }
    }
}

/// How long to wait, as headers and messages say it: whole seconds, and never none.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// Time since 1970; a clock before that reads as 1970.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Whole seconds since 1970.
pub fn unix() -> u64 {
    wall().as_secs()
}
