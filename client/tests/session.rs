//! A session with the test as the broker and as the worker, over real peer connections.

#![allow(clippy::unwrap_used, clippy::large_futures, reason = "a test may")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use halyard_client::{
    files::FileRoot,
    peer::{Peer, PeerConfig, PeerEvent},
    session::{CommandError, DriveError, Session, SessionError, SessionEvent, SessionOptions},
    transfer::{Serving, Transfers},
};
use halyard_protocol::{
    access::Access,
    channel::{
        Ack, Changed, Drive, Hello, Lane, LeaseRequest, LeaseState, Message, Notice, Severity,
    },
    ids::PeerId,
    limits::MAX_WAITING_COMMANDS,
    link::JoinLink,
    transfer::RelativeName,
};
use serde_json::{Value, json};
use support::{
    broker::{Broker, Socket},
    within,
};
use tokio::sync::mpsc;

/// The worker's end of one connection.
struct Worker {
    peer: Peer,
    events: mpsc::Receiver<PeerEvent>,
}

fn worker_info() -> Value {
    json!({"peer_id": "w", "role": "worker", "access": "admin", "connected_at": 1.0})
}

fn options() -> SessionOptions {
    let identity = json!({"username": "me", "id_token": "t", "expires_at": 9_000_000_000_u64});
    SessionOptions {
        identity: Some(serde_json::from_value(identity).unwrap()),
        ..SessionOptions::default()
    }
}

fn link(broker: &Broker) -> JoinLink {
    JoinLink::new(broker.url.clone(), "ab12".parse().unwrap(), Some("tok".into())).unwrap()
}

fn hello() -> Message {
    Message::Hello(Box::new(Hello {
        protocol: 1,
        agent: "test-worker".into(),
        peer_id: PeerId::new("w").unwrap(),
        your_access: Some(Access::Operator),
        capabilities: Vec::new(),
        video: Vec::new(),
        commands: Vec::new(),
        drive: None,
        files: None,
    }))
}

impl Worker {
    /// Takes the next offer that the client says to the broker, and greets.
    async fn answer(socket: &mut Socket) -> Self {
        let offer = loop {
            let said = socket.hear().await;
            if said["type"] == "offer" {
                break said;
            }
            assert_eq!(said["type"], "candidate", "{said}");
        };
        assert_eq!(offer["target"], "w");
        let (peer, events) = Peer::answerer(PeerConfig::default()).await.unwrap();
        let sdp = peer.accept_offer(offer["sdp"].as_str().unwrap()).await.unwrap();
        peer.send(Lane::Control, &hello()).await.unwrap();
        socket.say(&json!({"type": "answer", "sender": "w", "sdp": sdp})).await;
        Self { peer, events }
    }

    /// The next message of the client.
    async fn hear(&mut self) -> Message {
        within("the client says something", async {
            loop {
                if let PeerEvent::Text(_, text) = self.events.recv().await.expect("still open") {
                    return Message::decode(&text).unwrap();
                }
            }
        })
        .await
    }

    async fn hear_hello(&mut self) {
        assert!(matches!(self.hear().await, Message::Hello(_)), "the greeting comes first");
    }

    async fn say(&self, message: &Message) {
        self.peer.send(Lane::Control, message).await.unwrap();
    }
}

/// A session that is connected to the test's worker.
async fn connected(broker: &Broker) -> (Session, Socket, Worker) {
    let serve = async {
        let (mut socket, _) = broker.register_as(json!({"peers": [worker_info()]})).await;
        let mut worker = Worker::answer(&mut socket).await;
        worker.hear_hello().await;
        (socket, worker)
    };
    let join = Session::join(link(broker), options());
    let (session, (socket, worker)) = within("joined", async { tokio::join!(join, serve) }).await;
    (session.unwrap(), socket, worker)
}

