//! A store whose answers a test lets through one by one.

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId};
use tokio::sync::Semaphore;

use super::{Found, MemoryStore, RoomRecord, RoomStore, StoreError};
use crate::{identity::Subject, secret::TokenHash};

/// What is asked is done at once; the answer waits for [`answer`](Self::answer).
#[derive(Debug)]
pub(crate) struct SlowStore {
    pub(crate) rooms: MemoryStore,
    asked: Semaphore,
    answers: Semaphore,
}

impl Default for SlowStore {
    fn default() -> Self {
        let (asked, answers) = (Semaphore::new(0), Semaphore::new(0));
        Self { rooms: MemoryStore::default(), asked, answers }
    }
}

impl SlowStore {
    /// Waits until one more thing was asked and done.
    pub(crate) async fn asked(&self) {
        self.asked.acquire().await.expect("never closed").forget();
    }

    /// Lets so many answers through.
    pub(crate) fn answer(&self, answers: usize) {
        self.answers.add_permits(answers);
    }

    async fn later<T>(&self, answer: T) -> T {
        self.asked.add_permits(1);
        self.answers.acquire().await.expect("never closed").forget();
        answer
    }
}

#[async_trait]
impl RoomStore for SlowStore {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        self.later(self.rooms.create(room, most, now).await).await
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        self.later(self.rooms.get(id, now).await).await
    }

    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.later(self.rooms.extend(id, expires_at, now).await).await
    }

    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.later(self.rooms.rotate(id, access, token, now).await).await
    }

    async fn ban(
        &self,
        id: &RoomId,
        subject: &Subject,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.later(self.rooms.ban(id, subject, now).await).await
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        self.later(self.rooms.delete(id).await).await
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        self.later(self.rooms.owned_by(owner, now).await).await
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        self.later(self.rooms.sweep(before, most).await).await
    }
}
