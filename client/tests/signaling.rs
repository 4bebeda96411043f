//! The link to the broker, with the test as the broker.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use halyard_client::signaling::{SignalConfig, SignalError, SignalEvent, Signaling};
use halyard_protocol::{
    ids::PeerId,
    limits::MAX_SIGNAL_BYTES,
    signal::{ClientMessage, ErrorCode, Registered, ServerMessage},
};
use serde_json::{Value, json};
use support::{
    broker::{Broker, ID_SECRET, SECRET, Socket},
    http::{Answer, HttpServer},
    log::Log,
    within,
};
use tokio::sync::mpsc;

type Link = (Signaling, Registered, mpsc::Receiver<SignalEvent>);

/// Connects to a broker that registers whoever comes.
async fn connected(broker: &Broker, config: SignalConfig) -> (Link, Socket, Value) {
    let (link, (socket, register)) = tokio::join!(Signaling::connect(config), broker.register());
    (link.unwrap(), socket, register)
}

async fn next(events: &mut mpsc::Receiver<SignalEvent>) -> SignalEvent {
    within("an event", events.recv()).await.expect("the link is up")
}

/// The next event that is not about the socket being away.
async fn next_but_lost(events: &mut mpsc::Receiver<SignalEvent>) -> SignalEvent {
    loop {
        match next(events).await {
            SignalEvent::Lost { .. } => {}
            event => return event,
        }
    }
}

fn offer(sdp: &str) -> ClientMessage {
    ClientMessage::Offer { target: PeerId::new("w").unwrap(), sdp: sdp.into() }
}

#[tokio::test]
async fn it_registers_and_carries_messages_both_ways() {
    let broker = Broker::start().await;
    let ((link, registered, mut events), mut socket, register) =
        connected(&broker, broker.config()).await;
    assert_eq!(register["peer_id"], "me");
    assert_eq!(register["room_id"], "ab12");
    assert_eq!(register["role"], "client");
    assert_eq!(register["token"], SECRET);
    assert_eq!(register["id_token"], ID_SECRET);
    assert!(register.get("resume_token").is_none());
    assert_eq!(registered.peer_id.as_str(), "me");

    link.send(offer("v=0")).await.unwrap();
    let heard = socket.hear().await;
    assert_eq!(heard, json!({"type": "offer", "target": "w", "sdp": "v=0"}));

    socket.say(&json!({"type": "answer", "sender": "w", "sdp": "v=1"})).await;
    let SignalEvent::Message(ServerMessage::Answer { sdp, .. }) = next(&mut events).await else {
        panic!("an answer")
    };
    assert_eq!(sdp, "v=1");

    link.leave().await;
    assert_eq!(socket.hear().await, json!({"type": "leave"}));
    socket.hear_close().await;
}

#[tokio::test]
async fn words_that_it_does_not_know_or_understand_disturb_nothing() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), mut socket, _) = connected(&broker, broker.config()).await;
    socket.say(&json!({"type": "from_the_future", "x": 1})).await;
    socket.say(&json!({"type": "answer", "sender": 7})).await;
    socket.say(&json!([1, 2])).await;
    socket.say(&json!({"type": "peer_left", "peer_id": "w"})).await;
    assert!(matches!(
        next(&mut events).await,
        SignalEvent::Message(ServerMessage::PeerLeft { .. })
    ));
}

