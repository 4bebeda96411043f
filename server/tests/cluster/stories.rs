//! What users do, on one server and on three.

use serde_json::json;

use crate::world::{World, numbers, offer};

async fn peers_find_each_other_and_talk_both_ways(world: World) {
    let mut pair = world.pair().await;
    pair.worker.send(&offer("bob", 1)).await;
    let heard = pair.client.next().await;
    assert_eq!((&heard["sdp"], &heard["sender"]), (&json!("1"), &json!("worker")));
    pair.client.send(&json!({ "type": "answer", "target": "worker", "sdp": "2" })).await;
    let heard = pair.worker.next().await;
    assert_eq!((&heard["sdp"], &heard["sender"]), (&json!("2"), &json!("bob")));
    pair.client.send(&json!({ "type": "leave" })).await;
    let left = pair.worker.next().await;
    assert_eq!(left, json!({ "type": "peer_left", "peer_id": "bob" }));
    pair.worker.send(&offer("bob", 3)).await;
    let refused = pair.worker.next().await;
    assert_eq!((&refused["code"], &refused["target"]), (&json!("PEER_NOT_FOUND"), &json!("bob")));
}

async fn metadata_reaches_everybody_and_is_found(world: World) {
    let mut pair = world.pair().await;
    let update = json!({ "type": "update_metadata", "metadata": { "tags": ["busy"] } });
    pair.worker.send(&update).await;
    let told = pair.client.next_of("metadata_updated").await;
    assert_eq!(told["metadata"]["tags"], json!(["gpu", "busy"]));
    let question = json!({ "type": "discover_peers", "filters": { "tags": ["busy"] } });
    pair.client.send(&question).await;
    let found = pair.client.next_of("peer_list").await;
    assert_eq!(found["count"], 1);
    assert_eq!(found["peers"][0]["peer_id"], "worker");
    assert_eq!(found["peers"][0]["access"], "admin");
}

async fn a_name_belongs_to_one_identity(world: World) {
    let mut pair = world.pair().await;
    let mallory = world.at(2).sign_in().await;
    let mut thief = world.at(2).socket().await;
    let refused = thief.register(&pair.room, &pair.room.viewer, &mallory, "bob", json!({})).await;
    assert_eq!(refused["code"], "PEER_ID_TAKEN");
    // The same person without the proof: a new place, and the old socket is closed.
    let (_new, welcome) =
        world.at(2).join_as(&pair.room, &pair.room.viewer, &pair.bob, "bob", json!({})).await;
    assert_eq!(welcome["resumed"], false);
    assert_eq!(pair.client.until_closed().await.1.code, 4000);
    assert_eq!(pair.worker.next().await["type"], "peer_left");
    assert_eq!(pair.worker.next().await["type"], "peer_joined");
}

async fn a_dropped_peer_resumes_wherever_it_comes_back_and_nobody_notices(world: World) {
    let mut pair = world.pair().await;
    for number in 0..10 {
        pair.worker.send(&offer("bob", number)).await;
    }
    let mut heard = Vec::new();
    for _ in 0..10 {
        heard.push(pair.client.next().await);
    }
    let client = std::mem::replace(&mut pair.client, world.at(2).socket().await);
    client.cut();
    for number in 10..30 {
        pair.worker.send(&offer("bob", number)).await;
    }
    let (mut client, welcome) = pair.back(world.at(2)).await;
    assert_eq!(welcome["resumed"], true);
    for number in 30..40 {
        pair.worker.send(&offer("bob", number)).await;
    }
    while heard.len() < 40 {
        heard.push(client.next().await);
    }
    assert_eq!(numbers(&heard), (0..40).collect::<Vec<_>>());
    assert!(pair.worker.heard().await.is_empty(), "no error, and nobody came or went");
}

async fn an_owner_revokes_extends_and_deletes_on_any_server(world: World) {
    let mut pair = world.pair().await;
    let path = format!("/rooms/{}", pair.room.id);
    let owner = Some(pair.ann.id_token.as_str());
    let shown = world.at(2).call("GET", &path, owner, None).await;
    assert_eq!(shown.body["peers"].as_array().expect("a list").len(), 2, "{shown:?}");

    let wish = json!({ "peer_id": "bob" });
    let revoked = world.at(2).call("POST", &format!("{path}/revoke"), owner, Some(wish)).await;
    assert_eq!(revoked.body["revoked"], json!(["bob"]), "{revoked:?}");
    assert_eq!(pair.client.until_closed().await.1.code, 4003);
    let left = pair.worker.next_of("peer_left").await;
    assert_eq!(left["reason"], "revoked");
    let mut again = world.at(0).socket().await;
    let refused = again.register(&pair.room, &pair.room.viewer, &pair.bob, "bob", json!({})).await;
    assert_eq!(refused["code"], "FORBIDDEN");

    let wish = json!({ "ttl_seconds": 50_000 });
    let extended = world.at(2).call("POST", &format!("{path}/extend"), owner, Some(wish)).await;
    assert_eq!(extended.status, 200, "{extended:?}");
    let deleted = world.at(2).call("DELETE", &path, owner, None).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    let (messages, closed) = pair.worker.until_closed().await;
    assert_eq!(closed.code, 4004);
    assert!(messages.iter().any(|m| m["type"] == "room_closed"), "{messages:?}");
}

async fn a_thousand_messages_arrive_once_and_in_order(world: World) {
    let mut pair = world.pair().await;
    let mut heard = Vec::new();
    for number in 0..1_000 {
        pair.worker.send(&offer("bob", number)).await;
        if number % 100 == 99 {
            while heard.len() <= number {
                heard.push(pair.client.next().await);
            }
        }
    }
    assert_eq!(numbers(&heard), (0..1_000).collect::<Vec<_>>());
    assert!(pair.worker.heard().await.is_empty(), "nothing was refused");
}

macro_rules! on_one_server_and_on_three {
    ($($story:ident),* $(,)?) => {
        mod on_one_server {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::world::World::of(1).await).await;
            })*
        }
        mod on_three_servers {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::world::World::of(3).await).await;
            })*
        }
    };
}

on_one_server_and_on_three!(
    peers_find_each_other_and_talk_both_ways,
    metadata_reaches_everybody_and_is_found,
    a_name_belongs_to_one_identity,
    a_dropped_peer_resumes_wherever_it_comes_back_and_nobody_notices,
    an_owner_revokes_extends_and_deletes_on_any_server,
    a_thousand_messages_arrive_once_and_in_order,
);
