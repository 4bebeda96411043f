//! Saying no once a second, not twenty times.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use halyard_protocol::ids::PeerId;

use super::Rule;

/// A held key is twenty messages a second; the peer hears about the first of them and then once
/// in this long.
const EVERY: Duration = Duration::from_secs(1);

/// Peers whose refusals are remembered. Beyond it everything is forgotten, which costs a few more
/// notices and never memory.
const MOST: usize = 1024;

/// When each peer was last told of each rule.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: HashMap<(PeerId, Rule), Instant>,
}

impl Refusals {
    /// Whether to tell `peer` about `rule` now.
    pub(super) fn due(&mut self, now: Instant, peer: &PeerId, rule: Rule) -> bool {
        if self.told.len() >= MOST {
            self.told.clear();
        }
        let key = (peer.clone(), rule);
        let due = self.told.get(&key).is_none_or(|told| now.duration_since(*told) >= EVERY);
        if due {
            self.told.insert(key, now);
        }
        due
    }

    /// The peer is gone.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.told.retain(|(told, _), _| told != peer);
    }
}
