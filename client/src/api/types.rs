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

/// An identity is not used for anything new when less than this is left of it: the call itself
/// takes time, and clocks disagree.
const FRESH_MARGIN: Duration = Duration::from_secs(30);

/// An identity is renewed when less than this is left of it. Brokers give an hour.
const RENEW_AHEAD: Duration = Duration::from_mins(15);

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
}

impl Identity {
    /// Whether it should be renewed when there is an occasion: little of its time is left.
    pub fn is_stale(&self, now: SystemTime) -> bool {
        !self.is_fresh(now + RENEW_AHEAD)
    }

    /// Whether it may still be used for something new.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        let until = UNIX_EPOCH + Duration::from_secs(self.expires_at);
        until.duration_since(now).is_ok_and(|left| left > FRESH_MARGIN)
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
