//! Direct mode: the robot itself answers peers over plain HTTP, with no broker between.
//!
//! * `POST /offer` `{"sdp","type":"offer"}` gives `{"sdp","type":"answer","id"}`: the whole
//!   connection in two messages, all candidates inside.
//! * `POST /ice-candidate` takes one more candidate of the asker, in the browsers' own shape, with
//!   the `id` beside it where there are several direct peers.
//! * `GET /status` says what is shown, who watches, and how the machine is.
//!
//! All of it needs the room's token as `Authorization: Bearer TOKEN`, and what the token allows is
//! what the peer may do, unless the owner said that the network is to be trusted. A page of any
//! origin may ask (CORS): what protects the machine is the token, never where a page came from.

mod http;
mod refusal;
mod status;

pub use http::{Direct, routes};
