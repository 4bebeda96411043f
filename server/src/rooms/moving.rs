//! A place that goes on at another server.
//!
//! A peer registers at a server (the *new* one) while its place is at another (the *old* one):
//!
//! 1. The new one claims the place. The old one checks the peer's proof, tells every holder where
//!    the peer has moved, and grants the place with what the peer has not read.
//! 2. Every holder sends for the peer to the new server from then on, and a *fence* to the old one,
//!    which passes it on behind whatever came before it.
//! 3. The new server keeps what comes by way of the old one apart from what comes straight, until
//!    all fences have come. Then the first stands before the second, everybody's messages are in
//!    the order in which they were sent, and the peer is let in: nothing was missed.
//!
//! A peer that comes without its proof gets a new place, and the old one is freed before. Without
//! an answer within a second the new server goes on by itself; the old one's copy loses, because
//! of one peer the newest stay counts.

use std::{collections::BTreeSet, time::Duration, time::Instant};

use halyard_protocol::{
    ids::PeerId,
    signal::{CloseCode, ServerMessage},
};

use super::{
    Mailbox, SessionId, Text,
    member::{Arriving, Kept, Member, Place},
    room::Room,
    words::{Handover, Word},
};
use crate::{bus::NodeId, identity::Subject, secret::TokenHash, time::Now};

/// Longest time that fences are waited for; by then their servers are gone or the bus is.
const FENCED_WITHIN: Duration = Duration::from_secs(5);

/// A member that goes on elsewhere, for whom messages may still come here.
#[derive(Debug)]
pub(super) struct Leaving {
    peer: PeerId,
    waiting: BTreeSet<NodeId>,
    since: Instant,
}

impl<M: Mailbox> Room<M> {
    /// Begins to take over a place of this peer at another server. Whether there is anything to
    /// wait for.
    pub(super) fn claim(
        &mut self,
        peer: &PeerId,
        identity: &Subject,
        resume: Option<TokenHash>,
    ) -> bool {
        let Some(there) = self.members.get(peer) else { return false };
        if there.identity != *identity {
            return false;
        }
        match &there.place {
            Place::Arriving(_) => true,
            Place::Elsewhere(node) => {
                let node = *node;
                if !self.claims.contains(peer) {
                    self.claims.push(peer.clone());
                    let (peer, identity) = (peer.clone(), identity.clone());
                    self.tell_node(node, Word::Claim { peer, identity, resume });
                }
                true
            }
            Place::Here(_) | Place::Away { .. } => false,
        }
    }

    /// Whether a claim is still under way.
    pub(super) fn is_claiming(&self, peer: &PeerId) -> bool {
        self.claims.contains(peer)
            || self.members.get(peer).is_some_and(|m| matches!(m.place, Place::Arriving(_)))
    }

    /// Waits for the old server no longer.
    pub(super) fn give_up_claim(&mut self, peer: &PeerId) {
        self.claims.retain(|claimed| claimed != peer);
        self.arrive(peer);
    }

    /// Another server claims a place.
    pub(super) fn claimed(
        &mut self,
        by: NodeId,
        peer: &PeerId,
        identity: &Subject,
        resume: Option<&TokenHash>,
        now: Now,
    ) {
        let there = self.members.get(peer).filter(|m| m.is_mine() && m.identity == *identity);
        let proven =
            there.is_some_and(|there| there.resume.is_some() && there.resume.as_ref() == resume);
        match there.map(|there| &there.place) {
            // Not whole yet: the claim must wait, and a refusal makes it come again.
            Some(Place::Arriving(_)) | None => {}
            Some(_) if proven => return self.give(peer, by, now),
            Some(_) => {
                if let Some(old) = self.take_out(peer, None) {
                    if let Some(mailbox) = old.mailbox() {
                        mailbox.close(CloseCode::Replaced);
                    }
                    old.presence.hand_over();
                }
            }
        }
        self.tell_node(by, Word::Free { peer: peer.clone() });
    }

    /// The old server has no place for this peer any more.
    pub(super) fn free(&mut self, peer: &PeerId) {
        self.claims.retain(|claimed| claimed != peer);
    }

