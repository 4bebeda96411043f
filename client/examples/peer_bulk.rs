//! How fast files go between two ends on this machine, what it costs, and what a command beside
//! them waits. Run it with `cargo run --release -p halyard-client --example peer_bulk [GiB]`.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use halyard_client::peer::{Peer, PeerConfig, PeerError, PeerEvent};
use halyard_protocol::channel::{Chunk, Lane, Message, Notice, Severity};
use tokio::sync::mpsc;

const CHUNK: usize = 60 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gib: f64 = std::env::args().nth(1).map_or(Ok(1.0), |text| text.parse())?;
    let bytes = (gib * 1024.0 * 1024.0 * 1024.0) as u64;
    let (sender, mut sender_events) = Peer::offerer(PeerConfig::default()).await?;
    let (receiver, receiver_events) = Peer::answerer(PeerConfig::default()).await?;

    let started = Instant::now();
    let offer = sender.create_offer(false).await?;
    let answer = receiver.accept_offer(&offer).await?;
    sender.accept_answer(&answer).await?;
    while sender_events.recv().await != Some(PeerEvent::LaneOpen(Lane::Control)) {}
    println!("open after {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let echoing = tokio::spawn(echo(receiver.clone(), receiver_events));

    let idle = round_trips(&sender, &mut sender_events, 200, Duration::ZERO).await?;
    report("round trip, idle", idle);

    let (started, cpu) = (Instant::now(), cpu_seconds());
    let sending = tokio::spawn(send(sender.clone(), bytes));
    let receiving = tokio::spawn(receive(receiver.clone(), bytes));
    let mut busy = Vec::new();
    while !receiving.is_finished() {
        let pause = Duration::from_millis(20);
        busy.extend(round_trips(&sender, &mut sender_events, 1, pause).await?);
    }
    sending.await??;
    receiving.await?;
    let took = started.elapsed().as_secs_f64();
    let gb = bytes as f64 / 1e9;
    println!("{:.0} MB/s", gb * 1e3 / took);
    if let (Some(before), Some(after)) = (cpu, cpu_seconds()) {
        println!("{:.1} CPU seconds per GB, both ends together", (after - before) / gb);
    }
    report("round trip beside the file", busy);
    if let Some(peak) = peak_memory_mib() {
        println!("{peak} MiB peak memory, both ends together");
    }
    sender.close().await;
    receiver.close().await;
    echoing.abort();
    Ok(())
}

async fn send(peer: Peer, bytes: u64) -> Result<(), PeerError> {
    let mut offset = 0;
    while offset < bytes {
        let len = CHUNK.min((bytes - offset) as usize);
        let mut chunk: BytesMut = Chunk::header(1, offset, len);
        chunk.resize(Chunk::HEADER_BYTES + len, 0x5a);
        peer.send_chunk(chunk).await?;
        offset += len as u64;
    }
    Ok(())
}

async fn receive(peer: Peer, bytes: u64) {
    let mut received = 0;
    while received < bytes {
        let Some(message) = peer.recv_bulk().await else { return };
        received += (message.len() - Chunk::HEADER_BYTES) as u64;
    }
}

async fn echo(peer: Peer, mut events: mpsc::Receiver<PeerEvent>) {
    while let Some(event) = events.recv().await {
        if let PeerEvent::Text(Lane::Control, text) = event
            && let Ok(message) = Message::decode(&text)
            && peer.send(Lane::Control, &message).await.is_err()
        {
            return;
        }
    }
}

async fn round_trips(
    peer: &Peer,
    events: &mut mpsc::Receiver<PeerEvent>,
    count: usize,
    pause: Duration,
) -> Result<Vec<Duration>, PeerError> {
    let message = Message::Notice(Notice::new(Severity::Info, "echo", ""));
    let mut trips = Vec::new();
    for _ in 0..count {
        tokio::time::sleep(pause).await;
        let started = Instant::now();
        peer.send(Lane::Control, &message).await?;
        loop {
            match events.recv().await {
                Some(PeerEvent::Text(Lane::Control, _)) => break,
                Some(_) => {}
                None => return Err(PeerError::Closed),
            }
        }
        trips.push(started.elapsed());
    }
    Ok(trips)
}

fn report(what: &str, mut trips: Vec<Duration>) {
    trips.sort_unstable();
    let Some(last) = trips.len().checked_sub(1) else { return };
    let at = |share: f64| trips[(last as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.2} ms, p99 {:.2} ms, worst {:.2} ms of {}",
        at(0.5),
        at(0.99),
        at(1.0),
        trips.len()
    );
}

/// User and system time of this process so far, where the system tells.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // Linux counts in hundredths, whatever the kernel's own clock.
    Some(ticks / 100.0)
}

fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
