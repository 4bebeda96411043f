//! What existing clients rely on, line by line, as far as the transcript in [`legacy`](super::legacy)
//! does not have it.

use std::time::Duration;

use halyard_protocol::token::Token;
use halyard_server::{
    Settings,
    settings::{Timing, TurnSettings},
};
use serde_json::{Value, json};

use crate::support::{Broker, Peer, Person, Room, register, settings, text};

/// A worker and a client as existing ones are, in one room.
struct Lab {
    broker: Broker,
    ann: Person,
    bob: Person,
    room: Room,
    worker: Peer,
    client: Peer,
}

impl Lab {
    async fn open() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: Settings) -> Self {
        let broker = Broker::with(settings).await;
        let (ann, bob) = (broker.sign_in().await, broker.sign_in().await);
        let room = broker.create_room(&ann).await;
        let about = json!({ "role": "worker", "is_admin": true, "metadata": {
            "tags": ["sleap-rtc", "training-worker"], "_worker_name": "rig 3",
            "properties": { "gpu_memory_mb": 8000, "status": "available" } } });
        let (mut worker, _) = broker.join_as(&room, &room.operator, &ann, "worker-1", about).await;
        let role = json!({ "role": "client" });
        let (client, _) = broker.join_as(&room, &room.operator, &bob, "alice", role).await;
        worker.next_of("peer_joined").await;
        Self { broker, ann, bob, room, worker, client }
    }

    /// The worker as the client finds it.
    async fn found(&mut self) -> Value {
        let ask = json!({ "type": "discover_peers", "from_peer_id": "alice",
            "filters": { "role": "worker", "room_id": "ignored" } });
        self.client.send(&ask).await;
        let list = self.client.next_of("peer_list").await;
        assert_eq!((&list["to_peer_id"], &list["count"]), (&json!("alice"), &json!(1)), "{list}");
        list["peers"][0].clone()
    }
}

/// Whether ours has everything that is expected.
fn covers(expected: &Value, ours: &Value) -> bool {
    match (expected, ours) {
        (Value::Object(expected), Value::Object(ours)) => expected
            .iter()
            .all(|(name, value)| ours.get(name).is_some_and(|ours| covers(value, ours))),
        (expected, ours) => expected == ours,
    }
}

#[tokio::test]
async fn the_calls_of_existing_clients_are_answered_as_the_original_did() {
    let lab = Lab::open().await;
    let (ann, bob) = (Some(lab.ann.id_token.as_str()), Some(lab.bob.id_token.as_str()));
    let other = lab.broker.create_room(&lab.ann).await;
    let by_id = json!({ "room_id": other.id });
    let by_peer = json!({ "peer_id": "worker-1" });
    let active = "peer deleted successfully. Room status: active";
    let gone = "peer deleted from Cognito (already removed from room)";
    for (line, call, token, body, status, answer) in [
        ("an unknown path", "GET /nowhere", None, None, 404, json!({ "detail": "Not Found" })),
        ("health", "GET /health", None, None, 200, json!({ "status": "healthy" })),
        // Who may delete is what the original did not ask.
        ("no header", "POST /delete-peer", None, Some(&by_peer), 401, json!({})),
        ("a stranger", "POST /delete-peer", bob, Some(&by_peer), 403, json!({})),
        ("a stranger's room", "POST /delete-peers-and-room", bob, Some(&by_id), 403, json!({})),
        (
            "a room",
            "POST /delete-peers-and-room",
            ann,
            Some(&by_id),
            200,
            json!({ "status": "peer deleted successfully" }),
        ),
        (
            "the room again",
            "POST /delete-peers-and-room",
            ann,
            Some(&by_id),
            200,
            json!({ "status": "room not found" }),
        ),
        ("a peer", "POST /delete-peer", ann, Some(&by_peer), 200, json!({ "status": active })),
        (
            "the peer again",
            "POST /delete-peer",
            ann,
            Some(&by_peer),
            200,
            json!({ "status": gone }),
        ),
        (
            "a room by a peer who left",
            "POST /delete-peers-and-room",
            ann,
            Some(&by_peer),
            200,
            json!({ "status": "peer not found" }),
        ),
    ] {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let ours = lab.broker.call(method, path, token, body.cloned()).await;
        assert_eq!(ours.status, status, "{line}: {ours:?}");
        assert!(covers(&answer, &ours.body), "{line}: {ours:?}");
        if status >= 400 {
            assert!(ours.body["detail"].is_string(), "{line}: existing clients read `detail`");
        }
    }
    // The room outlives its last worker, and its owner is not asked for anything new.
    let shown = lab.broker.call("GET", &format!("/rooms/{}", lab.room.id), ann, None).await;
    assert_eq!(shown.status, 200, "{shown:?}");
}

