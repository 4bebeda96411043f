//! What left, joined with what the receiver said about it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A packet that is reported missing counts as lost once one that left this much later has arrived.
/// Radio links change the order of packets by tens of milliseconds.
const REORDERED_WITHIN: Duration = Duration::from_millis(150);

/// Packets whose fate is waited for: two seconds at 20 Mbit/s.
const MAX_PACKETS: usize = 4096;

/// Which packet of which stream it was: its source and its own number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Name {
    pub(in super::super) ssrc: u32,
    pub(in super::super) sequence: u16,
}

/// What the receiver says about one packet, by its transport-wide number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Ack {
    pub(in super::super) number: u16,
    /// On the receiver's clock, of any origin; `None` if it has not arrived.
    pub(in super::super) arrival: Option<Duration>,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) name: Name,
    pub(super) sent: Instant,
    pub(super) arrival: Duration,
    pub(super) bytes: u32,
}

/// What one report brought.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// In the order they were sent.
    pub(super) arrived: Vec<Arrived>,
    /// When those left that are missing so far; they may only be out of order.
    pub(super) missing: Vec<Instant>,
    /// Packets that were reported missing and are given up.
    pub(super) lost: usize,
    /// Bytes of packets that were never spoken of: it was the report that got lost.
    pub(super) unspoken: u32,
    /// From the newest packet's departure to this report.
    pub(super) round_trip: Option<Duration>,
}

/// The packets on their way.
#[derive(Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Packet>,
    /// The number of the front, counted without wrapping.
    first: u64,
    /// When the newest packet that has arrived was sent.
    newest: Option<Instant>,
}

#[derive(Debug)]
struct Packet {
    name: Name,
    sent: Instant,
    bytes: u32,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Missing,
    Arrived,
}

impl History {
    /// A packet leaves. Gives it its number.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize, name: Name) -> u16 {
        if self.packets.len() >= MAX_PACKETS {
            // Nobody says what became of it.
            self.packets.pop_front();
            self.first += 1;
        }
        let number = self.first + self.packets.len() as u64;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.packets.push_back(Packet { name, sent: now, bytes, fate: Fate::Unknown });
        number as u16
    }

    /// The receiver reports. Packets that it repeats count once; those it cannot know are skipped.
    pub(super) fn reported(&mut self, now: Instant, acks: &[Ack]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut arrived: Vec<(usize, Duration)> = Vec::new();
        for ack in acks {
            let index = usize::from(ack.number.wrapping_sub(self.first as u16));
            let Some(packet) = self.packets.get_mut(index) else { continue };
            match ack.arrival {
                _ if packet.fate == Fate::Arrived => {}
                Some(arrival) => {
                    packet.fate = Fate::Arrived;
                    arrived.push((index, arrival));
                }
                None => {
                    packet.fate = Fate::Missing;
                    verdict.missing.push(packet.sent);
                }
            }
        }
        arrived.sort_unstable_by_key(|(index, _)| *index);
        for (index, arrival) in arrived {
            let Packet { name, sent, bytes, .. } = self.packets[index];
            verdict.arrived.push(Arrived { name, sent, arrival, bytes });
        }
        if let Some(last) = verdict.arrived.last() {
            verdict.round_trip = Some(now.saturating_duration_since(last.sent));
            self.newest = Some(self.newest.map_or(last.sent, |newest| newest.max(last.sent)));
        }
        self.settle(&mut verdict);
        verdict
    }

    /// Whether anything that left before then is still without an answer.
    pub(super) fn is_waiting_since(&self, before: Instant) -> bool {
        self.packets.front().is_some_and(|packet| packet.sent <= before)
    }

    /// Forgets what is decided.
    fn settle(&mut self, verdict: &mut Verdict) {
        let Some(newest) = self.newest else { return };
        while let Some(front) = self.packets.front() {
            let is_late = newest.saturating_duration_since(front.sent) >= REORDERED_WITHIN;
            match front.fate {
                Fate::Arrived => {}
                _ if !is_late => break,
                Fate::Missing => verdict.lost += 1,
                Fate::Unknown => verdict.unspoken = verdict.unspoken.saturating_add(front.bytes),
            }
            self.packets.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn ack(number: u16, arrival: u64) -> Ack {
        Ack { number, arrival: Some(ms(arrival)) }
    }

    #[test]
    fn a_late_packet_is_not_lost_and_a_missing_one_is_counted_once() {
        let (mut history, start) = (History::default(), Instant::now());
        for n in 0..4 {
            assert_eq!(history.sent(start + ms(n * 10), 1000, Name::default()), n as u16);
        }
        let gone = |number| Ack { number, arrival: None };
        let verdict = history.reported(start + ms(80), &[ack(0, 50), gone(1), ack(2, 70)]);
        assert_eq!((verdict.arrived.len(), verdict.lost), (2, 0));
        assert_eq!(verdict.round_trip, Some(ms(60)));
        // Number 1 comes after all, number 3 never does, and of number 4 nobody speaks.
        assert_eq!(history.reported(start + ms(90), &[ack(1, 75), gone(3)]).arrived.len(), 1);
        assert_eq!(history.sent(start + ms(40), 1000, Name::default()), 4);
        assert_eq!(history.sent(start + ms(200), 1000, Name::default()), 5);
        let verdict = history.reported(start + ms(300), &[ack(5, 250), ack(0, 50)]);
        assert_eq!((verdict.arrived.len(), verdict.lost), (1, 1));
        assert!(!history.is_waiting_since(start + ms(300)));
    }

    #[test]
    fn numbers_wrap() {
        let (mut history, start) = (History::default(), Instant::now());
        for n in 0..70_000u64 {
            let number = history.sent(start + ms(n), 100, Name::default());
            let verdict = history.reported(start + ms(n + 1), &[ack(number, n)]);
            assert_eq!((verdict.arrived.len(), verdict.lost), (1, 0), "{n}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_receiver_claims_nothing_counts_twice(
            reports in prop::collection::vec(
                prop::collection::vec((any::<u16>(), prop::option::of(0u64..10_000)), 0..50), 0..40
            ),
            each in 0usize..300,
        ) {
            let (mut history, start) = (History::default(), Instant::now());
            let (mut sent, mut known) = (0, 0);
            for (round, report) in reports.iter().enumerate() {
                let now = start + ms(round as u64 * 50);
                for _ in 0..each {
                    history.sent(now, 1200, Name::default());
                    sent += 1;
                }
                let acks: Vec<_> = report
                    .iter()
                    .map(|(number, at)| Ack { number: number % 512, arrival: at.map(ms) })
                    .collect();
                let verdict = history.reported(now, &acks);
                known += verdict.arrived.len() + verdict.lost;
                prop_assert!(history.packets.len() <= MAX_PACKETS);
                prop_assert!(known <= sent);
            }
        }
    }
}
