//! Rooms, for their owners, over REST.

use std::time::Duration;

use halyard_protocol::token::Token;
use halyard_server::{Settings, settings::TurnSettings};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    slow_loris::ask,
    support::{Broker, Closed, SOON, settings, text},
};

fn code(body: &Value) -> &str {
    assert_eq!(body["detail"], body["message"], "existing clients read the detail");
    body["code"].as_str().expect("a code")
}

#[tokio::test]
async fn an_owner_makes_shows_extends_and_deletes_a_room() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let token = Some(ann.id_token.as_str());
    let wish = json!({ "ttl_seconds": 60, "name": "rover" });
    let made = broker.call("POST", "/create-room", token, Some(wish)).await.body;
    let id = text(&made["room_id"]);
    assert_eq!(id.len(), 8);
    assert_eq!(made["token"], made["tokens"]["operator"]);
    let operator = text(&made["tokens"]["operator"]);
    assert_eq!(text(&made["join_url"]), format!("http://{}/r/{id}#{operator}", broker.addr));
    assert!(text(&made["viewer_url"]).ends_with(&text(&made["tokens"]["viewer"])));

    let path = format!("/rooms/{id}");
    let shown = broker.call("GET", &path, token, None).await.body;
    assert_eq!(shown["name"], "rover");
    assert_eq!(shown["peers"], json!([]));
    assert!(!shown.to_string().contains(&operator));
    let listed = broker.call("GET", "/rooms", token, None).await.body;
    assert_eq!(listed["rooms"][0]["room_id"], id);

    let longer = json!({ "ttl_seconds": 600 });
    let extended = broker.call("POST", &format!("{path}/extend"), token, Some(longer)).await.body;
    let gain = extended["expires_at"].as_u64().expect("a time")
        - made["expires_at"].as_u64().expect("a time");
    assert!((540..=545).contains(&gain), "{gain}");

    let mut worker = broker
        .join(
            &crate::support::Room { id: id.clone(), operator, viewer: String::new() },
            &text(&made["token"]),
            &ann,
        )
        .await;
    let shown = broker.call("GET", &path, token, None).await.body;
    assert_eq!(shown["peers"][0]["access"], "admin");
    let deleted = broker.call("DELETE", &path, token, None).await;
    assert_eq!((deleted.status, &deleted.body["status"]), (200, &json!("deleted")));
    let (messages, closed) = worker.until_closed().await;
    assert_eq!(messages, [json!({ "type": "room_closed", "reason": "deleted" })]);
    assert_eq!(closed.code, 4004);
    assert_eq!(code(&broker.call("GET", &path, token, None).await.body), "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn only_the_owner_may() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let mallory = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let victim = broker.join_as(&room, &room.operator, &ann, "victim", json!({})).await;
    let id = &room.id;
    for (method, path, body) in [
        ("GET", format!("/rooms/{id}"), None),
        ("DELETE", format!("/rooms/{id}"), None),
        ("POST", format!("/rooms/{id}/extend"), None),
        ("POST", format!("/rooms/{id}/revoke"), Some(json!({ "peer_id": "victim" }))),
        ("POST", "/delete-peer".into(), Some(json!({ "peer_id": "victim" }))),
        ("POST", "/delete-peers-and-room".into(), Some(json!({ "room_id": id }))),
        ("POST", "/delete-peers-and-room".into(), Some(json!({ "peer_id": "victim" }))),
    ] {
        let theirs = broker.call(method, &path, Some(&mallory.id_token), body.clone()).await;
        assert_eq!((theirs.status, code(&theirs.body)), (403, "FORBIDDEN"), "{method} {path}");
        let nobodys = broker.call(method, &path, None, body.clone()).await;
        assert_eq!((nobodys.status, code(&nobodys.body)), (401, "INVALID_IDENTITY"), "{path}");
        let forged = broker.call(method, &path, Some("x.y.z"), body).await;
        assert_eq!(forged.status, 401, "{path}");
    }
    assert_eq!(
        broker.call("GET", "/rooms", Some(&mallory.id_token), None).await.body["rooms"],
        json!([])
    );
    let (mut victim, _) = victim;
    assert!(victim.heard().await.is_empty(), "nothing happened to it");
}

