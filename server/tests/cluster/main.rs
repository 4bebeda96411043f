//! Several servers as one: the same stories on one server and on three over NATS, and what happens
//! when a server is killed, a server drains, or NATS is away, each with messages under way.
#![cfg(feature = "nats")]

mod faults;
mod nats;
mod operators;
mod stories;
#[expect(dead_code, reason = "shared with the tests of one broker")]
#[path = "../broker/support.rs"]
mod support;
mod world;
