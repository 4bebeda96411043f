//! Who may be heard on an existing client's channel, where the worker's owner set a secret.
//!
//! `AUTH_CHALLENGE::nonce`, `AUTH_RESPONSE::answer`, `AUTH_SUCCESS` or `AUTH_FAILURE::why`. What was
//! proved holds for this one channel of this one connection: it is known neither by a label nor by
//! anything that was said in an offer, and a second answer is not looked at.

use std::time::{Duration, Instant};

use super::secret::{Secret, nonce_text};

/// How long a client may take to answer, as existing workers wait.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Channels of clients that wait for a challenge before they say anything, also where no secret is
/// set.
const WAITING_LABELS: [&str; 3] = ["training", "inference", "pathcheck"];

/// The gate of one channel.
#[derive(Debug)]
pub(super) struct Gate(State);

#[derive(Debug)]
enum State {
    /// Everything is heard.
    Open,
    /// Everything is heard; the client waits to be told that it may speak.
    Polite,
    /// Nothing is heard but an answer to this.
    Asked { secret: Secret, nonce: [u8; 32], until: Instant },
    /// Nothing is heard any more.
    Shut,
}

/// What becomes of something that was said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is heard.
    Pass,
    /// It was about the gate; this is the answer.
    Answer(String),
    /// It is not heard.
    Drop,
}

impl Gate {
    /// The gate of a channel that has just opened, and what the client is told first.
    pub(super) fn new(
        secret: Option<&Secret>,
        label: &str,
        nonce: [u8; 32],
        now: Instant,
    ) -> (Self, Option<String>) {
        let challenge = || Some(format!("AUTH_CHALLENGE::{}", nonce_text(&nonce)));
        match secret.cloned() {
            Some(secret) => {
                let until = now + ANSWER_WITHIN;
                (Self(State::Asked { secret, nonce, until }), challenge())
            }
            None if WAITING_LABELS.contains(&label) => (Self(State::Polite), challenge()),
            None => (Self(State::Open), None),
        }
    }

    /// A text came.
    pub(super) fn text(&mut self, text: &str, now: Instant) -> Heard {
        let answer = match text.split_once("::") {
            Some(("AUTH_RESPONSE", answer)) => Some(answer),
            _ if text == "AUTH_RESPONSE" => Some(""),
            _ => None,
        };
        match (&self.0, answer) {
            (State::Open | State::Polite, None) => Heard::Pass,
            (State::Polite, Some(_)) => {
                self.0 = State::Open;
                Heard::Answer("AUTH_SUCCESS".to_owned())
            }
            (State::Asked { .. }, None) | (State::Open | State::Shut, _) => Heard::Drop,
            (State::Asked { secret, nonce, until }, Some(answer)) => {
                let (open, said) = if now > *until {
                    (false, "AUTH_FAILURE::timeout")
                } else if secret.proves(nonce, answer) {
                    (true, "AUTH_SUCCESS")
                } else if answer == "missing" || answer.is_empty() {
                    (false, "AUTH_FAILURE::missing")
                } else {
                    (false, "AUTH_FAILURE::invalid")
                };
                self.0 = if open { State::Open } else { State::Shut };
                Heard::Answer(said.to_owned())
            }
        }
    }

