//! One encode for any number of viewers, none of whom can slow another.
//!
//! Every viewer has a short queue of his own ([`queue`]). Who does not empty it in time loses it
//! and goes on at the next key frame; the source, and everybody else, never wait. The source works
//! only while somebody watches.
//!
//! A newcomer starts on a key frame. Where the source encodes, he asks for one. Where it passes on
//! what another program encodes, nobody can be asked: the fan-out keeps the pictures since the last
//! key frame ([`gop`]) and hands them over quickly, so that his decoder catches up.

pub mod gop;
pub mod queue;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use halyard_protocol::channel::VideoInfo;
use tokio::{
    sync::{Notify, broadcast},
    time::MissedTickBehavior,
};

use self::{gop::GopCache, queue::Queue};
use super::{
    encoder::DEFAULT_BITRATE,
    follow::{self, Aim, Follow, Reading},
    frame::EncodedFrame,
    keyframes::KeyframeReason,
    source::{Sink, Source, SourceError, SourceEvent, SourceStats},
};

/// Kept pictures are handed to a newcomer at no more than this many bytes a second: 40 Mbit/s, some
/// sixteen times the rate of the stream, and slow enough for the receive buffer of a browser.
const CATCH_UP_BYTES_PER_SECOND: f64 = 5_000_000.0;

/// Events kept for a listener who is late; he is told how many he missed.
const EVENTS: usize = 16;

/// A running source and everybody who watches it. Cloning gives another handle; the source stops
/// when the last one is gone, viewers' included.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    source: Arc<dyn Source>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.source.stop();
        }
    }
}

/// What went through a fan-out since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FanoutStats {
    /// Viewers now.
    pub viewers: usize,
    /// Pictures that came from the source.
    pub frames: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Bytes that came from the source.
    pub bytes: u64,
    /// Pictures that a viewer lost because he was slow, added up over all viewers.
    pub dropped: u64,
    /// What the source says of itself.
    pub source: SourceStats,
}

