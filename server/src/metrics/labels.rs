//! Labels, each with few values, all of them words of this program.

use halyard_protocol::{access::PeerRole, signal::ErrorCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// What the broker needs of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Where rooms are kept.
    Store,
    /// Who says who somebody is.
    Identity,
    /// How nodes talk to each other.
    Bus,
}

impl Backend {
    /// The word for it, in metrics, answers and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Identity => "identity",
            Self::Bus => "bus",
        }
    }
}

/// Where somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interface {
    /// A message on a WebSocket.
    Socket,
    /// A call over HTTP.
    Rest,
}

impl Interface {
    fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Rest => "rest",
        }
    }
}

/// Peers that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKind {
    /// What they are for.
    pub role: PeerRole,
    /// Whether they have a socket now, or a place that is kept for their return.
    pub here: bool,
}

impl PeerKind {
    /// All kinds there are.
    pub const ALL: [Self; 6] = [
        Self { role: PeerRole::Worker, here: true },
        Self { role: PeerRole::Worker, here: false },
        Self { role: PeerRole::Client, here: true },
        Self { role: PeerRole::Client, here: false },
        Self { role: PeerRole::Peer, here: true },
        Self { role: PeerRole::Peer, here: false },
    ];

    pub(super) fn label(self) -> PeerLabel {
        PeerLabel {
            role: match self.role {
                PeerRole::Worker => "worker",
                PeerRole::Client => "client",
                PeerRole::Peer => "peer",
            },
            state: if self.here { "here" } else { "away" },
        }
    }
}

macro_rules! label_value {
    ($($type:ty),*) => {$(
        impl EncodeLabelValue for $type {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                self.word().encode(encoder)
            }
        }
    )*};
}
label_value!(Backend, Interface);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    pub(super) interface: Interface,
    pub(super) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabel {
    pub(super) limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Close {
    pub(super) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpCall {
    pub(super) method: &'static str,
    pub(super) route: String,
    pub(super) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Call {
    pub(super) backend: Backend,
    pub(super) operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BackendLabel {
    pub(super) backend: Backend,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabel {
    pub(super) role: &'static str,
    pub(super) state: &'static str,
}

/// The word on the wire.
pub(super) fn error_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidJson => "INVALID_JSON",
        ErrorCode::UnknownMessageType => "UNKNOWN_MESSAGE_TYPE",
        ErrorCode::InvalidMessage => "INVALID_MESSAGE",
        ErrorCode::NotInRoom => "NOT_IN_ROOM",
        ErrorCode::RoomNotFound => "ROOM_NOT_FOUND",
        ErrorCode::RoomExpired => "ROOM_EXPIRED",
        ErrorCode::InvalidToken => "INVALID_TOKEN",
        ErrorCode::InvalidIdentity => "INVALID_IDENTITY",
        ErrorCode::PeerIdTaken => "PEER_ID_TAKEN",
        ErrorCode::PeerNotFound => "PEER_NOT_FOUND",
        ErrorCode::PeerNotInRoom => "PEER_NOT_IN_ROOM",
        ErrorCode::DeliveryFailed => "DELIVERY_FAILED",
        ErrorCode::Forbidden => "FORBIDDEN",
        ErrorCode::LimitExceeded => "LIMIT_EXCEEDED",
        ErrorCode::Unavailable => "UNAVAILABLE",
        ErrorCode::Other => "OTHER",
    }
}
