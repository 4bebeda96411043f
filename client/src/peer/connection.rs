//! The handle: what can be done with a peer.

use bytes::{Bytes, BytesMut};
use halyard_protocol::{
    channel::{Lane, Message},
    signal::Candidate,
};
use tokio::sync::mpsc;

use super::{
    PeerConfig, PeerError, PeerEvent, PeerState, PeerStats,
    video::{VideoFrame, VideoTrack},
};

/// One end of a connection. Clones are the same connection; it closes when the last one is
/// dropped, but only [`close`](Self::close) waits until the other end has been told.
#[derive(Clone)]
pub struct Peer {}

impl Peer {
    /// The end that offers: it opens the four lanes.
    pub async fn offerer(config: PeerConfig) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        todo!()
    }

    /// The end that answers: it takes the lanes, or an existing client's one channel.
    pub async fn answerer(
        config: PeerConfig,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeerError> {
        todo!()
    }

    /// An offer for the other end. With `restart`, new addresses are looked for on the live
    /// connection; lanes and what is on them survive.
    ///
    /// It contains the candidates found within [`PeerConfig::gather_wait`]; more may come as
    /// [`PeerEvent::LocalCandidate`].
    pub async fn create_offer(&self, restart: bool) -> Result<String, PeerError> {
        todo!()
    }

    /// Takes an offer and gives the answer to it. On a live connection it may be an ICE restart.
    pub async fn accept_offer(&self, sdp: &str) -> Result<String, PeerError> {
        todo!()
    }

    /// Takes the answer to [`create_offer`](Self::create_offer).
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), PeerError> {
        todo!()
    }

    /// Takes a candidate of the other end. One that comes before its description is kept for it.
    pub async fn add_candidate(&self, candidate: Candidate) -> Result<(), PeerError> {
        todo!()
    }

    /// Says something. On a reliable lane it waits for room in the lane's queue; a lane that is
    /// not open yet keeps what is sent. On the others it is [`try_send_lossy`](Self::try_send_lossy).
    pub async fn send(&self, lane: Lane, message: &Message) -> Result<(), PeerError> {
        todo!()
    }

    /// Says something on `state` or `drive`. Never waits: where the channel does not keep up, the
    /// oldest message in the queue is lost.
    pub fn try_send_lossy(&self, lane: Lane, message: &Message) -> Result<(), PeerError> {
        todo!()
    }

    /// Sends one encoded [`Chunk`](halyard_protocol::channel::Chunk) on `bulk` and waits for room.
    /// A `BytesMut` is not copied; `Bytes` is, where it is shared.
    pub async fn send_chunk(&self, chunk: impl Into<BytesMut>) -> Result<(), PeerError> {
        todo!()
    }

    /// The next binary message of `bulk`. `None` when the lane is gone.
    ///
    /// One consumer at a time. What it has taken may be sent again: as long as it does not come
    /// back for more, the other end stops after 16 MiB, and no other lane notices.
    pub async fn recv_bulk(&self) -> Option<Bytes> {
        todo!()
    }

    /// Says something to an existing client on its one channel. Waits for room.
    pub async fn send_legacy_text(&self, text: String) -> Result<(), PeerError> {
        todo!()
    }

    /// Sends bytes of a file to an existing client. Waits for room.
    pub async fn send_legacy_binary(&self, bytes: impl Into<BytesMut>) -> Result<(), PeerError> {
        todo!()
    }

    /// Bytes that were handed over on this lane and are not acknowledged yet.
    pub async fn buffered(&self, lane: Lane) -> usize {
        todo!()
    }

    /// Waits until this lane is open and takes a message without waiting.
    pub async fn writable(&self, lane: Lane) -> Result<(), PeerError> {
        todo!()
    }

    /// The track to send a picture on; with [`VideoRole::Send`](super::VideoRole::Send) only.
    pub fn video(&self) -> Option<VideoTrack> {
        todo!()
    }

    /// The next picture; with [`VideoRole::Receive`](super::VideoRole::Receive) only. Of those
    /// nobody came for, the newest 32 are kept. `None` when the connection is gone.
    pub async fn next_frame(&self) -> Option<VideoFrame> {
        todo!()
    }

    /// Asks the sender of the picture for a key frame (PLI).
    pub async fn request_keyframe(&self) -> Result<(), PeerError> {
        todo!()
    }

    /// How the connection is right now.
    pub fn state(&self) -> PeerState {
        todo!()
    }

    /// How the connection is doing.
    pub async fn stats(&self) -> PeerStats {
        todo!()
    }

    /// Closes the connection: sends what is queued on `control` for at most half a second, tells
    /// the other end, and waits for the peer's tasks. Closing twice is fine.
    pub async fn close(&self) {
        todo!()
    }
}
