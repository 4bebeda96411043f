//! Numbers and times for packets that come from elsewhere.
//!
//! A viewer must see one stream: numbers that go on, times that go on, also when the program that
//! makes the stream is started again or its packets were dropped here on purpose. Losses and changes of order
//! on the way to us stay visible, because the viewer's decoder has to know.

use std::time::Duration;

/// A jump of the numbers beyond this is a new stream, not a loss.
const MAX_JUMP: i16 = 1000;

/// A jump of the times beyond this (10 s at 90 kHz) is a new stream.
const MAX_TIME_JUMP: i32 = 900_000;

/// Between the last picture of one stream and the first of the next: one picture at 30 a second.
const ONE_PICTURE: u32 = 3000;

/// Keeps the numbers of one viewer's stream.
#[derive(Debug)]
pub(super) struct Renumber {
    /// The highest number and the latest time that went out.
    sequence: u16,
    timestamp: u32,
    /// How much later than the last one the next stream begins, if that is known.
    pause: u32,
    source: Option<Source>,
}

#[derive(Debug, Clone, Copy)]
struct Source {
    /// The highest number and its time that came in.
    sequence: u16,
    timestamp: u32,
    /// From theirs to ours.
    sequence_offset: u16,
    timestamp_offset: u32,
}

impl Renumber {
    /// Starts before this number and time.
    pub(super) fn new(sequence: u16, timestamp: u32) -> Self {
        Self { sequence, timestamp, pause: 0, source: None }
    }

    /// The next number: for packets that are made here.
    pub(super) fn next_sequence(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Our time for one of the encoder's.
    pub(super) fn own_time(&mut self, timestamp: u32) -> u32 {
        let source = match self.source {
            Some(source) if !is_time_jump(source.timestamp, timestamp) => source,
            _ => self.follow(0, timestamp),
        };
        self.source = Some(Source { timestamp, ..source });
        self.timestamp = timestamp.wrapping_add(source.timestamp_offset);
        self.timestamp
    }

    /// Number and time for a packet of a ready stream.
    pub(super) fn forward(&mut self, sequence: u16, timestamp: u32) -> (u16, u32) {
        let source = match self.source {
            Some(source)
                if !is_jump(source.sequence, sequence)
                    && !is_time_jump(source.timestamp, timestamp) =>
            {
                source
            }
            _ => self.follow(sequence, timestamp),
        };
        let ours = sequence.wrapping_add(source.sequence_offset);
        let time = timestamp.wrapping_add(source.timestamp_offset);
        let is_newest = ours.wrapping_sub(self.sequence).cast_signed() > 0;
        if is_newest {
            (self.sequence, self.timestamp) = (ours, time);
            self.source = Some(Source { sequence, timestamp, ..source });
        } else {
            self.source = Some(source);
        }
        (ours, time)
    }

    /// The next one begins anew, this long after the last that went out: another stream, or the same
    /// after some of it was dropped here. It takes the next number, so that nobody asks for what was
    /// dropped, and its time goes on as the viewer's clock did.
    pub(super) fn begin(&mut self, after: Duration) {
        self.source = None;
        // Wraps as times do.
        self.pause = (after.as_micros() * 9 / 100) as u32;
    }

    /// A new stream goes on right after the last one.
    fn follow(&mut self, sequence: u16, timestamp: u32) -> Source {
        let first = self.sequence.wrapping_add(1);
        let pause = std::mem::take(&mut self.pause).max(ONE_PICTURE);
        let time = self.timestamp.wrapping_add(pause);
        Source {
            sequence,
            timestamp,
            sequence_offset: first.wrapping_sub(sequence),
            timestamp_offset: time.wrapping_sub(timestamp),
        }
    }
}

fn is_jump(from: u16, to: u16) -> bool {
    to.wrapping_sub(from).cast_signed().unsigned_abs() > MAX_JUMP.unsigned_abs()
}

fn is_time_jump(from: u32, to: u32) -> bool {
    to.wrapping_sub(from).cast_signed().unsigned_abs() > MAX_TIME_JUMP.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_across_the_wrap() {
        let mut renumber = Renumber::new(65_533, u32::MAX - 10);
        for step in 0..10u16 {
            let (sequence, timestamp) =
                renumber.forward(500 + step, 9_000 + u32::from(step) * 3000);
            assert_eq!(sequence, 65_534u16.wrapping_add(step));
            assert_eq!(timestamp, (u32::MAX - 10).wrapping_add(3000 * (1 + u32::from(step))));
        }
    }

    #[test]
    fn losses_and_order_of_the_source_stay_visible() {
        let mut renumber = Renumber::new(9, 0);
        let sent: Vec<_> =
            [100, 102, 101, 105, 104].map(|number| renumber.forward(number, 0).0).into();
        assert_eq!(sent, [10, 12, 11, 15, 14]);
    }

    #[test]
    fn a_restarted_source_goes_on_where_it_was() {
        let mut renumber = Renumber::new(0, 0);
        assert_eq!(renumber.forward(40_000, 1_000), (1, 3_000));
        assert_eq!(renumber.forward(40_001, 4_000), (2, 6_000));
        assert_eq!(renumber.forward(7, 3_000_000_000), (3, 9_000));
        assert_eq!(renumber.forward(8, 3_000_003_000), (4, 12_000));
    }

    #[test]
    fn what_was_dropped_here_leaves_no_hole() {
        let mut renumber = Renumber::new(0, 0);
        assert_eq!(renumber.forward(1, 0).0, 1);
        renumber.begin(Duration::from_millis(500));
        assert_eq!(renumber.forward(300, 90_000), (2, 3_000 + 45_000));
        assert_eq!(renumber.forward(301, 93_000), (3, 3_000 + 48_000));
    }

    #[test]
    fn times_of_an_encoder_keep_their_distances() {
        let mut renumber = Renumber::new(0, 100);
        let first = renumber.own_time(50_000);
        assert_eq!(renumber.own_time(53_000).wrapping_sub(first), 3_000);
        assert_eq!(renumber.own_time(56_600).wrapping_sub(first), 6_600);
        // The encoder was started again.
        assert_eq!(renumber.own_time(4_000_000_000).wrapping_sub(first), 9_600);
    }
}
