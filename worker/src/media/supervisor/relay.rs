//! Between a source (or its slate) and the viewers: lets one of them through at a time.
//!
//! A switch happens on a key frame, so that every decoder can follow it, and presentation times go on
//! evenly ([`Timeline`]); of several renditions each switches by itself, and a slate is shown in all of
//! them. What a source says is kept for the supervisor's thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use halyard_protocol::channel::VideoInfo;

use super::timeline::Timeline;
use crate::media::{
    frame::EncodedFrame,
    source::{Sink, SourceEvent},
};

/// What was said and not yet heard: a source says a few things in its life, not one per picture.
const SAID: usize = 64;

/// Which of the two a picture comes from; sources are numbered, so that one that was taken down
/// cannot be mistaken for its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Source(u64),
    Slate(u64),
}

/// What the supervisor hears.
#[derive(Debug)]
pub(super) enum Heard {
    /// The source's picture is shown (again).
    Shown(Instant),
    Lost(String),
    Ended(String),
}

/// Whether the supervisor must wake, and how.
#[derive(Default)]
pub(super) struct Wake {
    state: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    pub(super) fn up(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Waits until somebody calls [`up`](Self::up), or until the deadline.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !*state {
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *state = false;
    }
}

pub(super) struct Relay {
    sink: Arc<dyn Sink>,
    wake: Arc<Wake>,
    state: Mutex<State>,
}

struct State {
    /// The source that counts.
    source: u64,
    /// One for each rendition.
    lines: Vec<Line>,
    /// When the source's last picture came.
    last: Option<Instant>,
    info: VideoInfo,
    said: VecDeque<(u64, Heard)>,
}

/// What goes through of one rendition.
struct Line {
    /// The slate that is shown, or is about to be.
    slate: Option<u64>,
    /// Whose pictures go through.
    shown: Origin,
    timeline: Timeline,
}

impl Default for Line {
    fn default() -> Self {
        Self { slate: None, shown: Origin::Source(0), timeline: Timeline::default() }
    }
}

impl Line {
    /// Whether a picture of the source goes through, and whether it is the first one that does.
    fn takes_picture(&mut self, origin: Origin, is_key: bool) -> Option<bool> {
        // Until its first key frame a new source, or one after a slate, shows nothing.
        let follows = self.shown == origin && self.slate.is_none();
        if !follows && !is_key {
            return None;
        }
        self.show(origin);
        self.slate = None;
        Some(!follows)
    }

    /// Whether a picture of this slate goes through.
    fn takes_slate(&mut self, slate: u64, is_key: bool) -> bool {
        let origin = Origin::Slate(slate);
        if self.slate != Some(slate) || self.shown != origin && !is_key {
            return false;
        }
        self.show(origin);
        true
    }

    fn show(&mut self, origin: Origin) {
        if self.shown != origin {
            self.shown = origin;
            self.timeline.switch();
        }
    }
}

impl Relay {
    /// For a source of so many renditions.
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        wake: Arc<Wake>,
        info: VideoInfo,
        renditions: usize,
    ) -> Self {
        let lines = (0..renditions).map(|_| Line::default()).collect();
        let state = State { source: 0, lines, last: None, info, said: VecDeque::new() };
        Self { sink, wake, state: Mutex::new(state) }
    }

    /// The sink for a source or a slate.
    pub(super) fn inlet(self: &Arc<Self>, origin: Origin) -> Arc<dyn Sink> {
        Arc::new(Inlet { relay: self.clone(), origin })
    }

    /// Another source counts from now on; nothing of the one before goes through.
    pub(super) fn expect(&self, source: u64) {
        let mut state = self.lock();
        state.source = source;
        state.last = None;
        state.said.clear();
    }

    /// The slate goes through from its first key frame on, until the source's next one.
    pub(super) fn show_slate(&self, slate: u64) {
        for line in &mut self.lock().lines {
            line.slate = Some(slate);
        }
    }

    /// What the source said, and when its last picture came.
    pub(super) fn hear(&self) -> (Vec<Heard>, Option<Instant>) {
        let mut state = self.lock();
        let source = state.source;
        let said = std::mem::take(&mut state.said);
        let heard = said.into_iter().filter(|(from, _)| *from == source).map(|(_, heard)| heard);
        (heard.collect(), state.last)
    }

    pub(super) fn info(&self) -> VideoInfo {
        self.lock().info.clone()
    }

    /// Something of the supervisor's own.
    pub(super) fn tell(&self, event: SourceEvent) {
        self.sink.event(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame(&self, origin: Origin, mut frame: EncodedFrame, now: Instant) {
        let mut state = self.lock();
        match origin {
            Origin::Source(source) if source == state.source => {
                state.last = Some(now);
                let Some(line) = state.lines.get_mut(frame.rendition) else { return };
                let Some(is_first) = line.takes_picture(origin, frame.is_key) else { return };
                frame.rtp_time = line.timeline.map(frame.rtp_time, now);
                if is_first || frame.is_key {
                    state.said.push_back((source, Heard::Shown(now)));
                    if state.said.len() > SAID {
                        state.said.pop_front();
                    }
                    self.wake.up();
                }
                // Under the lock, so that viewers get pictures in this order.
                self.sink.frame(frame);
            }
            Origin::Slate(slate) => {
                for (rendition, line) in state.lines.iter_mut().enumerate() {
                    if line.takes_slate(slate, frame.is_key) {
                        let rtp_time = line.timeline.map(frame.rtp_time, now);
                        self.sink.frame(EncodedFrame { rendition, rtp_time, ..frame.clone() });
                    }
                }
            }
            Origin::Source(_) => {}
        }
    }

    fn event(&self, origin: Origin, event: SourceEvent) {
        // A slate without its encoder can only be logged; the source's trouble is told already.
        let Origin::Source(source) = origin else {
            if let SourceEvent::Lost { reason } | SourceEvent::Ended { reason } = event {
                tracing::warn!(reason, "the slate");
            }
            return;
        };
        let mut state = self.lock();
        if source != state.source {
            return;
        }
        let heard = match event {
            SourceEvent::Lost { reason } => Heard::Lost(reason),
            SourceEvent::Ended { reason } => Heard::Ended(reason),
            // Said once its picture is shown.
            SourceEvent::Back => return,
            SourceEvent::Info(info) => {
                state.info = info.clone();
                drop(state);
                return self.sink.event(SourceEvent::Info(info));
            }
            SourceEvent::Unfit { .. } | SourceEvent::Keyframes { .. } => {
                drop(state);
                return self.sink.event(event);
            }
        };
        state.said.push_back((source, heard));
        if state.said.len() > SAID {
            state.said.pop_front();
        }
        drop(state);
        self.wake.up();
    }
}

struct Inlet {
    relay: Arc<Relay>,
    origin: Origin,
}

impl Sink for Inlet {
    fn frame(&self, frame: EncodedFrame) {
        self.relay.frame(self.origin, frame, Instant::now());
    }

    fn event(&self, event: SourceEvent) {
        self.relay.event(self.origin, event);
    }
}
