//! How much may be handed to a channel before its acknowledgements come back.
//!
//! Too little and a long path stays empty; too much and everything else waits behind it. The right
//! amount is about twice what the path holds (its bandwidth times its round trip), and both change.
//! So both are measured on the channel itself: how long a message takes from being handed over to
//! being acknowledged, and how many bytes are acknowledged meanwhile.
//!
//! The time includes waiting in this very window, which would make the estimate feed on itself. So
//! only the shortest counts, and when that is old the window shrinks once to measure anew.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The least: two full chunks, so that the network is never idle between them. A command waits
/// about 25 ms behind this much on a path of 20 Mbit/s.
pub(super) const MIN_WINDOW_BYTES: usize = 128 * 1024;

/// The most: 1 Gbit/s over 30 ms. Memory per peer is bounded by it.
const MAX_WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// How long the shortest time is believed.
const REMEASURE_EVERY: Duration = Duration::from_secs(15);

/// Messages timed at once.
const MAX_MARKS: usize = 128;

/// A message on its way.
#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Bytes handed over when it was, itself included.
    end: u64,
    /// Bytes acknowledged when it was handed over.
    acked: u64,
    at: Instant,
    /// Handed over while the window was at its least.
    is_clean: bool,
}

/// The measure of one channel. Time is an argument.
#[derive(Debug)]
pub(super) struct SendWindow {
    sent: u64,
    marks: VecDeque<Mark>,
    shortest: Option<(Duration, Instant)>,
    /// Bytes a second.
    rate: f64,
    limit: usize,
    is_measuring: bool,
}

impl SendWindow {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            marks: VecDeque::new(),
            shortest: None,
            rate: 0.0,
            limit: MIN_WINDOW_BYTES,
            is_measuring: true,
        }
    }

    /// Bytes that may be unacknowledged. Another message may go when there are fewer.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A message was handed over while so many bytes (itself not included) were unacknowledged.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: usize, outstanding: usize) {
        let acked = self.sent.saturating_sub(outstanding as u64);
        self.sent += bytes as u64;
        if self.marks.len() < MAX_MARKS {
            let is_clean = self.limit == MIN_WINDOW_BYTES;
            self.marks.push_back(Mark { end: self.sent, acked, at: now, is_clean });
        }
    }

    /// So many bytes are unacknowledged now.
    pub(super) fn on_outstanding(&mut self, now: Instant, outstanding: usize) {
        let acked = self.sent.saturating_sub(outstanding as u64);
        while let Some(mark) = self.marks.front().copied().filter(|mark| mark.end <= acked) {
            self.marks.pop_front();
            self.on_acked(now, mark, acked);
        }
        if self.shortest.is_some_and(|(_, at)| now.duration_since(at) >= REMEASURE_EVERY) {
            self.shortest = None;
            self.is_measuring = true;
            self.limit = MIN_WINDOW_BYTES;
        }
    }

    fn on_acked(&mut self, now: Instant, mark: Mark, acked: u64) {
        // What waited in a full window says nothing about the path.
        if self.is_measuring && !mark.is_clean {
            return;
        }
        let took = now.saturating_duration_since(mark.at).max(Duration::from_micros(50));
        if self.shortest.is_none_or(|(shortest, _)| took < shortest) {
            self.shortest = Some((took, now));
        }
        self.is_measuring = false;

        let sample = (acked - mark.acked) as f64 / took.as_secs_f64();
        if sample > self.rate {
            self.rate = sample;
        } else {
            self.rate += (sample - self.rate) / 16.0;
        }
        let shortest = self.shortest.map_or(took, |(shortest, _)| shortest);
        let wanted = 2.0 * self.rate * shortest.as_secs_f64();
        self.limit = (wanted as usize).clamp(MIN_WINDOW_BYTES, MAX_WINDOW_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 60 * 1024;

    /// A path with a rate, a delay and no loss; returns the limit after `seconds` of a busy sender,
    /// and the bytes that got through.
    fn run(rate: f64, delay: Duration, seconds: u64) -> (usize, u64) {
        let start = Instant::now();
        let mut now = start;
        let mut window = SendWindow::new();
        // (acknowledged at, bytes)
        let mut path: VecDeque<(Instant, usize)> = VecDeque::new();
        let mut free_at = start;
        let (mut outstanding, mut acked) = (0, 0);
        while now < start + Duration::from_secs(seconds) {
            while let Some((_, bytes)) = path.front().copied().filter(|(at, _)| *at <= now) {
                path.pop_front();
                outstanding -= bytes;
                acked += bytes as u64;
            }
            window.on_outstanding(now, outstanding);
            while outstanding < window.limit() {
                window.on_sent(now, CHUNK, outstanding);
                free_at = free_at.max(now) + Duration::from_secs_f64(CHUNK as f64 / rate);
                path.push_back((free_at + delay, CHUNK));
                outstanding += CHUNK;
            }
            now = path.front().unwrap().0.max(now);
        }
        (window.limit(), acked)
    }

    #[test]
    fn a_slow_path_keeps_the_window_small() {
        let (limit, _) = run(2.5e6, Duration::from_millis(21), 5);
        assert!(limit <= 2 * MIN_WINDOW_BYTES, "{limit}");
    }

    #[test]
    fn a_long_fast_path_is_filled() {
        let (limit, acked) = run(50e6, Duration::from_millis(40), 10);
        assert!(limit > 2_000_000, "{limit}");
        assert!(acked > 400_000_000, "{acked} of 500,000,000 bytes got through");
    }

    #[test]
    fn the_window_does_not_feed_on_itself() {
        let path = (10e6, Duration::from_millis(20));
        let (early, _) = run(path.0, path.1, 5);
        let (late, _) = run(path.0, path.1, 180);
        assert!(late <= early * 2, "{early} grew to {late}");
        assert!(late < 1_500_000, "{late}");
    }

    #[test]
    fn measuring_anew_costs_little() {
        let (_, acked) = run(10e6, Duration::from_millis(50), 60);
        assert!(acked > 540_000_000, "{acked} of 600,000,000 bytes got through");
    }

    proptest::proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds(
            events in proptest::collection::vec((0usize..200_000, 0usize..10_000_000, 0u64..5_000), 1..300)
        ) {
            let mut now = Instant::now();
            let mut window = SendWindow::new();
            for (bytes, outstanding, ms) in events {
                now += Duration::from_millis(ms);
                window.on_outstanding(now, outstanding);
                window.on_sent(now, bytes, outstanding);
                assert!((MIN_WINDOW_BYTES..=MAX_WINDOW_BYTES).contains(&window.limit()));
            }
        }
    }
}
