//! One session per remote peer: started, replaced, ended, counted.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    access::Access,
    ids::PeerId,
    signal::{Candidate, Grant, IceServer},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{DirectAnswer, DirectRefused, Fingerprint, Watched, places};
use crate::{
    machine::Asker,
    report::{Report, Reports},
    session::{Dismissal, Dismissed, Ended, FromSession, Session, Shared, Start, ToSession},
    whep::{Fragment, Offer, Resource, Step},
};

/// What sessions have for the broker and the agent has not taken yet.
const FROM_SESSIONS: usize = 256;

/// A direct peer cannot be told about candidates later, so its answer waits for all of them this
/// long.
const DIRECT_GATHER: Duration = Duration::from_secs(2);

pub(super) struct Sessions {
    shared: Arc<Shared>,
    most: usize,
    relay_only: bool,
    reports: Reports,
    peers: HashMap<PeerId, Entry>,
    tasks: JoinSet<Ended>,
    out: mpsc::Sender<FromSession>,
    last_number: u64,
    stop: CancellationToken,
}

struct Entry {
    number: u64,
    access: Access,
    started: Instant,
    was_connected: bool,
    inbox: mpsc::Sender<ToSession>,
    fingerprint: Fingerprint,
    dismissed: Dismissal,
    replaced: CancellationToken,
    task: tokio::task::Id,
    door: Door,
}

/// Who comes, and by what right.
struct Who {
    asker: Asker,
    grant: Option<Grant>,
}

/// How a peer came.
enum Door {
    /// By the broker, which carries what is said to it.
    Broker,
    /// By `POST /offer`, perhaps waiting for its answer.
    Offer(Option<oneshot::Sender<Result<DirectAnswer, DirectRefused>>>),
    /// By `POST /whep`.
    Whep(Box<Player>),
}

/// A WHEP player.
struct Player {
    resource: Resource,
    /// What its token allows: nobody else's requests are for its session.
    access: Access,
    /// What it is told to use.
    ice_servers: Vec<IceServer>,
    /// Waits for the answer to its offer, or to its ICE restart.
    waiting: Option<Waiting>,
}

enum Waiting {
    First(oneshot::Sender<Result<Watched, DirectRefused>>),
    Restart(oneshot::Sender<Result<Option<Watched>, DirectRefused>>),
}

/// No more peers are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this worker serves {0} peers already; try again when somebody has left")]
pub(super) struct Full(usize);

impl Sessions {
    pub(super) fn new(
        shared: Arc<Shared>,
        most: usize,
        relay_only: bool,
        reports: Reports,
    ) -> (Self, mpsc::Receiver<FromSession>) {
        let (out, from_sessions) = mpsc::channel(FROM_SESSIONS);
        let sessions = Self {
            shared,
            most,
            relay_only,
            reports,
            peers: HashMap::new(),
            tasks: JoinSet::new(),
            out,
            last_number: 0,
            stop: CancellationToken::new(),
        };
        (sessions, from_sessions)
    }

    /// An offer that came by the broker: for the peer's session, or for a new one.
    pub(super) fn offer(
        &mut self,
        own_id: PeerId,
        ice_servers: Vec<IceServer>,
        peer: PeerId,
        access: Access,
        grant: Option<Grant>,
        sdp: String,
    ) -> Result<(), Full> {
        let fingerprint = Fingerprint::of(&sdp);
        if let Some(entry) = self.peers.get(&peer)
            && entry.fingerprint.is_same_connection(&fingerprint)
            && !entry.inbox.is_closed()
        {
            self.tell(&peer, ToSession::Offer(sdp));
            return Ok(());
        }
        if let Some(old) = self.peers.remove(&peer) {
            tracing::info!(%peer, "back on another connection");
            old.replaced.cancel();
        } else {
            self.make_room(access)?;
        }
        let who = Who { asker: Asker { peer, access }, grant };
        self.start(own_id, ice_servers, who, fingerprint, sdp, Door::Broker);
        Ok(())
    }

