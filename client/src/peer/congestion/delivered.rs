//! How much arrives: bits a second over the last half second, on the receiver's clock.

use std::{collections::VecDeque, time::Duration};

/// The time that is looked at: longer than the pause between two pictures and the burst of a key
/// frame, short enough to see a drop before a driver does.
const WINDOW: Duration = Duration::from_millis(500);

/// A shorter time than this says nothing.
const LEAST: Duration = Duration::from_millis(150);

/// Collects what arrived.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    packets: VecDeque<(Duration, u32)>,
    bytes: u64,
}

impl Delivered {
    /// A packet arrived.
    pub(super) fn add(&mut self, arrival: Duration, bytes: u32) {
        let newest = self.packets.back().map_or(arrival, |(last, _)| arrival.max(*last));
        if newest.saturating_sub(arrival) > 4 * WINDOW {
            // Another clock.
            *self = Self::default();
        }
        let at = self.packets.partition_point(|(earlier, _)| *earlier <= arrival);
        self.packets.insert(at, (arrival, bytes));
        self.bytes += u64::from(bytes);
        while let Some((oldest, bytes)) = self.packets.front().copied() {
            if newest.max(arrival).saturating_sub(oldest) <= WINDOW {
                break;
            }
            self.packets.pop_front();
            self.bytes -= u64::from(bytes);
        }
    }

    /// Bits a second, if enough is known.
    pub(super) fn rate(&self) -> Option<f64> {
        let (first, first_bytes) = *self.packets.front()?;
        let span = self.packets.back()?.0.saturating_sub(first);
        // The first packet begins the time; its bytes came before it.
        (span >= LEAST)
            .then(|| (self.bytes - u64::from(first_bytes)) as f64 * 8.0 / span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_stream_has_its_rate_in_any_order() {
        let mut delivered = Delivered::default();
        assert_eq!(delivered.rate(), None);
        for n in [0u64, 2, 1, 3, 5, 4].into_iter().chain(6..200) {
            delivered.add(Duration::from_millis(n * 10), 1250);
        }
        let rate = delivered.rate().unwrap();
        assert!((rate - 1_000_000.0).abs() < 1.0, "{rate}");
    }

    #[test]
    fn another_clock_begins_anew() {
        let mut delivered = Delivered::default();
        for n in 0..100u64 {
            delivered.add(Duration::from_millis(1_000_000 + n * 10), 1250);
        }
        delivered.add(Duration::ZERO, 1250);
        assert_eq!(delivered.rate(), None);
    }
}
