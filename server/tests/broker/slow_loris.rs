//! Connections that are held open by being slow, at every stage.

use std::time::Duration;

use halyard_server::{Settings, settings::Timing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{Broker, SOON, settings};

async fn impatient() -> Broker {
    let timing = Timing {
        request_within: Duration::from_secs(1),
        register_within: Duration::from_secs(1),
        ..Timing::default()
    };
    Broker::with(Settings { timing, ..settings() }).await
}

/// Writes this and reads until the broker closes.
pub(crate) async fn ask(broker: &Broker, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(broker.addr).await.expect("connected");
    stream.write_all(request).await.expect("written");
    until_closed(&mut stream).await
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match timeout(SOON, stream.read(&mut part)).await.expect("closed in time") {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(bytes) => answer.extend_from_slice(&part[..bytes]),
        }
    }
}

#[tokio::test]
async fn who_says_nothing_or_half_of_something_is_dropped() {
    let broker = impatient().await;
    for start in ["", "GE", "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        assert_eq!(ask(&broker, start.as_bytes()).await, "", "{start:?}");
    }
    broker.still_serves().await;
}

#[tokio::test]
async fn who_is_answered_and_says_nothing_more_is_dropped() {
    let broker = impatient().await;
    let answer = ask(&broker, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    broker.still_serves().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_and_dropped() {
    let broker = impatient().await;
    let ann = broker.sign_in().await;
    let head = format!(
        "POST /create-room HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        ann.id_token
    );
    let answer = ask(&broker, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("TIMED_OUT"), "{answer}");
    broker.still_serves().await;
}

#[tokio::test]
async fn who_upgrades_and_never_registers_is_closed() {
    let broker = impatient().await;
    let mut peer = broker.socket().await;
    assert_eq!(peer.until_closed().await.1.code, 4001);
    broker.still_serves().await;
}

#[tokio::test]
async fn who_asks_for_much_and_reads_nothing_is_dropped() {
    let mut settings = settings();
    settings.timing.write_within = Duration::from_secs(1);
    settings.limits.max_connections = 2;
    let broker = Broker::with(settings).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
    let mut greedy = socket.connect(broker.addr).await.expect("connected");
    // Pipelined, until nothing more is taken.
    let request = b"GET /js/main.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let asking = async { while greedy.write_all(&request).await.is_ok() {} };
    timeout(SOON, asking).await.expect("dropped although it has more to ask");
    drop(greedy);
    broker.still_serves().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_told_so() {
    let broker = impatient().await;
    let long = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(64_000));
    let answer = ask(&broker, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    broker.still_serves().await;
}
