//! The first message of a socket: who it is, which room it wants, and whether it may.

use std::{net::IpAddr, sync::Arc, time::Duration};

use halyard_protocol::{
    access::{Access, PeerRole},
    ids::{PeerId, RoomId},
    signal::{ErrorCode, Grant, Metadata},
    token::Token,
};
use serde::Deserialize;

use crate::{
    broker::Broker,
    identity::{Subject, VerifyError},
    limits::TooOften,
    rooms::{Join, NotIn, Opened, Outbox, Refusal, Seat, SessionId},
    secret::{TokenHash, new_token},
    store::{Found, RoomRecord, StoreError},
    time::Now,
};

/// How often rights are checked again because some were taken back meanwhile.
const LOOKS: usize = 8;
/// When a backend that did not say so itself may be back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

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
    from: IpAddr,
    text: &str,
    outbox: &Arc<Outbox>,
    seat: Option<&Seat>,
) -> Result<Seat, Refusal> {
    let (limiter, now) = (&broker.limiter, Now::read());
    let too_often = |refused: TooOften| Refusal::too_often(&refused);
    limiter.may_register(from, now.steady).map_err(too_often)?;
    let fields: Fields =
        serde_json::from_str(text).map_err(|error| Refusal::invalid_field(&error))?;
    let missing =
        || Refusal::new(ErrorCode::InvalidMessage, "Missing required fields during registration.");
    let peer = PeerId::new(fields.peer_id.ok_or_else(missing)?)
        .map_err(|error| Refusal::invalid_field(&error))?;
    let room_id = fields.room_id.ok_or_else(missing)?;
    let id_token = fields.id_token.ok_or_else(missing)?;

    let identity = broker.identity.verify(&id_token, now).await.map_err(|error| match error {
        VerifyError::Unavailable { retry_after } => unavailable(retry_after),
        error => {
            limiter.failed(from, None, now.steady);
            Refusal::bad_identity(&error.to_string())
        }
    })?;
    limiter.may_register_as(&identity, now.steady).map_err(too_often)?;
    // A malformed name is the name of no room.
    let room_id = RoomId::new(room_id).map_err(|_| {
        limiter.failed(from, Some(&identity), now.steady);
        no_room()
    })?;
    let ice = broker.ice.list_for(peer.as_str(), now.unix());
    let join = Join {
        again: session_here(seat, &room_id, &peer),
        peer,
        identity,
        // Until the record was looked at.
        access: Access::Viewer,
        grant: None,
        role: fields.role.unwrap_or_default(),
        metadata: fields.metadata.unwrap_or_default(),
        wants_admin: fields.is_admin.unwrap_or_default(),
        token: fields.token,
        resume: fields.resume_token,
        next_resume: new_token(),
        ice_servers: ice.ice_servers,
        mesh_ice_servers: ice.mesh_ice_servers,
    };
    let who = join.identity.clone();
    let entered = enter(broker, &room_id, join, outbox, now).await;
    if let Err(refusal) = &entered
        && matches!(refusal.code(), ErrorCode::InvalidToken | ErrorCode::RoomNotFound)
    {
        limiter.failed(from, Some(&who), now.steady);
    }
    entered
}

/// Checks its rights and lets it in.
async fn enter(
    broker: &Broker,
    room_id: &RoomId,
    mut join: Join,
    outbox: &Arc<Outbox>,
    now: Now,
) -> Result<Seat, Refusal> {
    for _ in 0..LOOKS {
        let as_of = broker.hall.withdrawals();
        let found = broker.store.get(room_id, now.unix()).await.map_err(|error| {
            tracing::error!(%error, "the room store failed");
            match error {
                StoreError::Unavailable { retry_after, .. } => unavailable(retry_after),
                _ => unavailable(RETRY_AFTER),
            }
        })?;
        let record = match found {
            Found::Live(record) => record,
            Found::Expired => return Err(Refusal::new(ErrorCode::RoomExpired, "Room expired")),
            Found::Absent => return Err(no_room()),
        };
        if record.is_banned(&join.identity) {
            return Err(Refusal::revoked());
        }
        join.access = access(&record, &join.identity, join.token.as_ref())?;
        join.grant = grant(&record, join.access, &join.identity);
        let _open = others(broker, &record, &join).await?;
        match broker.hall.join(&record, join, outbox, now, as_of) {
            Ok(seat) => return Ok(seat),
            Err(NotIn::Refused(refusal)) => return Err(refusal),
            Err(NotIn::Stale(again)) => join = *again,
        }
    }
    Err(unavailable(RETRY_AFTER))
}

