//! The handle: what can be done with a peer.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use halyard_protocol::{
    channel::{Lane, Message},
    signal::{Candidate, IceServer},
};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::timeout,
};
use webrtc::peer_connection::PeerConnection;

use super::{
    AudioTrack, Estimate, PeerConfig, PeerError, PeerEvent, PeerState, PeerStats, PeerThreads,
    build,
    negotiation::Negotiation,
    outlet::Frame,
    shared::Shared,
    stats,
    video::{RtpPacket, VideoFrame, VideoTrack},
};

/// How long closing waits for the last words on `control` to be acknowledged.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One end of a connection. Clones are the same connection; it closes when the last one is
/// dropped, but only [`close`](Self::close) waits until the other end has been told.
#[derive(Clone)]
pub struct Peer {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    connection: Arc<dyn PeerConnection>,
    negotiation: Arc<Mutex<Negotiation>>,
    videos: Vec<VideoTrack>,
    audio: Option<AudioTrack>,
    relay_only: bool,
    /// Kept running for as long as the peer is.
    threads: PeerThreads,
}

impl Peer {
    /// The end that offers: it opens the four lanes.
    ///
    /// # Errors
    /// [`PeerError::Start`]: this machine has no thread, socket or address for it.
    pub async fn offerer(
        config: PeerConfig,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        Self::start(config, true).await
    }

    /// The end that answers: it takes the lanes, or an existing client's one channel.
    ///
    /// # Errors
    /// [`PeerError::Start`]: this machine has no thread, socket or address for it.
    pub async fn answerer(
        config: PeerConfig,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        Self::start(config, false).await
    }

    async fn start(
        config: PeerConfig,
        offers: bool,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        let threads = match &config.threads {
            Some(threads) => threads.clone(),
            None => PeerThreads::new(NonZeroUsize::MIN)
                .map_err(|error| PeerError::Start(error.to_string()))?,
        };
        let thread = threads.next();
        let (shared, receivers) = Shared::new(thread.clone());
        let (gather_wait, relay_only) = (config.gather_wait, config.relay_only);
        let building = Arc::clone(&shared);
        let built = thread.spawn(async move {
            let connection = build::connection(&building, &config).await?;
            building.set_connection(Arc::downgrade(&connection));
            tokio::spawn(Arc::clone(&building).supervise(receivers.notices));
            let contents = async {
                let places = build::contents(&building, &*connection, &config, offers).await?;
                let sound = build::sound(&building, &*connection, config.audio, offers).await?;
                Ok::<_, rtc::shared::error::Error>((places, sound))
            };
            match contents.await {
                Ok((places, sound)) => Ok((connection, places, sound)),
                Err(error) => {
                    building.stop.cancel();
                    building.ended.cancelled().await;
                    Err(error)
                }
            }
        });
        let (connection, places, sound) = built
            .await
            .map_err(|error| PeerError::Start(error.to_string()))?
            .map_err(|error| PeerError::Start(error.to_string()))?;
        let videos = places.iter().map(|place| place.track.clone()).collect();
        let audio = sound.as_ref().and_then(|sound| sound.track.clone());
        let negotiation = Negotiation::new(
            Arc::clone(&shared),
            Arc::clone(&connection),
            (places, sound),
            gather_wait,
        );
        let negotiation = Arc::new(Mutex::new(negotiation));
        let inner = Inner { shared, connection, negotiation, videos, audio, relay_only, threads };
        Ok((Self { inner: Arc::new(inner) }, receivers.events))
    }

    /// Other STUN and TURN servers, for the next ICE restart: TURN credentials end.
    ///
    /// # Errors
    /// [`PeerError::Servers`] when they cannot be used, or [`PeerError::Closed`].
    pub async fn set_ice_servers(&self, servers: Vec<IceServer>) -> Result<(), PeerError> {
        let (connection, relay_only) = (Arc::clone(&self.inner.connection), self.inner.relay_only);
        self.negotiate("servers", move |negotiation| async move {
            let configuration = build::configuration(&servers, relay_only);
            let set = connection.set_configuration(configuration).await;
            drop(negotiation);
            set.map_err(|error| PeerError::Servers(error.to_string()))
        })
        .await
    }

    /// An offer for the other end. With `restart`, new addresses are looked for on the live
    /// connection; lanes and what is on them survive.
    ///
    /// It contains the candidates found within [`PeerConfig::gather_wait`]; more may come as
    /// [`PeerEvent::LocalCandidate`].
    ///
    /// # Errors
    /// [`PeerError::Describe`], or [`PeerError::Closed`].
    pub async fn create_offer(&self, restart: bool) -> Result<String, PeerError> {
        self.negotiate("offer", move |mut negotiation| async move {
            let offer = negotiation.create_offer(restart).await;
            negotiation.hurry();
            offer
        })
        .await
    }

