//! Servers that die or drain, and a bus that goes away, with messages under way.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::world::{World, numbers, offer};

#[tokio::test]
async fn when_a_server_is_killed_the_others_are_told_within_ten_seconds_and_its_peer_comes_back() {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    pair.worker.send(&offer("bob", 0)).await;
    pair.client.next().await;
    world.nodes[1].kill();
    let killed = Instant::now();
    // Under way to a server that is no more: each is answered.
    for number in 1..=20 {
        pair.worker.send(&offer("bob", number)).await;
    }
    let mut refused = 0;
    let mut left = None;
    while refused < 20 || left.is_none() {
        let message = pair.worker.next().await;
        match message["type"].as_str() {
            Some("error") => {
                assert_eq!(message["target"], "bob");
                refused += 1;
            }
            Some("peer_left") => left = Some(killed.elapsed()),
            other => panic!("{other:?}"),
        }
    }
    let left = left.expect("told");
    assert!(left < Duration::from_secs(10), "{left:?}");
    let (mut client, welcome) = pair.back(world.at(2)).await;
    assert_eq!(welcome["resumed"], false, "something was missed");
    assert_eq!(pair.worker.next().await["type"], "peer_joined");
    pair.worker.send(&offer("bob", 21)).await;
    assert_eq!(client.next().await["sdp"], "21");
}

#[tokio::test]
async fn a_peer_of_a_killed_server_may_have_its_name_before_anybody_noticed() {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    world.nodes[1].kill();
    let (mut client, welcome) = pair.back(world.at(2)).await;
    assert_eq!(welcome["resumed"], false);
    assert_eq!(pair.worker.next().await["type"], "peer_left");
    assert_eq!(pair.worker.next().await["type"], "peer_joined");
    pair.worker.send(&offer("bob", 1)).await;
    assert_eq!(client.next().await["sdp"], "1");
}

/// Sends offers for this long, twenty a second. How many.
async fn talk(pair: &mut crate::world::Pair, from: usize, time: Duration) -> usize {
    let start = Instant::now();
    let mut number = from;
    while start.elapsed() < time {
        pair.worker.send(&offer("bob", number)).await;
        number += 1;
        sleep_until(start + Duration::from_millis(50) * u32::try_from(number - from).expect("few"))
            .await;
    }
    number
}

#[tokio::test]
async fn nothing_is_lost_while_nats_does_not_move_for_five_seconds() {
    let world = World::of(3).await;
    let mut pair = world.pair().await;
    let nats = world.nats.as_ref().expect("it runs");
    let said = talk(&mut pair, 0, Duration::from_millis(300)).await;
    nats.freeze();
    let said = talk(&mut pair, said, Duration::from_secs(5)).await;
    nats.thaw();
    let said = talk(&mut pair, said, Duration::from_millis(500)).await;
    let mut heard = Vec::new();
    while numbers(&heard).len() < said {
        heard.push(pair.client.next().await);
    }
    assert_eq!(numbers(&heard), (0..said).collect::<Vec<_>>());
    // After a time without the bus workers are asked to look up rights; nobody came or went.
    heard.retain(|message| message["type"] != "offer" && message["type"] != "rights_changed");
    assert!(heard.is_empty(), "{heard:?}");
    let mut told = pair.worker.heard().await;
    told.retain(|message| message["type"] != "rights_changed");
    assert!(told.is_empty(), "nothing was refused: {told:?}");
}

#[tokio::test]
async fn nothing_is_lost_while_nats_is_restarted_and_an_order_given_meanwhile_arrives() {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    let said = talk(&mut pair, 0, Duration::from_millis(300)).await;
    world.nats.as_mut().expect("it runs").kill();
    let said = talk(&mut pair, said, Duration::from_secs(5)).await;
    let path = format!("/rooms/{}", pair.room.id);
    let alone = world.at(2).call("DELETE", &path, Some(&pair.ann.id_token), None);
    assert_eq!(alone.await.status, 200);
    world.nats.as_mut().expect("it ran").restart();
    let (heard, closed) = pair.client.until_closed().await;
    assert_eq!(closed.code, 4004);
    let heard = numbers(&heard);
    assert_eq!(heard, (0..heard.len()).collect::<Vec<_>>());
    assert!(heard.len() <= said);
    assert_eq!(pair.worker.until_closed().await.1.code, 4004);
}

