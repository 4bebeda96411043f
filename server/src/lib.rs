//! The Halyard broker: rooms, anonymous sign-in, WebSocket signaling and the operator page on one
//! port.
//!
//! A message travels: socket -> [`connection`] (one task per socket) -> [`rooms`] (pure logic, one
//! owner per room) -> outbox -> socket. Nothing waits on the way: queues are bounded and a peer
//! that does not read is cut off.
//!
//! * [`settings`]: what was typed, and what it means.
//! * [`server`]: the life of a broker: bind, run, drain.
//! * `accept`: new connections. [`http`]: the page, REST and the upgrade to a WebSocket.
//!   [`body`]: what a request brings along, bounded.
//! * [`connection`]: one socket from upgrade to goodbye.
//! * [`rooms`]: who is here, and what goes to whom.
//! * [`identity`]: who somebody is. [`store`]: which rooms there are. Traits with their backends;
//!   only [`wiring`] names the concrete ones.
//! * `tidy`: what is put away by itself: ended rooms, users whom nobody needs.
//! * [`bus`]: other servers of the same rooms.
//! * `aws`: what the clients of AWS share. [`breaker`]: a backend that fails is left alone.
//! * [`check`]: trying what the settings name without serving.
//! * [`broker`]: what all of them share, and what an owner may do with a room.
//! * [`health`]: whether what the broker needs of others is there.
//! * [`metrics`]: what is counted, for Prometheus.
//! * [`rights`]: whether rights that were given still hold, for those who serve peers by themselves.
//! * [`tls`]: this server's own certificate, renewed while it runs.
//! * [`limits`]: how often somebody may try, and how fast a socket may talk.
//! * [`ice`]: the STUN and TURN servers told to peers. [`secret`]: random tokens and their hashes.
//!   [`time`]: the clocks, read in one place.
//!
//! It knows nothing of WebRTC: what peers say to each other is forwarded as the bytes it came in.

mod accept;
#[cfg(feature = "aws")]
pub mod aws;
pub mod body;
pub mod breaker;
pub mod broker;
pub mod bus;
pub mod check;
pub mod connection;
pub mod cue;
pub mod health;
pub mod http;
pub mod ice;
pub mod identity;
pub mod limits;
pub mod metrics;
pub mod rights;
pub mod rooms;
pub mod secret;
pub mod server;
pub mod settings;
pub mod store;
mod tidy;
pub mod time;
pub mod tls;
pub mod wiring;
mod write_within;

/// The target of spans for a collector: those of them that are not log lines.
pub const SPANS: &str = "halyard_spans";

pub use server::{BindError, RunError, Server};
pub use settings::Settings;
