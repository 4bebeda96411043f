//! The gate between what people ask for and what the machine does, as pure logic.
//!
//! Nothing here knows a socket, a clock or a motor: messages and the time go in, a velocity and
//! [`Event`]s come out. The gates stand in the order in which safe teleoperation wants them,
//! cheapest first: lease, sequence, watchdog, dead-man, limits, slew, latched e-stop.
//!
//! * [`Gate`] is all of them in that order.
//! * [`Lease`] says who drives: one peer or nobody, under a number that only grows.
//! * [`Velocity`] and [`Limits`] clamp and slew.
//! * [`Event`] is what happened, with the [`Rule`] that made it happen.

mod event;
mod gate;
mod lease;
mod refusals;
mod velocity;

pub use event::{Event, LEASE_CHANGED, LeaseChange, Rule};
pub use gate::{Gate, Input, Step};
pub use lease::{Lease, LeaseRefused};
pub use velocity::{Limits, Velocity};