#[tokio::test]
async fn peers_of_a_draining_server_go_on_at_another_within_two_seconds_and_miss_nothing() {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    for number in 0..100 {
        pair.worker.send(&offer("bob", number)).await;
    }
    let drained = Instant::now();
    world.nodes[1].drain();
    for number in 100..150 {
        pair.worker.send(&offer("bob", number)).await;
    }
    let (mut heard, closed) = pair.client.until_closed().await;
    assert_eq!(closed.code, 1001);
    assert!(heard.iter().any(|message| message["type"] == "draining"), "{heard:?}");
    let (mut client, welcome) = pair.back(world.at(2)).await;
    let took = drained.elapsed();
    assert_eq!(welcome["resumed"], true);
    assert!(took < Duration::from_secs(2), "{took:?}");
    for number in 150..200 {
        pair.worker.send(&offer("bob", number)).await;
    }
    while numbers(&heard).len() < 200 {
        heard.push(client.next().await);
    }
    assert_eq!(numbers(&heard), (0..200).collect::<Vec<_>>());
    assert!(pair.worker.heard().await.is_empty(), "no error, and nobody came or went");
    world.nodes[1].drained().await;
    pair.worker.send(&offer("bob", 200)).await;
    assert_eq!(client.next().await["sdp"], "200");
}

#[tokio::test]
async fn a_place_that_nobody_came_for_outlives_the_server_that_kept_it() {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    for number in 0..5 {
        pair.worker.send(&offer("bob", number)).await;
    }
    world.nodes[1].drain();
    let (mut heard, closed) = pair.client.until_closed().await;
    assert_eq!(closed.code, 1001);
    world.nodes[1].drained().await;
    pair.worker.send(&offer("bob", 5)).await;
    let (mut client, welcome) = pair.back(world.at(0)).await;
    assert_eq!(welcome["resumed"], true);
    while numbers(&heard).len() < 6 {
        heard.push(client.next().await);
    }
    assert_eq!(numbers(&heard), (0..6).collect::<Vec<_>>());
    assert!(pair.worker.heard().await.is_empty());
}

/// What an owner orders while NATS is away reaches who is on other servers when it is back.
async fn ordered_while_nats_is_away(order: serde_json::Value) {
    let mut world = World::of(3).await;
    let mut pair = world.pair().await;
    // Somebody on the owner's server, which so knows who bob is; and who is none of the order's.
    let ann = &pair.ann;
    let (mut watcher, _) =
        world.at(2).join_as(&pair.room, &pair.room.operator, ann, "watcher", json!({})).await;
    pair.worker.next_of("peer_joined").await;
    pair.client.next_of("peer_joined").await;
    world.nats.as_mut().expect("it runs").kill();
    let path = format!("/rooms/{}/revoke", pair.room.id);
    let revoked = world.at(2).call("POST", &path, Some(&ann.id_token), Some(order.clone())).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    // He cannot have heard of it, and his server neither.
    assert_eq!(pair.client.heard().await, Vec::<serde_json::Value>::new(), "{order}");
    world.nats.as_mut().expect("it ran").restart();
    let (_, closed) = pair.client.until_closed().await;
    assert_eq!(closed.code, 4003, "{order}");
    let left = pair.worker.next_of("peer_left").await;
    assert_eq!((&left["peer_id"], &left["reason"]), (&json!("bob"), &json!("revoked")), "{order}");
    let (mut again, room) = (world.at(1).socket().await, &pair.room);
    let refused = again.register(room, &room.viewer, &pair.bob, "bob", json!({})).await;
    assert!(matches!(refused["code"].as_str(), Some("FORBIDDEN" | "INVALID_TOKEN")), "{refused}");
    // The others stay, and know of each other.
    pair.worker.send(&offer("watcher", 1)).await;
    assert_eq!(watcher.next_of("offer").await["sdp"], "1");
}

#[tokio::test]
async fn a_token_replaced_while_nats_is_away_ends_sessions_on_other_servers_when_it_is_back() {
    ordered_while_nats_is_away(json!({ "role": "viewer" })).await;
}

#[tokio::test]
async fn who_is_shut_out_while_nats_is_away_is_out_on_other_servers_when_it_is_back() {
    ordered_while_nats_is_away(json!({ "peer_id": "bob" })).await;
}

#[tokio::test]
async fn a_revocation_on_one_server_is_told_on_another_within_a_second() {
    let world = World::of(3).await;
    for order in [json!({ "role": "viewer" }), json!({ "peer_id": "bob" })] {
        let mut pair = world.pair().await;
        let (path, owner) = (format!("/rooms/{}/revoke", pair.room.id), &pair.ann.id_token);
        let asked = Instant::now();
        let revoking = world.at(2).call("POST", &path, Some(owner), Some(order.clone()));
        let (revoked, left) = tokio::join!(revoking, pair.worker.next_of("peer_left"));
        let took = asked.elapsed();
        println!("{order}: the worker on another server was told after {took:?}");
        assert_eq!((revoked.status, &left["reason"]), (200, &json!("revoked")));
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(pair.client.until_closed().await.1.code, 4003);
    }
}
