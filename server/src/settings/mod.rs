//! What the broker is told before it starts.
//!
//! [`Settings`] is what was typed once it *means* something: addresses, durations, paths. It is
//! plain data that code may build by itself (`Settings { listen: …, ..Settings::default() }`);
//! [`keys`] lists the words that people type for it and [`read()`] turns flags, variables and a TOML
//! file into it, refusing what it does not understand.

mod keys;
mod read;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use halyard_protocol::{
    limits::{DEFAULT_ROOM_TTL, PING_EVERY, RESUME_WINDOW},
    token::Token,
};
use url::Url;

pub use self::{
    keys::{KEYS, Key, Shape},
    read::{SettingError, Typed, args, config_arg, read},
};

/// Everything the broker is told before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where page, REST and WebSocket are served. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// A second address for `/health` and `/ready` alone, where probes may ask. None by default.
    pub admin_listen: Option<SocketAddr>,
    /// Who says who somebody is.
    pub identity: IdentityKind,
    /// How long an identity token of the embedded provider is good for.
    pub identity_ttl: Duration,
    /// Where rooms are kept.
    pub store: StoreKind,
    /// Folder for the signing key and the embedded store. Without it both live in memory.
    pub data_dir: Option<PathBuf>,
    /// How long a room lives unless its creator says otherwise.
    pub room_ttl: Duration,
    /// The address that links are made with. Without it a link names the host that was asked.
    pub public_url: Option<Url>,
    /// Which pages may talk to the broker from a browser besides its own.
    pub allowed_origins: AllowedOrigins,
    /// STUN servers told to every peer.
    pub stun_urls: Vec<String>,
    /// TURN servers told to every peer with credentials of its own, where there are any.
    pub turn: Option<TurnSettings>,
    /// What nobody may exceed.
    pub limits: Limits,
    /// How long things may take.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: None,
            identity: IdentityKind::Embedded,
            identity_ttl: Duration::from_hours(24),
            store: StoreKind::Memory,
            data_dir: None,
            room_ttl: DEFAULT_ROOM_TTL,
            public_url: None,
            allowed_origins: AllowedOrigins::default(),
            stun_urls: vec![
                "stun:stun.l.google.com:19302".to_owned(),
                "stun:stun1.l.google.com:19302".to_owned(),
            ],
            turn: None,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

/// Which provider signs and verifies identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdentityKind {
    /// The broker's own ES256 key.
    #[default]
    Embedded,
}

/// Where rooms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// In memory: gone when the broker stops.
    #[default]
    Memory,
    /// In one file below the data directory: an acknowledged room survives `kill -9`.
    Embedded,
}

/// Which pages may talk to the broker from a browser. Its own always may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Any page. Access is by token and never by cookie, so this opens no session of anybody's.
    Any,
    /// These, as browsers spell them (`https://lab.example`), and the broker's own.
    Only(Vec<String>),
}

impl Default for AllowedOrigins {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// TURN servers that share a secret with the broker (coturn's `use-auth-secret`).
#[derive(Debug, Clone)]
pub struct TurnSettings {
    /// `turn:` and `turns:` addresses.
    pub urls: Vec<String>,
    /// The shared secret.
    pub secret: Token,
    /// How long a minted credential is good for.
    pub ttl: Duration,
}

/// What nobody may exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sockets open at a time, registered or not. Each costs some 10 KiB and a file descriptor.
    pub max_connections: usize,
    /// Rooms that one identity may own at a time.
    pub max_rooms_per_identity: usize,
    /// Peers in one room, those included that may still resume.
    pub max_peers_per_room: usize,
    /// The longest a room may be asked to live.
    pub max_room_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_rooms_per_identity: 16,
            max_peers_per_room: 256,
            max_room_ttl: Duration::from_hours(30 * 24),
        }
    }
}

/// How long things may take. Only the drain is a key that people type; the rest is shared with the
/// peers and belongs to the protocol, and tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a peer is pinged, on average.
    pub ping_every: Duration,
    /// A socket that was silent this long is closed.
    pub idle_after: Duration,
    /// A socket that has not registered by then is closed.
    pub register_within: Duration,
    /// A socket that takes nothing of what it is sent for this long is closed.
    pub write_within: Duration,
    /// A peer whose socket dropped keeps its place this long.
    pub resume_window: Duration,
    /// A drain that has not ended by then is cut short.
    pub drain_within: Duration,
    /// A request whose head has not arrived by then is dropped; one whose body has not, refused.
    pub request_within: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_every: PING_EVERY,
            // Two pings unanswered and some room for a slow network.
            idle_after: PING_EVERY * 2 + Duration::from_secs(15),
            register_within: Duration::from_secs(10),
            write_within: Duration::from_secs(20),
            resume_window: RESUME_WINDOW,
            drain_within: Duration::from_secs(10),
            request_within: Duration::from_secs(15),
        }
    }
}
