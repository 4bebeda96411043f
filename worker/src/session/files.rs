//! Files between the worker and one peer.

use std::{sync::Arc, time::Duration};

use halyard_client::{
    peer::Peer,
    transfer::{Serving, Transfer, Transfers},
};
use halyard_protocol::{
    channel::{FilesInfo, Message},
    ids::PeerId,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Start, hello::NO_FILES};

/// How long files may take to be closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The transfers of one peer.
pub(super) struct Files {
    peer: PeerId,
    transfers: Transfers,
    started: mpsc::Receiver<Transfer>,
    bulk: AbortOnDropHandle<()>,
}

impl Files {
    pub(super) fn new(start: &Start, peer: &Peer) -> Self {
        let (transfers, started) = Transfers::new(Arc::new(peer.clone()), serving(start));
        let bulk = carry_bulk(peer.clone(), transfers.clone());
        let bulk = AbortOnDropHandle::new(tokio::spawn(bulk));
        Self { peer: start.asker.peer.clone(), transfers, started, bulk }
    }

    /// What the peer may do with files.
    pub(super) fn info(&self) -> FilesInfo {
        self.transfers.info()
    }

    /// Takes what is about files, and gives everything else back.
    pub(super) fn message(&self, message: Message) -> Option<Message> {
        self.transfers.message(message)
    }

    /// Tells the log of the next transfer that begins. Cancel safe.
    pub(super) async fn log_next(&mut self) {
        match self.started.recv().await {
            Some(transfer) => tracing::info!(
                peer = %self.peer, file = %transfer.name(), direction = ?transfer.direction(), "transfer"
            ),
            None => std::future::pending().await,
        }
    }

    /// No more bytes are taken.
    pub(super) fn end(&self) {
        self.bulk.abort();
    }

    /// Closes what is open, so that a transfer can go on later.
    pub(super) async fn close(&self) {
        if tokio::time::timeout(CLOSE_WITHIN, self.transfers.close()).await.is_err() {
            tracing::warn!(peer = %self.peer, "files of a session are still open");
        }
    }
}

/// What the peer may do with the files, and who pays for it.
pub(super) fn serving(start: &Start) -> Serving {
    let Some(root) = &start.shared.files else { return Serving::nothing(NO_FILES) };
    let asker = &start.asker;
    let serving = Serving::folder(Arc::new(root.clone()), &asker.peer, asker.access);
    match &start.grant {
        Some(grant) => serving.held_by(grant.holder()),
        None => serving,
    }
}

/// File bytes have a task of their own: it may wait for the disk, the session may not.
async fn carry_bulk(peer: Peer, transfers: Transfers) {
    while let Some(chunk) = peer.recv_bulk().await {
        transfers.chunk(chunk).await;
    }
}
