//! The operator's voice on its way to a loudspeaker.
//!
//! A thread of its own opens the output when somebody speaks for the first time, and keeps it. One that
//! fails is opened again with growing pauses, as long as somebody speaks; people are told.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use halyard_client::peer::RtpPacket;
use halyard_protocol::ids::PeerId;
use tokio::sync::{broadcast, watch};

use super::{
    SoundError, SoundEvent,
    floor::{Floor, Taken},
    spec::SpeakerSpec,
};

/// Packets that may wait for the output: half a second of sound.
const QUEUE: usize = 25;

/// How often it is looked whether who has the floor is still heard.
const LOOK: Duration = Duration::from_millis(500);

/// Between two attempts to open an output, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// The payload type that the output expects.
const PAYLOAD_TYPE: u8 = 111;

/// Owns the output. Ends when [stopped](Self::stop) or dropped.
pub struct Speaker {
    handle: SpeakerHandle,
    thread: Option<JoinHandle<()>>,
}

/// How sessions reach the speaker. Clones reach the same one.
#[derive(Clone)]
pub struct SpeakerHandle {
    shared: Arc<Shared>,
    packets: SyncSender<Said>,
}

struct Shared {
    floor: Mutex<Floor>,
    talker: watch::Sender<Option<PeerId>>,
    events: broadcast::Sender<SoundEvent>,
    trouble: Mutex<Option<String>>,
}

enum Said {
    Packet(PeerId, RtpPacket),
    Stop,
}

impl Speaker {
    /// A speaker of this kind, not opened yet; nothing for `none`.
    pub fn start(spec: &SpeakerSpec) -> Result<Option<Self>, SoundError> {
        if *spec == SpeakerSpec::None {
            return Ok(None);
        }
        output::check(spec)?;
        let shared = Arc::new(Shared {
            floor: Mutex::default(),
            talker: watch::Sender::new(None),
            events: broadcast::Sender::new(super::EVENTS),
            trouble: Mutex::default(),
        });
        let (packets, said) = mpsc::sync_channel(QUEUE);
        let mut playing = Playing {
            spec: spec.clone(),
            shared: shared.clone(),
            output: None,
            voice: None,
            wait: PAUSES[0],
            again: Instant::now(),
        };
        let thread = thread::Builder::new()
            .name("speaker".to_owned())
            .spawn(move || playing.run(&said))
            .map_err(SoundError::Thread)?;
        Ok(Some(Self { handle: SpeakerHandle { shared, packets }, thread: Some(thread) }))
    }

    /// How sessions reach it.
    pub fn handle(&self) -> SpeakerHandle {
        self.handle.clone()
    }

    /// Closes the output and waits until that is done.
    pub async fn stop(mut self) {
        let thread = self.thread.take();
        let packets = self.handle.packets.clone();
        let ended = tokio::task::spawn_blocking(move || {
            // Waits for room where sound is waiting.
            let _ = packets.send(Said::Stop);
            thread.is_none_or(|thread| thread.join().is_ok())
        });
        if !ended.await.unwrap_or(false) {
            tracing::error!("the thread of the speaker had panicked");
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Not waited for: it ends with what waits before this word.
            let _ = self.handle.packets.try_send(Said::Stop);
        }
    }
}

impl SpeakerHandle {
    /// This peer wants to speak.
    pub fn ask(&self, peer: &PeerId) -> Result<(), Taken> {
        let answer = self.shared.floor().ask(peer, Instant::now());
        self.shared.tell_talker();
        answer
    }

    /// This peer lets go, or is gone.
    pub fn release(&self, peer: &PeerId) {
        self.shared.floor().release(peer);
        self.shared.tell_talker();
    }

    /// This peer's sound. It is played if the peer has the floor, and lost where the output does not
    /// keep up. Never waits.
    pub fn say(&self, peer: &PeerId, packet: RtpPacket) {
        if !self.shared.floor().hears(peer, Instant::now()) {
            return;
        }
        if let Err(TrySendError::Full(_)) =
            self.packets.try_send(Said::Packet(peer.clone(), packet))
        {
            tracing::trace!("the speaker does not keep up");
        }
    }

