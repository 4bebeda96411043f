//! Sending sound to one listener.

use std::sync::{Arc, Weak};

use rtc::rtp::{Header, Packet};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};
use webrtc::media_stream::track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP};

use super::{SoundPacket, codec};
use crate::peer::{NotSent, PeerState, shared::Shared};

/// Packets that wait for the peer's thread: more than these 320 ms would be heard as a delay.
const QUEUE: usize = 16;

/// A longer hole in the times begins a new spurt of sound.
const SPURT_GAP: u32 = 4_800;

/// Sound on its way to one listener. Clones are the same track. Nothing here ever waits.
#[derive(Clone)]
pub struct AudioTrack {
    queue: mpsc::Sender<SoundPacket>,
    agreed: watch::Sender<Option<u8>>,
    shared: Weak<Shared>,
}

impl AudioTrack {
    /// The track and what the library has to be given of it. A task on the peer's thread sends.
    pub(in super::super) fn start(shared: &Arc<Shared>) -> (Self, Arc<TrackLocalStaticRTP>) {
        let (queue, packets) = mpsc::channel(QUEUE);
        let ssrc = rand::random_range(1..u32::MAX);
        let track = codec::track(ssrc);
        let agreed = watch::channel(None).0;
        let sending = Sending {
            track: Arc::clone(&track),
            agreed: agreed.subscribe(),
            ssrc,
            sequence: rand::random(),
            last: None,
        };
        let stop = shared.stop.clone();
        shared.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sending.run(packets) => {}
            }
        });
        (Self { queue, agreed, shared: Arc::downgrade(shared) }, track)
    }

    /// Notes what the listener agreed to.
    pub(in super::super) fn agree(&self, payload_type: Option<u8>) {
        self.agreed.send_replace(payload_type);
    }

    /// Whether the listener agreed to sound and the connection is up.
    pub fn is_ready(&self) -> bool {
        self.check_ready().is_ok()
    }

    fn check_ready(&self) -> Result<(), NotSent> {
        let shared = self.shared.upgrade().ok_or(NotSent::Closed)?;
        match *shared.state.borrow() {
            PeerState::Closed => Err(NotSent::Closed),
            PeerState::Connected if self.agreed.borrow().is_some() => Ok(()),
            _ => Err(NotSent::NotReady),
        }
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// It was dropped: see [`NotSent`]. What follows can be played all the same.
    pub fn write(&self, packet: SoundPacket) -> Result<(), NotSent> {
        self.check_ready()?;
        self.queue.try_send(packet).map_err(|error| match error {
            TrySendError::Full(_) => NotSent::Behind,
            TrySendError::Closed(_) => NotSent::Closed,
        })
    }
}

/// The task that numbers and sends.
struct Sending {
    track: Arc<TrackLocalStaticRTP>,
    agreed: watch::Receiver<Option<u8>>,
    ssrc: u32,
    sequence: u16,
    last: Option<u32>,
}

impl Sending {
    async fn run(mut self, mut packets: mpsc::Receiver<SoundPacket>) {
        while let Some(SoundPacket { data, rtp_time }) = packets.recv().await {
            let Some(payload_type) = *self.agreed.borrow() else { continue };
            let step = self.last.map(|last| rtp_time.wrapping_sub(last));
            self.last = Some(rtp_time);
            self.sequence = self.sequence.wrapping_add(1);
            let header = Header {
                version: 2,
                // The first packet of a spurt (RFC 3551, section 4.1).
                marker: step.is_none_or(|step| step > SPURT_GAP),
                payload_type,
                sequence_number: self.sequence,
                timestamp: rtp_time,
                ssrc: self.ssrc,
                ..Header::default()
            };
            // Waits only for the driver, which shares this thread.
            if let Err(error) = self.track.write_rtp(Packet { header, payload: data }).await {
                tracing::debug!(%error, "a sound packet could not be sent");
            }
        }
    }
}
