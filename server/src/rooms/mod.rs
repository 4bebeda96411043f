//! Who is here, and what goes to whom.
//!
//! * [`Room`] is the logic: it is told who joins, what is said and what time it is, and puts what
//!   follows into mailboxes. It has no socket, clock or task, so every rule is tested by itself.
//! * [`Said`] is what a peer's frame means to a room; it is read before the room is entered.
//! * [`Outbox`] is a socket's mailbox: bounded, and never waited for.
//! * [`Departures`] knows who has left the last room for good.
//! * [`Hall`] owns the rooms. Each is behind a lock of its own that is held for a few microseconds
//!   and never across an `await`: a relayed message wakes its target's task and no other, which a
//!   task per room would double.

mod departures;
mod elsewhere;
mod hall;
mod join;
mod member;
mod moving;
mod others;
mod outbox;
mod refusal;
mod room;
mod said;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use self::refusal::echo;
pub use self::{
    departures::{Departures, Presence},
    hall::{Hall, LiveRoom, NotIn, Seat},
    join::Join,
    member::SessionId,
    others::Opened,
    outbox::{Batch, Mailbox, NotTaken, Outbox, RELAY_SAMPLE},
    refusal::Refusal,
    room::{Room, RoomLimits},
    said::{Said, unregistered},
    words::Whom,
};

/// A frame's text. Cloning it copies no bytes.
pub type Text = tokio_tungstenite::tungstenite::Utf8Bytes;
