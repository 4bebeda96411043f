//! What size of pictures, and how many a second, a rate is enough for.
//!
//! An encoder at too low a rate skips pictures: the picture freezes. A smaller picture of the same
//! scene needs fewer bits, so the size steps down first, twice, and the number of pictures after that:
//! a driver can do with less detail sooner than with an old picture. Pure logic: time is an argument.

use std::time::{Duration, Instant};

/// What pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Sixteenths of the full width and height: 16, 12 or 8.
    pub sixteenths: u32,
    /// One in so many pictures is encoded.
    pub every: u32,
}

impl Shape {
    /// Everything.
    pub const FULL: Self = Self { sixteenths: 16, every: 1 };
}

/// The steps, and the bits a second for each thousand pixels of the full size from which on one is
/// taken. At 1280x720: 830, 460, 230 and 140 kbit/s. The simulated rover at these rates loses no picture.
const STEPS: [(f64, Shape); 5] = [
    (0.90, Shape::FULL),
    (0.50, Shape { sixteenths: 12, every: 1 }),
    (0.25, Shape { sixteenths: 8, every: 1 }),
    (0.15, Shape { sixteenths: 8, every: 2 }),
    (0.0, Shape { sixteenths: 8, every: 3 }),
];

/// A higher step is taken when the rate is this much above what it needs, for so long.
const MARGIN: f64 = 1.2;
const UP_AFTER: Duration = Duration::from_secs(3);

/// Remembers the step.
#[derive(Debug)]
pub struct Ladder {
    pixels: u64,
    step: usize,
    /// Since when a higher step would do.
    better_since: Option<Instant>,
}

impl Ladder {
    /// For pictures of so many pixels; 0 while that is not known.
    pub fn new(pixels: u64) -> Self {
        Self { pixels, step: 0, better_since: None }
    }

    /// The pictures have another size by themselves.
    pub fn set_pixels(&mut self, pixels: u64) {
        self.pixels = pixels;
    }

    /// The shape for this rate now.
    pub fn choose(&mut self, now: Instant, bitrate: u32) -> Shape {
        if self.pixels == 0 {
            return Shape::FULL;
        }
        let density = f64::from(bitrate) / self.pixels as f64;
        let fits = |needs: f64| STEPS.iter().position(|(least, _)| density >= least * needs);
        let lowest = STEPS.len() - 1;
        let (now_fits, surely_fits) = (fits(1.0).unwrap_or(lowest), fits(MARGIN).unwrap_or(lowest));
        if now_fits > self.step {
            self.step = now_fits;
            self.better_since = None;
        } else if surely_fits < self.step {
            let since = *self.better_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= UP_AFTER {
                self.step = surely_fits;
                self.better_since = None;
            }
        } else {
            self.better_since = None;
        }
        STEPS[self.step].1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HD: u64 = 1280 * 720;

    #[test]
    fn size_steps_down_before_the_number_of_pictures() {
        let shape = |bitrate| Ladder::new(HD).choose(Instant::now(), bitrate);
        assert_eq!(shape(2_500_000), Shape::FULL);
        assert_eq!(shape(700_000), Shape { sixteenths: 12, every: 1 });
        assert_eq!(shape(300_000), Shape { sixteenths: 8, every: 1 });
        assert_eq!(shape(150_000), Shape { sixteenths: 8, every: 2 });
        assert_eq!(shape(100_000), Shape { sixteenths: 8, every: 3 });
        assert_eq!(Ladder::new(0).choose(Instant::now(), 100_000), Shape::FULL);
    }

    #[test]
    fn down_at_once_and_up_when_it_has_been_better_for_a_while() {
        let (mut ladder, start) = (Ladder::new(HD), Instant::now());
        let mut at =
            |ms, bitrate| ladder.choose(start + Duration::from_millis(ms), bitrate).sixteenths;
        assert_eq!(at(0, 700_000), 12);
        assert_eq!(at(100, 850_000), 12, "just enough is not enough");
        assert_eq!(at(9_000, 850_000), 12);
        assert_eq!(at(10_000, 1_100_000), 12);
        assert_eq!(at(12_000, 800_000), 12);
        assert_eq!(at(12_500, 1_100_000), 12);
        assert_eq!(at(15_400, 1_100_000), 12, "the wait began anew");
        assert_eq!(at(15_500, 1_100_000), 16);
    }

    proptest! {
        #[test]
        fn no_rate_however_it_moves_makes_it_step_up_twice_within_the_wait(
            rates in prop::collection::vec(50_000u32..3_000_000, 1..400),
        ) {
            let (mut ladder, start) = (Ladder::new(HD), Instant::now());
            let (mut before, mut up): (usize, Option<Instant>) = (0, None);
            for (n, rate) in rates.into_iter().enumerate() {
                let now = start + Duration::from_millis(100) * n as u32;
                ladder.choose(now, rate);
                if ladder.step < before {
                    prop_assert!(up.is_none_or(|last| now - last >= UP_AFTER));
                    up = Some(now);
                }
                before = ladder.step;
            }
        }
    }
}