#[tokio::test]
async fn joining_finds_the_worker_and_leaving_says_goodbye() {
    let broker = Broker::start().await;
    let (session, mut socket, mut worker) = connected(&broker).await;
    assert_eq!(session.me().as_str(), "me");
    assert_eq!(session.access(), Access::Operator);
    assert_eq!(session.worker().unwrap().as_str(), "w");
    assert_eq!(session.hello().unwrap().agent, "test-worker");
    assert_eq!(session.peers().len(), 1);

    within("closed", session.close()).await;
    assert!(matches!(worker.hear().await, Message::Bye(_)));
    loop {
        let said = socket.hear().await;
        if said["type"] == "leave" {
            break;
        }
        assert_eq!(said["type"], "candidate", "{said}");
    }
}

#[tokio::test]
async fn a_command_is_answered_in_the_workers_words() {
    let broker = Broker::start().await;
    let (session, _socket, mut worker) = connected(&broker).await;
    let serve = async {
        let Message::Command(command) = worker.hear().await else { panic!("a command") };
        assert_eq!((command.name.as_str(), &command.args), ("go", &json!({"x": 1})));
        assert!(command.deadline_ms.is_some_and(|ms| ms > 0 && ms <= 5000));
        worker.say(&Message::Ack(Ack::failed("another", "failed", "not yours"))).await;
        worker.say(&Message::Ack(Ack::failed(command.id, "forbidden", "viewers look"))).await;
    };
    let ask = session.command("go", json!({"x": 1}), Some(Duration::from_secs(5)));
    let (ack, ()) = tokio::join!(ask, serve);
    let ack = ack.unwrap();
    assert!(!ack.ok);
    assert_eq!(ack.error.unwrap().message, "viewers look");
}

#[tokio::test]
async fn a_command_whose_answer_was_cut_off_is_said_again_under_the_same_id() {
    let broker = Broker::start().await;
    let (session, mut socket, mut worker) = connected(&broker).await;
    let mut events = session.events();
    let serve = async {
        let Message::Command(first) = worker.hear().await else { panic!("a command") };
        worker.peer.close().await;
        let mut again = Worker::answer(&mut socket).await;
        again.hear_hello().await;
        let Message::Command(second) = again.hear().await else { panic!("the command") };
        assert_eq!(first.id, second.id);
        again.say(&Message::Ack(Ack::done(second.id, json!("done once")))).await;
        again
    };
    let (ack, _worker) = tokio::join!(session.command("go", Value::Null, None), serve);
    assert_eq!(ack.unwrap().result, Some(json!("done once")));
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            SessionEvent::Disconnected { .. } => seen.push("gone"),
            SessionEvent::Connected { again: true, .. } => seen.push("again"),
            _ => {}
        }
    }
    assert_eq!(seen, ["gone", "again"]);
}

#[tokio::test]
async fn a_command_given_while_nobody_is_connected_goes_out_with_the_next_connection() {
    let broker = Broker::start().await;
    let (session, mut socket, worker) = connected(&broker).await;
    let mut events = session.events();
    worker.peer.close().await;
    let gone = |event: &SessionEvent| matches!(event, SessionEvent::Disconnected { .. });
    while !gone(&within("gone", events.recv()).await.unwrap()) {}
    let serve = async {
        // It waits, and whoever gave it is told so.
        loop {
            let event = within("a word that it waits", events.recv()).await.unwrap();
            if let SessionEvent::CommandWaits { name } = event {
                assert_eq!(name, "lamp");
                break;
            }
        }
        let mut again = Worker::answer(&mut socket).await;
        again.hear_hello().await;
        let Message::Command(command) = again.hear().await else { panic!("the command") };
        // What is left of its time, counted from when it was given.
        assert!(command.deadline_ms.is_some_and(|ms| ms < 60_000), "{command:?}");
        assert_eq!(command.echo, None, "no stamp was heard on this connection");
        again.say(&Message::Ack(Ack::done(command.id, json!("on")))).await;
        again
    };
    let ask = session.command("lamp", Value::Null, Some(Duration::from_mins(1)));
    let (ack, _worker) = tokio::join!(ask, serve);
    assert_eq!(ack.unwrap().result, Some(json!("on")));
}

