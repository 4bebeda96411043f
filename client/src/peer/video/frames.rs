//! Pictures that wait for whoever watches: the newest few.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::VideoFrame;

/// About a second.
const MAX_FRAMES: usize = 32;

pub(in super::super) struct FrameQueue {
    state: Mutex<State>,
    arrived: Notify,
    key_wanted: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<VideoFrame>,
    /// When the newest one was whole.
    newest: Option<Instant>,
    is_closed: bool,
}

impl FrameQueue {
    pub(in super::super) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), key_wanted: Notify::new() }
    }

    /// Takes a picture in; the oldest makes room for it, and the one after that says so.
    pub(super) fn push(&self, frame: VideoFrame) {
        let mut state = self.lock();
        if state.frames.len() >= MAX_FRAMES {
            state.frames.pop_front();
            if let Some(next) = state.frames.front_mut() {
                next.gap_before = true;
            }
        }
        state.newest = Some(frame.received);
        state.frames.push_back(frame);
        drop(state);
        self.arrived.notify_one();
    }

    /// When the newest picture was whole, whether or not anybody came for it.
    pub(in super::super) fn newest(&self) -> Option<Instant> {
        self.lock().newest
    }

    pub(in super::super) async fn next(&self) -> Option<VideoFrame> {
        loop {
            let arrived = self.arrived.notified();
            {
                let mut state = self.lock();
                if let Some(frame) = state.frames.pop_front() {
                    return Some(frame);
                }
                if state.is_closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Asks for a key frame.
    pub(in super::super) fn want_key(&self) {
        self.key_wanted.notify_one();
    }

    /// Until somebody asks for a key frame.
    pub(super) async fn wanted_key(&self) {
        self.key_wanted.notified().await;
    }

    pub(in super::super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rtp_time: u32) -> VideoFrame {
        VideoFrame {
            data: bytes::Bytes::new(),
            rtp_time,
            is_key: false,
            received: Instant::now(),
            gap_before: false,
        }
    }

    #[tokio::test]
    async fn the_oldest_are_dropped_and_the_gap_is_told() {
        let queue = FrameQueue::new();
        for time in 0..40 {
            queue.push(frame(time));
        }
        queue.close();
        let first = queue.next().await.unwrap();
        assert_eq!((first.rtp_time, first.gap_before), (8, true));
        let second = queue.next().await.unwrap();
        assert_eq!((second.rtp_time, second.gap_before), (9, false));
        for _ in 10..40 {
            queue.next().await.unwrap();
        }
        assert!(queue.next().await.is_none());
    }
}