#[tokio::test]
async fn the_brokers_pings_are_answered() {
    let broker = Broker::start().await;
    let (_link, mut socket, _) = connected(&broker, broker.config()).await;
    socket.say(&json!({"type": "ping"})).await;
    assert_eq!(socket.hear().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn what_is_said_before_the_registration_is_not_lost() {
    let broker = Broker::start().await;
    let config = broker.config();
    let serve = async {
        let mut socket = broker.accept().await;
        socket.hear().await;
        socket.say(&json!({"type": "ping"})).await;
        assert_eq!(socket.hear().await["type"], "pong");
        let conflict = json!({"type": "admin_conflict", "room_id": "ab12", "current_admin": "w"});
        socket.say(&conflict).await;
        socket
            .say(&json!({
                "type": "registered_auth", "room_id": "ab12", "token": null, "peer_id": "me",
                "admin_peer_id": "w", "peer_list": ["w"], "peer_metadata": {},
                "ice_servers": [], "mesh_ice_servers": [],
            }))
            .await;
        socket
    };
    let (link, _socket) = tokio::join!(Signaling::connect(config), serve);
    let (_link, registered, mut events) = link.unwrap();
    assert_eq!(registered.peer_list.len(), 1);
    assert!(matches!(
        next(&mut events).await,
        SignalEvent::Message(ServerMessage::AdminConflict { .. })
    ));
}

#[tokio::test]
async fn a_refusal_is_told_in_the_brokers_words_and_is_final() {
    let broker = Broker::start().await;
    let serve = async {
        let mut socket = broker.accept().await;
        socket.hear().await;
        socket
            .say(&json!({"type": "error", "code": "INVALID_TOKEN", "message": "Invalid token",
                "reason": "Invalid token"}))
            .await;
        socket.hear_close().await;
    };
    let (refused, ()) = tokio::join!(Signaling::connect(broker.config()), serve);
    let error = refused.map(|_| ()).unwrap_err();
    assert!(matches!(&error, SignalError::Refused { code: Some(ErrorCode::InvalidToken), .. }));
    assert!(error.is_fatal() && error.is_refusal());
    assert_eq!(
        (error.code().as_str(), error.to_string().as_str()),
        ("INVALID_TOKEN", "Invalid token")
    );
}

#[tokio::test]
async fn nobody_there_and_no_websocket_there_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.server = format!("http://{nobody}").parse().unwrap();
    let error =
        within("refused", Signaling::connect(config.clone())).await.map(|_| ()).unwrap_err();
    assert!(matches!(&error, SignalError::Unreachable { .. }) && !error.is_fatal(), "{error:?}");
    assert!(error.to_string().contains(&nobody.to_string()), "{error}");

    let page = HttpServer::start([Answer::Say(200, "<html>".into())]).await;
    config.server = page.url.clone();
    let error = within("refused", Signaling::connect(config)).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("is it a Halyard server?"), "{error}");
}

#[tokio::test]
async fn a_broker_that_does_not_register_in_time_is_given_up() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.timing.register = Duration::from_millis(50);
    let serve = async {
        let mut socket = broker.accept().await;
        socket.hear().await;
        socket
    };
    let (late, _socket) = tokio::join!(Signaling::connect(config), serve);
    let error = late.map(|_| ()).unwrap_err();
    assert!(matches!(error, SignalError::TimedOut { what: "registration", .. }), "{error:?}");
}

#[tokio::test]
async fn a_dropped_socket_comes_back_and_takes_up_its_old_place() {
    let broker = Broker::start().await;
    let ((link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    assert!(matches!(next(&mut events).await, SignalEvent::Lost { .. }));

    // Said while the socket is away: it waits.
    link.send(offer("while away")).await.unwrap();
    let (mut socket, register) = broker.register_as(json!({"resumed": true})).await;
    assert_eq!(register["resume_token"], "s3cret-resume");
    assert_eq!(register["peer_id"], "me");
    let SignalEvent::Reconnected(again) = next_but_lost(&mut events).await else {
        panic!("it is back")
    };
    assert!(again.resumed);
    assert_eq!(socket.hear().await["sdp"], "while away");
}

#[tokio::test]
async fn an_old_place_that_is_gone_is_replaced_by_a_new_one() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    let mut refusing = broker.accept().await;
    assert!(refusing.hear().await["resume_token"].is_string());
    refusing
        .say(&json!({"type": "error", "code": "INVALID_TOKEN", "message": "unknown resume_token"}))
        .await;
    let (_socket, register) = broker.register().await;
    assert!(register.get("resume_token").is_none());
    assert_eq!(register["token"], SECRET);
    let SignalEvent::Reconnected(again) = next_but_lost(&mut events).await else {
        panic!("it is back")
    };
    assert!(!again.resumed);
}

#[tokio::test]
async fn a_room_that_is_gone_after_a_reconnect_ends_the_link() {
    let broker = Broker::start().await;
    let ((link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    // Once for the old place, once for a new one.
    for _ in 0..2 {
        let mut socket = broker.accept().await;
        socket.hear().await;
        let words = json!({"type": "error", "code": "ROOM_NOT_FOUND", "message": "Room not found"});
        socket.say(&words).await;
        socket.hear_close().await;
    }
    let SignalEvent::Ended(error) = next_but_lost(&mut events).await else { panic!("ended") };
    assert_eq!(error.code(), "ROOM_NOT_FOUND");
    assert!(within("closed", events.recv()).await.is_none(), "nothing comes after the end");
    assert!(matches!(link.send(offer("late")).await, Err(SignalError::Ended)));
}

#[tokio::test]
async fn closes_that_mean_the_end_are_not_answered_with_a_reconnect() {
    for (code, word) in [(4000, "REPLACED"), (4003, "REVOKED"), (4004, "ROOM_CLOSED")] {
        let broker = Broker::start().await;
        let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
        socket.close(code, "words").await;
        let SignalEvent::Ended(error) = next(&mut events).await else { panic!("{code} is final") };
        assert_eq!(error.code(), word);
        assert!(error.is_refusal());
    }
}

#[tokio::test]
async fn a_room_that_closes_says_why() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), mut socket, _) = connected(&broker, broker.config()).await;
    socket.say(&json!({"type": "room_closed", "reason": "expired"})).await;
    let SignalEvent::Ended(error) = next(&mut events).await else { panic!("it is over") };
    assert_eq!(error.to_string(), "the room was closed (expired)");
}