#[tokio::test]
async fn revoking_a_role_ends_its_sessions_and_its_token() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut worker, _) = broker.join_as(&room, &room.operator, &ann, "worker", json!({})).await;
    let (mut viewer, _) = broker.join_as(&room, &room.viewer, &bob, "viewer", json!({})).await;
    let (mut operator, _) = broker.join_as(&room, &room.operator, &bob, "op", json!({})).await;
    worker.heard().await;
    let path = format!("/rooms/{}/revoke", room.id);
    let wish = Some(json!({ "role": "viewer" }));
    let answer = broker.call("POST", &path, Some(&ann.id_token), wish).await.body;
    assert_eq!(answer["revoked"], json!(["viewer"]));
    let closed = viewer.until_closed().await.1;
    assert_eq!(closed, Closed { code: 4003, reason: "access was revoked".into() });
    let left = json!({ "type": "peer_left", "peer_id": "viewer", "reason": "revoked" });
    assert_eq!(worker.next().await, left);
    assert_eq!(worker.next().await, json!({ "type": "rights_changed" }));
    assert_eq!(operator.next_of("peer_left").await["peer_id"], "viewer");

    let mut again = broker.socket().await;
    let refused = again.register(&room, &room.viewer, &bob, "viewer", json!({})).await;
    assert_eq!(refused["code"], "INVALID_TOKEN");
    let token = text(&answer["token"]);
    assert!(text(&answer["viewer_url"]).ends_with(&token));
    let welcome = again.register(&room, &token, &bob, "viewer", json!({})).await;
    assert_eq!(welcome["role"], "viewer");

    for body in [json!({}), json!({ "role": "admin" }), json!({ "role": "king" })] {
        let refused = broker.call("POST", &path, Some(&ann.id_token), Some(body)).await;
        assert_eq!((refused.status, code(&refused.body)), (400, "INVALID_MESSAGE"));
    }
}

#[tokio::test]
async fn a_revoked_peer_stays_out() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (mut peer, welcome) = broker.join_as(&room, &room.viewer, &bob, "bob", json!({})).await;
    let path = format!("/rooms/{}/revoke", room.id);
    let wish = Some(json!({ "peer_id": "bob" }));
    let answer = broker.call("POST", &path, Some(&ann.id_token), wish).await.body;
    assert_eq!(answer["revoked"], json!(["bob"]));
    assert_eq!(peer.until_closed().await.1.code, 4003);
    let mut again = broker.socket().await;
    let more = json!({ "resume_token": welcome["resume_token"] });
    let refused = again.register(&room, &room.viewer, &bob, "bob", more).await;
    assert_eq!(refused["code"], "FORBIDDEN");
}

#[tokio::test]
async fn a_peer_may_delete_itself() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let bob = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut peer = broker.join(&room, &room.viewer, &bob).await;
    let wish = Some(json!({ "peer_id": bob.name }));
    let answer = broker.call("POST", "/delete-peer", Some(&bob.id_token), wish).await;
    assert_eq!(answer.body["status"], "peer deleted successfully. Room status: active");
    assert_eq!(peer.until_closed().await.1.code, 1000);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_in_words() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let token = Some(ann.id_token.as_str());
    for wish in [
        json!({ "ttl_seconds": 0 }),
        json!({ "ttl_seconds": u64::MAX }),
        json!({ "ttl_seconds": "long" }),
        json!({ "name": "x".repeat(200) }),
        json!({ "name": "a\nb" }),
        json!([1]),
    ] {
        let answer = broker.call("POST", "/create-room", token, Some(wish.clone())).await;
        assert_eq!((answer.status, code(&answer.body)), (400, "INVALID_MESSAGE"), "{wish}");
    }
    let big = Some(json!({ "name": "x".repeat(100_000) }));
    let answer = broker.call("POST", "/create-room", token, big).await;
    assert_eq!((answer.status, code(&answer.body)), (413, "LIMIT_EXCEEDED"));
    // Who sends all of it before it reads is not cut off on the way.
    let size = 8 * 1024 * 1024;
    let head = format!(
        "POST /create-room HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Length: {size}\r\n\r\n",
        ann.id_token
    );
    let told = ask(&broker, &[head.as_bytes(), &vec![b' '; size]].concat()).await;
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("LIMIT_EXCEEDED"), "{told}");
    let nowhere = broker.call("GET", "/no/such/path", None, None).await;
    assert_eq!((nowhere.status, &nowhere.body["detail"]), (404, &json!("Not Found")));
    assert_eq!(broker.call("GET", "/create-room", None, None).await.status, 405);
    assert_eq!(broker.call("GET", "/ws", None, None).await.status, 426);
    broker.still_serves().await;
}

