//! What is offered for video, and what was agreed.

use std::sync::Arc;

use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::configuration::{
        interceptor_registry::{Registry, register_default_interceptors},
        media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX, MIME_TYPE_VP8, MediaEngine},
    },
    rtp_transceiver::rtp_sender::{
        RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
        RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RTCRtpParameters,
        RTCRtpRtxParameters, RtpCodecKind,
    },
};
use webrtc::{
    media_stream::track_local::static_rtp::TrackLocalStaticRTP,
    rtp_transceiver::{RTCRtpTransceiverDirection, RtpTransceiver},
};

use super::{
    super::{PeerConfig, VideoRole, audio},
    VideoCodec,
    departures::{ABS_SEND_TIME, TRANSPORT_CC},
};

/// Asks the viewer to show every picture at once instead of smoothing their arrival.
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// Clock of all video in RTP, in Hz.
const CLOCK_RATE: u32 = 90_000;

/// The payload type of VP8 in our own offers.
const VP8_PAYLOAD_TYPE: u8 = 96;

/// Profiles, the most widely decoded first: constrained baseline, baseline, main, high; each with
/// its payload type in our own offers. The number after it is that of its repairs.
const PROFILES: [(&str, u8); 4] =
    [("42e01f", 102), ("42001f", 104), ("4d001f", 106), ("64001f", 108)];

/// What was agreed with the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Agreed {
    h264: Option<u8>,
    vp8: Option<u8>,
    /// The id of the playout delay extension, where the viewer knows it.
    pub(super) playout_delay: Option<u8>,
}

impl Agreed {
    /// The payload type of this codec, where the viewer plays it.
    pub(super) fn payload_type(self, codec: VideoCodec) -> Option<u8> {
        match codec {
            VideoCodec::H264 => self.h264,
            VideoCodec::Vp8 => self.vp8,
        }
    }
}

/// H.264, VP8 where pictures are sent, Opus where there is sound, and the reports and retransmissions around them.
pub(in super::super) fn engine(
    config: &PeerConfig,
) -> rtc::shared::error::Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    if config.audio.is_any() {
        audio::register(&mut engine)?;
    }
    for (profile, payload_type) in PROFILES {
        let rtp_codec = h264(profile);
        let codec = RTCRtpCodecParameters { rtp_codec, payload_type };
        engine.register_codec(codec, RtpCodecKind::Video)?;
        let codec =
            RTCRtpCodecParameters { rtp_codec: rtx(payload_type), payload_type: payload_type + 1 };
        engine.register_codec(codec, RtpCodecKind::Video)?;
    }
    for uri in [PLAYOUT_DELAY, TRANSPORT_CC, ABS_SEND_TIME] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
        engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    }
    if config.video == VideoRole::Send {
        let codec = RTCRtpCodecParameters { rtp_codec: vp8(), payload_type: VP8_PAYLOAD_TYPE };
        engine.register_codec(codec, RtpCodecKind::Video)?;
    }
    let registry = register_default_interceptors(Registry::new(), &mut engine)?;
    Ok((engine, registry))
}

/// How viewers ask for what they missed and tell what arrived.
fn feedback() -> Vec<RTCPFeedback> {
    [("ccm", "fir"), ("nack", ""), ("nack", "pli"), ("goog-remb", ""), ("transport-cc", "")]
        .map(|(typ, parameter)| RTCPFeedback {
            typ: typ.to_owned(),
            parameter: parameter.to_owned(),
        })
        .into()
}

fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: CLOCK_RATE,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: feedback(),
    }
}

fn h264(profile: &str) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: CLOCK_RATE,
        channels: 0,
        sdp_fmtp_line: format!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        ),
        rtcp_feedback: feedback(),
    }
}

/// Repairs of packets of this payload type (RFC 4588).
fn rtx(payload_type: u8) -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        clock_rate: CLOCK_RATE,
        channels: 0,
        sdp_fmtp_line: format!("apt={payload_type}"),
        rtcp_feedback: Vec::new(),
    }
}

/// A track with a source number of its own, and one for its repairs. Each place is a media stream of its
/// own, so that a viewer plays none of them in step with another.
pub(super) fn track(ssrc: u32, place: usize) -> Arc<TrackLocalStaticRTP> {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: Some(RTCRtpRtxParameters { ssrc: ssrc.wrapping_add(1) }),
            ..Default::default()
        },
        codec: h264(PROFILES[0].0),
        ..Default::default()
    };
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        format!("halyard-{place}"),
        format!("video-{place}"),
        "video".to_owned(),
        RtpCodecKind::Video,
        vec![encoding],
    )))
}

