//! How servers of the same rooms talk to each other.
//!
//! [`Bus`] is all that the rooms need of it: who else is there, and a link to each of them over
//! which messages arrive once and in order, or come back. What arrives is told to a [`Listener`].
//! [`LocalBus`] is for a server by itself and costs nothing; [`NatsBus`] speaks over NATS.
//!
//! * `link`: the order and the certainty of one direction between two servers, as pure logic.
//! * `packet`: what travels. `cluster`: heartbeats and links of one server, as pure logic.
//! * `nats`: the sockets and the clock.

#[cfg(feature = "nats")]
mod cluster;
#[cfg(feature = "nats")]
mod link;
mod local;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod packet;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::local::LocalBus;
#[cfg(feature = "nats")]
pub use self::nats::{NatsBus, NatsError};

/// One run of one server. A server that starts again is another node: nothing that was said to its
/// earlier run can be mistaken for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(u64);

impl NodeId {
    /// A new name, which no other node has: 64 random bits.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The name as a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The name with this number.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a message is worth when the queue to its node is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It belongs to one peer, who is told when it cannot be sent.
    Peer,
    /// The rooms of both nodes agree because of it: it has room where peers' messages have none
    /// left, and when even that is used up the link starts again with everything told anew.
    Rooms,
}

/// A message was not taken: the node is gone, or the queue to it is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message to another server was not taken")]
pub struct NotSent;

/// Other servers of the same rooms.
///
/// What was sent to a node arrives there once and in the order of sending, or is handed back to
/// [`Listener::undelivered`] (where it may have arrived all the same: only its acknowledgement is
/// known to be missing). Nothing here waits, so it may be called with a room locked.
#[async_trait]
pub trait Bus: Send + Sync + fmt::Debug {
    /// This server.
    fn node(&self) -> NodeId;

    /// Whether there can be other servers at all.
    fn is_shared(&self) -> bool;

    /// Whether others can be reached now. Rooms go on without.
    fn is_connected(&self) -> bool;

    /// The other servers that are alive.
    fn nodes(&self) -> Vec<NodeId>;

    /// Hands over a message.
    fn send(&self, to: NodeId, message: Bytes, worth: Worth) -> Result<(), NotSent>;

    /// Another server that peers may go to, and where it is reached if it says so. They take turns.
    fn refuge(&self) -> Option<(NodeId, Option<String>)>;

    /// Says that this server is about to stop, so that nobody is sent here.
    fn drain(&self);

    /// Waits until the others are known, for as long as that may take at a start.
    async fn settled(&self);

    /// Waits until everything that was sent has arrived.
    async fn flushed(&self);

    /// Carries messages until `stop` fires, and says goodbye to the others.
    async fn run(&self, listener: Arc<dyn Listener>, stop: CancellationToken);
}

/// Who is told what comes over the bus. Calls come one at a time, in the order of what happened.
pub trait Listener: Send + Sync {
    /// A link to this node begins: it knows nothing of what was sent before.
    fn up(&self, node: NodeId);

    /// This node is gone, with everybody on it.
    fn down(&self, node: NodeId);

    /// This node says something.
    fn heard(&self, from: NodeId, message: Bytes);

    /// This was sent to a node, and nobody knows whether it arrived.
    fn undelivered(&self, to: NodeId, message: Bytes);

    /// This server was cut off from the others and no longer is. What was said to everybody
    /// meanwhile may have been missed.
    fn back(&self);
}
