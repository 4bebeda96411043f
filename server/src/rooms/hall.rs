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
    ids::{PeerId, RoomId},
    signal::PeerInfo,
};

use tokio::sync::Notify;

use super::{
    Departures, Join, Outbox, Refusal, Room, RoomLimits, Said, SessionId, Whom, others::Others,
    words::Order,
};
use crate::{
    bus::{Bus, LocalBus},
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
    /// Another server said something of it.
    pub(super) changed: Notify,
    /// When the other servers were asked who is in it.
    pub(super) opened_at: Instant,
}

#[derive(Debug)]
pub(super) struct Inside {
    pub(super) room: Room<Arc<Outbox>>,
    /// No longer in the map: whoever still holds it must look again.
    pub(super) retired: bool,
    /// Somebody is about to come in, or looks into it.
    pub(super) kept_open: usize,
}

impl Inside {
    pub(super) fn is_of_no_use(&self) -> bool {
        self.kept_open == 0 && self.room.is_empty()
    }
}

impl LiveRoom {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
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
    pub(super) bus: Arc<dyn Bus>,
    /// What is known of other servers.
    pub(super) others: Others,
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
        Self::with(limits, None, Arc::new(LocalBus::default()))
    }

    /// An empty hall that lets `departures` know who is here, and shares its rooms over `bus`.
    pub fn with(
        limits: RoomLimits,
        departures: Option<Arc<Departures>>,
        bus: Arc<dyn Bus>,
    ) -> Arc<Self> {
        let (rooms, withdrawals) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { rooms, limits, departures, withdrawals, bus, others: Others::default() })
    }

    /// The other servers of these rooms.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// Who left for good, where somebody wanted to know.
    pub fn departures(&self) -> Option<&Departures> {
        self.departures.as_deref()
    }

    pub(super) fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<LiveRoom>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every room, one at a time.
    pub(super) fn each_room(&self, mut work: impl FnMut(&RoomId, &LiveRoom)) {
        let rooms: Vec<_> = self.rooms().iter().map(|(i, r)| (i.clone(), Arc::clone(r))).collect();
        for (id, room) in rooms {
            work(&id, &room);
        }
    }

    pub(super) fn find(&self, id: &RoomId) -> Option<Arc<LiveRoom>> {
        self.rooms().get(id).cloned()
    }

    /// The room, opened if nobody is in it and the hall has room.
    pub(super) fn live(&self, id: &RoomId, expires_at: u64) -> Result<Arc<LiveRoom>, Refusal> {
        let mut rooms = self.rooms();
        let most = self.limits.max_rooms;
        if rooms.len() >= most && !rooms.contains_key(id) {
            return Err(Refusal::too_often(&TooOften {
                limit: Limit::Rooms,
                retry_after: FULL_RETRY_AFTER,
            }));
        }
        Ok(Arc::clone(rooms.entry(id.clone()).or_insert_with(|| self.open_new(id, expires_at))))
    }

    /// A room that nobody was in here. Before anybody is, the other servers are asked who is there.
    fn open_new(&self, id: &RoomId, expires_at: u64) -> Arc<LiveRoom> {
        let room = Room::new(id.clone(), expires_at, self.limits)
            .watched_by(self.departures.clone())
            .on(self.bus.node());
        let mut inside = Inside { room, retired: false, kept_open: 0 };
        if self.bus.is_shared() {
            inside.room.ask(self.bus.nodes());
            self.flush(id, &mut inside);
        }
        Arc::new(LiveRoom {
            inside: Mutex::new(inside),
            changed: Notify::new(),
            opened_at: Instant::now(),
        })
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
            let room = self.live(&record.id, record.expires_at).map_err(NotIn::Refused)?;
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
            self.flush(&record.id, &mut inside);
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

    pub(super) fn retire_if_empty(&self, id: &RoomId) {
        let mut rooms = self.rooms();
        let Some(room) = rooms.get(id) else { return };
        let mut inside = room.lock();
        if inside.is_of_no_use() {
            inside.retired = true;
            self.release(id, &mut inside);
            drop(inside);
            rooms.remove(id);
        }
    }

    /// Does something in a room that is open here, and tells the other servers what follows.
    pub(super) fn in_room<T>(
        &self,
        id: &RoomId,
        work: impl FnOnce(&mut Room<Arc<Outbox>>) -> T,
    ) -> Option<T> {
        let room = self.find(id)?;
        let mut inside = room.lock();
        let done = work(&mut inside.room);
        self.flush(id, &mut inside);
        let over = inside.is_of_no_use();
        drop(inside);
        if over {
            self.retire_if_empty(id);
        }
        Some(done)
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

    /// A room ends at another time, on every server.
    pub fn set_expiry(&self, id: &RoomId, expires_at: u64) {
        self.order(id, Order::Expiry { at: expires_at });
    }

    /// Ends the sessions of these peers, on every server. Says who they are; a room that is not
    /// [open](Self::open) here does not know those on other servers.
    pub fn revoke(&self, id: &RoomId, whom: Whom) -> Vec<PeerId> {
        self.order(id, Order::Revoke { whom })
    }

    /// Removes one peer from a room with a goodbye, wherever it is.
    pub fn remove(&self, id: &RoomId, peer: &PeerId) {
        self.order(id, Order::Remove { peer: peer.clone() });
    }

    /// Ends a room for everybody in it, on every server: it was deleted.
    pub fn close(&self, id: &RoomId) {
        self.order(id, Order::Close);
    }

    /// Carries out what an owner wants for the members on this server.
    pub(super) fn carry_out(&self, id: &RoomId, order: &Order) -> Vec<PeerId> {
        match order {
            Order::Close => self.end(id, "deleted"),
            Order::Expiry { at } => {
                self.in_room(id, |room| room.set_expiry(*at));
            }
            Order::Revoke { whom } => {
                // Counted before the room is looked at: see join().
                self.withdrawals.fetch_add(1, Ordering::SeqCst);
                return self.in_room(id, |room| room.revoke(whom)).unwrap_or_default();
            }
            Order::Remove { peer } => {
                self.in_room(id, |room| room.remove(peer.as_str()));
            }
        }
        Vec::new()
    }

    /// Ends a room for everybody in it on this server. `reason` is `deleted` or `expired`.
    pub fn end(&self, id: &RoomId, reason: &str) {
        self.withdrawals.fetch_add(1, Ordering::SeqCst);
        let Some(room) = self.rooms().remove(id) else { return };
        let mut inside = room.lock();
        inside.retired = true;
        self.release(id, &mut inside);
        inside.room.close(reason);
    }

    /// Ends the sessions of members of this server that the room's record no longer lets in.
    pub fn check(&self, record: &RoomRecord) {
        self.withdrawals.fetch_add(1, Ordering::SeqCst);
        self.in_room(&record.id, |room| room.check(record));
    }

    /// Lets time pass: gives up places that nobody came back to. Says which rooms are over, as far
    /// as this server knows.
    pub fn tick(&self, now: Now) -> Vec<RoomId> {
        let mut over = Vec::new();
        self.each_room(|id, room| {
            let mut inside = room.lock();
            if inside.room.is_expired(now.unix()) {
                over.push(id.clone());
            }
            inside.room.tick(now.steady);
            self.flush(id, &mut inside);
            let empty = inside.is_of_no_use();
            drop(inside);
            room.changed.notify_waiters();
            if empty {
                self.retire_if_empty(id);
            }
        });
        over
    }

    /// The rooms that are open here.
    pub fn rooms_here(&self) -> Vec<RoomId> {
        self.rooms().keys().cloned().collect()
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
        let mut inside = self.room.lock();
        let answer = inside.room.said(&self.peer, self.session, said);
        self.hall.flush(&self.id, &mut inside);
        answer
    }

    /// Leaves for good.
    pub fn leave(mut self) {
        self.given_up = true;
        let mut inside = self.room.lock();
        inside.room.left(&self.peer, self.session);
        self.hall.flush(&self.id, &mut inside);
        drop(inside);
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
