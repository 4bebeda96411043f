//! When a key frame is made.
//!
//! A key frame is some ten times the size of another picture, so it must not be had for the asking.
//! The rule:
//!
//! * A viewer who **lost** something may cause one key frame per [`LOSS_SPACING`], measured from the
//!   last key frame whoever caused it. An earlier request waits until then; it is not forgotten.
//! * A **new viewer** sees nothing until a key frame comes, so he waits [`NEWCOMER_SPACING`] at most:
//!   twenty viewers who join in the same second cause ten key frames, not twenty, and nobody waits
//!   longer than a blink.
//! * Any key frame answers every request made before it.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

/// The least time between two key frames caused by loss.
pub const LOSS_SPACING: Duration = Duration::from_millis(500);

/// The least time between two key frames caused by viewers who just came.
pub const NEWCOMER_SPACING: Duration = Duration::from_millis(100);

/// Why a key frame is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyframeReason {
    /// Somebody begins to watch.
    NewViewer,
    /// Somebody cannot go on decoding: packets were lost (PLI, FIR) or frames skipped.
    Loss,
}

impl KeyframeReason {
    fn spacing(self) -> Duration {
        match self {
            Self::NewViewer => NEWCOMER_SPACING,
            Self::Loss => LOSS_SPACING,
        }
    }
}

/// Collects requests for key frames and says when one is due.
#[derive(Debug, Default)]
pub struct KeyframeGate {
    /// When the open request falls due, if there is one.
    due: Option<Instant>,
    /// When the last key frame was made.
    last: Option<Instant>,
}

impl KeyframeGate {
    /// Somebody asks.
    pub fn request(&mut self, reason: KeyframeReason, now: Instant) {
        let due = self.last.map_or(now, |last| now.max(last + reason.spacing()));
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Whether the next picture should be a key frame. Asked before each picture; says yes until
    /// [`made`](Self::made) is called.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// A key frame was made, for whatever reason.
    pub fn made(&mut self, now: Instant) {
        self.due = None;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_request_is_due_at_once() {
        let (mut gate, now) = (KeyframeGate::default(), Instant::now());
        assert!(!gate.is_due(now));
        gate.request(KeyframeReason::Loss, now);
        assert!(gate.is_due(now));
        gate.made(now);
        assert!(!gate.is_due(now + ms(10_000)), "one key frame answers it");
    }

    #[test]
    fn a_loss_right_after_a_key_frame_waits_half_a_second() {
        let (mut gate, now) = (KeyframeGate::default(), Instant::now());
        gate.made(now);
        gate.request(KeyframeReason::Loss, now + ms(10));
        assert!(!gate.is_due(now + ms(499)));
        assert!(gate.is_due(now + ms(500)));
    }

    #[test]
    fn a_new_viewer_overtakes_a_waiting_loss() {
        let (mut gate, now) = (KeyframeGate::default(), Instant::now());
        gate.made(now);
        gate.request(KeyframeReason::Loss, now + ms(10));
        gate.request(KeyframeReason::NewViewer, now + ms(20));
        gate.request(KeyframeReason::Loss, now + ms(30));
        assert!(!gate.is_due(now + ms(99)));
        assert!(gate.is_due(now + ms(100)));
    }

    proptest! {
        #[test]
        fn whoever_asks_however_often_key_frames_keep_their_distance_and_nobody_is_forgotten(
            asks in proptest::collection::vec((0u64..5_000, any::<bool>()), 0..200),
        ) {
            let start = Instant::now();
            let mut gate = KeyframeGate::default();
            let mut asks = asks;
            asks.sort_unstable();
            let mut waiting: Option<u64> = None;
            let (mut made, mut next): (Vec<u64>, usize) = (Vec::new(), 0);
            for t in 0..6_000 {
                while next < asks.len() && asks[next].0 == t {
                    let reason =
                        if asks[next].1 { KeyframeReason::NewViewer } else { KeyframeReason::Loss };
                    gate.request(reason, start + ms(t));
                    waiting.get_or_insert(t);
                    next += 1;
                }
                if gate.is_due(start + ms(t)) {
                    prop_assert!(waiting.is_some(), "a key frame that nobody asked for");
                    gate.made(start + ms(t));
                    waiting = None;
                    made.push(t);
                }
                prop_assert!(waiting.is_none_or(|since| t - since <= 500), "forgotten since {waiting:?}");
            }
            prop_assert!(made.windows(2).all(|pair| pair[1] - pair[0] >= 100));
        }
    }
}
