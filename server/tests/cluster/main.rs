//! Several servers as one: the same stories on one server and on three over NATS, and what happens
//! when a server is killed, a server drains, or NATS is away, each with messages under way.
#![cfg(feature = "nats")]

mod contract;
mod faults;
mod nats;
mod operators;
#[cfg(feature = "aws")]
mod processes;
#[cfg(feature = "aws")]
#[expect(dead_code, reason = "shared with the tests of one program")]
#[path = "../backends/support/mod.rs"]
mod programs;
mod stories;
#[expect(dead_code, reason = "shared with the tests of one broker")]
#[path = "../broker/support.rs"]
mod support;
mod world;
