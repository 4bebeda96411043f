//! Pictures: where they come from, how they are encoded once, how they reach every viewer.
//!
//! ```text
//! painter -> Picture -> (leaky slot) -> encoder ─┐
//!                                                ├─ EncodedFrame -> Fanout -> queue per viewer
//! UDP -> depacketizer -> access units ───────────┘
//! ```
//!
//! * [`spec`] is what a user types after `--video`, and what it means.
//! * [`source`] is the trait behind which every origin of pictures stands.
//! * [`sim`] is the simulated rover: its world, and the picture of it. [`pattern`] is a test card.
//! * [`painted`] runs a painter and the encoder for both of them; [`encoder`] is H.264 in software.
//! * [`gst`] is what GStreamer brings: cameras, RTSP, films, any pipeline, and hardware encoders.
//! * [`rtp`] takes H.264 that somebody else encoded.
//! * [`supervisor`] stands before each of them: a source that fails is started again alone, and a slate
//!   is shown meanwhile.
//! * [`fanout`] gives one encode to any number of viewers, none of whom can slow another.
//! * [`rendition`] is in which qualities a picture is to be had.
//! * [`tracks`] are all pictures of a worker by their names.
//! * [`stills`] decodes it again, once for all, for those who can show nothing but JPEG.
//! * [`follow`] makes what is encoded follow the network of those who watch.
//! * [`keyframes`] is the rule for when a key frame is made; [`strip`] times the picture.
//!
//! Whatever the origin, viewers get whole access units in Annex B form: there is one path to test,
//! and the packetizer of the peer connection cuts them to its own MTU.

#![expect(clippy::cast_possible_wrap, reason = "pixels and counts are far below 2^31")]

pub mod encoder;
pub mod fanout;
pub mod follow;
pub mod frame;
pub mod gst;
pub mod h264;
pub mod keyframes;
pub mod painted;
pub mod pattern;
pub mod picture;
pub mod rendition;
pub mod restart;
pub mod rtp;
pub mod sim;
pub mod slot;
pub mod source;
pub mod spec;
pub mod stills;
pub mod strip;
pub mod supervisor;
pub mod text;
pub mod tracks;
pub mod vp8;

pub use fanout::{Fanout, FanoutStats, Subscription};
pub use frame::{EncodedFrame, VideoCodec};
pub use keyframes::KeyframeReason;
pub use rendition::{Rendition, Renditions};
pub use sim::SimHandle;
pub use source::{Source, SourceError, SourceEvent};
pub use spec::SourceSpec;
pub use supervisor::Supervised;
pub use tracks::{Track, TrackEvents, Tracks, UnknownTrack};
