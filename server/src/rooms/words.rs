//! What servers say to each other about rooms.
//!
//! Every server is the only authority for the members on its own sockets and keeps a copy of
//! everybody else's. A message is a JSON head, so that a later version may say more, and behind it
//! the text of a relayed message as the bytes it came in.

use bytes::{BufMut, Bytes, BytesMut};
use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    signal::{LeftReason, PeerInfo},
};
use serde::{Deserialize, Serialize};

use super::{Text, said::Manner};
use crate::{
    bus::{NodeId, Worth},
    identity::Subject,
    secret::TokenHash,
};

/// What one server says to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// Everything that I hold follows.
    Begin,
    /// That was everything.
    End,
    /// About one room, from a server to those that hold it too.
    Room { room: RoomId, word: Word },
    /// An owner's order, to every server.
    Owner { room: RoomId, order: Order },
    /// In which rooms does somebody go by this name?
    Find { number: u64, peer: String },
    /// In these, as far as this server's own members go.
    Found { number: u64, rooms: Vec<(RoomId, Subject)> },
}

/// What an owner wants. Every server carries it out for its own members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// The room is over.
    Close,
    /// It ends at another time.
    Expiry { at: u64 },
    /// Sessions end and rights are gone.
    Revoke { whom: Whom },
    /// One peer is removed with a goodbye.
    Remove { peer: PeerId },
}

/// Whose sessions end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Of this name alone.
    Peer(PeerId),
    /// Of this identity, under every name.
    Identity(Subject),
    /// Of everybody with exactly these rights.
    Access(Access),
}

/// A member, as other servers know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// As its room shows it.
    pub(super) info: PeerInfo,
    pub(super) identity: Subject,
    /// Orders stays under one name: later than every one that its server knew of.
    pub(super) stamp: u64,
    /// It coordinates the original's worker mesh.
    #[serde(default)]
    pub(super) admin: bool,
}

/// A place that goes on at another server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Handover {
    /// Who sits there.
    pub(super) entry: Entry,
    /// Takes up the place again.
    pub(super) resume: Option<TokenHash>,
    /// What it has not read, oldest first.
    pub(super) kept: Vec<String>,
    /// How long it has been away.
    pub(super) away_ms: u64,
    /// Who may have sent something for it to the old server, and will say when that was the last.
    pub(super) fences: Vec<NodeId>,
    /// When the room ends.
    pub(super) expires_at: u64,
}

/// About one room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// I hold it, and these members are mine. `answer` asks for the same back.
    Hold { entries: Vec<Entry>, expires_at: u64, answer: bool },
    /// I do not hold it.
    Release,
    /// Somebody came to me, or has other rights now.
    Joined(Entry),
    /// A member of mine says something new of itself.
    Changed(Entry),
    /// A member of mine left.
    Left { peer: PeerId, reason: Option<LeftReason> },
    /// For a member of yours.
    Relay {
        sender: PeerId,
        target: PeerId,
        manner: Manner,
        /// How often it was sent on, because the target had moved.
        hops: u8,
        #[serde(skip)]
        text: Text,
    },
    /// An answer of the broker's to a member of yours.
    Answer {
        target: PeerId,
        #[serde(skip)]
        text: Text,
    },
    /// This peer registers here; it has a place with you.
    Claim { peer: PeerId, identity: Subject, resume: Option<TokenHash> },
    /// It has no place here any more.
    Free { peer: PeerId },
    /// Its place is yours.
    Handover(Box<Handover>),
    /// A member of mine goes on there.
    Moved { peer: PeerId, to: NodeId },
    /// Whatever I sent you for this peer was before this; tell where it went.
    Fence { peer: PeerId, to: NodeId },
    /// Everything that this server sent for the peer by way of me was before this.
    Fenced { peer: PeerId, origin: NodeId },
}

impl Word {
    /// What it is worth when the queue is long.
    pub(super) fn worth(&self) -> Worth {
        match self {
            Self::Relay { .. } | Self::Answer { .. } => Worth::Peer,
            _ => Worth::Rooms,
        }
    }

    fn text(&self) -> Option<&Text> {
        match self {
            Self::Relay { text, .. } | Self::Answer { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl Message {
    pub(super) fn to_bytes(&self) -> Bytes {
        let head = serde_json::to_vec(self).expect("string keys and no failing fields");
        let text = match self {
            Self::Room { word, .. } => word.text().map_or("", Text::as_str),
            _ => "",
        };
        let mut bytes = BytesMut::with_capacity(4 + head.len() + text.len());
        bytes.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&head);
        bytes.put_slice(text.as_bytes());
        bytes.freeze()
    }

    /// Nothing where it is not a word of this version's.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (head, tail) = rest.split_at_checked(length)?;
        let mut message: Self = serde_json::from_slice(head).ok()?;
        if let Self::Room { word: Word::Relay { text, .. } | Word::Answer { text, .. }, .. } =
            &mut message
        {
            *text = Text::try_from(bytes.slice_ref(tail)).ok()?;
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_relayed_message_is_carried_as_the_bytes_it_came_in() {
        let message = Message::Room {
            room: RoomId::new("lab").expect("an id"),
            word: Word::Relay {
                sender: PeerId::new("ann").expect("an id"),
                target: PeerId::new("bob").expect("an id"),
                manner: Manner::Signal,
                hops: 0,
                text: Text::from("{\"sdp\":\"v=0\\r\\n\u{e4}\"}"),
            },
        };
        assert_eq!(Message::read(&message.to_bytes()), Some(message));
        let order = Message::Owner {
            room: RoomId::new("lab").expect("an id"),
            order: Order::Revoke { whom: Whom::Access(Access::Viewer) },
        };
        assert_eq!(Message::read(&order.to_bytes()), Some(order));
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_not_read_and_do_no_harm(bytes in any::<Vec<u8>>()) {
            prop_assert!(Message::read(&bytes.into()).is_none());
        }
    }
}