#[tokio::test]
async fn a_sign_in_and_a_room_have_the_shapes_that_existing_clients_keep() {
    let broker = Broker::start().await;
    let signed = broker.call("POST", "/anonymous-signin", None, None).await.body;
    let parts = |text: &str, by| text.split(by).map(str::len).collect::<Vec<_>>();
    assert_eq!(parts(&text(&signed["username"]), '-'), [8, 4, 4, 4, 12], "a UUID");
    assert_eq!(parts(&text(&signed["id_token"]), '.').len(), 3, "a JWT");
    let made = broker.call("POST", "/create-room", signed["id_token"].as_str(), None).await.body;
    let (id, token) = (text(&made["room_id"]), text(&made["token"]));
    assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
    let lives = made["expires_at"].as_u64().expect("a time") - halyard_server::time::unix();
    assert!((7190..=7200).contains(&lives), "two hours: {lives}");
}

#[tokio::test]
async fn every_generation_registers_with_the_fields_that_it_has() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    for (line, more, role) in [
        ("without a role or anything else", json!({}), "peer"),
        ("a worker", json!({ "role": "worker", "is_admin": false, "metadata": {} }), "worker"),
        (
            "a client",
            json!({ "role": "client", "metadata": { "tags": ["training-client"],
            "properties": { "platform": "Linux", "user_id": "unknown" } } }),
            "client",
        ),
        (
            "with fields that are not ours",
            json!({ "api_key": null, "jwt": null, "mounts": [] }),
            "peer",
        ),
        // An owner of the next generation sends none.
        ("without a token", json!({ "token": null }), "peer"),
    ] {
        let mut peer = broker.socket().await;
        let answer = peer.register(&room, &room.operator, &ann, &ann.name, more.clone()).await;
        assert_eq!(answer["type"], "registered_auth", "{line}: {answer}");
        let sent = more.get("token").cloned().unwrap_or_else(|| json!(room.operator));
        assert_eq!(answer["token"], sent, "{line}: the token is what was sent");
        for field in [
            "room_id",
            "peer_id",
            "admin_peer_id",
            "peer_list",
            "peer_metadata",
            "ice_servers",
            "mesh_ice_servers",
        ] {
            assert!(answer.get(field).is_some(), "{line}: {field} is read by existing clients");
        }
        let path = format!("/rooms/{}", room.id);
        let shown = broker.call("GET", &path, Some(&ann.id_token), None).await;
        assert_eq!(shown.body["peers"][0]["role"], role, "{line}: {shown:?}");
    }
    // The first generation said no more than its name, and the third has keys of its own.
    for words in [
        json!({ "peer_id": "frame-client" }),
        json!({ "peer_id": "w", "api_key": "slp_x", "role": "worker" }),
    ] {
        let mut peer = broker.socket().await;
        let mut message = words.clone();
        message["type"] = json!("register");
        peer.send(&message).await;
        let refused = peer.next().await;
        assert_eq!(refused["reason"], "Missing required fields during registration.", "{words}");
        assert!(peer.heard().await.is_empty(), "and the socket stays open");
    }
}

#[tokio::test]
async fn a_relay_is_told_in_one_entry_with_all_its_addresses_and_not_to_the_mesh() {
    const URLS: [&str; 3] = [
        "turn:turn.example:3478?transport=udp",
        "turn:turn.example:3478?transport=tcp",
        "turn:[2001:db8::7]:3478?transport=udp",
    ];
    let turn = TurnSettings {
        urls: URLS.map(str::to_owned).into(),
        secret: Token::new("north"),
        ttl: Duration::from_mins(10),
        mesh: false,
    };
    let broker = Broker::with(Settings { turn: Some(turn), ..settings() }).await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let (_peer, welcome) = broker.join_as(&room, &room.operator, &ann, "ann", json!({})).await;
    let servers = welcome["ice_servers"].as_array().expect("a list");
    let relay = servers.last().expect("one").as_object().expect("an object");
    assert_eq!(relay["urls"], json!(URLS));
    assert_eq!(relay.keys().collect::<Vec<_>>(), ["credential", "urls", "username"]);
    let mesh = welcome["mesh_ice_servers"].to_string();
    assert!(mesh.contains("stun:") && !mesh.contains("turn:"), "{mesh}");
}

