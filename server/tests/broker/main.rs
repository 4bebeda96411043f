//! The broker over real sockets.

mod check_config;
mod durable;
mod existing;
mod expiry;
mod legacy;
mod life;
mod limits;
mod operators;
mod page;
mod program;
mod proxies;
mod refusals;
mod rest;
mod resume;
mod rights;
mod secrets;
mod slow;
mod slow_loris;
#[cfg(feature = "otlp")]
mod spans;
mod support;
mod tls;
