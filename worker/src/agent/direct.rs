//! Peers that come without a broker, by plain HTTP.

use halyard_protocol::{
    access::Access,
    ids::PeerId,
    signal::{Candidate, Grant},
};
use tokio::sync::oneshot;

/// What somebody asks over HTTP. The asker waits for the answer; the agent never waits for them.
#[derive(Debug)]
pub enum DirectAsk {
    /// An offer with all its candidates in it.
    Offer {
        /// The session description.
        sdp: String,
        /// The picture to show in its first place; the first one where not said.
        track: Option<String>,
        /// What it may do.
        access: Access,
        /// By the token that it showed; none on a trusted network.
        grant: Option<Grant>,
        /// The answer.
        reply: oneshot::Sender<Result<DirectAnswer, DirectRefused>>,
    },
    /// One more way to reach the asker.
    Candidate {
        /// Whose, as the answer named it. May be left out while there is only one.
        peer: Option<PeerId>,
        /// The candidate.
        candidate: Candidate,
        /// Whether it was taken.
        reply: oneshot::Sender<Result<(), DirectRefused>>,
    },
}

/// The answer to a direct offer.
#[derive(Debug, Clone)]
pub struct DirectAnswer {
    /// What the asker is called from now on.
    pub peer: PeerId,
    /// The session description, with all candidates in it.
    pub sdp: String,
}

/// Why a direct peer was not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectRefused {
    /// Too many peers, or too many offers: try again later.
    #[error("{0}")]
    Busy(String),
    /// The offer cannot be answered.
    #[error("{0}")]
    BadOffer(String),
    /// The candidate is nobody's.
    #[error("{0}")]
    NoSuchPeer(String),
}
