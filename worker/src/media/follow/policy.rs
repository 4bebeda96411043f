//! Which rate one encode has when several people watch it.
//!
//! * Who **drives** decides: the picture must be live for that one, and others see what is left of it.
//! * Without a driver the **slowest viewer who is not hopeless** decides. Hopeless is who gets less than a
//!   third of what the best gets: a telephone at the edge of its cell does not blur the picture for
//!   everybody else; who has half of the others' rate is worth the sharpness it costs them. The hopeless
//!   one is shown what fits between two key frames.
//! * Who has **not been measured** yet does not decide.
//!
//! Down goes the rate at once, up in steps that are worth it. Encoders for which another rate is dear
//! take their own time ([`restart`](crate::media::restart)). Pure logic: time is an argument.

use std::time::{Duration, Instant};

use super::Reading;
use crate::media::encoder::BITRATES;

/// The share of a path that the encoder gets. The rest is for headers, repairs, and the encoder's own
/// deviations.
pub(super) const SHARE: f64 = 0.88;

/// A viewer with less than this share of the best one's rate is hopeless.
const HOPELESS: f64 = 1.0 / 3.0;

/// A lower rate is followed below this share of the present one, and no sooner than this after the last
/// change.
const DOWN: f64 = 0.95;
const DOWN_SPACING: Duration = Duration::from_millis(200);

/// A higher one above this multiple, and no sooner than this after the last change.
const UP: f64 = 1.06;
const UP_SPACING: Duration = Duration::from_millis(500);

/// Remembers the rate.
#[derive(Debug)]
pub struct Policy {
    most: u32,
    rate: u32,
    changed: Option<Instant>,
}

impl Policy {
    /// Begins with the most, which it never exceeds.
    pub fn new(most: u32) -> Self {
        Self { most, rate: most, changed: None }
    }

    /// The upper limit.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Another upper limit. Who lowers it, or had reached the old one, gets it at once.
    pub fn set_most(&mut self, most: u32) {
        self.rate = if self.rate == self.most { most } else { self.rate.min(most) };
        self.most = most;
    }

    /// Begins anew with the most.
    pub fn reset(&mut self) {
        (self.rate, self.changed) = (self.most, None);
    }