/// Finds out who is in the room on other servers, and brings a place that this peer has there here.
async fn others(
    broker: &Broker,
    record: &RoomRecord,
    join: &Join,
) -> Result<Option<Opened>, Refusal> {
    if !broker.hall.bus().is_shared() {
        return Ok(None);
    }
    let open = broker.hall.open(&record.id, record.expires_at).await?;
    let resume = join.resume.as_ref().map(TokenHash::of);
    open.claim(&join.peer, &join.identity, resume).await;
    Ok(Some(open))
}

fn no_room() -> Refusal {
    Refusal::new(ErrorCode::RoomNotFound, "Room not found")
}

fn unavailable(retry_after: Duration) -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "A backend does not answer; try again in a few seconds")
        .retry_after(retry_after)
}

/// The owner is known by identity and may leave the token out, but a wrong one is wrong for
/// everybody.
fn access(
    record: &RoomRecord,
    identity: &Subject,
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

/// By what right it comes in, for whoever serves it without asking here every time.
fn grant(record: &RoomRecord, access: Access, identity: &Subject) -> Option<Grant> {
    let hash = record.token_of(access).map(TokenHash::as_bytes);
    Grant::new(access, hash, identity.as_str())
}

fn session_here(seat: Option<&Seat>, room: &RoomId, peer: &PeerId) -> Option<SessionId> {
    seat.filter(|seat| seat.room() == room && seat.peer() == peer).map(Seat::session)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Settings,
        store::{RoomStore, SlowStore},
        wiring,
    };

    #[tokio::test]
    async fn a_token_revoked_while_a_registration_is_under_way_does_not_let_it_in() {
        let store = Arc::new(SlowStore::default());
        let broker = wiring::open(Settings::default()).expect("a broker");
        let broker = Arc::new(Broker { store: store.clone(), ..broker });
        let now = Now::read();
        let owner = broker.identity.sign_in(None, now).await.expect("signed in").subject;
        let bob = broker.identity.sign_in(None, now).await.expect("signed in");
        let (old, id) = (new_token(), RoomId::new("lab").expect("a name"));
        let record = RoomRecord {
            id: id.clone(),
            name: None,
            owner,
            created_at: now.unix(),
            expires_at: now.unix() + 600,
            operator: TokenHash::of(&new_token()),
            viewer: TokenHash::of(&old),
            banned: Vec::new(),
        };
        store.rooms.create(&record, 1, now.unix()).await.expect("kept");

        let text = json!({ "type": "register", "peer_id": "bob", "room_id": "lab",
            "id_token": bob.id_token, "token": old });
        let registering = tokio::spawn({
            let broker = broker.clone();
            let from = "192.0.2.1".parse().expect("an address");
            async move { register(&broker, from, &text.to_string(), &Arc::default(), None).await }
        });
        store.asked().await;
        let new = TokenHash::of(&new_token());
        store.rooms.rotate(&id, Access::Viewer, new, now.unix()).await.expect("rotated");
        broker.hall.revoke(&id, crate::rooms::Whom::Access(Access::Viewer));
        store.answer(2);
        let refused = registering.await.expect("no panic").map(|_| ()).expect_err("revoked");
        assert_eq!(refused.code(), ErrorCode::InvalidToken);
        assert!(broker.hall.peers(&id).is_empty());
    }
}
