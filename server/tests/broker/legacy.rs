//! The transcript of the original's server, played again.
//!
//! Every line of `test_files/wire/legacy/legacy-99bbad3.jsonl` is one request to it and what it
//! answered. Our answer must have every field of the original's with the same value (it may have
//! more), except where [`differences`] says what is answered instead, and why.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{Broker, Peer, Person, Room, settings};

const TRANSCRIPT: &str = "../test_files/wire/legacy/legacy-99bbad3.jsonl";

/// Case, why we answer differently, and what we answer.
fn differences() -> Vec<(&'static str, &'static str, Value)> {
    let tags = json!(["sleap-rtc", "training-worker"]);
    vec![
        (
            "health",
            "it is our version",
            json!([{ "status": 200, "body": {
                "status": "healthy", "timestamp": "<any>", "version": env!("CARGO_PKG_VERSION"),
            } }]),
        ),
        ("root-404", "the page is there", json!([{ "status": 200, "body": "<any>" }])),
        (
            "create-room no header",
            "401 is the right status for a missing identity",
            json!([{ "status": 401, "body": { "code": "INVALID_IDENTITY", "detail": "<any>" } }]),
        ),
        ("ping", "pings are answered", json!([{ "type": "pong" }])),
        (
            "update_metadata props only (drops tags!)",
            "an update keeps what it does not name",
            json!([{ "type": "metadata_updated", "peer_id": "<A>", "metadata": {
                "tags": tags, "properties": { "gpu_memory_mb": 8000, "status": "reserved" },
            } }]),
        ),
        (
            "discover by tag after props-only update",
            "the tags are still there",
            json!([{ "type": "peer_list", "to_peer_id": "<B>", "count": 1, "peers": "<any>" }]),
        ),
        (
            "client may rewrite worker metadata",
            "only a peer itself says what it is",
            json!([{ "type": "error", "code": "FORBIDDEN" }]),
        ),
        (
            "offer no target",
            "offers are never dropped silently",
            json!([{ "type": "error", "code": "INVALID_MESSAGE",
                "message": "Missing required fields: target" }]),
        ),
        (
            "offer unknown target",
            "offers are never dropped silently",
            json!([{ "type": "error", "code": "PEER_NOT_FOUND", "target": "ghost",
                "message": "Peer ghost not found in room" }]),
        ),
        (
            "sender spoof: client sends answer as worker",
            "the sender is known from the socket",
            json!([{ "type": "answer", "sender": "<B>", "target": "<B>", "sdp": "spoof" }]),
        ),
        ("error relay busy", "a busy worker's refusal reaches its client", json!([])),
        (
            "error (target sees)",
            "a busy worker's refusal reaches its client",
            json!([{ "type": "error", "sender": "<A>", "target": "<B>", "reason": "worker_busy",
                "message": "m", "current_status": "reserved" }]),
        ),
        (
            "ice_candidate ghost",
            "nothing is dropped silently",
            json!([{ "type": "error", "code": "PEER_NOT_FOUND", "target": "ghost",
                "message": "Target peer ghost not found" }]),
        ),
        (
            "second admin",
            "the worker kept its tags and its status, see above",
            json!([
                { "type": "admin_conflict", "room_id": "<room>", "current_admin": "<A>" },
                { "type": "registered_auth", "room_id": "<room>", "token": "<roomtok>",
                    "peer_id": "second", "admin_peer_id": "<A>", "peer_list": ["<A>", "<B>"],
                    "peer_metadata": {
                        "<A>": { "tags": tags,
                            "properties": { "gpu_memory_mb": 8000, "status": "reserved" } },
                        "<B>": { "properties": {}, "tags": ["cl"] },
                    },
                    "ice_servers": "<any>", "mesh_ice_servers": "<any>" },
            ]),
        ),
        (
            "client notified when worker leaves?",
            "peers are told who left",
            json!([
                { "type": "peer_left", "peer_id": "second" },
                { "type": "peer_left", "peer_id": "<A>" },
            ]),
        ),
        (
            "metrics",
            "figures are not for everybody who may join",
            json!([{ "status": 404, "body": { "code": "NOT_FOUND" } }]),
        ),
        (
            "delete-peer connected",
            "a room lives until it expires, not until its last peer leaves",
            json!([{ "status": 200, "body": {
                "status": "peer deleted successfully. Room status: active" } }]),
        ),
        (
            "socket of deleted peer",
            "a deleted peer's socket is closed",
            json!([{ "closed": 1000 }]),
        ),
    ]
}

