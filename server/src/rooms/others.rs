//! The hall among the halls of other servers: what it tells them, asks them and hears of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use halyard_protocol::ids::{PeerId, RoomId};
use tokio::{
    sync::Notify,
    time::{sleep, timeout_at},
};

use super::{
    Hall, LiveRoom, Outbox, Refusal, Room,
    hall::Inside,
    said::Relay,
    words::{Message, Order, Word},
};
use crate::{
    bus::{Listener, NodeId, Worth},
    identity::Subject,
    secret::TokenHash,
    time::Now,
};

/// How long the other servers have to say who is in a room. Usually a millisecond is enough.
const WHOLE_WITHIN: Duration = Duration::from_millis(250);
/// How long another server has to give up a place of a peer that registers here.
const CLAIMED_WITHIN: Duration = Duration::from_secs(1);
/// Pause before a place is claimed that had moved when it was.
const CLAIM_AGAIN: Duration = Duration::from_millis(20);

/// What is known of other servers.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// How often each began to tell everything that it holds.
    generations: Mutex<HashMap<NodeId, u64>>,
    /// Searches that wait for answers.
    searches: Mutex<HashMap<u64, Search>>,
    searched: AtomicU64,
    found: Notify,
    /// Orders may have been missed.
    missed: Notify,
}

#[derive(Debug)]
struct Search {
    unanswered: BTreeSet<NodeId>,
    rooms: Vec<(RoomId, Subject)>,
}

impl Others {
    fn generations(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn searches(&self) -> MutexGuard<'_, HashMap<u64, Search>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A room that stays open here, with everybody in it known, until this is dropped.
#[derive(Debug)]
pub struct Opened {
    hall: Arc<Hall>,
    room: Arc<LiveRoom>,
    id: RoomId,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.room.lock().kept_open -= 1;
        self.hall.retire_if_empty(&self.id);
    }
}

impl Opened {
    /// Waits until the room is so, or until then. Whether it is.
    async fn wait(&self, until: Instant, is_so: impl Fn(&Room<Arc<Outbox>>) -> bool) -> bool {
        loop {
            let changed = self.room.changed.notified();
            {
                let inside = self.room.lock();
                if inside.retired || is_so(&inside.room) {
                    return true;
                }
            }
            if timeout_at(until.into(), changed).await.is_err() {
                return false;
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Room<Arc<Outbox>>) -> T) -> T {
        let mut inside = self.room.lock();
        let done = work(&mut inside.room);
        self.hall.flush(&self.id, &mut inside);
        done
    }

    /// Brings a place that this peer has on another server here, so that it can be taken up again,
    /// or frees it where the peer has no proof. When this returns without having done so, the other
    /// server does not answer and its place loses against a new one here.
    pub async fn claim(&self, peer: &PeerId, identity: &Subject, resume: Option<TokenHash>) {
        let until = Instant::now() + CLAIMED_WITHIN;
        while self.with(|room| room.claim(peer, identity, resume)) {
            if !self.wait(until, |room| !room.is_claiming(peer)).await {
                tracing::info!(room = %self.id, %peer, "another server does not give up a place");
                self.with(|room| room.give_up_claim(peer));
                return;
            }
            if self.with(|room| room.is_mine(peer)) {
                return;
            }
            sleep(CLAIM_AGAIN).await;
        }
    }
}

impl Hall {
    /// Opens a room here and waits until it is known who is in it on other servers. On a server by
    /// itself there is nothing to wait for.
    pub async fn open(self: &Arc<Self>, id: &RoomId, expires_at: u64) -> Result<Opened, Refusal> {
        self.bus.settled().await;
        let room = loop {
            let room = self.live(id, expires_at)?;
            let mut inside = room.lock();
            if !inside.retired {
                inside.kept_open += 1;
                drop(inside);
                break room;
            }
        };
        let opened = Opened { hall: Arc::clone(self), room, id: id.clone() };
        let until = opened.room.opened_at + WHOLE_WITHIN;
        if !opened.wait(until, Room::is_whole).await {
            tracing::debug!(room = %id, "not every server said who is in the room");
        }
        Ok(opened)
    }

