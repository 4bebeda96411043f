//! Rooms in memory: for trying out, for tests, and for robots that make a new room at every start.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId};

use super::{Found, RoomRecord, RoomStore, StoreError, set_token};
use crate::{identity::Subject, secret::TokenHash};

/// Gone when the broker stops.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rooms: Mutex<BTreeMap<RoomId, RoomRecord>>,
}

impl MemoryStore {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<RoomId, RoomRecord>) -> T) -> T {
        // Nothing below panics half way through a change, so the map is whole even then.
        work(&mut self.rooms.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn change(
        &self,
        id: &RoomId,
        now: u64,
        change: impl FnOnce(&mut RoomRecord) -> Result<(), StoreError>,
    ) -> Result<RoomRecord, StoreError> {
        self.with(|rooms| {
            let room = rooms.get_mut(id).filter(|room| !room.is_expired(now));
            let room = room.ok_or(StoreError::Gone)?;
            change(room)?;
            Ok(room.clone())
        })
    }
}

#[async_trait]
impl RoomStore for MemoryStore {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        self.with(|rooms| {
            let owned = rooms.values().filter(|r| r.owner == room.owner && !r.is_expired(now));
            if owned.count() >= most {
                return Err(StoreError::TooMany { most });
            }
            if rooms.get(&room.id).is_some_and(|there| !there.is_expired(now)) {
                return Ok(false);
            }
            rooms.insert(room.id.clone(), room.clone());
            Ok(true)
        })
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        Ok(self.with(|rooms| match rooms.get(id) {
            None => Found::Absent,
            Some(room) if room.is_expired(now) => Found::Expired,
            Some(room) => Found::Live(room.clone()),
        }))
    }

    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.change(id, now, |room| {
            room.expires_at = expires_at;
            Ok(())
        })
    }

    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.change(id, now, |room| set_token(room, access, token))
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        Ok(self.with(|rooms| rooms.remove(id).is_some()))
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        let mut owned: Vec<RoomRecord> = self.with(|rooms| {
            rooms.values().filter(|r| &r.owner == owner && !r.is_expired(now)).cloned().collect()
        });
        owned.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(owned)
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        Ok(self.with(|rooms| {
            let over: Vec<RoomId> = rooms
                .values()
                .filter(|room| room.expires_at <= before)
                .take(most)
                .map(|room| room.id.clone())
                .collect();
            for id in &over {
                rooms.remove(id);
            }
            over.len()
        }))
    }
}
