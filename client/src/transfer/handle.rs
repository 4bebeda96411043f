//! One file on its way, seen from outside.

use std::sync::atomic::{AtomicBool, Ordering};

use halyard_protocol::{
    channel::TransferId,
    transfer::{Failure, RelativeName},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the other end.
    Outgoing,
    /// To this end.
    Incoming,
}

/// How far a file is. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Sent or written, what was there before included.
    pub moved: u64,
    /// Safe on the receiver's disk, as far as it said.
    pub durable: u64,
    /// What was there from an earlier try and did not have to move.
    pub resumed_at: u64,
    /// All of it.
    pub total: u64,
}

/// A file that arrived whole and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Bytes.
    pub size: u64,
    /// How many of them did not have to move.
    pub resumed_at: u64,
}

/// Why a file did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// One of both ends gave up. Its message says which way out there is.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The connection went away. Do the same again on the next one: it goes on where it stopped.
    #[error("the connection was cut; the unfinished file stays and can be resumed")]
    Cut,
}

/// A handle on a transfer. It goes on without one; clones are the same transfer.
#[derive(Debug, Clone)]
pub struct Transfer {
    id: TransferId,
    direction: Direction,
    name: RelativeName,
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Option<Result<Finished, TransferError>>>,
    cancel: CancellationToken,
}

/// The inner end of a [`Transfer`].
#[derive(Debug)]
pub(super) struct Reporter {
    progress: watch::Sender<Progress>,
    outcome: watch::Sender<Option<Result<Finished, TransferError>>>,
    cancel: CancellationToken,
    /// Seen by the transfer, which needs to see it once.
    cancelled: AtomicBool,
}

impl Transfer {
    pub(super) fn new(
        id: TransferId,
        direction: Direction,
        name: RelativeName,
        size: u64,
    ) -> (Self, Reporter) {
        let (progress, progress_seen) =
            watch::channel(Progress { total: size, ..Progress::default() });
        let (outcome, outcome_seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let handle = Self {
            id,
            direction,
            name,
            progress: progress_seen,
            outcome: outcome_seen,
            cancel: cancel.clone(),
        };
        let cancelled = AtomicBool::new(false);
        (handle, Reporter { progress, outcome, cancel, cancelled })
    }

    /// Its number on this connection, unique within its direction.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Where the file belongs at the receiver.
    pub fn name(&self) -> &RelativeName {
        &self.name
    }

    /// How far it is now.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Every step forward, the newest only; closed when it is over.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Calls it off at both ends and forgets what came so far. Does nothing when it is over.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits for its end.
    pub async fn done(&self) -> Result<Finished, TransferError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(over) => over.clone().unwrap_or(Err(TransferError::Cut)),
            // Its task is gone without a word: the runtime stopped.
            Err(_) => Err(TransferError::Cut),
        }
    }
}

impl Reporter {
    pub(super) fn moved(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
            let before = *progress;
            change(progress);
            *progress != before
        });
    }

    /// Returns once when the transfer was called off, and never again.
    pub(super) async fn cancelled(&self) {
        if self.cancelled.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        self.cancel.cancelled().await;
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The same without waiting.
    pub(super) fn was_cancelled(&self) -> bool {
        self.cancel.is_cancelled() && !self.cancelled.swap(true, Ordering::Relaxed)
    }

    pub(super) fn over(&self, outcome: Result<Finished, TransferError>) {
        self.outcome.send_replace(Some(outcome));
    }
}
