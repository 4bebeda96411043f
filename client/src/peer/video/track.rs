//! Sending one viewer's picture.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use rtc::rtp::{Header, Packet};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
    watch,
};
use webrtc::media_stream::track_local::{TrackLocal, static_rtp::TrackLocalStaticRTP};

use super::{
    AccessUnit, NotSent, RtpPacket, VideoCodec,
    codec::{self, Agreed},
    forward::Renumber,
    payload::{MAX_PAYLOAD_BYTES, payloads, starts_key_frame, vp8_payloads},
};
use crate::peer::{PeerState, congestion::Pacer, shared::Shared};

/// Pictures or ready packets that wait for the peer's thread. As pictures it is far more than may
/// wait, so pictures count as many packets.
const QUEUE: usize = 512;

/// What a picture counts at least: sixteen of them fill the queue, half a second. A little more than
/// the [`Pacer`] ever holds, so that pacing alone drops nothing.
///
/// [`Pacer`]: crate::peer::congestion::Pacer
const PICTURE_COUNTS: usize = QUEUE / 16;

/// A picture on its way to one viewer. Clones are the same track. Nothing here ever waits.
#[derive(Clone)]
pub struct VideoTrack {
    inner: Arc<Inner>,
    /// Whose turn it is to write, see [`begin`](Self::begin).
    turn: u64,
}

struct Inner {
    queue: mpsc::Sender<Item>,
    /// One permit per packet that may wait.
    room: Arc<Semaphore>,
    /// Bytes that wait for the peer's thread or the pacer.
    waiting: Arc<AtomicUsize>,
    agreed: watch::Sender<Option<Agreed>>,
    shared: Weak<Shared>,
    gate: Mutex<Gate>,
    place: usize,
}

/// Whether something is missing since the last key frame.
#[derive(Debug, Default)]
struct Gate {
    turn: u64,
    needs_key: bool,
    /// The time of the key frame whose packets are let through.
    key_time: Option<u32>,
    /// Something was dropped, or comes from elsewhere, since the last one that went through.
    begins: bool,
    /// As [`PlaceState`](crate::peer::shared::PlaceState) has it, as far as it was noticed here.
    begun_anew: u64,
}

struct Item {
    what: What,
    /// Of another stream, or the first after a drop: it must not leave a hole in the numbers.
    begins: bool,
    /// Not to be sent if that was given up meanwhile of which it is a part.
    begun_anew: u64,
    _room: OwnedSemaphorePermit,
}

enum What {
    Unit(AccessUnit),
    Packet(RtpPacket),
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Unit(unit) => unit.data.len(),
            Self::Packet(packet) => packet.payload.len(),
        }
    }
}