#[tokio::test]
async fn other_closes_are_answered_with_a_reconnect() {
    for code in [1000, 1001, 1011, 4001, 4002] {
        let broker = Broker::start().await;
        let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
        socket.close(code, "because").await;
        let SignalEvent::Lost { reason, .. } = next(&mut events).await else { panic!("lost") };
        assert_eq!(reason, "because");
        let _socket = broker.register().await;
        assert!(matches!(next_but_lost(&mut events).await, SignalEvent::Reconnected(_)));
    }
}

#[tokio::test]
async fn a_socket_that_died_silently_is_noticed_and_replaced() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.timing.ping_after = Duration::from_millis(40);
    config.timing.dead_after = Duration::from_millis(120);
    // Kept open and never read: not even the library's pong goes out.
    let ((_link, _, mut events), _half_open, _) = connected(&broker, config).await;
    let SignalEvent::Lost { reason, .. } = next(&mut events).await else { panic!("noticed") };
    assert!(reason.contains("nothing was heard"), "{reason}");
    let (_socket, register) = broker.register().await;
    assert!(register["resume_token"].is_string());
    assert!(matches!(next_but_lost(&mut events).await, SignalEvent::Reconnected(_)));
}

#[tokio::test]
async fn a_quiet_socket_that_answers_pings_stays() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.timing.ping_after = Duration::from_millis(20);
    config.timing.dead_after = Duration::from_secs(30);
    let ((_link, _, mut events), mut socket, _) = connected(&broker, config).await;
    let mut pings = 0;
    while pings < 5 {
        let frame = within("a ping", socket.0.next()).await.unwrap().unwrap();
        assert!(frame.is_ping(), "{frame:?}");
        pings += 1;
    }
    assert!(events.try_recv().is_err(), "nothing happened");
}

#[tokio::test]
async fn a_draining_broker_is_followed_to_the_address_that_it_names() {
    let (here, there) = (Broker::start().await, Broker::start().await);
    let ((link, _, mut events), mut socket, _) = connected(&here, here.config()).await;
    let there_ws = there.url.join("/ws").unwrap().to_string().replace("http", "ws");
    socket.say(&json!({"type": "draining", "reconnect_to": there_ws})).await;
    let (mut socket, register) = there.register_as(json!({"resumed": true})).await;
    assert!(register["resume_token"].is_string());
    assert!(matches!(
        next(&mut events).await,
        SignalEvent::Message(ServerMessage::Draining { .. })
    ));
    assert!(matches!(next_but_lost(&mut events).await, SignalEvent::Reconnected(_)));
    link.send(offer("over there")).await.unwrap();
    assert_eq!(socket.hear().await["sdp"], "over there");
}

#[tokio::test]
async fn when_nobody_is_where_a_draining_broker_pointed_it_comes_home() {
    let here = Broker::start().await;
    let nowhere = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let ((_link, _, mut events), mut socket, _) = connected(&here, here.config()).await;
    socket.say(&json!({"type": "draining", "reconnect_to": nowhere})).await;
    let _socket = here.register().await;
    next(&mut events).await;
    assert!(matches!(next_but_lost(&mut events).await, SignalEvent::Reconnected(_)));
}