    /// Hands a place of ours to another server.
    pub(super) fn give(&mut self, peer: &PeerId, to: NodeId, now: Now) {
        let Some(entry) = self.entry_of(peer) else { return };
        // The new server may not have held the room until now.
        let fences: BTreeSet<NodeId> = self.holders().into_iter().chain([to]).collect();
        let Some(member) = self.members.get_mut(peer).filter(|member| member.is_mine()) else {
            return;
        };
        let (away, kept) = match std::mem::replace(&mut member.place, Place::Elsewhere(to)) {
            Place::Here(mailbox) => {
                let unread = mailbox.unread();
                mailbox.close(CloseCode::Replaced);
                (Duration::ZERO, unread)
            }
            Place::Away { since, kept } => {
                (now.steady.saturating_duration_since(since), kept.into_messages())
            }
            Place::Arriving(arriving) => {
                (Duration::ZERO, arriving.kept.followed_by(arriving.later).into_messages())
            }
            Place::Elsewhere(_) => return,
        };
        member.session = SessionId::NONE;
        std::mem::take(&mut member.presence).hand_over();
        let grant = Handover {
            entry,
            resume: member.resume.take(),
            kept: kept.iter().map(|text| text.as_str().to_owned()).collect(),
            away_ms: u64::try_from(away.as_millis()).unwrap_or(u64::MAX),
            fences: fences.iter().copied().collect(),
            expires_at: self.expires_at,
        };
        let others: Vec<NodeId> = self.holders().into_iter().filter(|node| *node != to).collect();
        for node in others {
            self.tell_node(node, Word::Moved { peer: peer.clone(), to });
        }
        self.tell_node(to, Word::Handover(Box::new(grant)));
        self.leaving.push(Leaving { peer: peer.clone(), waiting: fences, since: now.steady });
    }

    /// A place of another server's goes on here.
    pub(super) fn granted(&mut self, from: NodeId, grant: Handover, now: Now) {
        let peer = grant.entry.info.peer_id.clone();
        self.claims.retain(|claimed| *claimed != peer);
        self.tell_node(from, Word::Fence { peer: peer.clone(), to: self.me });
        self.expires_at = self.expires_at.max(grant.expires_at);
        let stamp = grant.entry.stamp;
        match self.members.get(&peer) {
            // It came here by itself meanwhile, or is somewhere else by now.
            Some(there) if there.node() != Some(from) && there.stamp >= stamp => return,
            Some(there) if there.is_mine() => return,
            _ => {}
        }
        let kept = grant.kept.into_iter().map(Text::from).collect();
        let since = now.steady.checked_sub(Duration::from_millis(grant.away_ms));
        let arriving = Arriving {
            via: from,
            kept: Kept::starting_with(kept),
            later: Kept::default(),
            waiting: grant.fences.into_iter().collect(),
            since: since.unwrap_or(now.steady),
            began: now.steady,
        };
        let known = self.members.contains_key(&peer);
        let (presence, admin) = (self.presence_of(&grant.entry.identity), grant.entry.admin);
        let mut member = Member::of(grant.entry, Place::Arriving(Box::new(arriving)));
        member.resume = grant.resume;
        member.presence = presence;
        let info = member.info(&peer);
        self.members.insert(peer.clone(), member);
        if !known {
            self.broadcast(&ServerMessage::PeerJoined(info), &peer);
        }
        if admin && self.admin.is_none() {
            self.admin = Some(peer.clone());
        }
        // Who came to hold the room meanwhile was not told by the old server.
        self.tell_holders(|room| room.entry_of(&peer).map(Word::Joined));
        self.arrive_if_fenced(&peer);
    }

    /// A grant did not arrive: the place is kept here after all.
    pub(super) fn not_granted(&mut self, to: NodeId, grant: Handover, now: Now) {
        let peer = grant.entry.info.peer_id.clone();
        if !self.is_at(&peer, to) {
            return;
        }
        let presence = self.presence_of(&grant.entry.identity);
        let Some(member) = self.members.get_mut(&peer) else { return };
        let kept = Kept::starting_with(grant.kept.into_iter().map(Text::from).collect());
        let away = Duration::from_millis(grant.away_ms);
        let since = now.steady.checked_sub(away).unwrap_or(now.steady);
        member.place = Place::Away { since, kept };
        member.resume = grant.resume;
        member.presence = presence;
        self.leaving.retain(|leaving| leaving.peer != peer);
        self.tell_holders(|room| room.entry_of(&peer).map(Word::Joined));
    }

