//! Direct mode: an offer over plain HTTP, and no broker between.

use std::time::{Duration, Instant};

use halyard_client::peer::{Peer, PeerConfig, PeerEvent, VideoRole};
use halyard_protocol::{
    access::Access,
    channel::{Hello, Lane, Message},
};
use halyard_worker::{
    config::Settings,
    media::stills,
    report::{Report, Reports, Room},
    standalone,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::world::{Owner, soon};

/// A standalone worker.
pub struct Robot {
    pub base: String,
    pub room: Room,
    stop: CancellationToken,
    task: JoinHandle<()>,
    pub http: reqwest::Client,
    pub data: tempfile::TempDir,
}

impl Robot {
    pub async fn start(trusted_network: bool) -> Self {
        Self::with(Settings { trusted_network, ..Settings::default() }).await
    }

    pub async fn with(settings: Settings) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            data_dir: Some(data.path().to_owned()),
            ..settings
        };
        let (reports, mut told) = Reports::channel();
        let stop = CancellationToken::new();
        let running = standalone::run(settings, reports, stop.clone());
        let task = tokio::spawn(async move { running.await.expect("a clean end") });
        let Some(Report::Room(room)) = soon("the room", told.recv()).await else {
            panic!("the room is reported first")
        };
        let base = room.join_url.expose().split("/r/").next().expect("an address").to_owned();
        Self { base, room, stop, task, http: reqwest::Client::new(), data }
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: String) -> (StatusCode, Value) {
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = soon("the answer", request.send()).await.expect("an answer");
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }

    pub async fn status(&self, token: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.http.get(format!("{}/status", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = soon("the answer", request.send()).await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// What only watches.
    pub fn viewer(&self) -> String {
        let link = self.room.viewer_url.as_ref().expect("a link").expose();
        link.split_once('#').expect("a token").1.to_owned()
    }

    /// The address for an `<img>`.
    pub async fn ticket(&self, token: &str) -> String {
        let (status, said) = self.post("/mjpeg/ticket", Some(token), String::new()).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
        said["url"].as_str().expect("an address").to_owned()
    }

    pub async fn end(self) {
        self.stop.cancel();
        soon("the end", self.task).await.expect("no panic");
    }
}

async fn offer() -> (Peer, mpsc::Receiver<PeerEvent>, String) {
    let config = PeerConfig { video: VideoRole::Receive, ..PeerConfig::default() };
    let (peer, events) = Peer::offerer(config).await.expect("a peer");
    let sdp = peer.create_offer(false).await.expect("an offer");
    let body = json!({"sdp": sdp, "type": "offer"}).to_string();
    (peer, events, body)
}

async fn hello(events: &mut mpsc::Receiver<PeerEvent>) -> Box<Hello> {
    soon("HELLO", async {
        loop {
            if let PeerEvent::Text(Lane::Control, text) = events.recv().await.expect("an event")
                && let Ok(Message::Hello(hello)) = Message::decode(&text)
            {
                return hello;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_http_messages_make_a_connection_with_a_picture() {
    let robot = Robot::start(false).await;
    let token = robot.room.token.expose().to_owned();
    let (peer, mut events, body) = offer().await;
    let (status, answer) = robot.post("/offer", Some(&token), body).await;
    assert_eq!((status, &answer["type"]), (StatusCode::OK, &json!("answer")), "{answer}");
    peer.accept_answer(answer["sdp"].as_str().expect("a description")).await.expect("a good one");
    let hello = hello(&mut events).await;
    assert_eq!(hello.your_access, Some(Access::Operator));
    let events = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let frame = soon("a picture", peer.next_frame()).await.expect("the connection lives");
    assert!(frame.is_key, "it begins with a key frame");

    let (status, told) = robot.status(Some(&token)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&told["viewers"], &told["sources"][0]["name"]), (&json!(1), &json!("sim")));
    assert_eq!((&told["drive"]["driver"], &told["drive"]["estop"]), (&json!("sim"), &json!(false)));

    let candidate = json!({"id": answer["id"], "candidate": "", "sdpMid": "0"}).to_string();
    let (status, said) = robot.post("/ice-candidate", Some(&token), candidate).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    peer.close().await;
    events.abort();
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_decides_who_gets_in_and_what_they_may() {
    let robot = Robot::start(false).await;
    for token in [None, Some("wrong")] {
        let (status, said) = robot.status(token).await;
        assert_eq!((status, &said["code"]), (StatusCode::UNAUTHORIZED, &json!("INVALID_TOKEN")));
        let (status, _) = robot.post("/offer", token, "{}".into()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let viewer = robot.room.viewer_url.as_ref().expect("a link").expose();
    let viewer = viewer.split_once('#').expect("a token").1.to_owned();
    let (peer, mut events, body) = offer().await;
    let (status, answer) = robot.post("/offer", Some(&viewer), body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    peer.accept_answer(answer["sdp"].as_str().expect("a description")).await.expect("a good one");
    assert_eq!(hello(&mut events).await.your_access, Some(Access::Viewer));
    peer.close().await;
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_offer_is_refused_with_what_is_accepted() {
    let robot = Robot::start(true).await;
    let (status, _) = robot.status(None).await;
    assert_eq!(status, StatusCode::OK, "a trusted network needs no token");
    for (body, words) in [
        ("nonsense".to_owned(), "\"type\": \"offer\""),
        (json!({"sdp": "v=0", "type": "answer"}).to_string(), "accepted is \"offer\""),
        (json!({"sdp": "no sdp at all", "type": "offer"}).to_string(), "cannot be used"),
    ] {
        let (status, said) = robot.post("/offer", None, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
        assert!(said["message"].as_str().expect("words").contains(words), "{said}");
    }
    let (status, _) = robot.post("/offer", None, "x".repeat(8 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "however much of it is on its way");
    let candidate = json!({"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host"}).to_string();
    let (status, said) = robot.post("/ice-candidate", None, candidate).await;
    assert_eq!((status, &said["code"]), (StatusCode::NOT_FOUND, &json!("PEER_NOT_FOUND")));
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_replaced_ends_what_it_opened_and_opens_nothing_more() {
    let robot = Robot::start(false).await;
    let token = robot.room.token.expose().to_owned();
    let (peer, mut events, body) = offer().await;
    let (status, answer) = robot.post("/offer", Some(&token), body.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    peer.accept_answer(answer["sdp"].as_str().expect("a description")).await.expect("a good one");
    hello(&mut events).await;

    let owner = Owner::of(&robot.data.path().join("worker.json"));
    let since = Instant::now();
    let revoked = owner.revoke_role(Access::Operator).await;
    let bye = soon("goodbye", async {
        loop {
            match events.recv().await {
                Some(PeerEvent::Text(Lane::Control, text)) => {
                    if let Ok(Message::Bye(bye)) = Message::decode(&text) {
                        return bye.reason;
                    }
                }
                Some(_) => {}
                None => panic!("the connection ended without a word"),
            }
        }
    })
    .await;
    let took = since.elapsed();
    println!("a direct peer whose token was replaced was out after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(bye.contains("access was revoked"), "{bye}");
    let (status, said) = robot.post("/offer", Some(&token), body).await;
    assert_eq!((status, &said["code"]), (StatusCode::UNAUTHORIZED, &json!("INVALID_TOKEN")));
    assert!(said["message"].as_str().expect("words").contains("was replaced"), "{said}");
    assert_eq!(robot.status(Some(&token)).await.0, StatusCode::UNAUTHORIZED);

    // What replaced it opens it, without anybody having told the worker.
    let new = revoked.token.expect("a new token").expose().to_owned();
    let (again, mut events, body) = offer().await;
    let (status, answer) = robot.post("/offer", Some(&new), body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    again.accept_answer(answer["sdp"].as_str().expect("a description")).await.expect("a good one");
    assert_eq!(hello(&mut events).await.your_access, Some(Access::Operator));
    again.close().await;

    // The viewers' token is as good as before.
    let viewer = robot.room.viewer_url.as_ref().expect("a link").expose();
    let viewer = viewer.split_once('#').expect("a token").1;
    assert_eq!(robot.status(Some(viewer)).await.0, StatusCode::OK);
    peer.close().await;
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_trusted_network_a_foreign_page_needs_the_token() {
    let robot = Robot::start(true).await;
    let token = robot.room.token.expose().to_owned();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = robot.http.post(format!("{}/offer", robot.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let nonsense = json!({"sdp": "no sdp at all", "type": "offer"}).to_string();
        let answer = soon("the answer", request.body(nonsense).send()).await.expect("an answer");
        let status = answer.status();
        (status, answer.json::<Value>().await.expect("JSON"))
    };
    // Who gets in is told what is wrong with the offer.
    let (status, said) = ask(&[("origin", &robot.base)]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let bearer = format!("Bearer {token}");
    let (status, said) =
        ask(&[("origin", "http://evil.example"), ("authorization", &bearer)]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");

    for foreign in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://evil.example"), ("host", "evil.example")],
        &[("host", "evil.example")],
    ] {
        let (status, said) = ask(foreign).await;
        assert_eq!((status, &said["code"]), (StatusCode::FORBIDDEN, &json!("FORBIDDEN")));
        assert!(said["message"].as_str().expect("words").contains("token"), "{said}");
    }
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_its_share_of_offers_and_of_streams_and_the_next_one_too() {
    let stills = stills::Plan { viewers: 8, ..stills::Plan::default() };
    let robot = Robot::with(Settings { stills, ..Settings::default() }).await;
    let viewer = robot.viewer();
    // As a proxy on the robot says it.
    let from = |request: reqwest::RequestBuilder, address: &str| {
        request.bearer_auth(&viewer).header("x-forwarded-for", address)
    };
    let watch = async |address: &str| {
        let request = from(robot.http.get(format!("{}/mjpeg", robot.base)), address);
        soon("the stream", request.send()).await.expect("an answer")
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(watch("192.0.2.1").await);
    }
    assert!(open.iter().all(|stream| stream.status() == StatusCode::OK));
    let refused = watch("192.0.2.1").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let said: Value = refused.json().await.expect("JSON");
    assert_eq!(said["code"], "LIMIT_EXCEEDED", "{said}");
    assert!(said["message"].as_str().expect("words").contains("2 times already"), "{said}");
    assert_eq!(watch("192.0.2.2").await.status(), StatusCode::OK);
    // A seat is free again when its stream is closed.
    open.pop();
    let again = soon("a seat", async {
        while watch("192.0.2.1").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    again.await;

    let nonsense = json!({"sdp": "no sdp at all", "type": "offer"}).to_string();
    let offer = async |address: &str| {
        let request = from(robot.http.post(format!("{}/offer", robot.base)), address);
        let answer = soon("the answer", request.body(nonsense.clone()).send()).await;
        answer.expect("an answer").status()
    };
    let flood = async { while offer("2001:db8::1").await != StatusCode::TOO_MANY_REQUESTS {} };
    soon("a refusal", flood).await;
    assert_eq!(offer("2001:db8:0:1::1").await, StatusCode::BAD_REQUEST, "somebody else");
    robot.end().await;
}
