//! The broker over real sockets.

mod durable;
mod legacy;
mod life;
mod page;
mod refusals;
mod rest;
mod resume;
mod rights;
mod secrets;
mod slow;
mod support;
