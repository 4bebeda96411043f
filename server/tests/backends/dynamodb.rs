//! Rooms in DynamoDB, as moto has it.

use std::{sync::Arc, time::Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveStatus,
};
use futures_util::future::join_all;
use halyard_protocol::access::Access;
use halyard_server::{
    identity::Subject,
    secret::{TokenHash, new_token},
    store::{
        DynamoStore, Found, MAX_BANNED, RoomRecord, RoomStore, StoreError, TableError, create_table,
    },
};

use crate::support::{
    broker::command,
    moto::{Moto, config_for},
    program::Program,
    proxy::{BROKEN, Fault, Proxy, THROTTLED},
};

#[path = "../../src/store/contract.rs"]
mod contract;

use contract::{NOW, id, room};

async fn table(config: &aws_config::SdkConfig, name: &str) -> DynamoStore {
    create_table(config, name).await.expect("a table");
    DynamoStore::open(config, name).await.expect("a good table")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_the_contract_of_every_store() {
    let moto = Moto::start();
    let config = moto.config().await;
    macro_rules! each_in_a_table_of_its_own {
        ($($story:ident),* $(,)?) => {
            $(
                eprintln!(stringify!($story));
                contract::$story(&table(&config, stringify!($story)).await).await;
            )*
        };
    }
    contract::stories!(each_in_a_table_of_its_own);
    let racing = Arc::new(table(&config, "racing").await);
    contract::of_many_who_want_one_id_exactly_one_gets_it(racing.clone()).await;
    contract::who_is_shut_out_at_once_is_shut_out_together(racing).await;
}

#[tokio::test]
async fn the_table_is_made_once_has_a_time_to_live_and_is_looked_at_before_it_is_used() {
    let moto = Moto::start();
    let config = moto.config().await;
    let missing = DynamoStore::open(&config, "rooms").await.expect_err("not there");
    assert!(matches!(missing, TableError::Missing { .. }), "{missing}");
    assert!(missing.to_string().contains("halyard-server create-table"), "{missing}");

    let made = command(&["create-table", "--store", "dynamodb"], &moto.url, &moto.url);
    for _ in 0..2 {
        let mut made = command_again(&made);
        let output = made.output().expect("it is built with the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let client = aws_sdk_dynamodb::Client::new(&config);
    let described = client.describe_time_to_live().table_name("rooms").send().await;
    let ttl = described.expect("described").time_to_live_description.expect("there");
    assert_eq!(ttl.time_to_live_status, Some(TimeToLiveStatus::Enabled));
    assert_eq!(ttl.attribute_name.as_deref(), Some("deleted_at"));
    let store = DynamoStore::open(&config, "rooms").await.expect("a good table");
    assert!(store.expires_by_itself());

    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
    let kind = ScalarAttributeType::S;
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(kind).build();
    let other = client
        .create_table()
        .table_name("other")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.expect("a key"))
        .attribute_definitions(id.expect("an attribute"));
    other.send().await.expect("made");
    let wrong = DynamoStore::open(&config, "other").await.expect_err("another kind of table");
    assert!(wrong.to_string().contains("it must be \"room_id\" alone"), "{wrong}");
    let wrong = create_table(&config, "other").await.expect_err("another kind of table");
    assert!(matches!(wrong, TableError::Shape { .. }), "{wrong}");
}

/// The same once more.
fn command_again(command: &std::process::Command) -> std::process::Command {
    let mut again = std::process::Command::new(command.get_program());
    again.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            again.env(name, value);
        }
    }
    again
}

