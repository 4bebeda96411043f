//! The room while it is ours: the link to it, more time for it, and a new one when it is over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use halyard_client::{
    api::{ApiError, Identity},
    signaling::{SignalError, SignalEvent},
};
use halyard_protocol::{
    ids::RoomId,
    signal::{ClientMessage, Metadata},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    AgentError, Entered, Plan,
    link::Link,
    room,
    wait::{at, joined},
};
use crate::report::{Report, Reports};

/// Between two tries to get into a new room after the old one ended.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// The longest between two such tries.
const REOPEN_AT_MOST: Duration = Duration::from_mins(1);

/// Between two requests for more time, the first of which failed.
const EXTEND_AGAIN: Duration = Duration::from_secs(30);

/// Between two requests for more time at the least, whatever a broker grants.
const EXTEND_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What happens to the place in the room.
pub(super) enum Turn {
    /// The link has something to say; `None` when it has ended without a word.
    Signal(Option<SignalEvent>),
    /// There is a new room.
    Entered(Box<Entered>),
}

/// The place in a room, and how it is kept.
pub(super) struct Tenure {
    plan: Plan,
    reports: Reports,
    link: Option<Link>,
    /// Getting into a new room after the old one ended.
    opening: Option<AbortOnDropHandle<Entered>>,
    extending: Option<AbortOnDropHandle<Result<Option<u64>, ApiError>>>,
    /// The state file is being written.
    remembering: Option<AbortOnDropHandle<()>>,
    /// Not to be asked for more time before this.
    extend_after: Instant,
    /// How long an extension lasts: what was asked for, or the less that was granted.
    lifetime: Duration,
    expires_at: Option<u64>,
}

impl Tenure {
    /// Without a room yet.
    pub(super) fn new(plan: Plan, reports: Reports) -> Self {
        Self {
            lifetime: plan.ttl,
            extend_after: Instant::now(),
            plan,
            reports,
            link: None,
            opening: None,
            extending: None,
            remembering: None,
            expires_at: None,
        }
    }

    /// Takes the place in a room.
    pub(super) fn take(&mut self, link: Link, expires_at: Option<u64>) {
        self.link = Some(link);
        self.expires_at = expires_at;
    }

    /// What happens next. Meanwhile the room gets more time whenever it needs some.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            let extend_at = self.extension_due();
            tokio::select! {
                biased;

                event = Link::next(&mut self.link) => return Turn::Signal(event),
                Some(opened) = joined(&mut self.opening) => {
                    self.opening = None;
                    match opened {
                        Ok(entered) => return Turn::Entered(Box::new(entered)),
                        Err(error) => tracing::error!(%error, "getting into a room ended badly"),
                    }
                }
                () = at(extend_at) => self.extend(),
                Some(extended) = joined(&mut self.extending) => {
                    self.extending = None;
                    match extended {
                        Ok(extended) => self.extended(extended),
                        Err(error) => tracing::error!(%error, "extending the room ended badly"),
                    }
                }
            }
        }
    }

    /// Which room, while there is a link to it.
    pub(super) fn room(&self) -> Option<&RoomId> {
        self.link.as_ref().map(|link| &link.held.room_id)
    }

    /// Never waits; without a link the message is of no use any more.
    pub(super) fn send(&self, message: ClientMessage) {
        if let Some(link) = &self.link {
            link.send(message);
        }
    }

    /// Tells the room what it may find this worker by now, and whoever opens a new room later.
    pub(super) fn describe(&mut self, metadata: Metadata) {
        self.plan.metadata.merge(metadata.clone());
        self.send(ClientMessage::UpdateMetadata { metadata });
    }

    /// The broker says when the room ends, if it does.
    pub(super) fn ends_at(&mut self, expires_at: Option<u64>) {
        self.expires_at = expires_at.or(self.expires_at);
    }

    /// The link proved anew who we are: the old proof ends, and what is ours is asked for with the
    /// new one.
    pub(super) fn proved(&mut self, identity: Identity) {
        let Some(link) = &mut self.link else { return };
        let held = &mut link.held;
        let was_ours = held.ours;
        held.proved(identity);
        if !was_ours {
            return;
        }
        if held.ours {
            tracing::debug!(until = held.identity.expires_at, "the identity was renewed");
        } else {
            tracing::warn!("the room is not ours any more: the owner's identity has run out");
        }
        let (plan, held) = (self.plan.clone(), held.clone());
        let writing = tokio::task::spawn_blocking(move || {
            if let Err(error) = plan.remember(&held) {
                tracing::warn!(%error, "the new identity is not in the state file");
            }
        });
        self.remembering = Some(AbortOnDropHandle::new(writing));
    }

    /// A room of our own that is over is replaced by a new one; anything else ends the worker.
    pub(super) fn over(&mut self, error: SignalError) -> Result<(), AgentError> {
        self.link = None;
        if !room::is_over(&error) || self.plan.given.is_some() {
            return Err(AgentError::Lost(error));
        }
        tracing::warn!(%error, "the room is over, making a new one");
        self.reports.tell(Report::SignalingLost { reason: error.to_string() });
        let opening = tokio::spawn(reopen(self.plan.clone()));
        self.opening = Some(AbortOnDropHandle::new(opening));
        Ok(())
    }

    /// Gives the place up, so that the others know at once.
    pub(super) async fn leave(&mut self) {
        if let Some(link) = self.link.take() {
            link.leave().await;
        }
    }

    /// When more time is asked for: a third of the room's life before its end.
    fn extension_due(&self) -> Option<Instant> {
        let is_ours = self.link.as_ref().is_some_and(|link| link.held.ours);
        let expires_at = self.expires_at.filter(|_| is_ours && self.extending.is_none())?;
        let wait = left(expires_at).saturating_sub(self.lifetime / 3);
        Some((Instant::now() + wait).max(self.extend_after))
    }

    fn extend(&mut self) {
        let Some(link) = &self.link else { return };
        let (held, plan) = (link.held.clone(), self.plan.clone());
        let extending = tokio::spawn(async move {
            let api = plan.api()?;
            let info = api.extend_room(&held.identity, &held.room_id, Some(plan.ttl)).await?;
            Ok(info.expires_at)
        });
        self.extending = Some(AbortOnDropHandle::new(extending));
    }

    fn extended(&mut self, extended: Result<Option<u64>, ApiError>) {
        let mut wait = EXTEND_AT_MOST_EVERY;
        match extended {
            Ok(Some(expires_at)) => {
                self.expires_at = Some(expires_at);
                self.lifetime = self.plan.ttl.min(left(expires_at));
                self.reports.tell(Report::RoomExtended { expires_at });
            }
            Ok(None) => wait = EXTEND_AGAIN,
            Err(error) => {
                wait = EXTEND_AGAIN.max(error.retry_after().unwrap_or_default());
                tracing::warn!(%error, ?wait, "the room could not be extended, trying again");
            }
        }
        self.extend_after = Instant::now() + wait;
    }
}

/// Until this second since 1970.
fn left(expires_at: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(expires_at).saturating_sub(now)
}

/// Tries until there is a room.
async fn reopen(plan: Plan) -> Entered {
    let mut wait = REOPEN_AFTER;
    loop {
        let error = match Box::pin(plan.enter()).await {
            Ok(entered) => return entered,
            Err(error) => error,
        };
        let jittered = wait.mul_f64(0.5 + rand::random::<f64>());
        let jittered = jittered.max(error.retry_after().unwrap_or_default());
        tracing::warn!(%error, wait = ?jittered, "no new room yet");
        tokio::time::sleep(jittered).await;
        wait = (wait * 2).min(REOPEN_AT_MOST);
    }
}
