//! Whether a queue stands in the path.
//!
//! Only differences of one-way delays are known, the clocks being two. The least delay of the last
//! fifth of a second, above the least of the last ten seconds, is a queue that stood under *every*
//! packet: jitter adds to single packets and hardly moves it. How far it moves is measured too (mean
//! above least), so the limit follows the link, as the adaptive threshold of the draft does.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::history::Arrived;

/// The least delay is taken of this long.
const BIN_MS: u64 = 100;

/// The bins that say how it is now.
const RECENT: u64 = 2;

/// Older bins say nothing about now, however few packets there are.
const STALE: u64 = 5;

/// Packets that say enough.
const MIN_PACKETS: u32 = 4;

/// Packets that came within less than this say nothing about a rate.
const LEAST_BURST: Duration = Duration::from_millis(25);

/// The bins that say how it was at best: ten seconds.
const KEPT: usize = 100;

/// A queue below this is nobody's concern: half a picture at 30 a second.
const LEAST_LIMIT_MS: f64 = 18.0;

/// The share of the jitter that the limit grows by.
const JITTER_SHARE: f64 = 0.6;

/// The limit grows no further: more than this is felt by a driver whatever the link.
const MOST_LIMIT_MS: f64 = 60.0;

/// A jump of the delay by more than this is another clock, not a path.
const CLOCK_JUMP_MS: f64 = 10_000.0;

/// What the delays of the last moments say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// How long a packet stands in queues now.
    pub(super) queue: Duration,
    /// A longer queue than this is too long.
    pub(super) limit: Duration,
}

impl Reading {
    /// The path takes less than is sent.
    pub(super) fn is_over(self) -> bool {
        self.queue > self.limit
    }

    /// There may be more sent without a doubt.
    pub(super) fn is_clear(self) -> bool {
        self.queue * 2 < self.limit
    }
}

/// Collects delays.
#[derive(Debug, Default)]
pub(super) struct Delay {
    origin: Option<(Instant, Duration)>,
    bins: VecDeque<Bin>,
    /// Mean above least, smoothed.
    jitter_ms: f64,
}

#[derive(Debug)]
struct Bin {
    number: u64,
    least: f64,
    sum: f64,
    count: u32,
}

impl Delay {
    /// A packet that left then, arrived then.
    pub(super) fn add(&mut self, sent: Instant, arrival: Duration) {
        let origin = *self.origin.get_or_insert((sent, arrival));
        let since = sent.saturating_duration_since(origin.0);
        let delay = delay_ms(origin, sent, arrival);
        if self.bins.back().is_some_and(|bin| (delay - bin.least).abs() > CLOCK_JUMP_MS) {
            *self = Self { jitter_ms: self.jitter_ms, ..Self::default() };
            return self.add(sent, arrival);
        }
        let number = since.as_millis() as u64 / BIN_MS;
        if self.bins.back().is_none_or(|last| last.number < number) {
            self.begin(Bin { number, least: delay, sum: delay, count: 1 });
        } else if let Some(bin) = self.bins.iter_mut().rev().find(|bin| bin.number == number) {
            bin.least = bin.least.min(delay);
            bin.sum += delay;
            bin.count += 1;
        }
    }

    fn begin(&mut self, bin: Bin) {
        if let Some(done) = self.bins.back().filter(|done| done.count >= MIN_PACKETS) {
            let jitter = done.sum / f64::from(done.count) - done.least;
            self.jitter_ms += (jitter - self.jitter_ms) / 8.0;
        }
        self.bins.push_back(bin);
        while self.bins.front().is_some_and(|first| {
            self.bins.len() > KEPT
                || self.bins.back().is_some_and(|last| last.number - first.number > KEPT as u64)
        }) {
            self.bins.pop_front();
        }
    }

