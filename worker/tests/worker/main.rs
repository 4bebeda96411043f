//! A worker with real peers over real connections, on one machine.
//!
//! Everything here is made of the library ends of all crates and, where a process has to die, of
//! the program itself. Nothing sleeps in the hope that something has happened: every step waits
//! for its event, with a time-out.

#![expect(unreachable_pub, reason = "the modules of a test program are nobody else's")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]
#![expect(clippy::float_cmp, reason = "standing still is exactly 0")]

mod access;
mod cameras;
#[path = "../../../server/tests/backends/support/coturn.rs"]
mod coturn;
mod direct;
mod driving;
mod files;
mod identity;
mod ipv6;
mod jobs;
#[expect(dead_code, reason = "shared with the tests of several servers")]
#[path = "../../../server/tests/cluster/nats.rs"]
mod nats;
mod presence;
mod program;
mod recovery;
mod renditions;
mod rights;
mod safety;
mod several;
/// What [`nats`] knows of the tests that it is shared with.
mod support {
    pub(crate) use crate::world::PATIENCE as SOON;
}
mod transfers;
mod turn;
mod video;
mod watching;
mod world;
