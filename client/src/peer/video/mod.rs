//! Pictures: H.264 over RTP, sent to one viewer or received from one sender.

mod track;
mod types;

pub use track::VideoTrack;
pub use types::{AccessUnit, NotSent, RtpPacket, RtpParseError, VideoFrame};
