//! Whether rights that were given still hold.
//!
//! A worker serves its peers without the broker between them, so it asks from time to time, and at
//! once after `rights_changed`. The answer comes from the room's record, which is the truth for all
//! nodes, and not from who is in the room: a peer may lose its socket and keep its rights.

use std::{sync::Arc, time::Duration};

use halyard_protocol::{
    access::Access,
    ids::RoomId,
    limits::RIGHTS_LEASE,
    signal::{ErrorCode, Grant, ServerMessage},
    token::Token,
};

use crate::{
    rooms::Refusal,
    store::{Found, RoomRecord, RoomStore, StoreError},
    time::Now,
};

/// When a store that did not say so itself may be back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whether this grant holds in a live room.
pub fn holds(record: &RoomRecord, grant: &Grant) -> bool {
    let Some(parts) = grant.parts() else { return false };
    match parts.access {
        Access::Admin => parts.fingerprint.is_empty() && parts.subject == record.owner.as_str(),
        access => {
            record.token_of(access).is_some_and(|hash| parts.is_of(hash.as_bytes()))
                && !record.banned.iter().any(|banned| banned.as_str() == parts.subject)
        }
    }
}

/// What tokens open, for a program that carries a broker along and lets peers in by itself.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn RoomStore>,
}

impl Tokens {
    pub(crate) fn new(store: Arc<dyn RoomStore>) -> Self {
        Self { store }
    }

    /// What this token lets its bearer do in this room now, if it opens the room at all.
    pub async fn access(&self, room: &RoomId, token: &Token) -> Result<Option<Access>, StoreError> {
        Ok(match self.store.get(room, Now::read().unix()).await? {
            Found::Live(record) => record.access_of(token),
            Found::Expired | Found::Absent => None,
        })
    }
}

/// The answer to a `confirm_rights` of somebody in this room.
pub async fn confirm(
    store: &dyn RoomStore,
    room: &RoomId,
    seq: u64,
    mut grants: Vec<Grant>,
    now: Now,
) -> Result<ServerMessage, Refusal> {
    let found = store.get(room, now.unix()).await.map_err(|error| unavailable(&error))?;
    let left = match found {
        Found::Live(record) => {
            grants.retain(|grant| holds(&record, grant));
            record.expires_at.saturating_sub(now.unix())
        }
        // Nobody has rights in a room that is over.
        Found::Expired | Found::Absent => {
            grants.clear();
            0
        }
    };
    Ok(ServerMessage::RightsConfirmed { seq, grants, valid_for: left.min(RIGHTS_LEASE.as_secs()) })
}

/// Not confirmed and not denied: whoever asked asks again, and its lease goes on running.
fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the room store failed");
    let retry_after = match error {
        StoreError::Unavailable { retry_after, .. } => *retry_after,
        _ => RETRY_AFTER,
    };
    Refusal::new(ErrorCode::Unavailable, "A backend does not answer; try again in a few seconds")
        .retry_after(retry_after)
}

#[cfg(test)]
mod tests {
    use halyard_protocol::token::Token;

    use super::*;
    use crate::{
        identity::Subject,
        secret::{TokenHash, new_token},
        store::MemoryStore,
    };

    fn room(now: Now, operator: &Token, viewer: &Token) -> RoomRecord {
        RoomRecord {
            id: RoomId::new("lab").expect("a name"),
            name: None,
            owner: Subject::new("owner"),
            created_at: now.unix(),
            expires_at: now.unix() + 600,
            operator: TokenHash::of(operator),
            viewer: TokenHash::of(viewer),
            banned: Vec::new(),
        }
    }

    fn grant(access: Access, token: &Token, subject: &str) -> Grant {
        Grant::new(access, Some(TokenHash::of(token).as_bytes()), subject).expect("short")
    }

    async fn good(store: &MemoryStore, asked: &[Grant], now: Now) -> (Vec<Grant>, u64) {
        let lab = RoomId::new("lab").expect("a name");
        let answer = confirm(store, &lab, 3, asked.to_vec(), now).await.expect("an answer");
        let ServerMessage::RightsConfirmed { seq: 3, grants, valid_for } = answer else {
            panic!("{answer:?} confirms nothing")
        };
        (grants, valid_for)
    }

    #[tokio::test]
    async fn a_grant_holds_until_its_token_is_replaced_its_bearer_shut_out_or_the_room_over() {
        let (now, store) = (Now::read(), MemoryStore::default());
        let (operator, viewer) = (new_token(), new_token());
        let record = room(now, &operator, &viewer);
        store.create(&record, 1, now.unix()).await.expect("kept");
        let owner = Grant::new(Access::Admin, None, "owner").expect("short");
        let [ann, bob, eve] = [
            grant(Access::Operator, &operator, "ann"),
            grant(Access::Viewer, &viewer, "bob"),
            grant(Access::Viewer, &viewer, "eve"),
        ];
        let alone = Grant::of_token(Access::Operator, &operator);
        let asked = [owner.clone(), ann.clone(), bob.clone(), eve.clone(), alone.clone()];
        assert_eq!(good(&store, &asked, now).await, (asked.to_vec(), 60));

        store.ban(&record.id, &Subject::new("eve"), now.unix()).await.expect("shut out");
        assert_eq!(good(&store, &asked, now).await.0, [owner.clone(), ann, bob.clone(), alone]);

        let new = TokenHash::of(&new_token());
        store.rotate(&record.id, Access::Operator, new, now.unix()).await.expect("rotated");
        assert_eq!(good(&store, &asked, now).await.0, [owner, bob]);

        // Nothing is valid beyond the room's end.
        assert_eq!(good(&store, &asked, now.plus(Duration::from_secs(580))).await.1, 20);
        let over = now.plus(Duration::from_mins(10));
        assert_eq!(good(&store, &asked, over).await, (vec![], 0));
        store.delete(&record.id).await.expect("deleted");
        assert_eq!(good(&store, &asked, now).await, (vec![], 0));
    }

    #[test]
    fn nobody_can_make_up_a_grant() {
        let (operator, viewer) = (new_token(), new_token());
        let record = room(Now::read(), &operator, &viewer);
        let made_up = [
            // The owner's, for somebody else, and somebody else's for the owner.
            Grant::new(Access::Admin, None, "mallory"),
            Grant::new(Access::Admin, Some(record.operator.as_bytes()), "owner"),
            // A viewer's token for an operator's rights, and no token at all.
            Some(grant(Access::Operator, &viewer, "mallory")),
            Some(grant(Access::Viewer, &operator, "mallory")),
            Grant::new(Access::Operator, None, "mallory"),
            Grant::try_from("nonsense".to_owned()).ok(),
        ];
        for grant in made_up.into_iter().flatten() {
            assert!(!holds(&record, &grant), "{grant}");
        }
    }
}
