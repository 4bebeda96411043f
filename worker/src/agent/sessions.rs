//! One session per remote peer: started, replaced, ended, counted.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    access::Access,
    ids::PeerId,
    signal::{Candidate, IceServer},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{DirectAnswer, DirectRefused, Fingerprint, places};
use crate::{
    machine::Asker,
    report::{Report, Reports},
    session::{Dismissal, Dismissed, Ended, FromSession, Session, Shared, Start, ToSession},
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
    /// It came without a broker.
    direct: bool,
    /// And waits for its answer.
    reply: Option<oneshot::Sender<Result<DirectAnswer, DirectRefused>>>,
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
        let asker = Asker { peer, access };
        self.start(own_id, ice_servers, asker, fingerprint, sdp, None);
        Ok(())
    }

    /// An offer that came by HTTP: always a new session, under a name of its own.
    pub(super) fn offer_direct(
        &mut self,
        own_id: PeerId,
        ice_servers: Vec<IceServer>,
        access: Access,
        sdp: String,
        reply: oneshot::Sender<Result<DirectAnswer, DirectRefused>>,
    ) -> Option<PeerId> {
        if let Err(full) = self.make_room(access) {
            let _ = reply.send(Err(DirectRefused::Busy(full.to_string())));
            return None;
        }
        let peer = PeerId::new(format!("direct-{:016x}", rand::random::<u64>())).ok()?;
        let fingerprint = Fingerprint::of(&sdp);
        let asker = Asker { peer: peer.clone(), access };
        self.start(own_id, ice_servers, asker, fingerprint, sdp, Some(reply));
        Some(peer)
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
        asker: Asker,
        fingerprint: Fingerprint,
        sdp: String,
        reply: Option<oneshot::Sender<Result<DirectAnswer, DirectRefused>>>,
    ) {
        self.last_number += 1;
        let (dismissed, replaced) = (Dismissal::default(), CancellationToken::new());
        let direct = reply.is_some();
        let (peer, access) = (asker.peer.clone(), asker.access);
        tracing::info!(%peer, %access, direct, "session");
        let session = Session::new(Start {
            shared: self.shared.clone(),
            own_id,
            asker,
            number: self.last_number,
            ice_servers,
            relay_only: self.relay_only,
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
                direct,
                reply,
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
        self.peers.get(peer).is_some_and(|entry| entry.direct)
    }

    /// Gives the answer to a direct peer that waits for it; gives it back for the broker otherwise.
    pub(super) fn answer_direct(&mut self, peer: &PeerId, sdp: String) -> Option<String> {
        let Some(entry) = self.peers.get_mut(peer).filter(|entry| entry.direct) else {
            return Some(sdp);
        };
        if let Some(reply) = entry.reply.take() {
            let _ = reply.send(Ok(DirectAnswer { peer: peer.clone(), sdp }));
        }
        None
    }

    /// Tells a direct peer why there is no answer. `false` for the others.
    pub(super) fn refuse_direct(&mut self, peer: &PeerId, reason: &str) -> bool {
        let Some(entry) = self.peers.get_mut(peer).filter(|entry| entry.direct) else {
            return false;
        };
        if let Some(reply) = entry.reply.take() {
            let _ = reply.send(Err(DirectRefused::BadOffer(reason.to_owned())));
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
        let live = |entry: &Entry| entry.direct && !entry.inbox.is_closed();
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
