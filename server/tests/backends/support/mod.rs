//! Programs that the tests start, and a proxy that spoils the way to them.

#![cfg_attr(not(feature = "aws"), expect(dead_code, reason = "what is in AWS is behind a feature"))]

pub(crate) mod broker;
#[expect(dead_code, reason = "shared with the tests of workers")]
pub(crate) mod coturn;
#[cfg(feature = "aws")]
pub(crate) mod moto;
#[cfg(feature = "aws")]
pub(crate) mod pool;
pub(crate) mod program;
pub(crate) mod proxy;

use std::time::Duration;

/// Longest wait for anything that should happen at once, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);
