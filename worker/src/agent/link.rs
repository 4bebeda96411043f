//! The link to the broker, and what is on its way there.

use halyard_client::signaling::{SignalEvent, Signaling};
use halyard_protocol::signal::ClientMessage;
use tokio::{sync::mpsc, task::JoinHandle};

use super::Held;

/// Messages for the broker that may wait while it is away. What does not fit is of no use by the
/// time it is back: an answer or a candidate of a connection that was given up.
const QUEUE: usize = 256;

/// A link with its room.
pub(super) struct Link {
    pub(super) held: Held,
    signaling: Signaling,
    events: mpsc::Receiver<SignalEvent>,
    queue: mpsc::Sender<ClientMessage>,
    carrier: JoinHandle<()>,
}

impl Link {
    pub(super) fn new(
        held: Held,
        signaling: Signaling,
        events: mpsc::Receiver<SignalEvent>,
    ) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let sender = signaling.sender();
        let carrier = tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                if let Err(error) = sender.send(message).await {
                    tracing::debug!(%error, "a message for the broker was lost");
                }
            }
        });
        Self { held, signaling, events, queue, carrier }
    }

    /// What happens next; never without a link. `None` when it has ended without a word.
    pub(super) async fn next(link: &mut Option<Self>) -> Option<SignalEvent> {
        match link {
            Some(link) => link.events.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Never waits.
    pub(super) fn send(&self, message: ClientMessage) {
        if self.queue.try_send(message).is_err() {
            tracing::debug!("a message for the broker was lost, too many wait");
        }
    }

    /// Gives up the place in the room, so that the others know at once.
    pub(super) async fn leave(self) {
        self.carrier.abort();
        self.signaling.leave().await;
    }
}
