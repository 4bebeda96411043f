//! The WebSocket to the broker, as one owned task.
//!
//! [`Signaling::connect`] dials and registers; from then on the task answers pings, notices a socket
//! that died silently, dials again with jittered backoff, and takes up its old place in the room
//! where the broker still keeps it. What it cannot mend by trying again (a wrong token, a room that
//! is over) ends it with an error that says so.
//!
//! * [`SignalConfig`] is what to connect to, and as whom; [`Timing`] how patiently.
//! * [`SignalEvent`] is everything that happens.
//! * [`Backoff`] is the waiting between two tries, as pure logic.
//! * [`SignalError`] is what can go wrong.

mod address;
mod backoff;
mod config;
mod dial;
mod error;
mod queue;
mod register;
mod task;

use std::time::Duration;

use halyard_protocol::signal::{ClientMessage, Registered, ServerMessage};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use backoff::{Backoff, BackoffPolicy};
pub use config::{SignalConfig, Timing};
pub use error::SignalError;

use crate::api::Identity;

/// Outgoing messages that wait while the socket is away. A join is an offer and some twenty
/// candidates, so this is several joins; it is what the broker keeps in the other direction.
const OUTGOING: usize = halyard_protocol::limits::MAX_RESUME_MESSAGES;

/// Events that wait in the channel for somebody to look at them.
const EVENTS: usize = 64;

/// How long a sender waits for room in a full queue before it hears that it is full.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Something happened on the link.
#[derive(Debug)]
pub enum SignalEvent {
    /// The broker, or a peer through it, said something. Pings are answered and not shown.
    Message(ServerMessage),
    /// A new socket is registered. Its `resumed` says whether the old place was still there; if
    /// not, the peers listed are all there are, and `peer_id` may be another than before.
    Reconnected(Box<Registered>),
    /// Who we are was proved anew: keep it where the old proof was kept. With the same user name
    /// until the old proof had run out or the broker did not know it any more; then it comes before
    /// the registration by the new name, and what the old one owned is owned by nobody who can
    /// come back.
    Identity(Identity),
    /// The socket is gone, or one more try failed. The task goes on by itself.
    Lost {
        /// For people.
        reason: String,
        /// When it tries next.
        retry_in: Duration,
    },
    /// The link ended for good; nothing comes after this.
    Ended(SignalError),
}

/// The link to a broker. Dropping it closes the socket without a goodbye: the broker keeps the
/// place for a while. [`leave`](Self::leave) gives it up at once.
#[derive(Debug)]
pub struct Signaling {
    sender: SignalSender,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// Sends on a link from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignalSender {
    outgoing: mpsc::Sender<ClientMessage>,
}

impl Signaling {
    /// Dials and registers once. Afterwards the link keeps itself up until it is left or refused.
    pub async fn connect(
        config: SignalConfig,
    ) -> Result<(Self, Registered, mpsc::Receiver<SignalEvent>), SignalError> {
        let mut dialer = dial::Dialer::new(config)?;
        // TLS and HTTP make this future large, and it is needed once.
        let connected = Box::pin(dialer.connect()).await?;
        let registered = connected.registered.clone();
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let (events, happened) = mpsc::channel(EVENTS);
        let stop = CancellationToken::new();
        let task = task::Link::new(dialer, to_send, events, stop.clone());
        let task = tokio::spawn(task.run(connected));
        let sender = SignalSender { outgoing };
        Ok((Self { sender, stop, task: Some(task) }, registered, happened))
    }

    /// Sends, or queues while the socket is away.
    pub async fn send(&self, message: ClientMessage) -> Result<(), SignalError> {
        self.sender.send(message).await
    }

    /// A handle that can be given away.
    pub fn sender(&self) -> SignalSender {
        self.sender.clone()
    }

    /// Says goodbye, so that the others know at once, and waits until the socket is closed.
    pub async fn leave(mut self) {
        self.stop.cancel();
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(GOODBYE * 2, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for Signaling {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl SignalSender {
    /// Sends, or queues while the socket is away. Fails when the queue stays full, and when the
    /// link has ended.
    pub async fn send(&self, message: ClientMessage) -> Result<(), SignalError> {
        match self.outgoing.send_timeout(message, SEND_PATIENCE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(SignalError::QueueFull),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(SignalError::Ended),
        }
    }
}
