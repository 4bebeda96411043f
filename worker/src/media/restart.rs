//! When an encoder is replaced that cannot be given another rate.
//!
//! openh264 is made for one rate here, and a new one begins with a key frame: a burst, just when the
//! network has become worse. So an encoder is made with some room above what is wanted, and the pictures
//! are spaced so that they come to that: smaller steps in both directions cost nothing. Only when that
//! is not enough, and has not been for a while, comes a new one.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

/// The room: this much more than what is wanted, as long as more could be wanted at all.
const ROOM: f64 = 1.15;

/// Pictures are spaced no further than this; what is left then needs another encoder.
const MOST_SPREAD: f64 = 1.45;

/// So long must it be too much, or too little, and so far are two encoders apart.
const TOO_MUCH_FOR: Duration = Duration::from_millis(500);
const TOO_LITTLE_FOR: Duration = Duration::from_millis(1_500);
const SPACING: Duration = Duration::from_secs(1);

/// Too little is what could be exceeded by this.
const TOO_LITTLE: f64 = 1.04;

/// Remembers the encoder.
#[derive(Debug, Default)]
pub struct Restart {
    rate: Option<u32>,
    made: Option<Instant>,
    unfit_since: Option<Instant>,
}

impl Restart {
    /// An encoder is made now, for what reason ever: the rate to make it with.
    pub fn make(&mut self, now: Instant, wanted: u32, most: u32) -> u32 {
        let rate = (f64::from(wanted) * ROOM).min(f64::from(most.max(wanted))) as u32;
        *self = Self { rate: Some(rate), made: Some(now), unfit_since: None };
        rate
    }

    /// Whether it is time for another one. Asked before each picture.
    pub fn is_due(&mut self, now: Instant, wanted: u32) -> bool {
        let (Some(rate), Some(made)) = (self.rate, self.made) else { return true };
        let (rate, wanted) = (f64::from(rate), f64::from(wanted));
        let patience = if wanted * MOST_SPREAD < rate {
            TOO_MUCH_FOR
        } else if wanted > rate * TOO_LITTLE {
            TOO_LITTLE_FOR
        } else {
            self.unfit_since = None;
            return false;
        };
        let since = *self.unfit_since.get_or_insert(now);
        now.saturating_duration_since(since) >= patience
            && now.saturating_duration_since(made) >= SPACING
    }
}

/// How much further apart pictures are, so that an encoder of this rate gives no more than what is
/// wanted: it spends the same bits on each picture however many come.
pub fn spread(rate: u32, wanted: u32) -> f64 {
    (f64::from(rate) / f64::from(wanted.max(1))).clamp(1.0, MOST_SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 2_500_000;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn there_is_room_where_more_could_be_wanted() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        assert!(restart.is_due(now, MOST));
        assert_eq!(restart.make(now, MOST, MOST), MOST);
        assert!((spread(MOST, MOST) - 1.0).abs() < f64::EPSILON);
        assert_eq!(restart.make(now, 1_000_000, MOST), 1_150_000);
        assert!((spread(1_150_000, 1_000_000) - 1.15).abs() < 1e-9);
    }

    #[test]
    fn small_steps_cost_nothing_and_large_ones_wait_a_little() {
        let (mut restart, start) = (Restart::default(), Instant::now());
        restart.make(start, 1_000_000, MOST);
        for n in 0..100 {
            let wanted = [800_000, 1_190_000][n as usize % 2];
            assert!(!restart.is_due(start + ms(n * 100), wanted), "{n}");
        }
        let later = start + ms(10_000);
        assert!(!restart.is_due(later, 700_000));
        assert!(!restart.is_due(later + ms(499), 700_000));
        assert!(restart.is_due(later + ms(500), 700_000));
        restart.make(later, 700_000, MOST);
        assert!(!restart.is_due(later + ms(100), 2_000_000));
        assert!(!restart.is_due(later + ms(1_500), 2_000_000));
        assert!(restart.is_due(later + ms(1_600), 2_000_000));
    }
}
