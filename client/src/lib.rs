//! One end of a Halyard connection.
//!
//! What a worker and its clients share, from the outside in. It is not a broker, and it encodes no
//! picture.
//!
//! * [`api`] is the broker's REST side: sign in, make and manage rooms.
//! * [`signaling`] is the WebSocket to the broker as one owned task: it registers, notices dead
//!   sockets, comes back by itself and takes up its old place.
//! * [`peer`] is the WebRTC connection: lanes, flow control, video tracks.
//! * [`files`] are folders and files that nothing can leave; [`transfer`] moves them.
//! * [`session`] is a client's whole life in a room: find the worker, connect, say what is wanted,
//!   and come back by itself.
//! * `cli` (feature `cli`) is the program `halyard`.
//! * [`tls`] chooses the cryptography once for the whole process.

pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
pub mod files;
pub mod peer;
pub mod session;
pub mod signaling;
pub mod tls;
pub mod transfer;
