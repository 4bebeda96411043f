//! Which commands were given, so that one that is repeated is answered again and not done again.

use std::collections::{HashMap, VecDeque};

use halyard_protocol::{channel::Ack, ids::PeerId};

/// Commands of one peer that are remembered. A client repeats the last few, not the last hundred.
const MOST_PER_PEER: usize = 64;

/// Peers that are remembered: those who spoke longest ago are forgotten first.
const MOST_PEERS: usize = 256;

/// What is known of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// It was never given before; it is running from now on.
    New,
    /// It is being done right now.
    Running,
    /// It was done, or refused, in these words.
    Done(Ack),
}

/// The memory. It outlives connections: a retry after a reconnect is still a retry.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    peers: HashMap<PeerId, PerPeer>,
    /// Counts up; the peer with the smallest is forgotten first.
    turn: u64,
}

#[derive(Debug, Default)]
struct PerPeer {
    spoke: u64,
    order: VecDeque<String>,
    answers: HashMap<String, Option<Ack>>,
}

impl Ledger {
    /// A peer gives a command.
    pub(super) fn begin(&mut self, peer: &PeerId, id: &str) -> Known {
        self.turn += 1;
        if !self.peers.contains_key(peer) && self.peers.len() >= MOST_PEERS {
            self.forget_one();
        }
        let known = self.peers.entry(peer.clone()).or_default();
        known.spoke = self.turn;
        match known.answers.get(id) {
            Some(Some(ack)) => return Known::Done(ack.clone()),
            Some(None) => return Known::Running,
            None => {}
        }
        if known.order.len() >= MOST_PER_PEER
            && let Some(oldest) = known.order.pop_front()
        {
            known.answers.remove(&oldest);
        }
        known.order.push_back(id.to_owned());
        known.answers.insert(id.to_owned(), None);
        Known::New
    }

    /// A command ended.
    pub(super) fn end(&mut self, peer: &PeerId, ack: Ack) {
        if let Some(known) = self.peers.get_mut(peer)
            && let Some(answer) = known.answers.get_mut(&ack.id)
        {
            *answer = Some(ack);
        }
    }

    fn forget_one(&mut self) {
        let quietest = self.peers.iter().min_by_key(|(_, p)| p.spoke).map(|(id, _)| id.clone());
        if let Some(quietest) = quietest {
            self.peers.remove(&quietest);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    #[test]
    fn a_repeated_command_is_answered_again_and_not_done_again() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin(&peer("ann"), "1"), Known::New);
        assert_eq!(ledger.begin(&peer("ann"), "1"), Known::Running);
        let ack = Ack::done("1", json!(42));
        ledger.end(&peer("ann"), ack.clone());
        assert_eq!(ledger.begin(&peer("ann"), "1"), Known::Done(ack));
    }

    #[test]
    fn ids_of_two_peers_are_two_ids() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin(&peer("ann"), "1"), Known::New);
        assert_eq!(ledger.begin(&peer("bob"), "1"), Known::New);
    }

    #[test]
    fn memory_is_bounded_in_both_directions() {
        let mut ledger = Ledger::default();
        for id in 0..10_000 {
            ledger.begin(&peer("ann"), &id.to_string());
        }
        assert_eq!(ledger.peers[&peer("ann")].answers.len(), MOST_PER_PEER);
        for id in 0..10_000 {
            ledger.begin(&peer(&id.to_string()), "1");
        }
        assert_eq!(ledger.peers.len(), MOST_PEERS);
    }
}
