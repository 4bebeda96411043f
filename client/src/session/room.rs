//! Who is in the room, and which of them is the worker to connect to. Pure.

use std::{collections::BTreeMap, sync::Arc};

use halyard_protocol::{
    access::PeerRole,
    ids::PeerId,
    signal::{Metadata, PeerInfo, Registered},
};

use super::choice::Choice;

/// Everybody else in the room, in the order in which they came, and the worker that counts.
#[derive(Debug, Default)]
pub(super) struct Room {
    peers: Vec<PeerInfo>,
    choice: Choice,
    worker: Option<PeerId>,
    /// The broker says what everybody may do. One of the original does not.
    tells_access: bool,
}

/// What a change means for the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// There is one to connect to; perhaps the same name, started anew.
    Came,
    /// There is none any more.
    Left,
}

impl Room {
    pub(super) fn new(choice: Choice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// The worker to connect to. It stays known after it left, for the connection may live on.
    pub(super) fn worker(&self) -> Option<&PeerId> {
        self.worker.as_ref()
    }

    /// A worker that speaks the original's words alone, where there is none of ours.
    pub(super) fn foreign(&self) -> Option<&PeerId> {
        let meant = |peer: &&PeerInfo| match &self.choice.worker {
            Some(wanted) => peer.peer_id == *wanted,
            None => self.is_worker(peer),
        };
        let mut workers = self.peers.iter().filter(meant);
        let first = workers.next().filter(|peer| peer.metadata.is_existing())?;
        workers.all(|peer| peer.metadata.is_existing()).then_some(&first.peer_id)
    }

    pub(super) fn peers(&self) -> Arc<Vec<PeerInfo>> {
        Arc::new(self.peers.clone())
    }

    /// A registration says who is here. The old worker counts as come again when it registered
    /// anew since we last heard of it.
    pub(super) fn registered(&mut self, registered: &Registered) -> Change {
        self.tells_access = registered.role.is_some();
        let mut peers = registered.peers.clone();
        if peers.is_empty() {
            // A broker of the original names them without their parts; `discover_peers` follows.
            peers = registered.peer_list.iter().map(|id| nameless(registered, id)).collect();
        }
        let since = |peers: &[PeerInfo], id: &PeerId| {
            peers.iter().find(|peer| peer.peer_id == *id).map(|peer| peer.connected_at)
        };
        let before = self.worker.clone().and_then(|id| since(&self.peers, &id));
        self.peers = peers;
        let now = self.worker.clone().and_then(|id| since(&self.peers, &id));
        match (before, now) {
            // The broker's own number, passed on unchanged: comparing it exactly is right.
            (Some(before), Some(now)) if before.to_bits() == now.to_bits() => Change::None,
            (_, Some(_)) => Change::Came,
            (before, None) => self.choose(before.is_some()),
        }
    }

    pub(super) fn joined(&mut self, peer: PeerInfo) -> Change {
        let id = peer.peer_id.clone();
        let is_worker = self.fits(&peer);
        let again = self.worker.as_ref() == Some(&id);
        self.peers.retain(|known| known.peer_id != id);
        self.peers.push(peer);
        let nobody = self.worker.as_ref().is_none_or(|worker| !self.is_here(worker));
        if is_worker && (again || nobody) {
            self.worker = Some(id);
            return Change::Came;
        }
        Change::None
    }

    pub(super) fn left(&mut self, id: &PeerId) -> Change {
        self.peers.retain(|known| known.peer_id != *id);
        if self.worker.as_ref() == Some(id) { self.choose(true) } else { Change::None }
    }

    /// It may be one that is meant from now on; one that was chosen stays, whatever it says later.
    pub(super) fn described(&mut self, id: &PeerId, metadata: Metadata) -> Change {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.peer_id == *id) {
            peer.metadata = metadata;
        }
        match &self.worker {
            Some(worker) if self.is_here(worker) => Change::None,
            _ => self.choose(false),
        }
    }

    /// Why none of the workers that are here is meant, for people, where there is a why.
    pub(super) fn unmet(&self) -> Option<String> {
        self.choice.unmet(self.peers.iter().filter(|peer| self.is_worker(peer)))
    }

