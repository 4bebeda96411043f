//! Rooms, for their owners.

use std::time::Instant;

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::request::Parts,
};
use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    App,
    auth::Caller,
    body::Body,
    caller::Asker,
    error::RestError,
    links::{base_url, join_url},
    openapi::shapes::{
        Deleted, Extended, IceServers, NewRoom, NoRoom, Refused, Revoked, RoomWithPeers, Rooms,
        Unknown,
    },
};
use crate::{
    broker::RoomError,
    limits::Limit,
    store::{RoomRecord, StoreError},
    time::Now,
};

/// A wish for a room.
#[derive(Deserialize, ToSchema)]
pub(super) struct Create {
    /// How long it should live.
    ttl_seconds: Option<u64>,
    /// What its owner calls it.
    name: Option<String>,
}

/// Makes a room.
#[utoipa::path(
    post,
    path = "/create-room",
    tag = "rooms",
    request_body(content = Create, content_type = "application/json"),
    security(("id_token" = [])),
    responses((status = 200, description = "The room and its tokens", body = NewRoom), Unknown, Refused)
)]
pub(super) async fn create(
    State(app): State<App>,
    Caller(owner): Caller,
    asker: Asker,
    Body(wish): Body<Create>,
) -> Result<Json<Value>, RestError> {
    let (limiter, at) = (&app.broker.limiter, Instant::now());
    let admitted = limiter
        .admit(Limit::NewRooms, asker.address(), at)
        .and_then(|()| limiter.admit_room_of(&owner, at));
    admitted.map_err(|refused| RestError::too_often(&refused))?;
    let room = app.broker.create_room(owner, wish.ttl_seconds, wish.name, Now::read()).await?;
    let base = base_url(&app, &asker);
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

/// The caller's rooms.
#[utoipa::path(
    get,
    path = "/rooms",
    tag = "rooms",
    security(("id_token" = [])),
    responses((status = 200, description = "The rooms", body = Rooms), Unknown, Refused)
)]
pub(super) async fn list(
    State(app): State<App>,
    Caller(owner): Caller,
) -> Result<Json<Value>, RestError> {
    let rooms = app.broker.store.owned_by(&owner, Now::read().unix()).await;
    let rooms = rooms.map_err(|error: StoreError| RestError::from(RoomError::Store(error)))?;
    Ok(Json(json!({ "rooms": rooms.iter().map(shown).collect::<Vec<_>>() })))
}

/// A room and who is in it.
#[utoipa::path(
    get,
    path = "/rooms/{id}",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    security(("id_token" = [])),
    responses((status = 200, description = "The room", body = RoomWithPeers), Unknown, NoRoom, Refused)
)]
pub(super) async fn show(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
) -> Result<Json<Value>, RestError> {
    let room = app.broker.owned_room(&id, &owner, Now::read()).await?;
    let mut shown = shown(&room);
    shown["peers"] = json!(app.broker.peers(&room).await?);
    Ok(Json(shown))
}

/// Ends a room for everybody in it.
#[utoipa::path(
    delete,
    path = "/rooms/{id}",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    security(("id_token" = [])),
    responses((status = 200, description = "It is gone", body = Deleted), Unknown, NoRoom, Refused)
)]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
) -> Result<Json<Value>, RestError> {
    let (broker, room) = (app.broker.clone(), id.clone());
    app.to_the_end(async move { broker.delete_room(&room, &owner, Now::read()).await }).await?;
    Ok(Json(json!({ "status": "deleted", "room_id": id })))
}

/// How much longer.
#[derive(Deserialize, ToSchema)]
pub(super) struct Extend {
    /// From now on.
    ttl_seconds: Option<u64>,
}

/// Lets a room live longer.
#[utoipa::path(
    post,
    path = "/rooms/{id}/extend",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    request_body(content = Extend, content_type = "application/json"),
    security(("id_token" = [])),
    responses((status = 200, description = "When it ends now", body = Extended), Unknown, NoRoom, Refused)
)]
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

/// Who: one of the two.
#[derive(Deserialize, ToSchema)]
pub(super) struct Revoke {
    /// This peer, and its identity is shut out.
    #[schema(value_type = Option<String>)]
    peer_id: Option<PeerId>,
    /// Everybody with the token of `operator` or `viewer`.
    #[schema(value_type = Option<String>)]
    role: Option<Access>,
}

/// Ends sessions, and replaces the token of a role.
#[utoipa::path(
    post,
    path = "/rooms/{id}/revoke",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    request_body(content = Revoke, content_type = "application/json"),
    security(("id_token" = [])),
    responses((status = 200, description = "Whose sessions ended", body = Revoked), Unknown, NoRoom, Refused)
)]
pub(super) async fn revoke(
    State(app): State<App>,
    Caller(owner): Caller,
    Id(id): Id,
    asker: Asker,
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
            let link = join_url(&base_url(&app, &asker), &id, &token);
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

/// STUN and TURN servers, with credentials of the caller's own.
#[utoipa::path(
    get,
    path = "/ice-servers",
    tag = "peers",
    security(("id_token" = [])),
    responses((status = 200, description = "The servers", body = IceServers), Unknown, Refused)
)]
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
