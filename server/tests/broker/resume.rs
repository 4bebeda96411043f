//! Sockets that drop, and peers that come back.

use std::time::Duration;

use halyard_server::{Settings, settings::Timing};
use serde_json::{Value, json};

use crate::support::{Broker, Closed, Peer, Person, Room, settings, text};

struct Pair {
    broker: Broker,
    room: Room,
    worker: Peer,
    bob: Person,
    client: Peer,
    resume: String,
}

async fn pair(settings: Settings) -> Pair {
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let worker = json!({ "role": "worker" });
    let (mut worker, _) = broker.join_as(&room, &room.operator, &ann, "worker", worker).await;
    let role = json!({ "role": "client", "metadata": { "tags": ["b"] } });
    let (client, welcome) = broker.join_as(&room, &room.viewer, &bob, "bob", role).await;
    worker.next_of("peer_joined").await;
    let resume = text(&welcome["resume_token"]);
    Pair { broker, room, worker, bob, client, resume }
}

fn offer(number: usize) -> Value {
    json!({ "type": "offer", "target": "bob", "sdp": number.to_string() })
}

#[tokio::test]
async fn a_dropped_peer_comes_back_and_misses_nothing_and_nobody_noticed() {
    let mut pair = pair(settings()).await;
    pair.client.cut();
    for number in 0..20 {
        pair.worker.send(&offer(number)).await;
    }
    assert!(pair.worker.heard().await.is_empty(), "no error and no peer_left");
    let more = json!({ "resume_token": pair.resume });
    let (mut client, welcome) =
        pair.broker.join_as(&pair.room, &pair.room.viewer, &pair.bob, "bob", more).await;
    assert_eq!(welcome["resumed"], true);
    assert_ne!(welcome["resume_token"], pair.resume, "each is good for one return");
    for number in 0..20 {
        let message = client.next().await;
        assert_eq!(message["sdp"], number.to_string());
        assert_eq!(message["sender"], "worker");
    }
    pair.worker.send(&json!({ "type": "discover_peers" })).await;
    let found = pair.worker.next().await;
    assert_eq!(found["peers"][0]["metadata"]["tags"], json!(["b"]), "what it said still stands");
    client.send(&json!({ "type": "answer", "target": "worker", "sdp": "y" })).await;
    assert_eq!(pair.worker.next().await["sender"], "bob");
}

#[tokio::test]
async fn a_peer_that_does_not_come_back_has_left_after_the_window() {
    let timing = Timing { resume_window: Duration::from_millis(1500), ..Timing::default() };
    let mut pair = pair(Settings { timing, ..settings() }).await;
    pair.client.cut();
    assert!(pair.worker.heard().await.is_empty());
    let left = pair.worker.next().await;
    assert_eq!(left, json!({ "type": "peer_left", "peer_id": "bob", "reason": "lost" }));
    pair.worker.send(&offer(1)).await;
    assert_eq!(pair.worker.next().await["code"], "PEER_NOT_FOUND");
}

#[tokio::test]
async fn leaving_and_closing_are_at_once() {
    let mut pair = pair(settings()).await;
    pair.client.send(&json!({ "type": "leave" })).await;
    let closed = pair.client.until_closed().await.1;
    assert_eq!(closed, Closed { code: 1000, reason: "goodbye".into() });
    assert_eq!(pair.worker.next().await["type"], "peer_left");

    let peer = pair.broker.join(&pair.room, &pair.room.viewer, &pair.bob).await;
    assert_eq!(pair.worker.next().await["type"], "peer_joined");
    peer.close().await;
    assert_eq!(pair.worker.next().await["type"], "peer_left");
}

#[tokio::test]
async fn the_same_peer_on_a_new_socket_replaces_the_old_one_and_outlives_its_end() {
    let mut pair = pair(settings()).await;
    let (mut new, welcome) =
        pair.broker.join_as(&pair.room, &pair.room.viewer, &pair.bob, "bob", json!({})).await;
    assert_eq!(welcome["resumed"], false);
    let closed = pair.client.until_closed().await.1;
    assert_eq!(closed.code, 4000, "{closed:?}");
    assert_eq!(pair.worker.next().await["type"], "peer_left");
    assert_eq!(pair.worker.next().await["type"], "peer_joined");
    drop(pair.client);
    pair.worker.send(&offer(7)).await;
    assert_eq!(new.next().await["sdp"], "7");
    assert!(pair.worker.heard().await.is_empty());
}

#[tokio::test]
async fn resuming_while_the_old_socket_still_seems_open_takes_over_silently() {
    let mut pair = pair(settings()).await;
    let more = json!({ "resume_token": pair.resume });
    let (mut new, welcome) =
        pair.broker.join_as(&pair.room, &pair.room.viewer, &pair.bob, "bob", more).await;
    assert_eq!(welcome["resumed"], true);
    assert_eq!(pair.client.until_closed().await.1.code, 4000);
    pair.worker.send(&offer(8)).await;
    assert_eq!(new.next().await["sdp"], "8");
    assert!(pair.worker.heard().await.is_empty());
}

#[tokio::test]
async fn a_name_in_use_by_somebody_else_is_refused() {
    let mut pair = pair(settings()).await;
    let mallory = pair.broker.sign_in().await;
    let mut thief = pair.broker.socket().await;
    let more = json!({ "resume_token": pair.resume });
    let answer = thief.register(&pair.room, &pair.room.operator, &mallory, "bob", more).await;
    assert_eq!(answer["code"], "PEER_ID_TAKEN");
    pair.worker.send(&offer(9)).await;
    assert_eq!(pair.client.next().await["sdp"], "9");
    let answer = thief.register(&pair.room, &pair.room.operator, &mallory, "m", json!({})).await;
    assert_eq!(answer["type"], "registered_auth");
}

#[tokio::test]
async fn registering_again_moves_the_socket_to_another_room() {
    let mut pair = pair(settings()).await;
    let other = pair.broker.create_room(&pair.bob).await;
    let answer = pair.client.register(&other, &other.operator, &pair.bob, "bob", json!({})).await;
    assert_eq!(answer["room_id"], other.id);
    assert_eq!(answer["role"], "admin");
    assert_eq!(pair.worker.next().await["type"], "peer_left");
    assert!(pair.client.heard().await.is_empty());
}

#[tokio::test]
async fn a_peer_that_is_silent_too_long_is_closed_and_pinged_before() {
    let timing = Timing {
        ping_every: Duration::from_millis(100),
        idle_after: Duration::from_millis(600),
        ..Timing::default()
    };
    let mut pair = pair(Settings { timing, ..settings() }).await;
    // Nobody here answers its pings.
    let closed = unanswered(&mut pair.client).await;
    assert_eq!(closed, Some(4001));
}

/// Reads raw bytes without answering pings until a close frame comes; its code.
async fn unanswered(peer: &mut Peer) -> Option<u16> {
    use tokio::io::AsyncReadExt;

    let mut bytes = Vec::new();
    let stream = peer.socket.get_mut();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(crate::support::SOON, read).await.expect("closed in time").expect("read");
    assert!(bytes.windows(2).any(|two| two == [0x89, 0x00]), "a ping frame");
    assert!(String::from_utf8_lossy(&bytes).contains(r#"{"type":"ping"}"#));
    let at = bytes.iter().rposition(|&byte| byte == 0x88)?;
    Some(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]))
}