    /// How much later than the quickest packets of a moment the others usually come.
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter_ms / 1e3)
    }

    /// How it is now; `None` while too little is known.
    pub(super) fn reading(&self) -> Option<Reading> {
        let (mut now, mut count) = (f64::INFINITY, 0);
        let last = self.bins.back()?.number;
        for bin in self.bins.iter().rev().take_while(|bin| last - bin.number < STALE) {
            // A slow stream has few packets in a bin.
            if last - bin.number >= RECENT && count >= MIN_PACKETS {
                break;
            }
            now = now.min(bin.least);
            count += bin.count;
        }
        if count < MIN_PACKETS {
            return None;
        }
        Some(self.above_best(now))
    }

    fn above_best(&self, now: f64) -> Reading {
        let best = self.bins.iter().map(|bin| bin.least).fold(f64::INFINITY, f64::min);
        let queue = (now - best).max(0.0);
        let limit = (LEAST_LIMIT_MS + JITTER_SHARE * self.jitter_ms).min(MOST_LIMIT_MS);
        Reading {
            queue: Duration::from_secs_f64(queue / 1e3),
            limit: Duration::from_secs_f64(limit / 1e3),
        }
    }

    /// The queue that stood under all of these packets, and how many bits a second came out of it: what
    /// the path carries while it is full. `None` where they are too few to say.
    pub(super) fn burst(&self, packets: &[Arrived]) -> Option<(Reading, f64)> {
        let origin = self.origin?;
        let first = packets.iter().min_by_key(|packet| packet.arrival)?;
        let last = packets.iter().max_by_key(|packet| packet.arrival)?;
        let span = last.arrival.saturating_sub(first.arrival);
        if packets.len() < MIN_PACKETS as usize || span < LEAST_BURST {
            return None;
        }
        let delays = packets.iter().map(|packet| delay_ms(origin, packet.sent, packet.arrival));
        let queue = self.above_best(delays.fold(f64::INFINITY, f64::min));
        // The first one begins the time.
        let bytes = packets.iter().map(|packet| u64::from(packet.bytes)).sum::<u64>();
        let bits = (bytes - u64::from(first.bytes)) as f64 * 8.0;
        Some((queue, bits / span.as_secs_f64()))
    }

    /// What stands is not a queue but the path: it became longer.
    pub(super) fn accept(&mut self) {
        let keep = self.bins.len().saturating_sub(RECENT as usize);
        self.bins.drain(..keep);
    }
}

/// How much longer a packet took than the first one.
fn delay_ms((sent0, arrival0): (Instant, Duration), sent: Instant, arrival: Duration) -> f64 {
    let since = sent.saturating_duration_since(sent0);
    (arrival.as_secs_f64() - arrival0.as_secs_f64() - since.as_secs_f64()) * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Packets every 10 ms, with a delay each.
    fn feed(delay: &mut Delay, start: Instant, from: u64, delays: impl IntoIterator<Item = u64>) {
        for (n, late) in delays.into_iter().enumerate() {
            let at = from + n as u64 * 10;
            delay.add(start + ms(at), ms(5_000 + at + late));
        }
    }

    #[test]
    fn jitter_is_no_queue() {
        let (mut delay, start) = (Delay::default(), Instant::now());
        feed(&mut delay, start, 0, (0..500).map(|n| 20 + n * 7919 % 31));
        let reading = delay.reading().unwrap();
        assert!(!reading.is_over(), "{reading:?}");
        assert!(reading.limit > ms(25), "the limit follows the jitter: {reading:?}");
    }

    #[test]
    fn a_queue_is_seen_within_three_tenths_of_a_second() {
        let (mut delay, start) = (Delay::default(), Instant::now());
        feed(&mut delay, start, 0, (0..300).map(|n| 20 + n * 7919 % 11));
        assert!(delay.reading().unwrap().is_clear());
        feed(&mut delay, start, 3_000, (0..30).map(|n| 80 + n * 7919 % 11));
        let reading = delay.reading().unwrap();
        assert!(reading.is_over() && reading.queue >= ms(55), "{reading:?}");
    }

    #[test]
    fn a_longer_path_is_accepted() {
        let (mut delay, start) = (Delay::default(), Instant::now());
        feed(&mut delay, start, 0, (0..100).map(|_| 20));
        feed(&mut delay, start, 1_000, (0..50).map(|_| 100));
        assert!(delay.reading().unwrap().is_over());
        delay.accept();
        assert!(delay.reading().unwrap().is_clear());
    }

    #[test]
    fn another_clock_of_the_receiver_begins_anew() {
        let (mut delay, start) = (Delay::default(), Instant::now());
        feed(&mut delay, start, 0, (0..100).map(|_| 20));
        feed(&mut delay, start, 1_000, (0..100).map(|_| 90_000));
        assert!(delay.reading().unwrap().is_clear());
    }
}
