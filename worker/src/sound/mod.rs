//! Sound: what is heard of the machine, and the operator's voice back to it. Both are Opus.
//!
//! ```text
//! tone, microphone, recording ── Opus packets ─> [`Sound`] ── a place in a ring per listener ─> track
//! operator's track ── if it has the [`floor`] ─> [`Speaker`] ── jitter buffer, decoder ─> loudspeaker
//! ```
//!
//! * [`spec`] is what a user types after `--audio` and `--speaker`.
//! * [`Sound`] encodes once for all listeners, and only while there are some: a microphone that nobody
//!   listens to is closed. It starts a source that fails again, under the same rules as pictures.
//! * [`tone`] needs nothing; [`gst`] brings everything else, with the cargo feature `gstreamer`.
//! * [`clock`] gives packets even times; [`floor`] says who may speak. Both are pure logic.
//!
//! Sound never waits for pictures and never delays them: it has threads, queues and media streams of
//! its own. Who is late loses some and goes on with the newest.

pub mod clock;
pub mod floor;
#[cfg(feature = "gstreamer")]
mod gst;
mod source;
mod speaker;
pub mod spec;
mod tone;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use halyard_client::peer::SoundPacket;
use halyard_protocol::channel::{Notice, Severity};
use tokio::sync::broadcast;
use tracing::{info, warn};

pub use floor::Taken;
pub use source::{SoundError, SoundSource};
pub use speaker::{Speaker, SpeakerHandle};
pub use spec::{SoundSpec, SpeakerSpec};

use self::{clock::SoundClock, source::SoundSink};
use crate::media::supervisor::policy::{Action, Policy};

/// Packets that a listener may be behind: more than 640 ms would be heard as a delay.
const RING: usize = 32;

/// Events kept for a listener who is late.
const EVENTS: usize = 16;

/// Makes a source, not started yet.
type Make = dyn Fn() -> Box<dyn SoundSource> + Send + Sync;

/// Something happened to sound, in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoundEvent {
    /// Nothing is heard any more; it is tried again.
    Lost {
        /// For people: what happened.
        reason: String,
    },
    /// It is heard again.
    Back,
}

impl SoundEvent {
    /// The notice to send to everybody: `sound_lost` and `sound_back`, or `speaker_lost` and
    /// `speaker_back`.
    pub fn notice(&self, direction: Direction) -> Notice {
        let (lost, back, words) = match direction {
            Direction::Heard => ("sound_lost", "sound_back", "The sound is back."),
            Direction::Spoken => ("speaker_lost", "speaker_back", "The speaker is back."),
        };
        match self {
            Self::Lost { reason } => Notice::new(Severity::Warning, lost, reason.clone()),
            Self::Back => Notice::new(Severity::Info, back, words),
        }
    }
}

/// Which sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What is heard of the machine.
    Heard,
    /// What the machine says with an operator's voice.
    Spoken,
}

/// What is heard of a machine, for any number of listeners. Cloning gives another handle.
#[derive(Clone)]
pub struct Sound {
    inner: Arc<Inner>,
}

struct Inner {
    hub: Arc<Hub>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What sources, listeners and the supervisor's thread share.
pub(crate) struct Hub {
    packets: broadcast::Sender<SoundPacket>,
    events: broadcast::Sender<SoundEvent>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    listeners: usize,
    stopped: bool,
    /// The source that counts.
    source: u64,
    /// When its last packet came.
    last: Option<Instant>,
    ended: Option<String>,
    /// Its first packet came, or it ended, and the supervisor does not know yet.
    is_news: bool,
    clock: SoundClock,
    trouble: Option<String>,
    sent: u64,
}

impl Sound {
    /// Sound of this kind, which rests until somebody [listens](Self::listen); nothing for `none`.
    pub fn start(spec: &SoundSpec) -> Result<Option<Self>, SoundError> {
        match source::open(spec)? {
            Some(make) => Self::of(make).map(Some),
            None => Ok(None),
        }
    }

    /// Sound of whatever is made.
    fn of(make: Box<Make>) -> Result<Self, SoundError> {
        let hub = Arc::new(Hub {
            packets: broadcast::Sender::new(RING),
            events: broadcast::Sender::new(EVENTS),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let supervisor = Supervisor { make, hub: hub.clone() };
        let thread = thread::Builder::new()
            .name("sound-supervisor".to_owned())
            .spawn(move || supervisor.run())
            .map_err(SoundError::Thread)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { hub, thread }) })
    }

    /// One more listener, until dropped.
    pub fn listen(&self) -> Listener {
        let hub = self.inner.hub.clone();
        let packets = hub.packets.subscribe();
        hub.lock().listeners += 1;
        hub.changed.notify_all();
        Listener { packets, hub }
    }

    /// What happens to the sound from now on.
    pub fn events(&self) -> broadcast::Receiver<SoundEvent> {
        self.inner.hub.events.subscribe()
    }

