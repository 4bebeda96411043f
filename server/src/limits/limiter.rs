//! Which limits there are, and who is refused.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Bucket, OpenConnections, Pace, Rate, Source, table::Table};
use crate::{
    identity::Subject,
    settings::{Limits, Timing},
    time::whole_seconds,
};

/// Callers remembered at a time, some 64 bytes each. A robot lab is a handful of them; more than
/// this at a time are an attack, see [`Table`].
const REMEMBERED: usize = 65_536;
/// REST calls and new connections that go with one handshake: an operator page asks for some
/// twenty files when it is opened.
const CALLS_PER_HANDSHAKE: u64 = 10;
/// One identity has no reason to make rooms as fast as a whole address may: it owns a few.
const ROOMS_OF_IDENTITY_SHARE: u64 = 10;
/// Wrong tokens that one identity may try at once, and in a minute. People mistype; a guesser would
/// need 2^127 of them.
const FAILURES_OF_IDENTITY: u64 = 10;

/// One of the limits. Its name is the stable word in logs and metrics: the key of the setting, or
/// what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Connections open at a time, of everybody (`max_connections`).
    Connections,
    /// Connections open at a time, of one address (`max_connections_per_address`).
    ConnectionsPerAddress,
    /// New connections of one address.
    NewConnections,
    /// REST calls of one address.
    Calls,
    /// Sign-ins of one address.
    SignIns,
    /// New rooms of one address.
    NewRooms,
    /// New rooms of one identity.
    NewRoomsOfIdentity,
    /// WebSocket upgrades of one address.
    Sockets,
    /// Refused registrations of one address.
    FailedRegistrations,
    /// Registrations of one identity with a wrong room or token.
    FailuresOfIdentity,
    /// Rooms in use at a time, of everybody (`max_rooms`).
    Rooms,
    /// Rooms owned by one identity (`max_rooms_per_identity`).
    RoomsPerIdentity,
    /// Peers in one room (`max_peers_per_room`).
    PeersPerRoom,
    /// Messages and bytes on one socket (`messages_per_second`).
    Messages,
    /// A TLS handshake, a head or an answer that took too long.
    Slowness,
}

