//! The machine behind the gate.
//!
//! A [`Driver`] follows velocities that the gate has let through, tells how the machine is, and
//! does what can be asked of it by name. It knows nothing of peers, leases and rights: those are
//! settled before it is called.
//!
//! * [`none`] is no machine at all: a camera, a GPU node.
//! * [`exec`] is a program of the owner's, in any language.
//! * [`sim`] is the rover in the simulated world.

pub mod exec;
pub mod none;
pub mod sim;

use std::{future::Future, pin::Pin};

use halyard_protocol::channel::{ActionSpec, TelemetryField};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::drive::{Limits, Velocity};

/// Speaks to one machine.
///
/// Every method returns at once: the machine's owner calls them between two e-stops, so a driver
/// that has to wait for hardware does so in a task of its own. Ignoring a velocity is merely
/// useless; going on after [`stop`](Driver::stop), or after the last velocity was zero, is a
/// safety defect.
pub trait Driver: Send + 'static {
    /// What it is, for logs and `HELLO`.
    fn name(&self) -> &str;

    /// What the machine can do at most. `None` when it cannot be driven.
    fn limits(&self) -> Option<Limits>;

    /// What can be asked of it by name.
    fn actions(&self) -> Vec<Action>;

    /// Go like this from now on, until told otherwise.
    fn set_velocity(&mut self, velocity: Velocity);

    /// Stop as hard as the machine can.
    fn stop(&mut self);

    /// How the machine is.
    fn state(&mut self) -> DriverState;

    /// What it tells in [`DriverState::values`].
    fn fields(&self) -> Vec<TelemetryField> {
        Vec::new()
    }

    /// Why the machine does not follow at the moment, for people. Asked before every velocity.
    fn fault(&mut self) -> Option<String> {
        None
    }

    /// Stops the machine for good and gives back what speaks to it. Called once, at the end; the
    /// machine was told to stop before.
    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    /// Begins one of the [`actions`](Driver::actions). The future is dropped when it is called off
    /// (an e-stop, the loss of who asked, the worker's end); it must then leave the machine standing.
    fn command(&mut self, name: &str, args: Value) -> CommandFuture;
}

/// One thing that can be asked of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name, its help and the access it needs, as told in `HELLO`.
    pub spec: ActionSpec,
    /// Whether it moves the machine: then it is refused, and called off, by the e-stop.
    pub moves: bool,
}

/// A command on its way.
pub type CommandFuture = Pin<Box<dyn Future<Output = Result<Value, CommandError>> + Send>>;

/// Why a machine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The arguments do not fit.
    #[error("{0}")]
    BadArguments(String),
    /// It tried and failed.
    #[error("{0}")]
    Failed(String),
}

impl CommandError {
    /// The stable word of an `ACK::`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadArguments(_) => "bad_arguments",
            Self::Failed(_) => "failed",
        }
    }
}

/// How a machine is. What it cannot tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DriverState {
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pose: Option<Pose>,
    /// Metres a second, forwards.
    pub speed: f64,
    /// Radians a second, positive to the left.
    pub angular_speed: f64,
    /// 0 (empty) to 1 (full).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery: Option<f64>,
    /// Where it is meant to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Point>,
    /// Metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_to_goal: Option<f64>,
    /// What only this machine has, by the names in [`Driver::fields`].
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

/// A place and a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Radians, counter-clockwise from the x axis.
    pub heading: f64,
}

/// A place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
}
