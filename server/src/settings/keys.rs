//! The words that people type: one table for flags, variables and the file.

use halyard_settings::{
    Key, Keys, Shape,
    parse::{COUNT, WEB_ADDRESS, YES_OR_NO},
};

const ADDRESS: &str = "an address with a port, like 127.0.0.1:8080 or [::]:8080";
const DURATION: &str = "a duration above zero and up to 3650d, like 90s, 30m, 2h or 7d";
const PEM: &str = "a file in PEM";

/// Every key.
pub const KEYS: Keys = Keys(&[FLAGS]);

/// All of them are flags of every command.
pub const FLAGS: &[Key] = &[
    Key::one("listen", "Page, REST and WebSocket [default: 127.0.0.1:8080]", ADDRESS),
    Key::one("rest_listen", "A second address for REST alone, as the original had", ADDRESS),
    Key::one(
        "admin_listen",
        "For operators: /health, /ready, /metrics, /log-level [default: 127.0.0.1:9090 if free]",
        "none, or an address with a port, like 127.0.0.1:9090 or [::]:9090",
    ),
    Key::one("tls_cert", "Certificate chain for this server's own TLS; needs tls_key", PEM),
    Key::one("tls_key", "Key of the certificate; needs tls_cert", PEM),
    Key::one("identity", "Who signs identities [default: embedded]", "embedded or cognito"),
    Key::one("identity_ttl", "How long an identity token is good for [default: 24h]", DURATION),
    Key::one(
        "identity_key",
        "Signing key that several servers share [default: in data_dir]",
        "a file",
    ),
    Key::one(
        "cognito_user_pool_id",
        "The user pool of identity = \"cognito\"",
        "a pool id like eu-central-1_AbCdEfGhI",
    ),
    Key::one("cognito_app_client_id", "The app client that users sign in through", "a client id"),
    Key::one(
        "cognito_issuer",
        "What the pool writes as issuer [default: AWS's address of the pool]",
        WEB_ADDRESS,
    ),
    Key::one(
        "cognito_jwks_url",
        "Where the pool's keys are [default: below the issuer]",
        WEB_ADDRESS,
    ),
    Key::one(
        "store",
        "Where rooms are kept [default: embedded with a data directory, else memory]",
        "memory, embedded or dynamodb",
    ),
    Key::one(
        "dynamodb_table",
        "The table of store = \"dynamodb\" [default: rooms]",
        "3 to 255 letters, digits, dots, dashes or underscores",
    ),
    Key::many(
        "bus",
        "How servers of the same rooms talk to each other [default: local]",
        "local, or addresses like nats://10.0.0.5:4222 without a name or password in them",
    ),
    Key::one("bus_credentials", "The .creds file for NATS", "a file"),
    Key::new(
        Shape::Secret,
        "bus_token",
        "The token that NATS asks for",
        "a text that is not empty",
    ),
    Key::one(
        "node_url",
        "Where this server alone is reached, for peers of one that drains",
        WEB_ADDRESS,
    ),
    Key::one("data_dir", "Folder for the signing key and the embedded store", "a folder"),
    Key::one("room_ttl", "How long a room lives unless asked otherwise [default: 2h]", DURATION),
    Key::one(
        "public_url",
        "The address that links are made with [default: the host that was asked]",
        WEB_ADDRESS,
    ),
    Key::many(
        "allowed_origins",
        "Pages that may talk to the broker besides its own",
        "* for any, or origins like https://lab.example",
    ),
    Key::many(
        "trusted_proxies",
        "Proxies whose X-Forwarded-For is believed",
        "addresses or networks like 10.0.0.0/8",
    ),
    Key::many(
        "stun_urls",
        "STUN servers told to peers [default: two of Google's]; empty for none",
        "addresses like stun:stun.example.org:3478",
    ),
    Key::many(
        "turn_urls",
        "TURN servers told to peers; needs turn_secret",
        "addresses like turn:turn.example.org:3478?transport=udp",
    ),
    Key::new(
        Shape::Secret,
        "turn_secret",
        "The secret shared with the TURN servers (coturn: static-auth-secret)",
        "a text that is not empty",
    ),
    Key::one("turn_ttl", "How long a TURN credential is good for [default: 12h]", DURATION),
    Key::one(
        "turn_for_mesh",
        "Tell workers TURN servers for connections among themselves, too [default: false]",
        YES_OR_NO,
    ),
    Key::one("max_connections", "Sockets open at a time [default: 20000]", COUNT),
    Key::one(
        "max_connections_per_address",
        "Sockets open at a time from one address (IPv6: one /64) [default: 1000]",
        COUNT,
    ),
    Key::one(
        "handshakes_per_minute",
        "Sign-ins, new rooms and sockets from one address in a minute [default: 600]",
        COUNT,
    ),
    Key::one(
        "messages_per_second",
        "Messages on one socket in a second, ten times as many at once [default: 50]",
        COUNT,
    ),
    Key::one("max_rooms", "Rooms in use at a time on this server [default: 50000]", COUNT),
    Key::one("max_rooms_per_identity", "Rooms that one identity may own [default: 16]", COUNT),
    Key::one("max_peers_per_room", "Peers in one room [default: 256]", COUNT),
    Key::one("max_room_ttl", "The longest a room may be asked to live [default: 30d]", DURATION),
    Key::one(
        "otlp_endpoint",
        "Where spans are sent, OTLP over HTTP [default: nowhere]",
        WEB_ADDRESS,
    ),
    Key::one("drain_timeout", "How long a stop waits for peers to leave [default: 10s]", DURATION),
];
