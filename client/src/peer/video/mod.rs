//! Pictures over RTP: H.264 or VP8 sent to one viewer, H.264 received from one sender.
//!
//! * [`AccessUnit`] is one picture; [`annexb`] and [`payload`] cut it into packets.
//! * [`VideoTrack`] numbers the packets for its viewer and never waits.
//! * [`codec`] says what is offered and picks what was agreed; [`feedback`] hears the viewer ask
//!   for a key frame.
//! * [`responder`] sends again what the viewer misses, as [`retransmit`] allows; [`departures`]
//!   numbers what leaves and hears what became of it.
//! * [`receive`](receive()) puts pictures together again ([`assemble`]).

mod annexb;
mod assemble;
pub(super) mod codec;
pub(super) mod departures;
pub(super) mod feedback;
mod forward;
mod frames;
mod payload;
mod receive;
pub(super) mod responder;
mod retransmit;
mod track;
mod types;

pub(super) use frames::FrameQueue;
pub(super) use receive::receive;
pub use track::VideoTrack;
pub use types::{AccessUnit, NotSent, RtpPacket, RtpParseError, VideoCodec, VideoFrame};
