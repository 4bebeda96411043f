//! One connection to the worker, and the files that go over it.

use std::{sync::Arc, time::Instant};

use halyard_protocol::ids::PeerId;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    peer::{Peer, PeerEvent, PeerState},
    session::recovery::Generation,
    transfer::{Serving, Transfers},
};

/// A connection that is being made, or is up.
pub(super) struct Connection {
    pub(super) generation: Generation,
    pub(super) worker: PeerId,
    pub(super) peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
    /// The newest report's number: older ones that arrive later are left out.
    pub(super) newest: Option<u64>,
    /// When the round trip was last measured.
    pub(super) measured: Option<Instant>,
    /// How far it came, for people.
    pub(super) state: PeerState,
    /// Everything about files on it.
    pub(super) transfers: Transfers,
    /// Brings what comes on `bulk` to the transfers.
    bulk: AbortOnDropHandle<()>,
}

impl Connection {
    /// Not up yet, and not even offered.
    pub(super) fn new(
        generation: Generation,
        worker: PeerId,
        peer: Peer,
        events: mpsc::Receiver<PeerEvent>,
    ) -> Self {
        let serving = Serving::nothing("this end is a client and shares no folder");
        // Nobody can start a transfer here, so there is nothing to look at.
        let (transfers, _) = Transfers::new(Arc::new(peer.clone()), serving);
        let bulk = AbortOnDropHandle::new(tokio::spawn(bring(peer.clone(), transfers.clone())));
        Self {
            generation,
            worker,
            peer,
            events,
            newest: None,
            measured: None,
            state: PeerState::New,
            transfers,
            bulk,
        }
    }

    /// What happens next; never without a connection.
    pub(super) async fn next(connection: &mut Option<Self>) -> Option<PeerEvent> {
        match connection {
            Some(connection) => connection.events.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the transfers, so that their unfinished files stay, and closes.
    pub(super) async fn close(self) {
        self.transfers.close().await;
        drop(self.bulk);
        self.peer.close().await;
    }
}

/// Brings file bytes to the transfers; waits when they do.
async fn bring(peer: Peer, transfers: Transfers) {
    while let Some(bytes) = peer.recv_bulk().await {
        transfers.chunk(bytes).await;
    }
}
