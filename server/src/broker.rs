//! What every part of the broker shares, and what an owner may do with a room.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    signal::PeerInfo,
    token::Token,
};

use crate::{
    Settings,
    health::Health,
    ice::IceConfig,
    identity::{IdentityProvider, Subject},
    limits::Limiter,
    metrics::Metrics,
    rooms::{Hall, Refusal, Whom},
    secret::{TokenHash, new_room_id, new_token},
    store::{Found, RoomRecord, RoomStore, StoreError},
    time::Now,
};

/// Times that a new room's name is drawn before giving up. One in four thousand million is taken
/// for each live room.
const DRAWS: usize = 8;
/// Rooms that are looked up at a time.
const CHECKS_AT_ONCE: usize = 16;
/// Longest name that an owner may give a room, in bytes.
pub const MAX_ROOM_NAME_BYTES: usize = 128;
/// Shortest life of a room: below that nobody could join it.
const MIN_TTL: Duration = Duration::from_secs(1);

/// What every part shares.
pub struct Broker {
    /// Rooms that somebody is in.
    pub hall: Arc<Hall>,
    /// Rooms that there are.
    pub store: Arc<dyn RoomStore>,
    /// Who somebody is.
    pub identity: Arc<dyn IdentityProvider>,
    /// What peers reach each other with.
    pub ice: IceConfig,
    /// Whether the store, the identity provider and the bus are there.
    pub health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who calls too often.
    pub limiter: Limiter,
    /// What was typed.
    pub settings: Settings,
}

/// A room that was just made. The tokens are nowhere else.
#[derive(Debug)]
pub struct NewRoom {
    /// As it is kept.
    pub record: RoomRecord,
    /// Opens it for operators.
    pub operator: Token,
    /// Opens it for viewers.
    pub viewer: Token,
}

/// Why an owner did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// There is no such room.
    #[error("Room not found")]
    NotFound,
    /// There was, and its time is over.
    #[error("Room expired")]
    Expired,
    /// It is somebody else's.
    #[error("Only the room's owner may do this; use the id_token that created the room")]
    NotOwner,
    /// The time asked for is not between a second and the limit.
    #[error("ttl_seconds is {asked}, accepted is 1 to {most}")]
    Ttl {
        /// What was asked for.
        asked: u64,
        /// The limit.
        most: u64,
    },
    /// The name is too long or has control characters.
    #[error("the name is not accepted: at most {MAX_ROOM_NAME_BYTES} bytes, no control characters")]
    Name,
    /// The token of the owner cannot be revoked: there is none.
    #[error("role is accepted as operator or viewer; the owner has no token")]
    Role,
    /// The owner has too many, or the store failed.
    #[error(transparent)]
    Store(StoreError),
    /// This server cannot open the room now.
    #[error("{}", .0.message())]
    Refused(Refusal),
}

impl From<Refusal> for RoomError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for RoomError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Gone => Self::NotFound,
            error => Self::Store(error),
        }
    }
}

impl Broker {
    fn expiry(&self, ttl_seconds: Option<u64>, now: Now) -> Result<u64, RoomError> {
        let most = self.settings.limits.max_room_ttl;
        let ttl = match ttl_seconds {
            None => self.settings.room_ttl.min(most),
            Some(asked) => {
                let ttl = Duration::from_secs(asked);
                if ttl < MIN_TTL || ttl > most {
                    return Err(RoomError::Ttl { asked, most: most.as_secs() });
                }
                ttl
            }
        };
        // Saturating: a limit that somebody set to for ever must not wrap around.
        Ok(now.unix().saturating_add(ttl.as_secs().max(1)))
    }

    /// Makes a room. When this returns, it is as durable as the store is.
    pub async fn create_room(
        &self,
        owner: Subject,
        ttl_seconds: Option<u64>,
        name: Option<String>,
        now: Now,
    ) -> Result<NewRoom, RoomError> {
        let expires_at = self.expiry(ttl_seconds, now)?;
        if name.as_ref().is_some_and(|name| {
            name.len() > MAX_ROOM_NAME_BYTES || name.chars().any(char::is_control)
        }) {
            return Err(RoomError::Name);
        }
        let (operator, viewer) = (new_token(), new_token());
        let mut record = RoomRecord {
            id: new_room_id(),
            name,
            owner,
            created_at: now.unix(),
            expires_at,
            operator: TokenHash::of(&operator),
            viewer: TokenHash::of(&viewer),
            banned: Vec::new(),
        };
        let most = self.settings.limits.max_rooms_per_identity;
        for _ in 0..DRAWS {
            if self.store.create(&record, most, now.unix()).await? {
                self.metrics.rooms_created.inc();
                tracing::info!(room = %record.id, owner = %record.owner, "a room was made");
                return Ok(NewRoom { record, operator, viewer });
            }
            record.id = new_room_id();
        }
        Err(RoomError::Store(StoreError::Backend("every room name drawn was taken".to_owned())))
    }

