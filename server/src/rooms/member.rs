//! One peer of a room, as the room knows it.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use halyard_protocol::{
    access::{Access, PeerRole},
    ids::PeerId,
    limits::{MAX_OUTBOX_BYTES, MAX_RESUME_MESSAGES},
    signal::{Grant, Metadata, PeerInfo},
};

use super::{Mailbox, NotTaken, Presence, Text};
use crate::{bus::NodeId, identity::Subject, secret::TokenHash};

/// One stay of a peer on one socket. A peer that comes again on another socket has another one, so
/// the old socket's end is not mistaken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(super) u64);

impl SessionId {
    /// Of nobody who is here: sessions count up from 1.
    pub(super) const NONE: Self = Self(0);
}

/// Where a member's messages go.
#[derive(Debug)]
pub(super) enum Place<M> {
    /// To its socket.
    Here(M),
    /// Its socket dropped: they are kept for its return.
    Away { since: Instant, kept: Kept },
    /// Its place is being handed over from another server.
    Arriving(Box<Arriving>),
    /// It is on another server.
    Elsewhere(NodeId),
}

/// A place that another server handed over, until everything sent to it there has come.
#[derive(Debug)]
pub(super) struct Arriving {
    /// By way of this server comes what was sent before.
    pub(super) via: NodeId,
    pub(super) kept: Kept,
    /// What came straight, and belongs behind it.
    pub(super) later: Kept,
    /// Whose fences have not come.
    pub(super) waiting: BTreeSet<NodeId>,
    /// Since when the peer has been away.
    pub(super) since: Instant,
    /// When the place was handed over.
    pub(super) began: Instant,
}

/// Messages kept for a peer that is away. Bounded.
#[derive(Debug, Default)]
pub(super) struct Kept {
    messages: VecDeque<Text>,
    bytes: usize,
}

impl Kept {
    pub(super) fn keep(&mut self, text: Text) -> Result<(), NotTaken> {
        let bytes = self.bytes + text.len();
        if self.messages.len() >= MAX_RESUME_MESSAGES || bytes > MAX_OUTBOX_BYTES {
            return Err(NotTaken::Full);
        }
        self.bytes = bytes;
        self.messages.push_back(text);
        Ok(())
    }

    /// Starts with what the socket's task had not written. That was bounded by the outbox, so all
    /// of it is kept, even where nothing more is.
    pub(super) fn starting_with(unread: Vec<Text>) -> Self {
        Self { bytes: unread.iter().map(|text| text.len()).sum(), messages: unread.into() }
    }

    pub(super) fn followed_by(mut self, later: Self) -> Self {
        self.bytes += later.bytes;
        self.messages.extend(later.messages);
        self
    }

    pub(super) fn into_messages(self) -> Vec<Text> {
        self.messages.into()
    }
}

/// One peer.
#[derive(Debug)]
pub(super) struct Member<M> {
    pub(super) identity: Subject,
    pub(super) access: Access,
    /// By what right it is here, told to the others.
    pub(super) grant: Option<Grant>,
    pub(super) role: PeerRole,
    pub(super) metadata: Metadata,
    /// How much of the room's budget the metadata takes.
    pub(super) metadata_bytes: usize,
    /// Seconds since 1970.
    pub(super) connected_at: f64,
    pub(super) session: SessionId,
    /// Orders stays under one name; milliseconds since 1970 where nothing else is known.
    pub(super) stamp: u64,
    /// Takes up the place again. Another server's member proves itself there.
    pub(super) resume: Option<TokenHash>,
    pub(super) place: Place<M>,
    /// Dropped with the member, which is how others learn that it left.
    pub(super) presence: Presence,
}

impl<M: Mailbox> Member<M> {
    pub(super) fn info(&self, peer: &PeerId) -> PeerInfo {
        PeerInfo {
            peer_id: peer.clone(),
            role: self.role,
            access: self.access,
            metadata: self.metadata.clone(),
            connected_at: self.connected_at,
            grant: self.grant.clone(),
        }
    }

    /// Something meant for this peer alone: kept while it is away.
    pub(super) fn send(&mut self, text: Text) -> Result<(), NotTaken> {
        match &mut self.place {
            Place::Here(mailbox) => mailbox.put(text, true),
            Place::Away { kept, .. } => kept.keep(text),
            Place::Arriving(arriving) => arriving.later.keep(text),
            // The room sends it there.
            Place::Elsewhere(_) => Err(NotTaken::Closed),
        }
    }

    /// The same, from a peer on another server.
    pub(super) fn send_from(&mut self, node: NodeId, text: Text) -> Result<(), NotTaken> {
        match &mut self.place {
            Place::Arriving(arriving) if arriving.via == node => arriving.kept.keep(text),
            _ => self.send(text),
        }
    }

    /// The server that it is on, if that is another one.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self.place {
            Place::Elsewhere(node) => Some(node),
            _ => None,
        }
    }

    /// Whether this server is the authority for it.
    pub(super) fn is_mine(&self) -> bool {
        self.node().is_none()
    }

    /// Something about the room: who is away is told the whole state when it comes back.
    pub(super) fn tell(&self, text: &Text) -> Result<(), NotTaken> {
        match &self.place {
            Place::Here(mailbox) => mailbox.put(text.clone(), false),
            Place::Away { .. } | Place::Arriving(_) | Place::Elsewhere(_) => Ok(()),
        }
    }

    pub(super) fn mailbox(&self) -> Option<&M> {
        match &self.place {
            Place::Here(mailbox) => Some(mailbox),
            Place::Away { .. } | Place::Arriving(_) | Place::Elsewhere(_) => None,
        }
    }
}
