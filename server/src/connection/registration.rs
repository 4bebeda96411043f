//! The first message of a socket: who it is, which room it wants, and whether it may.

use std::sync::Arc;

use halyard_protocol::{
    access::{Access, PeerRole},
    ids::{PeerId, RoomId},
    signal::{ErrorCode, Metadata},
    token::Token,
};
use serde::Deserialize;

use crate::{
    broker::Broker,
    identity::VerifyError,
    rooms::{Join, Outbox, Refusal, Seat, SessionId},
    secret::new_token,
    store::{Found, RoomRecord},
    time::Now,
};

/// The fields as they come: what is missing is told in the original's words, and what existing
/// clients leave empty is `null`.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    peer_id: Option<String>,
    #[serde(default)]
    room_id: Option<String>,
    #[serde(default)]
    token: Option<Token>,
    #[serde(default)]
    id_token: Option<Token>,
    #[serde(default)]
    role: Option<PeerRole>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    is_admin: Option<bool>,
    #[serde(default)]
    resume_token: Option<Token>,
}

/// Reads and carries out a `register`. `seat` is the place that the socket has already, if any; it
/// is given up when this succeeds.
pub(super) async fn register(
    broker: &Broker,
    text: &str,
    outbox: &Arc<Outbox>,
    seat: Option<&Seat>,
) -> Result<Seat, Refusal> {
    let fields: Fields = serde_json::from_str(text).map_err(|error| {
        Refusal::new(ErrorCode::InvalidMessage, format!("Invalid field: {error}"))
    })?;
    let missing =
        || Refusal::new(ErrorCode::InvalidMessage, "Missing required fields during registration.");
    let bad_id = |error: halyard_protocol::ids::IdError| {
        Refusal::new(ErrorCode::InvalidMessage, format!("Invalid field: {error}"))
    };
    let peer = PeerId::new(fields.peer_id.ok_or_else(missing)?).map_err(bad_id)?;
    let room_id = fields.room_id.ok_or_else(missing)?;
    let id_token = fields.id_token.ok_or_else(missing)?;

    let now = Now::read();
    let identity = broker.identity.verify(&id_token, now).await.map_err(|error| match error {
        VerifyError::Unavailable => unavailable(),
        error => Refusal::bad_identity(&error.to_string()),
    })?;
    // A malformed name is the name of no room.
    let no_room = || Refusal::new(ErrorCode::RoomNotFound, "Room not found");
    let room_id = RoomId::new(room_id).map_err(|_| no_room())?;
    let found = broker.store.get(&room_id, now.unix()).await.map_err(|error| {
        tracing::error!(%error, "the room store failed");
        unavailable()
    })?;
    let record = match found {
        Found::Live(record) => record,
        Found::Expired => return Err(Refusal::new(ErrorCode::RoomExpired, "Room expired")),
        Found::Absent => return Err(no_room()),
    };
    let access = access(&record, &identity, fields.token.as_ref())?;
    let ice = broker.ice.list_for(peer.as_str(), now.unix());
    let join = Join {
        again: session_here(seat, &record.id, &peer),
        peer,
        identity,
        access,
        role: fields.role.unwrap_or_default(),
        metadata: fields.metadata.unwrap_or_default(),
        wants_admin: fields.is_admin.unwrap_or_default(),
        token: fields.token,
        resume: fields.resume_token,
        next_resume: new_token(),
        ice_servers: ice.ice_servers,
        mesh_ice_servers: ice.mesh_ice_servers,
    };
    broker.hall.join(&record, join, outbox, now)
}

fn unavailable() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "A backend does not answer; try again in a few seconds")
}

/// The owner is known by identity and may leave the token out, but a wrong one is wrong for
/// everybody.
fn access(
    record: &RoomRecord,
    identity: &crate::identity::Subject,
    token: Option<&Token>,
) -> Result<Access, Refusal> {
    let wrong = || Refusal::new(ErrorCode::InvalidToken, "Invalid token");
    let owner = record.owner == *identity;
    match token {
        None if owner => Ok(Access::Admin),
        None => Err(wrong()),
        Some(token) => {
            let access = record.access_of(token).ok_or_else(wrong)?;
            Ok(if owner { Access::Admin } else { access })
        }
    }
}

fn session_here(seat: Option<&Seat>, room: &RoomId, peer: &PeerId) -> Option<SessionId> {
    seat.filter(|seat| seat.room() == room && seat.peer() == peer).map(Seat::session)
}
