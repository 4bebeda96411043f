//! File bytes that came in and wait for their consumer.
//!
//! The queue holds at most one window. The other end is told how far it may send, counted from the
//! opening of the lane, and told anew whenever the consumer has taken a quarter of the window. So
//! a consumer that stops, stops the sender at its source, and nothing else waits.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// Bytes that may be on their way to a consumer. At a round trip of 100 ms it allows 160 MB/s.
pub(super) const WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Messages in the queue. Full chunks fill the window long before; empty or tiny messages, which
/// cost more than their bytes, end here.
const MAX_MESSAGES: usize = 16 * 1024;

pub(super) struct BulkInbox {
    state: Mutex<State>,
    arrived: Notify,
    taken: Notify,
    /// How far the other end may send, in bytes since the lane opened.
    allowed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// In the queue.
    bytes: u64,
    /// Handed to the consumer since the lane opened.
    taken: u64,
    is_closed: bool,
}

impl BulkInbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            taken: Notify::new(),
            allowed: watch::channel(WINDOW_BYTES).0,
        }
    }

    /// What the other end should be told, whenever it changes.
    pub(super) fn allowed(&self) -> watch::Receiver<u64> {
        self.allowed.subscribe()
    }

    /// Takes a message in. Waits only for a sender that goes beyond what it was told, or does not
    /// know about it: then the library's own queues fill, and it is slowed down by them.
    pub(super) async fn push(&self, message: Bytes) {
        let mut message = Some(message);
        loop {
            let taken = self.taken.notified();
            {
                let mut state = self.lock();
                if state.is_closed {
                    return;
                }
                if state.bytes < WINDOW_BYTES
                    && state.queue.len() < MAX_MESSAGES
                    && let Some(message) = message.take()
                {
                    state.bytes += message.len() as u64;
                    state.queue.push_back(message);
                    self.arrived.notify_one();
                    return;
                }
            }
            taken.await;
        }
    }

    /// The next message; `None` when there will be no more.
    pub(super) async fn pop(&self) -> Option<Bytes> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if let Some(message) = state.queue.pop_front() {
                    let len = message.len() as u64;
                    state.bytes -= len;
                    state.taken += len;
                    self.taken.notify_one();
                    self.allow(state.taken + WINDOW_BYTES);
                    return Some(message);
                }
                if state.is_closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    fn allow(&self, bytes: u64) {
        self.allowed.send_if_modified(|allowed| {
            let is_worth_saying = bytes - *allowed >= WINDOW_BYTES / 4;
            if is_worth_saying {
                *allowed = bytes;
            }
            is_worth_saying
        });
    }

    /// Nothing more will come in; what is queued may still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
        self.taken.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures_util::FutureExt;
    use tokio::time::timeout;

    use super::*;

    const MESSAGE: usize = 64 * 1024;
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_full_window_waits_for_the_consumer() {
        let inbox = Arc::new(BulkInbox::new());
        let message = Bytes::from(vec![7; MESSAGE]);
        for _ in 0..WINDOW_BYTES as usize / MESSAGE {
            inbox.push(message.clone()).now_or_never().expect("there is room");
        }
        assert!(inbox.push(message.clone()).now_or_never().is_none());

        let pushing = tokio::spawn({
            let (inbox, message) = (Arc::clone(&inbox), message.clone());
            async move { inbox.push(message).await }
        });
        assert_eq!(inbox.pop().await, Some(message));
        timeout(SECOND, pushing).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_empty_messages_waits_for_the_consumer() {
        let inbox = BulkInbox::new();
        let queued = (0..2 * MAX_MESSAGES)
            .take_while(|_| inbox.push(Bytes::new()).now_or_never().is_some())
            .count();
        assert_eq!(queued, MAX_MESSAGES);
        inbox.pop().await;
        inbox.push(Bytes::new()).now_or_never().expect("there is room again");
    }

    #[tokio::test]
    async fn the_sender_hears_of_a_quarter_of_the_window_at_a_time() {
        let inbox = BulkInbox::new();
        let mut allowed = inbox.allowed();
        let message = Bytes::from(vec![7; MESSAGE]);
        let quarter = WINDOW_BYTES as usize / 4 / MESSAGE;
        for taken in 1..=quarter {
            inbox.push(message.clone()).await;
            inbox.pop().await;
            assert_eq!(allowed.has_changed().unwrap(), taken == quarter, "{taken}");
        }
        assert_eq!(*allowed.borrow_and_update(), WINDOW_BYTES + WINDOW_BYTES / 4);
    }

    #[tokio::test]
    async fn what_came_in_before_the_end_is_still_delivered() {
        let inbox = BulkInbox::new();
        inbox.push(Bytes::from_static(b"last")).await;
        inbox.close();
        inbox.push(Bytes::from_static(b"too late")).await;
        assert_eq!(inbox.pop().await, Some(Bytes::from_static(b"last")));
        assert_eq!(inbox.pop().await, None);
        assert_eq!(inbox.pop().await, None);
    }

    #[tokio::test]
    async fn closing_wakes_a_waiting_consumer() {
        let inbox = Arc::new(BulkInbox::new());
        let popping = tokio::spawn({
            let inbox = Arc::clone(&inbox);
            async move { inbox.pop().await }
        });
        tokio::task::yield_now().await;
        inbox.close();
        assert_eq!(timeout(SECOND, popping).await.unwrap().unwrap(), None);
    }
}
