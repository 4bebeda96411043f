//! The values that the gate goes by.

use std::time::Duration;

use halyard_protocol::{
    channel::DriveLimits,
    limits::{DRIVE_MAX_AGE, DRIVE_MAX_PICTURE_AGE},
};

use super::Limits;

/// What the machine can do, and what its owner asks of whoever drives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// What the machine can do.
    pub limits: Limits,
    /// What a driver says has to be about a state of the machine that is no older than this.
    pub max_age: Duration,
    /// What the driver sees has to be no older than this; `None` for a machine that is driven
    /// without a picture.
    pub max_picture_age: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_age: DRIVE_MAX_AGE,
            max_picture_age: Some(DRIVE_MAX_PICTURE_AGE),
        }
    }
}

impl Rules {
    /// The words for `HELLO`.
    pub fn told(&self) -> DriveLimits {
        DriveLimits {
            max_linear: self.limits.max_linear,
            max_angular: self.limits.max_angular,
            watchdog_ms: self.limits.watchdog.as_millis() as u64,
            max_reverse: Some(self.limits.max_reverse),
            max_age_ms: Some(self.max_age.as_millis() as u64),
            max_picture_age_ms: self.max_picture_age.map(|age| age.as_millis() as u64),
        }
    }
}
