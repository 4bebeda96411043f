//! One writer at a time.
//!
//! Two transfers into one file would mix their bytes. The first holds the name's claim, and the
//! second is told that it is busy, with two exceptions that let a sender come back: the same peer
//! on a new connection takes over from its old one at once, and anybody takes over from a sender
//! that has gone silent, because a killed program returns under a new name before its old
//! connection is known to be dead.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use halyard_protocol::{
    channel::FileErrorCode,
    transfer::{Failure, RelativeName},
};
use tokio_util::sync::CancellationToken;

/// A writer that has got no byte for this long makes way.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// How long a writer that was asked to make way may take to close its file.
const YIELD_WITHIN: Duration = Duration::from_secs(10);

/// Who writes: a peer, and which of its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The peer's name, as the broker told it.
    pub peer: String,
    /// Different for every connection of this process.
    pub connection: u64,
}

/// Who writes what, in one folder. Clones share the book.
#[derive(Debug, Clone)]
pub struct Claims {
    held: Arc<Mutex<HashMap<RelativeName, Held>>>,
    start: Instant,
}

#[derive(Debug)]
struct Held {
    owner: Owner,
    yield_now: CancellationToken,
    released: CancellationToken,
    touched_ms: Arc<AtomicU64>,
}

/// The right to write one file, until dropped. Drop it after the file is closed.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    name: RelativeName,
    yield_now: CancellationToken,
    released: CancellationToken,
    touched_ms: Arc<AtomicU64>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { held: Arc::default(), start: Instant::now() }
    }
}

impl Claims {
    /// Claims a name, or says that it is busy. Waits for a writer that has to make way.
    pub async fn claim(&self, name: &RelativeName, owner: &Owner) -> Result<Claim, Failure> {
        loop {
            let (yield_now, released) = match self.try_claim(name, owner) {
                Ok(claim) => return Ok(claim),
                Err(Some(waiting)) => waiting,
                Err(None) => return Err(busy(name)),
            };
            yield_now.cancel();
            if tokio::time::timeout(YIELD_WITHIN, released.cancelled()).await.is_err() {
                return Err(busy(name));
            }
        }
    }

    /// The claim; or whom to ask and what to wait for; or nothing but a refusal.
    fn try_claim(
        &self,
        name: &RelativeName,
        owner: &Owner,
    ) -> Result<Claim, Option<(CancellationToken, CancellationToken)>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = held.get(name) {
            let back =
                holder.owner.peer == owner.peer && holder.owner.connection != owner.connection;
            let touched = Duration::from_millis(holder.touched_ms.load(Ordering::Relaxed));
            let silent = self.start.elapsed().saturating_sub(touched) >= SILENT_AFTER;
            return Err(
                (back || silent).then(|| (holder.yield_now.clone(), holder.released.clone()))
            );
        }
        let claim = Claim {
            claims: self.clone(),
            name: name.clone(),
            yield_now: CancellationToken::new(),
            released: CancellationToken::new(),
            touched_ms: Arc::new(AtomicU64::new(self.now_ms())),
        };
        held.insert(
            name.clone(),
            Held {
                owner: owner.clone(),
                yield_now: claim.yield_now.clone(),
                released: claim.released.clone(),
                touched_ms: claim.touched_ms.clone(),
            },
        );
        Ok(claim)
    }

    /// Whether this name, or anything below it, is being written.
    pub(super) fn is_busy(&self, name: &RelativeName) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys().any(|held| {
            let below = held.as_str().strip_prefix(name.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// What is being written, by the names of the unfinished files and folders.
    pub(super) fn unfinished(&self) -> HashSet<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys().flat_map(|name| [name.part(), name.staging()]).collect()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Claim {
    /// Something came: the sender is alive.
    pub fn touch(&self) {
        self.touched_ms.store(self.claims.now_ms(), Ordering::Relaxed);
    }

    /// Returns when another connection takes over: close the file and drop this.
    pub async fn must_yield(&self) {
        self.yield_now.cancelled().await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.name);
        self.released.cancel();
    }
}

pub(super) fn busy(name: &RelativeName) -> Failure {
    Failure::new(
        FileErrorCode::Busy,
        format!(
            "{:?} is being written by another transfer: try again when it is done",
            name.as_str()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(peer: &str, connection: u64) -> Owner {
        Owner { peer: peer.to_owned(), connection }
    }

    fn name() -> RelativeName {
        RelativeName::new("a/b").expect("a good name")
    }

    #[tokio::test]
    async fn a_second_writer_is_told_that_the_file_is_busy() {
        let claims = Claims::default();
        let first = claims.claim(&name(), &owner("a", 1)).await.expect("free");
        for other in [owner("b", 2), owner("a", 1)] {
            let failure = claims.claim(&name(), &other).await.expect_err("busy");
            assert_eq!(failure.code, FileErrorCode::Busy);
        }
        drop(first);
        claims.claim(&name(), &owner("b", 2)).await.expect("free again");
    }

    #[tokio::test]
    async fn a_peer_takes_over_from_its_own_old_connection() {
        let claims = Claims::default();
        let old = claims.claim(&name(), &owner("a", 1)).await.expect("free");
        let writer = tokio::spawn(async move {
            old.must_yield().await;
            drop(old);
        });
        claims.claim(&name(), &owner("a", 2)).await.expect("made way");
        writer.await.expect("the old writer ended");
    }
}