#[tokio::test]
async fn a_command_whose_time_is_over_before_there_is_a_connection_is_never_said() {
    let broker = Broker::start().await;
    let (session, mut socket, worker) = connected(&broker).await;
    let mut events = session.events();
    worker.peer.close().await;
    let gone = |event: &SessionEvent| matches!(event, SessionEvent::Disconnected { .. });
    while !gone(&within("gone", events.recv()).await.unwrap()) {}
    let late = session.command("lamp", Value::Null, Some(Duration::from_millis(50))).await;
    assert!(matches!(late, Err(CommandError::Expired { .. })), "{late:?}");

    let serve = async {
        let mut again = Worker::answer(&mut socket).await;
        again.hear_hello().await;
        let Message::Command(command) = again.hear().await else { panic!("a command") };
        assert_eq!(command.name, "horn", "the one that came too late is not said");
        again.say(&Message::Ack(Ack::done(command.id, Value::Null))).await;
        again
    };
    let (ack, _worker) = tokio::join!(session.command("horn", Value::Null, None), serve);
    assert!(ack.unwrap().ok);
}

#[tokio::test]
async fn more_commands_than_anybody_waits_for_are_refused() {
    let broker = Broker::start().await;
    let (session, _socket, _worker) = connected(&broker).await;
    let ask = || session.command("lamp", Value::Null, None);
    let mut waiting: Vec<_> = (0..MAX_WAITING_COMMANDS).map(|_| Box::pin(ask())).collect();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none(), "nobody answers");
    }
    assert!(matches!(ask().await, Err(CommandError::TooMany { .. })));
    waiting.pop();
    assert!(ask().now_or_never().is_none(), "there is a place again");
}

#[tokio::test]
async fn drivers_echo_the_newest_stamp_of_this_connection() {
    let broker = Broker::start().await;
    let (session, _socket, mut worker) = connected(&broker).await;
    let mut events = session.events();
    for (seq, stamp) in [(1, 100), (2, 150)] {
        worker.say(&Message::Telemetry(json!({"seq": seq, "stamp": stamp}))).await;
        let told = |event: &SessionEvent| matches!(event, SessionEvent::Telemetry(_));
        while !told(&within("a report", events.recv()).await.unwrap()) {}
    }
    session.drive(1, 0.5, 0.0, true);
    let Message::Drive(drive) = worker.hear().await else { panic!("a drive message") };
    assert_eq!((drive.echo, drive.picture_ms), (Some(150), None));
}

