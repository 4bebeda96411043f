//! One contract, run against every store: here in memory and in a file, in `tests/backends` against
//! what speaks to another machine. It takes its words from the module around it.

use std::sync::Arc;

use halyard_protocol::{access::Access, ids::RoomId, token::Token};

use super::{Found, MAX_BANNED, RoomRecord, RoomStore, StoreError, Subject, TokenHash, new_token};

pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn id(text: &str) -> RoomId {
    RoomId::new(text).expect("a good id")
}

pub(super) fn room(name: &str, owner: &str, expires_at: u64) -> RoomRecord {
    RoomRecord {
        id: id(name),
        name: None,
        owner: Subject::new(owner),
        created_at: NOW,
        expires_at,
        operator: TokenHash::of(&Token::new(format!("{name}-operator"))),
        viewer: TokenHash::of(&Token::new(format!("{name}-viewer"))),
        banned: Vec::new(),
    }
}

pub(super) async fn a_room_is_found_until_it_expires(store: &dyn RoomStore) {
    let made = room("found", "ann", NOW + 10);
    assert!(store.create(&made, 9, NOW).await.expect("created"));
    assert_eq!(store.get(&made.id, NOW).await.expect("found"), Found::Live(made.clone()));
    assert_eq!(store.get(&made.id, NOW + 9).await.expect("found"), Found::Live(made.clone()));
    assert_eq!(store.get(&made.id, NOW + 10).await.expect("found"), Found::Expired);
    assert_eq!(store.get(&id("other"), NOW).await.expect("looked"), Found::Absent);
}

pub(super) async fn one_id_is_never_given_to_two_live_rooms(store: &dyn RoomStore) {
    let first = room("taken", "ann", NOW + 10);
    let second = room("taken", "bob", NOW + 99);
    assert!(store.create(&first, 9, NOW).await.expect("created"));
    assert!(!store.create(&second, 9, NOW + 9).await.expect("asked"));
    assert_eq!(store.get(&first.id, NOW).await.expect("found"), Found::Live(first.clone()));
    assert!(store.create(&second, 9, NOW + 10).await.expect("taken over"));
    assert_eq!(store.get(&first.id, NOW + 10).await.expect("found"), Found::Live(second));
    assert!(store.owned_by(&first.owner, NOW).await.expect("listed").is_empty());
}

pub(super) async fn an_owner_has_so_many_rooms_and_no_more(store: &dyn RoomStore) {
    for number in 0..3 {
        let made = room(&format!("many{number}"), "ann", NOW + 10 + number);
        assert!(store.create(&made, 3, NOW).await.expect("created"));
    }
    let refused = store.create(&room("many3", "ann", NOW + 10), 3, NOW).await;
    assert!(matches!(refused, Err(StoreError::TooMany { most: 3 })), "{refused:?}");
    assert_eq!(store.get(&id("many3"), NOW).await.expect("looked"), Found::Absent);
    assert!(store.create(&room("bobs", "bob", NOW + 10), 3, NOW).await.expect("created"));
    // Expired ones do not count.
    assert!(store.create(&room("many4", "ann", NOW + 99), 3, NOW + 10).await.expect("created"));
    let owned = store.owned_by(&Subject::new("ann"), NOW + 10).await.expect("listed");
    let names: Vec<_> = owned.iter().map(|room| room.id.as_str()).collect();
    assert_eq!(names, ["many1", "many2", "many4"]);
}

pub(super) async fn extending_moves_the_end_and_nothing_else(store: &dyn RoomStore) {
    let made = room("longer", "ann", NOW + 10);
    store.create(&made, 9, NOW).await.expect("created");
    let longer = store.extend(&made.id, NOW + 99, NOW).await.expect("extended");
    assert_eq!(longer, RoomRecord { expires_at: NOW + 99, ..made.clone() });
    assert_eq!(store.get(&made.id, NOW + 98).await.expect("found"), Found::Live(longer));
    // The old end is forgotten: the sweeper must not use it.
    assert_eq!(store.sweep(NOW + 50, 9).await.expect("swept"), 0);
    let late = store.extend(&made.id, NOW + 999, NOW + 99).await;
    assert!(matches!(late, Err(StoreError::Gone)), "{late:?}");
    let absent = store.extend(&id("nobody"), NOW + 999, NOW).await;
    assert!(matches!(absent, Err(StoreError::Gone)), "{absent:?}");
}

pub(super) async fn a_rotated_token_opens_and_the_old_one_does_not(store: &dyn RoomStore) {
    let made = room("rotate", "ann", NOW + 10);
    store.create(&made, 9, NOW).await.expect("created");
    let token = new_token();
    let hash = TokenHash::of(&token);
    store.rotate(&made.id, Access::Viewer, hash, NOW).await.expect("rotated");
    let Found::Live(now) = store.get(&made.id, NOW).await.expect("found") else {
        panic!("the room is gone");
    };
    assert_eq!(now.access_of(&token), Some(Access::Viewer));
    assert_eq!(now.access_of(&Token::new("rotate-viewer")), None);
    assert_eq!(now.access_of(&Token::new("rotate-operator")), Some(Access::Operator));
    assert!(store.rotate(&made.id, Access::Admin, hash, NOW).await.is_err());
    let late = store.rotate(&made.id, Access::Viewer, hash, NOW + 10).await;
    assert!(matches!(late, Err(StoreError::Gone)), "{late:?}");
}

