//! What can go wrong with a peer, in its user's words.

use halyard_protocol::channel::Lane;

/// Why a peer could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Sockets, threads or the cryptography could not be set up on this machine.
    #[error("the peer connection could not be started: {0}")]
    Start(String),
    /// The description from the other end cannot be used. It is at fault, not this end.
    #[error("the other end's {kind} cannot be used: {reason}")]
    BadDescription {
        /// `offer` or `answer`.
        kind: &'static str,
        /// What was wrong with it.
        reason: String,
    },
    /// This end could not make its own description, or not in this state (an answer to nothing).
    #[error("no {kind} could be made: {reason}")]
    Describe {
        /// `offer` or `answer`.
        kind: &'static str,
        /// Why not.
        reason: String,
    },
    /// STUN or TURN servers that cannot be used. Those given before still are.
    #[error("these STUN and TURN servers cannot be used: {0}")]
    Servers(String),
    /// A candidate from the other end cannot be used. Others still may.
    #[error("a candidate of the other end cannot be used: {0}")]
    BadCandidate(String),
    /// The connection, or the lane, is closed. Connect again.
    #[error("the peer connection is closed")]
    Closed,
    /// The message is larger than every end accepts. Send less at a time.
    #[error("a message of {bytes} bytes is too large for a channel, at most {max} are accepted")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// Bytes accepted.
        max: usize,
    },
    /// `try_send_lossy` was asked to lose a message of a reliable lane. Use `send`.
    #[error("the lane {0} is reliable, send on it with `send`")]
    Reliable(Lane),
    /// Something was sent to an existing client, but none is connected.
    #[error("the other end has not opened a channel of its own")]
    NoLegacyChannel,
    /// The channel could not take it, for a reason that only the log can explain.
    #[error("sending failed: {0}")]
    Send(String),
}
