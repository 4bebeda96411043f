//! One presentation time for pictures of changing origin.
//!
//! A camera that starts anew, a file that begins again and the slate between them each count from
//! where they like. Browsers take a jump for a gap of minutes, so times are moved to go on evenly.
//! Pure logic: time is an argument.

use std::time::Instant;

/// Ticks of RTP time in a second.
const CLOCK: u64 = 90_000;

/// An origin that runs ahead of or behind the clock by more than this within one picture has jumped.
const JUMP: i64 = CLOCK as i64;

/// Moves presentation times.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Added to the origin's times.
    offset: u32,
    /// The last time given out, and when.
    told: Option<(u32, Instant)>,
    /// Another origin begins with the next picture.
    switched: bool,
}

impl Timeline {
    /// Another origin begins with the next picture.
    pub fn switch(&mut self) {
        self.switched = true;
    }

    /// The time to give out for a picture that its origin counts as `time`, in ticks of 90 kHz.
    pub fn map(&mut self, time: u32, now: Instant) -> u32 {
        let switched = std::mem::take(&mut self.switched);
        if let Some((told, at)) = self.told {
            let passed = (now.saturating_duration_since(at).as_micros() as u64 * CLOCK / 1_000_000)
                .min(i32::MAX as u64);
            let moved = time.wrapping_add(self.offset);
            let advanced = i64::from(moved.wrapping_sub(told).cast_signed());
            if switched || advanced <= 0 || (advanced - passed as i64).abs() > JUMP {
                self.offset = told.wrapping_add((passed as u32).max(1)).wrapping_sub(time);
            }
        }
        let moved = time.wrapping_add(self.offset);
        self.told = Some((moved, now));
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_even_origin_is_passed_on_as_it_is() {
        let (mut line, start) = (Timeline::default(), Instant::now());
        for n in 0..100 {
            let now = start + Duration::from_millis(n * 33);
            assert_eq!(line.map(n as u32 * 3_000, now), n as u32 * 3_000);
        }
    }

    #[test]
    fn pictures_that_come_in_a_bunch_keep_their_distance() {
        let (mut line, now) = (Timeline::default(), Instant::now());
        let told: Vec<u32> = (0..5).map(|n| line.map(n * 3_000, now)).collect();
        assert_eq!(told, [0, 3_000, 6_000, 9_000, 12_000]);
    }

    #[test]
    fn another_origin_goes_on_after_the_time_that_passed() {
        let (mut line, start) = (Timeline::default(), Instant::now());
        let last = line.map(700_000, start);
        line.switch();
        let next = line.map(12, start + Duration::from_millis(100));
        assert_eq!(next.wrapping_sub(last), 9_000);
        let later = line.map(3_012, start + Duration::from_millis(133));
        assert_eq!(later.wrapping_sub(next), 3_000);
    }

    proptest! {
        #[test]
        fn whatever_an_origin_counts_time_only_goes_forward(
            pictures in proptest::collection::vec((any::<u32>(), 0u64..5_000), 1..60),
        ) {
            let (mut line, mut now) = (Timeline::default(), Instant::now());
            let mut last: Option<u32> = None;
            for (time, ms) in pictures {
                now += Duration::from_millis(ms);
                let told = line.map(time, now);
                if let Some(last) = last {
                    let step = told.wrapping_sub(last).cast_signed();
                    let passed = ms as i32 * 90;
                    prop_assert!(step > 0 && (step - passed).abs() <= 90_001, "{step} in {ms} ms");
                }
                last = Some(told);
            }
        }
    }
}
