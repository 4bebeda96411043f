//! The agent owns everything a worker does for others: its room, its link to the broker, one
//! session per remote peer.
//!
//! It waits for nobody. Sessions put what they have for the broker into its queue; it puts what
//! the broker relays into theirs, and drops it where a session does not keep up. While the broker
//! is away sessions go on, and new peers come when it is back.
//!
//! * [`Plan`] gets into a room: a given one, a remembered one, or a new one.
//! * [`Roster`] is who is here with what rights, as the broker says.
//! * [`Leases`] bounds how long each of them is served without the broker confirming that.
//! * [`Offers`] bounds how many offers are looked at; [`Fingerprint`] tells a change of a
//!   connection from a new one.
//! * [`DirectAsk`] is a peer that comes without a broker.

mod direct;
mod fingerprint;
mod leases;
mod link;
mod offers;
mod places;
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
    access::Access,
    channel::Watch,
    ids::PeerId,
    signal::{ClientMessage, Grant, IceServer, LeftReason, Metadata, PeerInfo, ServerMessage},
};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use direct::{DirectAnswer, DirectAsk, DirectDoor, DirectRefused, Shut};
pub use fingerprint::Fingerprint;
pub use leases::{Holder, Leases, Over, Question};
pub use offers::Offers;
pub use room::{Entered, Held, Plan, RoomError};
pub use roster::{Change, Roster};

use self::{link::Link, sessions::Sessions};
use crate::{
    report::{Report, Reports},
    session::{Dismissed, FromSession, Shared, ToSession},
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
    /// What others may find this worker by, as it changes. [`Plan::metadata`] is what is told at
    /// the door.
    pub presence: watch::Receiver<Metadata>,
    /// Peers served at a time.
    pub max_sessions: usize,
    /// How long a peer is served without the broker confirming its rights.
    pub rights_lease: Duration,
    /// Connections over TURN alone.
    pub relay_only: bool,
    /// Peers that come without a broker.
    pub direct: Option<DirectDoor>,
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
    leases: Leases,
    /// The broker hears and answers, as far as is known.
    linked: bool,
    offers: Offers,
    sessions: Sessions,
    from_sessions: mpsc::Receiver<FromSession>,
    direct: Option<mpsc::Receiver<DirectAsk>>,
    /// Which tokens do not open direct mode; nobody listens where there is none.
    shut: watch::Sender<Shut>,
    shared: Arc<Shared>,
    presence: watch::Receiver<Metadata>,
}

