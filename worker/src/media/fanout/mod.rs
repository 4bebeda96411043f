//! One encode for any number of viewers, none of whom can slow another.
//!
//! Every viewer has a short queue of his own ([`queue`]). Who does not empty it in time loses it
//! and goes on at the next key frame; the source, and everybody else, never wait. The source works
//! only while somebody watches.
//!
//! Of a picture in several [renditions](super::rendition) each viewer is sent the one that
//! [`choice`] says; each rendition follows those who are sent it.
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
    follow::{
        self, Aim, Follow, Reading,
        choice::{self, Choice},
    },
    frame::EncodedFrame,
    keyframes::KeyframeReason,
    rendition::{Rendition, Renditions},
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
    pub fn start(source: Box<dyn Source>) -> Result<Self, SourceError> {
        Self::start_in(source, Renditions::plain(DEFAULT_BITRATE))
    }

    /// The same with a source that gives these renditions.
    pub fn start_in(
        mut source: Box<dyn Source>,
        renditions: Renditions,
    ) -> Result<Self, SourceError> {
        let gop = (!source.makes_keyframes()).then(GopCache::default);
        let hub = Arc::new(Hub::new(gop, renditions));
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
            self.inner.source.request_keyframe(0, KeyframeReason::NewViewer);
        }
        Subscription { fanout: self.clone(), viewer, not_before: None }
    }

    /// Aims at no more than so many bits a second from now on, and at less where those who watch
    /// cannot be sent as much. Of several renditions that is the best.
    pub fn set_bitrate(&self, bps: u32) {
        self.inner.hub.lock().rungs[0].follow.set_most(bps);
        self.inner.follow();
    }

    /// In which renditions the picture is to be had.
    pub fn renditions(&self) -> &Renditions {
        &self.inner.hub.renditions
    }

    /// What the source is told to aim at now in one of them.
    pub fn aim(&self, rendition: usize) -> Option<Aim> {
        self.inner.hub.lock().rungs.get(rendition)?.follow.told()
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
    /// Looks at the viewers: who is sent which rendition, and what the source is to aim at in each of
    /// them, where that has changed.
    fn follow(&self) {
        // Not under the lock: the source may be about to give a picture.
        let info = self.source.info();
        let now = Instant::now();
        let mut state = self.hub.lock();
        let (chosen, begins) = state.choose(now);
        state.tell_watched(&*self.source);
        let size = (info.width, info.height);
        let mut changed = Vec::new();
        for (number, rendition) in self.hub.renditions.iter().enumerate() {
            let readings = Chosen::readings(&chosen, number);
            let rung = &mut state.rungs[number];
            if !rung.is_watched {
                rung.follow.reset();
            }
            let (width, height) = if info.width == 0 { size } else { rendition.size(size) };
            rung.follow.set_pixels(u64::from(width) * u64::from(height));
            let before = rung.follow.told();
            let Some(aim) = rung.follow.decide(now, &readings) else { continue };
            // Told under the lock, so that the last word is the right one.
            self.source.aim(number, aim);
            if before
                .is_some_and(|before| (before.bitrate, before.shape) != (aim.bitrate, aim.shape))
            {
                changed.push((rendition, aim));
            }
        }
        let viewers = state.viewers.len();
        drop(state);
        for number in begins {
            self.source.request_keyframe(number, KeyframeReason::NewViewer);
        }
        for (rendition, Aim { bitrate, shape, .. }) in changed {
            let size = format!("{}/16", shape.sixteenths);
            let rendition = rendition.name();
            tracing::info!(
                video = %info.name, rendition, bitrate, size, one_picture_in = shape.every, viewers,
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
        let rendition = self.viewer.lock().wanted();
        self.fanout.inner.source.request_keyframe(rendition, KeyframeReason::Loss);
    }

    /// A picture could not be sent on: nothing more comes before the next key frame, which is asked
    /// for.
    pub fn skip_to_keyframe(&self) {
        self.viewer.lock().lose();
        // A path that became narrow is not sent a key frame for the one that it was.
        self.fanout.inner.follow();
        self.request_keyframe();
    }

    /// How this viewer is, for the source to follow. Who never says it is not followed.
    pub fn report(&self, reading: Reading) {
        *self.viewer.reading() = Some(reading);
    }

    /// The rendition that this viewer is to be sent, counted from the best.
    pub fn rendition(&self) -> usize {
        self.viewer.lock().wanted()
    }

    /// Whether there is none for a slower path.
    pub fn is_lowest(&self) -> bool {
        self.rendition() + 1 == self.fanout.renditions().len()
    }

    /// What the source is told to aim at now in this viewer's rendition.
    pub fn aim(&self) -> Option<Aim> {
        self.fanout.aim(self.rendition())
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
    renditions: Renditions,
    state: Mutex<State>,
    events: broadcast::Sender<SourceEvent>,
}

struct State {
    viewers: Vec<Arc<Viewer>>,
    /// The pictures since the last key frame, kept only where none can be asked for.
    gop: Option<GopCache>,
    stats: FanoutStats,
    trouble: Option<String>,
    /// One for each rendition.
    rungs: Vec<Rung>,
    closed: bool,
}

/// One rendition.
struct Rung {
    /// The most bits a second that it ever has.
    ceiling: u32,
    follow: Follow,
    /// What the source was told.
    is_watched: bool,
}

struct Viewer {
    queue: Mutex<Queue>,
    fresh: Notify,
    reading: Mutex<Option<Reading>>,
    choice: Mutex<Choice>,
}

/// Somebody, and the rendition that is chosen.
struct Chosen {
    rendition: usize,
    is_settled: bool,
    reading: Reading,
}

impl Chosen {
    /// How those are for whom this rendition is chosen: those who are to stay with it, where there are any.
    fn readings(all: &[Self], rendition: usize) -> Vec<Reading> {
        let here = || all.iter().filter(|one| one.rendition == rendition);
        let is_for_some = here().any(|one| one.is_settled);
        let deciding = here().filter(|one| one.is_settled || !is_for_some);
        deciding.map(|one| one.reading).collect()
    }
}

impl State {
    /// Chooses a rendition for everybody of whom something is known. Gives how they are, and the renditions
    /// that somebody is to begin with.
    fn choose(&self, now: Instant) -> (Vec<Chosen>, Vec<usize>) {
        // Each is looked at once: a report that comes meanwhile counts the next time.
        let known = self.viewers.iter().filter_map(|viewer| Some((viewer, (*viewer.reading())?)));
        let known: Vec<_> = known.collect();
        let readings: Vec<_> = known.iter().map(|(_, reading)| *reading).collect();
        let ceilings: Vec<_> = self.rungs.iter().map(|rung| rung.ceiling).collect();
        let needs = choice::needs(&ceilings, &readings);
        let mut begins = Vec::new();
        let choose = |(viewer, reading): (&Arc<Viewer>, Reading)| {
            let mut choice = viewer.choice();
            let rendition = choice.look(now, &reading, &needs);
            let mut queue = viewer.lock();
            if queue.wanted() != rendition {
                queue.want(rendition);
                begins.push(rendition);
            }
            Chosen { rendition, is_settled: choice.is_settled(), reading }
        };
        let chosen = known.into_iter().map(choose).collect();
        (chosen, begins)
    }

    /// Tells the source which renditions are of use to anybody.
    fn tell_watched(&mut self, source: &dyn Source) {
        for (number, rung) in self.rungs.iter_mut().enumerate() {
            let is_watched = self.viewers.iter().any(|viewer| viewer.lock().takes(number));
            if is_watched != rung.is_watched {
                rung.is_watched = is_watched;
                source.set_watched(number, is_watched);
            }
        }
    }
}

impl Viewer {
    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn new(gop: Option<GopCache>, renditions: Renditions) -> Self {
        let rung = |rendition: Rendition| Rung {
            ceiling: rendition.bitrate,
            follow: Follow::new(rendition.bitrate, 0),
            is_watched: false,
        };
        let state = State {
            viewers: Vec::new(),
            gop,
            stats: FanoutStats::default(),
            trouble: None,
            rungs: renditions.iter().map(rung).collect(),
            closed: false,
        };
        Self { renditions, state: Mutex::new(state), events: broadcast::Sender::new(EVENTS) }
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
            choice: Mutex::default(),
        });
        state.viewers.push(viewer.clone());
        // Told under the lock, so that the last word is the right one when others come and go.
        state.tell_watched(source);
        viewer
    }

    fn leave(&self, viewer: &Arc<Viewer>, source: &dyn Source) {
        let mut state = self.lock();
        state.viewers.retain(|other| !Arc::ptr_eq(other, viewer));
        state.stats.dropped += viewer.lock().dropped();
        state.tell_watched(source);
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