    /// A live room of this owner.
    pub async fn owned_room(
        &self,
        id: &RoomId,
        owner: &Subject,
        now: Now,
    ) -> Result<RoomRecord, RoomError> {
        match self.store.get(id, now.unix()).await? {
            Found::Absent => Err(RoomError::NotFound),
            Found::Expired => Err(RoomError::Expired),
            Found::Live(room) if room.owner != *owner => Err(RoomError::NotOwner),
            Found::Live(room) => Ok(room),
        }
    }

    /// Lets a room live from now on for this long, if that is longer than it would anyway.
    pub async fn extend_room(
        &self,
        id: &RoomId,
        owner: &Subject,
        ttl_seconds: Option<u64>,
        now: Now,
    ) -> Result<RoomRecord, RoomError> {
        let room = self.owned_room(id, owner, now).await?;
        let expires_at = self.expiry(ttl_seconds, now)?.max(room.expires_at);
        let room = self.store.extend(id, expires_at, now.unix()).await?;
        self.hall.set_expiry(id, expires_at);
        Ok(room)
    }

    /// Forgets a room and ends it for everybody in it.
    pub async fn delete_room(
        &self,
        id: &RoomId,
        owner: &Subject,
        now: Now,
    ) -> Result<(), RoomError> {
        self.owned_room(id, owner, now).await?;
        self.store.delete(id).await?;
        self.hall.close(id);
        tracing::info!(room = %id, "a room was deleted");
        Ok(())
    }

    /// Everybody in a room, on all servers.
    pub async fn peers(&self, room: &RoomRecord) -> Result<Vec<PeerInfo>, RoomError> {
        let _open = self.hall.open(&room.id, room.expires_at).await?;
        Ok(self.hall.peers(&room.id))
    }

    /// Looks a room up that is over as far as this server knows. It may have been extended by
    /// another server, or a moment ago.
    pub async fn end_if_over(&self, id: &RoomId, now: Now) {
        match self.store.get(id, now.unix()).await {
            Ok(Found::Live(room)) => self.hall.check(&room),
            Ok(Found::Absent) => self.hall.end(id, "deleted"),
            Ok(Found::Expired) => {
                tracing::info!(room = %id, "a room's time is over");
                self.hall.end(id, "expired");
            }
            Err(error) => {
                tracing::warn!(room = %id, %error, "a room ends without the store having said so");
                self.hall.end(id, "expired");
            }
        }
    }

    /// Looks up every room that is open here, because orders of owners may have been missed.
    pub async fn check_rooms(&self) {
        let checks = self.hall.rooms_here().into_iter().map(|id| async move {
            match self.store.get(&id, Now::read().unix()).await {
                Ok(Found::Live(room)) => self.hall.check(&room),
                Ok(Found::Absent) => self.hall.end(&id, "deleted"),
                Ok(Found::Expired) => self.hall.end(&id, "expired"),
                // It goes on as it was; the next registration asks again.
                Err(error) => tracing::warn!(room = %id, %error, "a room could not be checked"),
            }
        });
        stream::iter(checks).for_each_concurrent(CHECKS_AT_ONCE, |check| check).await;
    }

    /// Ends the session of one peer.
    pub async fn revoke_peer(
        &self,
        id: &RoomId,
        owner: &Subject,
        peer: &PeerId,
        now: Now,
    ) -> Result<Vec<PeerId>, RoomError> {
        let room = self.owned_room(id, owner, now).await?;
        let _open = self.hall.open(id, room.expires_at).await?;
        // The record first: who is thrown out must not come back, here or elsewhere. Of the owner
        // only the named session ends: an owner that is shut out could not undo it.
        let whom = match self.hall.identity_of(id, peer) {
            Some(subject) if subject != *owner => {
                self.store.ban(id, &subject, now.unix()).await?;
                Whom::Identity(subject)
            }
            _ => Whom::Peer(peer.clone()),
        };
        Ok(self.hall.revoke(id, whom))
    }

    /// Ends the sessions of everybody with these rights and gives the room another token for them.
    pub async fn revoke_role(
        &self,
        id: &RoomId,
        owner: &Subject,
        access: Access,
        now: Now,
    ) -> Result<(Vec<PeerId>, Token), RoomError> {
        if access == Access::Admin {
            return Err(RoomError::Role);
        }
        let room = self.owned_room(id, owner, now).await?;
        let _open = self.hall.open(id, room.expires_at).await?;
        let token = new_token();
        // The old token first: who is thrown out must not come back with it.
        self.store.rotate(id, access, TokenHash::of(&token), now.unix()).await?;
        Ok((self.hall.revoke(id, Whom::Access(access)), token))
    }
}
