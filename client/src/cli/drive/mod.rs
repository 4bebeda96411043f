//! `halyard drive`: by hand at a terminal, or straight on for a while.
//!
//! * [`hand`] drives by keys: [`keys`] is the dead-man's switch, [`view`] what is known, [`draw`] how it
//!   looks.
//! * [`script`] drives as it was told, for a time.

mod draw;
mod hand;
mod keys;
mod script;
mod view;

use std::time::{Duration, Instant};

use super::{
    args::Drive,
    exit::{CliError, Exit},
    output::printable,
    session::Context,
};
use crate::session::{Session, SessionError};

/// How often the sticks are told: the machine's watchdog wants it twice in half a second, and one
/// message may be lost.
const EVERY: Duration = Duration::from_millis(50);

/// How long the worker may take to say who drives.
const LEASE: Duration = Duration::from_secs(5);

/// How long the picture may take to come, where the worker asks how old it is.
const PICTURE: Duration = Duration::from_secs(10);

/// How often "stop" is said: the lane may lose one.
const STOPS: u32 = 3;

pub(super) async fn run(context: &Context<'_>, mut args: Drive) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let task = script::Task::of(&args)?;
    let by_hand = task.is_none() && !args.plain && context.output.may_take_the_screen();
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
            if by_hand {
                return hand::run(context, session).await;
            }
            see(session).await?;
            script::run(context, session, task.unwrap_or_default()).await
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
