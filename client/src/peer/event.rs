//! What a peer reports.

use std::{fmt, time::Duration};

use bytes::Bytes;
use halyard_protocol::{channel::Lane, signal::Candidate};

/// Something happened. File bytes come by [`recv_bulk`](super::Peer::recv_bulk), pictures by
/// [`next_frame`](super::Peer::next_frame).
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// Tell the other end about this candidate. One with an empty line means: that was all.
    LocalCandidate(Candidate),
    /// The connection changed its state.
    State(PeerState),
    /// This lane can be used now. What was sent on it before is on its way.
    LaneOpen(Lane),
    /// This lane is gone, with everything still in it.
    LaneClosed(Lane),
    /// A text frame came in on this lane: decode it with
    /// [`Message::decode`](halyard_protocol::channel::Message::decode).
    Text(Lane, String),
    /// An existing client opened its one channel, of this label.
    LegacyOpen(String),
    /// It said something.
    LegacyText(String),
    /// It sent bytes of a file. `KEEP_ALIVE` never shows up here.
    LegacyBinary(Bytes),
    /// Its channel is gone.
    LegacyClosed,
    /// The viewer lost the picture in this place, counted from 0 (PLI or FIR): the next one should be a
    /// key frame.
    KeyframeRequested(usize),
}

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Nothing has been agreed yet.
    New,
    /// Addresses and keys are being tried.
    Connecting,
    /// It works.
    Connected,
    /// Nothing has been heard for a while. It may recover by itself; an ICE restart helps.
    Disconnected {
        /// How long ago the last packet came in, where known.
        silent_for: Option<Duration>,
    },
    /// It will not recover by itself; an ICE restart or a new peer may.
    Failed {
        /// How long ago the last packet came in, where known.
        silent_for: Option<Duration>,
    },
    /// One of both ends closed it. Always the last state.
    Closed,
}

impl PeerState {
    /// Whether messages get through right now.
    pub fn is_connected(self) -> bool {
        self == Self::Connected
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected { .. } => "disconnected",
            Self::Failed { .. } => "failed",
            Self::Closed => "closed",
        })
    }
}
