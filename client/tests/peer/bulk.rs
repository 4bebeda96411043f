//! File bytes, and what they must not hold up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use halyard_client::peer::Peer;
use halyard_protocol::{
    channel::{Chunk, Lane},
    limits::CHUNK_BYTES,
};
use tokio::{sync::mpsc, time::timeout};

use crate::pair::{End, note, number, pair, soon};

const MIB: usize = 1024 * 1024;

/// Far more than a command needs, far less than a file takes.
const PROMPT: Duration = Duration::from_secs(2);

/// Sends bytes in chunks and returns their hash.
async fn send_bytes(peer: Peer, bytes: usize) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    let mut offset = 0;
    while offset < bytes {
        let len = CHUNK_BYTES.min(bytes - offset);
        let data: Vec<u8> = (offset..offset + len).map(|at| (at * 31 + at / 251) as u8).collect();
        hash.update(&data);
        let chunk = Chunk { transfer: 1, offset: offset as u64, bytes: data.into() };
        peer.send_chunk(chunk.encode()).await.unwrap();
        offset += len;
    }
    hash.finalize()
}

/// Receives bytes in chunks and returns their hash.
async fn receive_bytes(peer: Peer, bytes: usize) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    let mut offset = 0;
    while offset < bytes as u64 {
        let message = soon("a chunk", peer.recv_bulk()).await.expect("the lane is open");
        let chunk = Chunk::decode(message).unwrap();
        assert_eq!(chunk.offset, offset);
        hash.update(&chunk.bytes);
        offset += chunk.bytes.len() as u64;
    }
    hash.finalize()
}

/// Answers every note on `control` with the same.
fn echo(mut end: End) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = end.events.recv().await {
            if let halyard_client::peer::PeerEvent::Text(Lane::Control, text) = event {
                let answered = end.peer.send(Lane::Control, &note(number(&text))).await;
                if answered.is_err() {
                    return;
                }
            }
        }
    })
}

/// How long a note takes there and back.
async fn round_trip(end: &mut End, n: usize) -> Duration {
    let started = Instant::now();
    end.peer.send(Lane::Control, &note(n)).await.unwrap();
    assert_eq!(number(&end.until_text(Lane::Control).await), n);
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_arrives_whole_while_commands_overtake_it() {
    let (mut offerer, answerer) = pair().await;
    let started = Instant::now();
    let sending = tokio::spawn(send_bytes(offerer.peer.clone(), 64 * MIB));
    let receiving = tokio::spawn(receive_bytes(answerer.peer.clone(), 64 * MIB));
    let echoing = echo(answerer);

    let mut trips = Vec::new();
    while !receiving.is_finished() {
        trips.push(round_trip(&mut offerer, trips.len()).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    assert_eq!(sending.await.unwrap(), receiving.await.unwrap());
    trips.sort_unstable();
    let worst = trips[trips.len() - 1];
    let median = trips[trips.len() / 2];
    println!("64 MiB in {took:?}; {} round trips, median {median:?}, worst {worst:?}", trips.len());
    assert!(trips.len() > 5, "commands were held up: {trips:?}");
    assert!(worst < PROMPT, "{worst:?}");
    echoing.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_stops_reading_files_does_not_hold_up_commands() {
    let (mut offerer, answerer) = pair().await;
    // The application greets first; the window for files follows the greeting.
    let receiver = answerer.peer.clone();
    receiver.send(Lane::Control, &note(0)).await.unwrap();
    assert_eq!(number(&offerer.until_text(Lane::Control).await), 0);
    let echoing = echo(answerer);
    round_trip(&mut offerer, 0).await;

    let (progress, mut chunks) = mpsc::unbounded_channel();
    let peer = offerer.peer.clone();
    let sending = tokio::spawn(async move {
        for n in 0..48 * MIB / CHUNK_BYTES {
            peer.send_chunk(vec_chunk(n)).await.unwrap();
            progress.send(n).unwrap();
        }
    });
    // Nobody takes them: the sender stops by itself.
    let mut accepted = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(500), chunks.recv()).await {
        accepted += 1;
    }
    let bytes = accepted * CHUNK_BYTES;
    println!("the sender stopped after {} MiB", bytes / MIB);
    assert!((12 * MIB..=20 * MIB).contains(&bytes), "{bytes}");

    for n in 1..20 {
        let trip = round_trip(&mut offerer, n).await;
        assert!(trip < PROMPT, "{trip:?} beside a file that nobody takes");
    }

    for n in 0..48 * MIB / CHUNK_BYTES {
        let message = soon("a chunk", receiver.recv_bulk()).await.unwrap();
        assert_eq!(Chunk::decode(message).unwrap().offset, n as u64);
    }
    sending.await.unwrap();
    echoing.abort();
}

fn vec_chunk(n: usize) -> bytes::BytesMut {
    let bytes = Bytes::from(vec![n as u8; CHUNK_BYTES - Chunk::HEADER_BYTES]);
    Chunk { transfer: 1, offset: n as u64, bytes }.encode()
}

#[tokio::test]
async fn what_waits_is_counted_and_goes_away() {
    let (offerer, answerer) = pair().await;
    for n in 0..4 {
        offerer.peer.send_chunk(vec_chunk(n)).await.unwrap();
    }
    for _ in 0..4 {
        soon("a chunk", answerer.peer.recv_bulk()).await.unwrap();
    }
    // Everything arrived; what is left are acknowledgements on their way.
    let drained = async {
        while offerer.peer.buffered(Lane::Bulk).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the last acknowledgement", drained).await;
    soon("room", offerer.peer.writable(Lane::Bulk)).await.unwrap();
}
