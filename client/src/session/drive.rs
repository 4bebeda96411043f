//! Driving: the lease, the sticks, and the emergency stop.

use std::{sync::atomic::Ordering, time::Duration};

use halyard_protocol::channel::{Drive, Estop, EstopAction, Lane, LeaseRequest, Message};
use tokio::sync::broadcast;

use super::{DriveError, Session, SessionError, SessionEvent};

impl Session {
    /// Asks to drive and waits for the answer. Gives back the lease's number, under which
    /// [`drive`](Self::drive) is then said.
    pub async fn request_lease(&self, wait: Duration) -> Result<u64, DriveError> {
        let link = self.shared.linked().await?;
        let mut lease = self.shared.lease.subscribe();
        // What was said before is no answer.
        lease.mark_unchanged();
        let mut events = self.events();
        self.control(&Message::LeaseRequest(LeaseRequest::Request)).await?;
        let answer = async {
            loop {
                tokio::select! {
                    changed = lease.changed() => {
                        changed.map_err(|_| SessionError::Closed)?;
                        let state = lease.borrow_and_update().clone();
                        match state {
                            Some(state) if state.you => return Ok(state.number),
                            Some(state) => if let Some(holder) = state.holder {
                                return Err(DriveError::Taken { holder });
                            },
                            None => {}
                        }
                    }
                    event = events.recv() => match event {
                        Ok(SessionEvent::Notice(notice)) if is_refusal(&notice.code) => {
                            return Err(DriveError::Refused {
                                code: notice.code,
                                message: notice.message,
                            });
                        }
                        Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => {
                            return Err(SessionError::Closed.into());
                        }
                    },
                    () = self.shared.unlinked(link.generation) => {
                        return Err(DriveError::Refused {
                            code: "disconnected".into(),
                            message: "the connection broke; try again".into(),
                        });
                    }
                }
            }
        };
        match tokio::time::timeout(wait, answer).await {
            Ok(result) => result,
            Err(_) => Err(DriveError::TimedOut { waited: wait }),
        }
    }

    /// Gives the lease back, so that others may drive.
    pub async fn release_lease(&self) -> Result<(), SessionError> {
        self.control(&Message::LeaseRequest(LeaseRequest::Release)).await
    }

    /// What the machine shall do right now, in m/s and rad/s. Say it twenty times a second; never
    /// waits, and is lost while no connection is up. `held` is the dead-man's switch: after the
    /// machine was stopped by a rule it has to be `false` once before it counts again.
    ///
    /// Along go the newest stamp that was heard, and the [age](Self::picture_age) of the picture: a
    /// worker that shows one lets nobody drive who does not watch it
    /// ([`SessionOptions::video`](super::SessionOptions::video)).
    pub fn drive(&self, lease: u64, linear: f64, angular: f64, held: bool) {
        let seq = self.drive_seq.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(peer) = self.peer() {
            let echo = self.shared.sense().stamp;
            let age = self.picture_age().map(|age| age.as_millis());
            let picture_ms = age.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX));
            let message =
                Message::Drive(Drive { lease, seq, linear, angular, held, echo, picture_ms });
            if let Err(error) = peer.try_send_lossy(Lane::Drive, &message) {
                tracing::debug!(%error, "a drive message was lost");
            }
        }
    }

    /// How old the newest picture is that arrived whole: the time since then, and the way it took.
    /// `None` without one.
    pub fn picture_age(&self) -> Option<Duration> {
        let newest = self.peer()?.newest_frame()?;
        let way = self.shared.sense().round_trip.unwrap_or_default() / 2;
        Some(newest.elapsed() + way)
    }

    /// Stops everything, or lets it move again. A press goes out at once beside everything that
    /// waits to be sent, and once more behind it, where it cannot be lost.
    pub async fn estop(&self, action: EstopAction) -> Result<(), SessionError> {
        if action == EstopAction::Press
            && let Some(peer) = self.peer()
            && let Err(error) =
                peer.try_send_lossy(Lane::Drive, &Message::Estop(Estop::Ask { action }))
        {
            tracing::debug!(%error, "the e-stop goes out on control alone");
        }
        self.control(&Message::Estop(Estop::Ask { action })).await
    }

    /// Says something on the control lane of whatever connection is up.
    pub(super) async fn control(&self, message: &Message) -> Result<(), SessionError> {
        loop {
            let link = self.shared.linked().await?;
            match link.peer.send(Lane::Control, message).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "said again on the next connection");
                    self.shared.unlinked(link.generation).await;
                }
            }
        }
    }
}

/// Words by which a worker says that one may not drive.
fn is_refusal(code: &str) -> bool {
    matches!(code, "forbidden" | "not_drivable" | "lease_refused" | "lease")
}
