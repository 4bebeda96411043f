//! Rooms in memory: for trying out, for tests, and for robots that make a new room at every start.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId};

use super::{Found, RoomRecord, RoomStore, StoreError, set_token, shut_out};
use crate::{identity::Subject, secret::TokenHash};

/// Gone when the broker stops.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rooms: Mutex<Rooms>,
}

/// The records and what is needed to find some of them without looking at all.
#[derive(Debug, Default)]
struct Rooms {
    records: HashMap<RoomId, RoomRecord>,
    /// `(expires_at, id)`.
    by_expiry: BTreeSet<(u64, RoomId)>,
    /// `(expires_at, id)` of each owner: the live ones are at the end.
    by_owner: BTreeMap<Subject, BTreeSet<(u64, RoomId)>>,
}

impl Rooms {
    fn insert(&mut self, room: RoomRecord) {
        self.remove(&room.id);
        let key = (room.expires_at, room.id.clone());
        self.by_expiry.insert(key.clone());
        self.by_owner.entry(room.owner.clone()).or_default().insert(key);
        self.records.insert(room.id.clone(), room);
    }

    fn remove(&mut self, id: &RoomId) -> Option<RoomRecord> {
        let room = self.records.remove(id)?;
        let key = (room.expires_at, room.id.clone());
        self.by_expiry.remove(&key);
        if let Some(owned) = self.by_owner.get_mut(&room.owner) {
            owned.remove(&key);
            if owned.is_empty() {
                self.by_owner.remove(&room.owner);
            }
        }
        Some(room)
    }

    fn live(&self, id: &RoomId, now: u64) -> Option<&RoomRecord> {
        self.records.get(id).filter(|room| !room.is_expired(now))
    }

    fn owned(&self, owner: &Subject, now: u64) -> impl Iterator<Item = &RoomRecord> {
        let keys = self.by_owner.get(owner).into_iter().flat_map(|keys| keys.iter().rev());
        keys.map_while(move |(_, id)| self.live(id, now))
    }
}

impl MemoryStore {
    fn with<T>(&self, work: impl FnOnce(&mut Rooms) -> T) -> T {
        // Nothing below panics half way through a change, so the maps are whole even then.
        work(&mut self.rooms.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn change(
        &self,
        id: &RoomId,
        now: u64,
        change: impl FnOnce(&mut RoomRecord) -> Result<(), StoreError>,
    ) -> Result<RoomRecord, StoreError> {
        self.with(|rooms| {
            let mut room = rooms.live(id, now).ok_or(StoreError::Gone)?.clone();
            change(&mut room)?;
            rooms.insert(room.clone());
            Ok(room)
        })
    }
}

#[async_trait]
impl RoomStore for MemoryStore {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        self.with(|rooms| {
            if rooms.owned(&room.owner, now).take(most).count() >= most {
                return Err(StoreError::TooMany { most });
            }
            if rooms.live(&room.id, now).is_some() {
                return Ok(false);
            }
            rooms.insert(room.clone());
            Ok(true)
        })
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        Ok(self.with(|rooms| match rooms.records.get(id) {
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

    async fn ban(
        &self,
        id: &RoomId,
        subject: &Subject,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.change(id, now, |room| {
            shut_out(room, subject);
            Ok(())
        })
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        Ok(self.with(|rooms| rooms.remove(id).is_some()))
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        let mut owned: Vec<RoomRecord> =
            self.with(|rooms| rooms.owned(owner, now).cloned().collect());
        owned.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(owned)
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        Ok(self.with(|rooms| {
            let over: Vec<RoomId> = rooms
                .by_expiry
                .iter()
                .take_while(|(expires_at, _)| *expires_at <= before)
                .take(most)
                .map(|(_, id)| id.clone())
                .collect();
            for id in &over {
                rooms.remove(id);
            }
            over.len()
        }))
    }
}