/// What the viewer agreed to for one picture, if to anything.
pub(in super::super) async fn agreed(transceiver: &dyn RtpTransceiver) -> Option<Agreed> {
    let sends = matches!(
        transceiver.current_direction().await,
        Ok(RTCRtpTransceiverDirection::Sendonly | RTCRtpTransceiverDirection::Sendrecv)
    );
    let sender = transceiver.sender().await.ok().flatten().filter(|_| sends)?;
    choose(&sender.get_parameters().await.ok()?.rtp_parameters)
}

/// Picks among what both ends know. The order is the other end's, so the first may be anything.
fn choose(parameters: &RTCRtpParameters) -> Option<Agreed> {
    let best = parameters
        .codecs
        .iter()
        .filter_map(|codec| Some((rank(&codec.rtp_codec)?, codec.payload_type)))
        .min_by_key(|(rank, _)| *rank);
    let is_vp8 = |codec: &&RTCRtpCodecParameters| {
        codec.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_VP8)
    };
    let vp8 = parameters.codecs.iter().find(is_vp8).map(|codec| codec.payload_type);
    let h264 = best.map(|(_, payload_type)| payload_type);
    h264.or(vp8)?;
    let playout_delay = parameters
        .header_extensions
        .iter()
        .find(|extension| extension.uri == PLAYOUT_DELAY)
        .and_then(|extension| u8::try_from(extension.id).ok())
        // Larger ids need the two-byte form, which not every viewer takes.
        .filter(|id| (1..=14).contains(id));
    Some(Agreed { h264, vp8, playout_delay })
}

/// How well a codec suits, the least best; `None` if it does not.
fn rank(codec: &RTCRtpCodec) -> Option<usize> {
    if !codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_H264) {
        return None;
    }
    let parameter = |name: &str| {
        codec.sdp_fmtp_line.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if parameter("packetization-mode").as_deref() != Some("1") {
        return None;
    }
    let profile = parameter("profile-level-id").unwrap_or_else(|| "42000a".to_owned());
    let position = PROFILES
        .iter()
        .position(|(known, _)| profile.get(..4).is_some_and(|start| known.starts_with(start)));
    Some(position.unwrap_or(PROFILES.len()))
}

#[cfg(test)]
mod tests {
    use rtc::rtp_transceiver::rtp_sender::RTCRtpHeaderExtensionParameters;

    use super::*;

    fn codec(mime_type: &str, fmtp: &str, payload_type: u8) -> RTCRtpCodecParameters {
        let rtp_codec = RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            sdp_fmtp_line: fmtp.to_owned(),
            ..Default::default()
        };
        RTCRtpCodecParameters { rtp_codec, payload_type }
    }

    #[test]
    fn constrained_baseline_wins_whatever_the_order() {
        let parameters = RTCRtpParameters {
            codecs: vec![
                codec("video/VP8", "", 96),
                codec("video/H264", "packetization-mode=1;profile-level-id=64001f", 112),
                codec("video/H264", "packetization-mode=0;profile-level-id=42e01f", 108),
                codec("video/h264", "profile-level-id=42E034; packetization-mode=1", 109),
                codec("video/H264", "packetization-mode=1;profile-level-id=42001f", 103),
            ],
            header_extensions: vec![RTCRtpHeaderExtensionParameters {
                id: 5,
                uri: PLAYOUT_DELAY.to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let agreed = choose(&parameters);
        assert_eq!(agreed, Some(Agreed { h264: Some(109), vp8: Some(96), playout_delay: Some(5) }));
    }

    #[test]
    fn a_viewer_may_play_one_codec_and_not_the_other() {
        let knows = |codecs| choose(&RTCRtpParameters { codecs, ..Default::default() });
        let agreed = knows(vec![codec("video/VP8", "", 96)]).expect("one of ours");
        assert_eq!(agreed.payload_type(VideoCodec::Vp8), Some(96));
        assert_eq!(agreed.payload_type(VideoCodec::H264), None);
        assert_eq!(knows(vec![codec("video/AV1", "", 45)]), None);
    }

    #[test]
    fn an_extension_id_beyond_the_short_form_is_not_used() {
        let parameters = RTCRtpParameters {
            codecs: vec![codec("video/H264", "packetization-mode=1", 100)],
            header_extensions: vec![RTCRtpHeaderExtensionParameters {
                id: 20,
                uri: PLAYOUT_DELAY.to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let agreed = choose(&parameters);
        assert_eq!(agreed, Some(Agreed { h264: Some(100), vp8: None, playout_delay: None }));
    }
}
