//! The gate between what people ask for and what the machine does, as pure logic.
//!
//! Nothing here knows a socket, a clock or a motor: messages and the time go in, a velocity and
//! [`Event`]s come out. The gates stand in the order in which safe teleoperation wants them,
//! cheapest first: lease, sequence, staleness, watchdog, dead-man, the driver's picture, limits, slew,
//! latched e-stop.
//!
//! * [`Gate`] is all of them in that order.
//! * [`Lease`] says who drives: one peer or nobody, under a number that only grows.
//! * [`Rules`] are the values; [`Counts`] says how often each rule did something.
//! * [`Velocity`] and [`Limits`] clamp and slew.
//! * [`Event`] is what happened, with the [`Rule`] that made it happen.

mod counts;
mod event;
mod gate;
mod lease;
mod refusals;
mod rules;
mod sight;
mod stops;
mod velocity;

pub use counts::Counts;
pub use event::{Event, LEASE_CHANGED, LeaseChange, Rule};
pub use gate::{Gate, Input, Step};
pub use lease::{Lease, LeaseRefused};
pub use rules::Rules;
pub use velocity::{Limits, Velocity};
