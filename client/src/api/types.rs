//! What the calls take and give.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    link::JoinLink,
    signal::{IceServer, PeerInfo},
    token::Token,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// An identity is not used for anything new when less than this is left of it, or a tenth of its
/// life where that is less: the call itself takes time, and clocks disagree.
const FRESH_MARGIN: Duration = Duration::from_secs(30);

/// An identity is renewed when this part of its life is left: a broker may be away for as long
/// without anybody losing a room.
const RENEW_AHEAD: u32 = 2;

/// How often it is looked, at the least, whether it is time: clocks are set, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_mins(2);

/// Shortest wait after a renewal that did not work.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Somebody, as the broker knows them. Anonymous, but the same from call to call: rooms belong to
/// an identity.
///
/// It serialises with its secret, for a file that only its owner can read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// The user name, which is also the peer id to register with.
    pub username: PeerId,
    /// What proves it.
    pub id_token: Token,
    /// When the proof ends, in seconds since 1970 by this machine's clock.
    pub expires_at: u64,
    /// How many seconds it was good for when it was given out.
    #[serde(default = "an_hour")]
    pub lifetime: u64,
}

impl Identity {
    /// Whether it should be renewed when there is an occasion: half of its life is over.
    pub fn is_stale(&self, now: SystemTime) -> bool {
        self.left(now) <= self.renewed_ahead()
    }

    /// Whether it may still be used for something new.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        self.left(now) > FRESH_MARGIN.min(Duration::from_secs(self.lifetime) / 10)
    }

    /// How long to wait until it is looked at again whether it should be renewed: until it is
    /// stale, or, where it is and renewing it did not work, more often the less is left.
    pub fn look_again(&self, now: SystemTime) -> Duration {
        let left = self.left(now);
        let until_stale = left.saturating_sub(self.renewed_ahead());
        let wait = if until_stale.is_zero() { (left / 8).max(LOOK_AGAIN) } else { until_stale };
        wait.min(LOOK_EVERY)
    }

    fn left(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.expires_at).saturating_sub(now)
    }

    fn renewed_ahead(&self) -> Duration {
        Duration::from_secs(self.lifetime) / RENEW_AHEAD
    }
}

/// The answer to a sign-in.
#[derive(Deserialize)]
pub(super) struct SignedIn {
    id_token: Token,
    username: PeerId,
    /// Seconds. The original said nothing; its identity tokens lived an hour.
    #[serde(default = "an_hour")]
    expires_in: u64,
}

fn an_hour() -> u64 {
    3600
}

impl SignedIn {
    pub(super) fn into_identity(self, now: SystemTime) -> Identity {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Identity {
            username: self.username,
            id_token: self.id_token,
            expires_at: now.saturating_add(self.expires_in),
            lifetime: self.expires_in,
        }
    }
}

/// Wishes for a new room.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RoomOptions {
    /// How long it lives; the broker's usual time if not given.
    #[serde(
        rename = "ttl_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_seconds"
    )]
    pub ttl: Option<Duration>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[expect(clippy::ref_option, reason = "serde asks for this shape")]
fn as_seconds<S: serde::Serializer>(ttl: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    ttl.map(|ttl| ttl.as_secs()).serialize(to)
}

/// A new room and its secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomCreated {
    /// Its public name.
    pub room_id: RoomId,
    /// The operator token (the original had only one token, under this name).
    pub token: Token,
    /// One token for each role. A broker of the original says nothing here.
    #[serde(default)]
    pub tokens: Option<RoomTokens>,
    /// When it ends, in seconds since 1970.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// The operator's join link, token included, by the broker's public address.
    #[serde(default)]
    pub join_url: Option<Token>,
    /// The viewers' join link, token included, by the broker's public address.
    #[serde(default)]
    pub viewer_url: Option<Token>,
}

/// A room's tokens by what they allow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomTokens {
    /// Sees and drives.
    pub operator: Token,
    /// Sees.
    pub viewer: Token,
}

