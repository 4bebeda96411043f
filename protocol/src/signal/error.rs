//! Refusals: a closed set of public codes.

use serde::{Deserialize, Serialize};

/// Why the broker refused a message. The word on the wire is stable; the message beside it is for
/// people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The frame is not a JSON object.
    InvalidJson,
    /// The `type` is not known here.
    UnknownMessageType,
    /// A field is missing or has the wrong shape.
    InvalidMessage,
    /// The first message must be `register`.
    NotInRoom,
    /// There is no such room, or it has expired and is gone.
    RoomNotFound,
    /// The room's time is over.
    RoomExpired,
    /// The room token is wrong.
    InvalidToken,
    /// The identity token is missing, wrong or expired.
    InvalidIdentity,
    /// The name is taken by another identity.
    PeerIdTaken,
    /// Nobody of that name is in the room.
    PeerNotFound,
    /// The target is not in the sender's room (the original's word for peer messages).
    PeerNotInRoom,
    /// The target is there but its outbox is full.
    DeliveryFailed,
    /// The peer's rights do not cover this.
    Forbidden,
    /// A limit was reached; try again later.
    LimitExceeded,
    /// A backend of the broker does not answer.
    Unavailable,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

/// Why the broker closed a socket, as a WebSocket close code (RFC 6455 section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the peer left, or the room closed.
    Normal,
    /// 1001: the broker is going away; come back.
    GoingAway,
    /// 1003: a binary frame; signaling is text.
    Unsupported,
    /// 1007: text that is not UTF-8.
    InvalidUtf8,
    /// 1009: a frame above [`MAX_SIGNAL_BYTES`](crate::limits::MAX_SIGNAL_BYTES).
    TooBig,
    /// 1011: something failed inside the broker.
    Internal,
    /// 4000: the same peer came back on another socket.
    Replaced,
    /// 4001: nothing was heard for two ping intervals, or no `register` came in time.
    TimedOut,
    /// 4002: the peer read too slowly and its outbox filled.
    SlowConsumer,
    /// 4003: the peer's rights were revoked.
    Revoked,
    /// 4004: the room was closed or expired.
    RoomClosed,
    /// 4005: the peer went on talking faster than it may after it was told. It may come back, and
    /// should talk less.
    TooFast,
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Unsupported => 1003,
            Self::InvalidUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Replaced => 4000,
            Self::TimedOut => 4001,
            Self::SlowConsumer => 4002,
            Self::Revoked => 4003,
            Self::RoomClosed => 4004,
            Self::TooFast => 4005,
        }
    }

    /// The reason beside it, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "goodbye",
            Self::GoingAway => "the server is going away, come back",
            Self::Unsupported => "signaling is text, binary frames are not accepted",
            Self::InvalidUtf8 => "the text is not UTF-8",
            Self::TooBig => "the frame is larger than is accepted",
            Self::Internal => "internal error",
            Self::Replaced => "the same peer connected again",
            Self::TimedOut => "nothing was heard for too long",
            Self::SlowConsumer => "messages were not read fast enough",
            Self::Revoked => "access was revoked",
            Self::RoomClosed => "the room was closed",
            Self::TooFast => "too much came in too short a time",
        }
    }
}
