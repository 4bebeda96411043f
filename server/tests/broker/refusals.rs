//! Who is refused, with which words, and that the broker goes on.

use std::time::Duration;

use futures_util::SinkExt;
use halyard_server::{Settings, settings::Timing};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Broker, Closed, SOON, settings};

async fn answer_to(broker: &Broker, message: &Value) -> Value {
    let mut peer = broker.socket().await;
    peer.send(message).await;
    peer.next().await
}

fn refusal(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["type"], "error", "{answer}");
    assert_eq!(answer["reason"], answer["message"], "existing clients read the reason");
    (answer["code"].as_str().expect("a code"), answer["message"].as_str().expect("a message"))
}

#[tokio::test]
async fn a_wrong_room_token_is_refused_and_the_socket_stays_open() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut peer = broker.socket().await;
    let bob = broker.sign_in().await;
    for token in ["nope", "", &"x".repeat(50_000)] {
        let answer = peer.register(&room, token, &bob, "bob", json!({})).await;
        assert_eq!(refusal(&answer), ("INVALID_TOKEN", "Invalid token"));
    }
    let none = peer.register(&room, "", &bob, "bob", json!({ "token": null })).await;
    assert_eq!(refusal(&none), ("INVALID_TOKEN", "Invalid token"));
    let owner = peer.register(&room, "nope", &ann, "ann", json!({})).await;
    assert_eq!(refusal(&owner), ("INVALID_TOKEN", "Invalid token"));
    let answer = peer.register(&room, &room.viewer, &bob, "bob", json!({})).await;
    assert_eq!(answer["role"], "viewer");
    broker.still_serves().await;
}

#[tokio::test]
async fn a_wrong_identity_is_refused() {
    let broker = Broker::start().await;
    let other = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    for id_token in [json!("x"), json!("a.b.c"), json!(other.sign_in().await.id_token)] {
        let message = json!({
            "type": "register", "peer_id": "ann", "room_id": room.id, "token": room.operator,
            "id_token": id_token,
        });
        let answer = answer_to(&broker, &message).await;
        assert_eq!(refusal(&answer).0, "INVALID_IDENTITY");
        assert_eq!(answer["error"], "Invalid token", "the original's only field");
    }
    broker.still_serves().await;
}

#[tokio::test]
async fn a_room_whose_time_is_over_is_refused_and_its_sessions_end() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room_for(&ann, json!({ "ttl_seconds": 2 })).await;
    let mut worker = broker.join(&room, &room.operator, &ann).await;
    let (messages, closed) = worker.until_closed().await;
    assert_eq!(messages, [json!({ "type": "room_closed", "reason": "expired" })]);
    assert_eq!(closed, Closed { code: 4004, reason: "the room was closed".into() });
    let mut late = broker.socket().await;
    let answer = late.register(&room, &room.operator, &ann, "ann", json!({})).await;
    assert_eq!(refusal(&answer), ("ROOM_EXPIRED", "Room expired"));
    broker.still_serves().await;
}