    /// The rooms in which somebody goes by this name, with who that is, on all servers.
    pub async fn rooms_with(&self, peer: &str) -> Vec<(RoomId, Subject)> {
        let number = self.others.searched.fetch_add(1, Ordering::Relaxed);
        let nodes = self.bus.nodes();
        let search =
            Search { unanswered: nodes.iter().copied().collect(), rooms: self.mine_with(peer) };
        self.others.searches().insert(number, search);
        let bytes = Message::Find { number, peer: peer.to_owned() }.to_bytes();
        for node in nodes {
            if self.bus.send(node, bytes.clone(), Worth::Rooms).is_err() {
                self.found(node, number, Vec::new());
            }
        }
        let until = tokio::time::Instant::now() + WHOLE_WITHIN;
        loop {
            let found = self.others.found.notified();
            let whole = self.others.searches().get(&number).is_none_or(|s| s.unanswered.is_empty());
            if whole || timeout_at(until, found).await.is_err() {
                break;
            }
        }
        self.others.searches().remove(&number).map(|search| search.rooms).unwrap_or_default()
    }

    fn mine_with(&self, peer: &str) -> Vec<(RoomId, Subject)> {
        let mut rooms = Vec::new();
        self.each_room(|id, room| {
            let inside = room.lock();
            if let Some(identity) = inside.room.mine_of(peer) {
                rooms.push((id.clone(), identity.clone()));
            }
        });
        rooms
    }

    fn found(&self, by: NodeId, number: u64, rooms: Vec<(RoomId, Subject)>) {
        if let Some(search) = self.others.searches().get_mut(&number)
            && search.unanswered.remove(&by)
        {
            search.rooms.extend(rooms);
        }
        self.others.found.notify_waiters();
    }

    /// Carries out an owner's order here and on every other server. Whom it was about.
    pub(super) fn order(&self, id: &RoomId, order: Order) -> Vec<PeerId> {
        let about = self.carry_out(id, &order);
        let nodes = self.bus.nodes();
        if !nodes.is_empty() {
            let bytes = Message::Owner { room: id.clone(), order }.to_bytes();
            for node in nodes {
                // A node that is gone meanwhile has no members any more.
                let _ = self.bus.send(node, bytes.clone(), Worth::Rooms);
            }
        }
        about
    }

    /// Waits until orders may have been missed, because this server was cut off.
    pub async fn missed_orders(&self) {
        self.others.missed.notified().await;
    }

    /// Places on this server, those included that wait for their peers to come back.
    pub fn places(&self) -> usize {
        let mut places = 0;
        self.each_room(|_, room| places += room.lock().room.mine().len());
        places
    }

    /// Hands every place that is left here to another server, so that its peer can still come back.
    /// How many.
    pub fn hand_over(&self, now: Now) -> usize {
        let mut places = 0;
        self.each_room(|id, room| {
            let mut inside = room.lock();
            for peer in inside.room.mine() {
                let Some((to, _)) = self.bus.refuge() else { return };
                inside.room.give(&peer, to, now);
                places += 1;
            }
            self.flush(id, &mut inside);
        });
        places
    }

    /// Whether nothing can come any more for peers that went on elsewhere.
    pub fn is_settled(&self) -> bool {
        let mut settled = true;
        self.each_room(|_, room| settled &= room.lock().room.is_settled());
        settled
    }

    /// Sends what other servers must hear of a room.
    pub(super) fn flush(&self, id: &RoomId, inside: &mut Inside) {
        while inside.room.has_words() {
            for (to, word) in inside.room.take_words() {
                let nodes = match to {
                    super::elsewhere::To::Holders => inside.room.holders(),
                    super::elsewhere::To::Node(node) => [node].into(),
                };
                let worth = word.worth();
                let message = Message::Room { room: id.clone(), word };
                let bytes = message.to_bytes();
                for node in nodes {
                    if self.bus.send(node, bytes.clone(), worth).is_err()
                        && let Message::Room { word, .. } = message.clone()
                    {
                        inside.room.undelivered(node, word, Now::read());
                    }
                }
            }
        }
    }

    /// Tells the others that this server holds a room no longer.
    pub(super) fn release(&self, id: &RoomId, inside: &mut Inside) {
        inside.room.tell_holders(|_| Some(Word::Release));
        self.flush(id, inside);
    }

    fn tell(&self, node: NodeId, room: &RoomId, word: Word) {
        let worth = word.worth();
        let _ = self.bus.send(node, Message::Room { room: room.clone(), word }.to_bytes(), worth);
    }

