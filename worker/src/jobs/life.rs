//! One job's life as pure logic: what may happen in which state, and what it leads to.
//!
//! ```text
//! queued -> running -> stopping -> succeeded | failed | cancelled | lost
//! ```
//! Nothing leads out of the last four. What does not fit a state is refused and changes nothing.

use std::time::Duration;

use halyard_protocol::channel::JobState;

/// What a program that was interrupted (SIGINT) ends with, where it does not die of it.
const INTERRUPTED: i32 = 130;

/// The reasons by which a wish is known again after a restart.
const CANCELLED: &str = "somebody cancelled it";
const TIME_OVER: &str = "its time is over";

/// The number of SIGINT everywhere that jobs run.
const SIGINT: i32 = 2;

/// A job's state and why it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    state: JobState,
    wish: Option<Wish>,
}

/// Why a running job is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Somebody wants it to finish early and keep what there is.
    Stop,
    /// Somebody does not want it any more.
    Cancel,
    /// Its time is over.
    TimeUp,
}

/// Something that happens to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Its turn has come.
    Start,
    /// Somebody wants it to finish early.
    Stop,
    /// Somebody does not want it any more.
    Cancel,
    /// It ran for as long as it may.
    TimeUp,
    /// Its program ended.
    Exited {
        /// With this code, or
        code: Option<i32>,
        /// of this signal.
        signal: Option<i32>,
    },
    /// Its program could not be started, or the job cannot be understood any more.
    Broken(String),
    /// Its program is gone and nobody saw how it ended.
    Vanished,
    /// The job before it ended like this.
    Before(String, JobState),
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state now.
    pub state: JobState,
    /// Why.
    pub reason: Option<String>,
    /// What to do about the program.
    pub act: Act,
}

/// What to do about a job's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Start it.
    Launch,
    /// Ask it to finish.
    AskToStop,
    /// Make it end.
    End,
}

/// An input does not fit the state. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job is {0}")]
pub struct Refused(pub JobState);

impl Default for Life {
    fn default() -> Self {
        Self { state: JobState::Queued, wish: None }
    }
}

impl Life {
    /// A life as it was written down: the state and its reason.
    pub fn restored(state: JobState, reason: Option<&str>) -> Self {
        let wish = (state == JobState::Stopping).then_some(match reason {
            Some(CANCELLED) => Wish::Cancel,
            Some(TIME_OVER) => Wish::TimeUp,
            _ => Wish::Stop,
        });
        Self { state, wish }
    }

    /// How it stands.
    pub fn state(&self) -> JobState {
        self.state
    }

    /// Why it is to end, if it is.
    pub fn wish(&self) -> Option<Wish> {
        self.wish
    }

    /// Takes an input. `None` when it changes nothing, because it was so already.
    pub fn take(&mut self, input: Input) -> Result<Option<Step>, Refused> {
        use JobState::{Cancelled, Failed, Lost, Queued, Running, Stopping};
        let step = |state, reason: &str, act| {
            let reason = (!reason.is_empty()).then(|| reason.to_owned());
            Ok(Some(Step { state, reason, act }))
        };
        let step = match (self.state, input) {
            (Queued, Input::Start) => step(Running, "", Act::Launch),
            (Queued, Input::Stop | Input::Cancel) => {
                step(Cancelled, "before it began", Act::Nothing)
            }
            (Queued, Input::Before(job, state)) => {
                step(Cancelled, &format!("the job before it ({job}) is {state}"), Act::Nothing)
            }
            (Running, Input::Stop) => {
                self.wish = Some(Wish::Stop);
                step(Stopping, "somebody asked it to finish early", Act::AskToStop)
            }
            (Running, Input::Cancel) => {
                self.wish = Some(Wish::Cancel);
                step(Stopping, CANCELLED, Act::End)
            }
            (Running, Input::TimeUp) => {
                self.wish = Some(Wish::TimeUp);
                step(Stopping, TIME_OVER, Act::End)
            }
            (Stopping, Input::Cancel) if self.wish == Some(Wish::Stop) => {
                self.wish = Some(Wish::Cancel);
                step(Stopping, CANCELLED, Act::End)
            }
            (Stopping, Input::TimeUp) if self.wish == Some(Wish::Stop) => {
                self.wish = Some(Wish::TimeUp);
                step(Stopping, TIME_OVER, Act::End)
            }
            // A wish that is not stronger than the one before changes nothing.
            (Stopping, Input::Stop | Input::Cancel | Input::TimeUp) => Ok(None),
            (Running | Stopping, Input::Exited { code, signal }) => {
                let (state, reason) = self.verdict(code, signal);
                step(state, &reason, Act::Nothing)
            }
            (Running | Stopping, Input::Vanished) => {
                let reason =
                    "its program was gone when the worker looked; see its output and files";
                step(Lost, reason, Act::Nothing)
            }
            (state, Input::Broken(reason)) if !state.is_over() => {
                step(Failed, &reason, Act::Nothing)
            }
            (state, _) => Err(Refused(state)),
        }?;
        if let Some(step) = &step {
            self.state = step.state;
        }
        Ok(step)
    }

