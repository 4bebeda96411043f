//! What can go wrong on the link, in the caller's words.

use std::time::Duration;

use halyard_protocol::{
    limits::MAX_SIGNAL_BYTES,
    signal::{CloseCode, ErrorCode},
};

use crate::api::ApiError;

/// The link to the broker failed, or ended.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The address cannot be a broker's.
    #[error("{address} is not a server address; it looks like http://127.0.0.1:8080")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nothing answers there, or what answers speaks no WebSocket.
    #[error("cannot reach the server at {server}: {reason}")]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        reason: String,
    },
    /// The broker was reached but did not answer in time.
    #[error("the server at {server} did not answer in time ({what})")]
    TimedOut {
        /// Where.
        server: String,
        /// What was waited for.
        what: &'static str,
    },
    /// A fresh identity was needed and not to be had.
    #[error("cannot sign in: {0}")]
    SignIn(#[from] ApiError),
    /// The broker does not let this peer in, in its own words.
    #[error("{message}")]
    Refused {
        /// What kind.
        code: Option<ErrorCode>,
        /// For people.
        message: String,
        /// How long to wait before another try, where the broker said so.
        retry_after: Option<Duration>,
    },
    /// The socket closed before the answer came.
    #[error("the connection to the server was lost: {reason}")]
    Lost {
        /// Why.
        reason: String,
    },
    /// The same identity registered somewhere else, and that socket has the place now.
    #[error("this identity connected again from somewhere else, and took the place")]
    Replaced,
    /// The owner ended this peer's access.
    #[error("access to the room was revoked; ask its owner for a new link")]
    Revoked,
    /// The room is over.
    #[error("the room was closed ({reason})")]
    RoomClosed {
        /// `deleted` or `expired`.
        reason: String,
    },
    /// The message is larger than the broker takes; it was not sent.
    #[error("a message of {bytes} bytes is too large, at most {MAX_SIGNAL_BYTES} are accepted")]
    TooBig {
        /// How large.
        bytes: usize,
    },
    /// Too much waits to be sent; the broker is away, or slow. It was not sent.
    #[error("too many messages wait for the server")]
    QueueFull,
    /// The link has ended; why was told in its last event.
    #[error("the connection to the server has ended")]
    Ended,
}

impl SignalError {
    /// Whether trying again cannot help.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::Replaced
            | Self::Revoked
            | Self::RoomClosed { .. }
            | Self::TooBig { .. }
            | Self::Ended => true,
            Self::SignIn(error) => error.is_refusal(),
            Self::Refused { code, .. } => {
                !matches!(code, Some(ErrorCode::LimitExceeded | ErrorCode::Unavailable))
            }
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::QueueFull => false,
        }
    }

    /// How long to wait before another try, where the broker said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::SignIn(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the broker was reached and said no (and not: could not be reached).
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Replaced | Self::Revoked | Self::RoomClosed { .. } => true,
            Self::SignIn(error) => error.is_refusal(),
            _ => false,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> String {
        match self {
            Self::Address { .. } => "BAD_ADDRESS".into(),
            Self::Unreachable { .. } => "SERVER_UNREACHABLE".into(),
            Self::TimedOut { .. } => "SERVER_TIMED_OUT".into(),
            Self::SignIn(error) => error.code().to_owned(),
            Self::Refused { code, .. } => code
                .and_then(|code| serde_json::to_value(code).ok())
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_else(|| "REFUSED".into()),
            Self::Lost { .. } => "CONNECTION_LOST".into(),
            Self::Replaced => "REPLACED".into(),
            Self::Revoked => "REVOKED".into(),
            Self::RoomClosed { .. } => "ROOM_CLOSED".into(),
            Self::TooBig { .. } => "MESSAGE_TOO_BIG".into(),
            Self::QueueFull => "QUEUE_FULL".into(),
            Self::Ended => "ENDED".into(),
        }
    }

    /// What a close code means, where it means that trying again cannot help.
    pub(super) fn of_close(code: u16) -> Option<Self> {
        [
            (CloseCode::Replaced, Self::Replaced),
            (CloseCode::Revoked, Self::Revoked),
            (CloseCode::RoomClosed, Self::RoomClosed { reason: "by the server".into() }),
        ]
        .into_iter()
        .find_map(|(known, error)| (known.code() == code).then_some(error))
    }
}
