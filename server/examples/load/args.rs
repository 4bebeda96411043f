//! What is typed.

use std::net::SocketAddr;

use clap::{Parser, Subcommand, ValueEnum};
use url::Url;

/// Drives register, offer, answer and candidate traffic against a broker and measures it
///
/// The broker's limits apply to it like to anybody: start the broker with them raised, or give
/// figures below them (README of test_files/bench and docs/performance.md say how).
#[derive(Parser)]
#[command(name = "load")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(clap::Args)]
pub(crate) struct Common {
    /// Where the broker is
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080")]
    pub(crate) url: Url,
    /// The broker's process on this machine: its processor time and memory are read from /proc
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// The server knows neither identities nor room tokens: it is one of the floors
    #[arg(long, global = true)]
    pub(crate) bare: bool,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Scenario {
    /// Relay as fast as it goes: in every room two peers answer each other
    Relay(Relay),
    /// Relay at a fixed rate; latency counts from when a message was due, sent or not
    Paced(Paced),
    /// Memory of registered sockets that say nothing
    Idle(Idle),
    /// Connect, upgrade, register, leave, as often as it goes
    Joins(Joins),
    /// One peer stops reading and is flooded, while others are measured at a fixed rate
    StoppedReader(StoppedReader),
    /// Every socket drops at once and comes back to its place
    Storm(Storm),
    /// Serve the same wire with nothing behind it
    Floor(Floor),
}

#[derive(clap::Args)]
pub(crate) struct Relay {
    /// Rooms with two peers each
    #[arg(long, default_value_t = 200)]
    pub(crate) rooms: usize,
    /// Messages on their way in each room
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Seconds that are measured, after one that is not
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
}

#[derive(clap::Args)]
pub(crate) struct Paced {
    /// Rooms with two peers each
    #[arg(long, default_value_t = 200)]
    pub(crate) rooms: usize,
    /// Messages a second, over all rooms
    #[arg(long, default_value_t = 2000.0)]
    pub(crate) rate: f64,
    /// Seconds that are measured, after one that is not
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
}

#[derive(clap::Args)]
pub(crate) struct Idle {
    /// Sockets
    #[arg(long, default_value_t = 5000)]
    pub(crate) sockets: usize,
    /// Sockets in one room
    #[arg(long, default_value_t = 10)]
    pub(crate) per_room: usize,
}

#[derive(clap::Args)]
pub(crate) struct Joins {
    /// Joins under way at a time
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
    /// Rooms that are joined in turn
    #[arg(long, default_value_t = 200)]
    pub(crate) rooms: usize,
    /// Seconds that are measured, after one that is not
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
}

#[derive(clap::Args)]
pub(crate) struct StoppedReader {
    /// Rooms of the others, with two peers each
    #[arg(long, default_value_t = 50)]
    pub(crate) rooms: usize,
    /// Messages a second of the others
    #[arg(long, default_value_t = 2000.0)]
    pub(crate) rate: f64,
    /// MiB that are sent to the peer that does not read
    #[arg(long, default_value_t = 2000)]
    pub(crate) flood_mib: usize,
    /// Seconds before the flood, to compare with
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
}

#[derive(clap::Args)]
pub(crate) struct Storm {
    /// Sockets that drop
    #[arg(long, default_value_t = 2000)]
    pub(crate) sockets: usize,
    /// Sockets in one room
    #[arg(long, default_value_t = 10)]
    pub(crate) per_room: usize,
    /// Coming back at a time
    #[arg(long, default_value_t = 256)]
    pub(crate) at_once: usize,
}

#[derive(clap::Args)]
pub(crate) struct Floor {
    /// What does the work
    pub(crate) kind: FloorKind,
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FloorKind {
    /// tokio-tungstenite; reads the target from the JSON
    Json,
    /// tokio-tungstenite; forwards to the other peer of the room without looking
    Verbatim,
    /// epoll on one thread; forwards to the other peer of the room without looking
    Raw,
}
