//! Keeps a picture alive: starts a source that failed again, alone, while viewers stay connected, and
//! shows a slate meanwhile.
//!
//! ```text
//! source n ──┐
//!            ├─ relay (one of them, from a key frame on, times in order) ─> fan-out
//! slate ─────┘
//!              ▲ what is heard            │
//!          policy (pure) ── start, stop, lost, back ── supervisor thread
//! ```
//!
//! A picture that is to be had in several renditions has one source, and one slate for all of them.
//!
//! Every source stands behind a supervisor. [`policy`] decides, [`relay`] switches, [`timeline`] keeps
//! presentation times even, [`slate`] is what people see meanwhile. The source is taken down and made
//! anew on the supervisor's own thread: a device that hangs there holds up nobody.

pub mod policy;
mod relay;
pub mod slate;
pub mod timeline;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use halyard_protocol::channel::VideoInfo;
use tracing::{debug, error, info, warn};

use self::{
    policy::{Action, Policy},
    relay::{Heard, Origin, Relay, Wake},
};
use super::{
    follow::Aim,
    keyframes::KeyframeReason,
    picture::Size,
    rendition::{MAX_RENDITIONS, Renditions},
    source::{Sink, Source, SourceError, SourceEvent, SourceStats},
};

/// Where no key frame can be asked for, the slate makes one this often for newcomers.
const SLATE_KEYFRAMES: Duration = Duration::from_secs(2);

/// Makes a source, not started yet: once at the beginning and once for each attempt.
pub type Make = dyn Fn() -> Result<Box<dyn Source>, SourceError> + Send + Sync;

/// A source that comes back by itself.
pub struct Supervised {
    make: Arc<Make>,
    first: Option<Box<dyn Source>>,
    initial: VideoInfo,
    shared: Arc<Shared>,
    relay: OnceLock<Arc<Relay>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How many its sources give.
    renditions: usize,
}

struct Shared {
    /// Never held while a sink is called or the relay is locked: viewers come under the fan-out's lock.
    control: Mutex<Control>,
    wake: Arc<Wake>,
}

#[derive(Default)]
struct Control {
    /// Of each rendition.
    watched: [bool; MAX_RENDITIONS],
    aims: [Option<Aim>; MAX_RENDITIONS],
    stopped: bool,
    source: Option<Arc<dyn Source>>,
    slate: Option<Arc<dyn Source>>,
    makes_keyframes: bool,
    /// What sources did that are gone.
    past: SourceStats,
}

impl Supervised {
    /// Makes the first source, and will start it and its successors.
    pub fn new(
        make: impl Fn() -> Result<Box<dyn Source>, SourceError> + Send + Sync + 'static,
    ) -> Result<Self, SourceError> {
        let first = make()?;
        let control = Control { makes_keyframes: first.makes_keyframes(), ..Control::default() };
        Ok(Self {
            make: Arc::new(make),
            initial: first.info(),
            first: Some(first),
            shared: Arc::new(Shared { control: Mutex::new(control), wake: Arc::default() }),
            relay: OnceLock::new(),
            thread: Mutex::default(),
            renditions: 1,
        })
    }

    /// Its sources give these renditions, and not one.
    #[must_use]
    pub fn in_renditions(mut self, renditions: &Renditions) -> Self {
        self.renditions = renditions.len();
        self
    }
}

impl Source for Supervised {
    fn info(&self) -> VideoInfo {
        self.relay.get().map_or_else(|| self.initial.clone(), |relay| relay.info())
    }

