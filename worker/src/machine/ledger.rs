//! Which commands were given, so that one that is repeated is answered again and not done again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use halyard_protocol::{
    channel::{Ack, Command},
    ids::PeerId,
};

/// Commands of one peer that are remembered. A client repeats the last few, not the last hundred.
const MOST_PER_PEER: usize = 64;

/// Peers that are remembered: those who spoke longest ago are forgotten first.
const MOST_PEERS: usize = 256;

/// Bytes of answers of one peer that are remembered; the oldest go first, the newest stays.
const MOST_BYTES_PER_PEER: usize = 128 * 1024;

/// What is known of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// It was never given before; it is running from now on.
    New,
    /// It is being done right now.
    Running,
    /// It was done, or refused, in these words.
    Done(Ack),
    /// This id was something else.
    Other,
}

/// A command that was given.
#[derive(Debug)]
struct Given {
    /// Of its name and its arguments.
    fingerprint: u64,
    answer: Option<Ack>,
    bytes: usize,
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
    given: HashMap<String, Given>,
    bytes: usize,
}

impl PerPeer {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front()
            && let Some(given) = self.given.remove(&oldest)
        {
            self.bytes -= given.bytes;
        }
    }
}

impl Ledger {
    /// A peer gives a command.
    pub(super) fn begin(&mut self, peer: &PeerId, command: &Command) -> Known {
        self.turn += 1;
        if !self.peers.contains_key(peer) && self.peers.len() >= MOST_PEERS {
            self.forget_one();
        }
        let known = self.peers.entry(peer.clone()).or_default();
        known.spoke = self.turn;
        if let Some(given) = known.given.get(&command.id) {
            if given.fingerprint != fingerprint(command) {
                return Known::Other;
            }
            return given.answer.clone().map_or(Known::Running, Known::Done);
        }
        if known.order.len() >= MOST_PER_PEER {
            known.forget_oldest();
        }
        known.order.push_back(command.id.clone());
        let given = Given { fingerprint: fingerprint(command), answer: None, bytes: 0 };
        known.given.insert(command.id.clone(), given);
        Known::New
    }

    /// A command ended.
    pub(super) fn end(&mut self, peer: &PeerId, ack: Ack) {
        if let Some(known) = self.peers.get_mut(peer)
            && let Some(given) = known.given.get_mut(&ack.id)
        {
            given.bytes = ack.result.as_ref().map_or(0, |result| result.to_string().len());
            known.bytes += given.bytes;
            given.answer = Some(ack);
            while known.bytes > MOST_BYTES_PER_PEER && known.order.len() > 1 {
                known.forget_oldest();
            }
        }
    }

    fn forget_one(&mut self) {
        let quietest = self.peers.iter().min_by_key(|(_, p)| p.spoke).map(|(id, _)| id.clone());
        if let Some(quietest) = quietest {
            self.peers.remove(&quietest);
        }
    }
}

fn fingerprint(command: &Command) -> u64 {
    let mut hasher = DefaultHasher::new();
    command.name.hash(&mut hasher);
    command.args.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    fn command(id: &str, name: &str) -> Command {
        let (id, name) = (id.to_owned(), name.to_owned());
        Command { id, name, args: json!({}), deadline_ms: None, echo: None }
    }

    #[test]
    fn an_id_that_was_another_command_is_told_apart() {
        let mut ledger = Ledger::default();
        ledger.begin(&peer("ann"), &command("1", "open"));
        ledger.end(&peer("ann"), Ack::done("1", json!(42)));
        assert_eq!(ledger.begin(&peer("ann"), &command("1", "close")), Known::Other);
    }

    #[test]
    fn a_repeated_command_is_answered_again_and_not_done_again() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin(&peer("ann"), &command("1", "look")), Known::New);
        assert_eq!(ledger.begin(&peer("ann"), &command("1", "look")), Known::Running);
        let ack = Ack::done("1", json!(42));
        ledger.end(&peer("ann"), ack.clone());
        assert_eq!(ledger.begin(&peer("ann"), &command("1", "look")), Known::Done(ack));
    }

    #[test]
    fn ids_of_two_peers_are_two_ids() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin(&peer("ann"), &command("1", "look")), Known::New);
        assert_eq!(ledger.begin(&peer("bob"), &command("1", "look")), Known::New);
    }

    #[test]
    fn memory_is_bounded_in_both_directions() {
        let mut ledger = Ledger::default();
        for id in 0..10_000 {
            ledger.begin(&peer("ann"), &command(&id.to_string(), "look"));
        }
        assert_eq!(ledger.peers[&peer("ann")].given.len(), MOST_PER_PEER);
        for id in 0..100 {
            let id = id.to_string();
            ledger.begin(&peer("ann"), &command(&id, "look"));
            ledger.end(&peer("ann"), Ack::done(id, json!("x".repeat(50_000))));
        }
        let ann = &ledger.peers[&peer("ann")];
        assert!(ann.bytes <= MOST_BYTES_PER_PEER, "{}", ann.bytes);
        assert_eq!(ann.order.back().map(String::as_str), Some("99"));
        for id in 0..10_000 {
            ledger.begin(&peer(&id.to_string()), &command("1", "look"));
        }
        assert_eq!(ledger.peers.len(), MOST_PEERS);
    }
}
