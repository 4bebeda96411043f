//! The WebSocket between a peer and the broker: JSON text frames tagged by `type`.
//!
//! * [`ClientMessage`] goes to the broker, [`ServerMessage`] comes from it.
//! * [`Envelope`] is the little of a relayed message that the broker reads: it forwards the rest as
//!   the bytes it came in, with the sender stamped.
//! * [`Metadata`] and [`Filters`] are discovery: what a peer says of itself, and who is looked for.
//! * [`Grant`] is by what right a peer is in a room, for those who serve it without the broker.
//! * [`ErrorCode`] is the closed set of refusals.
//!
//! The shapes are those that existing clients send and read, field for field; unknown fields are
//! ignored and an unknown type is answered with an error that leaves the connection open.

mod client;
mod envelope;
mod error;
mod grant;
mod ice;
mod metadata;
mod server;

pub use client::{ClientMessage, Register};
pub use envelope::{Envelope, EnvelopeError, Kind};
pub use error::{CloseCode, ErrorCode};
pub use grant::{Grant, GrantParts, GrantTooLong};
pub use ice::{Candidate, IceServer};
pub use metadata::{EXISTING_TAG, Filters, Metadata, WORKER_TAG};
pub use server::{LeftReason, PeerInfo, Registered, ServerError, ServerMessage};
