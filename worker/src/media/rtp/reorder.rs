//! Puts packets back into order, within a small tolerance.
//!
//! On the links this is meant for (the same machine, the same wire) packets hardly ever change
//! places. A missing one is waited for until [`MAX_WAITING`] newer ones are here or [`MAX_WAIT`] has
//! passed; then it is given up, and the gap is told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::packet::Packet;

/// Packets that wait for a missing one at most.
pub const MAX_WAITING: usize = 32;

/// How long a missing packet is waited for.
pub const MAX_WAIT: Duration = Duration::from_millis(40);

/// A sequence number this far from the expected one is a new beginning, not a gap.
const JUMP: u16 = 1_000;

/// A packet in its order.
#[derive(Debug, PartialEq, Eq)]
pub struct Ordered {
    /// It.
    pub packet: Packet,
    /// Whether packets before it are missing.
    pub after_gap: bool,
}

/// Packets of one stream that wait for earlier ones.
#[derive(Debug, Default)]
pub struct Reorder {
    /// The next sequence number in order, once there was one.
    next: Option<u16>,
    /// The same, counted without wrapping.
    position: u64,
    /// What came too early, by position.
    waiting: BTreeMap<u64, Packet>,
    /// Since when the next one is missing.
    missing_since: Option<Instant>,
}

impl Reorder {
    /// One packet as it came; gives what is in order now.
    pub fn push(&mut self, packet: Packet, now: Instant, out: &mut Vec<Ordered>) {
        let next = *self.next.get_or_insert(packet.sequence);
        let (ahead, behind) =
            (packet.sequence.wrapping_sub(next), next.wrapping_sub(packet.sequence));
        if ahead < JUMP {
            self.waiting.entry(self.position + u64::from(ahead)).or_insert(packet);
            self.drain(false, now, out);
        } else if behind >= JUMP {
            while self.skip_gap() {
                self.drain(true, now, out);
            }
            self.next = Some(packet.sequence.wrapping_add(1));
            out.push(Ordered { packet, after_gap: true });
        }
        // Else it came twice, or after it was given up.
    }

    fn drain(&mut self, mut after_gap: bool, now: Instant, out: &mut Vec<Ordered>) {
        loop {
            while let Some(packet) = self.waiting.remove(&self.position) {
                self.position += 1;
                self.next = Some(packet.sequence.wrapping_add(1));
                self.missing_since = None;
                out.push(Ordered { packet, after_gap: std::mem::take(&mut after_gap) });
            }
            if self.waiting.is_empty() {
                return;
            }
            let since = *self.missing_since.get_or_insert(now);
            let patient = now.saturating_duration_since(since) < MAX_WAIT;
            if patient && self.waiting.len() <= MAX_WAITING {
                return;
            }
            after_gap = self.skip_gap();
        }
    }

    /// Gives up what is missing. Says whether there is something behind it.
    fn skip_gap(&mut self) -> bool {
        let Some(&first) = self.waiting.keys().next() else { return false };
        self.position = first;
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn packet(sequence: u16) -> Packet {
        Packet { ssrc: 1, sequence, timestamp: 0, marker: false, payload: Bytes::new() }
    }

    fn run(sequences: &[u16], step: Duration) -> Vec<(u16, bool)> {
        let (mut reorder, mut out, start) = (Reorder::default(), Vec::new(), Instant::now());
        for (index, &sequence) in sequences.iter().enumerate() {
            reorder.push(packet(sequence), start + step * index as u32, &mut out);
        }
        out.into_iter().map(|ordered| (ordered.packet.sequence, ordered.after_gap)).collect()
    }

    #[test]
    fn neighbours_that_changed_places_change_back_even_across_the_wrap() {
        let got = run(&[65_534, 0, 65_535, 2, 1, 1], Duration::from_millis(1));
        assert_eq!(got, [(65_534, false), (65_535, false), (0, false), (1, false), (2, false)]);
    }

    #[test]
    fn a_missing_packet_is_given_up_after_a_while_and_the_gap_is_told() {
        let got = run(&[1, 3, 4, 5, 6, 2], Duration::from_millis(15));
        assert_eq!(got, [(1, false), (3, true), (4, false), (5, false), (6, false)]);
        let flood: Vec<u16> = (0..100).filter(|n| *n != 5).collect();
        let got = run(&flood, Duration::ZERO);
        assert_eq!(got.len(), 99);
        assert_eq!(got[5], (6, true));
    }

    #[test]
    fn a_jump_is_a_new_beginning() {
        let got = run(&[1, 3, 40_000, 40_001], Duration::from_millis(1));
        assert_eq!(got, [(1, false), (3, true), (40_000, true), (40_001, false)]);
    }

    proptest! {
        #[test]
        fn whatever_comes_order_holds_and_little_waits(
            sequences in proptest::collection::vec(any::<u16>().prop_map(|n| n % 300), 0..400),
        ) {
            let (mut reorder, mut out, now) = (Reorder::default(), Vec::new(), Instant::now());
            for &sequence in &sequences {
                reorder.push(packet(sequence), now, &mut out);
                prop_assert!(reorder.waiting.len() <= MAX_WAITING);
            }
            for pair in out.windows(2) {
                let (a, b) = (pair[0].packet.sequence, pair[1].packet.sequence);
                prop_assert!(b > a);
                prop_assert_eq!(pair[1].after_gap, b != a + 1);
            }
        }
    }
}
