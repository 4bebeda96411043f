//! A peer that stops reading is cut off, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::{Broker, Peer, Room, settings};

/// What is sent to the peer that does not read.
const FLOOD_BYTES: usize = 200 * 1024 * 1024;
const MESSAGE_BYTES: usize = 64 * 1024;
/// The broker may hold an outbox, a write buffer and what the kernel's buffers do not count.
const MAX_GROWTH_KIB: u64 = 24 * 1024;

/// Resident memory of this process, which the broker is part of.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a figure");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// A broker on which the flood may come as fast as it can.
async fn fast() -> Broker {
    let mut settings = settings();
    settings.limits.messages_per_second = 1_000_000;
    Broker::with(settings).await
}

/// A stopped reader in a room, connected with a small receive buffer.
async fn stopped(broker: &Broker, room: &Room) -> Peer {
    let bob = broker.sign_in().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    let stream = socket.connect(broker.addr).await.expect("connected");
    let mut peer = broker.socket_over(stream, "/ws").await;
    let answer = peer.register(room, &room.operator, &bob, "slow", json!({})).await;
    assert_eq!(answer["type"], "registered_auth");
    peer
}

async fn there_and_back(from: &mut Peer, to: &mut Peer, target: &str) -> Duration {
    let start = Instant::now();
    from.send(&json!({ "type": "candidate", "target": target, "candidate": { "candidate": "c" } }))
        .await;
    to.next_of("candidate").await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stopped_reader_is_cut_off_and_costs_nobody_else_anything() {
    let broker = fast().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let slow = stopped(&broker, &room).await;
    let (mut flooder, _) = broker.join_as(&room, &room.operator, &ann, "flooder", json!({})).await;

    let other = broker.create_room(&ann).await;
    let (mut a, _) = broker.join_as(&other, &other.operator, &ann, "a", json!({})).await;
    let (mut b, _) = broker.join_as(&other, &other.operator, &ann, "b", json!({})).await;
    for _ in 0..50 {
        there_and_back(&mut a, &mut b, "b").await;
    }

    let before = resident_kib();
    let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
    let flood = tokio::spawn(async move {
        let sdp = "x".repeat(MESSAGE_BYTES);
        let message = json!({ "type": "offer", "target": "slow", "sdp": sdp }).to_string();
        let mut refused: Vec<Value> = Vec::new();
        for _ in 0..FLOOD_BYTES / MESSAGE_BYTES {
            flooder.send_text(&message).await;
            // Answers are read, as any client does.
            while let Ok(answer) = tokio::time::timeout(Duration::ZERO, flooder.next()).await {
                refused.push(answer);
            }
        }
        refused.extend(flooder.heard().await);
        let _ = done.send(());
        refused
    });
    let mut most = before;
    let mut slowest = Duration::ZERO;
    while is_done.try_recv().is_err() {
        slowest = slowest.max(there_and_back(&mut a, &mut b, "b").await);
        most = most.max(resident_kib());
    }
    let answers = flood.await.expect("no panic");

    let growth = most.saturating_sub(before);
    assert!(growth < MAX_GROWTH_KIB, "memory grew by {growth} KiB");
    // Generous, because the machine may be busy; a broker that waits for the slow one never
    // answers here.
    assert!(slowest < Duration::from_secs(1), "the other room waited {slowest:?}");

    let codes: Vec<&str> = answers.iter().filter_map(|answer| answer["code"].as_str()).collect();
    assert_eq!(codes.first(), Some(&"DELIVERY_FAILED"), "the sender is told");
    assert_eq!(codes.last(), Some(&"PEER_NOT_FOUND"), "and then that it is gone");
    assert!(
        answers.contains(&json!({ "type": "peer_left", "peer_id": "slow", "reason": "too_slow" }))
    );
    drop(slow);
    broker.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_reader_learns_why_it_was_cut_off() {
    let broker = fast().await;
    let ann = broker.sign_in().await;
    let room = broker.create_room(&ann).await;
    let mut slow = stopped(&broker, &room).await;
    let (mut ann, _) = broker.join_as(&room, &room.operator, &ann, "ann", json!({})).await;
    let sdp = "x".repeat(MESSAGE_BYTES);
    loop {
        ann.send(&json!({ "type": "offer", "target": "slow", "sdp": sdp })).await;
        let heard = ann.heard().await;
        if heard.iter().any(|answer| answer["code"] == "DELIVERY_FAILED") {
            break;
        }
    }
    let (messages, closed) = slow.until_closed().await;
    assert!(!messages.is_empty(), "what was written before still arrives");
    assert_eq!(closed.code, 4002, "{closed:?}");
}
