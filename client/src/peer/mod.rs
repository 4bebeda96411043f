//! The peer connection that both ends share.
//!
//! Nothing of the WebRTC library shows through: a [`Peer`] takes and gives SDP text, candidates,
//! protocol messages, file bytes and encoded pictures. What the library needs to be fast and to
//! stay safe (socket buffers, polling, bounded queues, threads) is settled in here once.
//!
//! * [`PeerConfig`] says what is wanted; [`PeerThreads`] are the threads that peers live on.
//! * [`Peer`] is the handle: signaling in and out, sending on [lanes](halyard_protocol::channel::Lane),
//!   [`recv_bulk`](Peer::recv_bulk), [`next_frame`](Peer::next_frame), statistics, closing.
//! * [`PeerEvent`] is everything that comes in, except file bytes and pictures, which have queues
//!   of their own so that they never stand in the way of a command.
//! * [`AudioTrack`] sends sound, [`next_sound`](Peer::next_sound) receives it.
//! * [`VideoTrack`] sends one picture to one viewer and never waits; [`Peer::estimate`] says how much the
//!   path carries. A viewer may have several places for pictures; each has a track of its own.
//!
//! # Who waits for whom
//!
//! ```text
//!  send           ▶ 256 messages ▶ control, unacknowledged bytes bounded
//!  send_chunk     ▶   2 chunks   ▶ bulk, the same, and never beyond what the other end allowed
//!  try_send_lossy ▶   latest 8   ▶ state or drive, dropped above 16 KiB unacknowledged
//!
//!  control      ▶ 256 events           when full, control is not read on
//!  bulk         ▶ 16 MiB ▶ recv_bulk   when full, the other end stops sending
//!  state, drive ▶ events               dropped when full
//!  video        ▶ newest 32 pictures ▶ next_frame
//!  sound        ▶ newest 50 packets  ▶ next_sound
//! ```
//! * Unacknowledged bytes are bounded by about twice what the path holds, measured on the channel
//!   ([`window`]): enough to fill it, little enough that a command is not held up by a file.
//! * The library stops reading the *whole* connection when one channel is not read, and all
//!   channels share one receive window. So a file that nobody takes has to be stopped at its source:
//!   each end tells the other on `control`, behind its greeting, how far it may send on `bulk`
//!   ([`BulkWindow`](halyard_protocol::channel::BulkWindow)). To a sender that does not know this
//!   word (a browser, a foreign end) nothing is lost either: it is slowed down by the shared window,
//!   and then its own commands wait with its file.
//! * An application that does not read its events holds up its own connection, and no other.

mod audio;
mod build;
mod bulk;
mod channel;
mod config;
mod congestion;
mod connection;
mod error;
mod event;
mod handler;
mod negotiation;
mod net;
mod newest;
mod opening;
mod outlet;
mod sdp;
mod shared;
mod stats;
mod threads;
mod video;
mod window;

pub use audio::{AudioTrack, SoundPacket};
pub use config::{AudioRole, DEFAULT_GATHER_WAIT, MAX_PLACES, PeerConfig, VideoRole};
pub use congestion::Estimate;
pub use connection::Peer;
pub use error::PeerError;
pub use event::{PeerEvent, PeerState};
pub use stats::{CandidateKind, PeerStats};
pub use threads::PeerThreads;
pub use video::{
    AccessUnit, NotSent, RtpPacket, RtpParseError, VideoCodec, VideoFrame, VideoTrack,
};
