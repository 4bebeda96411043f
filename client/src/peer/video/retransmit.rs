//! Packets that left lately, for a viewer who misses one.
//!
//! Bounded in number and in age: what comes a second late is of no use to a driver. And bounded in what
//! may be asked for: a packet once in a round trip, and all of them together half of what the path is
//! believed to carry, so that a viewer who asks for everything gets no more than one who does not.

use std::time::{Duration, Instant};

use rtc::rtp::Packet;

/// Packets that are kept: a second at 10 Mbit/s. A power of two.
const KEPT: usize = 1024;

/// Older ones are not sent again.
const MAX_AGE: Duration = Duration::from_millis(1_500);

/// One packet is sent again no more often than this, whatever the round trip.
const LEAST_SPACING: Duration = Duration::from_millis(10);

/// The share of the path that repairs may take, and for how long it may be saved up.
const SHARE: f64 = 0.5;
const SAVED: Duration = Duration::from_millis(500);

/// What a path is granted at least, in bits: a whole key frame of a slow link.
const LEAST_SAVED: f64 = 200_000.0;

/// What left on one stream.
#[derive(Debug)]
pub(super) struct Sent {
    ring: Vec<Option<Kept>>,
    /// Bits that may be sent again now.
    budget: f64,
    filled: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    packet: Packet,
    sent: Instant,
    again: Option<Instant>,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self { ring: Vec::new(), budget: LEAST_SAVED, filled: None }
    }

    /// A packet leaves. Its payload is shared, not copied.
    pub(super) fn keep(&mut self, now: Instant, packet: &Packet) {
        if self.ring.is_empty() {
            self.ring.resize_with(KEPT, || None);
        }
        let at = usize::from(packet.header.sequence_number) % KEPT;
        self.ring[at] = Some(Kept { packet: packet.clone(), sent: now, again: None });
    }

    /// The packet of this number, if it may be sent again now. `estimate` is what the path carries, in
    /// bits a second.
    pub(super) fn again(
        &mut self,
        now: Instant,
        sequence: u16,
        round_trip: Duration,
        estimate: u32,
    ) -> Option<&Packet> {
        self.fill(now, estimate);
        let at = usize::from(sequence) % KEPT;
        let kept = self.ring.get_mut(at)?.as_mut()?;
        let spacing = round_trip.max(LEAST_SPACING);
        let is_due = kept.again.is_none_or(|again| now.saturating_duration_since(again) >= spacing);
        let bits = kept.packet.payload.len() as f64 * 8.0;
        if kept.packet.header.sequence_number != sequence
            || now.saturating_duration_since(kept.sent) > MAX_AGE
            || !is_due
            || bits > self.budget
        {
            return None;
        }
        kept.again = Some(now);
        self.budget -= bits;
        Some(&kept.packet)
    }

    fn fill(&mut self, now: Instant, estimate: u32) {
        let rate = f64::from(estimate) * SHARE;
        let since = self.filled.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let most = (rate * SAVED.as_secs_f64()).max(LEAST_SAVED);
        self.budget = (self.budget + rate * since.as_secs_f64()).min(most);
        self.filled = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::rtp::Header;

    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn packet(sequence_number: u16) -> Packet {
        Packet {
            header: Header { version: 2, sequence_number, ..Header::default() },
            payload: Bytes::from(vec![7; 1000]),
        }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_packet_is_sent_again_once_in_a_round_trip_and_not_when_it_is_old() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        assert!(sent.again(start, 5, RTT, 1_000_000).is_none());
        sent.keep(start, &packet(5));
        let number = |found: Option<&Packet>| found.map(|packet| packet.header.sequence_number);
        assert_eq!(number(sent.again(start + ms(60), 5, RTT, 1_000_000)), Some(5));
        assert!(sent.again(start + ms(80), 5, RTT, 1_000_000).is_none());
        assert!(sent.again(start + ms(110), 5, RTT, 1_000_000).is_some());
        assert!(sent.again(start + ms(1_600), 5, RTT, 1_000_000).is_none());
        // Another packet in the same place of the ring.
        assert!(sent.again(start + ms(110), 5 + KEPT as u16, RTT, 1_000_000).is_none());
    }

    #[test]
    fn who_asks_for_everything_gets_half_of_the_path() {
        let (mut sent, start) = (Sent::new(), Instant::now());
        let mut bits = 0;
        for n in 0..4_000u16 {
            let now = start + ms(u64::from(n));
            sent.keep(now, &packet(n));
            for back in 0..200 {
                let asked = sent.again(now, n.wrapping_sub(back), ms(1), 2_000_000);
                bits += asked.map_or(0, |packet| packet.payload.len() * 8);
            }
        }
        // Four seconds at 1 Mbit/s, and what was saved up.
        assert!((4_000_000..4_700_000).contains(&bits), "{bits}");
    }
}
