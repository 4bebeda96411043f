//! What somebody who drives has to know: events in, something to show out. No socket, no terminal.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use halyard_protocol::channel::{DriveLimits, LeaseState};
use serde_json::Value;

use super::reason;
use crate::cli::output::printable;

/// What happened that is kept for the screen.
const MOST_LINES: usize = 50;

/// The same words within this long are one line.
const SAME: Duration = Duration::from_secs(10);

/// Tenths of the machine's speed to begin with.
const FIRST_SHARE: u8 = 4;

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct View {
    /// The worker's name.
    pub(super) machine: String,
    pub(super) limits: Option<DriveLimits>,
    pub(super) lease: Option<LeaseState>,
    /// The controls were asked for.
    pub(super) asks: bool,
    /// What is wrong with the connection, while something is.
    pub(super) trouble: Option<String>,
    /// Tenths of the machine's speed that a key asks for.
    pub(super) share: u8,
    /// What is asked for now, in m/s and rad/s; nothing with hands off.
    pub(super) asked: Option<(f64, f64)>,
    /// What the machine says it does.
    pub(super) speed: f64,
    pub(super) angular: f64,
    /// 0 to 1.
    pub(super) battery: Option<f64>,
    /// How old the newest picture is.
    pub(super) picture: Option<Duration>,
    /// The rule that stopped the machine, until it is good again.
    pub(super) stopped: Option<String>,
    /// The emergency stop is latched, and by whom.
    pub(super) estop: bool,
    pub(super) estop_by: Option<String>,
    /// What was said of it last on the reliable lane.
    last_estop: bool,
    pub(super) happened: VecDeque<Happened>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happened {
    pub(super) at: Instant,
    /// The rule or code, and the words.
    pub(super) code: String,
    pub(super) words: String,
    pub(super) times: u32,
    pub(super) is_bad: bool,
}

impl View {
    pub(super) fn new(machine: &str, limits: Option<DriveLimits>) -> Self {
        Self {
            machine: printable(machine),
            limits,
            lease: None,
            asks: false,
            trouble: None,
            share: FIRST_SHARE,
            asked: None,
            speed: 0.0,
            angular: 0.0,
            battery: None,
            picture: None,
            stopped: None,
            estop: false,
            estop_by: None,
            last_estop: false,
            happened: VecDeque::new(),
        }
    }

    /// The number under which we drive, if we do.
    pub(super) fn number(&self) -> Option<u64> {
        self.lease.as_ref().filter(|lease| lease.you).map(|lease| lease.number)
    }

    /// Who else drives.
    pub(super) fn other(&self) -> Option<String> {
        let lease = self.lease.as_ref().filter(|lease| !lease.you)?;
        lease.holder.as_ref().map(|holder| printable(holder.as_str()))
    }

    /// What a stick this far means, in m/s and rad/s.
    pub(super) fn speeds(&self, (forward, left): (f64, f64)) -> (f64, f64) {
        let Some(limits) = &self.limits else { return (0.0, 0.0) };
        let most = if forward < 0.0 {
            limits.max_reverse.unwrap_or(limits.max_linear)
        } else {
            limits.max_linear
        };
        let share = f64::from(self.share) / 10.0;
        (forward * most * share, left * limits.max_angular * share)
    }

    /// Something happened that is worth a line.
    pub(super) fn tell(&mut self, now: Instant, code: &str, words: &str, is_bad: bool) {
        let (code, words) = (printable(code), printable(words));
        let same = self.happened.iter_mut().find(|happened| {
            happened.code == code
                && happened.words == words
                && now.saturating_duration_since(happened.at) < SAME
        });
        if let Some(same) = same {
            (same.at, same.times) = (now, same.times.saturating_add(1));
            return;
        }
        if self.happened.len() >= MOST_LINES {
            self.happened.pop_front();
        }
        self.happened.push_back(Happened { at: now, code, words, times: 1, is_bad });
    }

    /// The machine's report.
    pub(super) fn report(&mut self, value: &Value) {
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        self.speed = number("speed").unwrap_or_default();
        self.angular = number("angular_speed").unwrap_or_default();
        self.battery = number("battery");
    }

    /// What must not be missed is like this now.
    pub(super) fn changed(&mut self, now: Instant, stopped: Option<&str>, estop: bool) {
        let stopped = stopped.map(printable);
        if self.stopped != stopped
            && let Some(rule) = &stopped
            && !self.happened.iter().any(|happened| {
                happened.code == *rule && now.saturating_duration_since(happened.at) < SAME
            })
        {
            // Its own words may have been lost.
            self.tell(now, &rule.clone(), &reason(rule), true);
        }
        self.stopped = stopped;
        // The event tells sooner, and who it was: only a change says more.
        if std::mem::replace(&mut self.last_estop, estop) != estop {
            self.estop = estop;
            self.estop_by.take_if(|_| !estop);
        }
    }

    /// Another speed, in tenths.
    pub(super) fn set_share(&mut self, tenths: u8) {
        self.share = tenths.clamp(1, 10);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use halyard_protocol::ids::PeerId;

    use super::*;

    pub(in crate::cli::drive) fn limits() -> DriveLimits {
        DriveLimits {
            max_linear: 1.0,
            max_angular: 1.5,
            watchdog_ms: 500,
            max_reverse: Some(0.5),
            max_age_ms: Some(500),
            max_picture_age_ms: Some(300),
        }
    }

    pub(in crate::cli::drive) fn view() -> View {
        let mut view = View::new("rover\u{1b}[2J", Some(limits()));
        view.lease = Some(LeaseState { holder: PeerId::new("me").ok(), number: 3, you: true });
        view
    }

    #[test]
    fn keys_mean_a_share_of_what_the_machine_may_do() {
        let mut view = view();
        assert_eq!(view.speeds((1.0, 0.0)), (0.4, 0.0));
        view.set_share(10);
        assert_eq!(view.speeds((-1.0, 1.0)), (-0.5, 1.5));
        view.set_share(0);
        assert_eq!(view.share, 1);
        assert_eq!(view.machine, "rover\u{fffd}[2J");
    }

    #[test]
    fn what_is_said_again_and_again_is_one_line() {
        let (mut view, start) = (view(), Instant::now());
        for n in 0..5 {
            view.tell(start + Duration::from_secs(n), "stale", "too old", true);
        }
        view.tell(start, "lease", "ann drives", false);
        assert_eq!(view.happened.len(), 2);
        assert_eq!(view.happened[0].times, 5);
        for n in 0..200 {
            view.tell(start, "n", &n.to_string(), false);
        }
        assert_eq!(view.happened.len(), MOST_LINES);
    }

    #[test]
    fn a_stop_whose_words_were_lost_is_told_all_the_same() {
        let (mut view, now) = (view(), Instant::now());
        view.changed(now, Some("watchdog"), false);
        assert_eq!(view.happened[0].code, "watchdog");
        assert!(view.happened[0].words.contains("heard nothing"), "{:?}", view.happened);
        view.changed(now, None, true);
        assert_eq!((view.stopped.as_deref(), view.estop), (None, true));
        (view.estop, view.estop_by) = (false, None);
        view.changed(now, None, true);
        assert!(!view.estop, "the event was sooner");
        view.tell(now, "picture", "too old", true);
        view.changed(now, Some("picture"), false);
        assert_eq!(view.happened.len(), 2, "once is enough");
    }
}
