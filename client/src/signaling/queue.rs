//! Events on their way to somebody who may be slow, and messages on their way out.

use std::collections::VecDeque;

use halyard_protocol::{limits::MAX_SIGNAL_BYTES, signal::ClientMessage};
use tokio::sync::mpsc;

use super::{SignalError, SignalEvent};

/// Events that wait beside the channel. When it is full, the socket is not read any more, but
/// messages still go out: so whoever sends while not looking at events never waits in a ring.
const WAITING: usize = 64;

/// Events in order, given to a bounded channel when it has room.
pub(super) struct EventQueue {
    channel: mpsc::Sender<SignalEvent>,
    waiting: VecDeque<SignalEvent>,
}

/// Nobody looks at the events any more.
pub(super) struct NobodyListens;

impl EventQueue {
    pub(super) fn new(channel: mpsc::Sender<SignalEvent>) -> Self {
        Self { channel, waiting: VecDeque::new() }
    }

    /// Whether there is room for more of what can be held back.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < WAITING
    }

    /// Puts an event in line. News of a lost link replace older ones, so the line stays short
    /// however long the link is down.
    pub(super) fn push(&mut self, event: SignalEvent) {
        if matches!(event, SignalEvent::Lost { .. })
            && matches!(self.waiting.back(), Some(SignalEvent::Lost { .. }))
        {
            self.waiting.pop_back();
        }
        self.waiting.push_back(event);
    }

    /// Gives one event away; waits for ever when there is none. Cancel-safe.
    pub(super) async fn deliver_one(&mut self) -> Result<(), NobodyListens> {
        if self.waiting.is_empty() {
            self.channel.closed().await;
            return Err(NobodyListens);
        }
        let permit = self.channel.reserve().await.map_err(|_| NobodyListens)?;
        if let Some(event) = self.waiting.pop_front() {
            permit.send(event);
        }
        Ok(())
    }

    /// Gives events away for as long as somebody listens. Cancel-safe.
    pub(super) async fn deliver(&mut self) -> NobodyListens {
        loop {
            if let Err(nobody) = self.deliver_one().await {
                return nobody;
            }
        }
    }

    /// Gives away what is left.
    pub(super) async fn flush(&mut self) {
        while !self.waiting.is_empty() {
            if self.deliver_one().await.is_err() {
                return;
            }
        }
    }
}

/// The frame's text, if the broker takes frames of that size.
pub(super) fn encode(message: &ClientMessage) -> Result<String, SignalError> {
    let text = serde_json::to_string(message)
        .map_err(|error| SignalError::Lost { reason: error.to_string() })?;
    if text.len() > MAX_SIGNAL_BYTES {
        return Err(SignalError::TooBig { bytes: text.len() });
    }
    Ok(text)
}