    fn verdict(&self, code: Option<i32>, signal: Option<i32>) -> (JobState, String) {
        let ended = match (code, signal) {
            (_, Some(signal)) => format!("it was ended by signal {signal}"),
            (Some(code), None) => format!("it ended with code {code}"),
            (None, None) => "it ended".to_owned(),
        };
        let interrupted = signal == Some(SIGINT) || code == Some(INTERRUPTED);
        match self.wish {
            Some(Wish::Cancel) => (JobState::Cancelled, ended),
            Some(Wish::TimeUp) => (JobState::Failed, format!("its time was over; {ended}")),
            Some(Wish::Stop) if code == Some(0) || interrupted => {
                (JobState::Succeeded, "it finished early, as asked".to_owned())
            }
            None if code == Some(0) => (JobState::Succeeded, String::new()),
            Some(Wish::Stop) | None => (JobState::Failed, ended),
        }
    }
}

/// When a program that was asked to stop is interrupted, and when it is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It may still follow the wish.
    Asked,
    /// It is interrupted (SIGINT) now.
    Interrupted,
}

impl Patience {
    /// How far patience goes, this long after the wish.
    pub fn after(since: Duration, grace: Duration) -> Self {
        if since >= grace { Self::Interrupted } else { Self::Asked }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exited(code: i32) -> Input {
        Input::Exited { code: Some(code), signal: None }
    }

    fn running() -> Life {
        let mut life = Life::default();
        assert_eq!(life.take(Input::Start).expect("fits").expect("a step").act, Act::Launch);
        life
    }

    #[test]
    fn a_job_runs_and_ends_with_its_programs_own_verdict() {
        let mut life = running();
        assert_eq!(life.take(exited(0)).expect("fits").expect("a step").state, JobState::Succeeded);
        let mut life = running();
        let step = life.take(exited(3)).expect("fits").expect("a step");
        assert_eq!(
            (step.state, step.reason.as_deref()),
            (JobState::Failed, Some("it ended with code 3"))
        );
        assert_eq!(life.take(Input::Cancel), Err(Refused(JobState::Failed)));
    }

    #[test]
    fn a_stop_that_is_followed_is_a_success_and_a_crash_on_the_way_is_not() {
        for (end, state) in [
            (exited(0), JobState::Succeeded),
            (exited(130), JobState::Succeeded),
            (Input::Exited { code: None, signal: Some(2) }, JobState::Succeeded),
            (exited(1), JobState::Failed),
            (Input::Exited { code: None, signal: Some(11) }, JobState::Failed),
        ] {
            let mut life = running();
            assert_eq!(life.take(Input::Stop).expect("fits").expect("a step").act, Act::AskToStop);
            assert_eq!(
                life.take(end.clone()).expect("fits").expect("a step").state,
                state,
                "{end:?}"
            );
        }
    }

    #[test]
    fn of_two_who_cancel_at_once_one_does_and_the_other_agrees() {
        let mut life = running();
        assert_eq!(life.take(Input::Cancel).expect("fits").expect("a step").act, Act::End);
        assert_eq!(life.take(Input::Cancel), Ok(None));
        assert_eq!(life.take(Input::Stop), Ok(None));
        let end = Input::Exited { code: None, signal: Some(15) };
        assert_eq!(life.take(end).expect("fits").expect("a step").state, JobState::Cancelled);
    }

    #[test]
    fn a_cancel_insists_after_a_stop_and_not_the_other_way_round() {
        let mut life = running();
        life.take(Input::Stop).expect("fits");
        assert_eq!(life.take(Input::Cancel).expect("fits").expect("a step").act, Act::End);
        assert_eq!(life.wish(), Some(Wish::Cancel));
    }

    #[test]
    fn a_wish_is_known_again_after_a_restart() {
        for input in [Input::Stop, Input::Cancel, Input::TimeUp] {
            let mut life = running();
            let step = life.take(input).expect("fits").expect("a step");
            assert_eq!(Life::restored(step.state, step.reason.as_deref()), life);
        }
    }

    #[test]
    fn patience_ends_with_the_grace() {
        let grace = Duration::from_secs(30);
        assert_eq!(Patience::after(Duration::from_secs(29), grace), Patience::Asked);
        assert_eq!(Patience::after(grace, grace), Patience::Interrupted);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Start),
            Just(Input::Stop),
            Just(Input::Cancel),
            Just(Input::TimeUp),
            (prop::option::of(0..3), prop::option::of(1..16))
                .prop_map(|(code, signal)| Input::Exited { code, signal }),
            Just(Input::Broken("x".into())),
            Just(Input::Vanished),
            Just(Input::Before("a".into(), JobState::Failed)),
        ]
    }

    /// The only ways there are.
    fn allowed(from: JobState, to: JobState) -> bool {
        use JobState::{Cancelled, Failed, Queued, Running, Stopping};
        match from {
            Queued => matches!(to, Running | Cancelled | Failed),
            Running | Stopping => to != Queued && to != Running,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_only_allowed_ways_are_taken(
            story in prop::collection::vec(inputs(), 0..24)
        ) {
            let mut life = Life::default();
            for input in story {
                let before = life.clone();
                if let Ok(Some(step)) = life.take(input) {
                    prop_assert_eq!(step.state, life.state());
                    prop_assert!(allowed(before.state(), step.state), "{:?} {:?}", before, step);
                } else {
                    prop_assert_eq!(&before, &life);
                }
                if before.state().is_over() {
                    prop_assert_eq!(before.state(), life.state(), "what is over stays over");
                }
            }
        }
    }
}
