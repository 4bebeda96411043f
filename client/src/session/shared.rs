//! What the session's task knows and its handles read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use halyard_protocol::{
    channel::{Ack, Hello, LeaseState, Message, TelemetrySchema},
    ids::PeerId,
    limits::MAX_WAITING_COMMANDS,
    signal::PeerInfo,
};
use serde_json::Value;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

use super::{SessionError, SessionEvent, Telemetry, recovery::Generation};
use crate::{peer::Peer, transfer::Transfers};

/// Events that a listener may be behind: at 20 reports a second, some twelve seconds.
const EVENTS: usize = 256;

/// A connection that is up.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) generation: Generation,
    pub(super) worker: PeerId,
    pub(super) hello: Arc<Hello>,
    pub(super) peer: Peer,
    pub(super) transfers: Transfers,
}

/// What is heard and seen on the present connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sense {
    /// The newest stamp in `TELEMETRY::`.
    pub(super) stamp: Option<u64>,
    /// The round trip to the worker, as last measured.
    pub(super) round_trip: Option<Duration>,
}

/// Values that change, and who waits for them.
pub(super) struct Shared {
    pub(super) link: watch::Sender<Option<Link>>,
    pub(super) roster: watch::Sender<Arc<Vec<PeerInfo>>>,
    pub(super) telemetry: watch::Sender<Option<Telemetry>>,
    pub(super) host: watch::Sender<Option<Value>>,
    /// The reliable values, all of them, as last said.
    pub(super) changed: watch::Sender<Arc<BTreeMap<String, Value>>>,
    pub(super) schema: watch::Sender<Option<Arc<TelemetrySchema>>>,
    /// What the drivers of this connection say with each message.
    sense: Mutex<Sense>,
    /// Places for commands that are not answered yet.
    pub(super) places: Semaphore,
    pub(super) lease: watch::Sender<Option<LeaseState>>,
    pub(super) ended: watch::Sender<Option<SessionError>>,
    pub(super) events: broadcast::Sender<SessionEvent>,
    acks: Mutex<HashMap<String, oneshot::Sender<Ack>>>,
    jobs: Mutex<HashMap<String, oneshot::Sender<Message>>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            link: watch::Sender::new(None),
            roster: watch::Sender::new(Arc::default()),
            telemetry: watch::Sender::new(None),
            host: watch::Sender::new(None),
            changed: watch::Sender::new(Arc::default()),
            schema: watch::Sender::new(None),
            sense: Mutex::default(),
            places: Semaphore::new(MAX_WAITING_COMMANDS),
            lease: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            events: broadcast::Sender::new(EVENTS),
            acks: Mutex::default(),
            jobs: Mutex::default(),
        }
    }

    /// What this connection senses; a new connection senses nothing yet.
    pub(super) fn sense(&self) -> MutexGuard<'_, Sense> {
        self.sense.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens.
    pub(super) fn tell(&self, event: SessionEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    /// The connection, as soon as one is up.
    pub(super) async fn linked(&self) -> Result<Link, SessionError> {
        let mut link = self.link.subscribe();
        let mut ended = self.ended.subscribe();
        tokio::select! {
            // A session that has ended may still show its last connection.
            biased;
            error = ended.wait_for(Option::is_some) => {
                Err(error.ok().and_then(|e| e.clone()).unwrap_or(SessionError::Closed))
            }
            link = link.wait_for(Option::is_some) => {
                link.ok().and_then(|l| l.clone()).ok_or(SessionError::Closed)
            }
        }
    }

    /// Waits until this connection is not the present one any more.
    pub(super) async fn unlinked(&self, generation: Generation) {
        let mut link = self.link.subscribe();
        let other =
            |link: &Option<Link>| link.as_ref().is_none_or(|link| link.generation != generation);
        let _ = link.wait_for(other).await;
    }

    /// A place for the answer to a command. Dropping it gives the place up.
    pub(super) fn expect_ack(self: &Arc<Self>, id: &str) -> PendingAck {
        let (tell, told) = oneshot::channel();
        self.acks().insert(id.to_owned(), tell);
        PendingAck { shared: Arc::clone(self), id: id.to_owned(), told }
    }

    /// A place for the answer to a question about jobs. Dropping it gives the place up.
    pub(super) fn expect_job(self: &Arc<Self>, id: &str) -> PendingJob {
        let (tell, told) = oneshot::channel();
        self.jobs().insert(id.to_owned(), tell);
        PendingJob { shared: Arc::clone(self), id: id.to_owned(), told }
    }

    /// An answer about jobs came. One that nobody waits for is forgotten.
    pub(super) fn job(&self, id: &str, answer: Message) {
        if let Some(tell) = self.jobs().remove(id) {
            let _ = tell.send(answer);
        }
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Message>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer came. One that nobody waits for is forgotten.
    pub(super) fn ack(&self, ack: Ack) {
        if let Some(tell) = self.jobs().remove(&ack.id) {
            let _ = tell.send(Message::Ack(ack));
            return;
        }
        if let Some(tell) = self.acks().remove(&ack.id) {
            let _ = tell.send(ack);
        }
    }

    fn acks(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Ack>>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for an answer.
pub(super) struct PendingAck {
    shared: Arc<Shared>,
    id: String,
    pub(super) told: oneshot::Receiver<Ack>,
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        self.shared.acks().remove(&self.id);
    }
}

/// Somebody waits for an answer about jobs.
pub(super) struct PendingJob {
    shared: Arc<Shared>,
    id: String,
    pub(super) told: oneshot::Receiver<Message>,
}

impl Drop for PendingJob {
    fn drop(&mut self) {
        self.shared.jobs().remove(&self.id);
    }
}