    /// Who speaks.
    pub fn talker(&self) -> watch::Receiver<Option<PeerId>> {
        self.shared.talker.subscribe()
    }

    /// What happens to the output from now on.
    pub fn events(&self) -> broadcast::Receiver<SoundEvent> {
        self.shared.events.subscribe()
    }

    /// Why nothing is heard at the machine, for people; nothing while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_talker(&self) {
        let talker = self.floor().talker().cloned();
        self.talker.send_if_modified(|told| {
            let is_new = *told != talker;
            *told = talker;
            is_new
        });
    }

    fn set_trouble(&self, trouble: Option<String>) {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let event = match (&*known, &trouble) {
            (None, Some(reason)) => Some(SoundEvent::Lost { reason: reason.clone() }),
            (Some(_), None) => Some(SoundEvent::Back),
            _ => None,
        };
        *known = trouble;
        drop(known);
        if let Some(event) = event {
            tracing::warn!(?event, "the speaker");
            let _ = self.events.send(event);
        }
    }
}

/// What lives on the thread.
struct Playing {
    spec: SpeakerSpec,
    shared: Arc<Shared>,
    output: Option<output::Output>,
    /// Whose sound was played last.
    voice: Option<PeerId>,
    wait: Duration,
    /// Not to be opened before.
    again: Instant,
}

impl Playing {
    fn run(&mut self, said: &mpsc::Receiver<Said>) {
        loop {
            match said.recv_timeout(LOOK) {
                Ok(Said::Packet(peer, packet)) => self.play(peer, &packet),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Said::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.shared.floor().lapse(Instant::now());
            self.shared.tell_talker();
        }
    }

    fn play(&mut self, peer: PeerId, packet: &RtpPacket) {
        if let Err(reason) = self.try_play(peer, packet) {
            self.output = None;
            self.again = Instant::now() + self.wait;
            self.wait = (self.wait * 2).min(PAUSES[1]);
            self.shared.set_trouble(Some(format!("No voice at the machine: {reason}")));
        }
    }

    fn try_play(&mut self, peer: PeerId, packet: &RtpPacket) -> Result<(), String> {
        if self.output.is_none() {
            if Instant::now() < self.again {
                return Ok(());
            }
            self.output = Some(output::Output::open(&self.spec)?);
            self.voice = None;
        }
        let Some(output) = &self.output else { return Ok(()) };
        if self.voice.as_ref() != Some(&peer) {
            if self.voice.is_some() {
                output.begin();
            }
            self.voice = Some(peer);
        }
        output.play(datagram(packet))?;
        self.wait = PAUSES[0];
        self.shared.set_trouble(None);
        Ok(())
    }
}

/// The packet as RTP is written (RFC 3550, section 5.1), with the payload type that the output expects.
fn datagram(packet: &RtpPacket) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + packet.payload.len());
    bytes.extend_from_slice(&[0x80, (u8::from(packet.marker) << 7) + PAYLOAD_TYPE]);
    bytes.extend_from_slice(&packet.sequence.to_be_bytes());
    bytes.extend_from_slice(&packet.timestamp.to_be_bytes());
    bytes.extend_from_slice(&1u32.to_be_bytes());
    bytes.extend_from_slice(&packet.payload);
    bytes
}

#[cfg(feature = "gstreamer")]
mod output {
    use crate::sound::{SoundError, spec::SpeakerSpec};

    pub(super) use crate::sound::gst::Output;

    pub(super) fn check(spec: &SpeakerSpec) -> Result<(), SoundError> {
        Output::check(spec)
    }
}

#[cfg(not(feature = "gstreamer"))]
mod output {
    use crate::sound::{SoundError, spec::SpeakerSpec};

    /// There is none without GStreamer.
    pub(super) enum Output {}

    impl Output {
        pub(super) fn open(_: &SpeakerSpec) -> Result<Self, String> {
            Err("built without GStreamer".to_owned())
        }

        pub(super) fn begin(&self) {
            match *self {}
        }

        pub(super) fn play(&self, _: Vec<u8>) -> Result<(), String> {
            match *self {}
        }
    }

    pub(super) fn check(spec: &SpeakerSpec) -> Result<(), SoundError> {
        Err(SoundError::NeedsGstreamer { asked: spec.words() })
    }
}
