//! The words for one peer, in order.
//!
//! A session must always be free to hear an e-stop, so it never waits for its peer to read. What
//! it says goes into a bounded queue; a task of the session's passes it on. A peer that leaves the
//! queue full is not reading, and is let go.

use std::time::{Duration, Instant};

use halyard_client::peer::Peer;
use halyard_protocol::channel::{Hello, Lane, Message, Notice, Severity};
use tokio::{sync::mpsc, task::JoinHandle};

use super::complaints::{Complaints, OFTEN, RARELY};

/// Words that may wait, beside those in the lane's own queue.
const QUEUE: usize = 256;

/// Says things to one peer on `control`, or on an existing client's one channel.
pub(super) struct Speaker {
    queue: mpsc::Sender<Said>,
    task: JoinHandle<()>,
    has_greeted: bool,
    complaints: Complaints,
}

enum Said {
    Control(Box<Message>),
    Legacy(String),
}

/// The peer does not read what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not read what it is told")]
pub(super) struct NotReading;

impl Speaker {
    pub(super) fn new(peer: Peer) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            while let Some(said) = waiting.recv().await {
                let sent = match said {
                    Said::Control(message) => peer.send(Lane::Control, &message).await,
                    Said::Legacy(text) => peer.send_legacy_text(text).await,
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, "a message was not sent");
                }
            }
        });
        Self { queue, task, has_greeted: false, complaints: Complaints::default() }
    }

    /// Says it on `control`.
    pub(super) fn say(&self, message: Message) -> Result<(), NotReading> {
        self.queue.try_send(Said::Control(Box::new(message))).map_err(|_| NotReading)
    }

    /// Greets. What is [told](Self::tell) reaches the peer from now on.
    pub(super) fn greet(&mut self, hello: Hello) -> Result<(), NotReading> {
        self.say(Message::Hello(Box::new(hello)))?;
        self.has_greeted = true;
        Ok(())
    }

    /// Whether the peer was greeted.
    pub(super) fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    /// Says it on `control` to who was greeted. Others hear how things stand when they are.
    pub(super) fn tell(&self, message: Message) -> Result<(), NotReading> {
        if self.has_greeted { self.say(message) } else { Ok(()) }
    }

    /// Says that something cannot be done, with what to do. The same code at most once a second.
    pub(super) fn complain(
        &mut self,
        code: &'static str,
        message: String,
    ) -> Result<(), NotReading> {
        self.complain_at_most(OFTEN, code, message)
    }

    /// What does not change by itself is said rarely.
    pub(super) fn complain_rarely(
        &mut self,
        code: &'static str,
        message: String,
    ) -> Result<(), NotReading> {
        self.complain_at_most(RARELY, code, message)
    }

    fn complain_at_most(
        &mut self,
        spacing: Duration,
        code: &'static str,
        message: String,
    ) -> Result<(), NotReading> {
        if !self.complaints.is_due(code, spacing, Instant::now()) {
            return Ok(());
        }
        self.say(Message::Notice(Notice::new(Severity::Warning, code, message)))
    }

    /// Says it on an existing client's channel.
    pub(super) fn say_legacy(&self, text: String) -> Result<(), NotReading> {
        self.queue.try_send(Said::Legacy(text)).map_err(|_| NotReading)
    }

    /// Waits until everything was handed to the lane, for at most this long.
    /// Nothing can be said afterwards.
    pub(super) async fn finish(&mut self, within: Duration) {
        let (unused, _) = mpsc::channel(1);
        self.queue = unused;
        let _ = tokio::time::timeout(within, &mut self.task).await;
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
