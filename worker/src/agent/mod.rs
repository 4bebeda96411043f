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
    api::{ApiError, Identity},
    signaling::{SignalError, SignalEvent},
};
use halyard_protocol::{
    channel::{Notice, Watch},
    ids::PeerId,
    signal::{ClientMessage, Grant, IceServer, LeftReason, Metadata, PeerInfo, ServerMessage},
};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use direct::{DirectAnswer, DirectAsk, DirectRefused, WEBRTC_OFF, Watched};
pub use fingerprint::Fingerprint;
pub use leases::{Leases, Question};
pub use offers::Offers;
pub use room::{Entered, Held, Plan, RoomError};
pub use roster::{Change, Roster};

use self::{link::Link, sessions::Sessions};
use crate::{
    existing::requests::{self, Offer},
    report::{Addresses, Report, Reports},
    session::{Dismissed, FromSession, Shared, ToSession},
    sound::{Direction, Sound, SoundEvent, SpeakerHandle},
};

/// How often the agent looks for peers that did not come back.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// Everything is closed by then, or cut off.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Between two tries to get into a new room after the old one ended.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// The longest between two such tries.
const REOPEN_AT_MOST: Duration = Duration::from_mins(1);

/// Between two requests for more time, the first of which failed.
const EXTEND_AGAIN: Duration = Duration::from_secs(30);

