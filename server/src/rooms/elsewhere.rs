//! What other servers say of a room, and what they must hear of it.
//!
//! A server that has a member of its own in a room *holds* it: it knows everybody there and tells
//! the other holders what its own members do. Who is where, and who is told, is the same for one
//! server and for many; only [`Place::Elsewhere`] makes a difference.

use halyard_protocol::{
    ids::PeerId,
    signal::{CloseCode, ErrorCode, LeftReason, Metadata, ServerMessage},
};

use super::{
    Mailbox, NotTaken, Presence, Refusal, SessionId, Text,
    member::{Member, Place},
    room::Room,
    said::{Manner, Relay},
    words::{Entry, Word},
};
use crate::{bus::NodeId, time::Now};

/// How often a message is sent on because its target moved.
const MAX_HOPS: u8 = 3;

/// For which servers a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Everybody that holds the room.
    Holders,
    /// One.
    Node(NodeId),
}

impl<M: Mailbox> Room<M> {
    /// What other servers must hear, oldest first.
    pub(super) fn take_words(&mut self) -> Vec<(To, Word)> {
        std::mem::take(&mut self.words)
    }

    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Tells the other holders, if there are any.
    pub(super) fn tell_holders(&mut self, word: impl FnOnce(&Self) -> Option<Word>) {
        if !(self.holders.is_empty() && self.unanswered.is_empty())
            && let Some(word) = word(self)
        {
            self.words.push((To::Holders, word));
        }
    }

    pub(super) fn tell_node(&mut self, node: NodeId, word: Word) {
        self.words.push((To::Node(node), word));
    }