#[tokio::test]
async fn the_first_admin_stays_until_its_socket_ends() {
    let mut lab = Lab::open().await;
    let admin = json!({ "role": "worker", "is_admin": true });
    let mut second = lab.broker.socket().await;
    let room = lab.room.clone();
    let first = second.register(&room, &room.operator, &lab.ann, "worker-2", admin.clone()).await;
    let conflict =
        json!({ "type": "admin_conflict", "room_id": room.id, "current_admin": "worker-1" });
    assert_eq!(first, conflict, "before the registration");
    let welcome = second.next().await;
    assert_eq!(
        (&welcome["type"], &welcome["admin_peer_id"]),
        (&json!("registered_auth"), &json!("worker-1"))
    );
    lab.worker.close().await;
    lab.client.next_of("peer_left").await;
    let (_third, welcome) =
        lab.broker.join_as(&room, &room.operator, &lab.ann, "worker-3", admin).await;
    assert_eq!(welcome["admin_peer_id"], "worker-3", "the place is free");
}

#[tokio::test]
async fn metadata_is_merged_and_keeps_what_is_not_ours() {
    let mut lab = Lab::open().await;
    for (line, update, tags, properties) in [
        (
            "a status alone",
            json!({ "properties": { "status": "busy" } }),
            json!(["sleap-rtc", "training-worker"]),
            json!({ "gpu_memory_mb": 8000, "status": "busy" }),
        ),
        (
            "one more tag",
            json!({ "tags": ["inference-worker"] }),
            json!(["sleap-rtc", "training-worker", "inference-worker"]),
            json!({ "gpu_memory_mb": 8000, "status": "busy" }),
        ),
        (
            "another property",
            json!({ "properties": { "current_job": "job_1" }, "tags": [] }),
            json!(["sleap-rtc", "training-worker", "inference-worker"]),
            json!({ "gpu_memory_mb": 8000, "status": "busy", "current_job": "job_1" }),
        ),
    ] {
        let message =
            json!({ "type": "update_metadata", "peer_id": "worker-1", "metadata": update });
        lab.worker.send(&message).await;
        let told = lab.worker.next_of("metadata_updated").await;
        assert_eq!(told["peer_id"], "worker-1", "{line}");
        let found = lab.found().await;
        for metadata in [&told["metadata"], &found["metadata"]] {
            assert_eq!(metadata["tags"], tags, "{line}");
            assert_eq!(metadata["properties"], properties, "{line}");
            assert_eq!(metadata["_worker_name"], "rig 3", "{line}");
        }
        assert!(found["connected_at"].is_number(), "{line}: {found}");
    }
}

#[tokio::test]
async fn who_is_looked_for_is_found_by_the_originals_rules() {
    let mut lab = Lab::open().await;
    for (filters, found) in [
        (json!({}), 1),
        (json!({ "role": "client" }), 0),
        (json!({ "tags": [] }), 1),
        (json!({ "tags": ["nothing", "training-worker"] }), 1),
        (json!({ "properties": { "gpu_memory_mb": 8000 } }), 1),
        (json!({ "properties": { "gpu_memory_mb": { "$eq": 8000 } } }), 1),
        (json!({ "properties": { "gpu_memory_mb": { "$gte": 1, "$lte": 8000 } } }), 1),
        (json!({ "properties": { "gpu_memory_mb": { "$gte": 8000.5 } } }), 0),
        (json!({ "properties": { "status": "busy" } }), 0),
        (json!({ "properties": { "nokey": null } }), 1),
        (json!({ "properties": { "nokey": "x" } }), 0),
        (
            json!({ "role": "worker", "tags": ["sleap-rtc"], "properties": { "status": "available" } }),
            1,
        ),
    ] {
        let ask = json!({ "type": "discover_peers", "from_peer_id": "alice", "filters": filters });
        lab.client.send(&ask).await;
        let list = lab.client.next_of("peer_list").await;
        assert_eq!(list["count"], found, "{filters}: {list}");
        assert_eq!(list["peers"].as_array().map(Vec::len), Some(found), "{filters}");
    }
}

