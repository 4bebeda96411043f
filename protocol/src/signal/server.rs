//! What the broker says to a peer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Candidate, CloseCode, ErrorCode, Grant, IceServer, Metadata};
use crate::{
    access::{Access, PeerRole},
    ids::{PeerId, RoomId},
    token::Token,
};

/// The answer to a `register` that was accepted: everything known about the room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    /// The room entered.
    pub room_id: RoomId,
    /// What was sent, echoed (existing clients read it).
    pub token: Option<Token>,
    /// The name the peer goes by.
    pub peer_id: PeerId,
    /// The coordinating worker of the original's mesh, if there is one.
    pub admin_peer_id: Option<PeerId>,
    /// Everybody else in the room.
    pub peer_list: Vec<PeerId>,
    /// What they say of themselves.
    pub peer_metadata: BTreeMap<PeerId, Metadata>,
    /// STUN and TURN for connections between clients and workers.
    pub ice_servers: Vec<IceServer>,
    /// STUN and TURN for connections between workers.
    pub mesh_ice_servers: Vec<IceServer>,
    /// What the peer may do in this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Access>,
    /// Everybody else with role and access, in the order in which they came.
    #[serde(default)]
    pub peers: Vec<PeerInfo>,
    /// Takes up this place again on a new socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<Token>,
    /// Whether this is an old place taken up again; what was missed follows.
    #[serde(default)]
    pub resumed: bool,
    /// When the room ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the broker.
    #[serde(default)]
    pub protocol: u32,
}

/// One peer, seen by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its name.
    pub peer_id: PeerId,
    /// Its part.
    #[serde(default)]
    pub role: PeerRole,
    /// Its rights, as the broker checked them. An older broker says nothing: then it is a viewer.
    #[serde(default = "least_access")]
    pub access: Access,
    /// What it says of itself.
    #[serde(default)]
    pub metadata: Metadata,
    /// When it came, in seconds since 1970.
    #[serde(default)]
    pub connected_at: f64,
    /// By what right it is here. An older broker says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// Why a peer is not in the room any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// Its rights were taken back.
    Revoked,
    /// The room's owner, or the peer itself, had it removed.
    Removed,
    /// It did not come back in time.
    Lost,
    /// It did not read what it was told.
    TooSlow,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

fn least_access() -> Access {
    Access::Viewer
}

/// A refusal. `reason` repeats `message`, because existing clients read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerError {
    /// What kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The same text.
    #[serde(default)]
    pub reason: String,
    /// The peer that could not be reached, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PeerId>,
    /// Seconds to wait before trying again, where waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl ServerError {
    /// A refusal with its words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code: Some(code), reason: message.clone(), message, target: None, retry_after: None }
    }

    /// Names the peer it is about.
    #[must_use]
    pub fn about(mut self, target: PeerId) -> Self {
        self.target = Some(target);
        self
    }
}

/// Everything the broker says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// You are in.
    RegisteredAuth(Box<Registered>),
    /// You asked to coordinate, but somebody does already. Comes before `registered_auth`.
    AdminConflict {
        /// The room.
        room_id: RoomId,
        /// Who does.
        current_admin: PeerId,
    },
    /// A connection is offered.
    Offer {
        /// By whom, stamped by the broker.
        sender: PeerId,
        /// The session description.
        sdp: String,
    },
    /// An offer is answered.
    Answer {
        /// By whom, stamped by the broker.
        sender: PeerId,
        /// The session description.
        sdp: String,
    },
    /// One more way to reach a peer.
    Candidate {
        /// Whom, stamped by the broker.
        sender: PeerId,
        /// The candidate.
        candidate: Candidate,
    },
    /// Somebody came.
    PeerJoined(PeerInfo),
    /// Somebody left for good (not: lost the socket and may still resume).
    PeerLeft {
        /// Who.
        peer_id: PeerId,
        /// Why, where the broker had a part in it. An older broker says nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LeftReason>,
    },
    /// The answer to `discover_peers`.
    PeerList {
        /// Whose question it answers.
        to_peer_id: PeerId,
        /// How many.
        count: usize,
        /// Who.
        peers: Vec<PeerInfo>,
    },
    /// Somebody says something new of itself.
    MetadataUpdated {
        /// Who.
        peer_id: PeerId,
        /// The whole metadata, merged.
        metadata: Metadata,
    },
    /// Something from another peer, through the broker.
    PeerMessage {
        /// From whom, stamped by the broker.
        from_peer_id: PeerId,
        /// For whom.
        to_peer_id: PeerId,
        /// What.
        payload: Value,
    },
    /// Rights in this room were taken back or changed: whoever serves peers asks at once which of
    /// them still have theirs. Only a hint; the grants are asked for again and again without it.
    RightsChanged {},
    /// The answer to `confirm_rights`.
    RightsConfirmed {
        /// Of the question.
        #[serde(default)]
        seq: u64,
        /// Those of the question that still hold. The others do not.
        grants: Vec<Grant>,
        /// Seconds from the question for which nobody needs to ask again.
        valid_for: u64,
    },
    /// New STUN and TURN servers, before the credentials told last run out. For connections from
    /// now on, and for ICE restarts of those that are.
    IceServers {
        /// Between clients and workers.
        ice_servers: Vec<IceServer>,
        /// Between workers.
        mesh_ice_servers: Vec<IceServer>,
        /// When the credentials in it end, in seconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// The room is over; the socket is closed after this.
    RoomClosed {
        /// Why: `deleted` or `expired`.
        reason: String,
    },
    /// The broker is about to stop; come back to it, or to another node.
    Draining {
        /// Where to, if not here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_to: Option<String>,
    },
    /// Are you there? Existing workers want one every 90 s at least.
    Ping,
    /// Answers a `ping`.
    Pong,
    /// Refused; the connection stays open.
    Error(ServerError),
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ServerMessage {
    /// The frame's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("messages have string keys and no failing fields")
    }

    /// What to tell a peer before its socket is closed with this code, if anything.
    pub fn before_close(code: CloseCode) -> Option<Self> {
        match code {
            CloseCode::GoingAway => Some(Self::Draining { reconnect_to: None }),
            CloseCode::RoomClosed => Some(Self::RoomClosed { reason: "deleted".into() }),
            _ => None,
        }
    }
}
