//! What waits for somebody who may be slow: the newest few.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// A queue that loses its oldest.
pub(super) struct Newest<T> {
    most: usize,
    state: Mutex<State<T>>,
    arrived: Notify,
}

struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
}

impl<T> Newest<T> {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Self {
        let state = State { items: VecDeque::new(), is_closed: false };
        Self { most, state: Mutex::new(state), arrived: Notify::new() }
    }

    /// Takes one in; the oldest makes room for it, and is given back.
    pub(super) fn push(&self, item: T) -> Option<T> {
        let mut state = self.lock();
        let lost = if state.items.len() >= self.most { state.items.pop_front() } else { None };
        state.items.push_back(item);
        drop(state);
        self.arrived.notify_one();
        lost
    }

    /// The oldest that waits; `None` once it is closed and empty. One consumer at a time.
    pub(super) async fn next(&self) -> Option<T> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if let Some(item) = state.items.pop_front() {
                    return Some(item);
                }
                if state.is_closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_make_room_and_the_end_comes_after_what_waits() {
        let queue = Newest::new(3);
        let lost: Vec<_> = (0..5).filter_map(|item| queue.push(item)).collect();
        assert_eq!(lost, [0, 1]);
        queue.close();
        let mut left = Vec::new();
        while let Some(item) = queue.next().await {
            left.push(item);
        }
        assert_eq!(left, [2, 3, 4]);
    }
}
