//! Which users the broker made and has not deleted yet.
//!
//! Users of a pool cost money and outlive the broker, so each is written down *before* it is made
//! and crossed out *after* it was deleted: whatever happens in between (a crash, a power cut, an
//! outage of the pool), the sweeper finds it. An entry too many is only a deletion too many, of
//! nobody; an entry too few is a user for ever.

mod embedded;
mod memory;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;

pub use self::memory::MemoryJournal;
use super::Subject;
use crate::store::StoreError;

/// The journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It failed.
    #[error("the journal of users failed: {0}")]
    Failed(String),
    /// It does not answer.
    #[error("the journal of users does not answer: {why}")]
    Unavailable {
        /// When it may.
        retry_after: Duration,
        /// What happened.
        why: String,
    },
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { retry_after, why } => Self::Unavailable { retry_after, why },
            error => Self::Failed(error.to_string()),
        }
    }
}

/// Where users are written down. What returned `Ok` is as durable as the backend is.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes a user down, or moves the time (in seconds since 1970) from which nobody needs it.
    async fn put(&self, user: &Subject, until: u64) -> Result<(), JournalError>;

    /// Whether a user stands here.
    async fn has(&self, user: &Subject) -> Result<bool, JournalError>;

    /// Crosses a user out. One that does not stand here is no error.
    async fn remove(&self, user: &Subject) -> Result<(), JournalError>;

    /// Users whom nobody needs any more, at most `most`, the oldest first.
    async fn due(&self, now: u64, most: usize) -> Result<Vec<Subject>, JournalError>;
}