impl RoomCreated {
    /// The operator's join link: the broker's own word for it, or one made from `server`.
    pub fn operator_link(&self, server: &Url) -> Option<JoinLink> {
        link(self.join_url.as_ref(), server, &self.room_id, &self.token)
    }

    /// The viewers' join link, where the broker gives viewers a token of their own.
    pub fn viewer_link(&self, server: &Url) -> Option<JoinLink> {
        let tokens = self.tokens.as_ref()?;
        link(self.viewer_url.as_ref(), server, &self.room_id, &tokens.viewer)
    }
}

fn link(said: Option<&Token>, server: &Url, room: &RoomId, token: &Token) -> Option<JoinLink> {
    said.and_then(|said| JoinLink::parse(said.expose()).ok())
        .filter(|link| link.token().is_some())
        .or_else(|| JoinLink::new(server.clone(), room.clone(), Some(token.clone())).ok())
}

/// What the owner may know of a room. Fields that this version does not know are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Its public name.
    pub room_id: RoomId,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Who is in it now.
    #[serde(default)]
    pub peers: Vec<PeerInfo>,
    /// Anything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Whose access ends.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum WhomToRevoke {
    /// One peer's session.
    Peer {
        /// Who.
        peer_id: PeerId,
    },
    /// Everybody who came by this role's token; the token is replaced.
    Role {
        /// `viewer` or `operator`.
        role: Access,
    },
}

/// What came of it. Fields that this version does not know are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// The role's new token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The operators' new join link, token included, where it is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_url: Option<Token>,
    /// The viewers' new join link, token included, where it is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer_url: Option<Token>,
    /// Anything else.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// STUN and TURN servers and when their passwords end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IceServers {
    /// As browsers take them.
    pub ice_servers: Vec<IceServer>,
    /// When the passwords end, in seconds since 1970.
    #[serde(default)]
    pub expires_at: Option<u64>,
}

/// A broker that answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `healthy` or `ok`.
    #[serde(default)]
    pub status: String,
    /// The server's version.
    #[serde(default)]
    pub version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: u64 = 1_000_000;

    fn identity(lifetime: u64) -> Identity {
        Identity {
            username: PeerId::new("me").expect("a name"),
            id_token: Token::new("i"),
            expires_at: BORN + lifetime,
            lifetime,
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(BORN + seconds)
    }

    #[test]
    fn an_identity_is_renewed_at_half_of_its_life_and_used_until_shortly_before_its_end() {
        for lifetime in [4, 60, 3600, 24 * 3600] {
            let identity = identity(lifetime);
            let half = lifetime / 2;
            assert!(!identity.is_stale(at(half - 1)) && identity.is_stale(at(half)), "{lifetime}");
            assert!(identity.is_fresh(at(half)), "{lifetime}");
            assert!(!identity.is_fresh(at(lifetime)), "{lifetime}");
        }
        let hour = identity(3600);
        assert!(hour.is_fresh(at(3569)) && !hour.is_fresh(at(3570)));
    }

    #[test]
    fn it_is_looked_at_when_it_is_due_and_after_a_failure_ever_more_often() {
        let short = identity(40);
        assert_eq!(short.look_again(at(0)), Duration::from_secs(20));
        assert_eq!(short.look_again(at(20)), Duration::from_millis(2500));
        assert_eq!(short.look_again(at(36)), LOOK_AGAIN);
        assert_eq!(short.look_again(at(99)), LOOK_AGAIN, "over: a reconnect signs in anew");
        // However far away, a machine that slept notices.
        assert_eq!(identity(3600).look_again(at(0)), LOOK_EVERY);
    }

    #[test]
    fn an_identity_that_an_older_version_kept_is_still_read() {
        let kept = r#"{"username":"me","id_token":"i","expires_at":7}"#;
        let identity: Identity = serde_json::from_str(kept).expect("an identity");
        assert_eq!(identity.lifetime, 3600);
    }
}
