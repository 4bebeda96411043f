//! One room: its members, and what follows when one of them says or does something.
//!
//! Invariants: a name belongs to one identity at a time; a session ends only its own place; what
//! is addressed to a member is delivered, kept, or answered with a refusal that names it; who is
//! too slow is cut off before anybody waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
    time::Instant,
};

use halyard_protocol::{
    ids::{PeerId, RoomId},
    signal::{CloseCode, ErrorCode, Filters, LeftReason, Metadata, PeerInfo, ServerMessage},
};
use indexmap::IndexMap;

use super::{
    Departures, Mailbox, NotTaken, Presence, Refusal, SessionId, Text,
    elsewhere::To,
    member::{Kept, Member, Place},
    moving::Leaving,
    said::{Relay, Said},
    words::{Whom, Word},
};
use crate::{bus::NodeId, identity::Subject, metrics::PeerKind, store::RoomRecord};

/// What a room may not exceed.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Peers, those that are away included.
    pub max_peers: usize,
    /// Rooms in one hall.
    pub max_rooms: usize,
    /// How long a place is kept for who dropped.
    pub resume_window: Duration,
}

/// One room. `M` is where its members read.
#[derive(Debug)]
pub struct Room<M> {
    pub(super) id: RoomId,
    pub(super) expires_at: u64,
    pub(super) limits: RoomLimits,
    pub(super) members: IndexMap<PeerId, Member<M>>,
    /// Who coordinates the original's worker mesh.
    pub(super) admin: Option<PeerId>,
    /// This server.
    pub(super) me: NodeId,
    /// Other servers with members here, with how often they had told everything.
    pub(super) holders: BTreeMap<NodeId, u64>,
    /// Servers that have not said yet whether they have members here.
    pub(super) unanswered: BTreeSet<NodeId>,
    /// Peers whose places at other servers are being claimed.
    pub(super) claims: Vec<PeerId>,
    /// Members that went on elsewhere, for whom something may still come.
    pub(super) leaving: Vec<Leaving>,
    /// What other servers must hear.
    pub(super) words: Vec<(To, Word)>,
    departures: Option<Arc<Departures>>,
    sessions: u64,
    /// Members whose mailbox was full; they are cut off before the call returns.
    pub(super) slow: Vec<PeerId>,
}

impl<M: Mailbox> Room<M> {
    /// An empty room that ends at this time, in seconds since 1970.
    pub fn new(id: RoomId, expires_at: u64, limits: RoomLimits) -> Self {
        Self {
            id,
            expires_at,
            limits,
            members: IndexMap::new(),
            admin: None,
            me: NodeId::from_number(0),
            holders: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            claims: Vec::new(),
            leaving: Vec::new(),
            words: Vec::new(),
            departures: None,
            sessions: 0,
            slow: Vec::new(),
        }
    }

    /// Lets `departures` know who is here.
    #[must_use]
    pub fn watched_by(mut self, departures: Option<Arc<Departures>>) -> Self {
        self.departures = departures;
        self
    }

    /// Says which server this is.
    #[must_use]
    pub fn on(mut self, me: NodeId) -> Self {
        self.me = me;
        self
    }

    pub(super) fn presence_of(&self, subject: &Subject) -> Presence {
        self.departures.as_ref().map(|watch| watch.arrive(subject)).unwrap_or_default()
    }

    /// Nobody is on this server, nobody may come back to it, and nothing can come for who left it.
    pub fn is_empty(&self) -> bool {
        self.leaving.is_empty() && !self.members.values().any(Member::is_mine)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, unix: u64) -> bool {
        self.expires_at <= unix
    }

    /// It ends at another time.
    pub fn set_expiry(&mut self, expires_at: u64) {
        self.expires_at = expires_at;
    }