    fn heard_of_room(&self, from: NodeId, id: &RoomId, word: Word) {
        let generation = self.others.generations().get(&from).copied().unwrap_or_default();
        let room = match &word {
            Word::Handover(handover) => self.live(id, handover.expires_at).ok(),
            _ => self.find(id),
        };
        let Some(room) = room else { return self.heard_of_no_room(from, id, word) };
        let mut inside = room.lock();
        if inside.retired {
            drop(inside);
            return self.heard_of_no_room(from, id, word);
        }
        inside.room.heard(from, generation, word, Now::read());
        self.flush(id, &mut inside);
        let over = inside.is_of_no_use();
        drop(inside);
        room.changed.notify_waiters();
        if over {
            self.retire_if_empty(id);
        }
    }

    /// The room is not open here; whoever thinks so must not wait.
    fn heard_of_no_room(&self, from: NodeId, id: &RoomId, word: Word) {
        match word {
            Word::Hold { .. } => self.tell(from, id, Word::Release),
            Word::Claim { peer, .. } => self.tell(from, id, Word::Free { peer }),
            Word::Relay { sender, target, manner, .. } => {
                let text = Relay::absent_as(manner, target.as_str()).to_text();
                self.tell(from, id, Word::Answer { target: sender, text });
            }
            Word::Fence { peer, to } => self.tell(to, id, Word::Fenced { peer, origin: from }),
            Word::Moved { peer, to } => self.tell(from, id, Word::Fence { peer, to }),
            Word::Handover(handover) => {
                let peer = &handover.entry.info.peer_id;
                tracing::warn!(room = %id, %peer, "a place that was handed over found no room");
            }
            _ => {}
        }
    }

    /// Everything that this node has not told again is over.
    fn told_everything(&self, node: NodeId) {
        let generation = self.others.generations().get(&node).copied().unwrap_or_default();
        self.each_room(|id, room| {
            let mut inside = room.lock();
            if inside.room.is_out_of_date(node, generation) {
                inside.room.released_by(node);
                self.flush(id, &mut inside);
            }
            drop(inside);
            room.changed.notify_waiters();
        });
    }
}

impl Listener for Hall {
    fn up(&self, node: NodeId) {
        let say = |message: Message| {
            // Where the queue is full the link starts again, and this with it.
            let _ = self.bus.send(node, message.to_bytes(), Worth::Rooms);
        };
        say(Message::Begin);
        self.each_room(|id, room| {
            let inside = room.lock();
            if !inside.retired {
                say(Message::Room { room: id.clone(), word: inside.room.hold(false) });
            }
        });
        say(Message::End);
    }

    fn down(&self, node: NodeId) {
        self.others.generations().remove(&node);
        let searches: Vec<u64> = self.others.searches().keys().copied().collect();
        for number in searches {
            self.found(node, number, Vec::new());
        }
        self.each_room(|id, room| {
            let mut inside = room.lock();
            inside.room.released_by(node);
            self.flush(id, &mut inside);
            drop(inside);
            room.changed.notify_waiters();
            self.retire_if_empty(id);
        });
    }

    fn heard(&self, from: NodeId, message: Bytes) {
        match Message::read(&message) {
            Some(Message::Begin) => {
                *self.others.generations().entry(from).or_default() += 1;
            }
            Some(Message::End) => self.told_everything(from),
            Some(Message::Room { room, word }) => self.heard_of_room(from, &room, word),
            Some(Message::Owner { room, order }) => {
                self.carry_out(&room, &order);
            }
            Some(Message::Find { number, peer }) => {
                let message = Message::Found { number, rooms: self.mine_with(&peer) };
                let _ = self.bus.send(from, message.to_bytes(), Worth::Rooms);
            }
            Some(Message::Found { number, rooms }) => self.found(from, number, rooms),
            None => tracing::debug!(node = %from, bytes = message.len(), "words not understood"),
        }
    }

    fn undelivered(&self, to: NodeId, message: Bytes) {
        match Message::read(&message) {
            Some(Message::Room { room, word }) => {
                self.in_room(&room, |room| room.undelivered(to, word, Now::read()));
            }
            // On a link that started again nobody else says it anew.
            Some(Message::Owner { .. }) => {
                let _ = self.bus.send(to, message, Worth::Rooms);
            }
            _ => {}
        }
    }

    fn back(&self) {
        self.others.missed.notify_one();
    }
}
