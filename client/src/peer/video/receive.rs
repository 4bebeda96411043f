//! Receiving a picture: packets in, pictures out, and asking for a key frame where one is needed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};

use super::{
    super::shared::Shared,
    assemble::{Assembler, Piece},
};

/// A key frame is not asked for more often: it has to be encoded and to arrive first.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Runs until the track or the peer ends.
pub(in super::super) async fn receive(shared: Arc<Shared>, track: Arc<dyn TrackRemote>) {
    let stop = shared.stop.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = run(&shared, &*track) => {}
    }
}

async fn run(shared: &Shared, track: &dyn TrackRemote) {
    let mut assembler = Assembler::default();
    let mut asked: Option<Instant> = None;
    // A decoder starts at a key frame, and starts again at one after a loss.
    let mut needs_key = true;
    let mut source = None;
    loop {
        let event = tokio::select! {
            event = track.poll() => event,
            () = shared.frames.wanted_key() => {
                needs_key = true;
                asked = None;
                ask(track, source).await;
                continue;
            }
        };
        let packet = match event {
            Some(TrackRemoteEvent::OnRtpPacket(packet)) => packet,
            Some(TrackRemoteEvent::OnEnded) | None => return,
            Some(_) => continue,
        };
        source = Some(packet.header.ssrc);
        let now = Instant::now();
        let piece = Piece {
            sequence: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
        };
        for frame in assembler.push(now, piece) {
            needs_key |= frame.gap_before;
            needs_key &= !frame.is_key;
            shared.frames.push(frame);
        }
        if needs_key && asked.is_none_or(|asked| now.duration_since(asked) >= ASK_EVERY) {
            asked = Some(now);
            ask(track, source).await;
        }
    }
}

async fn ask(track: &dyn TrackRemote, source: Option<u32>) {
    let Some(media_ssrc) = source else { return };
    let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
    if let Err(error) = track.write_rtcp(vec![Box::new(request)]).await {
        tracing::debug!(%error, "a key frame could not be asked for");
    }
}
