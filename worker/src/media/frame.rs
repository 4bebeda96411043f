//! One encoded picture.

use std::time::Instant;

use bytes::Bytes;
pub use halyard_client::peer::VideoCodec;

/// One access unit, ready for any number of packetizers: cloning it copies no bytes.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Which [rendition](super::rendition) of the picture it belongs to, counted from the best.
    pub rendition: usize,
    /// What is in it. It may change with a key frame, as from a camera's VP8 to the slate.
    pub codec: VideoCodec,
    /// H.264 in Annex B form: every NAL unit behind a four-byte start code. A key frame carries its
    /// parameter sets, so a decoder can start on it knowing nothing. Or a frame of VP8.
    pub data: Bytes,
    /// Whether a decoder can start here.
    pub is_key: bool,
    /// When the picture was taken or painted; for pictures that came over the network, when their
    /// last packet arrived.
    pub captured: Instant,
    /// The presentation time in ticks of 90 kHz, wrapping. It never jumps, not even when the sender
    /// of an RTP stream starts anew.
    pub rtp_time: u32,
}