    /// Everybody, in the order in which they came.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.members.iter().map(|(peer, member)| member.info(peer)).collect()
    }

    /// What everybody on this server is counted as.
    pub fn kinds(&self) -> impl Iterator<Item = PeerKind> {
        self.members.values().filter(|member| member.is_mine()).map(|member| PeerKind {
            role: member.role,
            here: matches!(member.place, Place::Here(_)),
        })
    }

    /// Whether who goes by this name may move machines.
    pub fn may_operate(&self, peer: &PeerId) -> bool {
        self.members.get(peer).is_some_and(|member| member.access.may_operate())
    }

    /// Who goes by this name.
    pub fn identity_of(&self, peer: &str) -> Option<&Subject> {
        self.members.get(peer).map(|member| &member.identity)
    }

    /// Whether this server is the authority for who goes by this name.
    pub(super) fn is_mine(&self, peer: &PeerId) -> bool {
        self.members.get(peer).is_some_and(Member::is_mine)
    }

    /// Who goes by this name on this server.
    pub(super) fn mine_of(&self, peer: &str) -> Option<&Subject> {
        let mine = self.members.get(peer).filter(|member| member.is_mine());
        mine.map(|member| &member.identity)
    }

    /// Something was said on this session. A refusal is for the speaker.
    pub fn said(&mut self, peer: &PeerId, session: SessionId, said: Said) -> Result<(), Refusal> {
        if self.members.get(peer).is_none_or(|member| member.session != session) {
            // Replaced or removed a moment ago; its socket is being closed.
            return Ok(());
        }
        let result = match said {
            Said::Relay(relay) => self.relay(peer, &relay),
            Said::Discover(filters) => {
                self.discover(peer, &filters);
                Ok(())
            }
            Said::Update { of, metadata } => self.update(peer, of.as_deref(), metadata),
            Said::Ping => {
                self.answer(peer, &ServerMessage::Pong);
                Ok(())
            }
            // The connection handles these itself, or they mean nothing.
            Said::Register | Said::ConfirmRights { .. } | Said::Pong | Said::Leave => Ok(()),
        };
        self.cut_slow();
        result
    }

    /// The socket of this session dropped: the place is kept for a while.
    pub fn lost(&mut self, peer: &PeerId, session: SessionId, now: Instant) {
        let Some(member) = self.members.get_mut(peer).filter(|m| m.session == session) else {
            return;
        };
        if let Place::Here(mailbox) = &member.place {
            let kept = Kept::starting_with(mailbox.unread());
            member.place = Place::Away { since: now, kept };
        }
    }

    /// The peer of this session left for good.
    pub fn left(&mut self, peer: &PeerId, session: SessionId) {
        if self.members.get(peer).is_some_and(|member| member.session == session) {
            self.take_out(peer, None);
        }
        self.cut_slow();
    }

    /// Gives up the places that nobody came back to.
    pub fn tick(&mut self, now: Instant) {
        let window = self.limits.resume_window;
        let over: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(_, member)| match member.place {
                Place::Here(_) | Place::Arriving(_) | Place::Elsewhere(_) => false,
                Place::Away { since, .. } => now.saturating_duration_since(since) >= window,
            })
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in over {
            self.take_out(&peer, Some(LeftReason::Lost));
        }
        self.tick_moves(now);
        self.cut_slow();
    }

    /// Ends the sessions of these members on this server. Says who they are on all servers.
    pub fn revoke(&mut self, whom: &Whom) -> Vec<PeerId> {
        self.end_sessions(|peer, member| match whom {
            Whom::Peer(name) => peer == name,
            Whom::Identity(identity) => member.identity == *identity,
            Whom::Access(access) => member.access == *access,
        })
    }

    /// Ends the sessions of members of this server that the room's record no longer lets in.
    pub fn check(&mut self, record: &RoomRecord) -> Vec<PeerId> {
        self.expires_at = self.expires_at.max(record.expires_at);
        self.end_sessions(|_, member| {
            let holds = |grant| crate::rights::holds(record, grant);
            member.is_mine() && !member.grant.as_ref().is_none_or(holds)
        })
    }

    fn end_sessions(&mut self, chosen: impl Fn(&PeerId, &Member<M>) -> bool) -> Vec<PeerId> {
        let revoked: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(peer, member)| chosen(peer, member))
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in &revoked {
            // The others are ended by their own servers.
            if self.members.get(peer).is_some_and(Member::is_mine)
                && let Some(member) = self.take_out(peer, Some(LeftReason::Revoked))
                && let Some(mailbox) = member.mailbox()
            {
                // Whether or not it fits, the close code says the same; existing clients read words.
                let _ = mailbox.put(Refusal::revoked().to_text(), false);
                mailbox.close(CloseCode::Revoked);
            }
        }
        self.tell_rights_changed();
        revoked
    }

    /// Rights in this room were taken back, here or on another node. Whoever was in the room before
    /// and has left it may still be served by a worker, so they are told even when nobody here had
    /// the rights that are gone.
    pub fn tell_rights_changed(&mut self) {
        let text = Text::from(ServerMessage::RightsChanged {}.to_json());
        for (peer, member) in &self.members {
            if member.tell(&text) == Err(NotTaken::Full) {
                self.slow.push(peer.clone());
            }
        }
        self.cut_slow();
    }

    /// Removes one peer of this server with a goodbye.
    pub fn remove(&mut self, peer: &str) -> bool {
        let found = self.members.get_key_value(peer).filter(|(_, member)| member.is_mine());
        let Some(peer) = found.map(|(peer, _)| peer.clone()) else { return false };
        if let Some(member) = self.take_out(&peer, Some(LeftReason::Removed))
            && let Some(mailbox) = member.mailbox()
        {
            mailbox.close(CloseCode::Normal);
        }
        self.cut_slow();
        true
    }

    /// Ends the room for everybody in it. `reason` is `deleted` or `expired`.
    pub fn close(&mut self, reason: &str) {
        let text = Text::from(ServerMessage::RoomClosed { reason: reason.to_owned() }.to_json());
        for (_, member) in self.members.drain(..) {
            if let Some(mailbox) = member.mailbox() {
                // Whether or not it fits, the close code says the same.
                let _ = mailbox.put(text.clone(), false);
                mailbox.close(CloseCode::RoomClosed);
            }
        }
        self.admin = None;
        self.leaving.clear();
        self.claims.clear();
    }

    fn relay(&mut self, sender: &PeerId, relay: &Relay) -> Result<(), Refusal> {
        let Some((_, peer, member)) = self.members.get_full_mut(relay.target.as_str()) else {
            return Err(relay.absent());
        };
        if let Place::Elsewhere(node) = member.place {
            let word = Word::Relay {
                sender: sender.clone(),
                target: peer.clone(),
                manner: relay.manner,
                hops: 0,
                text: relay.text.clone(),
            };
            self.words.push((To::Node(node), word));
            return Ok(());
        }
        member.send(relay.text.clone()).map_err(|why| {
            // Who is away has a right to its place until the window is over; who is here and does
            // not read has not.
            if why == NotTaken::Full && member.mailbox().is_some() {
                self.slow.push(peer.clone());
            }
            relay.undelivered()
        })
    }

    fn discover(&mut self, asker: &PeerId, filters: &Filters) {
        let peers: Vec<PeerInfo> = self
            .members
            .iter()
            .filter(|(peer, member)| {
                *peer != asker && filters.matches(&member.role.to_string(), &member.metadata)
            })
            .map(|(peer, member)| member.info(peer))
            .collect();
        let to_peer_id = asker.clone();
        self.answer(asker, &ServerMessage::PeerList { to_peer_id, count: peers.len(), peers });
    }

    fn update(
        &mut self,
        peer: &PeerId,
        of: Option<&str>,
        metadata: Metadata,
    ) -> Result<(), Refusal> {
        if let Some(of) = of.filter(|of| *of != peer.as_str()) {
            if !self.members.contains_key(of) {
                return Err(Refusal::new(ErrorCode::NotInRoom, "Peer not in any room"));
            }
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                format!("Only {of} may say what {of} is; leave peer_id out or send your own"),
            ));
        }
        let Some(member) = self.members.get(peer) else { return Ok(()) };
        // Before merging: what does not fit by itself is not worth the room's time.
        self.metadata_fits(&metadata, member.metadata_bytes)?;
        let mut merged = member.metadata.clone();
        merged.merge(metadata);
        let bytes = self.metadata_fits(&merged, member.metadata_bytes)?;
        if let Some(member) = self.members.get_mut(peer) {
            member.metadata = merged.clone();
            member.metadata_bytes = bytes;
        }
        let update = ServerMessage::MetadataUpdated { peer_id: peer.clone(), metadata: merged };
        self.answer(peer, &update);
        self.broadcast(&update, peer);
        self.tell_holders(|room| room.entry_of(peer).map(Word::Changed));
        Ok(())
    }

    /// Tells the peer that asked. An answer is not kept for later: it would be out of date.
    fn answer(&mut self, peer: &PeerId, message: &ServerMessage) {
        if let Some(member) = self.members.get(peer)
            && member.tell(&message.to_json().into()) == Err(NotTaken::Full)
        {
            self.slow.push(peer.clone());
        }
    }

    /// Tells everybody but one.
    pub(super) fn broadcast(&mut self, message: &ServerMessage, except: &PeerId) {
        if self.members.len() < 2 && self.members.contains_key(except) {
            return;
        }
        let text = Text::from(message.to_json());
        for (peer, member) in self.members.iter().filter(|(peer, _)| *peer != except) {
            if member.tell(&text) == Err(NotTaken::Full) {
                self.slow.push(peer.clone());
            }
        }
    }

    /// Takes a member out and tells the others, and why where the broker had a part in it.
    pub(super) fn take_out(
        &mut self,
        peer: &PeerId,
        reason: Option<LeftReason>,
    ) -> Option<Member<M>> {
        let member = self.members.shift_remove(peer)?;
        if self.admin.as_ref() == Some(peer) {
            self.admin = None;
        }
        self.broadcast(&ServerMessage::PeerLeft { peer_id: peer.clone(), reason }, peer);
        if member.is_mine() {
            self.tell_holders(|_| Some(Word::Left { peer: peer.clone(), reason }));
        }
        Some(member)
    }

    /// Cuts off everybody who does not read. Telling the others may find more of them, and ends
    /// because each round takes one out.
    pub(super) fn cut_slow(&mut self) {
        while let Some(peer) = self.slow.pop() {
            let Some(member) = self.take_out(&peer, Some(LeftReason::TooSlow)) else { continue };
            if let Some(mailbox) = member.mailbox() {
                tracing::info!(room = %self.id, %peer, "a peer reads too slowly and is cut off");
                mailbox.close(CloseCode::SlowConsumer);
            }
        }
    }

    pub(super) fn next_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }
}
