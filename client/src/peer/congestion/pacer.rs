//! When the next packet may leave.
//!
//! A key frame is a burst of dozens of packets, and a burst overflows the short queue of a cheap
//! router although the link carries the stream. So packets leave somewhat faster than the estimate,
//! one after the other; but no picture is held longer than a viewer would notice.

use std::time::{Duration, Instant};

/// Faster than the estimate, so that what waits here becomes less by itself.
const HEADROOM: f64 = 1.5;

/// What may leave at once: timers are no finer than a millisecond or two.
const BURST: Duration = Duration::from_millis(5);

/// Whatever the estimate says, what waits has left after this long. A key frame at a tenth of the
/// usual rate goes out in that time; to hold it longer would only move the queue from there to here.
pub(in super::super) const MOST_HELD: Duration = Duration::from_millis(400);

/// Spaces packets. Time is an argument.
#[derive(Debug, Default)]
pub(in super::super) struct Pacer {
    /// Bits a second.
    rate: f64,
    /// Everything that was sent has left the line by then.
    free_at: Option<Instant>,
}

impl Pacer {
    /// A picture begins; with it, so many bytes wait.
    pub(in super::super) fn begin(&mut self, waiting: usize, estimate: u32) {
        let urgent = waiting as f64 * 8.0 / MOST_HELD.as_secs_f64();
        self.rate = (f64::from(estimate) * HEADROOM).max(urgent).max(1.0);
    }

    /// When the next packet may leave, at the earliest now.
    pub(in super::super) fn due(&self, now: Instant) -> Instant {
        self.free_at.and_then(|free| free.checked_sub(BURST)).map_or(now, |due| due.max(now))
    }

    /// A packet of so many bytes leaves.
    pub(in super::super) fn sent(&mut self, now: Instant, bytes: usize) {
        let takes = Duration::from_secs_f64((bytes as f64 * 8.0 / self.rate.max(1.0)).min(1.0));
        self.free_at = Some(self.free_at.map_or(now, |free| free.max(now)) + takes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends so many packets of 1200 bytes and gives how long after the start each left, in ms.
    fn send(packets: usize, estimate: u32) -> Vec<u64> {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        let mut now = start;
        pacer.begin(packets * 1200, estimate);
        let mut send = || {
            now = pacer.due(now);
            pacer.sent(now, 1200);
            (now - start).as_millis() as u64
        };
        (0..packets).map(|_| send()).collect()
    }

    #[test]
    fn a_small_picture_leaves_at_once() {
        assert_eq!(send(3, 5_000_000), [0, 0, 0]);
    }

    #[test]
    fn a_key_frame_is_spread_over_the_time_that_the_link_needs() {
        // 48 kB at 2.5 Mbit/s times one and a half.
        let times = send(40, 2_500_000);
        let last = *times.last().unwrap();
        assert!((90..110).contains(&last), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 4), "{times:?}");
    }

    proptest! {
        #[test]
        fn no_picture_is_held_longer_than_promised(
            packets in 1usize..300, estimate in 1u32..20_000_000
        ) {
            let times = send(packets, estimate);
            let last = *times.last().unwrap();
            prop_assert!(last <= MOST_HELD.as_millis() as u64, "{last}");
            prop_assert!(times.is_sorted());
        }
    }
}
