//! What goes into and comes out of a video track.

use std::time::Instant;

use bytes::{Buf, Bytes};

/// One encoded picture to send.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// H.264 in Annex B (start codes between NAL units), shared by all viewers.
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
    /// The connection is gone.
    #[error("the connection is closed")]
    Closed,
}