    /// Asks all these servers who is there. Until they answered, the room is not whole.
    pub(super) fn ask(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            self.unanswered.insert(node);
            let word = self.hold(true);
            self.tell_node(node, word);
        }
    }

    /// Whether everybody who was asked has said who is there.
    pub(super) fn is_whole(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// What this server has of the room.
    pub(super) fn hold(&self, answer: bool) -> Word {
        let mine = self.members.iter().filter(|(_, member)| member.is_mine());
        let entries = mine.map(|(peer, member)| self.entry(peer, member)).collect();
        Word::Hold { entries, expires_at: self.expires_at, answer }
    }

    pub(super) fn entry(&self, peer: &PeerId, member: &Member<M>) -> Entry {
        Entry {
            info: member.info(peer),
            identity: member.identity.clone(),
            stamp: member.stamp,
            admin: self.admin.as_ref() == Some(peer),
        }
    }

    pub(super) fn entry_of(&self, peer: &PeerId) -> Option<Entry> {
        self.members.get(peer).map(|member| self.entry(peer, member))
    }

    /// Another server says something. `generation` counts how often it has told everything.
    pub(super) fn heard(&mut self, from: NodeId, generation: u64, word: Word, now: Now) {
        match word {
            Word::Hold { entries, expires_at, answer } => {
                let known = self.holders.insert(from, generation).is_some();
                self.unanswered.remove(&from);
                self.expires_at = self.expires_at.max(expires_at);
                // Before it held the room, members can only have moved there: it says so soon.
                let kept = if known { Vec::new() } else { self.members_of(from) };
                self.replace_members_of(from, entries, &kept);
                if answer {
                    let word = self.hold(false);
                    self.tell_node(from, word);
                }
            }
            Word::Release => self.released_by(from),
            Word::Joined(entry) => self.joined_at(from, entry),
            Word::Changed(entry) => self.changed_at(from, entry),
            Word::Left { peer, reason } => {
                if self.is_at(&peer, from) {
                    self.take_out(&peer, reason);
                }
            }
            Word::Relay { sender, target, manner, hops, text } => {
                self.relayed(from, &sender, target, manner, hops, text);
            }
            Word::Answer { target, text } => self.answered(&target, text),
            Word::Claim { peer, identity, resume } => {
                self.claimed(from, &peer, &identity, resume.as_ref(), now);
            }
            Word::Free { peer } => self.free(&peer),
            Word::Handover(grant) => self.granted(from, *grant, now),
            Word::Moved { peer, to } => self.moved(from, &peer, to),
            Word::Fence { peer, to } => self.fence(from, &peer, to),
            Word::Fenced { peer, origin } => self.fenced(from, &peer, origin),
        }
        self.cut_slow();
    }

    /// This could not be said to that server.
    pub(super) fn undelivered(&mut self, to: NodeId, word: Word, now: Now) {
        match word {
            Word::Relay { sender, target, manner, .. } => {
                let refusal = Relay::undelivered_as(manner, target.as_str());
                self.answer_from_here(&sender, None, &refusal);
            }
            Word::Claim { peer, .. } => self.free(&peer),
            Word::Hold { .. } => {
                self.unanswered.remove(&to);
            }
            Word::Handover(grant) => self.not_granted(to, *grant, now),
            _ => {}
        }
        self.cut_slow();
    }

    /// That server is gone, or holds the room no longer.
    pub(super) fn released_by(&mut self, node: NodeId) {
        self.holders.remove(&node);
        self.unanswered.remove(&node);
        self.not_by_way_of(node);
        let gone: Vec<PeerId> = self.members_of(node);
        for peer in gone {
            self.take_out(&peer, Some(LeftReason::Lost));
        }
        self.cut_slow();
    }

    /// Whether that server was heard of this room since it began to tell everything anew.
    pub(super) fn is_out_of_date(&self, node: NodeId, generation: u64) -> bool {
        self.holders.get(&node).is_some_and(|heard| *heard != generation)
    }

    fn members_of(&self, node: NodeId) -> Vec<PeerId> {
        let theirs = self.members.iter().filter(|(_, m)| m.node() == Some(node));
        theirs.map(|(peer, _)| peer.clone()).collect()
    }

    pub(super) fn is_at(&self, peer: &PeerId, node: NodeId) -> bool {
        self.members.get(peer).is_some_and(|member| member.node() == Some(node))
    }

    fn replace_members_of(&mut self, node: NodeId, entries: Vec<Entry>, kept: &[PeerId]) {
        for peer in self.members_of(node) {
            let named = entries.iter().any(|entry| entry.info.peer_id == peer);
            if !named && !kept.contains(&peer) {
                self.take_out(&peer, None);
            }
        }
        for entry in entries {
            self.joined_at(node, entry);
        }
    }

    fn joined_at(&mut self, node: NodeId, entry: Entry) {
        let Some(there) = self.members.get(&entry.info.peer_id) else {
            return self.add(node, entry);
        };
        if there.node() == Some(node) {
            if there.stamp == entry.stamp {
                return self.changed_at(node, entry);
            }
            self.take_out(&entry.info.peer_id, None);
            return self.add(node, entry);
        }
        let same = there.identity == entry.identity;
        if same && there.stamp == entry.stamp && !there.is_mine() {
            // The same stay, which has moved; the old server's word of it is on its way.
            if let Some(there) = self.members.get_mut(&entry.info.peer_id) {
                there.place = Place::Elsewhere(node);
            }
            return self.changed_at(node, entry);
        }
        // One name on two servers. Both see the same, so both decide the same.
        let ours = (there.stamp, there.node().unwrap_or(self.me));
        let theirs = (entry.stamp, node);
        // Of one peer the newest stay counts; of two peers who wanted one name, the first one's.
        let they_win = if same { theirs > ours } else { theirs < ours };
        if !they_win {
            return;
        }
        let Some(old) = self.take_out(&entry.info.peer_id, None) else { return };
        if let Some(mailbox) = old.mailbox() {
            if !same {
                let _ = mailbox.put(Refusal::name_taken(&entry.info.peer_id).to_text(), false);
            }
            mailbox.close(CloseCode::Replaced);
        }
        if same {
            old.presence.hand_over();
        }
        self.add(node, entry);
    }

    fn add(&mut self, node: NodeId, entry: Entry) {
        let (peer, admin) = (entry.info.peer_id.clone(), entry.admin);
        let member = Member::of(entry, Place::Elsewhere(node));
        let info = member.info(&peer);
        self.members.insert(peer.clone(), member);
        self.broadcast(&ServerMessage::PeerJoined(info), &peer);
        if admin {
            self.wants_admin(&peer);
        }
    }

    fn changed_at(&mut self, node: NodeId, entry: Entry) {
        let Entry { info, admin, .. } = entry;
        let Some(member) = self.members.get_mut(&info.peer_id) else { return };
        if member.node() != Some(node) {
            return;
        }
        let rights =
            (member.access, member.role, &member.grant) != (info.access, info.role, &info.grant);
        let words = member.metadata != info.metadata;
        (member.access, member.role) = (info.access, info.role);
        member.grant.clone_from(&info.grant);
        if words {
            member.metadata.clone_from(&info.metadata);
            member.metadata_bytes = json_bytes(&member.metadata);
        }
        let peer = info.peer_id.clone();
        if rights {
            self.broadcast(&ServerMessage::PeerJoined(info), &peer);
        } else if words {
            let (peer_id, metadata) = (info.peer_id, info.metadata);
            self.broadcast(&ServerMessage::MetadataUpdated { peer_id, metadata }, &peer);
        }
        if admin {
            self.wants_admin(&peer);
        }
    }

    /// Who coordinates the mesh: who was first. Two servers that named one at once agree on the
    /// older stay.
    fn wants_admin(&mut self, peer: &PeerId) {
        let stamp = |peer: &PeerId| self.members.get(peer).map(|member| member.stamp);
        let first = match &self.admin {
            Some(admin) => (stamp(peer), peer) < (stamp(admin), admin),
            None => true,
        };
        if first {
            self.admin = Some(peer.clone());
        }
    }

    /// A message of a peer on another server, for somebody who was here when it was sent.
    fn relayed(
        &mut self,
        from: NodeId,
        sender: &PeerId,
        target: PeerId,
        manner: Manner,
        hops: u8,
        text: Text,
    ) {
        let Some(member) = self.members.get_mut(&target) else {
            let refusal = Relay::absent_as(manner, target.as_str());
            return self.answer_from_here(sender, Some(from), &refusal);
        };
        if let Some(node) = member.node() {
            if hops < MAX_HOPS {
                let sender = sender.clone();
                let word = Word::Relay { sender, target, manner, hops: hops + 1, text };
                self.tell_node(node, word);
            } else {
                let refusal = Relay::undelivered_as(manner, target.as_str());
                self.answer_from_here(sender, Some(from), &refusal);
            }
            return;
        }
        let Err(why) = member.send_from(from, text) else { return };
        if why == NotTaken::Full && member.mailbox().is_some() {
            self.slow.push(target.clone());
        }
        let refusal = Relay::undelivered_as(manner, target.as_str());
        self.answer_from_here(sender, Some(from), &refusal);
    }

    /// Tells a peer that something of its own was refused, wherever it is.
    fn answer_from_here(&mut self, peer: &PeerId, from: Option<NodeId>, refusal: &Refusal) {
        let text = refusal.to_text();
        let node = match self.members.get(peer) {
            Some(member) if member.is_mine() => return self.answered(peer, text),
            Some(member) => member.node(),
            None => from,
        };
        if let Some(node) = node {
            self.tell_node(node, Word::Answer { target: peer.clone(), text });
        }
    }

    fn answered(&mut self, target: &PeerId, text: Text) {
        let Some(member) = self.members.get_mut(target).filter(|member| member.is_mine()) else {
            return;
        };
        if member.send(text) == Err(NotTaken::Full) && member.mailbox().is_some() {
            self.slow.push(target.clone());
        }
    }
}

impl<M> Member<M> {
    /// A member as another server describes it.
    pub(super) fn of(entry: Entry, place: Place<M>) -> Self {
        let Entry { info, identity, stamp, .. } = entry;
        Self {
            identity,
            access: info.access,
            grant: info.grant,
            role: info.role,
            metadata_bytes: json_bytes(&info.metadata),
            metadata: info.metadata,
            connected_at: info.connected_at,
            stamp,
            session: SessionId::NONE,
            resume: None,
            place,
            presence: Presence::default(),
        }
    }
}

fn json_bytes(metadata: &Metadata) -> usize {
    serde_json::to_vec(metadata).map_or(0, |json| json.len())
}

impl Refusal {
    /// The name is somebody else's.
    pub(super) fn name_taken(peer: &PeerId) -> Self {
        Self::new(
            ErrorCode::PeerIdTaken,
            format!("The peer id {peer} is in use by somebody else; choose another"),
        )
    }
}
