//! Every store keeps the contract; what only some promise comes below.

use std::sync::Arc;

use super::{
    EmbeddedStore, Found, MAX_BANNED, MemoryStore, OpenError, RoomRecord, RoomStore, StoreError,
};
use crate::{
    identity::Subject,
    secret::{TokenHash, new_token},
};

#[path = "contract.rs"]
mod contract;

use contract::{
    NOW, id, of_many_who_want_one_id_exactly_one_gets_it, room,
    who_is_shut_out_at_once_is_shut_out_together,
};

macro_rules! each_with_a_store_of_its_own {
    ($($story:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $story() {
                super::contract::$story(&super::MemoryStore::default()).await;
            })*
        }

        mod in_a_file {
            $(#[tokio::test]
            async fn $story() {
                let dir = tempfile::tempdir().expect("a folder");
                super::contract::$story(&super::EmbeddedStore::open(dir.path()).expect("opened")).await;
            })*
        }
    };
}

contract::stories!(each_with_a_store_of_its_own);

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_id_exactly_one_gets_it_in_memory() {
    of_many_who_want_one_id_exactly_one_gets_it(Arc::new(MemoryStore::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_id_exactly_one_gets_it_in_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(dir.path()).expect("opened");
    of_many_who_want_one_id_exactly_one_gets_it(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shut_out_at_once_is_shut_out_together_in_memory_and_in_a_file() {
    who_is_shut_out_at_once_is_shut_out_together(Arc::new(MemoryStore::default())).await;
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(dir.path()).expect("opened");
    who_is_shut_out_at_once_is_shut_out_together(Arc::new(store)).await;
}

#[tokio::test]
async fn rooms_are_there_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = room("kept", "ann", NOW + 10);
    let store = EmbeddedStore::open(dir.path()).expect("opened");
    store.create(&made, 9, NOW).await.expect("created");
    let busy = EmbeddedStore::open(dir.path()).map(|_| ()).expect_err("in use");
    assert!(matches!(busy, OpenError::InUse { .. }), "{busy}");
    drop(store);
    let store = EmbeddedStore::open(dir.path()).expect("opened again");
    assert_eq!(store.get(&made.id, NOW).await.expect("found"), Found::Live(made));
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(dir.path()).expect("opened");
    for number in 0..50 {
        let made = room(&format!("kept{number}"), "ann", NOW + 10);
        store.create(&made, 99, NOW).await.expect("created");
    }
    drop(store);
    let path = dir.path().join("rooms.redb");
    let whole = std::fs::read(&path).expect("read");

    let mut damaged: Vec<(String, Vec<u8>)> = vec![
        ("another format".into(), b"SQLite format 3\0 and so on".to_vec()),
        ("empty".into(), Vec::new()),
        ("zeros".into(), vec![0; whole.len()]),
        ("cut in half".into(), whole[..whole.len() / 2].to_vec()),
        ("cut after the header".into(), whole[..512].to_vec()),
    ];
    let mut header = whole.clone();
    header[..16].fill(0xff);
    damaged.push(("no magic number".into(), header));

    for (what, bytes) in damaged {
        std::fs::write(&path, &bytes).expect("damaged");
        let error = EmbeddedStore::open(dir.path()).map(|_| ()).expect_err(&what);
        assert!(error.to_string().contains("rooms.redb"), "{what}: {error}");
        assert!(
            matches!(error, OpenError::Damaged { .. } | OpenError::Io { .. }),
            "{what}: {error:?}"
        );
        assert!(std::fs::read(&path).expect("read") == bytes, "{what}: the file was changed");
    }

    std::fs::write(&path, &whole).expect("put back");
    let store = EmbeddedStore::open(dir.path()).expect("whole again");
    assert!(matches!(store.get(&id("kept49"), NOW).await, Ok(Found::Live(_))));
}
