//! Who calls or talks too often, what is told, and that nobody else notices.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use halyard_server::{Settings, settings::Timing};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Broker, Peer, SOON, settings};

/// A broker on which one address may do each thing so often.
async fn with_handshakes(handshakes_per_minute: usize) -> Broker {
    let mut settings = settings();
    settings.limits.handshakes_per_minute = handshakes_per_minute;
    settings.limits.max_rooms_per_identity = 1000;
    Broker::with(settings).await
}

/// A refusal over HTTP: status, code, and the seconds to wait.
async fn refused(broker: &Broker, method: &str, path: &str) -> (u16, String, u64) {
    let client = reqwest::Client::new();
    let method = method.parse().expect("a method");
    let response = client.request(method, broker.url(path)).send().await.expect("answered");
    let wait = response.headers().get("retry-after").expect("when to come back").clone();
    let wait = wait.to_str().expect("text").parse().expect("seconds");
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().await.expect("JSON");
    (status, body["code"].as_str().expect("a code").to_owned(), wait)
}

#[tokio::test]
async fn one_address_signs_in_so_often_and_is_told_when_it_may_again() {
    let broker = with_handshakes(3).await;
    let ann = broker.sign_in().await;
    for _ in 0..2 {
        broker.sign_in().await;
    }
    let (status, code, wait) = refused(&broker, "POST", "/anonymous-signin").await;
    assert_eq!((status, code.as_str()), (429, "LIMIT_EXCEEDED"));
    assert!((1..=20).contains(&wait), "{wait}");
    // What it has already goes on.
    let room = broker.create_room(&ann).await;
    let mut peer = broker.join(&room, &room.operator, &ann).await;
    assert!(peer.heard().await.is_empty());
}

#[tokio::test]
async fn one_identity_makes_rooms_more_slowly_than_its_address_may() {
    let broker = with_handshakes(20).await;
    let (ann, bob) = (broker.sign_in().await, broker.sign_in().await);
    for _ in 0..2 {
        broker.create_room(&ann).await;
    }
    let answer = broker.call("POST", "/create-room", Some(&ann.id_token), None).await;
    assert_eq!((answer.status, &answer.body["code"]), (429, &json!("LIMIT_EXCEEDED")));
    let words = answer.body["message"].as_str().expect("words");
    assert!(words.contains("new rooms of this identity"), "{words}");
    broker.create_room(&bob).await;
}

