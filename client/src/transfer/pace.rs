//! How fast a file moves and how long it still takes, as pure logic.

use std::{collections::VecDeque, time::Duration};

use super::Progress;

/// How often those who watch are told.
pub const REPORT_EVERY: Duration = Duration::from_millis(250);

/// The rate is that of so long: short enough to show what a link does now, long enough that the
/// pauses in which a disk makes things safe do not show.
const WINDOW: Duration = Duration::from_secs(5);

/// How far a file is, how fast it moves, and how long it still takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// How far.
    pub progress: Progress,
    /// What moved in the last five seconds, by the second. What was there already does not count.
    pub bytes_per_second: u64,
    /// The rest at this rate; `None` while nothing moves.
    pub remaining: Option<Duration>,
}

/// Watches one file. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Pace {
    /// When so many bytes had moved, oldest first.
    seen: VecDeque<(Duration, u64)>,
    resumed_at: u64,
}

impl Pace {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the file now.
    pub fn look(&mut self, now: Duration, progress: Progress) -> Report {
        let last = self.seen.back().map_or(0, |(_, moved)| *moved);
        if progress.resumed_at != self.resumed_at || progress.moved < last {
            // A part that was there, or was not the right one: neither is speed.
            self.resumed_at = progress.resumed_at;
            self.seen.clear();
        }
        // However often this looks, it keeps no more than it reports.
        let len = self.seen.len();
        if len >= 2 && now.saturating_sub(self.seen[len - 2].0) < REPORT_EVERY {
            self.seen.pop_back();
        }
        self.seen.push_back((now, progress.moved));
        // The newest of those that are older than the window is where it begins.
        while self.seen.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= WINDOW) {
            self.seen.pop_front();
        }
        let bytes_per_second = self.rate();
        let left = progress.total.saturating_sub(progress.moved);
        let remaining = match (left, bytes_per_second) {
            (0, _) => Some(Duration::ZERO),
            (_, 0) => None,
            (left, rate) => Some(Duration::from_secs_f64(left as f64 / rate as f64)),
        };
        Report { progress, bytes_per_second, remaining }
    }

    fn rate(&self) -> u64 {
        let (Some((from, before)), Some((to, after))) = (self.seen.front(), self.seen.back())
        else {
            return 0;
        };
        let took = to.saturating_sub(*from).as_secs_f64();
        // Rounded by the cast, which also bounds it.
        if took > 0.0 { ((after - before) as f64 / took) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MB: u64 = 1_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(moved: u64) -> Progress {
        Progress { moved, total: 100 * MB, ..Progress::default() }
    }

    #[test]
    fn a_steady_file_has_a_steady_rate_and_an_end_in_sight() {
        let mut pace = Pace::new();
        let first = pace.look(ms(0), at(0));
        assert_eq!((first.bytes_per_second, first.remaining), (0, None));
        for step in 1..=40 {
            let report = pace.look(ms(step * 250), at(step * MB));
            assert_eq!(report.bytes_per_second, 4 * MB);
            assert_eq!(report.remaining, Some(Duration::from_secs_f64((100 - step) as f64 / 4.0)));
        }
        let last = pace.look(ms(25_000), at(100 * MB));
        assert_eq!(last.remaining, Some(Duration::ZERO));
    }

    #[test]
    fn a_file_that_stalls_slows_down_to_nothing_within_the_window() {
        let mut pace = Pace::new();
        pace.look(ms(0), at(0));
        pace.look(ms(1000), at(10 * MB));
        let waiting = pace.look(ms(2000), at(10 * MB));
        assert_eq!(waiting.bytes_per_second, 5 * MB);
        for step in 0..30 {
            pace.look(ms(2250 + step * 250), at(10 * MB));
        }
        let stalled = pace.look(ms(10_000), at(10 * MB));
        assert_eq!((stalled.bytes_per_second, stalled.remaining), (0, None));
    }

    #[test]
    fn what_was_there_already_is_no_speed() {
        let mut pace = Pace::new();
        pace.look(ms(0), at(0));
        let resumed = Progress { resumed_at: 50 * MB, ..at(50 * MB) };
        assert_eq!(pace.look(ms(250), resumed).bytes_per_second, 0);
        let going = Progress { moved: 51 * MB, ..resumed };
        assert_eq!(pace.look(ms(1250), going).bytes_per_second, MB);
        // It was not the beginning of this file after all.
        let again = at(MB);
        assert_eq!(pace.look(ms(1500), again).bytes_per_second, 0);
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_overflows_and_little_is_kept(
            steps in prop::collection::vec((0_u64..300, any::<u64>(), any::<u64>(), any::<u64>()), 1..200),
        ) {
            let (mut pace, mut now) = (Pace::new(), 0);
            for (passed, moved, total, resumed_at) in steps {
                now += passed;
                let report = pace.look(ms(now), Progress { moved, total, resumed_at, durable: 0 });
                if total > moved && report.bytes_per_second == 0 {
                    prop_assert_eq!(report.remaining, None);
                }
            }
            prop_assert!(pace.seen.len() <= 24, "{}", pace.seen.len());
        }
    }
}
