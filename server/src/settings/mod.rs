//! What the broker is told before it starts.
//!
//! [`Settings`] is what was typed once it *means* something: addresses, durations, paths. It is
//! plain data that code may build by itself (`Settings { listen: …, ..Settings::default() }`);
//! [`KEYS`] are the words that people type for it and [`read()`] turns flags, variables and a TOML
//! file into it, refusing what it does not understand.

mod effective;
mod keys;
mod read;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use halyard_protocol::{
    limits::{DEFAULT_ROOM_TTL, PING_EVERY, RESUME_WINDOW},
    token::Token,
};
use ipnet::IpNet;
use url::Url;

pub use self::{
    keys::{FLAGS, KEYS},
    read::{read, read_with_places},
};

/// Everything the broker is told before it starts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where page, REST and WebSocket are served. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// A second address for REST alone, which the original served on a port of its own (8001).
    pub rest_listen: Option<SocketAddr>,
    /// Another address for operators: `/health`, `/ready`, `/metrics` and the log level.
    pub admin_listen: Option<SocketAddr>,
    /// Certificate and key of this server's own TLS. Without them TLS is a proxy's work.
    pub tls: Option<TlsSettings>,
    /// Who says who somebody is.
    pub identity: IdentityKind,
    /// How long an identity token of the embedded provider is good for.
    pub identity_ttl: Duration,
    /// The signing key of the embedded provider, where several servers share one. Without it the
    /// key is kept in the data directory, or in memory.
    pub identity_key: Option<PathBuf>,
    /// Where rooms are kept.
    pub store: StoreKind,
    /// Folder for the signing key and the embedded store. Without it both live in memory.
    pub data_dir: Option<PathBuf>,
    /// How this server talks to the others that serve the same rooms.
    pub bus: BusKind,
    /// Where this server alone is reached, told to peers of a server that drains. Without it they
    /// come back to the address they had, which is right behind a load balancer.
    pub node_url: Option<Url>,
    /// How long a room lives unless its creator says otherwise.
    pub room_ttl: Duration,
    /// The address that links are made with. Without it a link names the host that was asked.
    pub public_url: Option<Url>,
    /// Which pages may talk to the broker from a browser besides its own.
    pub allowed_origins: AllowedOrigins,
    /// Proxies whose `X-Forwarded-For` is believed, as addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<IpNet>,
    /// STUN servers told to every peer.
    pub stun_urls: Vec<String>,
    /// TURN servers told to every peer with credentials of its own, where there are any.
    pub turn: Option<TurnSettings>,
    /// Where spans are sent (OTLP over HTTP), if anywhere.
    pub otlp_endpoint: Option<Url>,
    /// What nobody may exceed.
    pub limits: Limits,
    /// How long things may take.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            rest_listen: None,
            admin_listen: None,
            tls: None,
            identity: IdentityKind::Embedded,
            identity_ttl: Duration::from_hours(24),
            identity_key: None,
            store: StoreKind::Memory,
            data_dir: None,
            bus: BusKind::Local,
            node_url: None,
            room_ttl: DEFAULT_ROOM_TTL,
            public_url: None,
            allowed_origins: AllowedOrigins::default(),
            trusted_proxies: Vec::new(),
            stun_urls: vec![
                "stun:stun.l.google.com:19302".to_owned(),
                "stun:stun1.l.google.com:19302".to_owned(),
            ],
            turn: None,
            otlp_endpoint: None,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

/// Which provider signs and verifies identities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IdentityKind {
    /// The broker's own ES256 key.
    #[default]
    Embedded,
    /// Temporary users of an AWS Cognito user pool.
    Cognito(Box<CognitoSettings>),
}

/// A user pool. Region, endpoint and credentials come from the AWS variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CognitoSettings {
    /// The pool, like `eu-central-1_AbCdEfGhI`.
    pub user_pool_id: String,
    /// The app client that users sign in through; it must allow `ADMIN_USER_PASSWORD_AUTH`.
    pub app_client_id: String,
    /// What the pool writes as `iss`. Without it, AWS's own address of the pool.
    pub issuer: Option<Url>,
    /// Where the pool's keys are. Without it, below the issuer, where AWS keeps them.
    pub jwks_url: Option<Url>,
}

/// Where rooms are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// In memory: gone when the broker stops.
    #[default]
    Memory,
    /// In one file below the data directory: an acknowledged room survives `kill -9`.
    Embedded,
    /// In this table of AWS DynamoDB, which several servers may share.
    DynamoDb {
        /// The table's name.
        table: String,
    },
}

/// How servers that serve the same rooms talk to each other.
#[derive(Debug, Clone, Default)]
pub enum BusKind {
    /// There is only this one.
    #[default]
    Local,
    /// Over NATS.
    Nats(NatsSettings),
}

/// A NATS cluster.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// Its servers, like `nats://10.0.0.5:4222`.
    pub servers: Vec<String>,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// A token, where the cluster asks for one.
    pub token: Option<Token>,
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Cognito(pool) => write!(f, "cognito, user pool {}", pool.user_pool_id),
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded => f.write_str("embedded"),
            Self::DynamoDb { table } => write!(f, "dynamodb, table {table}"),
        }
    }
}

impl fmt::Display for BusKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Nats(nats) => f.write_str(&nats.servers.join(", ")),
        }
    }
}

/// The files of this server's own TLS, in PEM. Read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, and those between it and the root.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
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
    /// Whether workers may relay among themselves, too.
    pub mesh: bool,
}

/// What nobody may exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sockets open at a time, registered or not. Each costs some 10 KiB and a file descriptor.
    pub max_connections: usize,
    /// Sockets open at a time from one address (IPv6: one /64).
    pub max_connections_per_address: usize,
    /// Sign-ins, new rooms and sockets from one address in a minute, each counted for itself; a
    /// burst of as many is allowed. Ten times as many REST calls and connections.
    pub handshakes_per_minute: usize,
    /// Messages on one socket in a second; a burst of ten times as many is allowed. 16 KiB each on
    /// average.
    pub messages_per_second: usize,
    /// Rooms in use at a time on this server.
    pub max_rooms: usize,
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
            max_connections_per_address: 1_000,
            handshakes_per_minute: 600,
            messages_per_second: 50,
            max_rooms: 50_000,
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
    /// A TLS handshake or the head of a request that has not arrived by then is dropped; a request
    /// whose body has not, refused.
    pub request_within: Duration,
    /// How often the files of the certificate are read again.
    pub reload_every: Duration,
    /// A socket whose messages had to wait this long without a gap is told that it talks too fast.
    pub tell_after: Duration,
    /// And closed after this long.
    pub close_after: Duration,
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
            reload_every: Duration::from_secs(10),
            tell_after: Duration::from_secs(5),
            close_after: Duration::from_secs(30),
        }
    }
}