    /// A member at `from` goes on elsewhere.
    pub(super) fn moved(&mut self, from: NodeId, peer: &PeerId, to: NodeId) {
        if let Some(member) = self.members.get_mut(peer).filter(|m| m.node() == Some(from)) {
            member.place = Place::Elsewhere(to);
        }
        self.tell_node(from, Word::Fence { peer: peer.clone(), to });
    }

    /// Everything that `from` sent here for this peer has come.
    pub(super) fn fence(&mut self, from: NodeId, peer: &PeerId, to: NodeId) {
        self.tell_node(to, Word::Fenced { peer: peer.clone(), origin: from });
        for leaving in self.leaving.iter_mut().filter(|leaving| leaving.peer == *peer) {
            leaving.waiting.remove(&from);
        }
        self.leaving.retain(|leaving| !leaving.waiting.is_empty());
    }

    /// Everything that `origin` sent by way of `via` has come.
    pub(super) fn fenced(&mut self, via: NodeId, peer: &PeerId, origin: NodeId) {
        if let Some(member) = self.members.get_mut(peer)
            && let Place::Arriving(arriving) = &mut member.place
            && arriving.via == via
        {
            arriving.waiting.remove(&origin);
            self.arrive_if_fenced(peer);
        }
    }

    fn arrive_if_fenced(&mut self, peer: &PeerId) {
        let Some(member) = self.members.get(peer) else { return };
        if let Place::Arriving(arriving) = &member.place
            && arriving.waiting.is_empty()
        {
            self.arrive(peer);
        }
    }

    /// What has come is all there is.
    fn arrive(&mut self, peer: &PeerId) {
        let Some(member) = self.members.get_mut(peer) else { return };
        if let Place::Arriving(arriving) = &mut member.place {
            let since = arriving.since;
            let kept =
                std::mem::take(&mut arriving.kept).followed_by(std::mem::take(&mut arriving.later));
            member.place = Place::Away { since, kept };
        }
    }

    /// Nothing more comes by way of that server, nor from it.
    pub(super) fn not_by_way_of(&mut self, node: NodeId) {
        for leaving in &mut self.leaving {
            leaving.waiting.remove(&node);
        }
        self.leaving.retain(|leaving| !leaving.waiting.is_empty());
        let mut whole = Vec::new();
        for (peer, member) in &mut self.members {
            if let Place::Arriving(arriving) = &mut member.place {
                arriving.waiting.remove(&node);
                if arriving.via == node {
                    arriving.waiting.clear();
                }
                whole.push(peer.clone());
            }
        }
        for peer in whole {
            self.arrive_if_fenced(&peer);
        }
        let members = &self.members;
        self.claims.retain(|peer| members.get(peer).is_some_and(|m| m.node() != Some(node)));
    }

    /// Gives up fences that will not come.
    pub(super) fn tick_moves(&mut self, now: Instant) {
        let over = |since: Instant| now.saturating_duration_since(since) >= FENCED_WITHIN;
        self.leaving.retain(|leaving| !over(leaving.since));
        let late: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(_, m)| matches!(&m.place, Place::Arriving(a) if over(a.began)))
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in late {
            self.arrive(&peer);
        }
    }

    /// Whether nothing more can come for members that went on elsewhere.
    pub(super) fn is_settled(&self) -> bool {
        self.leaving.is_empty()
    }

    /// The members of this server.
    pub(super) fn mine(&self) -> Vec<PeerId> {
        let mine = self.members.iter().filter(|(_, member)| member.is_mine());
        mine.map(|(peer, _)| peer.clone()).collect()
    }

    /// Servers that hold the room too, or may: those that have not answered yet may send something
    /// for a member here, and must not miss what happens before they do.
    pub(super) fn holders(&self) -> BTreeSet<NodeId> {
        self.holders.keys().copied().chain(self.unanswered.iter().copied()).collect()
    }
}
