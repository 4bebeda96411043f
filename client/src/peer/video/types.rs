//! What goes into and comes out of a video track.

use std::time::Instant;

use bytes::{Buf, Bytes};

/// How pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VideoCodec {
    /// H.264 in Annex B: start codes between NAL units.
    #[default]
    H264,
    /// VP8: one frame (RFC 6386).
    Vp8,
}

impl VideoCodec {
    /// As it stands in messages and settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Vp8 => "vp8",
        }
    }

    /// As it is told to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Vp8 => "VP8",
        }
    }
}

/// One encoded picture to send.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// What is in it.
    pub codec: VideoCodec,
    /// One picture, shared by all viewers.
    pub data: Bytes,
    /// 90 kHz, of any origin. Only differences matter.
    pub rtp_time: u32,
    /// Whether decoding may start here.
    pub is_key: bool,
}

/// One picture that came in whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFrame {
    /// H.264 in Annex B.
    pub data: Bytes,
    /// 90 kHz, of the sender's origin.
    pub rtp_time: u32,
    /// Whether decoding may start here.
    pub is_key: bool,
    /// When its last packet arrived.
    pub received: Instant,
    /// Whether pictures before this one are missing: wait for a key frame.
    pub gap_before: bool,
}

/// The parts of an RTP packet that are passed through; the rest belongs to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpPacket {
    /// As the source numbers its packets.
    pub sequence: u16,
    /// 90 kHz, of the source's origin.
    pub timestamp: u32,
    /// The last packet of a picture.
    pub marker: bool,
    /// RFC 6184, `packetization-mode` 0 or 1.
    pub payload: Bytes,
}

/// Bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpParseError {
    /// Cut off in its header.
    #[error("a datagram of {0} bytes is too short for the RTP header it announces")]
    TooShort(usize),
    /// Something else was sent to this port.
    #[error("a datagram of RTP version {0}, version 2 is accepted")]
    Version(u8),
    /// More padding than packet.
    #[error("an RTP packet claims {0} bytes of padding, more than it has")]
    Padding(u8),
}

impl RtpPacket {
    /// Reads a datagram without copying its payload (RFC 3550, section 5.1). Sources and header
    /// extensions are skipped.
    pub fn parse(mut datagram: Bytes) -> Result<Self, RtpParseError> {
        let len = datagram.len();
        let need = |datagram: &Bytes, bytes: usize| {
            if datagram.len() < bytes { Err(RtpParseError::TooShort(len)) } else { Ok(()) }
        };
        need(&datagram, 12)?;
        let first = datagram.get_u8();
        if first >> 6 != 2 {
            return Err(RtpParseError::Version(first >> 6));
        }
        let (has_padding, has_extension) = (first & 0x20 != 0, first & 0x10 != 0);
        let marker = datagram.get_u8() & 0x80 != 0;
        let sequence = datagram.get_u16();
        let timestamp = datagram.get_u32();
        let sources = 4 * usize::from(first & 0x0f);
        datagram.advance(4);
        need(&datagram, sources)?;
        datagram.advance(sources);
        if has_extension {
            need(&datagram, 4)?;
            datagram.advance(2);
            let words = usize::from(datagram.get_u16());
            need(&datagram, 4 * words)?;
            datagram.advance(4 * words);
        }
        if has_padding {
            let padding = datagram.last().copied().unwrap_or(0);
            if padding == 0 || usize::from(padding) > datagram.len() {
                return Err(RtpParseError::Padding(padding));
            }
            datagram.truncate(datagram.len() - usize::from(padding));
        }
        Ok(Self { sequence, timestamp, marker, payload: datagram })
    }
}

/// A picture was not sent. Sending never waits, so that one slow viewer delays nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The viewer has not agreed to a picture yet, or the connection is not up.
    #[error("the viewer is not ready for pictures")]
    NotReady,
    /// The connection does not keep up. What follows cannot be decoded until the next key frame:
    /// everything until then is dropped too, and [`KeyframeRequested`] is reported.
    ///
    /// [`KeyframeRequested`]: super::super::PeerEvent::KeyframeRequested
    #[error("the connection does not keep up, pictures are dropped until the next key frame")]
    Behind,
    /// The viewer does not play this codec. Another may be sent.
    #[error("the viewer does not play {name}", name = .0.name())]
    Unplayable(VideoCodec),
    /// The connection is gone, or the track was [begun](super::VideoTrack::begin) anew for another
    /// picture.
    #[error("the connection is closed, or shows another picture")]
    Closed,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_is_read_whatever_its_header_carries() {
        // Padding, extension, two sources, marker; payload type 96.
        let mut packet = vec![0xb2, 0x80 | 0x60, 0x12, 0x34, 0, 0, 0x0b, 0xb8, 1, 2, 3, 4];
        packet.extend_from_slice(&[9; 8]);
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
        packet.extend_from_slice(&[0x65, 1, 2, 3]);
        packet.extend_from_slice(&[0, 0, 3]);
        let expected = RtpPacket {
            sequence: 0x1234,
            timestamp: 3000,
            marker: true,
            payload: Bytes::from_static(&[0x65, 1, 2, 3]),
        };
        assert_eq!(RtpPacket::parse(packet.into()), Ok(expected));
    }

    #[test]
    fn what_is_no_packet_is_refused_with_the_reason() {
        let parse = |bytes: &[u8]| RtpPacket::parse(Bytes::copy_from_slice(bytes));
        assert_eq!(parse(&[]), Err(RtpParseError::TooShort(0)));
        assert_eq!(parse(&[0x80; 11]), Err(RtpParseError::TooShort(11)));
        assert_eq!(parse(&[0x40; 20]), Err(RtpParseError::Version(1)));
        assert_eq!(parse(&[&[0x8f][..], &[0; 30]].concat()), Err(RtpParseError::TooShort(31)));
        assert_eq!(parse(&[&[0xa0][..], &[0; 20]].concat()), Err(RtpParseError::Padding(0)));
        assert_eq!(parse(&[&[0xa0][..], &[9; 15]].concat()), Err(RtpParseError::Padding(9)));
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_without_panic(
            datagram in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            if let Ok(packet) = RtpPacket::parse(datagram.clone().into()) {
                prop_assert!(packet.payload.len() <= datagram.len() - 12);
            }
        }
    }
}