    /// An offer that came by HTTP: always a new session, under a name of its own.
    pub(super) fn offer_direct(
        &mut self,
        own_id: PeerId,
        ice_servers: Vec<IceServer>,
        access: Access,
        grant: Option<Grant>,
        sdp: String,
        reply: oneshot::Sender<Result<DirectAnswer, DirectRefused>>,
    ) -> Option<PeerId> {
        if let Err(full) = self.make_room(access) {
            let _ = reply.send(Err(DirectRefused::Busy(full.to_string())));
            return None;
        }
        let peer = PeerId::new(format!("direct-{:016x}", rand::random::<u64>())).ok()?;
        let fingerprint = Fingerprint::of(&sdp);
        let who = Who { asker: Asker { peer: peer.clone(), access }, grant };
        self.start(own_id, ice_servers, who, fingerprint, sdp, Door::Offer(Some(reply)));
        Some(peer)
    }

    /// A WHEP player's offer: always a new session, with a viewer's rights.
    pub(super) fn watch(
        &mut self,
        own_id: PeerId,
        ice_servers: Vec<IceServer>,
        access: Access,
        offer: Offer,
        reply: oneshot::Sender<Result<Watched, DirectRefused>>,
    ) -> Option<PeerId> {
        if self.shared.tracks.is_empty() {
            let _ = reply.send(Err(DirectRefused::NoPicture));
            return None;
        }
        if let Err(full) = self.make_room(Access::Viewer) {
            let _ = reply.send(Err(DirectRefused::Busy(full.to_string())));
            return None;
        }
        // Its name is the end of its address, so it is not to be guessed.
        let peer = PeerId::new(format!("whep-{:032x}", rand::random::<u128>())).ok()?;
        let (fingerprint, sdp) = (Fingerprint::of(offer.sdp()), offer.sdp().to_owned());
        let player = Player {
            resource: Resource::new(offer, &new_tag()),
            access,
            ice_servers: ice_servers.clone(),
            waiting: Some(Waiting::First(reply)),
        };
        let asker = Asker { peer: peer.clone(), access: Access::Viewer };
        let who = Who { asker, grant: None };
        self.start(own_id, ice_servers, who, fingerprint, sdp, Door::Whep(Box::new(player)));
        Some(peer)
    }

    /// What a WHEP player says of its side of ICE.
    pub(super) fn patch(
        &mut self,
        session: &PeerId,
        access: Access,
        if_match: Option<&str>,
        fragment: Fragment,
        reply: oneshot::Sender<Result<Option<Watched>, DirectRefused>>,
    ) {
        let Some((inbox, player)) = self.player(session, access) else {
            let _ = reply.send(Err(DirectRefused::NoSuchSession));
            return;
        };
        let told = |told| inbox.try_send(told).is_ok();
        let all_told = |candidates: Vec<Candidate>| {
            candidates.into_iter().all(|candidate| told(ToSession::Candidate(candidate)))
        };
        let busy = || Err(DirectRefused::Busy("the session does not keep up; try again".into()));
        match player.resource.patch(if_match, fragment, &new_tag()) {
            Err(refused) => {
                let _ = reply.send(Err(refused.into()));
            }
            Ok(Step::Candidates(candidates)) => {
                let _ = reply.send(if all_told(candidates) { Ok(None) } else { busy() });
            }
            Ok(Step::Restart { sdp, candidates }) => {
                if !told(ToSession::Offer(sdp)) {
                    player.resource.not_restarted();
                    let _ = reply.send(busy());
                    return;
                }
                player.waiting = Some(Waiting::Restart(reply));
                // One that is lost is one way less.
                all_told(candidates);
            }
        }
    }

    /// A WHEP player leaves.
    pub(super) fn leave(&mut self, session: &PeerId, access: Access) -> Result<(), DirectRefused> {
        self.player(session, access).ok_or(DirectRefused::NoSuchSession)?;
        self.end(session, Dismissed::Left);
        // It is on its way out: a second time, there is nothing there.
        if let Some(entry) = self.peers.get_mut(session) {
            entry.inbox = mpsc::channel(1).0;
        }
        Ok(())
    }

    /// The live session of this name, for somebody with the rights that it was begun with.
    fn player(
        &mut self,
        session: &PeerId,
        access: Access,
    ) -> Option<(mpsc::Sender<ToSession>, &mut Player)> {
        let entry = self.peers.get_mut(session)?;
        let is_gone = entry.inbox.is_closed() || entry.dismissed.why().is_some();
        match &mut entry.door {
            Door::Whep(player) if player.access == access && !is_gone => {
                Some((entry.inbox.clone(), player))
            }
            _ => None,
        }
    }

