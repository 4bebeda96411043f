//! Any number of viewers of one machine, who take its pictures and look at none of them:
//!
//! ```sh
//! cargo run --release -p halyard-client --example viewers -- 10 'http://127.0.0.1:8080/r/ROOM#TOKEN'
//! ```
//!
//! Prints a line of JSON when all have their first picture, and once a second how many pictures each
//! of them got. Ends when its input does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use halyard_client::session::{Session, SessionOptions};
use halyard_protocol::link::JoinLink;
use serde_json::json;
use tokio::{io::AsyncReadExt, task::JoinSet};

const USAGE: &str = "viewers COUNT LINK: how many, and the join link of the room";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().ok_or(USAGE)?.parse()?;
    let link = JoinLink::parse(&args.next().ok_or(USAGE)?)?;
    let pictures: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let mut watching = JoinSet::new();
    for number in 0..count {
        let options = SessionOptions { video: true, ..SessionOptions::default() };
        let session = Session::join(link.clone(), options).await?;
        let pictures = Arc::clone(&pictures);
        watching.spawn(async move {
            // The connection may be replaced: then its next one is watched.
            loop {
                let Some(peer) = session.peer() else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                while peer.next_frame().await.is_some() {
                    pictures[number].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut input = tokio::io::stdin();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut is_ready = false;
    loop {
        tokio::select! {
            read = input.read_u8() => if read.is_err() { return Ok(()) },
            _ = second.tick() => {
                let counts: Vec<_> =
                    pictures.iter().map(|count| count.load(Ordering::Relaxed)).collect();
                if !is_ready && counts.iter().all(|count| *count > 0) {
                    is_ready = true;
                    println!("{}", json!({"event": "ready", "viewers": count}));
                }
                println!("{}", json!({"event": "pictures", "counts": counts}));
            }
        }
    }
}
