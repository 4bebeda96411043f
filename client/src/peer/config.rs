//! What a peer is asked to be.

use std::time::Duration;

use halyard_protocol::signal::IceServer;

use super::threads::PeerThreads;

/// Most pictures at a time on one connection: one large and a few small ones.
pub const MAX_PLACES: usize = 4;

/// How long an SDP is held back for candidates. Host candidates are there within a millisecond;
/// a STUN answer takes a round trip. What comes later is trickled.
pub const DEFAULT_GATHER_WAIT: Duration = Duration::from_millis(150);

/// Everything a peer needs to know before it starts.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// STUN and TURN servers, as the broker told them. None are needed on one network.
    pub ice_servers: Vec<IceServer>,
    /// Whether a picture is sent, received, or neither.
    pub video: VideoRole,
    /// Whether sound is sent, received, both, or neither.
    pub audio: AudioRole,
    /// With [`VideoRole::Send`]: how many pictures at a time, from 1 to [`MAX_PLACES`]. The viewer gets
    /// as many as it asks for, the first ones first.
    pub places: usize,
    /// How long [`create_offer`](super::Peer::create_offer) and
    /// [`accept_offer`](super::Peer::accept_offer) wait for gathering to end before they hand out
    /// an SDP with the candidates found so far. An end that does not trickle sees only those, so
    /// with such ends give it a STUN server's round trip or two.
    pub gather_wait: Duration,
    /// Only relayed candidates: for networks where nothing else may be used.
    pub relay_only: bool,
    /// The threads to live on. `None` gives the peer a thread of its own, which is right for a
    /// program with one connection; a worker shares a few among all of its peers.
    pub threads: Option<PeerThreads>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            video: VideoRole::default(),
            audio: AudioRole::default(),
            places: 1,
            gather_wait: DEFAULT_GATHER_WAIT,
            relay_only: false,
            threads: None,
        }
    }
}

/// What happens to video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VideoRole {
    /// No video is asked for; a video section in an offer is answered as inactive.
    #[default]
    None,
    /// One H.264 picture is received: see [`Peer::next_frame`](super::Peer::next_frame).
    Receive,
    /// H.264 pictures are sent, as far as the other end asks for them: see
    /// [`Peer::video`](super::Peer::video).
    Send,
}

/// What happens to sound. It is Opus, and goes as far as the other end agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AudioRole {
    /// See [`Peer::audio`](super::Peer::audio).
    pub sends: bool,
    /// See [`Peer::next_sound`](super::Peer::next_sound).
    pub receives: bool,
}

impl AudioRole {
    /// Whether there is sound at all.
    pub fn is_any(self) -> bool {
        self.sends || self.receives
    }
}
