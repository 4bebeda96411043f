//! Those who only watch, over HTTP: WHEP players and rows of JPEGs. What needs a real player is tested
//! with one in `test_files/interop`.

use std::time::{Duration, Instant};

use halyard_client::peer::{Peer, PeerConfig, PeerEvent, PeerState, VideoRole};
use halyard_protocol::{
    access::Access,
    channel::{Lane, LeaseRequest, Message},
};
use halyard_worker::{config::Settings, media::stills};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    direct::Robot,
    world::{Owner, soon},
};

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

struct Player {
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
    location: String,
    etag: String,
    answer: String,
}

impl Player {
    /// One that also opens our lanes, which a player has no use for.
    async fn begin(robot: &Robot, token: &str) -> Result<Self, (StatusCode, Value)> {
        let config = PeerConfig { video: VideoRole::Receive, ..PeerConfig::default() };
        let (peer, events) = Peer::offerer(config).await.expect("a peer");
        let sdp = peer.create_offer(false).await.expect("an offer");
        let request = robot.http.post(format!("{}/whep", robot.base)).bearer_auth(token);
        let request = request.header(header::CONTENT_TYPE, "application/sdp").body(sdp);
        let answer = soon("the answer", request.send()).await.expect("an answer");
        if answer.status() != StatusCode::CREATED {
            return Err((answer.status(), answer.json().await.unwrap_or_default()));
        }
        let told = |name| answer.headers()[name].to_str().expect("text").to_owned();
        let (location, etag) = (told(header::LOCATION), told(header::ETAG));
        let answer = answer.text().await.expect("a body");
        peer.accept_answer(&answer).await.expect("a good one");
        Ok(Self { peer, events, location, etag, answer })
    }

    async fn closed(&mut self) {
        soon("the end of the connection", async {
            loop {
                match self.events.recv().await {
                    Some(PeerEvent::State(
                        PeerState::Closed
                        | PeerState::Failed { .. }
                        | PeerState::Disconnected { .. },
                    ))
                    | None => return,
                    Some(_) => {}
                }
            }
        })
        .await;
    }
}

