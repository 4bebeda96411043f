//! Servers that die or drain, and a bus that goes away, with messages under way.

use std::time::Duration;

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
