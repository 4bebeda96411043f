//! The agent owns everything a worker does for others: its room, its link to the broker, one
//! session per remote peer.
//!
//! It waits for nobody. Sessions put what they have for the broker into its queue; it puts what
//! the broker relays into theirs, and drops it where a session does not keep up. While the broker
//! is away sessions go on, and new peers come when it is back.
//!
//! * [`Plan`] gets into a room: a given one, a remembered one, or a new one.
//! * [`Roster`] is who is here with what rights, as the broker says.
//! * [`Offers`] bounds how many offers are looked at; [`Fingerprint`] tells a change of a
//!   connection from a new one.
//! * [`DirectAsk`] is a peer that comes without a broker.

mod direct;
mod fingerprint;
mod link;
mod offers;
mod room;
mod roster;
mod sessions;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use halyard_client::{
    api::Api,
    signaling::{SignalError, SignalEvent},
};
use halyard_protocol::{
    ids::PeerId,
    signal::{ClientMessage, IceServer, ServerMessage},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use direct::{DirectAnswer, DirectAsk, DirectRefused};
pub use fingerprint::Fingerprint;
pub use offers::Offers;
pub use room::{Entered, Held, Plan, RoomError};
pub use roster::{Change, Roster};

use self::{link::Link, sessions::Sessions};
use crate::{
    report::{Report, Reports},
    session::{FromSession, Shared, ToSession},
};

/// How often the agent looks for peers that did not come back, and whether the room needs time.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// Everything is closed by then, or cut off.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Between two tries to get into a new room after the old one ended.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// The longest between two such tries.
const REOPEN_AT_MOST: Duration = Duration::from_mins(1);

/// Between two requests for more time.
const EXTEND_AGAIN: Duration = Duration::from_secs(30);

/// Why a worker ends without being told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It never got into its room.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// What drives the machine failed; the machine was stopped. The log says why.
    #[error("the machine's own task failed; the machine was stopped, see the log")]
    Machine,
    /// Its place in the room is gone for good.
    #[error("the room is lost: {0}")]
    Lost(SignalError),
}

/// What an agent needs.
pub struct Agent {
    /// Which room.
    pub plan: Plan,
    /// What its sessions share.
    pub shared: Arc<Shared>,
    /// Peers served at a time.
    pub max_sessions: usize,
    /// Peers that come without a broker.
    pub direct: Option<mpsc::Receiver<DirectAsk>>,
    /// What the owner is told.
    pub reports: Reports,
}

impl Agent {
    /// Gets into the room and serves until `stop` fires, then says goodbye to everybody within
    /// [`STOP_WITHIN`]. `entered` is told about every room, the first one first.
    pub async fn run(
        self,
        stop: CancellationToken,
        entered: impl FnMut(&Held) + Send,
    ) -> Result<(), AgentError> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            first = Box::pin(self.plan.enter()) => first?,
        };
        let mut running = Running::new(self, first, entered);
        let result = running.serve(&stop).await;
        running.goodbye().await;
        result
    }
}

struct Running<F> {
    plan: Plan,
    reports: Reports,
    entered: F,
    link: Option<Link>,
    /// Getting into a new room after the old one ended.
    opening: Option<AbortOnDropHandle<Entered>>,
    extending: Option<AbortOnDropHandle<Option<u64>>>,
    /// Not to be asked for more time before this.
    extend_after: Instant,
    /// How long an extension lasts: what was asked for, or the less that was granted.
    lifetime: Duration,
    expires_at: Option<u64>,
    own_id: PeerId,
    ice_servers: Vec<IceServer>,
    roster: Roster,
    offers: Offers,
    sessions: Sessions,
    from_sessions: mpsc::Receiver<FromSession>,
    direct: Option<mpsc::Receiver<DirectAsk>>,
    shared: Arc<Shared>,
}

impl<F: FnMut(&Held) + Send> Running<F> {
    fn new(agent: Agent, first: Entered, entered: F) -> Self {
        let (sessions, from_sessions) =
            Sessions::new(agent.shared.clone(), agent.max_sessions, agent.reports.clone());
        let mut running = Self {
            lifetime: agent.plan.ttl,
            extend_after: Instant::now(),
            plan: agent.plan,
            reports: agent.reports,
            entered,
            link: None,
            opening: None,
            extending: None,
            expires_at: None,
            own_id: first.registered.peer_id.clone(),
            ice_servers: Vec::new(),
            roster: Roster::default(),
            offers: Offers::new(Instant::now()),
            sessions,
            from_sessions,
            direct: agent.direct,
            shared: agent.shared,
        };
        running.enter(first);
        running
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), AgentError> {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let fanout = self.shared.fanout.clone();
        let mut video = fanout.as_ref().map(crate::media::Fanout::events);
        let machine = self.shared.machine.clone();
        let machine_ended = machine.ended();
        tokio::pin!(machine_ended);
        loop {
            tokio::select! {
                // Stop first; then sessions, which are owed; then the broker and whoever is new.
                biased;

                () = stop.cancelled() => return Ok(()),
                () = &mut machine_ended => return Err(AgentError::Machine),
                Some(ended) = self.sessions.next_ended() => self.sessions.ended(ended),
                Some(said) = self.from_sessions.recv() => self.said(said),
                event = Link::next(&mut self.link) => self.signal(event)?,
                Some(opened) = joined(&mut self.opening) => {
                    self.opening = None;
                    match opened {
                        Ok(entered) => self.enter(entered),
                        Err(error) => tracing::error!(%error, "getting into a room ended badly"),
                    }
                }
                Some(extended) = joined(&mut self.extending) => {
                    self.extending = None;
                    self.extended(extended.ok().flatten());
                }
                ask = received(&mut self.direct) => match ask {
                    Some(ask) => self.direct_ask(ask),
                    None => self.direct = None,
                },
                Some(event) = video_event(&mut video) => self.video(&event),
                _ = look_around.tick() => self.look_around(),
            }
        }
    }