async fn mjpeg(robot: &Robot, token: &str) -> reqwest::Response {
    let request = robot.http.get(format!("{}/mjpeg", robot.base)).bearer_auth(token);
    soon("the stream", request.send()).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_is_shown_the_picture_and_told_nothing_else() {
    let robot = Robot::start(false).await;
    // Even with the token that may drive.
    let token = robot.room.token.expose().to_owned();
    let mut player = Player::begin(&robot, &token).await.expect("a session");
    let frame = soon("a picture", player.peer.next_frame()).await.expect("the connection lives");
    assert!(frame.is_key);
    let request = Message::LeaseRequest(LeaseRequest::Request);
    soon("the lane", player.peer.send(Lane::Control, &request)).await.expect("it is taken");
    // Pictures of a second, in which a greeting and the lease would have come.
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        soon("a picture", player.peer.next_frame()).await.expect("the connection lives");
    }
    while let Ok(event) = player.events.try_recv() {
        assert!(!matches!(event, PeerEvent::Text(..)), "a player is told nothing: {event:?}");
    }
    let (_, status) = robot.status(Some(&token)).await;
    assert_eq!(status["drive"]["holder"], Value::Null, "and it does not drive");
    player.peer.close().await;
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_by_patch_keeps_the_picture() {
    let robot = Robot::start(false).await;
    let token = robot.room.token.expose().to_owned();
    let player = Player::begin(&robot, &token).await.expect("a session");
    soon("a picture", player.peer.next_frame()).await.expect("the connection lives");

    // What this peer would offer is cut down to its ICE lines, as a player's is.
    let offer = player.peer.create_offer(true).await.expect("an offer");
    let ice = ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=mid:"];
    let first = offer.split("\r\nm=").nth(1).expect("a section");
    let mut fragment = vec![format!("m={}", first.lines().next().expect("a line"))];
    let kept = first.lines().filter(|line| ice.iter().any(|name| line.starts_with(name)));
    fragment.extend(kept.map(str::to_owned));
    let fragment = fragment.join("\r\n") + "\r\n";
    let request =
        robot.http.patch(format!("{}{}", robot.base, player.location)).bearer_auth(&token);
    let request = request.header(header::CONTENT_TYPE, FRAGMENT).header(header::IF_MATCH, "*");
    let answer = soon("the answer", request.body(fragment).send()).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_ne!(answer.headers()[header::ETAG], player.etag.as_str());
    let theirs = answer.text().await.expect("a body");

    // And what the worker says is put into its first answer.
    let value = |name: &str| {
        let line = theirs.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {theirs}")).to_owned()
    };
    let kept = player.answer.lines().filter(|line| !line.starts_with("a=candidate:"));
    let changed = kept.map(|line| {
        let of_ice = ["a=ice-ufrag:", "a=ice-pwd:"].into_iter().find(|name| line.starts_with(name));
        of_ice.map_or_else(|| line.to_owned(), |name| format!("{name}{}", value(name)))
    });
    let candidates = theirs.lines().filter(|line| line.starts_with("a=candidate:"));
    let answer: Vec<String> = changed.chain(candidates.map(str::to_owned)).collect();
    let answer = answer.join("\r\n") + "\r\n";
    player.peer.accept_answer(&answer).await.expect("it fits");
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        soon("a picture", player.peer.next_frame()).await.expect("the connection lives");
    }
    player.peer.close().await;
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_token_is_replaced_sees_no_more() {
    let robot = Robot::start(false).await;
    let viewer = robot.viewer();
    let mut player = Player::begin(&robot, &viewer).await.expect("a session");
    soon("a picture", player.peer.next_frame()).await.expect("the connection lives");
    let mut stream = mjpeg(&robot, &viewer).await;
    assert_eq!(stream.status(), StatusCode::OK);
    soon("a part", stream.chunk()).await.expect("bytes").expect("a part");
    let ticket = robot.ticket(&viewer).await;
    let operator = robot.room.token.expose().to_owned();
    let mut others = mjpeg(&robot, &operator).await;

    let owner = Owner::of(&robot.data.path().join("worker.json"));
    let since = Instant::now();
    owner.revoke_role(Access::Viewer).await;
    soon("the end of the stream", async { while let Ok(Some(_)) = stream.chunk().await {} }).await;
    println!("a row of pictures was over after {:?}", since.elapsed());
    player.closed().await;
    let (status, said) = Player::begin(&robot, &viewer).await.err().expect("refused");
    assert_eq!((status, &said["code"]), (StatusCode::UNAUTHORIZED, &json!("INVALID_TOKEN")));
    assert_eq!(mjpeg(&robot, &viewer).await.status(), StatusCode::UNAUTHORIZED);
    // Nor does what was got before.
    let answer = robot.http.get(format!("{}{ticket}", robot.base)).send();
    assert_eq!(soon("an answer", answer).await.expect("one").status(), StatusCode::UNAUTHORIZED);

    // Others go on.
    for _ in 0..5 {
        soon("a part", others.chunk()).await.expect("bytes").expect("a part");
    }
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_picture_once_and_a_token_in_an_address_none() {
    let robot = Robot::start(false).await;
    let viewer = robot.viewer();
    let get = async |path: String| {
        let request = robot.http.get(format!("{}{path}", robot.base)).send();
        soon("an answer", request).await.expect("an answer")
    };
    let ticket = robot.ticket(&viewer).await;
    let mut stream = get(ticket.clone()).await;
    assert_eq!(stream.status(), StatusCode::OK);
    soon("a part", stream.chunk()).await.expect("bytes").expect("a part");
    let again = get(ticket).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    assert!(again.headers().contains_key(header::WWW_AUTHENTICATE));
    let ticket = robot.ticket(&viewer).await.replace("/mjpeg", "/snapshot.jpg");
    let still = get(ticket).await;
    assert_eq!(
        (still.status(), &still.headers()["content-type"]),
        (StatusCode::OK, &"image/jpeg".parse().expect("a value"))
    );
    for path in [
        format!("/mjpeg?token={viewer}"),
        format!("/mjpeg?ticket={viewer}"),
        "/mjpeg?ticket=".to_owned(),
        format!("/mjpeg?ticket={}", "0".repeat(32)),
        format!("/snapshot.jpg?ticket={}", "f".repeat(5_000)),
        "/mjpeg".to_owned(),
    ] {
        assert_eq!(get(path.clone()).await.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let none = robot.http.post(format!("{}/mjpeg/ticket", robot.base)).send();
    assert_eq!(soon("an answer", none).await.expect("one").status(), StatusCode::UNAUTHORIZED);
    drop(stream);
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_watch_as_may_and_a_seat_that_is_left_is_free() {
    let plan = stills::Plan { viewers: 2, ..stills::Plan::default() };
    let robot = Robot::with(Settings { stills: plan, ..Settings::default() }).await;
    let viewer = robot.viewer();
    let (first, second) = (mjpeg(&robot, &viewer).await, mjpeg(&robot, &viewer).await);
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    let third = mjpeg(&robot, &viewer).await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(third.headers().contains_key(header::RETRY_AFTER));
    let said: Value = third.json().await.expect("words");
    assert!(said["message"].as_str().expect("text").contains("mjpeg_viewers"), "{said}");
    drop(first);
    soon("a free seat", async {
        while mjpeg(&robot, &viewer).await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(second);
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webrtc_can_be_turned_off_and_the_picture_stays() {
    let robot = Robot::with(Settings { webrtc: false, ..Settings::default() }).await;
    let token = robot.room.token.expose().to_owned();
    let (status, said) = Player::begin(&robot, &token).await.err().expect("refused");
    assert_eq!((status, &said["code"]), (StatusCode::NOT_IMPLEMENTED, &json!("WEBRTC_OFF")));
    let (_, told) = robot.status(Some(&token)).await;
    assert_eq!(told["webrtc"], json!(false));
    let mut stream = mjpeg(&robot, &token).await;
    let part = soon("a part", stream.chunk()).await.expect("bytes").expect("a part");
    assert!(part.starts_with(b"--halyard-picture\r\nContent-Type: image/jpeg\r\nContent-Length: "));
    drop(stream);
    robot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_picture_says_so() {
    let none = Settings {
        video: halyard_worker::media::SourceSpec::None,
        driver: halyard_worker::config::DriverSpec::None,
        ..Settings::default()
    };
    let robot = Robot::with(none).await;
    let token = robot.room.token.expose().to_owned();
    let (status, said) = Player::begin(&robot, &token).await.err().expect("refused");
    assert_eq!((status, &said["code"]), (StatusCode::CONFLICT, &json!("NO_PICTURE")));
    let answer = mjpeg(&robot, &token).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    robot.end().await;

    let plan = stills::Plan { viewers: 0, ..stills::Plan::default() };
    let robot = Robot::with(Settings { stills: plan, ..Settings::default() }).await;
    let answer = mjpeg(&robot, &robot.viewer()).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "turned off");
    robot.end().await;
}
