//! `halyard drive`: drive for a while.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{
    args::Drive,
    exit::{CliError, Exit},
    output::{GOOD, printable},
    session::Context,
};
use crate::session::{Session, SessionError, SessionEvent};

/// How often the sticks are told: the machine's watchdog wants it twice in half a second, and one
/// message may be lost.
const EVERY: Duration = Duration::from_millis(50);

/// How long the worker may take to say who drives.
const LEASE: Duration = Duration::from_secs(5);

/// How long the picture may take to come, where the worker asks how old it is.
const PICTURE: Duration = Duration::from_secs(10);

/// People read a state line twice a second.
const STATE: Duration = Duration::from_millis(500);

/// How often "stop" is said: the lane may lose one.
const STOPS: u32 = 3;

pub(super) async fn run(context: &Context<'_>, mut args: Drive) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let (linear, angular) = (args.linear, args.angular);
    for (name, value) in [("--linear", linear), ("--angular", angular)] {
        if !value.is_finite() {
            return Err(CliError::usage(format!("{name} is {value}, a finite number is needed")));
        }
    }
    let mut options = context.options(&link)?;
    // A worker that shows a picture lets nobody drive who does not watch it.
    options.video = true;
    context
        .in_session(link, options, async |session| {
            if session.hello().is_some_and(|hello| hello.drive.is_none()) {
                return Err(CliError::new(
                    Exit::Refused,
                    "not_drivable",
                    "this worker has nothing to drive, or not for this link",
                ));
            }
            see(session).await?;
            let lease = session.request_lease(LEASE).await?;
            context.output.object(&json!({ "event": "lease", "number": lease }))?;
            let driven = drive(context, session, lease, (linear, angular), args.time).await;
            stop(session, lease).await;
            driven?;
            context.output.object(&json!({
                "event": "driven", "linear": linear, "angular": angular,
                "seconds": args.time.as_secs_f64(),
            }))?;
            context.output.line(format!(
                "{GOOD}drove{GOOD:#} {} m/s, {} rad/s for {:?}",
                linear, angular, args.time
            ))
        })
        .await
}

/// Waits for the picture, where the worker will ask how old it is.
async fn see(session: &Session) -> Result<(), CliError> {
    let limits = session.hello().and_then(|hello| hello.drive);
    let Some(max) = limits.and_then(|limits| limits.max_picture_age_ms) else { return Ok(()) };
    let is_fresh = || session.picture_age().is_some_and(|age| age.as_millis() <= u128::from(max));
    let until = Instant::now() + PICTURE;
    let mut tick = tokio::time::interval(EVERY);
    while !is_fresh() {
        if Instant::now() >= until {
            return Err(CliError::new(
                Exit::Failed,
                "no_picture",
                format!(
                    "no picture newer than {max} ms came within {} s, and this machine is driven by \
                     its picture alone",
                    PICTURE.as_secs()
                ),
            ));
        }
        tick.tick().await;
    }
    Ok(())
}

async fn drive(
    context: &Context<'_>,
    session: &Session,
    lease: u64,
    (linear, angular): (f64, f64),
    time: Duration,
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

/// A rule in words, for when the worker's own were lost.
fn reason(rule: &str) -> String {
    let why = match rule {
        "estop" => "the emergency stop is latched; an operator has to clear it",
        "lease" => "the controls were taken from us, or our connection was lost",
        "watchdog" => "the machine heard nothing from us for too long",
        "picture" => "our picture is too old to drive by",
        "driver" => "what moves the machine does not follow",
        _ => "a rule of its gate stopped the machine",
    };
    format!("{why} (rule {})", printable(rule))
}

/// Hands off, said often enough to arrive, and the lease given back.
async fn stop(session: &Session, lease: u64) {
    let mut tick = tokio::time::interval(EVERY);
    for _ in 0..STOPS {
        tick.tick().await;
        session.drive(lease, 0.0, 0.0, false);
    }
    match session.release_lease().await {
        Ok(()) | Err(SessionError::Closed) => {}
        Err(error) => tracing::debug!(%error, "the lease was not given back"),
    }
}