    /// In a room, for the first time or anew.
    fn enter(&mut self, entered: Entered) {
        let Entered { held, signaling, registered, events } = entered;
        tracing::info!(room = %held.room_id, "in the room");
        self.reports.tell(Report::Room(held.report()));
        (self.entered)(&held);
        self.expires_at = registered.expires_at;
        self.link = Some(Link::new(held, signaling, events));
        self.registered(&registered);
    }

    fn registered(&mut self, registered: &halyard_protocol::signal::Registered) {
        self.own_id = registered.peer_id.clone();
        self.ice_servers.clone_from(&registered.ice_servers);
        if registered.expires_at.is_some() {
            self.expires_at = registered.expires_at;
        }
        for change in self.roster.registered(Instant::now(), registered) {
            self.rights(change);
        }
    }

    fn signal(&mut self, event: Option<SignalEvent>) -> Result<(), AgentError> {
        match event {
            Some(SignalEvent::Message(message)) => self.message(message),
            Some(SignalEvent::Reconnected(registered)) => {
                tracing::info!(resumed = registered.resumed, "the broker is back");
                self.reports.tell(Report::SignalingBack);
                self.registered(&registered);
            }
            Some(SignalEvent::Lost { reason, retry_in }) => {
                tracing::warn!(reason, ?retry_in, "the broker is away, sessions go on");
                self.reports.tell(Report::SignalingLost { reason });
            }
            Some(SignalEvent::Ended(error)) => return self.room_ended(error),
            None => return self.room_ended(SignalError::Ended),
        }
        Ok(())
    }

    /// A room of our own that is over is replaced by a new one; anything else ends the worker.
    fn room_ended(&mut self, error: SignalError) -> Result<(), AgentError> {
        let may_replace = room::is_over(&error) && self.plan.given.is_none();
        self.link = None;
        if !may_replace {
            return Err(AgentError::Lost(error));
        }
        tracing::warn!(%error, "the room is over, making a new one; sessions go on");
        self.reports.tell(Report::SignalingLost { reason: error.to_string() });
        let opening = tokio::spawn(reopen(self.plan.clone()));
        self.opening = Some(AbortOnDropHandle::new(opening));
        Ok(())
    }