#[tokio::test]
async fn a_broker_that_asks_to_wait_is_not_hurried() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    // Only once: the old place is still there, for later.
    let mut socket = broker.accept().await;
    assert!(socket.hear().await["resume_token"].is_string());
    socket
        .say(&json!({"type": "error", "code": "LIMIT_EXCEEDED", "message": "slow down",
            "retry_after": 60}))
        .await;
    socket.hear_close().await;
    loop {
        let SignalEvent::Lost { reason, retry_in } = next(&mut events).await else {
            panic!("it waits")
        };
        if reason == "slow down" {
            assert_eq!(retry_in, Duration::from_mins(1));
            break;
        }
    }
}

#[tokio::test]
async fn an_identity_that_ran_out_is_replaced_before_it_is_used() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.identity.expires_at = 0;
    // One address for both: the sign-in is plain HTTP on the same port.
    let body = r#"{"id_token":"new-id","username":"me-2","expires_in":60}"#;
    let serve = async {
        broker.serve_http_once(body).await;
        broker.register().await
    };
    let (link, (_socket, register)) = tokio::join!(Signaling::connect(config), serve);
    assert_eq!(link.unwrap().1.peer_id.as_str(), "me-2");
    assert_eq!(register["id_token"], "new-id");
}

#[tokio::test]
async fn an_identity_that_the_broker_does_not_know_any_more_is_replaced_once() {
    let broker = Broker::start().await;
    let body = r#"{"id_token":"new-id","username":"me-2","expires_in":60}"#;
    let refuse = json!({"type": "error", "code": "INVALID_IDENTITY", "message": "who are you?"});
    let serve = async {
        let mut socket = broker.accept().await;
        socket.hear().await;
        socket.say(&refuse).await;
        socket.hear_close().await;
        broker.serve_http_once(body).await;
        let mut socket = broker.accept().await;
        assert_eq!(socket.hear().await["id_token"], "new-id");
        socket.say(&refuse).await;
        socket.hear_close().await;
    };
    let (refused, ()) = tokio::join!(Signaling::connect(broker.config()), serve);
    let error = refused.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "INVALID_IDENTITY");
}

#[tokio::test]
async fn a_place_is_kept_while_the_broker_only_says_not_now() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    let mut socket = broker.accept().await;
    assert_eq!(socket.hear().await["resume_token"], "s3cret-resume");
    socket.say(&json!({"type": "error", "code": "UNAVAILABLE", "message": "not now"})).await;
    socket.hear_close().await;
    let (_socket, register) = broker.register_as(json!({"resumed": true})).await;
    assert_eq!(register["resume_token"], "s3cret-resume");
    let SignalEvent::Reconnected(again) = next_but_lost(&mut events).await else { panic!("back") };
    assert!(again.resumed);
}

/// An identity of which half is over.
fn stale() -> (u64, u64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now.as_secs() + 3000, 6000)
}

const RENEWED: &str = r#"{"id_token":"new-id","username":"me","expires_in":6000}"#;

async fn next_identity(events: &mut mpsc::Receiver<SignalEvent>) -> halyard_client::api::Identity {
    match next(events).await {
        SignalEvent::Identity(identity) => identity,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_identity_is_renewed_while_the_link_is_up_and_used_at_the_next_reconnect() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    (config.identity.expires_at, config.identity.lifetime) = stale();
    config.owner = true;
    let ((_link, _, mut events), socket, _) = connected(&broker, config).await;
    broker.serve_http_once(RENEWED).await;
    let identity = next_identity(&mut events).await;
    assert_eq!((identity.username.as_str(), identity.id_token.expose()), ("me", "new-id"));
    drop(socket);
    let (_socket, register) = broker.register_as(json!({"resumed": true})).await;
    assert_eq!((&register["peer_id"], &register["id_token"]), (&json!("me"), &json!("new-id")));
    assert!(register["token"].is_null(), "still the owner");
}

#[tokio::test]
async fn a_renewal_that_hangs_or_fails_holds_nothing_up_and_is_tried_again() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    // An eighth of what is left is the wait for the next try.
    (config.identity.expires_at, config.identity.lifetime) = (stale().0 - 2990, 60);
    config.timing.dial = Duration::from_millis(500);
    let ((_link, _, mut events), mut socket, _) = connected(&broker, config).await;
    let _hangs = broker.accept_nothing().await;
    socket.say(&json!({"type": "peer_left", "peer_id": "w"})).await;
    assert!(matches!(next(&mut events).await, SignalEvent::Message(_)));
    broker.serve_http_once("what?").await;
    broker.serve_http_once(RENEWED).await;
    assert_eq!(next_identity(&mut events).await.id_token.expose(), "new-id");
}

