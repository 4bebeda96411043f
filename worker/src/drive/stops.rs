//! Who was stopped with a hand on the controls: each of them has to take it off once before it counts
//! again, whatever becomes of the lease meanwhile.

use std::collections::VecDeque;

use halyard_protocol::ids::PeerId;

use super::Rule;

/// Peers that are remembered, many times what drives one machine in turns: who was stopped longest
/// ago is forgotten first. Nobody is for leaving, since a key may be held over a reconnect.
const MOST: usize = 64;

/// Who has to let go, and by which rule each was stopped.
#[derive(Debug, Default)]
pub(super) struct Stops(VecDeque<(PeerId, Rule)>);

impl Stops {
    /// A peer was stopped; by the last rule where that happened more than once.
    pub(super) fn add(&mut self, peer: PeerId, rule: Rule) {
        self.let_go(&peer);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((peer, rule));
    }

    /// The rule by which this peer was stopped, if it did not let go since.
    pub(super) fn of(&self, peer: &PeerId) -> Option<Rule> {
        self.0.iter().find(|(stopped, _)| stopped == peer).map(|(_, rule)| *rule)
    }

    /// The hand came off. The rule by which it was stopped, if it was.
    pub(super) fn let_go(&mut self, peer: &PeerId) -> Option<Rule> {
        let at = self.0.iter().position(|(stopped, _)| stopped == peer)?;
        self.0.remove(at).map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_newest_stop_of_a_peer_counts() {
        let peer = |n: usize| PeerId::new(n.to_string()).expect("a good name");
        let mut stops = Stops::default();
        for n in 0..=MOST {
            stops.add(peer(n), Rule::Lease);
        }
        stops.add(peer(1), Rule::Estop);
        assert_eq!((stops.0.len(), stops.of(&peer(0))), (MOST, None));
        assert_eq!(
            (stops.of(&peer(1)), stops.of(&peer(MOST))),
            (Some(Rule::Estop), Some(Rule::Lease))
        );
        assert_eq!((stops.let_go(&peer(1)), stops.let_go(&peer(1))), (Some(Rule::Estop), None));
    }
}