    /// What the first source cannot be started for is told here; later it is trouble.
    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        let mut source = self.first.take().ok_or(SourceError::StartedBefore)?;
        let wake = self.shared.wake.clone();
        let relay = Arc::new(Relay::new(sink, wake, self.initial.clone(), self.renditions));
        let hears_silence = source.is_restarted_when_silent();
        source.start(relay.inlet(Origin::Source(0)))?;
        self.relay.get_or_init(|| relay.clone());
        lock(&self.shared.control).put_source(Arc::from(source));
        let supervisor = Supervisor {
            make: self.make.clone(),
            shared: self.shared.clone(),
            relay,
            policy: Policy::new(hears_silence, Instant::now()),
            words: slate::Shown::default(),
            number: 0,
            slate_key: Instant::now(),
            runtime: tokio::runtime::Handle::try_current().ok(),
        };
        let thread = thread::Builder::new()
            .name("video-supervisor".to_owned())
            .spawn(move || supervisor.run())
            .map_err(|error| {
                self.shared.take_down();
                SourceError::Thread(error)
            })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    fn set_watched(&self, rendition: usize, watched: bool) {
        let mut control = lock(&self.shared.control);
        let Some(remembered) = control.watched.get_mut(rendition) else { return };
        *remembered = watched;
        if let Some(source) = &control.source {
            source.set_watched(rendition, watched);
        }
        if let Some(slate) = &control.slate {
            slate.set_watched(0, control.is_watched());
        }
        drop(control);
        self.shared.wake.up();
    }

    fn request_keyframe(&self, rendition: usize, reason: KeyframeReason) {
        let control = lock(&self.shared.control);
        if let Some(source) = &control.source {
            source.request_keyframe(rendition, reason);
        }
        if let Some(slate) = &control.slate {
            slate.request_keyframe(0, reason);
        }
    }

    fn aim(&self, rendition: usize, aim: Aim) {
        let mut control = lock(&self.shared.control);
        let Some(remembered) = control.aims.get_mut(rendition) else { return };
        *remembered = Some(aim);
        if let Some(source) = &control.source {
            source.aim(rendition, aim);
        }
    }

    fn makes_keyframes(&self) -> bool {
        let control = lock(&self.shared.control);
        control.source.as_ref().map_or(control.makes_keyframes, |source| source.makes_keyframes())
    }

    fn stats(&self) -> SourceStats {
        let control = lock(&self.shared.control);
        let now = control.source.as_ref().map(|source| source.stats()).unwrap_or_default();
        control.past.plus(now)
    }

    fn stop(&self) {
        lock(&self.shared.control).stopped = true;
        self.shared.wake.up();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    fn is_watched(&self) -> bool {
        self.watched.contains(&true)
    }

    fn put_source(&mut self, source: Arc<dyn Source>) {
        for (rendition, (aim, watched)) in self.aims.into_iter().zip(self.watched).enumerate() {
            if let Some(aim) = aim {
                source.aim(rendition, aim);
            }
            source.set_watched(rendition, watched);
        }
        self.source = Some(source);
    }
}

impl Shared {
    /// Stops the source, and remembers what it did. A panic of its thread was told by the source's
    /// alarm and stands in the log; it ends this source and no other.
    fn take_down(&self) {
        let Some(source) = lock(&self.control).source.take() else { return };
        if catch_unwind(AssertUnwindSafe(|| source.stop())).is_err() {
            error!("a thread of the picture's source had panicked");
        }
        let mut control = lock(&self.control);
        control.makes_keyframes = source.makes_keyframes();
        control.past = control.past.plus(source.stats());
    }