#[tokio::test]
async fn an_unknown_room_and_missing_fields_are_told_in_the_originals_words() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let register = |room: &str| {
        json!({
            "type": "register", "peer_id": "ann", "room_id": room, "token": "t",
            "id_token": ann.id_token,
        })
    };
    for room in ["deadbeef", "../../etc", ""] {
        let answer = answer_to(&broker, &register(room)).await;
        assert_eq!(refusal(&answer), ("ROOM_NOT_FOUND", "Room not found"));
    }
    let answer = answer_to(&broker, &json!({ "type": "register", "peer_id": "x" })).await;
    let missing = "Missing required fields during registration.";
    assert_eq!(refusal(&answer), ("INVALID_MESSAGE", missing));
    let mut odd = register("deadbeef");
    odd["peer_id"] = json!("with a space");
    assert_eq!(refusal(&answer_to(&broker, &odd).await).0, "INVALID_MESSAGE");
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_the_connection_stays_open() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut peer = broker.join(&room, &room.operator, &ann).await;
    for (sent, code, message) in [
        ("{nope", "INVALID_JSON", "Invalid JSON format"),
        ("[1]", "INVALID_JSON", "Invalid JSON format"),
        ("", "INVALID_JSON", "Invalid JSON format"),
        (r#"{"type":"quit"}"#, "UNKNOWN_MESSAGE_TYPE", "Unknown message type: quit"),
        ("{}", "UNKNOWN_MESSAGE_TYPE", "Unknown message type: None"),
        (
            r#"{"type":"update_metadata"}"#,
            "INVALID_MESSAGE",
            "Missing required fields: peer_id, metadata",
        ),
        (r#"{"type":"offer","sdp":"x"}"#, "INVALID_MESSAGE", "Missing required fields: target"),
    ] {
        peer.send_text(sent).await;
        assert_eq!(refusal(&peer.next().await), (code, message), "{sent}");
    }
    let deep = format!(r#"{{"type":"offer","target":"x","a":{}}}"#, "[".repeat(100_000));
    peer.send_text(&deep).await;
    assert_eq!(refusal(&peer.next().await).0, "INVALID_JSON");
    assert!(peer.heard().await.is_empty(), "still open");
    broker.still_serves().await;
}

#[tokio::test]
async fn nobody_talks_before_registering() {
    let broker = Broker::start().await;
    let mut peer = broker.socket().await;
    for (kind, words) in [
        ("offer", "Sender not in any room"),
        ("peer_message", "Sender not in any room"),
        ("discover_peers", "Peer not registered in any room"),
        ("update_metadata", "Peer not in any room"),
    ] {
        peer.send(&json!({ "type": kind, "target": "x", "metadata": {} })).await;
        assert_eq!(refusal(&peer.next().await), ("NOT_IN_ROOM", words));
    }
}

#[tokio::test]
async fn a_frame_of_ten_megabytes_closes_with_1009() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut peer = broker.join(&room, &room.operator, &ann).await;
    let huge = "x".repeat(10 * 1024 * 1024);
    // The broker may stop listening before all of it is sent.
    let _ = tokio::time::timeout(SOON, peer.socket.send(Message::Text(huge.into()))).await;
    let (_, closed) = peer.until_closed().await;
    assert_eq!(closed.code, 1009, "{closed:?}");
    broker.still_serves().await;
}

#[tokio::test]
async fn a_message_of_many_fragments_is_bounded_too() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    let broker = Broker::start().await;
    let mut peer = broker.socket().await;
    for number in 0..5 {
        let kind = if number == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message("x".repeat(300 * 1024), OpCode::Data(kind), false);
        if peer.socket.send(Message::Frame(frame)).await.is_err() {
            break;
        }
    }
    assert_eq!(peer.until_closed().await.1.code, 1009);
    broker.still_serves().await;
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007_and_binary_with_1003() {
    let broker = Broker::start().await;
    let mut peer = broker.socket().await;
    // A masked text frame of two bytes, the mask being zero.
    let frame = [0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28];
    peer.socket.get_mut().write_all(&frame).await.expect("written");
    let closed = peer.until_closed().await.1;
    assert_eq!(closed, Closed { code: 1007, reason: "the text is not UTF-8".into() });

    let mut peer = broker.socket().await;
    peer.socket.send(Message::Binary(vec![1, 2, 3].into())).await.expect("sent");
    assert_eq!(peer.until_closed().await.1.code, 1003);

    let mut peer = broker.socket().await;
    // Not masked, which only a broker may do.
    peer.socket.get_mut().write_all(&[0x81, 0x02, b'{', b'}']).await.expect("written");
    assert_eq!(peer.until_closed().await.1.code, 1002);
    broker.still_serves().await;
}

#[tokio::test]
async fn who_does_not_register_in_time_is_closed_with_4001() {
    let timing = Timing { register_within: Duration::from_millis(200), ..Timing::default() };
    let broker = Broker::with(Settings { timing, ..settings() }).await;
    let mut silent = broker.socket().await;
    let mut chatty = broker.socket().await;
    chatty.send(&json!({ "type": "ping" })).await;
    assert_eq!(chatty.next().await, json!({ "type": "pong" }));
    for peer in [&mut silent, &mut chatty] {
        let closed = peer.until_closed().await.1;
        assert_eq!(closed.code, 4001, "{closed:?}");
    }
    broker.still_serves().await;
}

#[tokio::test]
async fn a_room_has_so_many_peers_and_no_more() {
    let mut settings = settings();
    settings.limits.max_peers_per_room = 2;
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (_a, _) = broker.join_as(&room, &room.operator, &ann, "a", json!({})).await;
    let (_b, _) = broker.join_as(&room, &room.operator, &ann, "b", json!({})).await;
    let mut late = broker.socket().await;
    let answer = late.register(&room, &room.operator, &ann, "c", json!({})).await;
    assert_eq!(refusal(&answer).0, "LIMIT_EXCEEDED");
}

#[tokio::test]
async fn connections_are_bounded_and_one_more_is_told() {
    let mut settings = settings();
    settings.limits.max_connections = 2;
    let broker = Broker::with(settings).await;
    let first = broker.socket().await;
    let _second = broker.socket().await;
    let answer = broker.call("GET", "/health", None, None).await;
    assert_eq!(answer.status, 503);
    first.close().await;
    // The place is free when the broker has seen the end of the first.
    let free = async {
        while broker.call("GET", "/health", None, None).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("free again");
}

#[tokio::test]
async fn what_somebody_sends_is_repeated_only_in_part() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let long = "x".repeat(20_000);
    let mut peer = broker.socket().await;
    peer.send(&json!({ "type": "register", "metadata": long })).await;
    let answer = peer.next().await;
    assert_eq!(refusal(&answer).0, "INVALID_MESSAGE");
    assert!(answer.to_string().len() < 1000, "{}", answer.to_string().len());
    let answer = peer.register(&room, &room.operator, &ann, "ann", json!({})).await;
    assert_eq!(answer["type"], "registered_auth");
    peer.send(&json!({ "type": "discover_peers", "filters": long })).await;
    assert!(peer.next().await.to_string().len() < 1000);
    let body = Some(json!({ "role": long }));
    let path = format!("/rooms/{}/revoke", room.id);
    let answer = broker.call("POST", &path, Some(&ann.id_token), body).await;
    assert_eq!((answer.status, &answer.body["code"]), (400, &json!("INVALID_MESSAGE")));
    assert!(answer.body.to_string().len() < 1000);
}

#[tokio::test]
async fn an_address_that_is_no_text_names_no_room() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    for (method, path) in
        [("GET", "/rooms/%ff"), ("DELETE", "/rooms/a%20b"), ("POST", "/rooms/%ff/extend")]
    {
        let answer = broker.call(method, path, Some(&ann.id_token), None).await;
        assert_eq!((answer.status, &answer.body["code"]), (404, &json!("ROOM_NOT_FOUND")));
        assert_eq!(broker.call(method, path, None, None).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn one_more_room_than_the_server_has_room_for_is_told_when_to_come_back() {
    let mut settings = settings();
    settings.limits.max_rooms = 1;
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let (first, second) = (broker.create_room(&ann).await, broker.create_room(&ann).await);
    let peer = broker.join(&first, &first.operator, &ann).await;
    let (_other, _) = broker.join_as(&first, &first.operator, &ann, "other", json!({})).await;
    let mut late = broker.socket().await;
    let answer = late.register(&second, &second.operator, &ann, "ann", json!({})).await;
    assert_eq!(refusal(&answer).0, "LIMIT_EXCEEDED");
    assert_eq!(answer["retry_after"], 30);
    drop(peer);
    let (mut again, _) = broker.join_as(&first, &first.operator, &ann, "again", json!({})).await;
    assert!(again.heard().await.is_empty(), "the room that is in use stays in use");
}
