//! `halyard estop`: stop the machine, or let it move again.

use std::time::Duration;

use halyard_protocol::channel::EstopAction;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{
    args::Estop,
    exit::{CliError, Exit},
    output::{GOOD, printable},
    session::Context,
};
use crate::session::{Session, SessionEvent};

/// How long the worker may take to say that it did.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn run(context: &Context<'_>, mut args: Estop) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let options = context.options(&link)?;
    let wanted = !args.clear;
    let action = if wanted { EstopAction::Press } else { EstopAction::Clear };
    let by = context
        .in_session(link, options, async |session| {
            if args.clear && !session.access().may_operate() {
                return Err(CliError::new(
                    Exit::Refused,
                    "estop",
                    "clearing the emergency stop needs the operator's link; pressing it is open to \
                     everybody",
                ));
            }
            let mut events = session.events();
            session.estop(action).await?;
            match tokio::time::timeout(ANSWER, answer(session, &mut events, wanted)).await {
                Ok(answer) => answer,
                Err(_) => Err(CliError::new(
                    Exit::Failed,
                    "TIMED_OUT",
                    format!("the worker did not answer within {} s", ANSWER.as_secs()),
                )),
            }
        })
        .await?;
    context.output.object(&json!({ "event": "estop", "latched": wanted, "by": by }))?;
    context.output.line(match by {
        _ if !wanted => format!("{GOOD}cleared{GOOD:#}: the machine may move again"),
        Some(by) => format!("{GOOD}stopped{GOOD:#}, pressed by {}", printable(&by)),
        None => format!("{GOOD}stopped{GOOD:#}"),
    })
}

/// The worker's word that the e-stop is as it was asked to be, and by whom; or that it is not.
async fn answer(
    session: &Session,
    events: &mut tokio::sync::broadcast::Receiver<SessionEvent>,
    wanted: bool,
) -> Result<Option<String>, CliError> {
    loop {
        match events.recv().await {
            Ok(SessionEvent::Estop { latched, by }) if latched == wanted => {
                return Ok(by.map(|by| by.to_string()));
            }
            Ok(SessionEvent::Notice(notice)) if !wanted && notice.code == "estop" => {
                return Err(CliError::new(Exit::Refused, "estop", notice.message));
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(session.ended().await.into()),
        }
    }
}