    fn message(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Offer { sender, sdp } => self.offer(sender, sdp),
            ServerMessage::Candidate { sender, candidate } => {
                // Candidates of strangers find no session.
                self.sessions.tell(&sender, ToSession::Candidate(candidate));
            }
            ServerMessage::PeerJoined(info) => {
                let change = self.roster.joined(&info);
                self.rights(change);
            }
            ServerMessage::PeerLeft { peer_id, .. } => {
                self.roster.left(&peer_id);
                self.sessions.end(&peer_id);
            }
            ServerMessage::Error(error) => {
                tracing::warn!(code = ?error.code, message = error.message, "the broker refused");
            }
            ServerMessage::RoomClosed { reason } => tracing::warn!(reason, "the room is closed"),
            ServerMessage::Draining { .. } => tracing::info!("the broker is about to restart"),
            _ => {}
        }
    }

    /// A peer with other rights begins anew: what it was allowed is all over its session.
    fn rights(&mut self, change: Change) {
        if let Change::Access(peer) = change {
            tracing::info!(%peer, "its rights are others now");
            self.sessions.end(&peer);
        }
    }

    fn offer(&mut self, sender: PeerId, sdp: String) {
        let Some(access) = self.roster.access(&sender) else {
            tracing::warn!(peer = %sender, "an offer of somebody the broker did not name");
            return;
        };
        if !self.offers.allow(Instant::now(), &sender) {
            tracing::warn!(peer = %sender, "too many offers");
            return self.refuse(sender, "too many offers; wait a few seconds");
        }
        let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
        if let Err(full) = self.sessions.offer(own, ice, sender.clone(), access, sdp) {
            self.refuse(sender, &full.to_string());
        }
    }

    fn refuse(&self, to_peer_id: PeerId, message: &str) {
        let payload = serde_json::json!({"type": "refused", "code": "busy", "message": message});
        self.send(ClientMessage::PeerMessage { to_peer_id, payload });
    }

    fn send(&self, message: ClientMessage) {
        if let Some(link) = &self.link {
            link.send(message);
        }
    }

    fn said(&mut self, said: FromSession) {
        match said {
            FromSession::Answer { to, sdp } => {
                if let Some(sdp) = self.sessions.answer_direct(&to, sdp) {
                    self.send(ClientMessage::Answer { target: to, sdp });
                }
            }
            FromSession::NoAnswer { to, reason } => {
                tracing::warn!(peer = %to, reason, "an offer that cannot be answered");
                if !self.sessions.refuse_direct(&to, &reason) {
                    self.refuse(to, &reason);
                }
            }
            FromSession::Candidate { to, candidate } => {
                // Direct peers found them in the answer.
                if !self.sessions.is_direct(&to) {
                    self.send(ClientMessage::Candidate { target: to, candidate });
                }
            }
            FromSession::Connected(peer) => self.sessions.connected(&peer),
        }
    }

    fn direct_ask(&mut self, ask: DirectAsk) {
        match ask {
            DirectAsk::Offer { sdp, access, reply } => {
                let everybody = PeerId::new("direct").ok();
                let allowed = everybody
                    .is_some_and(|everybody| self.offers.allow(Instant::now(), &everybody));
                if !allowed {
                    let words = "too many offers; wait a few seconds".to_owned();
                    let _ = reply.send(Err(DirectRefused::Busy(words)));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                self.sessions.offer_direct(own, ice, access, sdp, reply);
            }
            DirectAsk::Candidate { peer, candidate, reply } => {
                let _ = reply.send(self.sessions.candidate_direct(peer, candidate));
            }
        }
    }

    fn video(&self, event: &crate::media::SourceEvent) {
        if let Some(notice) = event.notice() {
            tracing::warn!(code = notice.code, message = notice.message, "picture");
            let (code, message) = (notice.code.clone(), notice.message.clone());
            self.reports.tell(Report::Video { code, message });
            self.shared.machine.tell(notice);
        }
    }

    fn look_around(&mut self) {
        for peer in self.roster.expired(Instant::now()) {
            tracing::info!(%peer, "did not come back to the room");
            self.sessions.end(&peer);
        }
        self.extend_room();
    }

    /// A third of the room's life before its end, more is asked for.
    fn extend_room(&mut self) {
        let (Some(link), Some(expires_at)) = (&self.link, self.expires_at) else { return };
        let waits = self.extending.is_some() || Instant::now() < self.extend_after;
        if !link.held.ours || waits || left(expires_at) > self.lifetime / 3 {
            return;
        }
        let (held, ttl, server) = (link.held.clone(), self.plan.ttl, self.plan.server.clone());
        let extending = tokio::spawn(async move {
            if !held.identity.is_fresh(SystemTime::now()) {
                tracing::warn!("the room cannot be extended: its owner's identity has run out");
                return None;
            }
            let api = Api::new(server).ok()?;
            match api.extend_room(&held.identity, &held.room_id, Some(ttl)).await {
                Ok(info) => info.expires_at,
                Err(error) => {
                    tracing::warn!(%error, "the room could not be extended, trying again");
                    None
                }
            }
        });
        self.extending = Some(AbortOnDropHandle::new(extending));
    }

    fn extended(&mut self, expires_at: Option<u64>) {
        self.extend_after = Instant::now() + EXTEND_AGAIN;
        if let Some(expires_at) = expires_at {
            self.expires_at = Some(expires_at);
            self.lifetime = self.plan.ttl.min(left(expires_at));
            self.reports.tell(Report::RoomExtended { expires_at });
        }
    }

    /// Sessions first, so that their goodbyes go over live connections; then the room.
    async fn goodbye(mut self) {
        let from_sessions = &mut self.from_sessions;
        let closing = async {
            tokio::select! {
                () = self.sessions.close() => {}
                // What sessions still have for the broker is of no use any more.
                () = async { while from_sessions.recv().await.is_some() {} } => {}
            }
            if let Some(link) = self.link.take() {
                link.leave().await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, closing).await.is_err() {
            tracing::warn!("not everybody could be told goodbye in time");
        }
        self.reports.tell(Report::Stopped);
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
        match Box::pin(plan.enter()).await {
            Ok(entered) => return entered,
            Err(error) => tracing::warn!(%error, ?wait, "no new room yet"),
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>())).await;
        wait = (wait * 2).min(REOPEN_AT_MOST);
    }
}

/// The task's result; never while there is none.
async fn joined<T>(
    task: &mut Option<AbortOnDropHandle<T>>,
) -> Option<Result<T, tokio::task::JoinError>> {
    match task {
        Some(task) => Some(task.await),
        None => std::future::pending().await,
    }
}

async fn received<T>(queue: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

async fn video_event(
    events: &mut Option<tokio::sync::broadcast::Receiver<crate::media::SourceEvent>>,
) -> Option<crate::media::SourceEvent> {
    use tokio::sync::broadcast::error::RecvError;
    let Some(receiver) = events else { return std::future::pending().await };
    match receiver.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(_)) => None,
        Err(RecvError::Closed) => {
            *events = None;
            None
        }
    }
}
