//! What a peer says to the broker.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Candidate, Filters, Grant, Metadata};
use crate::{
    access::PeerRole,
    ids::{PeerId, RoomId},
    token::Token,
};

/// The first message on every socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Register {
    /// The name to go by; existing clients use the user name of their sign-in.
    pub peer_id: PeerId,
    /// The room to enter.
    pub room_id: RoomId,
    /// The room's operator or viewer token. The owner may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The identity token of `POST /anonymous-signin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Token>,
    /// Worker or client.
    #[serde(default)]
    pub role: PeerRole,
    /// What others may find it by.
    #[serde(default)]
    pub metadata: Metadata,
    /// The original's wish to coordinate the room's workers; the first one wins.
    #[serde(default)]
    pub is_admin: bool,
    /// The `resume_token` of an earlier `registered_auth`: takes up the old place, and what was
    /// said meanwhile follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<Token>,
}

/// Everything a peer of ours says to the broker. The broker itself reads relayed messages through
/// [`Envelope`](super::Envelope) and never needs their payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Enter a room.
    Register(Register),
    /// Offer a connection.
    Offer {
        /// For whom.
        target: PeerId,
        /// The session description as text.
        sdp: String,
    },
    /// Answer an offer.
    Answer {
        /// For whom.
        target: PeerId,
        /// The session description as text.
        sdp: String,
    },
    /// One more way to reach the sender.
    Candidate {
        /// For whom.
        target: PeerId,
        /// The candidate.
        candidate: Candidate,
    },
    /// Who is here?
    DiscoverPeers {
        /// Whom to look for.
        #[serde(default)]
        filters: Filters,
    },
    /// Changes what others may find the sender by.
    UpdateMetadata {
        /// What to merge into the stored metadata.
        metadata: Metadata,
    },
    /// Anything else for another peer, through the broker.
    PeerMessage {
        /// For whom.
        to_peer_id: PeerId,
        /// What.
        payload: Value,
    },
    /// An offer is refused, in the words of the original's workers, which its clients read.
    #[serde(rename = "error")]
    OfferRefused {
        /// Whose offer it was.
        target: PeerId,
        /// `worker_busy`, for example.
        reason: String,
        /// For people.
        message: String,
        /// The worker's status: `available`, `reserved`, `busy` or `maintenance`.
        current_status: String,
    },
    /// Do these peers still have their rights? For workers and operators; answered with
    /// `rights_confirmed`.
    ConfirmRights {
        /// Comes back in the answer.
        #[serde(default)]
        seq: u64,
        /// As they were told with the peers, at most
        /// [`MAX_GRANTS`](crate::limits::MAX_GRANTS).
        grants: Vec<Grant>,
    },
    /// Are you there? Answered with `pong`.
    Ping,
    /// Answers the broker's `ping`.
    Pong,
    /// Goodbye: the place is given up at once.
    Leave,
}
