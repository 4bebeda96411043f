//! What transfers need of a connection.

use async_trait::async_trait;
use bytes::Bytes;
use halyard_protocol::channel::{Lane, Message};

use crate::peer::Peer;

/// The connection is gone. Nothing more will get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct WireClosed;

/// The way to the other end. Waiting for room is the backpressure; dropping a future that waits is
/// how a transfer is called off.
#[async_trait]
pub trait Wire: Send + Sync + 'static {
    /// Says something on `control`, and waits for room there.
    async fn control(&self, message: Message) -> Result<(), WireClosed>;

    /// Sends one encoded chunk on `bulk`, and waits for room there.
    async fn chunk(&self, chunk: Bytes) -> Result<(), WireClosed>;
}

/// The way to an existing client: one channel for everything.
#[async_trait]
pub trait LegacyWire: Send + Sync {
    /// Sends a text frame, and waits for room.
    async fn text(&self, text: String) -> Result<(), WireClosed>;

    /// Sends a binary frame, and waits for room.
    async fn binary(&self, bytes: Bytes) -> Result<(), WireClosed>;
}

#[async_trait]
impl Wire for Peer {
    async fn control(&self, message: Message) -> Result<(), WireClosed> {
        let sent = self.send(Lane::Control, &message).await;
        sent.map_err(|error| closed("control", &error))
    }

    async fn chunk(&self, chunk: Bytes) -> Result<(), WireClosed> {
        self.send_chunk(chunk).await.map_err(|error| closed("bulk", &error))
    }
}

#[async_trait]
impl LegacyWire for Peer {
    async fn text(&self, text: String) -> Result<(), WireClosed> {
        self.send_legacy_text(text).await.map_err(|error| closed("legacy", &error))
    }

    async fn binary(&self, bytes: Bytes) -> Result<(), WireClosed> {
        self.send_legacy_binary(bytes).await.map_err(|error| closed("legacy", &error))
    }
}

/// To a transfer all of them mean the same: this connection takes nothing more.
fn closed(lane: &'static str, error: &dyn std::fmt::Display) -> WireClosed {
    tracing::debug!(lane, %error, "a message about a file could not be sent");
    WireClosed
}
