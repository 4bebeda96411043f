//! No machine: the worker shows a picture and moves files, and nothing can be driven.

use serde_json::Value;

use super::{Action, CommandError, CommandFuture, Driver, DriverState};
use crate::drive::{Limits, Velocity};

/// Nothing to drive, nothing to ask.
#[derive(Debug, Default)]
pub struct NoDriver;

impl Driver for NoDriver {
    fn name(&self) -> &'static str {
        "none"
    }

    fn limits(&self) -> Option<Limits> {
        None
    }

    fn actions(&self) -> Vec<Action> {
        Vec::new()
    }

    fn set_velocity(&mut self, _velocity: Velocity) {}

    fn stop(&mut self) {}

    fn state(&mut self) -> DriverState {
        DriverState::default()
    }

    fn command(&mut self, name: &str, _args: Value) -> CommandFuture {
        let refusal = CommandError::Failed(format!("there is no machine to ask for {name}"));
        Box::pin(async move { Err(refusal) })
    }
}