#[tokio::test]
async fn what_must_not_be_missed_is_kept_whole() {
    let broker = Broker::start().await;
    let (session, _socket, worker) = connected(&broker).await;
    let mut changed = session.changed();
    let values = |pairs: &[(&str, Value)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let first = values(&[("estop", json!(false)), ("battery_low", json!(null))]);
    worker.say(&Message::Changed(Changed { stamp: 1, values: first })).await;
    worker
        .say(&Message::Changed(Changed { stamp: 2, values: values(&[("estop", json!(true))]) }))
        .await;
    let all = within("both", changed.wait_for(|values| values.get("estop") == Some(&json!(true))))
        .await
        .unwrap()
        .clone();
    assert_eq!(*all, values(&[("estop", json!(true)), ("battery_low", json!(null))]));
}

#[tokio::test]
async fn telemetry_is_passed_on_as_it_was_written_and_in_order() {
    let broker = Broker::start().await;
    let (session, _socket, worker) = connected(&broker).await;
    let mut events = session.events();
    // On the reliable lane, so that the test decides what arrives, and when.
    for payload in [r#"{"seq":5, "z":1.0,"a":2}"#, r#"{"seq":4}"#, "[1]", r#"{"seq":6}"#] {
        let (prefix, payload) = ("TELEMETRY".to_owned(), payload.to_owned());
        worker.say(&Message::Unknown { prefix, payload }).await;
    }
    let mut reports = Vec::new();
    while reports.len() < 2 {
        let event = within("a report", events.recv()).await.unwrap();
        if let SessionEvent::Telemetry(report) = event {
            reports.push(report.json.to_string());
        }
    }
    assert_eq!(reports, [r#"{"seq":5, "z":1.0,"a":2}"#, r#"{"seq":6}"#]);
    assert_eq!(session.telemetry().borrow().as_ref().unwrap().seq(), Some(6));
}

#[tokio::test]
async fn a_lost_signaling_socket_does_not_disturb_the_connection() {
    let broker = Broker::start().await;
    let (session, socket, mut worker) = connected(&broker).await;
    let mut events = session.events();
    drop(socket);
    let serve = async {
        let Message::Command(command) = worker.hear().await else { panic!("a command") };
        worker.say(&Message::Ack(Ack::done(command.id, Value::Null))).await;
    };
    let (ack, ()) = tokio::join!(session.command("go", Value::Null, None), serve);
    assert!(ack.unwrap().ok, "nobody registers us meanwhile");

    let again = json!({"peers": [worker_info()], "resumed": true});
    let (_socket, register) = broker.register_as(again).await;
    assert!(register["resume_token"].is_string());
    loop {
        match within("an event", events.recv()).await.unwrap() {
            SessionEvent::SignalBack => break,
            SessionEvent::Disconnected { .. } | SessionEvent::Silent => panic!("disturbed"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_room_that_is_forgotten_ends_the_session_only_with_its_connection() {
    let broker = Broker::start().await;
    let (session, socket, mut worker) = connected(&broker).await;
    drop(socket);
    for _ in 0..2 {
        // The old place, then a new one.
        let mut socket = broker.accept().await;
        socket.hear().await;
        let words = json!({"type": "error", "code": "ROOM_NOT_FOUND", "message": "Room not found"});
        socket.say(&words).await;
        socket.hear_close().await;
    }
    let serve = async {
        let Message::Command(command) = worker.hear().await else { panic!("a command") };
        worker.say(&Message::Ack(Ack::done(command.id, Value::Null))).await;
    };
    let (ack, ()) = tokio::join!(session.command("go", Value::Null, None), serve);
    assert!(ack.unwrap().ok, "the connection needs no broker");
    worker.peer.close().await;
    let error = within("ended", session.ended()).await;
    assert_eq!(error.code(), "ROOM_NOT_FOUND");
}

#[tokio::test]
async fn a_worker_that_was_started_anew_is_connected_to_again() {
    let broker = Broker::start().await;
    let (session, mut socket, worker) = connected(&broker).await;
    worker.peer.close().await;
    socket.say(&json!({"type": "peer_left", "peer_id": "w"})).await;
    let mut info = worker_info();
    info["type"] = "peer_joined".into();
    info["connected_at"] = 2.0.into();
    socket.say(&info).await;
    let mut again = Worker::answer(&mut socket).await;
    again.hear_hello().await;
    assert_eq!(within("ready", session.ready()).await.unwrap().agent, "test-worker");
}

#[tokio::test]
async fn a_room_without_a_worker_and_a_worker_without_an_answer_are_told_apart() {
    let broker = Broker::start().await;
    let hurried = SessionOptions {
        worker_wait: Duration::from_millis(200),
        connection_wait: Duration::from_millis(300),
        ..options()
    };
    let join = Session::join(link(&broker), hurried.clone());
    let (nobody, _socket) = tokio::join!(join, broker.register());
    assert!(matches!(nobody, Err(SessionError::NoWorker { .. })), "{nobody:?}");

    let join = Session::join(link(&broker), hurried);
    let serve = broker.register_as(json!({"peers": [worker_info()]}));
    let (silent, _socket) = within("given up", async { tokio::join!(join, serve) }).await;
    assert!(matches!(silent, Err(SessionError::NoConnection { .. })), "{silent:?}");
}

#[tokio::test]
async fn the_lease_is_granted_taken_or_refused() {
    let broker = Broker::start().await;
    let (session, _socket, mut worker) = connected(&broker).await;
    let wait = Duration::from_secs(10);
    let state = |holder: &str, number, you| {
        Message::LeaseState(LeaseState { holder: PeerId::new(holder).ok(), number, you })
    };

    let serve = async {
        assert_eq!(worker.hear().await, Message::LeaseRequest(LeaseRequest::Request));
        worker.say(&state("other", 3, false)).await;
    };
    let (taken, ()) = tokio::join!(session.request_lease(wait), serve);
    assert!(matches!(taken, Err(DriveError::Taken { .. })), "{taken:?}");

    let serve = async {
        worker.hear().await;
        let notice = Notice::new(Severity::Warning, "lease", "viewers only look");
        worker.say(&Message::Notice(notice)).await;
    };
    let (refused, ()) = tokio::join!(session.request_lease(wait), serve);
    assert!(matches!(refused, Err(DriveError::Refused { .. })), "{refused:?}");

    let serve = async {
        worker.hear().await;
        worker.say(&state("me", 4, true)).await;
    };
    let (granted, ()) = tokio::join!(session.request_lease(wait), serve);
    let lease = granted.unwrap();
    session.drive(lease, 0.5, -0.1, true);
    let Message::Drive(Drive { lease, linear, held, .. }) = worker.hear().await else {
        panic!("a drive message")
    };
    assert_eq!((lease, held), (4, true));
    assert!((linear - 0.5).abs() < 1e-9);
    session.release_lease().await.unwrap();
    assert_eq!(worker.hear().await, Message::LeaseRequest(LeaseRequest::Release));
}

/// Serves a folder on the worker's end.
async fn serve_files(worker: Worker, root: FileRoot) {
    let Worker { peer, mut events } = worker;
    let me = PeerId::new("me").unwrap();
    let serving = Serving::folder(Arc::new(root), &me, Access::Operator);
    let (transfers, _started) = Transfers::new(Arc::new(peer.clone()), serving);
    let bulk = async {
        while let Some(bytes) = peer.recv_bulk().await {
            transfers.chunk(bytes).await;
        }
    };
    let control = async {
        while let Some(event) = events.recv().await {
            if let PeerEvent::Text(Lane::Control, text) = event {
                transfers.message(Message::decode(&text).unwrap());
            }
        }
    };
    tokio::join!(bulk, control);
    transfers.close().await;
}

#[tokio::test]
async fn a_file_goes_on_by_itself_after_the_connection_was_cut() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes: Vec<u8> = (0..60_000_000_u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let file = here.path().join("big.bin");
    std::fs::write(&file, &bytes).unwrap();

    let broker = Broker::start().await;
    let (session, mut socket, worker) = connected(&broker).await;
    let root = FileRoot::open(there.path()).await.unwrap();
    let first = worker.peer.clone();
    let serving = tokio::spawn(serve_files(worker, root.clone()));
    let (durable, mut far_enough) = mpsc::channel(1);
    let name = RelativeName::new("in/big.bin").unwrap();
    let send = session.send_file(&file, &name, |step| {
        if step.progress.durable > 0 && step.progress.durable < step.progress.total {
            let _ = durable.try_send(());
        }
    });
    let cut = async {
        within("some of it is safe", far_enough.recv()).await.unwrap();
        first.close().await;
        within("the old end is gone", serving).await.unwrap();
        let mut again = Worker::answer(&mut socket).await;
        again.hear_hello().await;
        tokio::spawn(serve_files(again, root));
    };
    let (sent, ()) = within("sent", async { tokio::join!(send, cut) }).await;
    let sent = sent.unwrap();
    assert_eq!(sent.size, bytes.len() as u64);
    assert!(sent.resumed_at > 0, "it did not start over");
    assert!(std::fs::read(there.path().join("in/big.bin")).unwrap() == bytes, "byte for byte");

    let entries = session.list("in").await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].name.as_str(), entries[0].size), ("big.bin", sent.size));
    let back = Arc::new(FileRoot::open(here.path()).await.unwrap());
    let copy = RelativeName::new("copy.bin").unwrap();
    session.get_file(&name, back, &copy, |_| {}).await.unwrap();
    assert!(std::fs::read(here.path().join("copy.bin")).unwrap() == bytes, "and back");
}
