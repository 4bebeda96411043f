//! When a source is started again, and when the slate stands in its place.
//!
//! Pure logic: time is an argument, what to do comes out as values. The rules:
//!
//! * A source that **ended** is started again after a pause that doubles from [`FIRST_PAUSE`] to
//!   [`LONGEST_PAUSE`]. Only one that ran for [`STEADY`] since begins with the short pause again.
//! * A source that **lost** its picture and tries by itself is left alone.
//! * A source of which nobody knows (it says nothing, and no picture comes while somebody watches)
//!   is taken for lost after [`SILENCE`] and for ended after [`STUCK`]; only where the source wants
//!   that, because some have a silence of their own to explain.
//! * From the first of these on until a key frame comes there is **trouble**: people are told once
//!   when it begins and once when it ends, and the slate shows its latest reason.

use std::time::{Duration, Instant};

/// The pause before the first attempt.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A source that gave pictures for this long is well again.
pub const STEADY: Duration = Duration::from_secs(10);

/// No picture for this long, while somebody watches, is trouble.
pub const SILENCE: Duration = Duration::from_secs(2);

/// No picture for this long is the end of a source.
pub const STUCK: Duration = Duration::from_secs(8);

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For people: the latest that is known.
    pub reason: String,
    /// When it began.
    pub since: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell people that the picture is lost, and show the slate.
    Lost(String),
    /// Show this reason on the slate from now on.
    Reason(String),
    /// Take the source down.
    Stop,
    /// Start the source anew; say [`Policy::started`] or [`Policy::ended`] then.
    Start,
    /// Tell people that the picture is back; the slate is over.
    Back,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// It runs. Pictures came last at `last`, and without trouble since `well`.
    Running { started: Instant, last: Option<Instant>, well: Option<Instant> },
    /// It ended; the next attempt is due.
    Waiting { until: Instant },
    /// It is being started.
    Starting,
}

/// The state of one source.
#[derive(Debug)]
pub struct Policy {
    state: State,
    trouble: Option<Trouble>,
    attempts: u32,
    /// Since when somebody watches.
    watched: Option<Instant>,
    hears_silence: bool,
}

impl Policy {
    /// A source that was started now. `hears_silence`: no picture for long means that it ended.
    pub fn new(hears_silence: bool, now: Instant) -> Self {
        let state = State::Running { started: now, last: None, well: None };
        Self { state, trouble: None, attempts: 0, watched: None, hears_silence }
    }

    /// Why there is no picture; nothing while all is well.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Attempts to start it since it last ran well.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Somebody watches, or nobody does any more.
    pub fn watch(&mut self, watched: bool, now: Instant) {
        self.watched = watched.then(|| self.watched.unwrap_or(now));
    }

    /// The source was started.
    pub fn started(&mut self, now: Instant) {
        self.state = State::Running { started: now, last: None, well: None };
    }

    /// A picture came. `shown`: it could be shown, which begins with a key frame after trouble.
    pub fn picture(&mut self, shown: bool, now: Instant) -> Option<Action> {
        let State::Running { last, well, .. } = &mut self.state else { return None };
        *last = Some(now);
        if !shown {
            return None;
        }
        well.get_or_insert(now);
        self.trouble.take().map(|_| Action::Back)
    }

    /// The source has no picture, and tries by itself.
    pub fn lost(&mut self, reason: String, now: Instant) -> Option<Action> {
        if let State::Running { well, .. } = &mut self.state {
            *well = None;
        }
        self.begin_trouble(reason, now)
    }

    /// The source ended, or could not be started.
    pub fn ended(&mut self, reason: String, now: Instant) -> Vec<Action> {
        match self.state {
            State::Waiting { .. } => return Vec::new(), // It was taken down already.
            State::Running { last: Some(last), well: Some(well), .. }
                if last.saturating_duration_since(well) >= STEADY =>
            {
                self.attempts = 0;
            }
            State::Running { .. } | State::Starting => {}
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(8));
        self.state = State::Waiting { until: now + doubled.min(LONGEST_PAUSE) };
        // People first: taking a device down may take long.
        self.begin_trouble(reason, now).into_iter().chain([Action::Stop]).collect()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Waiting { until } if until <= now => {
                self.state = State::Starting;
                self.attempts = self.attempts.saturating_add(1);
                vec![Action::Start]
            }
            State::Waiting { .. } | State::Starting => Vec::new(),
            State::Running { started, last, .. } => {
                let Some(watched) = self.watched.filter(|_| self.hears_silence) else {
                    return Vec::new();
                };
                let since = last.map_or(started, |last| last.max(started)).max(watched);
                let silence = now.saturating_duration_since(since);
                if silence >= STUCK {
                    let reason = format!("no picture came for {} s", silence.as_secs());
                    self.ended(reason, now)
                } else if silence >= SILENCE && self.trouble.is_none() {
                    self.lost("no picture comes".to_owned(), now).into_iter().collect()
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// When to [tick](Self::tick) next at the latest.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } if self.hears_silence && self.watched.is_some() => {
                Some(now + SILENCE / 8)
            }
            _ => None,
        }
    }

    fn begin_trouble(&mut self, reason: String, now: Instant) -> Option<Action> {
        match &mut self.trouble {
            Some(trouble) if trouble.reason == reason => None,
            Some(trouble) => {
                trouble.reason.clone_from(&reason);
                Some(Action::Reason(reason))
            }
            None => {
                self.trouble = Some(Trouble { reason: reason.clone(), since: now });
                Some(Action::Lost(reason))
            }
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