    /// The answer to `discover_peers`, which names everybody's part.
    pub(super) fn discovered(&mut self, found: Vec<PeerInfo>) -> Change {
        let mut change = Change::None;
        for peer in found {
            if self.worker.as_ref() != Some(&peer.peer_id) && self.joined(peer) == Change::Came {
                change = Change::Came;
            }
        }
        change
    }

    fn choose(&mut self, was_here: bool) -> Change {
        match self.choice.of(self.peers.iter().filter(|peer| self.fits(peer))) {
            Some(peer) => {
                self.worker = Some(peer.peer_id.clone());
                Change::Came
            }
            None if was_here => Change::Left,
            None => Change::None,
        }
    }

    /// A worker that speaks our words.
    fn fits(&self, peer: &PeerInfo) -> bool {
        let is_meant = match &self.choice.worker {
            Some(wanted) => peer.peer_id == *wanted,
            None => self.is_worker(peer) && self.choice.fits(peer),
        };
        is_meant && !peer.metadata.is_existing()
    }

    /// Anybody may call themselves a worker. A viewer who does is no machine, and must not be told
    /// what is meant for one.
    fn is_worker(&self, peer: &PeerInfo) -> bool {
        peer.role == PeerRole::Worker && (!self.tells_access || peer.access.may_operate())
    }

    fn is_here(&self, id: &PeerId) -> bool {
        self.peers.iter().any(|peer| peer.peer_id == *id)
    }
}

