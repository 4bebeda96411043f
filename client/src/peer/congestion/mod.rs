//! How much the path to one viewer carries: an estimate in bits a second.
//!
//! ```text
//! packets out ─▶ History ─┐
//!                         ├─▶ Delay ──▶ queue growing?  ─┐
//! feedback in ────────────┤                              ├─▶ Estimator ─▶ Estimate
//!                         ├─▶ Loss ───▶ beyond the usual? ┤
//!                         └─▶ Delivered ▶ what arrives ──┘
//! REMB, receiver reports ────────────────────────────────┘
//! ```
//!
//! The frame is that of Google's congestion control (draft-ietf-rmcat-gcc-02): a delay-based and a
//! loss-based part, additive steps near the last known limit, multiplicative ones away from it, and a
//! step back to a share of what arrived. Two signals are other than there, since radio links with
//! tens of milliseconds of jitter and a few per cent of random loss are what robots have:
//!
//! * Delay is judged by the *least* delay of a fifth of a second above the least of ten seconds
//!   ([`delay`]). Jitter only ever adds to it, a queue is under every packet.
//! * Loss counts only beyond what the link loses anyway ([`loss`]).
//!
//! Pure logic: packets, reports and time are arguments.

mod delay;
mod delivered;
mod estimator;
mod history;
mod loss;
mod pacer;

pub use estimator::Estimate;
pub(super) use estimator::Estimator;
pub(super) use history::{Ack, Name};
pub(super) use pacer::Pacer;

#[cfg(test)]
mod link_tests;