#[tokio::test]
async fn one_address_opens_so_many_sockets_in_a_minute() {
    let broker = with_handshakes(2).await;
    let (_one, _two) = (broker.socket().await, broker.socket().await);
    let handshake = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let answer = crate::slow_loris::ask(&broker, handshake.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: "), "{answer}");
}

#[tokio::test]
async fn one_address_has_so_many_connections_at_a_time() {
    let mut settings = settings();
    settings.limits.max_connections_per_address = 2;
    let broker = Broker::with(settings).await;
    let first = broker.socket().await;
    let _second = broker.socket().await;
    let answer = broker.call("GET", "/health", None, None).await;
    assert_eq!(answer.status, 429);
    first.close().await;
    let free = async {
        while broker.call("GET", "/health", None, None).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("free again");
}

#[tokio::test]
async fn who_guesses_tokens_is_not_listened_to_for_a_while_and_others_are() {
    let broker = Broker::start().await;
    let (ann, mallory) = (broker.sign_in().await, broker.sign_in().await);
    let room = broker.create_room(&ann).await;
    let mut guesser = broker.socket().await;
    for number in 0..10 {
        let token = format!("guess-{number}");
        let answer = guesser.register(&room, &token, &mallory, "m", json!({})).await;
        assert_eq!(answer["code"], "INVALID_TOKEN", "{answer}");
    }
    // Even the right one: nobody learns anything while he waits.
    let answer = guesser.register(&room, &room.operator, &mallory, "m", json!({})).await;
    assert_eq!(answer["code"], "LIMIT_EXCEEDED", "{answer}");
    assert!((1..=6).contains(&answer["retry_after"].as_u64().expect("seconds")), "{answer}");
    let mut other = broker.socket().await;
    let answer = other.register(&room, &room.operator, &mallory, "m", json!({})).await;
    assert_eq!(answer["code"], "LIMIT_EXCEEDED", "another socket does not help");
    broker.join(&room, &room.operator, &ann).await;
}

#[tokio::test]
async fn a_stranger_sends_no_large_frame_and_a_peer_does() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut stranger = broker.socket().await;
    let large = json!({ "type": "register", "peer_id": "x".repeat(200 * 1024) }).to_string();
    let _ = stranger.socket.send(Message::Text(large.into())).await;
    let closed = stranger.until_closed().await.1;
    assert_eq!(closed.code, 1009, "{closed:?}");

    let mut peer = broker.join(&room, &room.operator, &ann).await;
    let offer = json!({ "type": "offer", "target": ann.name, "sdp": "x".repeat(900 * 1024) });
    peer.send(&offer).await;
    assert_eq!(peer.next_of("offer").await["sender"], ann.name);

    // Small talk before registering is not counted together.
    let mut slow = broker.socket().await;
    for _ in 0..40 {
        let small = json!({ "type": "ping", "padding": "x".repeat(4000) });
        slow.send(&small).await;
        assert_eq!(slow.next().await["type"], "pong");
    }
}

#[tokio::test]
async fn a_stranger_who_never_stops_talking_is_closed_in_time() {
    let timing = Timing { register_within: Duration::from_millis(500), ..Timing::default() };
    let mut settings = Settings { timing, ..settings() };
    settings.limits.messages_per_second = 1_000_000;
    let broker = Broker::with(settings).await;
    let chatty = broker.socket().await;
    assert_eq!(flood(chatty).await.1, 4001);
}

/// Says something without a break until the broker closes: what was heard, and the close code.
async fn flood(peer: Peer) -> (Vec<Value>, u16) {
    let (mut mouth, mut ears) = peer.socket.split();
    let talking = async {
        while mouth.send(Message::Text(r#"{"type":"pong"}"#.into())).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let listening = async {
        let mut heard = Vec::new();
        loop {
            match ears.next().await.expect("a close frame first").expect("a close frame first") {
                Message::Text(text) => heard.push(serde_json::from_str(&text).expect("JSON")),
                Message::Close(frame) => return (heard, frame.expect("a code").code.into()),
                _ => {}
            }
        }
    };
    let closed = async {
        tokio::select! {
            () = talking => unreachable!("it never ends"),
            heard = listening => heard,
        }
    };
    tokio::time::timeout(SOON, closed).await.expect("closed although there is always more")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_too_fast_is_read_more_slowly_and_loses_nothing() {
    let mut settings = settings();
    settings.limits.messages_per_second = 20;
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut fast, _) = broker.join_as(&room, &room.operator, &ann, "fast", json!({})).await;
    let (mut other, _) = broker.join_as(&room, &room.operator, &ann, "other", json!({})).await;
    let start = Instant::now();
    for number in 0..240 {
        let candidate = json!({ "candidate": number.to_string() });
        let message = json!({ "type": "candidate", "target": "other", "candidate": candidate });
        fast.send(&message).await;
    }
    for number in 0..240 {
        let heard = other.next_of("candidate").await;
        assert_eq!(heard["candidate"]["candidate"], number.to_string());
    }
    // 200 at once, and the rest at 20 a second.
    assert!(start.elapsed() >= Duration::from_millis(1800), "{:?}", start.elapsed());
    other.send(&json!({ "type": "ping" })).await;
    assert_eq!(other.next_of("pong").await, json!({ "type": "pong" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_stop_is_told_and_then_closed_with_4005() {
    let mut settings = settings();
    settings.limits.messages_per_second = 5;
    settings.timing.tell_after = Duration::from_secs(1);
    settings.timing.close_after = Duration::from_secs(2);
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let peer = broker.join(&room, &room.operator, &ann).await;
    let (messages, code) = flood(peer).await;
    let told: Vec<_> = messages.iter().filter(|said| said["code"] == "LIMIT_EXCEEDED").collect();
    assert_eq!(told.len(), 1, "told once: {messages:?}");
    assert!(told[0]["retry_after"].as_u64().expect("seconds") >= 1);
    assert_eq!(code, 4005);
}