    /// Finds a place, at the cost of somebody who does not use its own where need be.
    fn make_room(&mut self, access: Access) -> Result<(), Full> {
        let now = Instant::now();
        let taken = self.peers.iter().map(|(peer, entry)| places::Taken {
            who: peer,
            access: entry.access,
            connected: entry.was_connected,
            age: now.saturating_duration_since(entry.started),
        });
        match places::place(taken, self.most, access) {
            places::Place::Free => Ok(()),
            places::Place::None => Err(Full(self.most)),
            places::Place::Of(peer) => {
                let peer = peer.clone();
                tracing::info!(%peer, "never connected, and its place is needed");
                if let Some(entry) = self.peers.remove(&peer) {
                    entry.dismissed.dismiss(Dismissed::Displaced);
                }
                Ok(())
            }
        }
    }

    fn start(
        &mut self,
        own_id: PeerId,
        ice_servers: Vec<IceServer>,
        who: Who,
        fingerprint: Fingerprint,
        sdp: String,
        door: Door,
    ) {
        self.last_number += 1;
        let (dismissed, replaced) = (Dismissal::default(), CancellationToken::new());
        let direct = !matches!(door, Door::Broker);
        let watches_only = matches!(door, Door::Whep(_));
        let Who { asker, grant } = who;
        let (peer, access) = (asker.peer.clone(), asker.access);
        tracing::info!(%peer, %access, direct, "session");
        let session = Session::new(Start {
            shared: self.shared.clone(),
            own_id,
            asker,
            grant,
            number: self.last_number,
            ice_servers,
            relay_only: self.relay_only,
            watches_only,
            gather_wait: direct.then_some(DIRECT_GATHER),
            out: self.out.clone(),
            stop: self.stop.clone(),
            dismissed: dismissed.clone(),
            replaced: replaced.clone(),
        });
        let inbox = session.inbox.clone();
        // A fresh queue has room.
        let _ = inbox.try_send(ToSession::Offer(sdp));
        let task = self.tasks.spawn(session.run()).id();
        let number = self.last_number;
        self.peers.insert(
            peer,
            Entry {
                number,
                access,
                started: Instant::now(),
                was_connected: false,
                inbox,
                fingerprint,
                dismissed,
                replaced,
                task,
                door,
            },
        );
    }

    /// Passes something on. Never waits; a session that does not keep up loses it.
    pub(super) fn tell(&self, peer: &PeerId, told: ToSession) {
        if let Some(entry) = self.peers.get(peer)
            && let Err(error) = entry.inbox.try_send(told)
        {
            tracing::debug!(%peer, %error, "something relayed was lost");
        }
    }

    /// Ends a peer's session with a goodbye.
    pub(super) fn end(&self, peer: &PeerId, why: Dismissed) {
        if let Some(entry) = self.peers.get(peer) {
            tracing::info!(%peer, reason = %why, "sent away");
            entry.dismissed.dismiss(why);
        }
    }

    /// Tells everybody about other STUN and TURN servers.
    pub(super) fn ice_servers(&self, servers: &[IceServer]) {
        for peer in self.peers.keys() {
            self.tell(peer, ToSession::IceServers(servers.to_vec()));
        }
    }

