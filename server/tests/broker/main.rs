//! The broker over real sockets.

mod check_config;
mod durable;
mod legacy;
mod life;
mod operators;
mod page;
mod program;
mod refusals;
mod rest;
mod resume;
mod rights;
mod secrets;
mod slow;
#[cfg(feature = "otlp")]
mod spans;
mod support;