/// Who speaks in a case, and whose answer is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    /// A call; the identity of the caller, where ours asks for one and the original did not.
    Http(Option<Who>),
    /// A message on a socket that has not registered.
    Stranger,
    /// A message and its answer on one socket.
    Says(Who),
    /// What a socket was sent.
    Sees(Who),
    /// The second worker comes.
    Second,
    /// Both workers go.
    WorkersLeave,
    /// The client's socket ends.
    ClientEnds,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Worker,
    Client,
}

fn turn(case: &str) -> Turn {
    use Turn::{ClientEnds, Http, Says, Second, Sees, Stranger, WorkersLeave};
    use Who::{Client, Worker};
    match case {
        "health" | "root-404" | "create-room no header" | "create-room bad token" | "metrics" => {
            Http(None)
        }
        "delete-peer ghost" | "delete-peer connected" => Http(Some(Client)),
        "delete-peers-and-room ghost" | "delete-peers-and-room unknown room" => Http(Some(Worker)),
        "invalid json"
        | "unknown type"
        | "ping"
        | "no type"
        | "register missing"
        | "register bad idtoken"
        | "register no room"
        | "register bad room token"
        | "register expired room"
        | "discover unregistered"
        | "peer_message unregistered" => Stranger,
        "peer_message ok (target sees)" | "offer ok (target sees, verbatim)" => Sees(Worker),
        "candidate (target sees)"
        | "error (target sees)"
        | "mesh_offer (target sees)"
        | "mesh_answer (target sees)"
        | "ice_candidate (target sees)" => Sees(Client),
        "register worker"
        | "update_metadata missing"
        | "update_metadata ghost"
        | "update_metadata props only (drops tags!)"
        | "candidate ok"
        | "error relay busy"
        | "mesh_connect missing"
        | "mesh_connect ghost"
        | "mesh_connect ok"
        | "mesh_answer ghost"
        | "mesh_answer ok"
        | "ice_candidate ghost"
        | "ice_candidate ok" => Says(Worker),
        "second admin" => Second,
        "client notified when worker leaves?" => WorkersLeave,
        "socket of deleted peer" => ClientEnds,
        _ => Says(Client),
    }
}

/// Presence is news that the original did not have; existing clients skip what they do not know.
/// It told new metadata to the peer alone that it is about.
fn is_presence(message: &Value, me: &str) -> bool {
    match message["type"].as_str().unwrap_or_default() {
        "peer_joined" | "peer_left" => true,
        "metadata_updated" => message["peer_id"] != me,
        _ => false,
    }
}

/// Whether ours has everything that the original's has.
fn covers(original: &Value, ours: &Value) -> bool {
    match (original, ours) {
        (Value::String(any), _) if any == "<any>" => true,
        (Value::String(time), Value::String(_)) if time == "<time>" => true,
        (Value::String(number), Value::Number(_)) if number == "<num>" => true,
        (Value::Object(original), Value::Object(ours)) => original
            .iter()
            .all(|(name, value)| ours.get(name).is_some_and(|ours| covers(value, ours))),
        (Value::Array(original), Value::Array(ours)) => {
            original.len() == ours.len() && original.iter().zip(ours).all(|(a, b)| covers(a, b))
        }
        (original, ours) => original == ours,
    }
}

struct Play {
    broker: Broker,
    ann: Person,
    bob: Person,
    room: Room,
    expired: String,
    worker: Peer,
    client: Peer,
    second: Option<Peer>,
}

