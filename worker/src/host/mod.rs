//! The computer that the worker runs on: what it is, how busy it is, and what a room may know of it.
//!
//! * [`facts`] is what does not change while the worker runs: processor, memory, graphics cards.
//! * [`load`] is how busy it is at this moment, the object `host` of `TELEMETRY::`.
//! * [`sampler`] owns the thread that looks; [`nvidia`] asks NVIDIA's own library.
//! * [`presence`] is what others find the worker by, its status first of all: pure, and told only
//!   when it is worth it; [`announce`] is the task around it.
//!
//! Nothing here needs a graphics card: without one the facts say so, in words.

pub mod announce;
pub mod facts;
pub mod load;
mod nvidia;
pub mod presence;
mod sampler;

pub use announce::Announcer;
pub use facts::{GpuFacts, HostFacts};
pub use load::{GpuLoad, GpuProcess, HostLoad};
pub use presence::{Doing, Presence, Status};
pub use sampler::{Host, HostHandle};
