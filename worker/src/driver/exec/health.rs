//! Whether a driver program follows, as pure logic.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A program that has not echoed a velocity of this long ago does not follow: the machine counts as
/// stopped, and nobody drives it. As long as the watchdog of the other side.
pub(super) const QUIET: Duration = Duration::from_millis(500);

/// And after this long it is ended and started again.
pub(super) const HUNG: Duration = Duration::from_secs(5);

/// Lines a second that a program may say: twenty would do.
const MOST_LINES: u32 = 1_000;

/// Bytes a second.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Velocities that were not echoed yet: some three seconds' worth.
const REMEMBERED: usize = 64;

/// Watches one run of a program.
#[derive(Debug)]
pub(super) struct Health {
    sent: VecDeque<(u64, Instant)>,
    /// When the newest velocity was sent that the program has echoed.
    confirmed: Instant,
    second: Instant,
    lines: u32,
    bytes: usize,
}

impl Health {
    /// The program has just said hello.
    pub(super) fn new(now: Instant) -> Self {
        Self { sent: VecDeque::new(), confirmed: now, second: now, lines: 0, bytes: 0 }
    }

    /// A velocity was written.
    pub(super) fn sent(&mut self, now: Instant, n: u64) {
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((n, now));
    }

    /// The program echoes a velocity.
    pub(super) fn echoed(&mut self, n: u64) {
        while let Some((sent, at)) = self.sent.front().copied() {
            if sent > n {
                break;
            }
            self.sent.pop_front();
            if sent == n {
                self.confirmed = self.confirmed.max(at);
            }
        }
    }

    /// For how long it has not followed.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }

    /// A line came. Too many of them, or too much, is told in words.
    pub(super) fn line(&mut self, now: Instant, bytes: usize) -> Result<(), String> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines, self.bytes) = (now, 0, 0);
        }
        self.lines += 1;
        self.bytes += bytes;
        if self.lines > MOST_LINES {
            return Err(format!("it says more than {MOST_LINES} lines a second"));
        }
        if self.bytes > MOST_BYTES {
            return Err(format!("it says more than {MOST_BYTES} bytes a second"));
        }
        Ok(())
    }
}

/// Pauses between two starts: they grow while the program does not stay up.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A program that stayed up this long has recovered.
    const GOOD: Duration = Duration::from_mins(1);

    /// The pause after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= Self::GOOD {
            self.failures = 0;
        }
        let pause = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_echoes_is_alive_and_who_only_talks_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut health = Health::new(start);
        for n in 1..=40 {
            health.sent(at(n * 50), n);
            if n <= 20 {
                health.echoed(n);
            }
        }
        assert_eq!(health.quiet_for(at(2_000)), Duration::from_secs(1));
        // A number from long ago, or one that was never sent, is no sign of life.
        health.echoed(3);
        health.echoed(0);
        assert!(health.quiet_for(at(2_000)) >= QUIET);
        health.echoed(40);
        assert_eq!(health.quiet_for(at(2_000)), Duration::ZERO);
        health.sent(at(2_050), 41);
        health.echoed(u64::MAX);
        assert_eq!(health.quiet_for(at(2_100)), Duration::from_millis(100));
    }

    #[test]
    fn a_flood_is_told_by_lines_and_by_bytes() {
        let start = Instant::now();
        let mut health = Health::new(start);
        assert!((0..MOST_LINES).all(|_| health.line(start, 10).is_ok()));
        assert!(health.line(start, 10).unwrap_err().contains("lines a second"));
        let mut health = Health::new(start);
        assert!((0..64).all(|_| health.line(start, 64 * 1024).is_ok()));
        assert!(health.line(start, 64 * 1024).unwrap_err().contains("bytes a second"));
        assert!(health.line(start + Duration::from_secs(1), 10).is_ok());
    }

    #[test]
    fn pauses_grow_and_a_good_run_makes_them_short_again() {
        let mut pauses = Pauses::default();
        let short = Duration::from_secs(1);
        let grown: Vec<_> = (0..9).map(|_| pauses.after(short).as_millis()).collect();
        assert_eq!(grown, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(pauses.after(Pauses::GOOD), Pauses::FIRST);
    }
}