    pub(super) fn is_direct(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.door.is_direct())
    }

    /// Gives the answer to a direct peer that waits for it; gives it back for the broker otherwise.
    pub(super) fn answer_direct(&mut self, peer: &PeerId, sdp: String) -> Option<String> {
        let Some(entry) = self.peers.get_mut(peer) else { return Some(sdp) };
        match &mut entry.door {
            Door::Broker => return Some(sdp),
            Door::Offer(reply) => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(Ok(DirectAnswer { peer: peer.clone(), sdp }));
                }
            }
            Door::Whep(player) => player.answered(peer, &sdp),
        }
        None
    }

    /// Tells a direct peer why there is no answer. `false` for the others.
    pub(super) fn refuse_direct(&mut self, peer: &PeerId, reason: &str) -> bool {
        let Some(entry) = self.peers.get_mut(peer) else { return false };
        let refused = DirectRefused::BadOffer(reason.to_owned());
        let is_over = match &mut entry.door {
            Door::Broker => return false,
            Door::Offer(reply) => match reply.take() {
                Some(reply) => reply.send(Err(refused)).is_ok(),
                None => false,
            },
            Door::Whep(player) => player.refused(refused),
        };
        if is_over {
            // It is on its way out: no candidate is for it.
            entry.inbox = mpsc::channel(1).0;
        }
        true
    }

    /// A candidate that came by HTTP.
    pub(super) fn candidate_direct(
        &self,
        peer: Option<PeerId>,
        candidate: Candidate,
    ) -> Result<(), DirectRefused> {
        let live = |entry: &Entry| matches!(entry.door, Door::Offer(_)) && !entry.inbox.is_closed();
        let mut direct = self.peers.iter().filter(|(_, entry)| live(entry)).map(|(id, _)| id);
        let peer = match peer {
            Some(peer) => direct.find(|id| **id == peer),
            None => match (direct.next(), direct.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            },
        };
        let Some(peer) = peer else {
            let words = "the candidate is nobody's: send the \"id\" of the answer along with it";
            return Err(DirectRefused::NoSuchPeer(words.to_owned()));
        };
        self.tell(peer, ToSession::Candidate(candidate));
        Ok(())
    }

    pub(super) fn connected(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.was_connected = true;
            let (peer_id, access) = (peer.clone(), entry.access);
            self.reports.tell(Report::PeerConnected { peer_id, access });
        }
    }

    /// The next session that has ended; never while there are none.
    pub(super) async fn next_ended(&mut self) -> Option<Result<Ended, JoinError>> {
        if self.tasks.is_empty() {
            return std::future::pending().await;
        }
        self.tasks.join_next().await
    }

    /// Says who is not served any more.
    pub(super) fn ended(&mut self, ended: Result<Ended, JoinError>) -> Option<PeerId> {
        match ended {
            Ok(Ended { peer, number, reason }) => {
                // A replaced session must not take its successor's place away.
                if self.peers.get(&peer).is_none_or(|entry| entry.number != number) {
                    return None;
                }
                self.peers.remove(&peer);
                self.reports.tell(Report::PeerDisconnected { peer_id: peer.clone(), reason });
                Some(peer)
            }
            // One peer's session must not take the others down. What it drove has stopped.
            Err(error) => {
                tracing::error!(%error, "a session ended badly");
                let task = error.id();
                let peer =
                    self.peers.iter().find(|(_, e)| e.task == task).map(|(id, _)| id.clone());
                if let Some(peer) = &peer {
                    self.peers.remove(peer);
                    let (peer_id, reason) = (peer.clone(), "internal error".to_owned());
                    self.reports.tell(Report::PeerDisconnected { peer_id, reason });
                }
                peer
            }
        }
    }

    /// Ends all sessions with goodbyes and waits for them.
    pub(super) async fn close(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
    }
}

impl Door {
    fn is_direct(&self) -> bool {
        !matches!(self, Self::Broker)
    }
}

impl Player {
    fn answered(&mut self, session: &PeerId, sdp: &str) {
        let is_restart = matches!(self.waiting, Some(Waiting::Restart(_)));
        if is_restart {
            self.resource.restarted();
        }
        let watched = Watched {
            session: session.clone(),
            etag: self.resource.etag().to_owned(),
            sdp: self.resource.offer().finish(sdp),
            ice_servers: self.ice_servers.clone(),
        };
        let _ = match self.waiting.take() {
            Some(Waiting::First(reply)) => reply.send(Ok(watched)).map_err(drop),
            Some(Waiting::Restart(reply)) => reply.send(Ok(Some(watched))).map_err(drop),
            None => Ok(()),
        };
    }

    /// Says whether the session is over with that. A restart that fails leaves it as it was.
    fn refused(&mut self, why: DirectRefused) -> bool {
        match self.waiting.take() {
            Some(Waiting::First(reply)) => {
                let _ = reply.send(Err(why));
                true
            }
            Some(Waiting::Restart(reply)) => {
                self.resource.not_restarted();
                let _ = reply.send(Err(why));
                false
            }
            None => false,
        }
    }
}

/// For an ICE session: no other has the same.
fn new_tag() -> String {
    format!("{:016x}", rand::random::<u64>())
}
