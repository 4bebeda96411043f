//! Times for packets of sound, which go on evenly whatever the source's own clock does.
//!
//! Pure logic: time is an argument. A packet begins where the one before ended; only where sound was
//! missing for longer than a jitter of the source, the times leave a hole, so that listeners hear a
//! pause and not a delay that stays.

use std::time::{Duration, Instant};

/// Ticks of Opus over RTP in a second (RFC 7587).
const RATE: u64 = 48_000;

/// A packet that is later than this did not follow the one before.
const HOLE: Duration = Duration::from_millis(120);

/// Gives packets their times.
#[derive(Debug, Default)]
pub struct SoundClock {
    next: Option<Next>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    time: u32,
    due: Instant,
}

impl SoundClock {
    /// The time of a packet of this length that came now, in ticks of 48 kHz, wrapping.
    pub fn stamp(&mut self, length: Duration, now: Instant) -> u32 {
        let next = self.next.unwrap_or(Next { time: 0, due: now });
        let late = now.saturating_duration_since(next.due);
        let hole = if late > HOLE { late } else { Duration::ZERO };
        let time = next.time.wrapping_add(ticks(hole));
        // A source that is fast for a while is not late later.
        let begun = if hole.is_zero() { next.due } else { now };
        self.next = Some(Next { time: time.wrapping_add(ticks(length)), due: begun + length });
        time
    }
}

/// Wraps as times do.
fn ticks(length: Duration) -> u32 {
    (length.as_nanos() as u64).wrapping_mul(RATE / 1_000).wrapping_div(1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Duration = Duration::from_millis(20);

    #[test]
    fn packets_follow_each_other_however_unevenly_they_come() {
        let (mut clock, start) = (SoundClock::default(), Instant::now());
        let comes = [0, 25, 31, 95, 96, 100];
        let times = comes.map(|ms| clock.stamp(PACKET, start + Duration::from_millis(ms)));
        assert_eq!(times, [0, 960, 1_920, 2_880, 3_840, 4_800]);
    }

    #[test]
    fn a_pause_is_a_hole_as_long_as_it_lasted() {
        let (mut clock, start) = (SoundClock::default(), Instant::now());
        clock.stamp(PACKET, start);
        let after = clock.stamp(PACKET, start + Duration::from_secs(1));
        assert_eq!(after, 48_000);
        assert_eq!(clock.stamp(PACKET, start + Duration::from_millis(1_020)), 48_960);
    }
}
