//! What a viewer is sent who cannot be sent everything.
//!
//! There is one encode, and it does not follow everybody. Sent to a path that carries half of it, it
//! would fill the queues there and be lost in part, and every loss would cost a key frame that all
//! others pay for. So such a viewer gets single pictures instead, key frames with seconds in between,
//! and now and then a trial whether its path has become better.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

/// A path is too narrow below this share of the rate, when it has been so this long.
const NARROW: f64 = 0.6;
const NARROW_FOR: Duration = Duration::from_secs(2);

/// Single pictures are at least this far apart.
const STILL_EVERY: Duration = Duration::from_secs(2);

/// A trial comes after this long, after a trial that failed twice as long, up to the most.
const TRIAL_AFTER: Duration = Duration::from_secs(10);
const TRIAL_AFTER_MOST: Duration = Duration::from_secs(80);

/// A trial that lasted this long has not failed.
const PASSED_AFTER: Duration = Duration::from_secs(8);

/// What to do with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// Send it.
    Yes,
    /// Not this one.
    No,
    /// Not this one, but it is time for a single picture: ask for a key frame.
    AskForKey,
}

/// Remembers how a viewer did.
#[derive(Debug)]
pub struct Patience {
    narrow_since: Option<Instant>,
    /// Only single pictures since then.
    stills: Option<Stills>,
    trial_after: Duration,
    tried: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Stills {
    since: Instant,
    last: Instant,
    is_asked: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self { narrow_since: None, stills: None, trial_after: TRIAL_AFTER, tried: None }
    }
}

impl Patience {
    /// What the viewer's path carries and what the encoder is told to give, in bits a second.
    pub fn look(&mut self, now: Instant, carries: u32, rate: u32) {
        let is_narrow = f64::from(carries) < f64::from(rate) * NARROW;
        if let Some(stills) = self.stills {
            let has_waited = now.saturating_duration_since(stills.since) >= self.trial_after;
            if has_waited || !is_narrow {
                (self.stills, self.narrow_since, self.tried) = (None, None, Some(now));
            }
            return;
        }
        if !is_narrow {
            self.narrow_since = None;
            return;
        }
        let since = *self.narrow_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= NARROW_FOR {
            let has_failed =
                self.tried.is_some_and(|tried| now.saturating_duration_since(tried) < PASSED_AFTER);
            self.trial_after =
                if has_failed { (self.trial_after * 2).min(TRIAL_AFTER_MOST) } else { TRIAL_AFTER };
            self.stills = Some(Stills { since: now, last: now, is_asked: false });
        }
    }

    /// Whether to send this picture.
    pub fn send(&mut self, now: Instant, is_key: bool) -> Send {
        let Some(stills) = &mut self.stills else { return Send::Yes };
        if now.saturating_duration_since(stills.last) < STILL_EVERY {
            return Send::No;
        }
        if is_key {
            (stills.last, stills.is_asked) = (now, false);
            return Send::Yes;
        }
        if std::mem::replace(&mut stills.is_asked, true) { Send::No } else { Send::AskForKey }
    }

    /// Whether it gets single pictures only.
    pub fn is_thin(&self) -> bool {
        self.stills.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays so many seconds of pictures; one in a hundred is a key frame, and so is one that was asked
    /// for. Gives how many were sent and how many key frames were asked for.
    fn play(
        patience: &mut Patience,
        start: Instant,
        from: u64,
        seconds: u64,
        carries: u32,
    ) -> (usize, usize) {
        let (mut sent, mut asked, mut is_due) = (0, 0, false);
        for n in 0..seconds * 30 {
            let now = start + Duration::from_millis(from * 1_000 + n * 33);
            patience.look(now, carries, 2_000_000);
            let is_key = n % 100 == 0 || std::mem::take(&mut is_due);
            match patience.send(now, is_key) {
                Send::Yes => sent += 1,
                Send::No => {}
                Send::AskForKey => (asked, is_due) = (asked + 1, true),
            }
        }
        (sent, asked)
    }

    #[test]
    fn who_has_enough_gets_everything() {
        let mut patience = Patience::default();
        assert_eq!(play(&mut patience, Instant::now(), 0, 20, 1_300_000), (600, 0));
    }

    #[test]
    fn who_has_not_gets_a_picture_every_two_seconds_and_a_trial_now_and_then() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        play(&mut patience, start, 0, 3, 500_000);
        assert!(patience.is_thin());
        let (sent, asked) = play(&mut patience, start, 3, 8, 500_000);
        assert!((2..=4).contains(&sent) && asked <= 4, "{sent} {asked}");
        // The first trial after ten seconds, the next ones ever later.
        let mut trials = 0;
        let mut was_thin = true;
        for second in 11..111 {
            play(&mut patience, start, second, 1, 500_000);
            trials += usize::from(was_thin && !patience.is_thin());
            was_thin = patience.is_thin();
        }
        assert!((2..=4).contains(&trials), "{trials}");
        play(&mut patience, start, 111, 1, 2_000_000);
        assert_eq!(play(&mut patience, start, 112, 10, 2_000_000), (300, 0));
    }
}