    /// Takes an offer and gives the answer to it. On a live connection it may be an ICE restart.
    ///
    /// # Errors
    /// [`PeerError::BadDescription`] when the offer cannot be used, [`PeerError::Describe`] when
    /// there is no answer to it, or [`PeerError::Closed`].
    pub async fn accept_offer(&self, sdp: &str) -> Result<String, PeerError> {
        let sdp = sdp.to_owned();
        self.negotiate("offer", move |mut negotiation| async move {
            let answer = negotiation.accept_offer(sdp).await;
            negotiation.hurry();
            answer
        })
        .await
    }

    /// Takes the answer to [`create_offer`](Self::create_offer).
    ///
    /// # Errors
    /// [`PeerError::BadDescription`] when the answer cannot be used, or [`PeerError::Closed`].
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), PeerError> {
        let sdp = sdp.to_owned();
        self.negotiate("answer", move |mut negotiation| async move {
            negotiation.accept_answer(sdp).await
        })
        .await
    }

    /// Takes a candidate of the other end. One that comes before its description is kept for it.
    ///
    /// # Errors
    /// [`PeerError::BadCandidate`] when it makes no sense; the connection may still come about by
    /// others.
    pub async fn add_candidate(&self, candidate: Candidate) -> Result<(), PeerError> {
        self.negotiate("candidate", move |mut negotiation| async move {
            negotiation.add_candidate(candidate).await
        })
        .await
    }

    /// Runs a step of the negotiation on the peer's thread, one at a time. What came from the other
    /// end is parsed there; should it trip a defect in the parser, only this step fails.
    async fn negotiate<T, F, S>(&self, kind: &'static str, step: S) -> Result<T, PeerError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, PeerError>> + Send,
        S: FnOnce(tokio::sync::OwnedMutexGuard<Negotiation>) -> F + Send + 'static,
    {
        if self.inner.shared.ended.is_cancelled() {
            return Err(PeerError::Closed);
        }
        let negotiation = Arc::clone(&self.inner.negotiation);
        let task = self
            .inner
            .shared
            .thread
            .spawn(async move { step(negotiation.lock_owned().await).await });
        match task.await {
            // Closed in the middle of the step: that is the reason, whatever the step met first.
            Ok(Err(_)) if self.state() == PeerState::Closed => Err(PeerError::Closed),
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(PeerError::BadDescription {
                kind,
                reason: "reading it failed in a way that should not happen".to_owned(),
            }),
            Err(_) => Err(PeerError::Closed),
        }
    }

    /// Says something. On a reliable lane it waits for room in the lane's queue; a lane that is
    /// not open yet keeps what is sent. On the others it is [`try_send_lossy`](Self::try_send_lossy).
    ///
    /// # Errors
    /// [`PeerError::TooLarge`], or [`PeerError::Closed`].
    pub async fn send(&self, lane: Lane, message: &Message) -> Result<(), PeerError> {
        match self.inner.shared.outlet(lane) {
            Some(outlet) => outlet.send(Frame::Text(message.encode())).await,
            None => self.try_send_lossy(lane, message),
        }
    }

    /// Says something on `state` or `drive`. Never waits: where the channel does not keep up, the
    /// oldest message in the queue is lost.
    ///
    /// # Errors
    /// [`PeerError::Reliable`] for another lane, [`PeerError::TooLarge`], or [`PeerError::Closed`].
    pub fn try_send_lossy(&self, lane: Lane, message: &Message) -> Result<(), PeerError> {
        let outlet = self.inner.shared.lossy(lane).ok_or(PeerError::Reliable(lane))?;
        if self.inner.shared.ended.is_cancelled() {
            return Err(PeerError::Closed);
        }
        outlet.send(message.encode())
    }

    /// Sends one encoded [`Chunk`](halyard_protocol::channel::Chunk) on `bulk` and waits for room.
    /// A `BytesMut` is not copied; `Bytes` is, where it is shared.
    ///
    /// # Errors
    /// [`PeerError::TooLarge`], or [`PeerError::Closed`].
    pub async fn send_chunk(&self, chunk: impl Into<BytesMut>) -> Result<(), PeerError> {
        self.inner.shared.bulk.send(Frame::Binary(chunk.into())).await
    }

    /// The next binary message of `bulk`. `None` when the lane is gone.
    ///
    /// One consumer at a time. As long as it does not come back for more, the other end stops after
    /// 16 MiB, and no other lane notices.
    pub async fn recv_bulk(&self) -> Option<Bytes> {
        self.inner.shared.inbox.pop().await
    }

    /// Says something to an existing client on its one channel. Waits for room.
    ///
    /// # Errors
    /// [`PeerError::NoLegacyChannel`] before it opened one, [`PeerError::TooLarge`], or
    /// [`PeerError::Closed`].
    pub async fn send_legacy_text(&self, text: String) -> Result<(), PeerError> {
        self.send_legacy(Frame::Text(text)).await
    }

    /// Sends bytes of a file to an existing client. Waits for room.
    ///
    /// # Errors
    /// [`PeerError::NoLegacyChannel`] before it opened one, [`PeerError::TooLarge`], or
    /// [`PeerError::Closed`].
    pub async fn send_legacy_binary(&self, bytes: impl Into<BytesMut>) -> Result<(), PeerError> {
        self.send_legacy(Frame::Binary(bytes.into())).await
    }

    async fn send_legacy(&self, frame: Frame) -> Result<(), PeerError> {
        let shared = &self.inner.shared;
        if !shared.slot(None).is_claimed() && !shared.ended.is_cancelled() {
            return Err(PeerError::NoLegacyChannel);
        }
        shared.legacy.send(frame).await
    }

    /// Bytes that were handed over on this lane and are not acknowledged yet. On a lossy lane it
    /// is always 0: nothing there is waited for.
    pub async fn buffered(&self, lane: Lane) -> usize {
        match self.inner.shared.outlet(lane) {
            Some(outlet) => outlet.buffered().await,
            None => 0,
        }
    }

    /// Waits until the queue of this lane takes a message without waiting.
    ///
    /// # Errors
    /// [`PeerError::Closed`].
    pub async fn writable(&self, lane: Lane) -> Result<(), PeerError> {
        match self.inner.shared.outlet(lane) {
            Some(outlet) => outlet.writable().await,
            None if self.inner.shared.ended.is_cancelled() => Err(PeerError::Closed),
            None => Ok(()),
        }
    }

    /// The track to send the first picture on; with [`VideoRole::Send`](super::VideoRole::Send) only.
    pub fn video(&self) -> Option<VideoTrack> {
        self.inner.videos.first().cloned()
    }

    /// The tracks to send pictures on, one for each of [`PeerConfig::places`]; with
    /// [`VideoRole::Send`](super::VideoRole::Send) only. Those that the viewer did not ask for are
    /// never ready.
    pub fn videos(&self) -> &[VideoTrack] {
        &self.inner.videos
    }

    /// The track to send sound on; with [`AudioRole::sends`](super::AudioRole::sends) only.
    pub fn audio(&self) -> Option<AudioTrack> {
        self.inner.audio.clone()
    }

    /// The next packet of the other end's sound, in the order in which they come in; with
    /// [`AudioRole::receives`](super::AudioRole::receives) only. Of those nobody came for, the newest
    /// 50 are kept. `None` when the connection is gone.
    pub async fn next_sound(&self) -> Option<RtpPacket> {
        self.inner.shared.sound.next().await
    }

    /// The next picture; with [`VideoRole::Receive`](super::VideoRole::Receive) only. Of those
    /// nobody came for, the newest 32 are kept. `None` when the connection is gone.
    pub async fn next_frame(&self) -> Option<VideoFrame> {
        self.inner.shared.frames.next().await
    }

    /// When the newest picture was whole, whether or not anybody came for it.
    pub fn newest_frame(&self) -> Option<std::time::Instant> {
        self.inner.shared.frames.newest()
    }

    /// The next e-stop that was pressed at the other end, on whatever lane it came. It overtakes
    /// everything that waits to be taken from the events.
    pub async fn pressed(&self) {
        self.inner.shared.pressed.notified().await;
    }

    /// Asks the sender of the picture for a key frame (PLI), as soon as it is known.
    pub fn request_keyframe(&self) {
        self.inner.shared.frames.want_key();
    }

    /// How the connection is right now.
    pub fn state(&self) -> PeerState {
        *self.inner.shared.state.borrow()
    }

    /// How much of what is sent the path carries, as it changes. Before the first picture it is a guess.
    pub fn estimate(&self) -> watch::Receiver<Estimate> {
        self.inner.shared.estimate.subscribe()
    }

    /// Packets of pictures that were sent again because the other end missed them.
    pub fn packets_repaired(&self) -> u64 {
        self.inner.shared.repaired.load(Ordering::Relaxed)
    }

    /// How the connection is doing.
    pub async fn stats(&self) -> PeerStats {
        stats::take(&self.inner.shared, &*self.inner.connection).await
    }

    /// Closes the connection: sends what is queued on `control` for at most half a second, tells
    /// the other end, and waits for the peer's tasks. Closing twice is fine.
    pub async fn close(&self) {
        // On its own task, so that it goes on if this call is not waited for. With its thread gone
        // there is nothing left to close.
        let _ = self.inner.shared.thread.spawn(self.inner.closing()).await;
    }
}

impl Inner {
    /// Everything that closing takes, including what has to live until it is done.
    fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        let kept = (Arc::clone(&self.connection), self.threads.clone());
        async move {
            let flushed = async {
                let (done, flushed) = oneshot::channel();
                if shared.state.borrow().is_connected()
                    && shared.control.send(Frame::Flush(done)).await.is_ok()
                {
                    let _ = flushed.await;
                }
            };
            tokio::select! {
                _ = timeout(LAST_WORDS, flushed) => {}
                () = shared.ended.cancelled() => {}
            }
            shared.stop.cancel();
            shared.ended.cancelled().await;
            drop(kept);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.shared.ended.is_cancelled() {
            self.shared.thread.spawn(self.closing());
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("state", &self.state()).finish_non_exhaustive()
    }
}