#[tokio::test]
async fn a_broker_without_its_table_does_not_start_and_says_what_to_do() {
    let moto = Moto::start();
    let starting = command(
        &["--listen", "127.0.0.1:0", "--store", "dynamodb", "--dynamodb-table", "lab-rooms"],
        &moto.url,
        &moto.url,
    );
    let (code, said) = Program::start(starting, "it is built with the tests").ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there is no DynamoDB table lab-rooms"), "{said}");
    assert!(said.contains("create-table --store dynamodb --dynamodb-table lab-rooms"), "{said}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_neither_lost_nor_done_twice() {
    let moto = Moto::start();
    let direct = table(&moto.config().await, "rooms").await;
    let proxy = Proxy::start(moto.addr()).await;
    let store = DynamoStore::open(&config_for(&proxy.url).await, "rooms").await.expect("a table");
    let made = room("lost", "ann", NOW + 10);
    // The library sends it again, and the second attempt finds what the first one wrote.
    proxy.set(Fault::LoseNext("PutItem"));
    assert!(store.create(&made, 9, NOW).await.expect("it is ours"));
    assert_eq!(direct.get(&made.id, NOW).await.expect("found"), Found::Live(made.clone()));
    let eve = Subject::new("eve");
    proxy.set(Fault::LoseNext("UpdateItem"));
    assert_eq!(store.ban(&made.id, &eve, NOW).await.expect("shut out").banned, [eve]);
    let made = store.rotate(&made.id, Access::Viewer, made.viewer, NOW).await.expect("the same");
    let others = RoomRecord { operator: TokenHash::of(&new_token()), ..made.clone() };
    assert!(!store.create(&others, 9, NOW).await.expect("asked"));
    assert_eq!(store.get(&made.id, NOW).await.expect("found"), Found::Live(made));
}

#[tokio::test]
async fn whatever_is_wrong_with_the_table_is_said_in_time_and_passes() {
    let moto = Moto::start();
    let direct = table(&moto.config().await, "rooms").await;
    let kept = room("kept", "ann", NOW + 1000);
    direct.create(&kept, 9, NOW).await.expect("created");
    let proxy = Proxy::start(moto.addr()).await;
    let store = DynamoStore::open(&config_for(&proxy.url).await, "rooms").await.expect("a table");
    for fault in [BROKEN, THROTTLED, Fault::Close, Fault::Hang] {
        proxy.set(fault);
        let asked = Instant::now();
        // More of them than it takes the circuit to open.
        let creating = (0..7).map(async |number| {
            store.create(&room(&format!("new{number}"), "ann", NOW + 10), 99, NOW).await
        });
        for refused in join_all(creating).await {
            let Err(StoreError::Unavailable { retry_after, .. }) = refused else {
                panic!("{fault:?}: {refused:?}");
            };
            assert!(retry_after.as_secs() <= 30, "{fault:?}: {retry_after:?}");
        }
        // Eight seconds, and as many for a machine that is busy.
        assert!(asked.elapsed().as_secs() < 16, "{fault:?}: {:?}", asked.elapsed());
        // Now it is left alone: of those who ask at once, one at most is let through to try.
        let asking = (0..5).map(|_| store.get(&kept.id, NOW));
        let refused = join_all(asking).await.into_iter().filter(|answer| {
            let Err(StoreError::Unavailable { why, .. }) = answer else {
                panic!("{fault:?}: {answer:?}");
            };
            why.contains("is left alone")
        });
        assert!(refused.count() >= 4, "{fault:?}: the circuit is not open");
        proxy.set(Fault::None);
        back(&store, &kept).await;
    }
    // What was refused was not done.
    let owned = direct.owned_by(&kept.owner, NOW).await.expect("listed");
    assert_eq!(owned, [kept]);
}

/// Waits as long as each refusal says until the store is back.
async fn back(store: &DynamoStore, kept: &RoomRecord) {
    let until = Instant::now() + crate::support::SOON;
    loop {
        match store.get(&kept.id, NOW).await {
            Ok(found) => return assert_eq!(found, Found::Live(kept.clone())),
            Err(StoreError::Unavailable { retry_after, .. }) if Instant::now() < until => {
                tokio::time::sleep(retry_after).await;
            }
            Err(error) => panic!("it never came back: {error}"),
        }
    }
}

#[tokio::test]
async fn a_table_that_vanishes_is_an_error_and_not_an_absent_room() {
    let moto = Moto::start();
    let config = moto.config().await;
    let store = table(&config, "rooms").await;
    let client = aws_sdk_dynamodb::Client::new(&config);
    client.delete_table().table_name("rooms").send().await.expect("deleted");
    let looked = store.get(&id("lab"), NOW).await;
    assert!(matches!(looked, Err(StoreError::Backend(_))), "{looked:?}");
    assert_eq!(MAX_BANNED, 128, "docs/aws.md says so");
}
