//! What to connect to, as whom, and how patiently.

use std::time::Duration;

use halyard_protocol::{
    access::PeerRole, ids::RoomId, limits::PING_EVERY, signal::Metadata, token::Token,
};
use url::Url;

use super::BackoffPolicy;
use crate::{api::Identity, tls::Trust};

/// What to connect to, and as whom. Make one with [`SignalConfig::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct SignalConfig {
    /// The broker's address: `http` or `https`, with a path prefix if it has one.
    pub server: Url,
    /// The room to enter.
    pub room: RoomId,
    /// What opens it. The room's owner needs none.
    pub token: Option<Token>,
    /// This identity owns the room: it comes without the token, which may be replaced meanwhile.
    /// Where the identity has run out, the token is what is left.
    pub owner: bool,
    /// Who comes. Its user name becomes the peer id. It is renewed while the link is up, told by
    /// [`SignalEvent::Identity`](super::SignalEvent::Identity). When it has run out all the same by
    /// the time of a reconnect, the link signs in anew and goes by the new name.
    pub identity: Identity,
    /// Worker or client.
    pub role: PeerRole,
    /// The original's wish to coordinate the room's workers.
    pub is_admin: bool,
    /// What others may find this peer by.
    pub metadata: Metadata,
    /// Which certificates are believed.
    pub trust: Trust,
    /// How patiently.
    pub timing: Timing,
}

impl SignalConfig {
    /// A client without a token, with the usual patience.
    pub fn new(server: Url, room: RoomId, identity: Identity) -> Self {
        Self {
            server,
            room,
            token: None,
            owner: false,
            identity,
            role: PeerRole::Client,
            is_admin: false,
            metadata: Metadata::default(),
            trust: Trust::default(),
            timing: Timing::default(),
        }
    }
}

/// How long the link waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For TCP, TLS and the upgrade together.
    pub dial: Duration,
    /// For the answer to `register`.
    pub register: Duration,
    /// For one frame to be taken by the socket.
    pub write: Duration,
    /// A ping is sent when nothing was heard for this long.
    pub ping_after: Duration,
    /// The socket counts as dead when nothing was heard for this long. More than twice
    /// `ping_after`, so that one lost answer is forgiven.
    pub dead_after: Duration,
    /// Between two tries.
    pub backoff: BackoffPolicy,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(10),
            register: Duration::from_secs(10),
            write: Duration::from_secs(10),
            // The broker pings every 30 s: on a live link ours is seldom needed.
            ping_after: PING_EVERY + Duration::from_secs(5),
            dead_after: PING_EVERY * 2 + Duration::from_secs(15),
            backoff: BackoffPolicy::default(),
        }
    }
}