    /// Whether bytes are heard.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.0, State::Open | State::Polite)
    }

    /// When [`time_is_up`](Self::time_is_up) is due.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.0 {
            State::Asked { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Nobody answered in time.
    pub(super) fn time_is_up(&mut self) -> Option<String> {
        self.until()?;
        self.0 = State::Shut;
        Some("AUTH_FAILURE::timeout".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const ANSWER: &str = "AUTH_RESPONSE::HLnb0Ch3S657qOL9mJCj1oNvskd0_DN6fVbuj3Q21i4";

    fn asked() -> (Gate, Instant) {
        let (now, nonce) = (Instant::now(), std::array::from_fn(|at| 100 + at as u8));
        let secret = Secret::read(SECRET).expect("a secret");
        let (gate, first) = Gate::new(Some(&secret), "my-data-channel", nonce, now);
        let challenge = "AUTH_CHALLENGE::ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM";
        assert_eq!(first.as_deref(), Some(challenge));
        (gate, now)
    }

    fn answered(text: &str) -> Heard {
        Heard::Answer(text.to_owned())
    }

    #[test]
    fn nothing_is_heard_before_the_right_answer_and_everything_after_it() {
        let (mut gate, now) = asked();
        let others =
            ["JOB_SUBMIT::1::{}", "FS_GET_INFO", "FILE_UPLOAD_CHECK::a::b", "AUTH_SUCCESS"];
        for other in others {
            assert_eq!(gate.text(other, now), Heard::Drop, "{other}");
        }
        assert!(!gate.is_open());
        assert_eq!(gate.text(ANSWER, now), answered("AUTH_SUCCESS"));
        assert!(gate.is_open() && gate.until().is_none());
        assert_eq!(gate.text("FS_GET_INFO", now), Heard::Pass);
        assert_eq!(gate.text(ANSWER, now), Heard::Drop);
    }

    #[test]
    fn one_wrong_answer_shuts_it_for_good() {
        for (wrong, why) in [
            ("AUTH_RESPONSE::missing", "missing"),
            ("AUTH_RESPONSE", "missing"),
            ("AUTH_RESPONSE::", "missing"),
            ("AUTH_RESPONSE::AAAA", "invalid"),
            ("AUTH_RESPONSE::HLnb0Ch3S657qOL9mJCj1oNvskd0_DN6fVbuj3Q21i4::x", "invalid"),
        ] {
            let (mut gate, now) = asked();
            assert_eq!(gate.text(wrong, now), answered(&format!("AUTH_FAILURE::{why}")), "{wrong}");
            assert_eq!(gate.text(ANSWER, now), Heard::Drop, "{wrong}");
            assert_eq!(gate.text("FS_GET_INFO", now), Heard::Drop, "{wrong}");
            assert!(!gate.is_open());
        }
    }

    #[test]
    fn an_answer_that_comes_late_does_not_count() {
        let (mut gate, now) = asked();
        let late = now + ANSWER_WITHIN + Duration::from_millis(1);
        assert_eq!(gate.text(ANSWER, late), answered("AUTH_FAILURE::timeout"));
        let (mut gate, now) = asked();
        assert_eq!(gate.until(), Some(now + ANSWER_WITHIN));
        assert_eq!(gate.time_is_up().as_deref(), Some("AUTH_FAILURE::timeout"));
        assert_eq!(gate.time_is_up(), None);
        assert_eq!(gate.text(ANSWER, now), Heard::Drop);
    }

    #[test]
    fn without_a_secret_only_those_who_wait_for_a_challenge_get_one() {
        let now = Instant::now();
        for label in ["my-data-channel", "browse", "resolve", "anything"] {
            let (mut gate, first) = Gate::new(None, label, [0; 32], now);
            assert_eq!((first, gate.text("FS_GET_INFO", now)), (None, Heard::Pass), "{label}");
        }
        for label in WAITING_LABELS {
            let (mut gate, first) = Gate::new(None, label, [0; 32], now);
            assert!(first.expect("a challenge").starts_with("AUTH_CHALLENGE::"));
            assert!(gate.is_open());
            assert_eq!(gate.text("AUTH_RESPONSE::missing", now), answered("AUTH_SUCCESS"));
            assert_eq!(gate.text("FS_GET_INFO", now), Heard::Pass);
        }
    }

    #[test]
    fn no_label_opens_a_gate_where_a_secret_is_set() {
        let (now, secret) = (Instant::now(), Secret::read(SECRET).expect("a secret"));
        for label in ["training", "inference", "pathcheck", "my-data-channel", "browse", ""] {
            let (mut gate, first) = Gate::new(Some(&secret), label, [1; 32], now);
            assert!(first.is_some() && !gate.is_open(), "{label}");
            assert_eq!(gate.text("JOB_SUBMIT::1::{}", now), Heard::Drop, "{label}");
            // An answer that was right on another channel.
            assert_eq!(gate.text(ANSWER, now), answered("AUTH_FAILURE::invalid"), "{label}");
        }
    }
}
