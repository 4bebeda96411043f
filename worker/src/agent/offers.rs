//! How many offers are looked at. Pure.
//!
//! An offer is the most expensive thing that somebody can ask of a worker before a connection: a
//! certificate, sockets, a handshake. So each peer has a small allowance, and all of them together
//! a larger one, of which those who come directly, without a broker that knows them, get half.

use std::{collections::HashMap, time::Instant};

use halyard_protocol::ids::PeerId;

/// Offers a second of one peer, after a burst of [`PEER_BURST`].
const PEER_RATE: f64 = 1.0;

/// A reconnect may need a few in a row.
const PEER_BURST: f64 = 6.0;

/// Offers a second of everybody, after a burst of [`ALL_BURST`].
const ALL_RATE: f64 = 20.0;

/// A whole class that joins at once.
const ALL_BURST: f64 = 60.0;

/// Offers a second of all who come directly, after a burst of [`DIRECT_BURST`].
const DIRECT_RATE: f64 = ALL_RATE / 2.0;

/// Half a class.
const DIRECT_BURST: f64 = ALL_BURST / 2.0;

/// Peers whose allowance is remembered; a full one is as good as none.
const MOST_PEERS: usize = 1024;

/// The allowances.
#[derive(Debug)]
pub struct Offers {
    all: Bucket,
    direct: Bucket,
    peers: HashMap<PeerId, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant, rate: f64, burst: f64) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(burst);
        self.at = now;
    }
}

impl Offers {
    /// Full allowances.
    pub fn new(now: Instant) -> Self {
        let full = |tokens| Bucket { tokens, at: now };
        Self { all: full(ALL_BURST), direct: full(DIRECT_BURST), peers: HashMap::new() }
    }

    /// Whether a direct offer is looked at now. How many each of those may make, who knows their
    /// addresses decides.
    pub fn allow_direct(&mut self, now: Instant) -> bool {
        self.all.refill(now, ALL_RATE, ALL_BURST);
        self.direct.refill(now, DIRECT_RATE, DIRECT_BURST);
        self.direct.tokens >= 1.0 && self.all.tokens >= 1.0 && {
            self.direct.tokens -= 1.0;
            self.all.tokens -= 1.0;
            true
        }
    }

    /// Whether an offer of this peer is looked at now.
    pub fn allow(&mut self, now: Instant, peer: &PeerId) -> bool {
        self.all.refill(now, ALL_RATE, ALL_BURST);
        if self.peers.len() >= MOST_PEERS {
            self.peers.retain(|_, bucket| {
                bucket.refill(now, PEER_RATE, PEER_BURST);
                bucket.tokens < PEER_BURST
            });
        }
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(peer) {
            return false;
        }
        let bucket =
            self.peers.entry(peer.clone()).or_insert(Bucket { tokens: PEER_BURST, at: now });
        bucket.refill(now, PEER_RATE, PEER_BURST);
        if bucket.tokens < 1.0 || self.all.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        self.all.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    #[test]
    fn a_peer_that_floods_does_not_use_up_the_others_share() {
        let now = Instant::now();
        let mut offers = Offers::new(now);
        let allowed = (0..1000).filter(|_| offers.allow(now, &id("mallory"))).count();
        assert_eq!(allowed, PEER_BURST as usize);
        assert!(offers.allow(now, &id("ann")));
        assert!(offers.allow(now + Duration::from_secs(1), &id("mallory")), "a second later");
    }

    #[test]
    fn a_flood_of_direct_offers_leaves_the_brokers_peers_half() {
        let now = Instant::now();
        let mut offers = Offers::new(now);
        let allowed = (0..1000).filter(|_| offers.allow_direct(now)).count();
        assert_eq!(allowed, DIRECT_BURST as usize);
        let others = (0..1000).filter(|n| offers.allow(now, &id(&n.to_string()))).count();
        assert_eq!(others, (ALL_BURST - DIRECT_BURST) as usize);
        assert!(offers.allow_direct(now + Duration::from_secs(1)), "a second later");
    }

    #[test]
    fn many_names_do_not_help() {
        let now = Instant::now();
        let mut offers = Offers::new(now);
        let allowed = (0..5000).filter(|n| offers.allow(now, &id(&n.to_string()))).count();
        assert_eq!(allowed, ALL_BURST as usize);
        assert!(offers.peers.len() <= MOST_PEERS);
    }
}