    fn end_slate(&self) {
        let slate = lock(&self.control).slate.take();
        if let Some(slate) = slate
            && catch_unwind(AssertUnwindSafe(|| slate.stop())).is_err()
        {
            error!("a thread of the slate had panicked");
        }
    }
}

/// What lives on the thread.
struct Supervisor {
    make: Arc<Make>,
    shared: Arc<Shared>,
    relay: Arc<Relay>,
    policy: Policy,
    words: slate::Shown,
    /// Of the source that counts, or that is started next.
    number: u64,
    /// When the slate makes its next key frame.
    slate_key: Instant,
    /// Sources are started inside the runtime.
    runtime: Option<tokio::runtime::Handle>,
}

impl Supervisor {
    fn run(mut self) {
        loop {
            let (stopped, watched) = {
                let control = lock(&self.shared.control);
                (control.stopped, control.is_watched())
            };
            if stopped {
                break;
            }
            let now = Instant::now();
            self.policy.watch(watched, now);
            let (heard, last) = self.relay.hear();
            if let Some(last) = last {
                self.policy.picture(false, last);
            }
            for heard in heard {
                let actions = match heard {
                    Heard::Shown(at) => self.policy.picture(true, at).into_iter().collect(),
                    Heard::Lost(reason) => self.policy.lost(reason, now).into_iter().collect(),
                    Heard::Ended(reason) => self.policy.ended(reason, now),
                };
                self.perform(actions);
            }
            let actions = self.policy.tick(now);
            self.perform(actions);
            let slate = self.keep_slate(now);
            let policy = self.policy.deadline(now);
            self.shared.wake.wait(policy.into_iter().chain(slate).min());
        }
        self.shared.take_down();
        self.shared.end_slate();
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Stop => {
                    self.number += 1;
                    self.relay.expect(self.number);
                    self.shared.take_down();
                }
                Action::Start => {
                    if let Err(error) = self.start() {
                        let actions = self.policy.ended(error.to_string(), Instant::now());
                        // A stop, and words: no start, so this does not go deeper.
                        self.perform(actions);
                    }
                }
                Action::Lost(reason) => {
                    warn!(reason, "the picture is lost");
                    self.begin_slate(&reason);
                    self.relay.tell(SourceEvent::Lost { reason: format!("No picture: {reason}") });
                }
                Action::Reason(reason) => {
                    debug!(reason, attempts = self.policy.attempts(), "still no picture");
                    let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
                    words.reason = reason;
                }
                Action::Back => {
                    info!("the picture is back");
                    self.shared.end_slate();
                    self.relay.tell(SourceEvent::Back);
                }
            }
        }
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.attempts = self.policy.attempts();
    }

    fn start(&mut self) -> Result<(), SourceError> {
        let _inside = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        let mut source = (self.make)()?;
        source.start(self.relay.inlet(Origin::Source(self.number)))?;
        self.policy.started(Instant::now());
        lock(&self.shared.control).put_source(Arc::from(source));
        Ok(())
    }

    fn begin_slate(&mut self, reason: &str) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_ms = unix.as_millis() as u64;
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) =
            slate::Words { reason: reason.to_owned(), since_ms, attempts: 0 };
        self.shared.end_slate();
        let size = match self.relay.info() {
            VideoInfo { width: 0, .. } | VideoInfo { height: 0, .. } => Size::HD,
            info => Size { width: info.width as usize, height: info.height as usize },
        };
        let mut slate = slate::source(&self.words, size);
        if let Err(error) = slate.start(self.relay.inlet(Origin::Slate(self.number))) {
            // Viewers see the last picture stand still, and were told why in words.
            warn!(%error, "the slate cannot be shown");
            return;
        }
        self.relay.show_slate(self.number);
        let mut control = lock(&self.shared.control);
        slate.set_watched(0, control.is_watched());
        control.slate = Some(Arc::new(slate));
        if let Some(source) = &control.source {
            // It may come back by itself, and is shown from a key frame on.
            for (rendition, _) in
                control.watched.iter().enumerate().filter(|(_, watched)| **watched)
            {
                source.request_keyframe(rendition, KeyframeReason::NewViewer);
            }
        }
    }

    /// Gives newcomers a key frame of the slate where nobody asks for one, and says when the next is
    /// due.
    fn keep_slate(&mut self, now: Instant) -> Option<Instant> {
        let control = lock(&self.shared.control);
        let slate = control.slate.as_ref().filter(|_| control.is_watched())?;
        let asked_for =
            control.source.as_ref().map_or(control.makes_keyframes, |s| s.makes_keyframes());
        if asked_for {
            return None;
        }
        if self.slate_key <= now {
            slate.request_keyframe(0, KeyframeReason::NewViewer);
            self.slate_key = now + SLATE_KEYFRAMES;
        }
        Some(self.slate_key)
    }
}

#[cfg(test)]
mod tests;
