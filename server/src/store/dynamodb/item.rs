//! A room as an item of the table.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use halyard_protocol::ids::RoomId;

use super::{Item, RoomRecord, StoreError};
use crate::{identity::Subject, secret::TokenHash, store::EXPIRED_KEPT_SECONDS};

/// The key.
pub(super) const ROOM_ID: &str = "room_id";
/// Hash key of the index by owner.
pub(super) const CREATED_BY: &str = "created_by";
/// Range key of the index by owner.
pub(super) const EXPIRES_AT: &str = "expires_at";
const CREATED_AT: &str = "created_at";
const NAME: &str = "name";
pub(super) const OPERATOR: &str = "operator_sha256";
pub(super) const VIEWER: &str = "viewer_sha256";
pub(super) const BANNED: &str = "banned";
/// The table's time-to-live looks here.
pub(super) const DELETED_AT: &str = "deleted_at";

/// A text.
pub(super) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A whole number.
pub(super) fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A list of identities.
pub(super) fn subjects(subjects: &[Subject]) -> AttributeValue {
    AttributeValue::L(subjects.iter().map(|subject| text(subject.as_str())).collect())
}

/// When the table may delete a room that ends then.
pub(super) fn deleted_at(expires_at: u64) -> u64 {
    expires_at.saturating_add(EXPIRED_KEPT_SECONDS)
}

fn hash(hash: &TokenHash) -> AttributeValue {
    AttributeValue::B(Blob::new(hash.as_bytes().to_vec()))
}

/// The whole item.
pub(super) fn write(room: &RoomRecord) -> Item {
    let mut item = HashMap::from([
        (ROOM_ID.to_owned(), text(room.id.as_str())),
        (CREATED_BY.to_owned(), text(room.owner.as_str())),
        (CREATED_AT.to_owned(), number(room.created_at)),
        (EXPIRES_AT.to_owned(), number(room.expires_at)),
        (DELETED_AT.to_owned(), number(deleted_at(room.expires_at))),
        (OPERATOR.to_owned(), hash(&room.operator)),
        (VIEWER.to_owned(), hash(&room.viewer)),
        (BANNED.to_owned(), subjects(&room.banned)),
    ]);
    if let Some(name) = &room.name {
        item.insert(NAME.to_owned(), text(name));
    }
    item
}

/// The room. An item that somebody else wrote is an error, never half a room.
pub(super) fn read(item: &Item) -> Result<RoomRecord, StoreError> {
    let bad = |name: &str| StoreError::Backend(format!("the table has a room without {name}"));
    let text = |name: &str| {
        item.get(name).and_then(|value| value.as_s().ok()).cloned().ok_or_else(|| bad(name))
    };
    let number = |name: &str| {
        let number = item.get(name).and_then(|value| value.as_n().ok());
        number.and_then(|number| number.parse().ok()).ok_or_else(|| bad(name))
    };
    let hash = |name: &str| {
        let bytes = item.get(name).and_then(|value| value.as_b().ok());
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_ref()).ok());
        bytes.map(TokenHash::from_bytes).ok_or_else(|| bad(name))
    };
    let banned = match item.get(BANNED) {
        None => Vec::new(),
        Some(AttributeValue::L(list)) => list
            .iter()
            .map(|value| value.as_s().map(Subject::new).map_err(|_| bad(BANNED)))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(bad(BANNED)),
    };
    Ok(RoomRecord {
        id: RoomId::new(text(ROOM_ID)?).map_err(|_| bad(ROOM_ID))?,
        name: item.get(NAME).and_then(|name| name.as_s().ok()).cloned(),
        owner: Subject::new(text(CREATED_BY)?),
        created_at: number(CREATED_AT)?,
        expires_at: number(EXPIRES_AT)?,
        operator: hash(OPERATOR)?,
        viewer: hash(VIEWER)?,
        banned,
    })
}

#[cfg(test)]
mod tests {
    use halyard_protocol::token::Token;

    use super::*;

    fn room() -> RoomRecord {
        RoomRecord {
            id: RoomId::new("lab").expect("a name"),
            name: Some("Lab".into()),
            owner: Subject::new("ann"),
            created_at: 1,
            expires_at: u64::MAX,
            operator: TokenHash::of(&Token::new("o")),
            viewer: TokenHash::of(&Token::new("v")),
            banned: vec![Subject::new("eve")],
        }
    }

    #[test]
    fn a_room_is_read_as_it_was_written() {
        let rooms = [room(), RoomRecord { name: None, banned: Vec::new(), ..room() }];
        for room in rooms {
            assert_eq!(read(&write(&room)).expect("a room"), room);
        }
    }

    #[test]
    fn an_item_that_lacks_something_or_has_it_in_another_shape_is_no_room() {
        for name in [ROOM_ID, CREATED_BY, CREATED_AT, EXPIRES_AT, OPERATOR, VIEWER] {
            let mut item = write(&room());
            item.remove(name);
            assert!(read(&item).expect_err(name).to_string().contains(name));
            item.insert(name.to_owned(), AttributeValue::Bool(true));
            assert!(read(&item).is_err(), "{name}");
        }
        let mut item = write(&room());
        item.insert(OPERATOR.to_owned(), AttributeValue::B(Blob::new(vec![0; 31])));
        assert!(read(&item).is_err(), "a hash that is too short");
        let mut item = write(&room());
        item.insert(ROOM_ID.to_owned(), text("user:ann"));
        assert!(read(&item).is_err(), "what is no room's name");
    }
}
