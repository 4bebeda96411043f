//! Asking the machine to do something once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::channel::{Ack, Command, Lane, Message};
use serde_json::Value;

use super::{CommandError, Session, SessionError, SessionEvent, shared::Link};
use crate::peer::PeerError;

/// How long to wait for an answer when no deadline was given.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an answer may take beyond the deadline: the command may start at the last moment.
const ANSWER: Duration = Duration::from_secs(10);

impl Session {
    /// Asks the worker to do something, once: when the connection breaks meanwhile, the same
    /// request (by its id) is said again on the next one, and a worker that did it answers again
    /// instead of doing it again.
    ///
    /// `deadline` is how long it may wait until it is started. While there is no connection it waits
    /// here ([`SessionEvent::CommandWaits`]) and goes out with the next one; if none came in time it
    /// is never said ([`CommandError::Expired`]). The answer may be a refusal in the worker's own
    /// words.
    pub async fn command(
        &self,
        name: &str,
        args: Value,
        deadline: Option<Duration>,
    ) -> Result<Ack, CommandError> {
        let Ok(_place) = self.shared.places.try_acquire() else {
            return Err(CommandError::TooMany { name: name.to_owned() });
        };
        let id = format!("{:016x}", rand::random::<u64>());
        let started = Instant::now();
        let patience = deadline.map_or(PATIENCE, |deadline| deadline + ANSWER);
        let mut pending = self.shared.expect_ack(&id);
        let mut said = false;
        let asked = async {
            loop {
                let link = self.link_before(name, started, deadline, said).await?;
                // The machine counts from the stamp, so the way there counts too.
                let echo = self.shared.sense().stamp;
                let left = deadline.map(|deadline| deadline.saturating_sub(started.elapsed()));
                let message = Message::Command(Command {
                    id: id.clone(),
                    name: name.to_owned(),
                    args: args.clone(),
                    deadline_ms: left.map(|left| left.as_millis() as u64),
                    echo,
                });
                // Any other error is a connection that broke: it is said again on the next one.
                match link.peer.send(Lane::Control, &message).await {
                    Err(error @ PeerError::TooLarge { .. }) => {
                        return Err(CommandError::TooLarge(Arc::new(error)));
                    }
                    sent => said |= sent.is_ok(),
                }
                tokio::select! {
                    biased;
                    ack = &mut pending.told => {
                        return ack.map_err(|_| SessionError::Closed.into());
                    }
                    () = self.shared.unlinked(link.generation) => {}
                }
            }
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(result) => result,
            Err(_) => Err(CommandError::TimedOut { name: name.to_owned(), waited: patience }),
        }
    }

    /// A connection to say a command on. Who has not said it yet waits no longer than its deadline.
    async fn link_before(
        &self,
        name: &str,
        started: Instant,
        deadline: Option<Duration>,
        said: bool,
    ) -> Result<Link, CommandError> {
        if self.shared.link.borrow().is_none() {
            self.shared.tell(SessionEvent::CommandWaits { name: name.to_owned() });
        }
        let linked = self.shared.linked();
        match deadline.filter(|_| !said) {
            None => Ok(linked.await?),
            Some(deadline) => {
                let left = deadline.saturating_sub(started.elapsed());
                tokio::time::timeout(left, linked)
                    .await
                    .map_err(|_| CommandError::Expired { name: name.to_owned(), waited: deadline })?
                    .map_err(Into::into)
            }
        }
    }
}