/// Between two requests for more time at the least, whatever a broker grants.
const EXTEND_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// The code of a refusal that trying again may mend.
const BUSY: &str = "busy";

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
    /// Whether anybody is connected at all; every offer is refused otherwise.
    pub webrtc: bool,
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
    extending: Option<AbortOnDropHandle<Result<Option<u64>, ApiError>>>,
    /// The state file is being written.
    remembering: Option<AbortOnDropHandle<()>>,
    /// Not to be asked for more time before this.
    extend_after: Instant,
    /// How long an extension lasts: what was asked for, or the less that was granted.
    lifetime: Duration,
    expires_at: Option<u64>,
    own_id: PeerId,
    webrtc: bool,
    ice_servers: Vec<IceServer>,
    roster: Roster,
    leases: Leases,
    /// The broker hears and answers, as far as is known.
    linked: bool,
    offers: Offers,
    sessions: Sessions,
    from_sessions: mpsc::Receiver<FromSession>,
    direct: Option<mpsc::Receiver<DirectAsk>>,
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
        let mut running = Self {
            lifetime: agent.plan.ttl,
            extend_after: Instant::now(),
            plan: agent.plan,
            reports: agent.reports,
            entered,
            link: None,
            opening: None,
            extending: None,
            remembering: None,
            expires_at: None,
            own_id: first.registered.peer_id.clone(),
            webrtc: agent.webrtc,
            ice_servers: Vec::new(),
            roster: Roster::default(),
            leases: Leases::new(agent.rights_lease, Instant::now()),
            linked: false,
            offers: Offers::new(Instant::now()),
            sessions,
            from_sessions,
            direct: agent.direct,
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
        let mut heard = self.shared.sound.as_ref().map(Sound::events);
        let mut spoken = self.shared.speaker.as_ref().map(SpeakerHandle::events);
        let machine = self.shared.machine.clone();
        let machine_ended = machine.ended();
        tokio::pin!(machine_ended);
        loop {
            let extend_at = self.extension_due();
            tokio::select! {
                // Stop first; then sessions, which are owed; then the broker and whoever is new.
                biased;

                () = stop.cancelled() => return Ok(()),
                () = &mut machine_ended => return Err(AgentError::Machine),
                Some(ended) = self.sessions.next_ended() => {
                    if let Some(peer) = self.sessions.ended(ended) {
                        self.leases.release(&peer);
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
                () = at(extend_at) => self.extend_room(),
                Some(extended) = joined(&mut self.extending) => {
                    self.extending = None;
                    match extended {
                        Ok(extended) => self.extended(extended),
                        Err(error) => tracing::error!(%error, "extending the room ended badly"),
                    }
                }
                ask = received(&mut self.direct) => match ask {
                    Some(ask) => self.direct_ask(ask),
                    None => self.direct = None,
                },
                (track, event) = video.next() => self.video(&track, &event),
                Ok(()) = self.presence.changed() => self.describe(),
                event = sound_event(&mut heard) => self.sound(&event.notice(Direction::Heard)),
                event = sound_event(&mut spoken) => self.sound(&event.notice(Direction::Spoken)),
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
        let mut room = held.report();
        if self.direct.is_some() {
            room.direct = Addresses::beside(&held.join_url);
        }
        self.reports.tell(Report::Room(room));
        (self.entered)(&held);
        self.expires_at = registered.expires_at;
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
        // Whatever changed meanwhile, nobody here has heard of it.
        self.leases.hurry(now);
        self.tend_leases();
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
        for peer in self.leases.run_out(now) {
            self.sessions.end(&peer, Dismissed::Unconfirmed(self.leases.term()));
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
            Some(SignalEvent::Identity(identity)) => self.proved(identity),
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

    /// The link proved anew who we are: the old proof ends, and what is ours is asked for with the
    /// new one.
    fn proved(&mut self, identity: Identity) {
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
    fn room_ended(&mut self, error: SignalError) -> Result<(), AgentError> {
        let may_replace = room::is_over(&error) && self.plan.given.is_none();
        self.link = None;
        self.linked = false;
        self.leases.link_lost();
        if room::is_ended(&error) {
            for peer in self.leases.end_all() {
                self.sessions.end(&peer, Dismissed::RoomClosed);
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
                for peer in self.leases.answered(seq, &grants, valid_for) {
                    self.sessions.end(&peer, Dismissed::Revoked);
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
            ServerMessage::PeerMessage { from_peer_id, payload, .. } => {
                self.requested(from_peer_id, &payload);
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
            return self.refuse(sender, BUSY, "too many offers; wait a few seconds");
        }
        if !self.webrtc {
            return self.refuse(sender, "webrtc_off", WEBRTC_OFF);
        }
        let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
        let grant = self.roster.grant(&sender).cloned();
        match self.sessions.offer(own, ice, sender.clone(), access, sdp) {
            Ok(()) => self.hold(sender, grant),
            Err(full) => self.refuse(sender, BUSY, &full.to_string()),
        }
    }

    fn hold(&mut self, peer: PeerId, grant: Option<Grant>) {
        if let Some(link) = &self.link {
            if grant.is_none() {
                tracing::warn!(%peer, "the server is too old to confirm rights: update it");
            }
            let room = link.held.room_id.clone();
            self.leases.hold(peer, grant, room, Instant::now());
        }
    }

    fn refuse(&self, to_peer_id: PeerId, code: &str, message: &str) {
        if self.roster.is_existing(&to_peer_id) {
            return self.send(ClientMessage::OfferRefused {
                target: to_peer_id,
                reason: "worker_busy".to_owned(),
                message: message.to_owned(),
                current_status: "busy".to_owned(),
            });
        }
        let payload = serde_json::json!({"type": "refused", "code": code, "message": message});
        self.send(ClientMessage::PeerMessage { to_peer_id, payload });
    }

    /// An existing client asks before it connects.
    fn requested(&self, from: PeerId, payload: &serde_json::Value) {
        let Some(access) = self.roster.access(&from) else { return };
        let load = self.shared.jobs.as_ref().map(|jobs| *jobs.load().borrow());
        let is_busy = load.is_some_and(|load| load.running + load.queued > 0);
        let offer = Offer { is_busy, ..self.shared.existing.offer() };
        if let Some(payload) = requests::answer(payload, access, offer) {
            self.send(ClientMessage::PeerMessage { to_peer_id: from, payload });
        }
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
                    self.refuse(to, BUSY, &reason);
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
                if let Err(refused) = self.may_offer_directly() {
                    let _ = reply.send(Err(refused));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                let peer = self.sessions.offer_direct(own, ice, access, sdp, reply);
                self.choose_direct(peer.as_ref(), track);
                self.hold_direct(peer, grant);
            }
            DirectAsk::Watch { offer, track, access, grant, reply } => {
                if let Err(refused) = self.may_offer_directly() {
                    let _ = reply.send(Err(refused));
                    return;
                }
                let (own, ice) = (self.own_id.clone(), self.ice_servers.clone());
                let peer = self.sessions.watch(own, ice, access, offer, reply);
                self.choose_direct(peer.as_ref(), track);
                self.hold_direct(peer, grant);
            }
            DirectAsk::Patch { session, access, if_match, fragment, reply } => {
                self.sessions.patch(&session, access, if_match.as_deref(), fragment, reply);
            }
            DirectAsk::Leave { session, access, reply } => {
                let _ = reply.send(self.sessions.leave(&session, access));
            }
            DirectAsk::Candidate { peer, candidate, reply } => {
                let _ = reply.send(self.sessions.candidate_direct(peer, candidate));
            }
        }
    }

    fn may_offer_directly(&mut self) -> Result<(), DirectRefused> {
        if !self.webrtc {
            return Err(DirectRefused::WebrtcOff);
        }
        let everybody = PeerId::new("direct").ok();
        let allowed =
            everybody.is_some_and(|everybody| self.offers.allow(Instant::now(), &everybody));
        let words = "too many offers; wait a few seconds";
        if allowed { Ok(()) } else { Err(DirectRefused::Busy(words.to_owned())) }
    }

    /// Shows another picture than the first, where one was asked for.
    fn choose_direct(&self, peer: Option<&PeerId>, track: Option<String>) {
        if let (Some(peer), Some(_)) = (peer, &track) {
            self.sessions.tell(peer, ToSession::Choose(Watch { tracks: vec![track] }));
        }
    }

    /// On a trusted network nobody gave any rights, and nobody takes them back.
    fn hold_direct(&mut self, peer: Option<PeerId>, grant: Option<Grant>) {
        if let (Some(peer), Some(grant)) = (peer, grant) {
            self.hold(peer, Some(grant));
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

    fn sound(&self, notice: &Notice) {
        let (code, message) = (notice.code.clone(), notice.message.clone());
        self.reports.tell(Report::Sound { code, message });
        self.shared.machine.tell(notice.clone());
    }

    fn look_around(&mut self) {
        for peer in self.roster.expired(Instant::now()) {
            tracing::info!(%peer, "did not come back to the room");
            self.sessions.end(&peer, Dismissed::NotHere);
        }
    }

    /// When more time is asked for: a third of the room's life before its end.
    fn extension_due(&self) -> Option<Instant> {
        let is_ours = self.link.as_ref().is_some_and(|link| link.held.ours);
        let expires_at = self.expires_at.filter(|_| is_ours && self.extending.is_none())?;
        let wait = left(expires_at).saturating_sub(self.lifetime / 3);
        Some((Instant::now() + wait).max(self.extend_after))
    }

    fn extend_room(&mut self) {
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

/// The next thing that happens to sound. Who is late misses some.
async fn sound_event(events: &mut Option<broadcast::Receiver<SoundEvent>>) -> SoundEvent {
    loop {
        let Some(receiver) = events else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(event) => return event,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *events = None,
        }
    }
}

async fn received<T>(queue: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}
