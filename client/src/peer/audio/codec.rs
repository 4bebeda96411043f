//! What is offered for sound, and what was agreed.

use std::sync::Arc;

use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine},
    rtp_transceiver::rtp_sender::{
        RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
        RtpCodecKind,
    },
};
use webrtc::{
    media_stream::track_local::static_rtp::TrackLocalStaticRTP,
    rtp_transceiver::{RTCRtpTransceiverDirection, RtpTransceiver},
};

/// Its payload type in our own offers.
const PAYLOAD_TYPE: u8 = 111;

/// Opus over RTP always says 48 kHz and two channels, whatever is inside (RFC 7587, section 4.1).
fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// Makes Opus known to the connection.
pub(in super::super) fn register(engine: &mut MediaEngine) -> rtc::shared::error::Result<()> {
    let codec = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: PAYLOAD_TYPE };
    engine.register_codec(codec, RtpCodecKind::Audio)
}

/// A track with a source number of its own, in a media stream that no picture is in.
pub(super) fn track(ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: opus(),
        ..Default::default()
    };
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "halyard-sound".to_owned(),
        "sound".to_owned(),
        "sound".to_owned(),
        RtpCodecKind::Audio,
        vec![encoding],
    )))
}

/// The payload type that the listener agreed to, if to anything.
pub(in super::super) async fn agreed(transceiver: &dyn RtpTransceiver) -> Option<u8> {
    let sends = matches!(
        transceiver.current_direction().await,
        Ok(RTCRtpTransceiverDirection::Sendonly | RTCRtpTransceiverDirection::Sendrecv)
    );
    let sender = transceiver.sender().await.ok().flatten().filter(|_| sends)?;
    let parameters = sender.get_parameters().await.ok()?.rtp_parameters;
    let is_opus = |codec: &&RTCRtpCodecParameters| {
        codec.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_OPUS)
    };
    parameters.codecs.iter().find(is_opus).map(|codec| codec.payload_type)
}
