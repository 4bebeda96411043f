//! The broker as a program, configured through its environment as in production.

use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{SOON, program::Program};

/// The region that the tests believe in.
pub(crate) const REGION: &str = "eu-central-1";

/// `halyard-server` with this subcommand (or none), flags, and AWS at these addresses.
pub(crate) fn command(args: &[&str], dynamodb: &str, cognito: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halyard-server"));
    command
        .args(args)
        .env_clear()
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "testing")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb)
        .env("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", cognito)
        .env("HALYARD_LOG", "info,halyard_server=debug");
    command
}

/// A broker on a free port.
pub(crate) struct Broker {
    /// Where it is.
    pub(crate) url: String,
    pub(crate) program: Program,
    http: reqwest::Client,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

impl Broker {
    /// Starts one and waits until it serves.
    pub(crate) fn start(args: &[&str], dynamodb: &str, cognito: &str) -> Self {
        let args = [&["--listen", "127.0.0.1:0", "--stun-urls", ""], args].concat();
        Self::run(command(&args, dynamodb, cognito))
    }

    /// The same, started in another way.
    pub(crate) fn run(command: Command) -> Self {
        let program = Program::start(command, "it is built with the tests");
        let url = program.wait_for("serving page, REST and WebSocket at ");
        Self { url, program, http: reqwest::Client::new() }
    }

    /// A REST call; `token` is an identity token.
    pub(crate) async fn call(&self, method: &str, path: &str, token: Option<&str>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("an answer");
        let retry_after = answer.headers().get("retry-after");
        Answer {
            status: answer.status().as_u16(),
            retry_after: retry_after
                .map(|seconds| seconds.to_str().expect("text").parse().expect("seconds")),
            body: answer.json().await.expect("JSON"),
        }
    }

    /// Signs in; the identity token and the name.
    pub(crate) async fn sign_in(&self, renew: Option<&str>) -> (String, String) {
        let answer = self.call("POST", "/anonymous-signin", renew).await;
        assert_eq!(answer.status, 200, "{answer:?}\n{}", self.program.said());
        let word = |name: &str| answer.body[name].as_str().expect("a word").to_owned();
        (word("id_token"), word("username"))
    }
}

/// A peer's socket.
pub(crate) struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Peer {
    /// Registers as `name`; what the broker answered first.
    pub(crate) async fn register(
        broker: &Broker,
        name: &str,
        id_token: &str,
        room: &str,
        token: &str,
    ) -> (Self, Value) {
        let url = format!("{}/ws", broker.url.replacen("http", "ws", 1));
        let (socket, _) = connect_async(url).await.expect("a socket");
        let mut peer = Self { socket };
        peer.say(&json!({ "type": "register", "peer_id": name, "room_id": room, "token": token,
            "id_token": id_token }))
            .await;
        let answer = peer.hear().await;
        (peer, answer)
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("sent");
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            let frame = timeout(SOON, self.socket.next()).await.expect("in time").expect("open");
            if let Message::Text(text) = frame.expect("a frame") {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }
}
