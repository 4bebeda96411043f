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
const DURATION: &str = "a duration above zero, like 90s, 30m, 2h or 7d";
const COUNT: &str = "a whole number from 1 on";

/// Every key.
pub const KEYS: &[Key] = &[
    one("listen", "Page, REST and WebSocket [default: 127.0.0.1:8080]", ADDRESS),
    one("admin_listen", "A second address for /health and /ready alone", ADDRESS),
    one("identity", "Who signs identities [default: embedded]", "embedded"),
    one("identity_ttl", "How long an identity token is good for [default: 24h]", DURATION),
    one(
        "store",
        "Where rooms are kept [default: embedded with a data directory, else memory]",
        "memory or embedded",
    ),
    one("data_dir", "Folder for the signing key and the embedded store", "a folder"),
    one("room_ttl", "How long a room lives unless asked otherwise [default: 2h]", DURATION),
    one(
        "public_url",
        "The address that links are made with [default: the host that was asked]",
        "an http:// or https:// address without ? and #",
    ),
    many(
        "allowed_origins",
        "Pages that may talk to the broker besides its own",
        "* for any, or origins like https://lab.example",
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
    one("max_connections", "Sockets open at a time [default: 20000]", COUNT),
    one("max_rooms_per_identity", "Rooms that one identity may own [default: 16]", COUNT),
    one("max_peers_per_room", "Peers in one room [default: 256]", COUNT),
    one("max_room_ttl", "The longest a room may be asked to live [default: 30d]", DURATION),
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
