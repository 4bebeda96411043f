//! The owner of all rooms.
//!
//! Two kinds of lock: one for the map from ids to rooms, one for each room. They are taken in this
//! order and held without waiting for anything. A room that became empty is retired under both, so
//! nobody enters a room that is no longer in the map.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    signal::{CloseCode, PeerInfo, ServerMessage},
};

use super::{Departures, Join, Mailbox, Outbox, Refusal, Room, RoomLimits, Said, SessionId, Text};
use crate::{
    limits::{Limit, TooOften},
    metrics::{Census, PeerKind},
    store::RoomRecord,
    time::Now,
};

/// When somebody may try again for whom the hall has no room: rooms end all the time.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A room as the hall keeps it.
#[derive(Debug)]
pub struct LiveRoom {
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    room: Room<Arc<Outbox>>,
    /// No longer in the map: whoever still holds it must look again.
    retired: bool,
}

impl LiveRoom {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A panic in a room is a bug that ends one call. The room's parts are whole between
        // statements, and one bad message must not close the room to everybody.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All rooms that somebody is in.
#[derive(Debug)]
pub struct Hall {
    rooms: Mutex<HashMap<RoomId, Arc<LiveRoom>>>,
    limits: RoomLimits,
    departures: Option<Arc<Departures>>,
    /// How often rights were taken back or a room ended.
    withdrawals: AtomicU64,
}

/// Why somebody was not let in.
#[derive(Debug)]
pub enum NotIn {
    /// The room does not want it.
    Refused(Refusal),
    /// Rights were taken back, or a room ended, after its own were checked: they must be checked
    /// again.
    Stale(Box<Join>),
}

/// A peer's place in a room, held by its socket's task. Dropping it is losing the socket; a peer
/// that leaves for good says so with [`leave`](Self::leave).
#[derive(Debug)]
pub struct Seat {
    hall: Arc<Hall>,
    room: Arc<LiveRoom>,
    id: RoomId,
    peer: PeerId,
    session: SessionId,
    given_up: bool,
}

impl Hall {
    /// An empty hall.
    pub fn new(limits: RoomLimits) -> Arc<Self> {
        Self::watched_by(limits, None)
    }

    /// An empty hall that lets `departures` know who is here.
    pub fn watched_by(limits: RoomLimits, departures: Option<Arc<Departures>>) -> Arc<Self> {
        let (rooms, withdrawals) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { rooms, limits, departures, withdrawals })
    }

    /// Who left for good, where somebody wanted to know.
    pub fn departures(&self) -> Option<&Departures> {
        self.departures.as_deref()
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<LiveRoom>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &RoomId) -> Option<Arc<LiveRoom>> {
        self.rooms().get(id).cloned()
    }

    /// The room of this record, opened if nobody is in it and the hall has room.
    fn live(&self, record: &RoomRecord) -> Result<Arc<LiveRoom>, Refusal> {
        let mut rooms = self.rooms();
        let most = self.limits.max_rooms;
        if rooms.len() >= most && !rooms.contains_key(&record.id) {
            return Err(Refusal::too_often(&TooOften {
                limit: Limit::Rooms,
                retry_after: FULL_RETRY_AFTER,
            }));
        }
        Ok(Arc::clone(rooms.entry(record.id.clone()).or_insert_with(|| {
            let room = Room::new(record.id.clone(), record.expires_at, self.limits)
                .watched_by(self.departures.clone());
            Arc::new(LiveRoom { inside: Mutex::new(Inside { room, retired: false }) })
        })))
    }

    /// How often rights were taken back or a room ended until now. Read it before a record is
    /// looked up, and [`join`](Self::join) notices what happened since.
    pub fn withdrawals(&self) -> u64 {
        self.withdrawals.load(Ordering::SeqCst)
    }

    /// Lets somebody in whose rights were checked against `record`, which was looked up after
    /// `as_of` was read. The welcome is put into its outbox before anybody else can.
    pub fn join(
        self: &Arc<Self>,
        record: &RoomRecord,
        join: Join,
        outbox: &Arc<Outbox>,
        now: Now,
        as_of: u64,
    ) -> Result<Seat, NotIn> {
        let peer = join.peer.clone();
        loop {
            let room = self.live(record).map_err(NotIn::Refused)?;
            let mut inside = room.lock();
            if inside.retired {
                continue;
            }
            // Counted before the room is looked at to shut people out: either this sees the count,
            // or that sees this peer.
            if self.withdrawals() != as_of {
                drop(inside);
                self.retire_if_empty(&record.id);
                return Err(NotIn::Stale(Box::new(join)));
            }
            // Rooms are only ever extended, and that may have happened since the record was read.
            let expires_at = inside.room.expires_at.max(record.expires_at);
            inside.room.set_expiry(expires_at);
            let joined = inside.room.join(join, Arc::clone(outbox), now);
            let joined = joined.map(|(session, first)| {
                for text in first {
                    outbox.put_welcome(text);
                }
                session
            });
            drop(inside);
            return match joined {
                Ok(session) => Ok(Seat {
                    hall: Arc::clone(self),
                    room,
                    id: record.id.clone(),
                    peer,
                    session,
                    given_up: false,
                }),
                Err(refusal) => {
                    self.retire_if_empty(&record.id);
                    Err(NotIn::Refused(refusal))
                }
            };
        }
    }