impl VideoTrack {
    /// The track and what the library has to be given of it. A task on the peer's thread sends.
    pub(in super::super) fn start(
        shared: &Arc<Shared>,
        place: usize,
    ) -> (Self, Arc<TrackLocalStaticRTP>) {
        let (queue, items) = mpsc::channel(QUEUE);
        let ssrc = rand::random_range(1..u32::MAX);
        let track = codec::track(ssrc, place);
        shared.places[place].ssrc.store(ssrc, Ordering::Release);
        let inner = Arc::new(Inner {
            queue,
            room: Arc::new(Semaphore::new(QUEUE)),
            waiting: Arc::default(),
            agreed: watch::channel(None).0,
            shared: Arc::downgrade(shared),
            gate: Mutex::default(),
            place,
        });
        let sending = Sending {
            track: Arc::clone(&track),
            shared: Arc::clone(shared),
            waiting: Arc::clone(&inner.waiting),
            agreed: inner.agreed.subscribe(),
            ssrc,
            place,
            numbers: Renumber::new(rand::random(), rand::random()),
            last: Instant::now(),
        };
        let stop = shared.stop.clone();
        shared.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sending.run(items) => {}
            }
        });
        (Self { inner, turn: 0 }, track)
    }

    /// Notes what the viewer agreed to. The first picture it sees has to be a key frame, so one is
    /// asked for now, or as soon as the connection is up.
    pub(in super::super) fn agree(&self, agreed: Option<Agreed>) {
        let before = self.inner.agreed.send_replace(agreed);
        let Some(shared) = self.inner.shared.upgrade() else { return };
        shared.places[self.inner.place].is_agreed.store(agreed.is_some(), Ordering::Release);
        if before.is_none() && agreed.is_some() && shared.state.borrow().is_connected() {
            shared.ask_for_keyframe(self.inner.place);
        }
    }

    /// The track for another picture, whose times have nothing to do with those before. Nothing is sent
    /// before its first key frame, and to handles that there were before the track is closed.
    #[must_use]
    pub fn begin(&self) -> Self {
        let mut gate = self.gate();
        let turn = gate.turn + 1;
        *gate = Gate { turn, needs_key: true, key_time: None, begins: true, ..*gate };
        Self { inner: Arc::clone(&self.inner), turn }
    }

    /// Another encode of the same picture begins: nothing is sent before its first key frame, and numbers
    /// and times go on from there. Does nothing where [another picture has begun](Self::begin).
    pub fn restart(&self) {
        let mut gate = self.gate();
        if gate.turn == self.turn {
            *gate =
                Gate { turn: self.turn, needs_key: true, key_time: None, begins: true, ..*gate };
        }
    }

    /// Sends one encoded picture.
    ///
    /// # Errors
    /// It was dropped: see [`NotSent`]. There is nothing to do about it but to go on.
    pub fn write(&self, unit: &AccessUnit) -> Result<(), NotSent> {
        self.check_codec(unit.codec)?;
        let packets = unit.data.len().div_ceil(MAX_PAYLOAD_BYTES).max(PICTURE_COUNTS);
        self.check_ready()?;
        self.lets_through(unit.is_key, unit.rtp_time)?;
        self.enqueue(packets.min(QUEUE), What::Unit(unit.clone()))
    }

    /// Passes a packet of a ready stream on, under this connection's own source, numbers and
    /// payload type. Use either this or [`write`](Self::write) on one track.
    ///
    /// # Errors
    /// It was dropped: see [`NotSent`]. There is nothing to do about it but to go on.
    pub fn forward(&self, packet: &RtpPacket) -> Result<(), NotSent> {
        self.check_ready()?;
        self.check_codec(VideoCodec::H264)?;
        let is_key = starts_key_frame(&packet.payload);
        self.lets_through(is_key, packet.timestamp)?;
        self.enqueue(1, What::Packet(packet.clone()))
    }

    /// Bytes that have not left yet.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Whether the viewer agreed to a picture and the connection is up.
    pub fn is_ready(&self) -> bool {
        self.check_ready().is_ok()
    }

    fn check_codec(&self, codec: VideoCodec) -> Result<(), NotSent> {
        match *self.inner.agreed.borrow() {
            Some(agreed) if agreed.payload_type(codec).is_none() => Err(NotSent::Unplayable(codec)),
            _ => Ok(()),
        }
    }

    fn check_ready(&self) -> Result<(), NotSent> {
        let shared = self.inner.shared.upgrade().ok_or(NotSent::Closed)?;
        match *shared.state.borrow() {
            PeerState::Closed => Err(NotSent::Closed),
            // A silence may be over any moment, and nothing is lost by sending into it.
            PeerState::Connected | PeerState::Disconnected { .. }
                if self.inner.agreed.borrow().is_some() =>
            {
                Ok(())
            }
            _ => Err(NotSent::NotReady),
        }
    }

    fn lets_through(&self, is_key: bool, time: u32) -> Result<(), NotSent> {
        let mut gate = self.gate();
        if gate.turn != self.turn {
            return Err(NotSent::Closed);
        }
        let shared = self.inner.shared.upgrade().ok_or(NotSent::Closed)?;
        let begun_anew = shared.places[self.inner.place].begun_anew.load(Ordering::Acquire);
        gate.look(begun_anew);
        if gate.lets_through(is_key, time) { Ok(()) } else { Err(NotSent::Behind) }
    }

    fn enqueue(&self, packets: usize, what: What) -> Result<(), NotSent> {
        let room = Arc::clone(&self.inner.room).try_acquire_many_owned(packets as u32);
        let mut gate = self.gate();
        if gate.turn != self.turn {
            return Err(NotSent::Closed);
        }
        let sent = match room {
            Ok(room) => {
                let bytes = what.bytes();
                self.inner.waiting.fetch_add(bytes, Ordering::Relaxed);
                let (begins, begun_anew) = (gate.begins, gate.begun_anew);
                let item = Item { what, begins, begun_anew, _room: room };
                self.inner.queue.try_send(item).map_err(|error| {
                    self.inner.waiting.fetch_sub(bytes, Ordering::Relaxed);
                    match error {
                        TrySendError::Full(_) => NotSent::Behind,
                        TrySendError::Closed(_) => NotSent::Closed,
                    }
                })
            }
            Err(_) => Err(NotSent::Behind),
        };
        match sent {
            Ok(()) => gate.begins = false,
            Err(NotSent::Behind) => gate.fell_behind(),
            Err(_) => {}
        }
        drop(gate);
        if sent == Err(NotSent::Behind) {
            self.ask_for_keyframe();
        }
        sent
    }

    fn ask_for_keyframe(&self) {
        if let Some(shared) = self.inner.shared.upgrade() {
            shared.ask_for_keyframe(self.inner.place);
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.inner.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Whether a picture, or a packet of one, can be decoded by a viewer that got what was let
    /// through before. A key frame that was cut off half way is not good enough: it starts anew
    /// only with another time.
    fn lets_through(&mut self, is_key: bool, time: u32) -> bool {
        if self.needs_key && is_key && self.key_time != Some(time) {
            self.needs_key = false;
            self.key_time = Some(time);
        }
        !self.needs_key
    }

    /// What went through is of no use any more if it was given up since the last look.
    fn look(&mut self, begun_anew: u64) {
        if std::mem::replace(&mut self.begun_anew, begun_anew) != begun_anew {
            self.fell_behind();
        }
    }

    fn fell_behind(&mut self) {
        self.needs_key = true;
        self.begins = true;
    }
}

/// The task that numbers and sends.
struct Sending {
    track: Arc<TrackLocalStaticRTP>,
    shared: Arc<Shared>,
    waiting: Arc<AtomicUsize>,
    agreed: watch::Receiver<Option<Agreed>>,
    ssrc: u32,
    place: usize,
    numbers: Renumber,
    /// When something was sent last.
    last: Instant,
}

impl Sending {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        while let Some(item) = items.recv().await {
            let agreed = *self.agreed.borrow();
            let begun_anew = self.shared.places[self.place].begun_anew.load(Ordering::Acquire);
            if let Some(agreed) = agreed.filter(|_| item.begun_anew == begun_anew) {
                let now = Instant::now();
                if item.begins {
                    self.numbers.begin(now.saturating_duration_since(self.last));
                }
                self.last = now;
                let waiting = self.waiting.load(Ordering::Relaxed);
                let estimate = self.shared.estimate.borrow().bitrate;
                self.pacer().begin(waiting, estimate);
                match &item.what {
                    What::Unit(unit) => self.send_unit(agreed, unit).await,
                    What::Packet(packet) => self.send_packet(agreed, packet).await,
                }
            }
            self.waiting.fetch_sub(item.what.bytes(), Ordering::Relaxed);
        }
    }

    fn pacer(&self) -> MutexGuard<'_, Pacer> {
        self.shared.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a packet of so many bytes may leave.
    async fn pace(&self, bytes: usize) {
        loop {
            let now = Instant::now();
            {
                let mut pacer = self.pacer();
                if pacer.due(now) <= now {
                    pacer.sent(now, bytes);
                    return;
                }
            }
            let due = self.pacer().due(now);
            tokio::time::sleep_until(due.into()).await;
        }
    }

    async fn send_unit(&mut self, agreed: Agreed, unit: &AccessUnit) {
        let payloads = match unit.codec {
            VideoCodec::H264 => payloads(&unit.data),
            VideoCodec::Vp8 => vp8_payloads(&unit.data),
        };
        let Some(last) = payloads.len().checked_sub(1) else { return };
        let timestamp = self.numbers.own_time(unit.rtp_time);
        for (index, payload) in payloads.into_iter().enumerate() {
            let sequence = self.numbers.next_sequence();
            self.write((agreed, unit.codec), sequence, timestamp, index == last, payload).await;
        }
    }

    async fn send_packet(&mut self, agreed: Agreed, packet: &RtpPacket) {
        let (sequence, timestamp) = self.numbers.forward(packet.sequence, packet.timestamp);
        let codec = (agreed, VideoCodec::H264);
        self.write(codec, sequence, timestamp, packet.marker, packet.payload.clone()).await;
    }

    async fn write(
        &self,
        (agreed, codec): (Agreed, VideoCodec),
        sequence_number: u16,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
    ) {
        let Some(payload_type) = agreed.payload_type(codec) else { return };
        let mut header = Header {
            version: 2,
            marker,
            payload_type,
            sequence_number,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        if let Some(id) = agreed.playout_delay {
            // Least and most delay, 12 bits each: none. The id was checked.
            let _ = header.set_extension(id, Bytes::from_static(&[0, 0, 0]));
        }
        self.pace(payload.len()).await;
        // Waits only for the driver, which shares this thread.
        if let Err(error) = self.track.write_rtp(Packet { header, payload }).await {
            tracing::debug!(%error, "a video packet could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_drop_only_a_new_key_frame_opens_the_gate() {
        let mut gate = Gate::default();
        assert!(gate.lets_through(false, 0));
        assert!(gate.lets_through(true, 1));
        gate.fell_behind();
        assert!(!gate.lets_through(false, 2));
        assert!(gate.lets_through(true, 3));
        assert!(gate.lets_through(false, 3));
        // Half way through the key frame of time 3.
        gate.fell_behind();
        assert!(!gate.lets_through(false, 3));
        assert!(!gate.lets_through(true, 3));
        assert!(gate.lets_through(true, 4));
        assert!(gate.lets_through(false, 5));
    }

    #[test]
    fn what_was_given_up_goes_on_with_a_key_frame() {
        let mut gate = Gate::default();
        gate.look(0);
        assert!(gate.lets_through(false, 0) && !gate.begins);
        gate.look(1);
        assert!(!gate.lets_through(false, 1) && gate.begins);
        gate.look(1);
        assert!(gate.lets_through(true, 2) && gate.lets_through(false, 3));
    }
}
