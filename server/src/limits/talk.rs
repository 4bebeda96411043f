//! How fast one socket may talk. It lives in the socket's task and has no lock.
//!
//! Who talks too fast is first not read for a moment: TCP tells the other end to slow down, and
//! nothing is lost. Where what is not read goes on piling up, the peer is told, and at last closed.

use std::time::{Duration, Instant};

use super::{Bucket, Rate};
use crate::settings::Timing;

/// Seconds of messages that may come at once: somebody who joins sends some twenty candidates to
/// each of those who are there.
const BURST_SECONDS: u64 = 10;
/// What a message is taken to have on average, in bytes, so that one setting bounds both: an offer
/// with all its candidates stays below it.
const BYTES_PER_MESSAGE: u64 = 16 * 1024;
/// The largest message must pass at once even where few are allowed.
const LEAST_BURST_BYTES: u64 = 2 * halyard_protocol::limits::MAX_SIGNAL_BYTES as u64;
/// A frame that comes this soon after a pause had been waiting.
const WAS_WAITING: Duration = Duration::from_millis(5);
/// What every socket may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    messages: Rate,
    bytes: Rate,
    tell_after: Duration,
    close_after: Duration,
}

impl Pace {
    /// So many messages in a second, and ten times as many at once.
    pub fn new(messages_per_second: usize, timing: &Timing) -> Self {
        let messages = messages_per_second as u64;
        let bytes = messages.saturating_mul(BYTES_PER_MESSAGE);
        let burst = bytes.saturating_mul(BURST_SECONDS).max(LEAST_BURST_BYTES);
        Self {
            messages: Rate::per_second(messages, messages.saturating_mul(BURST_SECONDS)),
            bytes: Rate::per_second(bytes, burst),
            tell_after: timing.tell_after,
            close_after: timing.close_after,
        }
    }
}

/// What to do after a frame was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on reading.
    Go,
    /// Read nothing for this long.
    Pause(Duration),
    /// The same, and tell the peer that it is too fast, once.
    Tell(Duration),
    /// It was told and goes on: close the socket.
    Close,
}

/// How fast one socket talked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Talk {
    messages: Bucket,
    bytes: Bucket,
    /// When the last pause ends.
    resume_at: Option<Instant>,
    /// Since when messages wait without a gap.
    since: Option<Instant>,
    told: bool,
}

impl Talk {
    /// A frame of this size was read.
    pub fn heard(&mut self, bytes: usize, pace: &Pace, now: Instant) -> Verdict {
        let gap = self.resume_at.is_none_or(|at| now.saturating_duration_since(at) > WAS_WAITING);
        if gap {
            self.since = None;
            self.told = false;
        }
        let for_messages = self.messages.owe(1, pace.messages, now);
        let wait = for_messages.max(self.bytes.owe(bytes as u64, pace.bytes, now));
        if wait.is_zero() {
            self.resume_at = None;
            return Verdict::Go;
        }
        self.resume_at = now.checked_add(wait);
        let since = *self.since.get_or_insert(now);
        match now.saturating_duration_since(since) {
            long if long >= pace.close_after => Verdict::Close,
            long if long >= pace.tell_after && !self.told => {
                self.told = true;
                Verdict::Tell(wait)
            }
            _ => Verdict::Pause(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(messages_per_second: usize) -> Pace {
        Pace::new(messages_per_second, &Timing::default())
    }

    /// Talks `per_second` into a socket that is read as the verdicts say, for `seconds`.
    fn talk(per_second: u32, seconds: u32, bytes: usize) -> (usize, bool, Option<Duration>) {
        let pace = pace(50);
        let start = Instant::now();
        let (mut talk, mut now) = (Talk::default(), start);
        let (mut heard, mut told) = (0, false);
        for number in 0..per_second * seconds {
            // Said now, or read later where the reader pauses.
            now = now.max(start + Duration::from_secs(1) * number / per_second);
            if now > start + Duration::from_secs(seconds.into()) {
                break;
            }
            heard += 1;
            match talk.heard(bytes, &pace, now) {
                Verdict::Go => {}
                Verdict::Tell(wait) => {
                    told = true;
                    now += wait;
                }
                Verdict::Pause(wait) => now += wait,
                Verdict::Close => return (heard, told, Some(now - start)),
            }
        }
        (heard, told, None)
    }

    #[test]
    fn who_keeps_to_the_limit_is_never_held_up() {
        assert_eq!(talk(45, 120, 1000), (45 * 120, false, None));
    }

    #[test]
    fn a_burst_is_read_at_once_and_somewhat_more_a_little_later() {
        let (heard, told, closed) = talk(600, 1, 500);
        assert!((500..=560).contains(&heard), "{heard}");
        assert_eq!((told, closed), (false, None));
    }

    #[test]
    fn who_goes_on_is_told_and_then_closed() {
        let (heard, told, closed) = talk(1000, 120, 500);
        assert!(told);
        let closed = closed.expect("closed");
        assert!((30..33).contains(&closed.as_secs()), "{closed:?}");
        assert!((500 + 50 * 29..=500 + 50 * 34).contains(&heard), "{heard}");
    }

    #[test]
    fn large_messages_are_counted_by_their_bytes() {
        let (heard, _, _) = talk(45, 20, 512 * 1024);
        let most = (8 + 1) * 2 + 20 * 2;
        assert!(heard <= most, "{heard} of half a megabyte in 20 s");
        let one = 1024 * 1024;
        assert_eq!(Talk::default().heard(one, &pace(1), Instant::now()), Verdict::Go);
    }

    #[test]
    fn who_slows_down_after_being_told_is_forgiven() {
        let (pace, mut now) = (pace(50), Instant::now());
        let mut talk = Talk::default();
        loop {
            match talk.heard(100, &pace, now) {
                Verdict::Go => {}
                Verdict::Pause(wait) => now += wait,
                Verdict::Tell(wait) => {
                    now += wait;
                    break;
                }
                Verdict::Close => panic!("closed before it was told"),
            }
        }
        for _ in 0..10_000 {
            now += Duration::from_millis(30);
            assert!(!matches!(talk.heard(100, &pace, now), Verdict::Close | Verdict::Tell(_)));
        }
    }
}