impl Limit {
    /// Every limit, for who counts them.
    pub const ALL: [Self; 15] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::NewConnections,
        Self::Calls,
        Self::SignIns,
        Self::NewRooms,
        Self::NewRoomsOfIdentity,
        Self::Sockets,
        Self::FailedRegistrations,
        Self::FailuresOfIdentity,
        Self::Rooms,
        Self::RoomsPerIdentity,
        Self::PeersPerRoom,
        Self::Messages,
        Self::Slowness,
    ];

    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerAddress => "max_connections_per_address",
            Self::NewConnections => "new_connections",
            Self::Calls => "calls",
            Self::SignIns => "sign_ins",
            Self::NewRooms => "new_rooms",
            Self::NewRoomsOfIdentity => "new_rooms_of_identity",
            Self::Sockets => "sockets",
            Self::FailedRegistrations => "failed_registrations",
            Self::FailuresOfIdentity => "failures_of_identity",
            Self::Rooms => "max_rooms",
            Self::RoomsPerIdentity => "max_rooms_per_identity",
            Self::PeersPerRoom => "max_peers_per_room",
            Self::Messages => "messages_per_second",
            Self::Slowness => "slowness",
        }
    }

    /// What there was too much of, for people.
    fn words(self) -> &'static str {
        match self {
            Self::Connections => "connections in all",
            Self::ConnectionsPerAddress => "connections from this address",
            Self::NewConnections => "new connections from this address",
            Self::Calls => "calls from this address",
            Self::SignIns => "sign-ins from this address",
            Self::NewRooms => "new rooms from this address",
            Self::NewRoomsOfIdentity => "new rooms of this identity",
            Self::Sockets => "new sockets from this address",
            Self::FailedRegistrations => "refused registrations from this address",
            Self::FailuresOfIdentity => "refused registrations of this identity",
            Self::Rooms => "rooms in use on this server",
            Self::RoomsPerIdentity => "rooms of this identity",
            Self::PeersPerRoom => "peers in this room",
            Self::Messages => "messages on this socket",
            Self::Slowness => "seconds taken",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Somebody did something too often, or has too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many {}; try again in {} s", .limit.words(), whole_seconds(*.retry_after))]
pub struct TooOften {
    /// What.
    pub limit: Limit,
    /// When it may be tried again.
    pub retry_after: Duration,
}

impl TooOften {
    /// Whole seconds to wait, as `Retry-After` has them: at least one.
    pub fn seconds(&self) -> u64 {
        whole_seconds(self.retry_after)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Source(Source),
    /// By its hash: the text is as long as an identity provider likes.
    Identity(u64),
}

/// Counts who calls, and refuses who calls too often.
#[derive(Debug)]
pub struct Limiter {
    table: Table<(Limit, Who)>,
    hasher: RandomState,
    handshakes: u64,
    /// The connections that are open.
    pub open: Arc<OpenConnections>,
    /// How fast each socket may talk.
    pub pace: Pace,
}

impl Limiter {
    /// With these limits.
    pub fn new(limits: &Limits, timing: &Timing) -> Self {
        Self {
            table: Table::new(REMEMBERED),
            hasher: RandomState::new(),
            handshakes: limits.handshakes_per_minute as u64,
            open: OpenConnections::new(limits.max_connections_per_address),
            pace: Pace::new(limits.messages_per_second, timing),
        }
    }

    fn rate(&self, limit: Limit) -> Rate {
        Rate::per_minute(match limit {
            Limit::Calls | Limit::NewConnections => {
                self.handshakes.saturating_mul(CALLS_PER_HANDSHAKE)
            }
            Limit::NewRoomsOfIdentity => self.handshakes / ROOMS_OF_IDENTITY_SHARE,
            Limit::FailuresOfIdentity => FAILURES_OF_IDENTITY.min(self.handshakes),
            _ => self.handshakes,
        })
    }

    fn identity(&self, identity: &Subject) -> Who {
        Who::Identity(self.hasher.hash_one(identity.as_str()))
    }

    fn take(&self, limit: Limit, who: Who, now: Instant) -> Result<(), TooOften> {
        let taken = self.table.take((limit, who), 1, self.rate(limit), now);
        taken.map_err(|retry_after| TooOften { limit, retry_after })
    }

    /// Somebody at this address does something that is limited by address.
    pub fn admit(&self, limit: Limit, from: IpAddr, now: Instant) -> Result<(), TooOften> {
        self.take(limit, Who::Source(from.into()), now)
    }

    /// An identity makes a room.
    pub fn admit_room_of(&self, identity: &Subject, now: Instant) -> Result<(), TooOften> {
        self.take(Limit::NewRoomsOfIdentity, self.identity(identity), now)
    }

    /// Whether a registration from this address is looked at: not where too many were refused.
    pub fn may_register(&self, from: IpAddr, now: Instant) -> Result<(), TooOften> {
        self.not_failed(Limit::FailedRegistrations, Who::Source(from.into()), now)
    }

    /// Whether a registration of this identity is looked at, which was verified already.
    pub fn may_register_as(&self, identity: &Subject, now: Instant) -> Result<(), TooOften> {
        self.not_failed(Limit::FailuresOfIdentity, self.identity(identity), now)
    }

    fn not_failed(&self, limit: Limit, who: Who, now: Instant) -> Result<(), TooOften> {
        let rate = self.rate(limit);
        let retry_after = self.table.with((limit, who), now, |bucket| bucket.wait(rate, now));
        if retry_after.is_zero() { Ok(()) } else { Err(TooOften { limit, retry_after }) }
    }

    /// A registration was refused for its identity, its room or its token.
    pub fn failed(&self, from: IpAddr, identity: Option<&Subject>, now: Instant) {
        let charge = |limit, who| {
            let rate = self.rate(limit);
            self.table.with((limit, who), now, |bucket: &mut Bucket| bucket.owe(1, rate, now));
        };
        charge(Limit::FailedRegistrations, Who::Source(from.into()));
        if let Some(identity) = identity {
            charge(Limit::FailuresOfIdentity, self.identity(identity));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(handshakes_per_minute: usize) -> Limiter {
        let limits = Limits { handshakes_per_minute, ..Limits::default() };
        Limiter::new(&limits, &Timing::default())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_lab_behind_one_address_comes_back_at_once_after_a_power_cut() {
        let (limiter, now) = (limiter(Limits::default().handshakes_per_minute), Instant::now());
        let lab = ip("192.0.2.7");
        for _robot in 0..200 {
            assert_eq!(limiter.admit(Limit::NewConnections, lab, now), Ok(()));
            for limit in [Limit::SignIns, Limit::NewRooms, Limit::Sockets, Limit::Calls] {
                assert_eq!(limiter.admit(limit, lab, now), Ok(()), "{limit}");
            }
        }
    }

    #[test]
    fn each_address_and_each_thing_has_its_own_share() {
        let (limiter, now) = (limiter(2), Instant::now());
        let (a, b) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..2 {
            assert_eq!(limiter.admit(Limit::SignIns, a, now), Ok(()));
        }
        let refused = limiter.admit(Limit::SignIns, a, now).expect_err("too often");
        assert_eq!((refused.limit, refused.seconds()), (Limit::SignIns, 30));
        let words = "too many sign-ins from this address; try again in 30 s";
        assert_eq!(refused.to_string(), words);
        assert_eq!(limiter.admit(Limit::Sockets, a, now), Ok(()));
        assert_eq!(limiter.admit(Limit::SignIns, b, now), Ok(()));
        let later = now + Duration::from_secs(30);
        assert_eq!(limiter.admit(Limit::SignIns, a, later), Ok(()));
    }

    #[test]
    fn who_guesses_tokens_waits_and_his_neighbours_do_not() {
        let (limiter, now) = (limiter(Limits::default().handshakes_per_minute), Instant::now());
        let lab = ip("192.0.2.7");
        let (guesser, neighbour) = (Subject::new("guesser"), Subject::new("neighbour"));
        for _ in 0..FAILURES_OF_IDENTITY {
            assert_eq!(limiter.may_register_as(&guesser, now), Ok(()));
            limiter.failed(lab, Some(&guesser), now);
        }
        let refused = limiter.may_register_as(&guesser, now).expect_err("too often");
        assert_eq!(refused.limit, Limit::FailuresOfIdentity);
        assert!((1..=6).contains(&refused.seconds()), "{refused}");
        assert_eq!(limiter.may_register(lab, now), Ok(()));
        assert_eq!(limiter.may_register_as(&neighbour, now), Ok(()));
        // With as many identities as he can get, he still has one address.
        for _ in 0..600 {
            limiter.failed(lab, None, now);
        }
        assert!(limiter.may_register(lab, now).is_err());
        assert_eq!(limiter.may_register(ip("192.0.2.8"), now), Ok(()));
    }

    #[test]
    fn the_names_are_stable_and_different() {
        let mut names: Vec<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
