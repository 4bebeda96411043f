//! Starting, draining, and what a peer sees of it.

use std::time::Duration;

use halyard_server::{BindError, Server, Settings, settings::Timing};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Broker, Closed, SOON, settings};

#[tokio::test]
async fn a_drain_says_goodbye_to_everybody_and_ends() {
    let broker = Broker::start().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut registered = broker.join(&room, &room.operator, &ann).await;
    let mut stranger = broker.socket().await;
    broker.stop.cancel();
    for peer in [&mut registered, &mut stranger] {
        let (messages, closed) = peer.until_closed().await;
        assert_eq!(messages, [json!({ "type": "draining" })]);
        let reason = "the server is going away, come back".to_owned();
        assert_eq!(closed, Closed { code: 1001, reason });
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_leave_cannot_hold_a_drain_up() {
    let timing = Timing { drain_within: Duration::from_millis(300), ..Timing::default() };
    let broker = Broker::with(Settings { timing, ..settings() }).await;
    let addr = broker.addr;
    let deaf = broker.socket().await;
    // Half a request: it would be waited for, too.
    let mut half = tokio::net::TcpStream::connect(addr).await.expect("connected");
    half.write_all(b"GET /health HTTP/1.1\r\nHost:").await.expect("written");
    let start = std::time::Instant::now();
    broker.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop((deaf, half));
}

#[tokio::test]
async fn a_request_whose_head_does_not_end_is_dropped() {
    let timing = Timing { request_within: Duration::from_millis(200), ..Timing::default() };
    let broker = Broker::with(Settings { timing, ..settings() }).await;
    let mut slow = tokio::net::TcpStream::connect(broker.addr).await.expect("connected");
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("written");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(SOON, slow.read_to_end(&mut rest)).await;
    let _ = read.expect("dropped in time");
    broker.still_serves().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let broker = Broker::start().await;
    let taken = Settings { listen: broker.addr, ..settings() };
    let error = Server::bind(taken).await.map(|_| ()).expect_err("taken");
    assert!(matches!(error, BindError::Listen { .. }));
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn the_second_address_answers_probes_alone() {
    let admin_listen = Some("127.0.0.1:0".parse().expect("an address"));
    let server = Server::bind(Settings { admin_listen, ..settings() }).await.expect("bound");
    let admin = server.admin_addr().expect("a second address");
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let probe = Broker::at(admin);
    assert_eq!(probe.call("GET", "/health", None, None).await.body["status"], "healthy");
    assert_eq!(probe.call("GET", "/ready", None, None).await.body["status"], "ready");
    assert_eq!(probe.call("POST", "/anonymous-signin", None, None).await.status, 404);
    stop.cancel();
    tokio::time::timeout(SOON, running).await.expect("in time").expect("no panic").expect("ended");
}

#[tokio::test]
async fn a_program_may_serve_its_own_routes_beside_the_brokers() {
    let server = Server::bind(settings()).await.expect("bound");
    let addr = server.local_addr();
    let routes = axum::Router::new().route("/status", axum::routing::get(async || "fine"));
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(server.merge_routes(routes).run(stop.clone()));
    let broker = Broker::at(addr);
    assert_eq!(broker.call("GET", "/status", None, None).await.body, "fine");
    assert_eq!(broker.call("GET", "/health", None, None).await.status, 200);
    broker.still_serves().await;
    stop.cancel();
    tokio::time::timeout(SOON, running).await.expect("in time").expect("no panic").expect("ended");
}
