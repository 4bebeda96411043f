//! Which pictures of a source go on to an encoder that is to have fewer.
//!
//! Pictures are left out, and never held back to be given later at an even pace: that would make each of
//! them older. Pure logic: time is an argument.

/// Remembers when the next one is due.
#[derive(Debug, Default)]
pub struct Thin {
    /// Nanoseconds of presentation time.
    due: Option<u64>,
    /// Pictures left out since the last that went on, of those that came when they were due.
    left_out: u32,
}

impl Thin {
    /// Whether a picture goes on, whose time is so many nanoseconds if that is known: no more than
    /// `fps` a second, and of those one in `every`.
    pub fn passes(&mut self, at: Option<u64>, fps: Option<u32>, every: u32) -> bool {
        if let (Some(at), Some(fps)) = (at, fps.filter(|fps| *fps > 0)) {
            let period = 1_000_000_000 / u64::from(fps);
            let due = self.due.unwrap_or(at);
            // Cameras are uneven by some milliseconds; a time far from what is due begins anew.
            if at + period / 4 < due && due - at <= 2 * period {
                return false;
            }
            self.due = Some(if at.abs_diff(due) < period { due + period } else { at + period });
        }
        if self.left_out + 1 < every {
            self.left_out += 1;
            return false;
        }
        self.left_out = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of a second's pictures go on.
    fn of_a_second(from: u64, fps: Option<u32>, every: u32) -> usize {
        let mut thin = Thin::default();
        (0..10 * from)
            // Uneven by up to three milliseconds.
            .filter(|n| thin.passes(Some(n * 1_000_000_000 / from + n % 4 * 1_000_000), fps, every))
            .count()
            / 10
    }

    #[test]
    fn as_many_go_on_as_are_wanted() {
        assert_eq!(of_a_second(30, None, 1), 30);
        assert_eq!(of_a_second(30, Some(30), 1), 30);
        assert_eq!(of_a_second(30, Some(60), 1), 30);
        assert_eq!(of_a_second(30, Some(15), 1), 15);
        assert_eq!(of_a_second(30, Some(20), 1), 20);
        assert_eq!(of_a_second(60, Some(30), 3), 10);
        assert_eq!(of_a_second(30, None, 2), 15);
    }

    #[test]
    fn a_film_that_begins_again_goes_on() {
        let mut thin = Thin::default();
        for n in 0..100 {
            thin.passes(Some(n * 40_000_000), Some(10), 1);
        }
        assert!(thin.passes(Some(0), Some(10), 1));
        assert!(!thin.passes(Some(40_000_000), Some(10), 1));
    }

    #[test]
    fn pictures_without_a_time_are_counted() {
        let mut thin = Thin::default();
        let passed: Vec<_> = (0..6).map(|_| thin.passes(None, Some(10), 3)).collect();
        assert_eq!(passed, [false, false, true, false, false, true]);
    }

    proptest! {
        #[test]
        fn whatever_the_times_are_it_never_stops_for_long(
            times in prop::collection::vec(0u64..100_000_000_000, 1..200), fps in 1u32..60, every in 1u32..4,
        ) {
            let mut thin = Thin::default();
            let mut at = 0u64;
            let mut last = (0u64, 0usize);
            for (n, jump) in times.into_iter().enumerate() {
                // Mostly onward, sometimes anywhere.
                at = if n % 20 == 19 { jump } else { at + 33_000_000 };
                if n % 20 == 19 {
                    last = (at, n);
                }
                if thin.passes(Some(at), Some(fps), every) {
                    last = (at, n);
                }
                let most = u64::from(every + 3) * 1_000_000_000 / u64::from(fps) + 200_000_000;
                prop_assert!(at.saturating_sub(last.0) <= most, "{} since {}", at, last.0);
            }
        }
    }
}