impl<F: FnMut(&Held) + Send> Running<F> {
    fn new(agent: Agent, first: Entered, entered: F) -> Self {
        let (sessions, from_sessions) = Sessions::new(
            agent.shared.clone(),
            agent.max_sessions,
            agent.relay_only,
            agent.reports.clone(),
        );
        let (direct, shut) = match agent.direct {
            Some(door) => (Some(door.asks), door.shut),
            None => (None, watch::channel(Shut::default()).0),
        };
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
            leases: Leases::new(agent.rights_lease, Instant::now()),
            linked: false,
            offers: Offers::new(Instant::now()),
            sessions,
            from_sessions,
            direct,
            shut,
            shared: agent.shared,
            presence: agent.presence,
        };
        running.enter(first);
        running
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), AgentError> {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut video = self.shared.tracks.events();
        let machine = self.shared.machine.clone();
        let machine_ended = machine.ended();
        tokio::pin!(machine_ended);
        loop {
            tokio::select! {
                // Stop first; then sessions, which are owed; then the broker and whoever is new.
                biased;

                () = stop.cancelled() => return Ok(()),
                () = &mut machine_ended => return Err(AgentError::Machine),
                Some(ended) = self.sessions.next_ended() => {
                    if let Some(peer) = self.sessions.ended(ended) {
                        self.leases.release(&Holder::Peer(peer));
                    }
                }
                Some(said) = self.from_sessions.recv() => self.said(said),
                // Before anybody new is let in.
                () = at(self.leases.next_look(self.linked)) => self.tend_leases(),
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
                (track, event) = video.next() => self.video(&track, &event),
                Ok(()) = self.presence.changed() => self.describe(),
                _ = look_around.tick() => self.look_around(),
            }
        }
    }

    /// Tells the room what it may find this worker by now, and whoever opens a new room later.
    fn describe(&mut self) {
        let metadata = self.presence.borrow_and_update().clone();
        self.plan.metadata.merge(metadata.clone());
        if let Some(link) = &self.link {
            link.send(ClientMessage::UpdateMetadata { metadata });
        }
    }

    /// In a room, for the first time or anew.
    fn enter(&mut self, entered: Entered) {
        let Entered { held, signaling, registered, events } = entered;
        tracing::info!(room = %held.room_id, "in the room");
        self.reports.tell(Report::Room(held.report()));
        (self.entered)(&held);
        self.expires_at = registered.expires_at;
        self.shut.send_replace(Shut::default());
        self.link = Some(Link::new(held, signaling, events));
        self.registered(&registered);
    }

    fn registered(&mut self, registered: &halyard_protocol::signal::Registered) {
        self.own_id = registered.peer_id.clone();
        self.ice_servers.clone_from(&registered.ice_servers);
        self.sessions.ice_servers(&registered.ice_servers);
        if registered.expires_at.is_some() {
            self.expires_at = registered.expires_at;
        }
        let now = Instant::now();
        for change in self.roster.registered(now, registered) {
            self.rights(change);
        }
        for info in &registered.peers {
            self.regranted(info);
        }
        self.linked = true;
        self.watch_tokens(now);
        // Whatever changed meanwhile, nobody here has heard of it.
        self.leases.hurry(now);
        self.tend_leases();
    }

    /// Direct peers are known by the room's tokens alone.
    fn watch_tokens(&mut self, now: Instant) {
        let Some(held) = self.link.as_ref().map(|link| &link.held) else { return };
        if self.direct.is_none() {
            return;
        }
        let tokens =
            [(Access::Operator, Some(&held.token)), (Access::Viewer, held.viewer.as_ref())];
        for (access, token) in tokens {
            // What was replaced stays replaced; what could not be confirmed may be from now on.
            if self.shut.borrow().why(access) == Some(Over::Revoked) {
                continue;
            }
            if let Some(token) = token {
                let grant = Grant::of_token(access, token);
                self.leases.hold(Holder::Token(access), Some(grant), held.room_id.clone(), now);
                self.shut.send_modify(|shut| shut.set(access, None));
            }
        }
    }

    /// Asks the broker whose rights still hold, where it is time to, and sends away whose lease is
    /// over.
    fn tend_leases(&mut self) {
        let now = Instant::now();
        if self.linked
            && let Some(link) = &self.link
        {
            let room = &link.held.room_id;
            for Question { seq, grants } in self.leases.questions(room, now, rand::random()) {
                link.send(ClientMessage::ConfirmRights { seq, grants });
            }
        }
        for holder in self.leases.run_out(now) {
            self.rights_over(holder, Over::Unconfirmed);
        }
    }

    fn rights_over(&mut self, holder: Holder, over: Over) {
        let why = match over {
            Over::Revoked => Dismissed::Revoked,
            Over::Unconfirmed => Dismissed::Unconfirmed(self.leases.term()),
        };
        match holder {
            Holder::Peer(peer) => self.sessions.end(&peer, why),
            Holder::Token(access) => {
                tracing::warn!(%access, reason = %why, "the token opens nothing any more");
                self.shut.send_modify(|shut| shut.set(access, Some(over)));
            }
        }
    }

    fn regranted(&mut self, info: &PeerInfo) {
        if let Some(link) = &self.link {
            let (room, grant) = (&link.held.room_id, info.grant.as_ref());
            self.leases.regranted(&info.peer_id, grant, room, Instant::now());
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
                self.linked = false;
                self.leases.link_lost();
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
        self.linked = false;
        self.leases.link_lost();
        if room::is_ended(&error) {
            for holder in self.leases.end_all() {
                match holder {
                    Holder::Peer(peer) => self.sessions.end(&peer, Dismissed::RoomClosed),
                    token @ Holder::Token(_) => self.rights_over(token, Over::Revoked),
                }
            }
        }
        if !may_replace {
            return Err(AgentError::Lost(error));
        }
        tracing::warn!(%error, "the room is over, making a new one");
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
                self.regranted(&info);
            }
            ServerMessage::PeerLeft { peer_id, reason } => {
                self.roster.left(&peer_id);
                let why = match reason {
                    Some(LeftReason::Revoked) => Dismissed::Revoked,
                    _ => Dismissed::NotHere,
                };
                self.sessions.end(&peer_id, why);
            }
            ServerMessage::RightsChanged {} => {
                self.leases.hurry(Instant::now());
                self.tend_leases();
            }
            ServerMessage::RightsConfirmed { seq, grants, valid_for } => {
                let valid_for = Duration::from_secs(valid_for);
                for holder in self.leases.answered(seq, &grants, valid_for) {
                    self.rights_over(holder, Over::Revoked);
                }
            }
            ServerMessage::IceServers { ice_servers, .. } => {
                tracing::debug!("new STUN and TURN servers");
                self.sessions.ice_servers(&ice_servers);
                self.ice_servers = ice_servers;
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
            self.sessions.end(&peer, Dismissed::OtherRights);
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
        let grant = self.roster.grant(&sender).cloned();
        match self.sessions.offer(own, ice, sender.clone(), access, sdp) {
            Ok(()) => self.hold(sender, grant),
            Err(full) => self.refuse(sender, &full.to_string()),
        }
    }

    fn hold(&mut self, peer: PeerId, grant: Option<Grant>) {
        if let Some(link) = &self.link {
            if grant.is_none() {
                tracing::warn!(%peer, "the server is too old to confirm rights: update it");
            }
            let room = link.held.room_id.clone();
            self.leases.hold(Holder::Peer(peer), grant, room, Instant::now());
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
            DirectAsk::Offer { sdp, track, access, grant, reply } => {
                let everybody = PeerId::new("direct").ok();
                let allowed = everybody
                    .is_some_and(|everybody| self.offers.allow(Instant::now(), &everybody));
                if !allowed {
                    let words = "too many offers; wait a few seconds".to_owned();
                    let _ = reply.send(Err(DirectRefused::Busy(words)));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                let peer = self.sessions.offer_direct(own, ice, access, sdp, reply);
                if let (Some(peer), Some(_)) = (&peer, &track) {
                    let choice = Watch { tracks: vec![track] };
                    self.sessions.tell(peer, ToSession::Choose(choice));
                }
                // On a trusted network nobody gave any rights, and nobody takes them back.
                if let (Some(peer), Some(grant)) = (peer, grant) {
                    self.hold(peer, Some(grant));
                }
            }
            DirectAsk::Candidate { peer, candidate, reply } => {
                let _ = reply.send(self.sessions.candidate_direct(peer, candidate));
            }
        }
    }

    fn video(&self, track: &str, event: &crate::media::SourceEvent) {
        if let Some(notice) = self.shared.tracks.notice(track, event) {
            tracing::warn!(track, code = notice.code, message = notice.message, "picture");
            let (code, message) = (notice.code.clone(), notice.message.clone());
            self.reports.tell(Report::Video { track: track.to_owned(), code, message });
            self.shared.machine.tell(notice);
        }
    }

    fn look_around(&mut self) {
        for peer in self.roster.expired(Instant::now()) {
            tracing::info!(%peer, "did not come back to the room");
            self.sessions.end(&peer, Dismissed::NotHere);
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

/// At this moment; never without one.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
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