pub(super) async fn who_is_shut_out_stays_out_and_the_oldest_is_forgotten_first(
    store: &dyn RoomStore,
) {
    let made = room("banned", "ann", NOW + 10);
    store.create(&made, 9, NOW).await.expect("created");
    let bob = Subject::new("bob");
    let banned = store.ban(&made.id, &bob, NOW).await.expect("shut out");
    assert_eq!(banned, RoomRecord { banned: vec![bob.clone()], ..made.clone() });
    // Once more is not twice.
    store.ban(&made.id, &bob, NOW).await.expect("again");
    assert_eq!(store.get(&made.id, NOW).await.expect("found"), Found::Live(banned));
    for number in 1..MAX_BANNED {
        let subject = Subject::new(format!("eve{number}"));
        store.ban(&made.id, &subject, NOW).await.expect("shut out");
    }
    let full = store.extend(&made.id, NOW + 20, NOW).await.expect("extended");
    assert!(full.is_banned(&bob) && full.banned.len() == MAX_BANNED);
    let beyond = store.ban(&made.id, &Subject::new("mallory"), NOW).await.expect("shut out");
    assert!(!beyond.is_banned(&bob) && beyond.banned.len() == MAX_BANNED);
    assert!(beyond.is_banned(&Subject::new("eve1")) && beyond.is_banned(&Subject::new("mallory")));
    let late = store.ban(&made.id, &bob, NOW + 20).await;
    assert!(matches!(late, Err(StoreError::Gone)), "{late:?}");
    // A room that takes over the name begins without.
    let next = room("banned", "bob", NOW + 99);
    assert!(store.create(&next, 9, NOW + 20).await.expect("taken over"));
    assert_eq!(store.get(&made.id, NOW + 20).await.expect("found"), Found::Live(next));
}

pub(super) async fn who_is_shut_out_at_once_is_shut_out_together(store: Arc<dyn RoomStore>) {
    let made = room("together", "ann", NOW + 10);
    store.create(&made, 9, NOW).await.expect("created");
    let mut at_once = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (store, id) = (Arc::clone(&store), made.id.clone());
        at_once.spawn(async move {
            let subject = Subject::new(format!("eve{number}"));
            store.ban(&id, &subject, NOW).await.expect("shut out");
        });
    }
    at_once.join_all().await;
    let Found::Live(now) = store.get(&made.id, NOW).await.expect("found") else {
        panic!("the room is gone");
    };
    assert_eq!(now.banned.len(), 8);
}

pub(super) async fn an_end_far_beyond_any_clock_is_kept(store: &dyn RoomStore) {
    let made = room("forever", "ann", u64::MAX);
    assert!(store.create(&made, 9, NOW).await.expect("created"));
    assert_eq!(store.get(&made.id, u64::MAX - 1).await.expect("found"), Found::Live(made.clone()));
    assert_eq!(store.owned_by(&made.owner, NOW).await.expect("listed").len(), 1);
    assert_eq!(store.sweep(NOW, 9).await.expect("swept"), 0);
}

pub(super) async fn a_deleted_room_is_gone(store: &dyn RoomStore) {
    let made = room("deleted", "ann", NOW + 10);
    store.create(&made, 9, NOW).await.expect("created");
    assert!(store.delete(&made.id).await.expect("deleted"));
    assert!(!store.delete(&made.id).await.expect("asked"));
    assert_eq!(store.get(&made.id, NOW).await.expect("looked"), Found::Absent);
    assert!(store.owned_by(&made.owner, NOW).await.expect("listed").is_empty());
}

pub(super) async fn sweeping_forgets_what_is_over_a_few_at_a_time(store: &dyn RoomStore) {
    for number in 0..5 {
        let made = room(&format!("sweep{number}"), "ann", NOW + number);
        store.create(&made, 9, NOW - 1).await.expect("created");
    }
    assert_eq!(store.sweep(NOW + 3, 3).await.expect("swept"), 3);
    assert_eq!(store.sweep(NOW + 3, 3).await.expect("swept"), 1);
    assert_eq!(store.sweep(NOW + 3, 3).await.expect("swept"), 0);
    assert_eq!(store.get(&id("sweep3"), NOW).await.expect("looked"), Found::Absent);
    assert!(matches!(store.get(&id("sweep4"), NOW).await, Ok(Found::Live(_))));
}

pub(super) async fn of_many_who_want_one_id_exactly_one_gets_it(store: Arc<dyn RoomStore>) {
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..16 {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let mine = room("race", &format!("owner{number}"), NOW + 10);
            store.create(&mine, 9, NOW).await.expect("asked")
        });
    }
    let won = racers.join_all().await.into_iter().filter(|&won| won).count();
    assert_eq!(won, 1);
}

/// Hands the names of all stories that need a store of their own to a macro.
macro_rules! stories {
    ($each:ident) => {
        $each!(
            a_room_is_found_until_it_expires,
            one_id_is_never_given_to_two_live_rooms,
            an_owner_has_so_many_rooms_and_no_more,
            extending_moves_the_end_and_nothing_else,
            a_rotated_token_opens_and_the_old_one_does_not,
            who_is_shut_out_stays_out_and_the_oldest_is_forgotten_first,
            an_end_far_beyond_any_clock_is_kept,
            a_deleted_room_is_gone,
            sweeping_forgets_what_is_over_a_few_at_a_time,
        );
    };
}
pub(super) use stories;
