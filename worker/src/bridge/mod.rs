//! The bridge to a trainer: two ZMQ sockets on this machine alone.
//!
//! The worker binds both: `control`, where it publishes commands, and `progress`, where the trainer
//! publishes what it does. The trainer connects to both. So either side may come first, and either
//! may be restarted: a trainer finds the worker again on the same ports.
//!
//! * [`Bridge`] is the sockets and the task behind them; [`Ports`] are where they are.
//! * [`Watch`] notices a trainer that comes late, restarts or falls silent.
//!
//! What is published is bounded by the one who publishes: wishes to stop and learning rates, at most
//! one of each a second and none after the interrupt, so that a subscriber that stopped reading costs
//! next to nothing.

mod watch;

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
pub use watch::{Remark, Watch};
use zeromq::{PubSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// Where existing trainers look for commands, and where they report. Taken where they are free.
pub const USUAL: Ports = Ports { control: 9000, progress: 9001 };

/// Largest report. A trainer's are some hundred bytes.
const MOST_BYTES: usize = 16 * 1024;

/// Commands that wait to be published.
const COMMANDS: usize = 4;

/// What the library says of the one thing that a trainer's socket may send between its messages and
/// that it does not speak: libzmq's heartbeats (ZMTP 3.1), which are off unless asked for.
const UNKNOWN_COMMAND: &str = "Unknown command";

/// The library ends the connection then, and the trainer's socket makes another, again and again.
const HEARTBEAT: FromTrainer = FromTrainer::NotUnderstood(
    "a ZMQ heartbeat, which breaks its connection: reports are lost until it leaves HEARTBEAT_IVL \
     at 0",
);

/// Where the two sockets are, on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Commands for the trainer.
    pub control: u16,
    /// Its reports.
    pub progress: u16,
}

/// Why there is no bridge.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// No port is to be had.
    #[error("cannot listen for the trainer on 127.0.0.1: {0}")]
    Listen(#[from] io::Error),
    /// The sockets cannot be made.
    #[error("cannot speak ZMQ: {0}")]
    Zmq(String),
}

/// Something from a trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTrainer {
    /// A report in its own words.
    Report(String),
    /// Something that is no report, and why.
    NotUnderstood(&'static str),
}

/// A bridge to one trainer. Dropping it closes the sockets.
#[derive(Debug)]
pub struct Bridge {
    ports: Ports,
    commands: mpsc::Sender<String>,
    _task: AbortOnDropHandle<()>,
}

impl Bridge {
    /// Binds both sockets: on `ports` where they are given, else on the usual ones where those are
    /// free, else on any. What comes is handed to `reports` as `(tag, …)`; while that queue is full
    /// the trainer waits.
    pub async fn start<T: Clone + Send + 'static>(
        ports: Option<Ports>,
        tag: T,
        reports: mpsc::Sender<(T, FromTrainer)>,
    ) -> Result<Self, BridgeError> {
        let (control, progress) = match ports {
            Some(ports) => (listen(ports.control)?, listen(ports.progress)?),
            None => match (listen(USUAL.control), listen(USUAL.progress)) {
                (Ok(control), Ok(progress)) => (control, progress),
                _ => (listen(0)?, listen(0)?),
            },
        };
        let ports = Ports {
            control: control.local_addr()?.port(),
            progress: progress.local_addr()?.port(),
        };
        let zmq = |error: zeromq::ZmqError| BridgeError::Zmq(error.to_string());
        let mut publisher = PubSocket::new();
        publisher.bind_listener(control).await.map_err(zmq)?;
        let mut subscriber = SubSocket::new();
        subscriber.bind_listener(progress).await.map_err(zmq)?;
        subscriber.subscribe("").await.map_err(zmq)?;
        let (commands, said) = mpsc::channel(COMMANDS);
        let task = tokio::spawn(run(publisher, subscriber, said, tag, reports));
        Ok(Self { ports, commands, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Publishes the wish to stop. Nobody knows whether it is heard: a trainer that is not
    /// connected yet does not hear it, so it is said again until it has worked.
    pub fn ask_to_stop(&self) {
        // A queue that is full holds the same wish already.
        let _ = self.commands.try_send(r#"{"command":"stop"}"#.to_owned());
    }

    /// Publishes another learning rate, in the words of SLEAP's trainers. Whether a trainer knows them
    /// is not known here: sleap-nn does not. Says whether it was published.
    pub fn set_learning_rate(&self, rate: f64) -> bool {
        let command = json!({ "command": "set_lr", "lr": rate });
        self.commands.try_send(command.to_string()).is_ok()
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

async fn run<T: Clone>(
    mut publisher: PubSocket,
    mut subscriber: SubSocket,
    mut commands: mpsc::Receiver<String>,
    tag: T,
    reports: mpsc::Sender<(T, FromTrainer)>,
) {
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => {
                    if let Err(error) = publisher.send(ZmqMessage::from(command)).await {
                        tracing::debug!(%error, "a command for the trainer was not published");
                    }
                }
                None => return,
            },
            message = subscriber.recv() => match message {
                Ok(message) => {
                    if reports.send((tag.clone(), read(message))).await.is_err() {
                        return;
                    }
                }
                // One connection broke; the others, and those to come, are not concerned.
                Err(error) => {
                    tracing::debug!(%error, "a connection of a trainer");
                    if error.to_string().contains(UNKNOWN_COMMAND)
                        && reports.send((tag.clone(), HEARTBEAT)).await.is_err()
                    {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            },
        }
    }
}

fn read(message: ZmqMessage) -> FromTrainer {
    let frames = message.into_vec();
    let [frame] = frames.as_slice() else {
        return FromTrainer::NotUnderstood("a message of several frames");
    };
    if frame.len() > MOST_BYTES {
        return FromTrainer::NotUnderstood("a message of more than 16 KiB");
    }
    match std::str::from_utf8(frame) {
        Ok(text) => FromTrainer::Report(text.to_owned()),
        Err(_) => FromTrainer::NotUnderstood("a message that is no text"),
    }
}
