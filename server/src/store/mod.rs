//! Which rooms there are.
//!
//! [`RoomStore`] is all that the broker needs of a database. A room belongs to its owner's
//! identity; of its tokens only hashes are kept. Whatever the backend, a call that returned `Ok`
//! is durable (as far as the backend is at all), and a room whose time is over is never handed out
//! as a live one, whether or not it was swept.

#[cfg(feature = "aws")]
pub(crate) mod dynamodb;
mod embedded;
mod memory;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId, token::Token};
use serde::{Deserialize, Serialize};

#[cfg(feature = "aws")]
pub use self::dynamodb::{DynamoStore, TableError, create_table};
#[cfg(test)]
pub(crate) use self::slow::SlowStore;
pub use self::{
    embedded::{EmbeddedStore, OpenError},
    memory::MemoryStore,
};
use crate::{identity::Subject, secret::TokenHash};

/// Expired rooms are kept this long in seconds, so that a late comer hears `Room expired` and not
/// that there never was one.
pub const EXPIRED_KEPT_SECONDS: u64 = 60 * 60;
/// Identities that a room remembers as shut out; beyond it the oldest is forgotten. A new identity
/// is free, so this keeps out programs that come back by themselves, not people: those are kept out
/// by a new token. The list is read with the room at every registration, and with 128 names of 36
/// bytes the record stays near the 4 KiB that DynamoDB reads as one unit.
pub const MAX_BANNED: usize = 128;

/// A room as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// Its name.
    pub id: RoomId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub owner: Subject,
    /// Seconds since 1970.
    pub created_at: u64,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// Opens it for operators.
    pub operator: TokenHash,
    /// Opens it for viewers.
    pub viewer: TokenHash,
    /// Who is shut out whatever token they bring, oldest first, at most [`MAX_BANNED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<Subject>,
}

impl RoomRecord {
    /// Whether this identity is shut out.
    pub fn is_banned(&self, subject: &Subject) -> bool {
        self.banned.contains(subject)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at <= now
    }

    /// What is kept of the token that gives these rights; the owner needs none.
    pub fn token_of(&self, access: Access) -> Option<&TokenHash> {
        match access {
            Access::Viewer => Some(&self.viewer),
            Access::Operator => Some(&self.operator),
            Access::Admin => None,
        }
    }

    /// What a token lets its bearer do here, if it opens the room at all. Both hashes are always
    /// compared, so the time taken does not tell which one was near.
    pub fn access_of(&self, token: &Token) -> Option<Access> {
        let operator = self.operator.opens(token);
        let viewer = self.viewer.opens(token);
        match (operator, viewer) {
            (true, _) => Some(Access::Operator),
            (false, true) => Some(Access::Viewer),
            (false, false) => None,
        }
    }
}

/// The answer to looking for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There it is.
    Live(RoomRecord),
    /// It was, and its time is over.
    Expired,
    /// Never heard of it.
    Absent,
}

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The owner has as many rooms as one identity may have.
    #[error("this identity owns {most} rooms already, which is the most; delete one first")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// The room is gone or its time is over.
    #[error("the room is gone")]
    Gone,
    /// The backend failed. What it said is for the log, not for peers.
    #[error("the room store failed: {0}")]
    Backend(String),
    /// The backend does not answer. What is known is for the log.
    #[error("the room store does not answer: {why}")]
    Unavailable {
        /// When it may.
        retry_after: Duration,
        /// What happened.
        why: String,
    },
}

/// Where rooms are kept. Times are seconds since 1970.
///
/// Two things are security and not speed: [`create`](RoomStore::create) must never give one id to
/// two live rooms, and [`get`](RoomStore::get) must never call an expired room live.
#[async_trait]
pub trait RoomStore: Send + Sync {
    /// Keeps a new room, unless a live one has its id (`Ok(false)`, nothing changed). An expired
    /// one is replaced. `most` bounds the live rooms of one owner.
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError>;

    /// Looks for a room.
    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError>;

    /// Lets a live room end at another time, and hands it back as it is now.
    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError>;

    /// Replaces the hash of a live room's token. `access` is `Operator` or `Viewer`; the owner has
    /// no token.
    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError>;

    /// Shuts an identity out of a live room until the room ends. Once more changes nothing; where
    /// [`MAX_BANNED`] are shut out already, the oldest is forgotten.
    async fn ban(&self, id: &RoomId, subject: &Subject, now: u64)
    -> Result<RoomRecord, StoreError>;

    /// Forgets a room. Whether there was one, live or expired.
    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError>;

    /// The live rooms of one owner, oldest first.
    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError>;

    /// Forgets rooms that ended at or before `before`, at most `most` of them, and says how many.
    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError>;

    /// Whether the backend is there: asked when nobody asked it anything for a while.
    async fn probe(&self, now: u64) -> Result<(), StoreError> {
        // Looking for what is not there costs as little as a call can.
        let nobodys = RoomId::new("halyard-probe").expect("a good name");
        self.get(&nobodys, now).await.map(drop)
    }

    /// Whether the backend forgets ended rooms by itself, so that nobody needs to sweep it.
    fn expires_by_itself(&self) -> bool {
        false
    }
}

/// What rotating a token does to a record, in every backend.
fn set_token(room: &mut RoomRecord, access: Access, token: TokenHash) -> Result<(), StoreError> {
    match access {
        Access::Operator => room.operator = token,
        Access::Viewer => room.viewer = token,
        Access::Admin => {
            return Err(no_token_to_rotate());
        }
    }
    Ok(())
}

fn no_token_to_rotate() -> StoreError {
    StoreError::Backend("the owner has no token to rotate".to_owned())
}

/// What shutting somebody out does to a record, in every backend.
fn shut_out(room: &mut RoomRecord, subject: &Subject) {
    if room.is_banned(subject) {
        return;
    }
    let beyond = (room.banned.len() + 1).saturating_sub(MAX_BANNED);
    room.banned.drain(..beyond);
    room.banned.push(subject.clone());
}