#[tokio::test]
async fn who_an_identity_was_replaced_by_is_told_before_the_new_registration() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), socket, _) = connected(&broker, broker.config()).await;
    drop(socket);
    // Its keys are others now.
    for _ in 0..2 {
        let mut socket = broker.accept().await;
        socket.hear().await;
        let refuse = json!({"type": "error", "code": "INVALID_IDENTITY", "message": "who?"});
        socket.say(&refuse).await;
        socket.hear_close().await;
    }
    broker.serve_http_once(r#"{"id_token":"new-id","username":"me-2","expires_in":60}"#).await;
    let _socket = broker.register().await;
    let SignalEvent::Identity(identity) = next_but_lost(&mut events).await else { panic!("told") };
    assert_eq!(identity.username.as_str(), "me-2");
    let SignalEvent::Reconnected(again) = next(&mut events).await else { panic!("back") };
    assert_eq!(again.peer_id.as_str(), "me-2");
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_not_sent_and_ends_nothing() {
    let broker = Broker::start().await;
    let ((link, ..), mut socket, _) = connected(&broker, broker.config()).await;
    link.send(offer(&"x".repeat(MAX_SIGNAL_BYTES))).await.unwrap();
    link.send(offer("small")).await.unwrap();
    assert_eq!(socket.hear().await["sdp"], "small");
}

#[tokio::test]
async fn a_frame_beyond_the_limit_costs_the_socket_and_not_the_link() {
    let broker = Broker::start().await;
    let ((_link, _, mut events), mut socket, _) = connected(&broker, broker.config()).await;
    let huge = json!({"type": "answer", "sender": "w", "sdp": "x".repeat(MAX_SIGNAL_BYTES)});
    socket.say(&huge).await;
    assert!(matches!(next(&mut events).await, SignalEvent::Lost { .. }));
    let _socket = broker.register().await;
    assert!(matches!(next_but_lost(&mut events).await, SignalEvent::Reconnected(_)));
}

#[tokio::test]
async fn sending_does_not_wait_for_somebody_to_look_at_events() {
    let broker = Broker::start().await;
    let ((link, _, _events), mut socket, _) = connected(&broker, broker.config()).await;
    // Far more than all queues hold; nobody looks at any of it.
    let flood = tokio::spawn(async move {
        for n in 0..1000 {
            let text = format!("{n}-{}", "x".repeat(2000));
            socket.say(&json!({"type": "answer", "sender": "w", "sdp": text})).await;
        }
        socket
    });
    for n in 0..50 {
        within("sent", link.send(offer(&n.to_string()))).await.unwrap();
    }
    let mut socket = within("the flood fits into the socket's buffers", flood).await.unwrap();
    for n in 0..50 {
        assert_eq!(socket.hear().await["sdp"], n.to_string());
    }
}

#[tokio::test]
async fn leaving_while_the_broker_is_away_does_not_wait_for_it() {
    let broker = Broker::start().await;
    let mut config = broker.config();
    config.timing.backoff.first = Duration::from_hours(1);
    config.timing.backoff.most = Duration::from_hours(1);
    let ((link, _, mut events), socket, _) = connected(&broker, config).await;
    drop(socket);
    assert!(matches!(next(&mut events).await, SignalEvent::Lost { .. }));
    within("left", link.leave()).await;
}

#[tokio::test]
async fn no_token_is_in_any_log_or_error() {
    let (log, _guard) = Log::catch();
    let broker = Broker::start().await;
    let config = broker.config();
    let mut shown = vec![format!("{config:?}")];
    let ((link, registered, mut events), socket, _) = connected(&broker, config).await;
    shown.push(format!("{link:?} {registered:?}"));
    drop(socket);
    shown.push(format!("{:?}", next(&mut events).await));
    let mut socket = broker.accept().await;
    socket.hear().await;
    socket.say(&json!({"type": "error", "code": "INVALID_TOKEN", "message": "no"})).await;
    let (_socket, _) = broker.register().await;
    shown.push(format!("{:?}", next_but_lost(&mut events).await));
    let text = log.text();
    assert!(text.contains("the link is down"), "the log is really caught: {text}");
    // The libraries' own frames, at their finest level, hold what is sent; they are never on.
    let ours: String = text.lines().filter(|line| line.contains("halyard_client")).collect();
    for text in shown.iter().chain([&ours]) {
        assert!(!text.contains("s3cret"), "{text}");
    }
}