#[tokio::test]
async fn signaling_is_forwarded_as_the_bytes_that_were_sent() {
    let mut lab = Lab::open().await;
    let big = "x".repeat(900_000);
    for words in [
        r#"{"type":"offer","sender":"alice","target":"worker-1","sdp":"v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\n","role":"client"}"#,
        r#"{ "sdp" : "\u00e9\ud83d\ude00 é", "type" : "answer", "target":"worker-1", "sender" : "alice" }"#,
        r#"{"type":"candidate","sender":"alice","target":"worker-1","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}"#,
        r#"{"type":"offer","sender":"alice","target":"worker-1","sdp":"x","n":[1.0,1e2,-0,12345678901234567890,null]}"#,
        &format!(r#"{{"type":"offer","sender":"alice","target":"worker-1","sdp":"{big}"}}"#),
    ] {
        lab.client.send_text(words).await;
        assert!(lab.worker.next_text().await == words, "{}", &words[..words.len().min(200)]);
    }
    // Whoever claims to be somebody else is named as itself, and the rest stays.
    for words in [
        r#"{"type":"offer","sender":"worker-1","target":"worker-1","sdp":"x","extra":[1]}"#,
        r#"{"type":"offer","target":"worker-1","sdp":"x","extra":[1]}"#,
    ] {
        lab.client.send_text(words).await;
        let heard = lab.worker.next().await;
        assert_eq!((&heard["sender"], &heard["extra"]), (&json!("alice"), &json!([1])), "{words}");
    }
    assert!(lab.client.heard().await.is_empty(), "who sends is told nothing");
}

#[tokio::test]
async fn payloads_of_applications_pass_untouched() {
    let mut lab = Lab::open().await;
    for payload in [
        json!({ "app_message_type": "job_request", "job_id": "j", "config": { "a": [1, null] } }),
        json!("text"),
        json!([1.5, { "a": null }]),
    ] {
        let message = json!({ "type": "peer_message", "from_peer_id": "alice",
            "to_peer_id": "worker-1", "payload": payload });
        lab.client.send(&message).await;
        assert_eq!(lab.worker.next().await, message);
    }
}

#[tokio::test]
async fn registering_again_on_a_socket_describes_the_peer_anew() {
    let mut lab = Lab::open().await;
    let about = json!({ "role": "worker", "metadata": { "tags": ["again"] } });
    let room = lab.room.clone();
    let answer = lab.worker.register(&room, &room.operator, &lab.ann, "worker-1", about).await;
    assert_eq!(answer["type"], "registered_auth");
    assert_eq!(answer["peer_list"], json!(["alice"]));
    assert_eq!(lab.found().await["metadata"]["tags"], json!(["again"]));
    lab.client.send(&json!({ "type": "offer", "target": "worker-1", "sdp": "1" })).await;
    assert_eq!(lab.worker.next_of("offer").await["sdp"], "1");
}

#[tokio::test]
async fn a_client_that_never_answers_the_pings_stays() {
    let timing = Timing {
        ping_every: Duration::from_millis(100),
        idle_after: Duration::from_secs(1),
        ..Timing::default()
    };
    let mut lab = Lab::with(Settings { timing, ..settings() }).await;
    // Its WebSocket library answers the frames; the messages are for workers that want them.
    let mut pings = 0;
    while pings < 25 {
        let text = lab.client.next_text().await;
        let message: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(message, json!({ "type": "ping" }));
        pings += 1;
    }
    lab.client.send(&json!({ "type": "discover_peers", "filters": {} })).await;
    lab.client.next_of("peer_list").await;
}

#[tokio::test]
async fn who_is_revoked_is_told_in_words_that_existing_clients_read() {
    let lab = Lab::open().await;
    let (path, owner) = (format!("/rooms/{}/revoke", lab.room.id), Some(lab.ann.id_token.as_str()));
    for wish in [json!({ "peer_id": "alice" }), json!({ "role": "operator" })] {
        let somebody = lab.broker.sign_in().await;
        let mut client = match wish.get("peer_id") {
            Some(_) => lab.client_again().await,
            None => lab.broker.join(&lab.room, &lab.room.operator, &somebody).await,
        };
        let revoked = lab.broker.call("POST", &path, owner, Some(wish.clone())).await;
        assert_eq!(revoked.status, 200, "{revoked:?}");
        let (heard, closed) = client.until_closed().await;
        let words = heard.iter().find(|message| message["type"] == "error").expect("words");
        assert_eq!(words["reason"], "Access to this room was revoked", "{wish}");
        assert_eq!(words["reason"], words["message"]);
        assert_eq!((closed.code, closed.reason.as_str()), (4003, "access was revoked"), "{wish}");
    }
    // And so is it when it comes back.
    let mut again = lab.broker.socket().await;
    again.send(&register(&lab.room, &lab.room.operator, &lab.bob, "alice", &json!({}))).await;
    assert_eq!(again.next().await["reason"], "Access to this room was revoked");
}

impl Lab {
    /// The client on a new socket.
    async fn client_again(&self) -> Peer {
        self.broker.join_as(&self.room, &self.room.operator, &self.bob, "alice", json!({})).await.0
    }
}
