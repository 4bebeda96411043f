//! One end of a Halyard connection.
//!
//! What a worker and its clients share, from the outside in. It is not a broker, and it encodes no
//! picture.
//!
//! * [`api`] is the broker's REST side: sign in, make and manage rooms.
//! * [`signaling`] is the WebSocket to the broker as one owned task: it registers, notices dead
//!   sockets, comes back by itself and takes up its old place.
//! * [`peer`] is the WebRTC connection: lanes, flow control, video tracks.
//! * [`tls`] chooses the cryptography once for the whole process.

pub mod api;
pub mod peer;
pub mod signaling;
pub mod tls;
