//! WHEP, the WebRTC-HTTP Egress Protocol (draft-ietf-wish-whep, read at -03), as pure logic: texts and
//! preconditions go in, descriptions and candidates come out. [`direct`](crate::direct) has the routes.
//!
//! * [`offer`] is what a player sends first, and whether it can be served.
//! * [`fragment`] is what it sends later: candidates, or the user name and password of an ICE restart
//!   (`application/trickle-ice-sdpfrag`, RFC 8840).
//! * [`resource`] is one session as HTTP sees it: which ICE session it is in (`ETag`), and what a
//!   fragment means for it.
//!
//! A player renegotiates nothing but ICE. Where the connection underneath wants a whole description
//! for that, it gets the first offer again, with the new ICE lines in it.
//!
//! The draft lets a server refuse an offer with one of its own (406). This one never does: what it
//! sends does not change while it runs, so there is nothing else to offer.

pub mod fragment;
pub mod offer;
pub mod resource;
mod sections;

pub use fragment::{Fragment, FragmentError};
pub use offer::{Offer, OfferError};
pub use resource::{PatchError, Resource, Step};
