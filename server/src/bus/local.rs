//! A server by itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{Bus, Listener, NodeId, NotSent, Worth};

/// There is nobody else.
#[derive(Debug)]
pub struct LocalBus {
    node: NodeId,
}

impl Default for LocalBus {
    fn default() -> Self {
        Self { node: NodeId::random() }
    }
}

#[async_trait]
impl Bus for LocalBus {
    fn node(&self) -> NodeId {
        self.node
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn send(&self, _to: NodeId, _message: Bytes, _worth: Worth) -> Result<(), NotSent> {
        Err(NotSent)
    }

    fn refuge(&self) -> Option<(NodeId, Option<String>)> {
        None
    }

    fn drain(&self) {}

    async fn settled(&self) {}

    async fn flushed(&self) {}

    async fn run(&self, _listener: Arc<dyn Listener>, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
