//! The shapes of bodies and answers, for the description.

#![expect(clippy::struct_field_names, reason = "the names are those on the wire")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// A refusal.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Refusal {
    /// What kind it is, from a closed set.
    #[schema(example = "ROOM_NOT_FOUND")]
    code: String,
    /// For people.
    message: String,
    /// The same text, where existing clients read it.
    detail: String,
}

/// What any call may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes")]
pub(in crate::http) enum Refused {
    /// The body means nothing here
    #[response(status = 400)]
    Invalid(#[to_schema] Refusal),
    /// The body did not arrive in time
    #[response(status = 408)]
    TooSlow(#[to_schema] Refusal),
    /// The body is larger than any that means something
    #[response(status = 413)]
    TooLarge(#[to_schema] Refusal),
    /// A limit was reached
    #[response(status = 429, headers(("retry-after" = u64, description = "Seconds, where waiting helps")))]
    TooMany(#[to_schema] Refusal),
    /// A backend does not answer
    #[response(status = 503, headers(("retry-after" = u64, description = "Seconds")))]
    Unavailable(#[to_schema] Refusal),
}

/// What a call that needs an identity may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes")]
pub(in crate::http) enum Unknown {
    /// The identity token is missing, wrong or over
    #[response(status = 401, headers(("www-authenticate" = String, description = "Bearer")))]
    Unauthorized(#[to_schema] Refusal),
}

/// What a call about a room may be refused with.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes")]
pub(in crate::http) enum NoRoom {
    /// It is somebody else's
    #[response(status = 403)]
    NotOwner(#[to_schema] Refusal),
    /// There is no such room
    #[response(status = 404)]
    NotFound(#[to_schema] Refusal),
    /// Its time is over
    #[response(status = 410)]
    Expired(#[to_schema] Refusal),
}

/// A new identity.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SignedIn {
    /// Proves who its bearer is.
    id_token: String,
    /// Who that is.
    username: String,
    /// Seconds that the token is good for.
    expires_in: u64,
}

/// Public keys as a JWK set (RFC 7517).
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Jwks {
    keys: Vec<serde_json::Value>,
}

/// A room that was just made. Its tokens are told here alone.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct NewRoom {
    room_id: String,
    /// The operators' token.
    token: String,
    /// Seconds since 1970.
    expires_at: u64,
    name: Option<String>,
    tokens: Tokens,
    /// The operators' link, with the token behind `#`.
    join_url: String,
    /// The viewers' link.
    viewer_url: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Tokens {
    operator: String,
    viewer: String,
}

/// Rooms of the caller.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Rooms {
    /// Oldest first.
    rooms: Vec<Room>,
}

/// A room.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Room {
    room_id: String,
    name: Option<String>,
    /// Seconds since 1970.
    created_at: u64,
    /// Seconds since 1970.
    expires_at: u64,
}

/// A room and who is in it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RoomWithPeers {
    #[serde(flatten)]
    room: Room,
    peers: Vec<Peer>,
}

/// A peer, as the others see it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Peer {
    peer_id: String,
    /// `worker`, `client` or `peer`.
    role: String,
    /// `viewer`, `operator` or `admin`.
    access: String,
    /// What it says of itself.
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, serde_json::Value>,
    /// Seconds since 1970.
    connected_at: f64,
}

/// A room's new end.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Extended {
    room_id: String,
    /// Seconds since 1970.
    expires_at: u64,
}

/// A room that is gone.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Deleted {
    status: String,
    room_id: String,
}

/// Whose sessions ended.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Revoked {
    room_id: String,
    /// Their names.
    revoked: Vec<String>,
    /// Whose token was replaced, where a role was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// Its new token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The operators' new link.
    #[serde(skip_serializing_if = "Option::is_none")]
    join_url: Option<String>,
    /// The viewers' new link.
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer_url: Option<String>,
}

/// What peers reach each other with.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct IceServers {
    /// Between clients and workers.
    ice_servers: Vec<IceServer>,
    /// Between workers.
    mesh_ice_servers: Vec<IceServer>,
    /// When the credentials end, in seconds since 1970; null where there are none.
    expires_at: Option<u64>,
}

/// An entry of a browser's `RTCConfiguration.iceServers`.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct IceServer {
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

/// What was done, in the original's words.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Status {
    status: String,
}

/// The process serves.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Health {
    status: String,
    timestamp: String,
    version: String,
}

/// Whether the broker wants work.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Ready {
    /// `ready` or `degraded`; `starting`, `unready` or `draining` with 503.
    status: String,
    /// `up` or `down` by backend; not told while draining.
    #[serde(skip_serializing_if = "Option::is_none")]
    backends: Option<BTreeMap<String, String>>,
}