    /// Those who decide.
    pub fn leaders<'a>(&self, viewers: &'a [Reading]) -> impl Iterator<Item = &'a Reading> {
        let is_driven = viewers.iter().any(|viewer| viewer.drives && viewer.is_measured);
        let best = viewers.iter().filter(|viewer| viewer.is_measured).map(|viewer| viewer.bitrate);
        // What nobody can be sent helps nobody.
        let best = f64::from(best.max().unwrap_or(0).min(self.most));
        viewers.iter().filter(move |viewer| {
            viewer.is_measured
                && (viewer.drives || !is_driven && f64::from(viewer.bitrate) >= best * HOPELESS)
        })
    }

    /// The rate for these viewers now, in bits a second.
    pub fn decide(&mut self, now: Instant, viewers: &[Reading]) -> u32 {
        let Some(slowest) = self.leaders(viewers).map(|viewer| viewer.bitrate).min() else {
            return self.rate;
        };
        let least = (*BITRATES.start()).min(self.most);
        let wanted = ((f64::from(slowest) * SHARE) as u32).clamp(least, self.most);
        let since = self.changed.map(|changed| now.saturating_duration_since(changed));
        let has_passed = |spacing| since.is_none_or(|since| since >= spacing);
        let (rate, wish) = (f64::from(self.rate), f64::from(wanted));
        let goes_down = wish < rate * DOWN && has_passed(DOWN_SPACING);
        // The last bit of the way up is taken too.
        let is_worth_it = wish > rate * UP || wanted == self.most && wanted > self.rate;
        if goes_down || is_worth_it && has_passed(UP_SPACING) {
            self.rate = wanted;
            self.changed = Some(now);
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: u32 = 2_500_000;

    fn viewer(bitrate: u32) -> Reading {
        Reading {
            bitrate,
            delivered: None,
            is_measured: true,
            drives: false,
            backlog: Duration::ZERO,
        }
    }

    fn driver(bitrate: u32) -> Reading {
        Reading { drives: true, ..viewer(bitrate) }
    }

    fn rate(viewers: &[Reading]) -> u32 {
        Policy::new(MOST).decide(Instant::now(), viewers)
    }

    #[test]
    fn who_drives_decides() {
        assert_eq!(rate(&[viewer(900_000), driver(2_000_000), viewer(20_000_000)]), 1_760_000);
    }

    #[test]
    fn without_a_driver_the_slowest_decides_unless_it_is_hopeless() {
        assert_eq!(rate(&[viewer(2_000_000), viewer(1_000_000), viewer(1_500_000)]), 880_000);
        assert_eq!(rate(&[viewer(20_000_000), viewer(300_000), viewer(1_500_000)]), 1_320_000);
        // Alone, nobody is hopeless.
        assert_eq!(rate(&[viewer(300_000)]), 264_000);
    }

    #[test]
    fn who_was_not_measured_decides_nothing() {
        let guess = Reading { is_measured: false, ..viewer(100_000) };
        assert_eq!(rate(&[guess]), MOST);
        assert_eq!(rate(&[guess, viewer(1_000_000)]), 880_000);
        assert_eq!(rate(&[]), MOST);
    }

    #[test]
    fn down_at_once_and_up_in_steps_that_are_worth_it() {
        let (mut policy, start) = (Policy::new(MOST), Instant::now());
        let mut at =
            |ms, bitrate| policy.decide(start + Duration::from_millis(ms), &[viewer(bitrate)]);
        assert_eq!(at(0, 1_000_000), 880_000);
        assert_eq!(at(100, 500_000), 880_000, "too soon");
        assert_eq!(at(200, 500_000), 440_000);
        assert_eq!(at(600, 1_000_000), 440_000, "too soon");
        assert_eq!(at(700, 1_000_000), 880_000);
        assert_eq!(at(9_000, 1_040_000), 880_000, "not worth it");
        assert_eq!(at(9_100, 9_000_000), MOST);
    }

    #[test]
    fn another_limit_is_kept_at_once() {
        let (mut policy, now) = (Policy::new(MOST), Instant::now());
        policy.set_most(4_000_000);
        assert_eq!(policy.decide(now, &[]), 4_000_000);
        policy.decide(now, &[viewer(1_000_000)]);
        policy.set_most(500_000);
        assert_eq!(policy.decide(now, &[viewer(1_000_000)]), 500_000);
    }

    proptest! {
        #[test]
        fn estimates_that_swing_by_a_tenth_change_nothing_after_the_first_step(
            middle in 200_000u32..2_000_000,
            swings in prop::collection::vec(-0.035f64..0.035, 1..300),
        ) {
            let (mut policy, start) = (Policy::new(MOST), Instant::now());
            let first = policy.decide(start, &[viewer(middle)]);
            for (n, swing) in swings.iter().enumerate() {
                let now = start + Duration::from_millis(100) * n as u32;
                let bitrate = (f64::from(middle) * (1.0 + swing)) as u32;
                prop_assert_eq!(policy.decide(now, &[viewer(bitrate)]), first);
            }
        }

        #[test]
        fn whatever_viewers_report_the_rate_keeps_its_bounds_and_its_distance(
            steps in prop::collection::vec(
                (prop::collection::vec((0u32..30_000_000, any::<bool>(), any::<bool>()), 0..6), 1u64..400),
                1..100
            ),
        ) {
            let (mut policy, mut now) = (Policy::new(MOST), Instant::now());
            let mut changed: Option<(Instant, u32)> = None;
            let mut before = MOST;
            for (viewers, ms) in steps {
                now += Duration::from_millis(ms);
                let viewers: Vec<_> = viewers
                    .into_iter()
                    .map(|(bitrate, drives, is_measured)| {
                        Reading { is_measured, drives, ..viewer(bitrate) }
                    })
                    .collect();
                let rate = policy.decide(now, &viewers);
                prop_assert!((*BITRATES.start()..=MOST).contains(&rate));
                if rate != before {
                    let spacing = if rate > before { UP_SPACING } else { DOWN_SPACING };
                    prop_assert!(changed.is_none_or(|(at, _)| now - at >= spacing));
                    changed = Some((now, rate));
                    before = rate;
                }
            }
        }
    }
}
