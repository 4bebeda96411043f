//! Driving as it was told, for a time.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{EVERY, LEASE, reason, stop};
use crate::{
    cli::{
        args::Drive,
        exit::{CliError, Exit},
        output::{GOOD, printable},
        session::Context,
    },
    session::{Session, SessionEvent},
};

/// People read a state line twice a second.
const STATE: Duration = Duration::from_millis(500);

/// What to do: nothing for a second, unless something was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Task {
    /// m/s and rad/s.
    linear: f64,
    angular: f64,
    time: Duration,
}

impl Default for Task {
    fn default() -> Self {
        Self { linear: 0.0, angular: 0.0, time: Duration::from_secs(1) }
    }
}

impl Task {
    /// What was typed; nothing where nothing of it was.
    pub(super) fn of(args: &Drive) -> Result<Option<Self>, CliError> {
        for (name, value) in [("--linear", args.linear), ("--angular", args.angular)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                let words = format!("{name} is {value}, a finite number is needed");
                return Err(CliError::usage(words));
            }
        }
        if args.linear.is_none() && args.angular.is_none() && args.time.is_none() {
            return Ok(None);
        }
        let other = Self::default();
        Ok(Some(Self {
            linear: args.linear.unwrap_or(other.linear),
            angular: args.angular.unwrap_or(other.angular),
            time: args.time.unwrap_or(other.time),
        }))
    }
}

/// Takes the controls, drives, and gives them back.
pub(super) async fn run(
    context: &Context<'_>,
    session: &Session,
    task: Task,
) -> Result<(), CliError> {
    let lease = session.request_lease(LEASE).await?;
    context.output.object(&json!({ "event": "lease", "number": lease }))?;
    let driven = drive(context, session, lease, task).await;
    stop(session, lease).await;
    driven?;
    let Task { linear, angular, time } = task;
    context.output.object(&json!({
        "event": "driven", "linear": linear, "angular": angular, "seconds": time.as_secs_f64(),
    }))?;
    context.output.line(format!("{GOOD}drove{GOOD:#} {linear} m/s, {angular} rad/s for {time:?}"))
}

async fn drive(
    context: &Context<'_>,
    session: &Session,
    lease: u64,
    Task { linear, angular, time }: Task,
) -> Result<(), CliError> {
    let until = Instant::now() + time;
    let mut tick = tokio::time::interval(EVERY);
    let mut who = session.lease();
    let changed = session.changed();
    let mut events = session.events();
    let mut told = None;
    while Instant::now() < until {
        tick.tick().await;
        let held = who.borrow_and_update().as_ref().is_some_and(|state| state.you);
        if !held {
            return Err(lease_lost());
        }
        // A script is not to press again by itself: it ends, and says by which rule.
        let stopped =
            changed.borrow().get("stopped").and_then(|rule| rule.as_str().map(str::to_owned));
        if let Some(rule) = stopped {
            let why = last_words(&mut events, &rule).unwrap_or_else(|| reason(&rule));
            return Err(CliError::new(Exit::Refused, rule, why));
        }
        session.drive(lease, linear, angular, true);
        if told.is_none_or(|at: Instant| at.elapsed() >= STATE) {
            told = Some(Instant::now());
            context.output.note(state_line(session, until));
        }
    }
    Ok(())
}

fn lease_lost() -> CliError {
    CliError::new(
        Exit::Refused,
        "lease_lost",
        "the machine was taken from us while driving; it has stopped or somebody else drives",
    )
}

/// What is going on, in one line.
fn state_line(session: &Session, until: Instant) -> String {
    let left = until.saturating_duration_since(Instant::now()).as_secs_f64();
    format!("driving: {}, {left:.1} s to go (Ctrl-C stops)", speeds(session))
}

/// How fast it is, and how old the picture.
fn speeds(session: &Session) -> String {
    let telemetry = session.telemetry();
    let told = telemetry.borrow();
    let number = |name: &str| {
        told.as_ref().and_then(|told| told.value.get(name)?.as_f64()).unwrap_or_default()
    };
    let picture = match session.picture_age() {
        Some(age) => format!("picture {} ms old", age.as_millis()),
        None => "no picture".to_owned(),
    };
    format!("{:.2} m/s, {:.2} rad/s, {picture}", number("speed"), number("angular_speed"))
}

/// The worker's own words about a rule, newest.
fn last_words(events: &mut Receiver<SessionEvent>, rule: &str) -> Option<String> {
    let mut words = None;
    loop {
        match events.try_recv() {
            Ok(SessionEvent::Notice(notice)) if notice.code == rule => {
                words = Some(printable(&notice.message));
            }
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(_) => return words,
        }
    }
}
