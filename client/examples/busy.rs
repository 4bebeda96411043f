//! How long a command waits for its answer while a file moves: for `test_files/bench`.
//!
//! `busy LINK FILE` sends the file to the worker and meanwhile asks a question every 10 ms over the
//! same connection. Prints one JSON object: how many questions, their answer times in milliseconds,
//! and how fast the file was.

use std::{path::Path, process::ExitCode, time::Duration};

use halyard_client::session::{Session, SessionOptions};
use halyard_protocol::{link::JoinLink, transfer::RelativeName};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [link, file] = &*words else {
        eprintln!("busy LINK FILE");
        return ExitCode::from(2);
    };
    match measure(link, Path::new(file)).await {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(link: &str, file: &Path) -> Result<Value, Box<dyn std::error::Error>> {
    let link = JoinLink::parse(link)?;
    let session = Session::join(link, SessionOptions::default()).await?;
    let name = RelativeName::new("busy.bin")?;
    let began = Instant::now();
    let mut sending = Box::pin(session.send_file(file, &name, |_| {}));
    let mut waits = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let sent = loop {
        let asked = async {
            ticks.tick().await;
            let began = Instant::now();
            // A machine without commands refuses, which is an answer as well.
            session.command("status", Value::Null, None).await.map(|_| began.elapsed())
        };
        tokio::select! {
            sent = &mut sending => break sent?,
            waited = asked => waits.push(waited?),
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    drop(sending);
    session.close().await;
    waits.sort_unstable();
    let at = |part: f64| {
        let index = (waits.len() as f64 * part) as usize;
        waits.get(index.min(waits.len().saturating_sub(1))).map(|wait| wait.as_secs_f64() * 1000.0)
    };
    Ok(json!({
        "questions": waits.len(),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "megabytes_per_second": sent.size as f64 / 1e6 / seconds,
    }))
}
