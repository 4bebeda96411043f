//! Which pictures are shown of those that come. Pure: the time goes in.

use std::time::{Duration, Instant};

/// Lets pass no more than so many a second.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    due: Option<Instant>,
}

impl Pace {
    pub(super) fn new(fps: u32) -> Self {
        Self { every: Duration::from_secs(1) / fps.max(1), due: None }
    }

    /// Whether the picture of this moment is to be shown.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        // A quarter early is in time: otherwise a camera at 30 a second whose pictures come a
        // little unevenly would be shown at 10 where 15 are allowed.
        let early = now + self.every / 4;
        match self.due {
            Some(due) if early < due => false,
            // The next is due one step after this one was, so that being early adds up to nothing;
            // after a gap the count begins anew.
            Some(due) if now < due + self.every => {
                self.due = Some(due + self.every);
                true
            }
            _ => {
                self.due = Some(now + self.every);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(fps: u32, times_us: impl Iterator<Item = u64>) -> usize {
        let (mut pace, start) = (Pace::new(fps), Instant::now());
        times_us.filter(|us| pace.is_due(start + Duration::from_micros(*us))).count()
    }

    #[test]
    fn every_second_picture_of_an_uneven_camera_is_shown_at_half_its_rate() {
        let uneven = (0..300_u64).map(|n| n * 33_333 + if n % 3 == 0 { 4_000 } else { 0 });
        let count = shown(15, uneven);
        assert!((148..=152).contains(&count), "{count} of 300");
    }

    #[test]
    fn a_slow_camera_is_shown_whole_and_a_gap_is_not_made_up_for() {
        assert_eq!(shown(15, (0..50).map(|n| n * 100_000)), 50);
        // A second of silence, then sixty a second for one second.
        let burst = std::iter::once(0).chain((0..60).map(|n| 1_000_000 + n * 16_667));
        let count = shown(15, burst);
        assert!((15..=17).contains(&count), "{count}");
    }

    proptest! {
        #[test]
        fn never_more_than_allowed(
            fps in 1..60_u32,
            gaps in proptest::collection::vec(1..200_000_u64, 1..200),
        ) {
            let times = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) });
            let whole: u64 = gaps.iter().sum();
            let most = whole as f64 / 1e6 * f64::from(fps) + 2.0;
            let count = shown(fps, times);
            prop_assert!(count as f64 <= most, "{count} of {most}");
        }
    }
}
