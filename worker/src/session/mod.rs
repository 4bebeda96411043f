//! One remote peer, from its first offer to goodbye.
//!
//! The [agent](crate::agent) starts a session when a peer offers a connection, hands it what the
//! broker relays, and waits for it to end. What the peer may do was decided by the broker and is
//! told to the session; nothing the peer says changes it.
//!
//! The [`task`] has an arm for each of these parts, and each of them its own surface:
//!
//! * [`hello`] is what a peer is told first.
//! * [`helm`]: the peer drives the machine, and hears how it is; [`gauges`] are what is measured.
//! * [`pictures`]: what it is shown and chooses; [`video`] sends them, [`viewer`] tells them how their
//!   viewer is.
//! * [`sound`] goes in both directions, [`files`] too.
//! * [`questions`] are answered later: commands, and what is asked about jobs.
//! * With existing clients [`existing`](crate::existing) speaks.
//! * [`speaker`] keeps the words for the peer in order and never lets it hold up its session;
//!   [`complaints`] keeps them few.

mod complaints;
mod files;
mod gauges;
pub mod hello;
mod helm;
mod pictures;
mod questions;
mod sound;
pub mod speaker;
mod task;
pub mod video;
mod viewer;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use halyard_client::{
    files::FileRoot,
    peer::{AudioRole, MAX_PLACES, PeerConfig, PeerThreads, VideoRole},
};
use halyard_protocol::{
    channel::Watch,
    ids::PeerId,
    signal::{Candidate, Grant, IceServer},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    existing::Common,
    host::HostHandle,
    jobs::JobsHandle,
    machine::{Asker, MachineHandle},
    media::Tracks,
    record::RecordStatus,
    sound::{Sound, SpeakerHandle},
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
    /// The pictures, by name.
    pub tracks: Tracks,
    /// What is heard of the machine, if anything.
    pub sound: Option<Sound>,
    /// Where an operator's voice is heard, if anywhere.
    pub speaker: Option<SpeakerHandle>,
    /// The folder, if files are shared.
    pub files: Option<FileRoot>,
    /// The jobs, if any may be run.
    pub jobs: Option<JobsHandle>,
    /// The computer.
    pub host: HostHandle,
    /// What existing clients share.
    pub existing: Common,
    /// How the recording goes, if there is one.
    pub recording: Option<watch::Receiver<RecordStatus>>,
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
    /// Other STUN and TURN servers, for its next ICE restart.
    IceServers(Vec<IceServer>),
    /// The pictures that it wants, where it said so beside its offer.
    Choose(Watch),
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

/// Why a peer is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dismissed {
    /// It left the room.
    #[error("you are not in the room any more; join again")]
    NotHere,
    /// The broker gave it other rights.
    #[error("your rights in the room are others now; join again")]
    OtherRights,
    /// Its rights were taken back.
    #[error("access was revoked; ask the room's owner for a new link")]
    Revoked,
    /// The broker could not be asked about its rights for too long.
    #[error(
        "the server could not confirm your rights for {0:?}, which is as long as this worker serves \
         anybody without it; join again when the server is back"
    )]
    Unconfirmed(Duration),
    /// The room is over.
    #[error("the room was closed")]
    RoomClosed,
    /// It said over HTTP that it leaves.
    #[error("you left")]
    Left,
    /// It never connected, and somebody else needs its place.
    #[error("no connection came about while others wait; try again")]
    Displaced,
}

impl Dismissed {
    /// Whether it has no right to anything any more, not even to end what it began.
    pub fn takes_rights(self) -> bool {
        matches!(self, Self::Revoked | Self::Unconfirmed(_) | Self::RoomClosed)
    }
}

/// Sends one peer away, once. Clones send the same one away.
#[derive(Debug, Clone, Default)]
pub struct Dismissal {
    why: Arc<OnceLock<Dismissed>>,
    token: CancellationToken,
}

impl Dismissal {
    /// Sends it away. The first reason counts.
    pub fn dismiss(&self, why: Dismissed) {
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Why, once it was.
    pub fn why(&self) -> Option<Dismissed> {
        self.why.get().copied()
    }

    /// Waits until it is.
    pub async fn dismissed(&self) -> Dismissed {
        self.token.cancelled().await;
        self.why().unwrap_or(Dismissed::NotHere)
    }
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
    /// By what right, where anybody gave any: an older broker tells none, a trusted network has none.
    pub grant: Option<Grant>,
    /// Tells this session apart from others of the same peer.
    pub number: u64,
    /// STUN and TURN, as the broker told them.
    pub ice_servers: Vec<IceServer>,
    /// Only over TURN: for networks where nothing else may be used.
    pub relay_only: bool,
    /// It is shown the picture, and nothing that it says is heard.
    pub watches_only: bool,
    /// How long to look for candidates before the answer goes out, where not as usual.
    pub gather_wait: Option<Duration>,
    /// To the agent.
    pub out: mpsc::Sender<FromSession>,
    /// Ends it with a goodbye: the worker is stopping.
    pub stop: CancellationToken,
    /// Ends it with a goodbye: the peer has left the room, or its rights are others now.
    pub dismissed: Dismissal,
    /// Ends it without one: the same peer is back on another connection.
    pub replaced: CancellationToken,
}

impl Start {
    /// Whether the peer's voice may be heard at the machine.
    fn may_talk(&self) -> bool {
        self.shared.speaker.is_some() && self.asker.access.may_operate()
    }
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
    PeerConfig {
        ice_servers: start.ice_servers.clone(),
        video: match start.shared.tracks.len() {
            0 => VideoRole::None,
            _ => VideoRole::Send,
        },
        audio: AudioRole { sends: start.shared.sound.is_some(), receives: start.may_talk() },
        places: start.shared.tracks.len().clamp(1, MAX_PLACES),
        gather_wait: start.gather_wait.unwrap_or(PeerConfig::default().gather_wait),
        relay_only: start.relay_only,
        threads: Some(start.shared.threads.clone()),
    }
}

/// Waits until then; for ever where there is no such time.
async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