impl Play {
    async fn start() -> Self {
        let broker = Broker::with(settings()).await;
        let ann = broker.sign_in().await;
        let bob = broker.sign_in().await;
        let room = broker.create_room(&ann).await;
        let expired = broker.create_room_for(&ann, json!({ "ttl_seconds": 1 })).await.id;
        let is_over = async {
            let path = format!("/rooms/{expired}");
            while broker.call("GET", &path, Some(&ann.id_token), None).await.status != 410 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(crate::support::SOON, is_over).await.expect("expired in time");
        let worker = broker.socket().await;
        let client = broker.socket().await;
        Self { broker, ann, bob, room, expired, worker, client, second: None }
    }

    /// The transcript's placeholders, filled in.
    fn real(&self, text: &str) -> String {
        [
            ("<A>", &self.ann.name),
            ("<B>", &self.bob.name),
            ("<room>", &self.room.id),
            ("<roomtok>", &self.room.operator),
            ("<idtok-A>", &self.ann.id_token),
            ("<idtok-B>", &self.bob.id_token),
            ("0ldr00m0", &self.expired),
        ]
        .iter()
        .fold(text.to_owned(), |text, (placeholder, real)| text.replace(placeholder, real))
    }

    fn person(&self, who: Who) -> &Person {
        match who {
            Who::Worker => &self.ann,
            Who::Client => &self.bob,
        }
    }

    fn peer(&mut self, who: Who) -> &mut Peer {
        match who {
            Who::Worker => &mut self.worker,
            Who::Client => &mut self.client,
        }
    }

    async fn play(&mut self, turn: Turn, sent: &Value, expected: usize) -> Value {
        match turn {
            Turn::Http(caller) => {
                let line = sent["http"].as_str().expect("a request line");
                let (method, path) = line.split_once(' ').expect("a method and a path");
                let given = sent["headers"]["Authorization"].as_str();
                let given = given.and_then(|value| value.strip_prefix("Bearer "));
                let token = caller.map(|who| self.person(who).id_token.as_str()).or(given);
                let body = sent.get("json").cloned();
                let answer = self.broker.call(method, path, token, body).await;
                json!([{ "status": answer.status, "body": answer.body }])
            }
            Turn::Stranger => {
                let mut peer = self.broker.socket().await;
                say(&mut peer, sent).await;
                let answer = peer.next().await;
                assert!(peer.heard().await.is_empty(), "one answer and still open");
                json!([answer])
            }
            Turn::Says(who) => {
                let me = self.person(who).name.clone();
                let peer = self.peer(who);
                say(peer, sent).await;
                if sent["type"] == "register" {
                    return json!([peer.next().await]);
                }
                json!(without_presence(peer.heard().await, &me))
            }
            Turn::Sees(who) => {
                let mut seen = Vec::new();
                let me = self.person(who).name.clone();
                let peer = self.peer(who);
                while seen.len() < expected {
                    let message = peer.next().await;
                    seen.extend((!is_presence(&message, &me)).then_some(message));
                }
                seen.extend(without_presence(peer.heard().await, &me));
                json!(seen)
            }
            Turn::Second => {
                let mut peer = self.broker.socket().await;
                say(&mut peer, sent).await;
                let answers = vec![peer.next().await, peer.next().await];
                self.second = Some(peer);
                json!(answers)
            }
            Turn::WorkersLeave => {
                self.client.heard().await;
                self.second.take().expect("it came").close().await;
                let mut news = vec![self.client.next().await];
                let gone = self.broker.socket().await;
                std::mem::replace(&mut self.worker, gone).close().await;
                news.push(self.client.next().await);
                json!(news)
            }
            Turn::ClientEnds => json!([{ "closed": self.client.until_closed().await.1.code }]),
        }
    }
}

async fn say(peer: &mut Peer, sent: &Value) {
    match sent {
        // What was no JSON stands in the transcript as it was sent.
        Value::String(text) => peer.send_text(text).await,
        message => peer.send(message).await,
    }
}

fn without_presence(messages: Vec<Value>, me: &str) -> Vec<Value> {
    messages.into_iter().filter(|message| !is_presence(message, me)).collect()
}

#[tokio::test]
async fn the_originals_transcript_plays_but_for_the_listed_differences() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRANSCRIPT);
    let text = std::fs::read_to_string(&path).expect("the transcript is in the repository");
    let mut play = Play::start().await;
    let mut unused = differences();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let case = line["case"].as_str().expect("a name").to_owned();
        let difference = unused.iter().position(|(listed, _, _)| *listed == case);
        let difference = difference.map(|at| unused.remove(at));
        let expected = difference.as_ref().map_or(&line["replies"], |(_, _, replies)| replies);
        let expected = play.real(&expected.to_string());
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        let sent: Value =
            serde_json::from_str(&play.real(&line["sent"].to_string())).expect("JSON");
        let count = expected.as_array().expect("a list").len();
        let ours = play.play(turn(&case), &sent, count).await;
        if !covers(&expected, &ours) {
            wrong.push(format!("{case}:\n  expected {expected}\n  got      {ours}"));
        }
        if difference.is_some() && covers(&line["replies"], &ours) && count > 0 {
            let same = line["replies"].as_array().map(Vec::len) == Some(count);
            let keeps_more = case.contains("drops tags");
            assert!(!same || keeps_more, "{case} is listed as a difference and is none");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(unused.is_empty(), "listed but not in the transcript: {unused:?}");
}

#[tokio::test]
async fn an_existing_client_connects_at_the_root() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let stream = tokio::net::TcpStream::connect(broker.addr).await.expect("connected");
    let mut peer = broker.socket_over(stream, "/").await;
    let answer = peer.register(&room, &room.operator, &ann, &ann.name, json!({})).await;
    assert_eq!(answer["type"], "registered_auth");
    assert_eq!(answer["token"], room.operator);
}
