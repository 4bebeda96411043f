//! A client's whole life in a room.
//!
//! [`Session::join`] signs in, registers, finds the worker, connects and exchanges greetings. From
//! then on one task keeps the connection up: a silent one is restarted, a broken one replaced, a
//! worker that left and came back is connected to again, and files go on from where they were. The
//! signaling socket may come and go without disturbing any of it.
//!
//! * [`SessionOptions`] are the wishes, [`Choice`] which worker is meant, [`SessionEvent`] is what happens.
//! * [`Session::command`], [`Session::drive`] and [`Session::telemetry`] are the worker's machine;
//!   [`Session::send_file`], [`Session::get_file`] and
//!   [`Session::list`] are its files; [`Session::submit_jobs`] and [`Session::job_events`] its jobs.
//! * [`SessionError`] says why there is no session, or no longer.

mod actor;
mod choice;
mod command;
mod drive;
mod error;
mod event;
mod files;
mod jobs;
mod options;
mod recovery;
mod room;
mod shared;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use halyard_protocol::{
    access::{Access, PeerRole},
    channel::{Hello, LeaseState, Message, TelemetrySchema, Watch},
    ids::PeerId,
    link::JoinLink,
    signal::PeerInfo,
};
use serde_json::Value;
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use choice::{BadCondition, Choice, Condition};
pub use error::{CommandError, DriveError, FilesError, JobsError, SessionError};
pub use event::{SessionEvent, Telemetry};
pub use options::SessionOptions;

use crate::{
    api::Api,
    peer::{Peer, PeerStats},
    signaling::{SignalConfig, Signaling},
};
use shared::Shared;

/// A client in a room. Dropping it closes everything without a goodbye; [`close`](Self::close)
/// says one.
pub struct Session {
    shared: Arc<Shared>,
    me: PeerId,
    access: Access,
    expires_at: Option<u64>,
    drive_seq: std::sync::atomic::AtomicU64,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Session {
    /// Joins and waits until the worker has said hello.
    pub async fn join(link: JoinLink, options: SessionOptions) -> Result<Self, SessionError> {
        let session = Self::open(link, options).await?;
        session.ready().await?;
        Ok(session)
    }

    /// Signs in and registers, and does not wait for the worker.
    pub async fn open(link: JoinLink, options: SessionOptions) -> Result<Self, SessionError> {
        let identity = match &options.identity {
            Some(identity) if identity.is_fresh(SystemTime::now()) => identity.clone(),
            _ => Api::with(link.server().clone(), options.trust.clone())?.sign_in().await?,
        };
        let mut config = SignalConfig::new(link.server().clone(), link.room().clone(), identity);
        config.token = link.token().cloned();
        config.role = PeerRole::Client;
        config.trust = options.trust.clone();
        let (signaling, registered, signals) = Signaling::connect(config).await?;
        let shared = Arc::new(Shared::new());
        let stop = CancellationToken::new();
        let me = registered.peer_id.clone();
        let access = registered.role.unwrap_or(Access::Viewer);
        let expires_at = registered.expires_at;
        let actor = actor::Actor::new(
            signaling,
            signals,
            &registered,
            options,
            Arc::clone(&shared),
            stop.clone(),
        );
        let task = tokio::spawn(actor.run(registered));
        Ok(Self {
            shared,
            me,
            access,
            expires_at,
            drive_seq: std::sync::atomic::AtomicU64::new(0),
            stop,
            task: Some(task),
        })
    }

    /// Waits until a worker is connected, now or again. Its patience is that of the options.
    pub async fn ready(&self) -> Result<Arc<Hello>, SessionError> {
        Ok(self.shared.linked().await?.hello)
    }

    /// What the worker said of itself, while one is connected.
    pub fn hello(&self) -> Option<Arc<Hello>> {
        self.shared.link.borrow().as_ref().map(|link| Arc::clone(&link.hello))
    }

    /// The worker that is connected.
    pub fn worker(&self) -> Option<PeerId> {
        self.shared.link.borrow().as_ref().map(|link| link.worker.clone())
    }

    /// The name that this session goes by.
    pub fn me(&self) -> &PeerId {
        &self.me
    }

    /// What this session may do in the room, in the broker's words.
    pub fn access(&self) -> Access {
        self.access
    }

    /// When the room ends, in seconds since 1970, where the broker said so.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// Everybody else in the room.
    pub fn peers(&self) -> Arc<Vec<PeerInfo>> {
        Arc::clone(&self.shared.roster.borrow())
    }

    /// The same, and a way to wait for the next change: who comes and goes, and what they say of
    /// themselves.
    pub fn roster(&self) -> watch::Receiver<Arc<Vec<PeerInfo>>> {
        self.shared.roster.subscribe()
    }

    /// Everything that happens from now on.
    pub fn events(&self) -> broadcast::Receiver<SessionEvent> {
        self.shared.events.subscribe()
    }

    /// The newest report of the machine's state, and a way to wait for the next.
    pub fn telemetry(&self) -> watch::Receiver<Option<Telemetry>> {
        self.shared.telemetry.subscribe()
    }

    /// The worker's computer: the newest object `host` of the telemetry, which not every report
    /// carries.
    pub fn host(&self) -> watch::Receiver<Option<Value>> {
        self.shared.host.subscribe()
    }

    /// What of the machine's state must not be missed, all of it, as the worker last said: it comes
    /// reliably, unlike [`telemetry`](Self::telemetry). Empty while no connection is up.
    pub fn changed(&self) -> watch::Receiver<Arc<BTreeMap<String, Value>>> {
        self.shared.changed.subscribe()
    }

    /// What the fields of the machine's state mean, and their units.
    pub fn schema(&self) -> Option<Arc<TelemetrySchema>> {
        self.shared.schema.borrow().clone()
    }

    /// Who drives, as the worker last said.
    pub fn lease(&self) -> watch::Receiver<Option<LeaseState>> {
        self.shared.lease.subscribe()
    }

    /// The peer connection as it is now, for pictures and statistics. It is replaced when it
    /// breaks.
    pub fn peer(&self) -> Option<Peer> {
        self.shared.link.borrow().as_ref().map(|link| link.peer.clone())
    }

    /// Chooses the picture to see, by its name in [`Hello::video`]. Who does not choose sees the
    /// first. What is shown then is told by [`SessionEvent::Watch`], a name that there is not by a
    /// notice. A new connection begins with the first picture again.
    pub async fn watch(&self, track: &str) -> Result<(), SessionError> {
        let choice = Watch { tracks: vec![Some(track.to_owned())] };
        self.control(&Message::Watch(choice)).await
    }

    /// How the peer connection is doing, while there is one.
    pub async fn stats(&self) -> Option<PeerStats> {
        let peer = self.peer()?;
        Some(peer.stats().await)
    }

    /// Waits until the session can go on no more, and says why.
    pub async fn ended(&self) -> SessionError {
        let mut ended = self.shared.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(SessionError::Closed),
            Err(_) => SessionError::Closed,
        }
    }

    /// Says goodbye to the worker and to the broker, and waits until that is done.
    pub async fn close(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("me", &self.me).finish_non_exhaustive()
    }
}
