//! Rooms, for their owners.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, request::Parts},
};
use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    auth::Caller,
    body::Body,
    error::RestError,
    links::{base_url, join_url},
};
use crate::{
    broker::RoomError,
    store::{RoomRecord, StoreError},
    time::Now,
};

#[derive(Deserialize)]
pub(super) struct Create {
    ttl_seconds: Option<u64>,
    name: Option<String>,
}

/// `POST /create-room`
pub(super) async fn create(
    State(app): State<App>,
    Caller(owner): Caller,
    headers: HeaderMap,
    Body(wish): Body<Create>,
) -> Result<Json<Value>, RestError> {
    let room = app.broker.create_room(owner, wish.ttl_seconds, wish.name, Now::read()).await?;
    let base = base_url(&app, &headers);
    let id = &room.record.id;
    Ok(Json(json!({
        "room_id": id,
        "token": room.operator,
        "expires_at": room.record.expires_at,
        "name": room.record.name,
        "tokens": { "operator": room.operator, "viewer": room.viewer },
        "join_url": join_url(&base, id, &room.operator),
        "viewer_url": join_url(&base, id, &room.viewer),
    })))
}

fn shown(room: &RoomRecord) -> Value {
    json!({
        "room_id": room.id,
        "name": room.name,
        "created_at": room.created_at,
        "expires_at": room.expires_at,
    })
}

/// The room that the address names. A malformed name is the name of no room.
pub(super) struct Id(RoomId);

impl FromRequestParts<App> for Id {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, RestError> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        let id = text.ok().and_then(|Path(text)| RoomId::new(text).ok());
        id.map(Self).ok_or_else(|| RoomError::NotFound.into())
    }
}

/// `GET /rooms`
pub(super) async fn list(
    State(app): State<App>,
    Caller(owner): Caller,
) -> Result<Json<Value>, RestError> {
    let rooms = app.broker.store.owned_by(&owner, Now::read().unix()).await;
    let rooms = rooms.map_err(|error: StoreError| RestError::from(RoomError::Store(error)))?;
    Ok(Json(json!({ "rooms": rooms.iter().map(shown).collect::<Vec<_>>() })))
}

/// `GET /rooms/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
) -> Result<Json<Value>, RestError> {
    let room = app.broker.owned_room(&id, &owner, Now::read()).await?;
    let mut shown = shown(&room);
    shown["peers"] = json!(app.broker.hall.peers(&room.id));
    Ok(Json(shown))
}

/// `DELETE /rooms/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
) -> Result<Json<Value>, RestError> {
    let (broker, room) = (app.broker.clone(), id.clone());
    app.to_the_end(async move { broker.delete_room(&room, &owner, Now::read()).await }).await?;
    Ok(Json(json!({ "status": "deleted", "room_id": id })))
}

#[derive(Deserialize)]
pub(super) struct Extend {
    ttl_seconds: Option<u64>,
}

/// `POST /rooms/{id}/extend`
pub(super) async fn extend(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
    Body(wish): Body<Extend>,
) -> Result<Json<Value>, RestError> {
    let (broker, ttl) = (app.broker.clone(), wish.ttl_seconds);
    let extending = async move { broker.extend_room(&id, &owner, ttl, Now::read()).await };
    let room = app.to_the_end(extending).await?;
    Ok(Json(json!({ "room_id": room.id, "expires_at": room.expires_at })))
}

#[derive(Deserialize)]
pub(super) struct Revoke {
    peer_id: Option<PeerId>,
    role: Option<Access>,
}

/// `POST /rooms/{id}/revoke`
pub(super) async fn revoke(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
    headers: HeaderMap,
    Body(wish): Body<Revoke>,
) -> Result<Json<Value>, RestError> {
    let now = Now::read();
    match (wish.peer_id, wish.role) {
        (Some(peer), None) => {
            let (broker, room) = (app.broker.clone(), id.clone());
            let revoking = async move { broker.revoke_peer(&room, &owner, &peer, now).await };
            let revoked = app.to_the_end(revoking).await?;
            Ok(Json(json!({ "room_id": id, "revoked": revoked })))
        }
        (None, Some(role)) => {
            let (broker, room) = (app.broker.clone(), id.clone());
            let revoking = async move { broker.revoke_role(&room, &owner, role, now).await };
            let (revoked, token) = app.to_the_end(revoking).await?;
            let link = join_url(&base_url(&app, &headers), &id, &token);
            let link_name = if role == Access::Viewer { "viewer_url" } else { "join_url" };
            let mut answer =
                json!({ "room_id": id, "role": role, "revoked": revoked, "token": token });
            answer[link_name] = link.into();
            Ok(Json(answer))
        }
        _ => Err(RestError::invalid(
            "either peer_id or role (operator or viewer) says who is revoked; send one of them",
        )),
    }
}

/// `GET /ice-servers`
pub(super) async fn ice_servers(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<Json<Value>, RestError> {
    let list = app.broker.ice.list_for(caller.as_str(), Now::read().unix());
    Ok(Json(json!({
        "ice_servers": list.ice_servers,
        "mesh_ice_servers": list.mesh_ice_servers,
        "expires_at": list.expires_at,
    })))
}
