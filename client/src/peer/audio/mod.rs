//! Sound: Opus over RTP, sent to one peer or received from it.
//!
//! Sound never waits for pictures and never delays them: it has media streams of its own, so that no
//! player keeps the two in step, and a queue of its own that loses what does not fit.

mod codec;
mod track;

use std::sync::Arc;

use bytes::Bytes;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

pub(super) use codec::{agreed, register};
pub use track::AudioTrack;

use super::{shared::Shared, video::RtpPacket};

/// Packets that wait for whoever plays them: a second of sound.
pub(super) const WAITING: usize = 50;

/// One packet of Opus to send: 20 ms as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundPacket {
    /// One Opus packet (RFC 6716), shared by all who hear it.
    pub data: Bytes,
    /// 48 kHz, of any origin. Only differences matter.
    pub rtp_time: u32,
}

/// Takes what the other end says, until the track or the peer ends. The oldest packets are lost
/// where nobody comes for them.
pub(super) async fn receive(shared: Arc<Shared>, track: Arc<dyn TrackRemote>) {
    let stop = shared.stop.clone();
    let run = async {
        loop {
            let packet = match track.poll().await {
                Some(TrackRemoteEvent::OnRtpPacket(packet)) => packet,
                Some(TrackRemoteEvent::OnEnded) | None => return,
                Some(_) => continue,
            };
            shared.sound.push(RtpPacket {
                sequence: packet.header.sequence_number,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                payload: packet.payload,
            });
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = run => {}
    }
}
