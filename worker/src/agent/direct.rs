//! Peers that come without a broker, by plain HTTP.

use halyard_protocol::{
    access::Access,
    ids::PeerId,
    signal::{Candidate, Grant, IceServer},
};
use tokio::sync::oneshot;

use crate::whep::{Fragment, Offer, PatchError};

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
    /// A WHEP player's offer. It is a viewer whatever it may do otherwise: nothing that it says is
    /// heard.
    Watch {
        /// The offer.
        offer: Offer,
        /// Which picture, by a name that there is; the first where not said.
        track: Option<String>,
        /// What its token allows. Later requests have to come with the same.
        access: Access,
        /// By the token that it showed; none on a trusted network.
        grant: Option<Grant>,
        /// The answer.
        reply: oneshot::Sender<Result<Watched, DirectRefused>>,
    },
    /// A WHEP player's candidates, or its ICE restart.
    Patch {
        /// Which session.
        session: PeerId,
        /// What the token of this request allows.
        access: Access,
        /// The header, if there is one.
        if_match: Option<String>,
        /// What it says.
        fragment: Fragment,
        /// Nothing for candidates, the answer for a restart.
        reply: oneshot::Sender<Result<Option<Watched>, DirectRefused>>,
    },
    /// A WHEP player leaves.
    Leave {
        /// Which session.
        session: PeerId,
        /// What the token of this request allows.
        access: Access,
        /// Whether there was such a session.
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

/// The answer to a WHEP player.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What its session is called from now on.
    pub session: PeerId,
    /// The entity tag of the ICE session, quotes included.
    pub etag: String,
    /// The session description, with all candidates in it.
    pub sdp: String,
    /// STUN and TURN servers that it may use.
    pub ice_servers: Vec<IceServer>,
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
    /// The session is over, or it never was, or it is somebody else's.
    #[error("there is no such session any more; begin a new one with POST /whep")]
    NoSuchSession,
    /// The fragment is not for the session as it is.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// There is nothing to watch.
    #[error("this worker shows no picture (--video none)")]
    NoPicture,
    /// The owner turned WebRTC off.
    #[error("{WEBRTC_OFF}")]
    WebrtcOff,
}

/// What everybody is told who offers a connection to a worker without WebRTC.
pub const WEBRTC_OFF: &str = "WebRTC is turned off on this worker (webrtc = false); where it is reached \
                              over HTTP, GET /mjpeg and GET /snapshot.jpg show the picture";
