//! Who is in the room and what each of them may do, as the broker says. Pure.
//!
//! This is the only place where a worker learns anybody's rights.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use halyard_protocol::{
    access::{Access, PeerRole},
    ids::PeerId,
    limits::RESUME_WINDOW,
    signal::{Grant, PeerInfo, Registered},
};

/// After the broker was away, a peer that was known before has this long to come back there. Its
/// connection to the worker, which does not need the broker, lives on meanwhile.
pub(super) const RETURN_WITHIN: Duration = RESUME_WINDOW;

/// Everybody else in the room.
#[derive(Debug, Default)]
pub struct Roster {
    peers: HashMap<PeerId, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    access: Access,
    grant: Option<Grant>,
    /// It reads the original's words: its metadata says so, or it names no part that it plays.
    is_existing: bool,
    /// Since when the broker does not know it any more.
    absent_since: Option<Instant>,
}

/// What a message of the broker means for a peer's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Its rights are others than before: what it was allowed has to be looked at again.
    Access(PeerId),
}

impl Roster {
    /// What a present peer may do. `None` for strangers.
    pub fn access(&self, peer: &PeerId) -> Option<Access> {
        let known = self.peers.get(peer)?;
        known.absent_since.is_none().then_some(known.access)
    }

    /// By what right a peer is here.
    pub fn grant(&self, peer: &PeerId) -> Option<&Grant> {
        self.peers.get(peer)?.grant.as_ref()
    }

    /// Whether a peer reads the original's words.
    pub fn is_existing(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|known| known.is_existing)
    }

    /// How many are present.
    pub fn present(&self) -> usize {
        self.peers.values().filter(|known| known.absent_since.is_none()).count()
    }

    /// Somebody came, or came back, perhaps with other rights.
    pub fn joined(&mut self, info: &PeerInfo) -> Change {
        let known = Known {
            access: info.access,
            grant: info.grant.clone(),
            is_existing: info.metadata.is_existing() || info.role == PeerRole::Peer,
            absent_since: None,
        };
        match self.peers.insert(info.peer_id.clone(), known) {
            Some(before) if before.access != info.access => Change::Access(info.peer_id.clone()),
            _ => Change::None,
        }
    }

    /// Somebody left for good, or was sent away.
    pub fn left(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// The broker says who is here. Who is missing has some time to come back: after a restart of
    /// the broker everybody registers anew, in no order.
    pub fn registered(&mut self, now: Instant, registered: &Registered) -> Vec<Change> {
        for (id, known) in &mut self.peers {
            let here = registered.peers.iter().any(|info| info.peer_id == *id);
            if !here && known.absent_since.is_none() {
                known.absent_since = Some(now);
            }
        }
        registered.peers.iter().map(|info| self.joined(info)).collect()
    }

    /// Who did not come back in time. They are forgotten.
    pub fn expired(&mut self, now: Instant) -> Vec<PeerId> {
        let gone: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, known)| {
                known.absent_since.is_some_and(|since| now.duration_since(since) >= RETURN_WITHIN)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for peer in &gone {
            self.peers.remove(peer);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    fn info(name: &str, access: &str) -> PeerInfo {
        serde_json::from_value(json!({"peer_id": name, "access": access})).expect("a peer")
    }

    fn registered(peers: &[PeerInfo]) -> Registered {
        serde_json::from_value(json!({
            "room_id": "r", "token": null, "peer_id": "me", "admin_peer_id": null,
            "peer_list": [], "peer_metadata": {}, "ice_servers": [], "mesh_ice_servers": [],
            "peers": peers,
        }))
        .expect("a registration")
    }

    #[test]
    fn strangers_may_nothing() {
        let mut roster = Roster::default();
        assert_eq!(roster.access(&id("eve")), None);
        roster.joined(&info("eve", "viewer"));
        assert_eq!(roster.access(&id("eve")), Some(Access::Viewer));
        roster.left(&id("eve"));
        assert_eq!(roster.access(&id("eve")), None);
    }

    #[test]
    fn other_rights_are_noticed() {
        let mut roster = Roster::default();
        assert_eq!(roster.joined(&info("ann", "viewer")), Change::None);
        assert_eq!(roster.joined(&info("ann", "viewer")), Change::None);
        assert_eq!(roster.joined(&info("ann", "operator")), Change::Access(id("ann")));
    }

    #[test]
    fn after_a_restart_of_the_broker_everybody_has_time_to_come_back() {
        let mut roster = Roster::default();
        let start = Instant::now();
        roster.registered(start, &registered(&[info("ann", "operator"), info("bob", "viewer")]));
        roster.registered(start, &registered(&[]));
        assert_eq!(roster.access(&id("ann")), None, "nobody vouches for her now");
        let later = start + RETURN_WITHIN / 2;
        assert!(roster.expired(later).is_empty());
        roster.joined(&info("ann", "operator"));
        assert_eq!(roster.expired(start + RETURN_WITHIN), [id("bob")]);
        assert_eq!(roster.access(&id("ann")), Some(Access::Operator));
        assert_eq!(roster.present(), 1);
    }
}
