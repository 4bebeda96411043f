//! The words of Halyard.
//!
//! What a broker, a worker and their clients say to each other, and the rules both ends must agree
//! on. There is no socket, clock, runtime or cloud in this crate: bytes and time come in as
//! arguments, messages and actions go out as values, so every rule can be tested by itself.
//!
//! * [`ids`] names rooms and peers; [`token`] is the secret that opens a room; [`access`] is what a
//!   token lets its bearer do; [`link`] is the join link that carries all of it.
//! * [`limits`] holds every bound, each with its reason.
//! * [`signal`] is the WebSocket between a peer and the broker: one enum per direction.
//! * [`channel`] is the data channel between two peers: lanes and `PREFIX::payload` messages.
//! * [`transfer`] is a file on its way, as a pure sender and a pure receiver.
//! * [`strip`] is the machine-readable row of cells that times a picture.

pub mod access;
pub mod channel;
pub mod ids;
pub mod limits;
pub mod link;
pub mod signal;
pub mod strip;
pub mod token;
pub mod transfer;

/// The version of our own words, told in `registered_auth` and `HELLO`.
///
/// It grows when an older end could misunderstand a newer one; additions do not change it.
pub const PROTOCOL_VERSION: u32 = 1;