#[tokio::test]
async fn an_identity_owns_so_many_rooms_and_no_more() {
    let mut settings = settings();
    settings.limits.max_rooms_per_identity = 2;
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    broker.create_room(&ann).await;
    broker.create_room(&ann).await;
    let third = broker.call("POST", "/create-room", Some(&ann.id_token), None).await;
    assert_eq!((third.status, code(&third.body)), (429, "LIMIT_EXCEEDED"));
    broker.create_room(&broker.sign_in().await).await;
}

#[tokio::test]
async fn signing_in_with_a_good_token_renews_it() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let again = broker.call("POST", "/anonymous-signin", Some(&ann.id_token), None).await.body;
    assert_eq!(again["username"], ann.name);
    assert!(again["expires_in"].as_u64().expect("seconds") > 0);
    assert_ne!(broker.sign_in().await.name, ann.name);
    let refused = broker.call("POST", "/anonymous-signin", Some("x"), None).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn peers_are_told_turn_servers_with_credentials_of_their_own() {
    let turn = TurnSettings {
        urls: vec!["turn:turn.example.org:3478".into()],
        secret: Token::new("north"),
        ttl: Duration::from_mins(10),
        mesh: false,
    };
    let broker = Broker::with(Settings { turn: Some(turn), ..settings() }).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (_peer, welcome) = broker.join_as(&room, &room.operator, &ann, "ann", json!({})).await;
    let servers = welcome["ice_servers"].as_array().expect("a list");
    assert_eq!(servers.len(), 3);
    assert!(text(&servers[2]["username"]).ends_with(":ann"));
    assert_eq!(text(&servers[2]["credential"]).len(), 28);
    assert_eq!(welcome["mesh_ice_servers"].as_array().expect("a list").len(), 2);
    let fresh = broker.call("GET", "/ice-servers", Some(&ann.id_token), None).await.body;
    assert!(fresh["expires_at"].as_u64().is_some());
    assert!(!fresh.to_string().contains("north"));
    assert_eq!(broker.call("GET", "/ice-servers", None, None).await.status, 401);
}

#[tokio::test]
async fn the_published_key_verifies_what_was_signed() {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};

    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let published = broker.call("GET", "/.well-known/jwks.json", None, None).await.body;
    let keys: JwkSet = serde_json::from_value(published).expect("a key set");
    let key = DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["halyard"]);
    let claims = decode::<Value>(&ann.id_token, &key, &validation).expect("verified").claims;
    assert_eq!(claims["sub"], ann.name);
    assert_eq!(claims["token_use"], "id");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut settings = settings();
    settings.timing.request_within = Duration::from_secs(2);
    let broker = Broker::with(settings).await;
    let ann = broker.sign_in().await;
    let mut stream = TcpStream::connect(broker.addr).await.expect("connected");
    let head = format!(
        "POST /create-room HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 10\r\n\r\n{{",
        ann.id_token
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    let read = timeout(SOON, stream.read_exact(&mut answer)).await;
    read.expect("in time").expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 408");
}
