//! The words that people type: one table for flags, variables and the file.

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Several: an array in the file, commas between them elsewhere.
    Many,
    /// One value that must not be shown. `HALYARD_…_FILE` names a file that holds it.
    Secret,
}

/// One setting as people type it: `--room-ttl`, `HALYARD_ROOM_TTL` and `room_ttl` are the same.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The TOML key. The flag has dashes for underscores, the variable capitals and `HALYARD_`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What is accepted, as said when something else was typed.
    pub accepted: &'static str,
    /// How it is written.
    pub shape: Shape,
}

impl Key {
    /// The flag without its dashes in front.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The variable.
    pub fn variable(&self) -> String {
        format!("HALYARD_{}", self.name.to_ascii_uppercase())
    }
}

const fn one(name: &'static str, help: &'static str, accepted: &'static str) -> Key {
    Key { name, help, accepted, shape: Shape::One }
}

const fn many(name: &'static str, help: &'static str, accepted: &'static str) -> Key {
    Key { name, help, accepted, shape: Shape::Many }
}

const ADDRESS: &str = "an address with a port, like 127.0.0.1:8080 or [::]:8080";
const DURATION: &str = "a duration above zero and up to 3650d, like 90s, 30m, 2h or 7d";
const WEB_ADDRESS: &str = "an http:// or https:// address without ? and #";
const PEM: &str = "a file in PEM";
const COUNT: &str = "a whole number from 1 on";

/// Every key.
pub const KEYS: &[Key] = &[
    one("listen", "Page, REST and WebSocket [default: 127.0.0.1:8080]", ADDRESS),
    one("rest_listen", "A second address for REST alone, as the original had", ADDRESS),
    one(
        "admin_listen",
        "For operators: /health, /ready, /metrics, /log-level [default: 127.0.0.1:9090 if free]",
        "none, or an address with a port, like 127.0.0.1:9090 or [::]:9090",
    ),
    one("tls_cert", "Certificate chain for this server's own TLS; needs tls_key", PEM),
    one("tls_key", "Key of the certificate; needs tls_cert", PEM),
    one("identity", "Who signs identities [default: embedded]", "embedded or cognito"),
    one("identity_ttl", "How long an identity token is good for [default: 24h]", DURATION),
    one("identity_key", "Signing key that several servers share [default: in data_dir]", "a file"),
    one(
        "cognito_user_pool_id",
        "The user pool of identity = \"cognito\"",
        "a pool id like eu-central-1_AbCdEfGhI",
    ),
    one("cognito_app_client_id", "The app client that users sign in through", "a client id"),
    one(
        "cognito_issuer",
        "What the pool writes as issuer [default: AWS's address of the pool]",
        WEB_ADDRESS,
    ),
    one("cognito_jwks_url", "Where the pool's keys are [default: below the issuer]", WEB_ADDRESS),
    one(
        "store",
        "Where rooms are kept [default: embedded with a data directory, else memory]",
        "memory, embedded or dynamodb",
    ),
    one(
        "dynamodb_table",
        "The table of store = \"dynamodb\" [default: rooms]",
        "3 to 255 letters, digits, dots, dashes or underscores",
    ),
    many(
        "bus",
        "How servers of the same rooms talk to each other [default: local]",
        "local, or addresses like nats://10.0.0.5:4222 without a name or password in them",
    ),
    one("bus_credentials", "The .creds file for NATS", "a file"),
    Key {
        name: "bus_token",
        help: "The token that NATS asks for",
        accepted: "a text that is not empty",
        shape: Shape::Secret,
    },
    one(
        "node_url",
        "Where this server alone is reached, for peers of one that drains",
        WEB_ADDRESS,
    ),
    one("data_dir", "Folder for the signing key and the embedded store", "a folder"),
    one("room_ttl", "How long a room lives unless asked otherwise [default: 2h]", DURATION),
    one(
        "public_url",
        "The address that links are made with [default: the host that was asked]",
        WEB_ADDRESS,
    ),
    many(
        "allowed_origins",
        "Pages that may talk to the broker besides its own",
        "* for any, or origins like https://lab.example",
    ),
    many(
        "trusted_proxies",
        "Proxies whose X-Forwarded-For is believed",
        "addresses or networks like 10.0.0.0/8",
    ),
    many(
        "stun_urls",
        "STUN servers told to peers [default: two of Google's]; empty for none",
        "addresses like stun:stun.example.org:3478",
    ),
    many(
        "turn_urls",
        "TURN servers told to peers; needs turn_secret",
        "addresses like turn:turn.example.org:3478?transport=udp",
    ),
    Key {
        name: "turn_secret",
        help: "The secret shared with the TURN servers (coturn: static-auth-secret)",
        accepted: "a text that is not empty",
        shape: Shape::Secret,
    },
    one("turn_ttl", "How long a TURN credential is good for [default: 12h]", DURATION),
    one(
        "turn_for_mesh",
        "Tell workers TURN servers for connections among themselves, too [default: false]",
        "true or false",
    ),
    one("max_connections", "Sockets open at a time [default: 20000]", COUNT),
    one(
        "max_connections_per_address",
        "Sockets open at a time from one address (IPv6: one /64) [default: 1000]",
        COUNT,
    ),
    one(
        "handshakes_per_minute",
        "Sign-ins, new rooms and sockets from one address in a minute [default: 600]",
        COUNT,
    ),
    one(
        "messages_per_second",
        "Messages on one socket in a second, ten times as many at once [default: 50]",
        COUNT,
    ),
    one("max_rooms", "Rooms in use at a time on this server [default: 50000]", COUNT),
    one("max_rooms_per_identity", "Rooms that one identity may own [default: 16]", COUNT),
    one("max_peers_per_room", "Peers in one room [default: 256]", COUNT),
    one("max_room_ttl", "The longest a room may be asked to live [default: 30d]", DURATION),
    one("otlp_endpoint", "Where spans are sent, OTLP over HTTP [default: nowhere]", WEB_ADDRESS),
    one("drain_timeout", "How long a stop waits for peers to leave [default: 10s]", DURATION),
];

/// `HALYARD_` words of the other programs, which may stand in the same environment.
pub(super) const VARIABLES_OF_OTHERS: &[&str] =
    &["HALYARD_CONFIG", "HALYARD_LOG", "HALYARD_LOG_FORMAT", "HALYARD_SERVER", "HALYARD_TOKEN"];

/// The nearest of `known` to what was typed, if it is near enough to have been meant.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|&(distance, _)| distance <= 2)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}