impl Fanout {
    /// Starts the source; it rests until somebody [subscribes](Self::subscribe). Must be called
    /// inside a Tokio runtime.
    pub fn start(mut source: Box<dyn Source>) -> Result<Self, SourceError> {
        let gop = (!source.makes_keyframes()).then(GopCache::default);
        let hub = Arc::new(Hub::new(gop));
        source.start(hub.clone())?;
        let inner = Arc::new(Inner { hub, source: Arc::from(source) });
        tokio::spawn(follow_viewers(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// What is known of the picture now.
    pub fn info(&self) -> VideoInfo {
        self.inner.source.info()
    }

    /// What happens to the source from now on.
    pub fn events(&self) -> broadcast::Receiver<SourceEvent> {
        self.inner.hub.events.subscribe()
    }

    /// Why there is no picture at the moment, for people; nothing while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.inner.hub.lock().trouble.clone()
    }

    /// One more viewer. He stops watching when the subscription is dropped.
    pub fn subscribe(&self) -> Subscription {
        let viewer = self.inner.hub.join(&*self.inner.source);
        if self.inner.source.makes_keyframes() {
            self.inner.source.request_keyframe(KeyframeReason::NewViewer);
        }
        Subscription { fanout: self.clone(), viewer, not_before: None }
    }

    /// Aims at no more than so many bits a second from now on, and at less where those who watch
    /// cannot be sent as much.
    pub fn set_bitrate(&self, bps: u32) {
        self.inner.hub.lock().follow.set_most(bps);
        self.inner.follow();
    }

    /// What the source is told to aim at now.
    pub fn aim(&self) -> Option<Aim> {
        self.inner.hub.lock().follow.told()
    }

    /// What went through so far.
    pub fn stats(&self) -> FanoutStats {
        let state = self.inner.hub.lock();
        let waiting: u64 = state.viewers.iter().map(|viewer| viewer.lock().dropped()).sum();
        let mut stats = state.stats;
        stats.viewers = state.viewers.len();
        stats.dropped += waiting;
        stats.source = self.inner.source.stats();
        stats
    }

    /// Stops the source, waits until it has stopped, and ends every subscription.
    pub async fn stop(&self) {
        let source = self.inner.source.clone();
        // Joining its threads takes up to a picture's time, too long for a runtime's thread.
        let stopped = tokio::task::spawn_blocking(move || source.stop()).await;
        if let Err(error) = stopped
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        self.inner.hub.close();
    }
}

/// Until the fan-out is gone.
async fn follow_viewers(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(follow::EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.follow();
    }
}

impl Inner {
    /// Looks at the viewers, and tells the source what to aim at where that has changed.
    fn follow(&self) {
        // Not under the lock: the source may be about to give a picture.
        let info = self.source.info();
        let mut state = self.hub.lock();
        let before = state.follow.told();
        if state.viewers.is_empty() {
            state.follow.reset();
        }
        let readings: Vec<_> =
            state.viewers.iter().filter_map(|viewer| *viewer.reading()).collect();
        state.follow.set_pixels(u64::from(info.width) * u64::from(info.height));
        let Some(aim) = state.follow.decide(Instant::now(), &readings) else { return };
        let viewers = state.viewers.len();
        // Told under the lock, so that the last word is the right one.
        self.source.aim(aim);
        drop(state);
        if before.is_some_and(|before| (before.bitrate, before.shape) != (aim.bitrate, aim.shape)) {
            let Aim { bitrate, shape, .. } = aim;
            let size = format!("{}/16", shape.sixteenths);
            tracing::info!(
                video = %info.name, bitrate, size, one_picture_in = shape.every, viewers,
                "the picture follows the network"
            );
        }
    }
}

/// One viewer's end of a [`Fanout`].
pub struct Subscription {
    fanout: Fanout,
    viewer: Arc<Viewer>,
    /// While catching up: when the next picture may go.
    not_before: Option<Instant>,
}

impl Subscription {
    /// The next picture; the first is a key frame, and so is the first after a gap. `None` once the
    /// fan-out was stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<EncodedFrame> {
        loop {
            let fresh = self.viewer.fresh.notified();
            let now = Instant::now();
            let taken = self.viewer.lock().take(self.not_before, now);
            match taken {
                queue::Taken::Frame { frame, catching_up } => {
                    self.not_before = catching_up.then(|| {
                        now + Duration::from_secs_f64(
                            frame.data.len() as f64 / CATCH_UP_BYTES_PER_SECOND,
                        )
                    });
                    return Some(frame);
                }
                queue::Taken::Ended => return None,
                queue::Taken::NotBefore(then) => {
                    tokio::time::sleep_until(then.into()).await;
                    continue; // Whatever was pushed meanwhile waits behind.
                }
                queue::Taken::Empty { wants_keyframe } => {
                    if wants_keyframe {
                        // Asked now and not when it was lost: a viewer who is stuck causes nothing.
                        self.request_keyframe();
                    }
                }
            }
            fresh.await;
        }
    }

    /// The viewer's decoder asks for a key frame (PLI or FIR). Pictures go on until it comes.
    pub fn request_keyframe(&self) {
        self.fanout.inner.source.request_keyframe(KeyframeReason::Loss);
    }

    /// A picture could not be sent on: nothing more comes before the next key frame, which is asked
    /// for.
    pub fn skip_to_keyframe(&self) {
        self.viewer.lock().lose();
        self.request_keyframe();
    }

    /// How this viewer is, for the source to follow. Who never says it is not followed.
    pub fn report(&self, reading: Reading) {
        *self.viewer.reading() = Some(reading);
    }

    /// What the source is told to aim at now.
    pub fn aim(&self) -> Option<Aim> {
        self.fanout.aim()
    }

    /// What is known of the picture now.
    pub fn info(&self) -> VideoInfo {
        self.fanout.info()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.fanout.inner.hub.leave(&self.viewer, &*self.fanout.inner.source);
    }
}

/// What the source sees.
struct Hub {
    state: Mutex<State>,
    events: broadcast::Sender<SourceEvent>,
}

struct State {
    viewers: Vec<Arc<Viewer>>,
    /// The pictures since the last key frame, kept only where none can be asked for.
    gop: Option<GopCache>,
    stats: FanoutStats,
    trouble: Option<String>,
    follow: Follow,
    closed: bool,
}

struct Viewer {
    queue: Mutex<Queue>,
    fresh: Notify,
    reading: Mutex<Option<Reading>>,
}

impl Viewer {
    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn new(gop: Option<GopCache>) -> Self {
        let state = State {
            viewers: Vec::new(),
            gop,
            stats: FanoutStats::default(),
            trouble: None,
            follow: Follow::new(DEFAULT_BITRATE, 0),
            closed: false,
        };
        Self { state: Mutex::new(state), events: broadcast::Sender::new(EVENTS) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, source: &dyn Source) -> Arc<Viewer> {
        let mut state = self.lock();
        let mut queue = match &state.gop {
            Some(gop) => Queue::catching_up(gop.frames()),
            None => Queue::waiting(),
        };
        if state.closed {
            queue.end();
        }
        let viewer = Arc::new(Viewer {
            queue: Mutex::new(queue),
            fresh: Notify::new(),
            reading: Mutex::default(),
        });
        state.viewers.push(viewer.clone());
        // Told under the lock, so that the last word is the right one when others come and go.
        source.set_watched(true);
        viewer
    }

    fn leave(&self, viewer: &Arc<Viewer>, source: &dyn Source) {
        let mut state = self.lock();
        state.viewers.retain(|other| !Arc::ptr_eq(other, viewer));
        state.stats.dropped += viewer.lock().dropped();
        if state.viewers.is_empty() {
            source.set_watched(false);
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for viewer in &state.viewers {
            viewer.lock().end();
            viewer.fresh.notify_one();
        }
    }
}

impl Sink for Hub {
    fn frame(&self, frame: EncodedFrame) {
        let mut state = self.lock();
        state.stats.frames += 1;
        state.stats.key_frames += u64::from(frame.is_key);
        state.stats.bytes += frame.data.len() as u64;
        for viewer in &state.viewers {
            viewer.lock().push(frame.clone());
            viewer.fresh.notify_one();
        }
        if let Some(gop) = &mut state.gop {
            gop.push(frame);
        }
    }

    fn event(&self, event: SourceEvent) {
        match &event {
            SourceEvent::Lost { reason } | SourceEvent::Ended { reason } => {
                self.lock().trouble = Some(reason.clone());
            }
            SourceEvent::Back => self.lock().trouble = None,
            SourceEvent::Keyframes { on_request } => {
                let mut state = self.lock();
                if *on_request {
                    state.gop = None;
                } else {
                    state.gop.get_or_insert_default();
                }
            }
            SourceEvent::Info(_) | SourceEvent::Unfit { .. } => {}
        }
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

#[cfg(test)]
mod tests;
