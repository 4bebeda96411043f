//! The agent owns everything a worker does for others: its room, its link to the broker, one
//! session per remote peer.
//!
//! It waits for nobody. Sessions put what they have for the broker into its queue; it puts what
//! the broker relays into theirs, and drops it where a session does not keep up. While the broker
//! is away sessions go on, and new peers come when it is back.
//!
//! * [`Plan`] gets into a room: a given one, a remembered one, or a new one.
//! * [`Roster`] is who is here with what rights, as the broker says.
//! * [`Leases`] bounds how long each of them is served without the broker confirming that.
//! * [`Offers`] bounds how many offers are looked at; [`Fingerprint`] tells a change of a
//!   connection from a new one.
//! * [`DirectAsk`] is a peer that comes without a broker.
//!
//! `tenure` keeps the room, and `running` is the loop that everything comes through.

mod direct;
mod fingerprint;
mod leases;
mod link;
mod offers;
mod places;
mod room;
mod roster;
mod running;
mod sessions;
mod tenure;
mod wait;

use std::{sync::Arc, time::Duration};

use halyard_client::signaling::SignalError;
use halyard_protocol::signal::Metadata;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use direct::{DirectAnswer, DirectAsk, DirectRefused, WEBRTC_OFF, Watched};
pub use fingerprint::Fingerprint;
pub use leases::{Leases, Question};
pub use offers::Offers;
pub use room::{Entered, Held, Plan, RoomError};
pub use roster::{Change, Roster};

use self::running::Running;
use crate::{report::Reports, session::Shared};

/// Everything is closed by then, or cut off.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a worker ends without being told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It never got into its room.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// What drives the machine failed; the machine was stopped. The log says why.
    #[error("the machine's own task failed; the machine was stopped, see the log")]
    Machine,
    /// Its place in the room is gone for good.
    #[error("the room is lost: {0}")]
    Lost(SignalError),
}

/// What an agent needs.
pub struct Agent {
    /// Which room.
    pub plan: Plan,
    /// What its sessions share.
    pub shared: Arc<Shared>,
    /// What others may find this worker by, as it changes. [`Plan::metadata`] is what is told at
    /// the door.
    pub presence: watch::Receiver<Metadata>,
    /// Peers served at a time.
    pub max_sessions: usize,
    /// How long a peer is served without the broker confirming its rights.
    pub rights_lease: Duration,
    /// Connections over TURN alone.
    pub relay_only: bool,
    /// Whether anybody is connected at all; every offer is refused otherwise.
    pub webrtc: bool,
    /// Peers that come without a broker.
    pub direct: Option<mpsc::Receiver<DirectAsk>>,
    /// What the owner is told.
    pub reports: Reports,
}

impl Agent {
    /// Gets into the room and serves until `stop` fires, then says goodbye to everybody within
    /// [`STOP_WITHIN`]. `entered` is told about every room, the first one first.
    pub async fn run(
        self,
        stop: CancellationToken,
        entered: impl FnMut(&Held) + Send,
    ) -> Result<(), AgentError> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            first = Box::pin(self.plan.enter()) => first?,
        };
        let mut running = Running::new(self, first, entered);
        let result = running.serve(&stop).await;
        running.goodbye().await;
        result
    }
}
