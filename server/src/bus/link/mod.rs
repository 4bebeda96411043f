//! One direction between two servers: what is handed to [`Outgoing`] comes out of the other's
//! [`Incoming`] once and in order, whatever the network between them loses, repeats or reorders.
//!
//! Core NATS keeps order and loses only when a connection breaks, so this is the plainest thing
//! that mends that: pieces are numbered, the receiver takes only the next one and says which it
//! waits for, and the sender goes back to it when it hears nothing for a while. After such a
//! silence one piece is sent to find out whether anybody is there before the rest follows.

mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

pub(super) use self::{
    incoming::{Incoming, Taken},
    outgoing::Outgoing,
};

/// Largest piece in bytes: well below the megabyte that NATS takes by default.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// Largest message in bytes that is put together again: a place that is handed over may have an
/// outbox and a kept queue of a megabyte each, escaped.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
