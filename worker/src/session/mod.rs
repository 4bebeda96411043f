//! One remote peer, from its first offer to goodbye.
//!
//! The [agent](crate::agent) starts a session when a peer offers a connection, hands it what the
//! broker relays, and waits for it to end. What the peer may do was decided by the broker and is
//! told to the session; nothing the peer says changes it.
//!
//! * [`hello`] is what a peer is told first.
//! * [`video`] sends the picture; [`legacy`] speaks with existing clients on their one channel.
//! * [`speaker`] keeps the words for the peer in order and never lets it hold up its session.

pub mod hello;
pub mod legacy;
pub mod speaker;
mod task;
pub mod video;

use std::{sync::Arc, time::Duration};

use halyard_client::{
    files::FileRoot,
    peer::{PeerConfig, PeerThreads},
};
use halyard_protocol::{
    ids::PeerId,
    signal::{Candidate, IceServer},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    machine::{Asker, MachineHandle},
    media::Fanout,
};

/// What the broker relayed and the session has not looked at yet: several joins' worth.
const INBOX: usize = 128;

/// A connection that has not come up by then is given up.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// A connection that was lost may be mended by a new offer for this long.
pub const MEND_WITHIN: Duration = Duration::from_mins(1);

/// What all sessions of a worker share.
#[derive(Clone)]
pub struct Shared {
    /// The machine.
    pub machine: MachineHandle,
    /// The picture, if there is one.
    pub fanout: Option<Fanout>,
    /// The folder, if files are shared.
    pub files: Option<FileRoot>,
    /// The threads that connections live on.
    pub threads: PeerThreads,
}

/// How a session is told what the broker relays.
#[derive(Debug, Clone)]
pub enum ToSession {
    /// An offer: the first one, an ICE restart, or another change of the same connection.
    Offer(String),
    /// One more way to reach the peer.
    Candidate(Candidate),
}

/// What a session has for the peer by way of the broker.
#[derive(Debug, Clone)]
pub enum FromSession {
    /// The answer to an offer.
    Answer {
        /// For whom.
        to: PeerId,
        /// The description.
        sdp: String,
    },
    /// An offer that cannot be answered.
    NoAnswer {
        /// Whose.
        to: PeerId,
        /// Why, and what to do.
        reason: String,
    },
    /// One more way to reach the worker.
    Candidate {
        /// For whom.
        to: PeerId,
        /// The candidate.
        candidate: Candidate,
    },
    /// The connection is up.
    Connected(PeerId),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whose it was.
    pub peer: PeerId,
    /// Which of the peer's sessions.
    pub number: u64,
    /// In words.
    pub reason: String,
}

/// Everything needed to serve one peer.
pub struct Start {
    /// What all sessions share.
    pub shared: Arc<Shared>,
    /// What the worker is called in the room.
    pub own_id: PeerId,
    /// Who comes, with what rights.
    pub asker: Asker,
    /// Tells this session apart from others of the same peer.
    pub number: u64,
    /// STUN and TURN, as the broker told them.
    pub ice_servers: Vec<IceServer>,
    /// How long to look for candidates before the answer goes out, where not as usual.
    pub gather_wait: Option<Duration>,
    /// To the agent.
    pub out: mpsc::Sender<FromSession>,
    /// Ends it with a goodbye: the worker is stopping.
    pub stop: CancellationToken,
    /// Ends it with a goodbye: the peer has left the room, or its rights are others now.
    pub dismissed: CancellationToken,
    /// Ends it without one: the same peer is back on another connection.
    pub replaced: CancellationToken,
}

/// A session about to run, and the way to reach it.
pub struct Session {
    /// Tells it things.
    pub inbox: mpsc::Sender<ToSession>,
    task: task::Task,
}

impl Session {
    /// Prepares a session; nothing happens before [`run`](Self::run).
    pub fn new(start: Start) -> Self {
        let (inbox, told) = mpsc::channel(INBOX);
        Self { inbox, task: task::Task::new(start, told) }
    }

    /// Serves the peer until it leaves, its connection is lost for good, or the session is
    /// stopped. Whatever the way out: what the peer drove stops, and the connection is closed.
    pub fn run(self) -> impl Future<Output = Ended> + Send + 'static {
        self.task.run()
    }
}

fn peer_config(start: &Start) -> PeerConfig {
    let standard = PeerConfig::default();
    PeerConfig {
        ice_servers: start.ice_servers.clone(),
        video: match start.shared.fanout {
            Some(_) => halyard_client::peer::VideoRole::Send,
            None => halyard_client::peer::VideoRole::None,
        },
        gather_wait: start.gather_wait.unwrap_or(standard.gather_wait),
        threads: Some(start.shared.threads.clone()),
        ..standard
    }
}