    fn retire_if_empty(&self, id: &RoomId) {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get(id) else { return };
        let mut inside = room.lock();
        if inside.room.is_empty() {
            inside.retired = true;
            drop(inside);
            rooms.remove(id);
        }
    }

    /// Everybody in a room.
    pub fn peers(&self, id: &RoomId) -> Vec<PeerInfo> {
        self.find(id).map(|room| room.lock().room.peers()).unwrap_or_default()
    }

    /// Who is in the rooms now, for the metrics.
    pub fn census(&self) -> Census {
        let rooms: Vec<_> = self.rooms().values().cloned().collect();
        let mut counts = HashMap::<PeerKind, usize>::new();
        for room in &rooms {
            for kind in room.lock().room.kinds() {
                *counts.entry(kind).or_default() += 1;
            }
        }
        Census { rooms: rooms.len(), peers: counts.into_iter().collect() }
    }

    /// Who goes by this name in a room.
    pub fn identity_of(&self, id: &RoomId, peer: &PeerId) -> Option<crate::identity::Subject> {
        self.find(id)?.lock().room.identity_of(peer.as_str()).cloned()
    }

    /// The rooms in which somebody goes by this name, with who that is.
    pub fn rooms_with(&self, peer: &str) -> Vec<(RoomId, crate::identity::Subject)> {
        let rooms: Vec<_> = self.rooms().iter().map(|(i, r)| (i.clone(), Arc::clone(r))).collect();
        rooms
            .into_iter()
            .filter_map(|(id, room)| Some((id, room.lock().room.identity_of(peer)?.clone())))
            .collect()
    }

    /// A room ends at another time.
    pub fn set_expiry(&self, id: &RoomId, expires_at: u64) {
        if let Some(room) = self.find(id) {
            room.lock().room.set_expiry(expires_at);
        }
    }

    /// Ends the sessions of whoever goes by this name and keeps that identity out.
    pub fn revoke_peer(&self, id: &RoomId, peer: &PeerId) -> Vec<PeerId> {
        let Some(room) = self.find(id) else { return Vec::new() };
        let revoked = room.lock().room.revoke_peer(peer);
        self.retire_if_empty(id);
        revoked
    }

    /// Ends the sessions of everybody who has exactly these rights.
    pub fn revoke_access(&self, id: &RoomId, access: Access) -> Vec<PeerId> {
        self.withdrawals.fetch_add(1, Ordering::SeqCst);
        let Some(room) = self.find(id) else { return Vec::new() };
        let revoked = room.lock().room.revoke(|_, theirs| theirs == access);
        self.retire_if_empty(id);
        revoked
    }

    /// Removes one peer from a room with a goodbye.
    pub fn remove(&self, id: &RoomId, peer: &str) -> bool {
        let Some(room) = self.find(id) else { return false };
        let removed = room.lock().room.remove(peer);
        self.retire_if_empty(id);
        removed
    }

    /// Ends a room for everybody in it: it was deleted.
    pub fn close(&self, id: &RoomId) {
        self.end(id, "deleted");
    }

    fn end(&self, id: &RoomId, reason: &str) {
        self.withdrawals.fetch_add(1, Ordering::SeqCst);
        let Some(room) = self.rooms().remove(id) else { return };
        let mut inside = room.lock();
        inside.retired = true;
        inside.room.close(reason);
    }

    /// Lets time pass: gives up places that nobody came back to and ends rooms whose time is over.
    pub fn tick(&self, now: Now) {
        let rooms: Vec<_> = self.rooms().iter().map(|(i, r)| (i.clone(), Arc::clone(r))).collect();
        for (id, room) in rooms {
            let mut inside = room.lock();
            if inside.room.is_expired(now.unix()) {
                drop(inside);
                tracing::info!(room = %id, "a room's time is over");
                self.end(&id, "expired");
                continue;
            }
            inside.room.tick(now.steady);
            let empty = inside.room.is_empty();
            drop(inside);
            if empty {
                self.retire_if_empty(&id);
            }
        }
    }
}

impl Seat {
    /// Who sits here.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    /// In which room.
    pub fn room(&self) -> &RoomId {
        &self.id
    }

    /// The session, for registering again on the same socket.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whether who sits here may move machines.
    pub fn may_operate(&self) -> bool {
        self.room.lock().room.may_operate(&self.peer)
    }

    /// Says something in the room.
    pub fn say(&self, said: Said) -> Result<(), Refusal> {
        self.room.lock().room.said(&self.peer, self.session, said)
    }

    /// Leaves for good.
    pub fn leave(mut self) {
        self.given_up = true;
        self.room.lock().room.left(&self.peer, self.session);
        self.hall.retire_if_empty(&self.id);
    }

    /// The same socket has a newer seat under the same name: this one means nothing any more.
    pub fn forget(mut self) {
        self.given_up = true;
    }

    /// The socket dropped; the place is kept for a while.
    pub fn lost(mut self, now: Instant) {
        self.given_up = true;
        self.room.lock().room.lost(&self.peer, self.session, now);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.given_up {
            self.room.lock().room.lost(&self.peer, self.session, Instant::now());
        }
    }
}

/// Tells a socket that the broker is going away.
pub(crate) fn say_draining(outbox: &Arc<Outbox>) {
    let text = ServerMessage::Draining { reconnect_to: None }.to_json();
    // Whether or not it fits, the close code says the same.
    let _ = outbox.put(Text::from(text), false);
    outbox.close(CloseCode::GoingAway);
}
