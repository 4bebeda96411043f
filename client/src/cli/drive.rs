//! `halyard drive`: drive for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{args::Drive, exit::CliError, output::GOOD, session::Context};
use crate::session::{Session, SessionError};

/// How often the sticks are told: the machine's watchdog wants it twice in half a second, and one
/// message may be lost.
const EVERY: Duration = Duration::from_millis(50);

/// How long the worker may take to say who drives.
const LEASE: Duration = Duration::from_secs(5);

/// How often "stop" is said: the lane may lose one.
const STOPS: u32 = 3;

pub(super) async fn run(context: &Context<'_>, mut args: Drive) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    for (name, value) in [("--linear", args.linear), ("--angular", args.angular)] {
        if !value.is_finite() {
            return Err(CliError::usage(format!("{name} is {value}, a finite number is needed")));
        }
    }
    let options = context.options(&link)?;
    context
        .in_session(link, options, async |session| {
            if session.hello().is_some_and(|hello| hello.drive.is_none()) {
                return Err(CliError::new(
                    super::exit::Exit::Refused,
                    "not_drivable",
                    "this worker has nothing to drive, or not for this link",
                ));
            }
            let lease = session.request_lease(LEASE).await?;
            context.output.object(&json!({ "event": "lease", "number": lease }))?;
            let driven = drive(session, lease, &args).await;
            stop(session, lease).await;
            driven?;
            context.output.object(&json!({
                "event": "driven", "linear": args.linear, "angular": args.angular,
                "seconds": args.time.as_secs_f64(),
            }))?;
            context.output.line(format!(
                "{GOOD}drove{GOOD:#} {} m/s, {} rad/s for {:?}",
                args.linear, args.angular, args.time
            ))
        })
        .await
}

async fn drive(session: &Session, lease: u64, args: &Drive) -> Result<(), CliError> {
    let until = Instant::now() + args.time;
    let mut tick = tokio::time::interval(EVERY);
    let mut who = session.lease();
    while Instant::now() < until {
        tick.tick().await;
        let held = who.borrow_and_update().as_ref().is_some_and(|state| state.you);
        if !held {
            return Err(CliError::new(
                super::exit::Exit::Refused,
                "lease_lost",
                "the machine was taken from us while driving; it has stopped or somebody else \
                 drives",
            ));
        }
        session.drive(lease, args.linear, args.angular, true);
    }
    Ok(())
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