    /// Why there is no sound at the moment, for people; nothing while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.inner.hub.lock().trouble.clone()
    }

    /// Packets made so far. With any number of listeners, each counts once.
    pub fn sent(&self) -> u64 {
        self.inner.hub.lock().sent
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.inner.hub.lock().listeners
    }

    /// Stops the source and waits until it has stopped.
    pub async fn stop(&self) {
        let inner = self.inner.clone();
        // A device may take its time.
        let _ = tokio::task::spawn_blocking(move || inner.stop()).await;
    }
}

impl Inner {
    fn stop(&self) {
        self.hub.lock().stopped = true;
        self.hub.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread of the sound had panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One listener's end of a [`Sound`].
pub struct Listener {
    packets: broadcast::Receiver<SoundPacket>,
    hub: Arc<Hub>,
}

impl Listener {
    /// The next packet. `None` once the sound was stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<SoundPacket> {
        loop {
            match self.packets.recv().await {
                Ok(packet) => return Some(packet),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hub.lock().listeners -= 1;
        self.hub.changed.notify_all();
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A packet of this source.
    fn packet(&self, source: u64, data: bytes::Bytes, length: Duration) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.source != source {
            return;
        }
        let is_first = state.last.replace(now).is_none();
        state.is_news |= is_first;
        state.sent += 1;
        let rtp_time = state.clock.stamp(length, now);
        drop(state);
        if is_first {
            self.changed.notify_all();
        }
        // Nobody listening is fine.
        let _ = self.packets.send(SoundPacket { data, rtp_time });
    }

    /// This source is over.
    fn ended(&self, source: u64, reason: String) {
        let mut state = self.lock();
        if state.source == source && state.ended.is_none() {
            state.ended = Some(reason);
            state.is_news = true;
            self.changed.notify_all();
        }
    }
}

/// What became known of a source.
struct News {
    /// When its last packet came.
    last: Option<Instant>,
    /// Why it is over.
    ended: Option<String>,
}

/// What lives on the thread.
struct Supervisor {
    make: Box<Make>,
    hub: Arc<Hub>,
}

impl Supervisor {
    fn run(&self) {
        while self.wait_for_listeners() {
            self.serve();
        }
    }

    /// Whether somebody listens; not when it is time to stop.
    fn wait_for_listeners(&self) -> bool {
        let mut state = self.hub.lock();
        loop {
            if state.stopped {
                return false;
            }
            if state.listeners > 0 {
                return true;
            }
            state = self.hub.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Plays while somebody listens.
    fn serve(&self) {
        let mut source = None;
        let mut policy = Policy::new(true, Instant::now());
        self.start(&mut source, &mut policy);
        while let Some(News { last, ended }) = self.wait(policy.deadline(Instant::now())) {
            let now = Instant::now();
            policy.watch(true, now);
            let mut actions: Vec<_> =
                last.and_then(|last| policy.picture(true, last)).into_iter().collect();
            actions.extend(ended.map(|reason| policy.ended(reason, now)).unwrap_or_default());
            actions.extend(policy.tick(now));
            for action in actions {
                self.perform(action, &mut source, &mut policy);
            }
        }
        self.take_down(&mut source);
        // Whatever it was, it is tried anew for whoever comes.
        self.hub.lock().trouble = None;
    }

    /// Waits until the source says something, at most until then. Nothing once nobody listens.
    fn wait(&self, until: Option<Instant>) -> Option<News> {
        let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        let mut state = self.hub.lock();
        loop {
            if state.stopped || state.listeners == 0 {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if std::mem::take(&mut state.is_news) || left.is_zero() {
                return Some(News { last: state.last, ended: state.ended.take() });
            }
            let waited = self.hub.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn perform(
        &self,
        action: Action,
        source: &mut Option<Box<dyn SoundSource>>,
        policy: &mut Policy,
    ) {
        match action {
            Action::Start => self.start(source, policy),
            Action::Stop => self.take_down(source),
            Action::Lost(reason) => {
                let reason = format!("No sound: {reason}");
                warn!(reason, "sound");
                self.hub.lock().trouble = Some(reason.clone());
                let _ = self.hub.events.send(SoundEvent::Lost { reason });
            }
            Action::Reason(reason) => {
                self.hub.lock().trouble = Some(format!("No sound: {reason}"));
            }
            Action::Back => {
                info!("the sound is back");
                self.hub.lock().trouble = None;
                let _ = self.hub.events.send(SoundEvent::Back);
            }
        }
    }

    fn start(&self, source: &mut Option<Box<dyn SoundSource>>, policy: &mut Policy) {
        let number = {
            let mut state = self.hub.lock();
            state.source += 1;
            state.last = None;
            state.ended = None;
            state.source
        };
        let mut fresh = (self.make)();
        match fresh.start(SoundSink { hub: self.hub.clone(), source: number }) {
            Ok(()) => {
                policy.started(Instant::now());
                *source = Some(fresh);
            }
            // The same as one that ends right away; what follows are no starts.
            Err(error) => {
                for action in policy.ended(error.to_string(), Instant::now()) {
                    self.perform(action, source, policy);
                }
            }
        }
    }

    fn take_down(&self, source: &mut Option<Box<dyn SoundSource>>) {
        self.hub.lock().source += 1;
        if let Some(mut source) = source.take() {
            source.stop();
        }
    }
}

#[cfg(test)]
mod tests;
