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
//! * [`VideoTrack`] sends one viewer's picture and never waits.
//!
//! # Who waits for whom
//!
//! ```text
//!  send ─▶ control queue (256) ─▶ channel, at most 128 KiB unacknowledged ─▶ network
//!  send_chunk ─▶ bulk queue (2) ─▶ channel, at most 128 KiB unacknowledged, and at most
//!                16 MiB beyond what the other end's consumer has taken (see `credit`)
//!  try_send_lossy ─▶ latest 8 ─▶ channel, dropped above 16 KiB unacknowledged
//!
//!  network ─▶ control ─▶ events (256); when full, the control lane is not read
//!  network ─▶ bulk ─▶ 16 MiB ─▶ recv_bulk
//!  network ─▶ state, drive ─▶ events; dropped when full
//!  network ─▶ video ─▶ newest 32 pictures ─▶ next_frame
//! ```
//! The library stops reading the *whole* connection when one channel is not read, and an SCTP
//! association has one receive window for all channels. So a file that nobody takes must be
//! stopped at its source: each end tells the other on `control` how far it may send on `bulk`.
//! A sender that does not know this word (a browser, an older end) is slowed by the window of the
//! association instead, and then its own commands wait with its file.

mod build;
mod bulk;
mod channel;
mod config;
mod connection;
mod error;
mod event;
mod handler;
mod negotiation;
mod net;
mod opening;
mod outlet;
mod sdp;
mod shared;
mod stats;
mod threads;
mod video;
mod window;

pub use config::{DEFAULT_GATHER_WAIT, PeerConfig, VideoRole};
pub use connection::Peer;
pub use error::PeerError;
pub use event::{PeerEvent, PeerState};
pub use stats::{CandidateKind, PeerStats};
pub use threads::PeerThreads;
pub use video::{AccessUnit, NotSent, RtpPacket, RtpParseError, VideoFrame, VideoTrack};
