//! A broker's WebSocket side, of which the test plays the broker.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use halyard_client::{
    api::Identity,
    signaling::{BackoffPolicy, SignalConfig, Timing},
};
use halyard_protocol::{ids::PeerId, token::Token};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use url::Url;

use super::within;

pub const SECRET: &str = "s3cret-room-token";
pub const ID_SECRET: &str = "s3cret-id-token";

pub struct Broker {
    listener: TcpListener,
    pub url: Url,
}

pub struct Socket(pub WebSocketStream<TcpStream>);

impl Broker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        Self { listener, url }
    }

    /// The next socket, before anything is said on it.
    pub async fn accept(&self) -> Socket {
        within("somebody dials", async {
            let (stream, _) = self.listener.accept().await.unwrap();
            Socket(accept_async(stream).await.unwrap())
        })
        .await
    }

    /// The next socket, registered.
    pub async fn register(&self) -> (Socket, Value) {
        self.register_as(json!({})).await
    }

    /// The next socket, registered with these fields on top.
    pub async fn register_as(&self, more: Value) -> (Socket, Value) {
        let mut socket = self.accept().await;
        let register = socket.hear().await;
        assert_eq!(register["type"], "register");
        let mut answer = json!({
            "type": "registered_auth", "room_id": register["room_id"],
            "token": register["token"], "peer_id": register["peer_id"], "admin_peer_id": null,
            "peer_list": [], "peer_metadata": {}, "ice_servers": [], "mesh_ice_servers": [],
            "role": "operator", "resume_token": "s3cret-resume", "protocol": 1,
        });
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        socket.say(&answer).await;
        (socket, register)
    }

    /// The next connection, of which nothing is read.
    pub async fn accept_nothing(&self) -> TcpStream {
        within("somebody dials", self.listener.accept()).await.unwrap().0
    }

    /// Answers the next request on the same port as plain HTTP.
    pub async fn serve_http_once(&self, body: &str) {
        within("somebody asks", async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).await.unwrap();
                head.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
    }

    pub fn config(&self) -> SignalConfig {
        let identity = Identity {
            username: PeerId::new("me").unwrap(),
            id_token: Token::new(ID_SECRET),
            expires_at: u64::MAX / 2,
            lifetime: 3600,
        };
        let mut config = SignalConfig::new(self.url.clone(), "ab12".parse().unwrap(), identity);
        config.token = Some(Token::new(SECRET));
        config.timing = quick();
        config
    }
}

/// Times that let a test end soon; none of them decides what is right.
pub fn quick() -> Timing {
    Timing {
        dial: Duration::from_secs(5),
        register: Duration::from_secs(5),
        write: Duration::from_secs(5),
        ping_after: Duration::from_mins(1),
        dead_after: Duration::from_mins(2),
        backoff: BackoffPolicy {
            first: Duration::from_millis(5),
            most: Duration::from_millis(20),
            steady: Duration::from_secs(10),
        },
    }
}

impl Socket {
    pub async fn say(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    /// The next text frame.
    pub async fn hear(&mut self) -> Value {
        within("something is said", async {
            loop {
                match self.0.next().await.expect("still open").unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Close(_) => panic!("closed instead"),
                    _ => {}
                }
            }
        })
        .await
    }

    /// Waits until the other end has closed, or has gone.
    pub async fn hear_close(&mut self) {
        within("the socket is closed", async {
            while let Some(Ok(frame)) = self.0.next().await {
                if frame.is_close() {
                    return;
                }
            }
        })
        .await;
    }

    pub async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let _ = self.0.close(Some(frame)).await;
        self.hear_close().await;
    }
}
