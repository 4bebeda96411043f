//! The original's two ways to delete. Its answers are kept; that anybody could call them is not:
//! the caller must be the peer itself or own the room.

use axum::{Json, extract::State};
use halyard_protocol::ids::{PeerId, RoomId};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    App,
    auth::Caller,
    body::Body,
    error::RestError,
    openapi::shapes::{Refusal, Refused, Status, Unknown},
};
use crate::{
    broker::RoomError,
    identity::Subject,
    store::{Found, StoreError},
    time::Now,
};

/// What the original answers when nobody of that name is in a room.
const NOT_THERE: &str = "peer deleted from Cognito (already removed from room)";

/// Whom.
#[derive(Deserialize, ToSchema)]
pub(super) struct DeletePeer {
    peer_id: Option<String>,
}

fn status(text: &str) -> Json<Value> {
    Json(json!({ "status": text }))
}

/// Whether the caller owns a room.
async fn owns(app: &App, room: &RoomId, caller: &Subject) -> Result<bool, RestError> {
    let found = app.broker.store.get(room, Now::read().unix()).await;
    match found.map_err(|error: StoreError| RestError::from(RoomError::Store(error)))? {
        Found::Live(record) => Ok(record.owner == *caller),
        Found::Expired | Found::Absent => Ok(false),
    }
}

/// Ends the session of a peer: the caller's own, or one in the caller's room.
#[utoipa::path(
    post,
    path = "/delete-peer",
    tag = "sleap-rtc",
    request_body(content = DeletePeer, content_type = "application/json"),
    security(("id_token" = [])),
    responses((status = 200, description = "What was done", body = Status), (status = 403, description = "It is somebody else's", body = Refusal), Unknown, Refused)
)]
pub(super) async fn delete_peer(
    State(app): State<App>,
    Caller(caller): Caller,
    Body(wish): Body<DeletePeer>,
) -> Result<Json<Value>, RestError> {
    let peer = wish.peer_id.ok_or_else(|| RestError::invalid("peer_id is missing"))?;
    // A name that cannot be one is nobody's.
    let Ok(peer) = PeerId::new(peer) else { return Ok(status(NOT_THERE)) };
    let mut somebody_elses = false;
    let mut removed = false;
    for (room, identity) in app.broker.hall.rooms_with(peer.as_str()).await {
        if identity == caller || owns(&app, &room, &caller).await? {
            app.broker.hall.remove(&room, &peer);
            removed = true;
        } else {
            somebody_elses = true;
        }
    }
    match (removed, somebody_elses) {
        // The original deleted the room with its last peer; a room lives until it expires.
        (true, _) => Ok(status("peer deleted successfully. Room status: active")),
        (false, true) => Err(RestError::forbidden(
            "Only the peer itself or the room's owner may do this; send their id_token",
        )),
        (false, false) => Ok(status(NOT_THERE)),
    }
}

/// Which room.
#[derive(Deserialize, ToSchema)]
pub(super) struct DeleteRoom {
    room_id: Option<String>,
    peer_id: Option<String>,
}

/// Ends a room: by its id, or by that of a peer in it.
#[utoipa::path(
    post,
    path = "/delete-peers-and-room",
    tag = "sleap-rtc",
    request_body(content = DeleteRoom, content_type = "application/json"),
    security(("id_token" = [])),
    responses((status = 200, description = "What was done", body = Status), (status = 403, description = "It is somebody else's", body = Refusal), Unknown, Refused)
)]
pub(super) async fn delete_peers_and_room(
    State(app): State<App>,
    Caller(caller): Caller,
    Body(wish): Body<DeleteRoom>,
) -> Result<Json<Value>, RestError> {
    let rooms: Vec<RoomId> = match (wish.room_id, wish.peer_id) {
        (Some(room), _) => RoomId::new(room).into_iter().collect(),
        (None, Some(peer)) => {
            let rooms = app.broker.hall.rooms_with(&peer).await;
            if rooms.is_empty() {
                return Ok(status("peer not found"));
            }
            rooms.into_iter().map(|(room, _)| room).collect()
        }
        (None, None) => return Err(RestError::invalid("room_id or peer_id is missing")),
    };
    let mut result = Ok(status("room not found"));
    for room in rooms {
        let (broker, caller) = (app.broker.clone(), caller.clone());
        let deleting = async move { broker.delete_room(&room, &caller, Now::read()).await };
        match app.to_the_end(deleting).await {
            Ok(()) => return Ok(status("peer deleted successfully")),
            Err(RoomError::NotFound | RoomError::Expired) => {}
            Err(error) => result = Err(error.into()),
        }
    }
    result
}