fn nameless(registered: &Registered, id: &PeerId) -> PeerInfo {
    let metadata: &BTreeMap<_, _> = &registered.peer_metadata;
    PeerInfo {
        peer_id: id.clone(),
        role: PeerRole::Peer,
        access: halyard_protocol::access::Access::Viewer,
        metadata: metadata.get(id).cloned().unwrap_or_default(),
        connected_at: 0.0,
        grant: None,
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::access::Access;
    use serde_json::json;

    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    fn peer(name: &str, role: PeerRole, connected_at: f64) -> PeerInfo {
        PeerInfo {
            peer_id: id(name),
            role,
            access: Access::Operator,
            metadata: Metadata::default(),
            connected_at,
            grant: None,
        }
    }

    fn registered(peers: &[PeerInfo]) -> Registered {
        let list: Vec<_> = peers.iter().map(|peer| peer.peer_id.clone()).collect();
        serde_json::from_value(serde_json::json!({
            "room_id": "r", "token": null, "peer_id": "me", "admin_peer_id": null,
            "peer_list": list, "peer_metadata": {}, "ice_servers": [], "mesh_ice_servers": [],
            "peers": peers,
        }))
        .expect("a registration")
    }

    #[test]
    fn the_first_worker_in_the_room_is_chosen() {
        let mut room = Room::new(Choice::default());
        assert_eq!(room.registered(&registered(&[peer("a", PeerRole::Client, 1.0)])), Change::None);
        assert_eq!(room.joined(peer("w1", PeerRole::Worker, 2.0)), Change::Came);
        assert_eq!(room.joined(peer("w2", PeerRole::Worker, 3.0)), Change::None);
        assert_eq!(room.worker(), Some(&id("w1")));
        assert_eq!(room.left(&id("w1")), Change::Came, "the other one takes over");
        assert_eq!(room.worker(), Some(&id("w2")));
        assert_eq!(room.left(&id("w2")), Change::Left);
    }

    #[test]
    fn a_viewer_who_calls_itself_a_worker_is_none() {
        let mut room = Room::new(Choice::default());
        let mut here = registered(&[]);
        here.role = Some(Access::Operator);
        assert_eq!(room.registered(&here), Change::None);
        let mut eve = peer("eve", PeerRole::Worker, 1.0);
        eve.access = Access::Viewer;
        assert_eq!(room.joined(eve.clone()), Change::None);
        assert_eq!(room.joined(peer("w", PeerRole::Worker, 2.0)), Change::Came);
        assert_eq!(room.worker(), Some(&id("w")));
        assert_eq!(room.left(&id("w")), Change::Left, "eve does not take over");

        // A broker that tells nobody's rights cannot be asked for them.
        let mut older = Room::new(Choice::default());
        older.registered(&registered(&[]));
        assert_eq!(older.joined(eve), Change::Came);
    }

    #[test]
    fn a_worker_of_the_originals_words_is_named_and_not_connected_to() {
        let tags = |tags: &[&str]| Metadata {
            tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
            ..Metadata::default()
        };
        let mut sleap = peer("sleap", PeerRole::Worker, 1.0);
        sleap.metadata = tags(&["sleap-rtc", "training-worker"]);
        let mut ours = peer("ours", PeerRole::Worker, 2.0);
        ours.metadata = tags(&["halyard-worker", "sleap-rtc"]);

        let mut room = Room::new(Choice::default());
        assert_eq!(room.registered(&registered(&[sleap.clone()])), Change::None);
        assert_eq!((room.worker(), room.foreign()), (None, Some(&id("sleap"))));
        assert_eq!(room.joined(ours), Change::Came);
        assert_eq!((room.worker(), room.foreign()), (Some(&id("ours")), None));

        let mut named = Room::new(Choice { worker: Some(id("sleap")), ..Choice::default() });
        assert_eq!(named.registered(&registered(&[sleap])), Change::None);
        assert_eq!(named.foreign(), Some(&id("sleap")));
    }

    #[test]
    fn a_worker_that_joins_again_counts_as_started_anew() {
        let mut room = Room::new(Choice::default());
        room.joined(peer("w", PeerRole::Worker, 2.0));
        assert_eq!(room.joined(peer("w", PeerRole::Worker, 3.0)), Change::Came);
    }

    #[test]
    fn after_a_reconnect_only_a_new_registration_of_the_worker_counts() {
        let mut room = Room::new(Choice::default());
        room.registered(&registered(&[peer("w", PeerRole::Worker, 2.0)]));
        let same = registered(&[peer("w", PeerRole::Worker, 2.0)]);
        assert_eq!(room.registered(&same), Change::None);
        let anew = registered(&[peer("w", PeerRole::Worker, 9.0)]);
        assert_eq!(room.registered(&anew), Change::Came);
        assert_eq!(room.registered(&registered(&[])), Change::Left);
        assert_eq!(room.registered(&anew), Change::Came);
    }

    #[test]
    fn a_worker_that_the_user_named_is_the_only_one() {
        let mut room = Room::new(Choice { worker: Some(id("w2")), ..Choice::default() });
        assert_eq!(room.joined(peer("w1", PeerRole::Worker, 1.0)), Change::None);
        assert_eq!(room.joined(peer("w2", PeerRole::Peer, 1.0)), Change::Came);
    }

    fn with_memory(name: &str, megabytes: u64) -> PeerInfo {
        let mut info = peer(name, PeerRole::Worker, 1.0);
        info.metadata = memory(megabytes);
        info
    }

    fn memory(megabytes: u64) -> Metadata {
        serde_json::from_value(json!({ "properties": { "gpu_memory_mb": megabytes } }))
            .expect("metadata")
    }

    #[test]
    fn a_worker_that_does_not_fit_is_waited_for_until_it_does() {
        let conditions = vec!["gpu_memory_mb>=8000".parse().expect("a condition")];
        let mut room = Room::new(Choice { conditions, ..Choice::default() });
        assert_eq!(room.registered(&registered(&[with_memory("small", 4000)])), Change::None);
        assert!(room.unmet().expect("words").contains("small (gpu_memory_mb=4000)"));
        assert_eq!(room.joined(with_memory("large", 16_000)), Change::Came);
        assert_eq!(room.worker(), Some(&id("large")));
        assert_eq!(room.described(&id("large"), memory(0)), Change::None, "who was chosen stays");
        assert_eq!(room.left(&id("large")), Change::Left);
        assert_eq!(room.described(&id("small"), memory(8000)), Change::Came);
        assert_eq!(room.worker(), Some(&id("small")));
    }
}
