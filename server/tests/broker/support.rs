//! A broker on a free port, and peers that talk to it.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use halyard_server::{RunError, Server, Settings};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::sync::CancellationToken;

/// Longest wait for anything that should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A broker that runs until it is stopped or dropped.
pub(crate) struct Broker {
    pub(crate) addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    http: reqwest::Client,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Settings for a test: a free port, nothing outside.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        stun_urls: vec![
            "stun:stun.l.google.com:19302".into(),
            "stun:stun1.l.google.com:19302".into(),
        ],
        ..Settings::default()
    }
}

/// An answer of the REST interface.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) id_token: String,
}

/// A room and its tokens.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) operator: String,
    pub(crate) viewer: String,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let server = Server::bind(settings).await.expect("bound");
        let addr = server.local_addr();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Self { addr, stop, running, http: reqwest::Client::new() }
    }

    /// A broker that runs somewhere else.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let running = tokio::spawn(async { Ok(()) });
        Self { addr, stop: CancellationToken::new(), running, http: reqwest::Client::new() }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(SOON, &mut self.running).await.expect("stopped in time");
        ended.expect("no panic").expect("no failure");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = timeout(SOON, request.send()).await.expect("in time").expect("answered");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) async fn sign_in(&self) -> Person {
        let answer = self.call("POST", "/anonymous-signin", None, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Person { name: text(&answer.body["username"]), id_token: text(&answer.body["id_token"]) }
    }

    pub(crate) async fn create_room(&self, owner: &Person) -> Room {
        self.create_room_for(owner, json!({})).await
    }

    pub(crate) async fn create_room_for(&self, owner: &Person, wish: Value) -> Room {
        let answer = self.call("POST", "/create-room", Some(&owner.id_token), Some(wish)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Room {
            id: text(&answer.body["room_id"]),
            operator: text(&answer.body["tokens"]["operator"]),
            viewer: text(&answer.body["tokens"]["viewer"]),
        }
    }

    /// A socket that has said nothing.
    pub(crate) async fn socket(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).await.expect("connected");
        self.socket_over(stream, "/ws").await
    }

    pub(crate) async fn socket_over(&self, stream: TcpStream, path: &str) -> Peer {
        let request = format!("ws://{}{path}", self.addr).into_client_request().expect("a URL");
        let (socket, _) =
            timeout(SOON, client_async(request, stream)).await.expect("in time").expect("upgraded");
        Peer { socket, name: String::new(), seen: VecDeque::new() }
    }

    /// Somebody in a room under its own name.
    pub(crate) async fn join(&self, room: &Room, token: &str, person: &Person) -> Peer {
        self.join_as(room, token, person, &person.name, json!({})).await.0
    }

    /// Somebody in a room; also the answer.
    pub(crate) async fn join_as(
        &self,
        room: &Room,
        token: &str,
        person: &Person,
        name: &str,
        more: Value,
    ) -> (Peer, Value) {
        let mut peer = self.socket().await;
        let answer = peer.register(room, token, person, name, more).await;
        assert_eq!(answer["type"], "registered_auth", "{answer}");
        (peer, answer)
    }

    pub(crate) async fn still_serves(&self) {
        let person = self.sign_in().await;
        let room = self.create_room(&person).await;
        let mut peer = self.join(&room, &room.operator, &person).await;
        peer.send(&json!({ "type": "ping" })).await;
        assert_eq!(peer.next().await, json!({ "type": "pong" }));
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned()
}

pub(crate) fn register(
    room: &Room,
    token: &str,
    person: &Person,
    name: &str,
    more: &Value,
) -> Value {
    let mut message = json!({
        "type": "register", "peer_id": name, "room_id": room.id, "token": token,
        "id_token": person.id_token,
    });
    let fields = message.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    message
}

/// One end of a socket.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) name: String,
    seen: VecDeque<Value>,
}

/// How a socket ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Peer {
    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        let sent = self.socket.send(Message::Text(text.into()));
        timeout(SOON, sent).await.expect("in time").expect("sent");
    }

    pub(crate) async fn register(
        &mut self,
        room: &Room,
        token: &str,
        person: &Person,
        name: &str,
        more: Value,
    ) -> Value {
        name.clone_into(&mut self.name);
        self.send(&register(room, token, person, name, &more)).await;
        self.next().await
    }

    /// The next message that is no ping.
    pub(crate) async fn next(&mut self) -> Value {
        if let Some(message) = self.seen.pop_front() {
            return message;
        }
        let frame = timeout(SOON, self.frame()).await.expect("a message in time");
        frame.unwrap_or_else(|closed| panic!("closed instead of a message: {closed:?}"))
    }

    /// The next text as it came, pings included.
    pub(crate) async fn next_text(&mut self) -> String {
        loop {
            let frame = timeout(SOON, self.socket.next()).await.expect("in time").expect("open");
            if let Message::Text(text) = frame.expect("a frame") {
                return text.to_string();
            }
        }
    }

    /// The next message of this type; others before it are skipped.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The next message that is no ping, or how the socket ended.
    pub(crate) async fn frame(&mut self) -> Result<Value, Closed> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).expect("JSON");
                    if value["type"] != "ping" {
                        return Ok(value);
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err(Closed {
                        code: frame.code.into(),
                        reason: frame.reason.to_string(),
                    });
                }
                Some(Ok(Message::Close(None))) => {
                    return Err(Closed { code: 1005, reason: String::new() });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Closed { code: 1006, reason: error.to_string() }),
                None => return Err(Closed { code: 1006, reason: "end of stream".to_owned() }),
            }
        }
    }

    /// Everything until the socket is closed, and how it is.
    pub(crate) async fn until_closed(&mut self) -> (Vec<Value>, Closed) {
        let mut messages: Vec<Value> = self.seen.drain(..).collect();
        loop {
            match timeout(SOON, self.frame()).await.expect("closed in time") {
                Ok(message) => messages.push(message),
                Err(closed) => return (messages, closed),
            }
        }
    }

    /// Everything that was said to this peer before the answer to a question asked now.
    pub(crate) async fn heard(&mut self) -> Vec<Value> {
        self.send(&json!({ "type": "ping" })).await;
        let mut messages = Vec::new();
        loop {
            let message = self.next().await;
            if message["type"] == "pong" {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn close(mut self) {
        let _ = timeout(SOON, self.socket.close(None)).await.expect("in time");
        while let Some(Ok(_)) = timeout(SOON, self.socket.next()).await.expect("in time") {}
    }
}
